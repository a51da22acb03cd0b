"""`rhumb steer --auto`: wrong usage, what it leaves behind, and being stopped."""
import json
import pathlib
import signal
import subprocess
import time
import xml.dom.minidom

from harness import RHUMB, ROOT, SMOL, expect, main, needs_model

WORDS = ROOT / "tests/data/models/words.gguf"
NOTE = "rhumb: note: rain: 1 text is read at position 0…"
EXPR = 'act("rain") - act("snow")'
RUN = ["steer", WORDS, EXPR, "--auto", "-p", "the city", "-n", "6", "--prompts", "prompts.txt"]


def test_usage(place):
    place.write("prompts.txt", "the city\nin the rain\n")
    place.write("empty.txt", "\n \n")
    place.write("file", "x")
    steer = ["steer", WORDS, EXPR, "-p", "x", "-n", "6"]
    belong = "rhumb: error: --target, --prompts, --versus-prompt and --report belong to --auto"
    expect(place, [
        ([*steer, "--layer", "1", "--target", "rain"], 2, [belong]),
        ([*steer, "--layer", "1", "--versus-prompt", "rain"], 2, [belong]),
        ([*steer, "--layer", "1", "--report", "out"], 2, [belong]),
        ([*steer, "--auto", "--prompts", "nope.txt"], 1, ["rhumb: error: cannot open 'nope.txt'…"]),
        ([*steer, "--auto", "--prompts", "empty.txt"], 1, ["rhumb: error: empty.txt holds no prompt"]),
        ([*steer, "--auto", "--strength", "2foo"], 2, ["rhumb: error: '2foo' is not a strength"]),
        ([*steer, "--auto", "--prompts", "prompts.txt", "--report", "file"], 1, [NOTE, "rhumb: error: cannot make the folder 'file': File exists"]),
        (["steer", WORDS, 'ablate act("rain")', "--auto", "-p", "x", "--layer", "1"], 1,
         ["rhumb: note: the layer is given: only strengths are swept", "rhumb: error: the search is for one direction that is added…"]),
    ])


def test_report(place):
    """The files say what the terminal said, and the vector is the one to steer with."""
    place.write("prompts.txt", "the city\nin the rain\n")
    r = place.json(*RUN, "--report", "out", "--strength", "0.5,1,0.2resid")
    out = place.dir / "out"
    names = sorted(p.name for p in out.iterdir())
    assert {"frontier.svg", "report.json", "report.txt", "sweep.csv"} <= set(names), names
    saved = json.loads((out / "report.json").read_text())
    assert saved == r and saved["auto"]["settings"], (saved.keys(), r.keys())
    xml.dom.minidom.parseString((out / "frontier.svg").read_text())
    rows = (out / "sweep.csv").read_text().splitlines()
    assert rows[0].startswith("layer,strength,resid"), rows[0]
    again = place.json(*RUN, "--report", "out", "--strength", "0.5,1,0.2resid")
    for x in (saved, again):
        for part in x.values():
            for key in [k for k in part if k.startswith("seconds")]:
                del part[key]
    assert again == saved
    assert not place.left_over()


@needs_model
def test_interrupted(place):
    run = subprocess.Popen([RHUMB, "steer", SMOL, "300*random(1)", "--auto", "-p", "Once", "--layer", "4..20", "--report", "out"],
                           cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(3)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 130 and out == b"" and err.endswith(b"rhumb: interrupted\n"), (run.returncode, out[-200:], err[-200:])
    assert not (pathlib.Path(place.dir) / "out" / "report.json").exists()


main()

"""`rhumb compare`: wrong usage, and a comparison on a real model."""
import json
import signal
import subprocess
import time

from harness import RHUMB, ROOT, SMOL, TINY, expect, main, needs_model

TWO = ["300*random(1) @ 12", "300*random(2) @ 12"]


def test_usage(place):
    place.write("empty.txt", "\n")
    expect(place, [
        (["compare"], 2, ["rhumb: error: compare needs an argument"]),
        (["compare", TINY, "random(1)"], 2, ["rhumb: error: compare needs another argument"]),
        (["compare", TINY, "1", "2", "-p", "x", "--prompts", "y"], 2, ["rhumb: error: give --prompt or --prompts, not both"]),
        (["compare", TINY, "1", "2", "--prompts", "empty.txt"], 1, ["rhumb: error: empty.txt holds no prompt"]),
        (["compare", TINY, "1", "2"], 1, ["rhumb: error: the model 'llama-f32' has no tokenizer…"]),
    ])


def close(got, want, what):
    """Numbers in lists and objects of one shape. A figure of effects loses digits where h is much larger."""
    if isinstance(want, dict):
        for key in want:
            close(got[key], want[key], f"{what}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want), (what, got, want)
        for i, (g, w) in enumerate(zip(got, want)):
            close(g, w, f"{what}[{i}]")
    elif want is None:
        assert got is None, (what, got)
    else:
        assert abs(got - want) <= 2e-5 * max(1, abs(want)), (what, got, want)


def test_against_numpy(place):
    """tests/generate/compare.py computed these from states that `rhumb trace` saved, each run alone."""
    answers = json.loads((ROOT / "tests/data/compare/answers.json").read_text())
    place.write("book.rhumb", answers["lets"].replace("FOLDER", str(ROOT / "tests/data/actions")))
    prompts = [a for p in answers["prompts"] for a in ("-p", p)]
    for case in answers["cases"]:
        r = place.json("compare", ROOT / "tests/data/models/words.gguf", *case["expressions"], "-b", "book.rhumb", "--exact", *prompts,
                       *case["flags"])
        for key in ("n_tokens", "cosine", "layers", "additivity"):
            close(r[key], case[key], f"{case['name']}.{key}")


def test_large_batches(place):
    """Eight vectors are 37 runs: prompts too long for one batch, some of the runs of one at a time. Two of the
    vectors alone, in one batch, have the same figures."""
    words, model = "The mayor of San Francisco in rain ", ROOT / "tests/data/models/words.gguf"
    vectors = [f"3*random({i}) @ 0" for i in range(1, 9)]
    place.write("prompts.txt", f"{words * 6}\n{words}\n{words * 2}\n{words * 6}\n")
    many = place.json("compare", model, *vectors, "--exact", "--prompts", "prompts.txt")
    two = place.json("compare", model, vectors[1], vectors[6], "--exact", "--prompts", "prompts.txt")
    assert many["n_tokens"] == two["n_tokens"] > 100, many["n_tokens"]
    pair = next(p for p in many["additivity"] if (p["a"], p["b"]) == (vectors[1], vectors[6]))
    close(pair["layers"], two["additivity"][0]["layers"], "additivity")
    for one, other in zip(many["layers"], two["layers"]):
        assert one["median_h"] == other["median_h"]
        close([one["norm"][i] for i in (1, 6)], other["norm"], "norm")
        for key in ("cosine", "moved"):
            close([[one[key][i][j] for j in (1, 6)] for i in (1, 6)], other[key], key)


@needs_model
def test_real_model(place):
    r = place.json("compare", SMOL, *TWO, "-p", "Name a city.", "-p", "Once upon a time")
    assert [e["site"] for e in r["expressions"]] == ["12.resid_post"] * 2 and r["layers"][0]["layer"] == 13, r
    assert r["prompts"] == ["Name a city.", "Once upon a time"] and len(r["layers"]) == len(r["additivity"][0]["layers"]) == 17, r
    assert r["layers"][0]["norm"][0] > 200 and abs(r["cosine"][0][1]) < 0.2, r
    place.write("prompts.txt", "Name a city.\r\n\nOnce upon a time\n")
    again = place.json("compare", SMOL, *TWO, "--prompts", "prompts.txt")
    assert again["layers"] == r["layers"] and again["additivity"] == r["additivity"]
    assert place.json("compare", SMOL, *TWO, "-p", "Name a city.", "--last")["over"] == "last"
    text = place.ok("compare", SMOL, *TWO).out
    assert "2 vectors on 12 prompts" in text and "crosstalk at layer 29" in text and max(map(len, text.split("\n"))) <= 80, text


@needs_model
def test_errors(place):
    expect(place, [
        (["compare", SMOL, "random(1) @ 3", "1"], 1, ["rhumb: error: '1' is a scalar, and vectors are compared"]),
        (["compare", SMOL, "random(1) @ 3", "foo @ 3"], 1, ["<expression>:1:1: error: unknown name 'foo'"]),
        (["compare", SMOL, "random(1) @ 3", "random(2) @ 29"], 1, ["rhumb: error: no layer lies above the last that is steered…"]),
        (["compare", SMOL, "random(1) @ 3", "ablate random(2) @ 3"], 1, ["rhumb: error: 'ablate random(2) @ 3' is an action, and vectors are compared"]),
    ])


@needs_model
def test_interrupted(place):
    place.write("many.txt", "".join(f"Once upon a time, on day {i}, a man met a dog on the road to the sea.\n" for i in range(3000)))
    run = subprocess.Popen([RHUMB, "compare", SMOL, *TWO, "--prompts", "many.txt"], cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(3)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 130 and out == b"" and err == b"rhumb: interrupted\n", (run.returncode, out[-200:], err[-200:])


@needs_model
def test_in_the_repl(place):
    r = place.run("repl", SMOL, input=b"let a = random(1) @ 12\ncompare 300*a, mean(a, random(2)) @ 12\ncompare a, foo\n")
    assert r.code == 1 and "2 mean(a, random(2)) @ 12" in r.out, r
    assert r.err.startswith("<expression>:3:12: error: unknown name 'foo'"), r


main()

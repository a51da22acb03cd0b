"""rhumb diff: a direction and how far to trust it."""
import json
import os
import signal
import subprocess
import time
import xml.dom.minidom

from harness import RHUMB, ROOT, SMOL, main, needs_model

WORDS = ROOT / "tests" / "data" / "models" / "words.gguf"
PLACES = ["San Francisco", "Paris", "Tokyo", "rain", "snow"]
CSV = "positive,negative\n" + "".join(
    f"{a} San Francisco,{a} {b}\n" for a, b in (("The mayor of", "Paris"), ("I love", "Tokyo"), ("a walk in", "Paris"),
                                                ("The city of", "Tokyo"), ("the rain in", "Paris"), ("a city in", "Tokyo")))


def small(place, *more, csv=CSV):
    place.write("pairs.csv", csv)
    return ("diff", WORDS, "pairs.csv", "--folds", "3", "--permutations", "19", "--bootstrap", "20", *more)


def test_table_and_json(place):
    r = place.ok(*small(place))
    for word in ("6 pairs", "6 independent groups", "recommended", "read at the last token", "read as the mean", "note: too few pairs"):
        assert word in r.out, (word, r)
    assert "MiB of disk" in r.err, r
    value = place.json(*small(place))
    assert len(value["sites"]) == 6 and value["layers"] == [0, 1, 2], value
    assert {s["position"] for s in value["sites"]} == {"last", "mean"}
    assert len(value["cosine"]["last"]) == 3
    for s in value["sites"]:
        assert 0 <= s["auc"] <= 1 and 0 < s["p"] <= s["p_max"] <= 1 and s["bootstrap"][0] <= s["bootstrap"][1], s
    again = place.json(*small(place))
    drop = lambda v: {k: x for k, x in v.items() if not k.startswith("seconds")}
    assert drop(value) == drop(again)


def test_files(place):
    place.ok(*small(place, "-o", "v.safetensors", "--svg", "p.svg", "--layers", "1..2"))
    xml.dom.minidom.parse(str(place.dir / "p.svg"))
    info = place.json("info", "v.safetensors")
    assert "dim" in json.dumps(info), info
    layer = place.json(*small(place, "--layers", "1..2"))["recommended"]
    at = "" if layer["position"] == "last" else ", at=mean"
    same = place.json("vec", f'cos(load("v.safetensors"), dim("pairs.csv"{at}) @ {layer["layer"]})', "-m", WORDS)
    value = same.get("value") if same.get("value") is not None else same["values"][0]["value"]
    assert abs(value - 1) < 1e-6, same
    place.ok(*small(place, "--out", "w.safetensors"))
    assert (place.dir / "w.safetensors").exists()


def test_marked_and_unpaired(place):
    csv = "text,label\n" + "".join(f"<<{w}>> in {p},{int(w == 'rain')}\n" for w in ("rain", "snow") for p in PLACES[:3])
    value = place.json(*small(place, csv=csv))
    assert [s["position"] for s in value["sites"]] == ["last"] * 3 + ["mean"] * 3 + ["marked"] * 3
    assert not value["paired"] and value["texts"] == 6


def test_marked_is_what_dim_gives(place):
    """Marks of one to three tokens: each token weighs the same, as in dim(…, at=marked)."""
    csv = "positive,negative\n" + "".join(f"{a} <<{b}>>,{a} <<{c}>>\n" for a, b, c in (
        ("I love", "San Francisco", "Paris"), ("a walk in", "rain", "San Francisco"), ("the", "rain city", "Tokyo"),
        ("new", "city a city", "rain"), ("cold", "sea", "snow rain"), ("a", "Paris", "rain")))
    for site in [s for s in place.json(*small(place, csv=csv))["sites"] if s["position"] == "marked"]:
        want = place.json("vec", f'norm(dim("pairs.csv", at=marked) @ {site["layer"]})', "-m", WORDS)["value"]
        assert abs(site["norm"] - want) < 1e-5 * want, (site, want)


def test_warnings(place):
    def notes(csv, *more):
        return place.json(*small(place, *more, csv=csv))["notes"]
    rows = [f"{a} {b},{a} {c}" for a, b, c in (("I love", "rain", "snow"), ("a walk in", "rain", "snow"), ("the", "rain", "sea"),
                                             ("new", "rain", "city"), ("cold", "rain", "snow"), ("a", "rain", "city"))]
    plain = notes("positive,negative\n" + "\n".join(rows) + "\n")
    assert not any("repeat another" in n or "token count" in n for n in plain), plain
    assert any("few" in n for n in plain), plain
    twice = notes("positive,negative\n" + "\n".join(rows + rows[:2]) + "\n")
    assert any("2 of 8 rows repeat another one" in n for n in twice), twice
    longer = notes("positive,negative\n" + "\n".join(r.replace("rain", "rain rain rain") for r in rows) + "\n")
    assert any("differ in token count" in n for n in longer), longer


def test_sample_is_seeded(place):
    a, b = (place.json(*small(place, "--sample", "4", "--seed", "5")) for _ in range(2))
    assert a["sampled"] and a["texts"] == 8 and a["rows"] == 6
    assert a["sites"] == b["sites"]


def test_mistakes(place):
    for more, csv, code, words in (
            (("--folds", "1"), CSV, 2, "--folds"), (("--layers", "9"), CSV, 1, "layers 0..2"), (("--layers", "x"), CSV, 2, "--layers"),
            (("--positive", "a"), CSV, 1, "pairs.csv:1"), ((), "positive,negative\nrain,snow\n", 1, "too few different texts"),
            ((), "positive,negative\nrain\n", 1, "pairs.csv:2"), (("--svg", "/nowhere/x.svg"), CSV, 1, "/nowhere/x.svg"),
            (("-o", "/dev/full"), CSV, 1, "/dev/full")):
        r = place.run(*small(place, *more, csv=csv))
        assert r.code == code and words in r.err and len(r.err.splitlines()) < 6, r
    r = place.run("diff", WORDS)
    assert r.code == 2, r
    r = place.run("diff", WORDS, "nothing.csv")
    assert r.code == 1 and "nothing.csv" in r.err, r


def test_nothing_is_left(place):
    place.ok(*small(place))
    assert not os.listdir(place.dir / "cache" / "rhumb" / "states")


def has_states(part):
    """Behind the first 64 KiB, which say what the file is, the first texts' states stand as soon as they are read."""
    try:
        with open(part, "rb") as f:
            f.seek(1 << 16)
            return any(f.read(4096))
    except FileNotFoundError:  # renamed meanwhile
        return False


def test_goes_on_after_an_interrupt(place):
    """The figures are those of a run that was left alone, to the last digit."""
    csv = "positive,negative\n" + "".join(f"{a} rain {i},{a} snow {i}\n" for i in range(800) for a in PLACES)
    arguments = small(place, "--json", "--threads", "1", csv=csv)
    whole = place.json(*arguments[:-3], "--threads", "1")
    states = place.dir / "cache" / "rhumb" / "states"
    run = subprocess.Popen([RHUMB, *map(str, arguments)], cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any(has_states(f) for f in states.iterdir()) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 130 and "error" in json.loads(out) and b"the same command goes on from there" in err, (run.returncode, err)
    assert len(os.listdir(states)) == 1
    again = place.run(*arguments)
    assert again.code == 0 and "texts were read by an earlier run" in again.err, again
    again = json.loads(again.out)
    for r in (whole, again):
        for key in [k for k in r if k.startswith("seconds")]:
            del r[key]
    assert again == whole and not os.listdir(states)


def test_killed(place):
    """Nothing but the file with the states is left of a killed run, and the next one ends as if it had not been."""
    csv = "positive,negative\n" + "".join(f"the rain in {a} {i},the snow in {a} {i}\n" for i in range(2000) for a in PLACES[:2])
    arguments = small(place, "--json", csv=csv)
    states = place.dir / "cache" / "rhumb" / "states"
    states.mkdir(parents=True)
    run = subprocess.Popen([RHUMB, *map(str, arguments)], cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any(has_states(f) for f in states.iterdir()) and run.poll() is None:
        time.sleep(0.01)
    run.kill()  # at once: a fast machine has soon read them all, and the file is gone then
    run.communicate()
    assert run.returncode == -signal.SIGKILL and len(os.listdir(states)) == 1
    assert place.json(*arguments[:-1])["texts"] == 8000 and not os.listdir(states)


def test_no_room(place):
    """A process that may not write files as large as the states: said at once, nothing left."""
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    csv = "positive,negative\n" + "".join(f"rain {a} {b},snow {a} {b}\n" for a in PLACES for b in PLACES)
    r = place.run(*small(place, csv=csv), preexec_fn=limit)
    assert r.code == 1 and "states" in r.err and "Traceback" not in r.err, r
    assert not os.listdir(place.dir / "cache" / "rhumb" / "states")


@needs_model
def test_the_example(place):
    value = place.json("diff", SMOL, ROOT / "examples" / "sf.csv")
    best = value["recommended"]
    assert value["groups"] == 16 and 7 <= best["layer"] <= 22 and best["position"] == "last", best
    assert best["auc"] > 0.95 and best["effect"] > 5 and best["p"] < 0.01, best
    assert any("token count" in n for n in value["notes"]), value["notes"]
    control = [s["control"] for s in value["sites"]]
    assert all(abs(c["auc"] - 0.5) < 0.1 for c in control), control


@needs_model
def test_shuffled_classes_are_found_out(place):
    """The same texts with classes that mean nothing."""
    import csv
    import hashlib
    rows = list(csv.reader(open(ROOT / "examples" / "sf.csv")))[1:]
    texts = sorted({r[1] for r in rows})
    place.write("noise.csv", "text,label\n" + "".join(f"{t},{hashlib.sha256(t.encode()).digest()[0] % 2}\n" for t in texts))
    value = place.json("diff", SMOL, "noise.csv", "--layers", "5,12,20")
    assert value["recommended"]["p"] > 0.05, value["recommended"]
    assert any("chance" in n for n in value["notes"]), value["notes"]


main()

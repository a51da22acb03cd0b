"""Features of sparse autoencoders in the language: a book names an SAE, and s[3] is its decoder row."""
import json
import math
import struct

from harness import ROOT, expect, main
from test_sae import safetensors, write_safetensors

WORDS = ROOT / "tests/data/models/words.gguf"  # 3 layers of 32


def row(i, d=32):
    return [((5 * (d * i + j)) % 13 - 6) / 10 for j in range(d)]


def write_sae(place, name, hook="blocks.1.hook_resid_post", d=32, n=6, rows=None, model=None, more={}):
    cfg = {"architecture": "standard", "d_in": d, "d_sae": n, "dtype": "float32", "normalize_activations": "none", "apply_b_dec_to_input": False}
    place.write(f"{name}/cfg.json", json.dumps({**cfg, **({"hook_name": hook} if hook else {}),
                                             **({"model_name": model} if model else {}), **more}))
    decoder = [x for i in range(n) for x in (rows[i] if rows else row(i, d))]
    write_safetensors(place, f"{name}/sae_weights.safetensors", W_enc=([d, n], [0.25] * (d * n)), W_dec=([n, d], decoder),
                      b_enc=([n], [0.0] * n), b_dec=([d], [0.0] * d))


def vector(place, expression, *more, book="book.rhumb"):
    place.ok("vec", expression, "-b", book, "-o", "v.safetensors", *more)
    (name, (shape, values)), = safetensors(place.dir / "v.safetensors").items()
    return name, values


def near(a, b):
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-7) for x, y in zip(a, b))


def test_rows(place):
    write_sae(place, "sae-1")
    place.write("book.rhumb", 'sae s = "sae-1"\nlet f = s[3]\n')
    three, five = row(3), row(5)
    assert near(vector(place, "s[3]")[1], three)  # no model is needed
    assert vector(place, "s[3]")[0] == "direction.1"
    assert near(vector(place, "s[3, 5]")[1], [a + b for a, b in zip(three, five)])
    assert near(vector(place, "2*s[3, 5] - f", "-m", WORDS)[1], [a + 2 * b for a, b in zip(three, five)])
    norm = math.sqrt(sum(x * x for x in three))
    assert near(vector(place, "unit(s[3])")[1], [x / norm for x in three])
    dot = sum(a * b for a, b in zip(three, five))
    assert near(vector(place, "reject(s[5], f)")[1], [b - dot / norm**2 * a for a, b in zip(three, five)])
    (value,) = place.json("vec", "dot(s[5], f)", "-b", "book.rhumb")["values"]
    assert value["layer"] == 1 and abs(value["value"] - dot) < 1e-6, value


def test_steer_and_provenance(place):
    write_sae(place, "sae-1")
    place.write("book.rhumb", 'sae s = "sae-1" @ 1\n')
    steer = ["-p", "The rain", "-n", "4", "--temperature", "0"]
    place.ok("vec", "s[3]", "-b", "book.rhumb", "-o", "row.safetensors", "-m", WORDS)
    a = place.json("steer", WORDS, "40*s[3]", "-b", "book.rhumb", *steer)
    b = place.json("steer", WORDS, '40*load("row.safetensors")', *steer)
    assert a["site"] == "1.resid_post" and abs(a["norm"] - 40 * math.sqrt(sum(x * x for x in row(3)))) < 1e-4, a
    texts = [[(run["strength"], run["ids"], run["kl"]) for run in r["runs"]] for r in (a, b)]
    assert texts[0] == texts[1] and texts[0][1][2] > 0, texts
    raw = (place.dir / "row.safetensors").read_bytes()
    meta = json.loads(json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])["__metadata__"]["rhumb"])
    assert meta["expression"] == "s[3]" and meta["hook"] == "resid_post", meta
    (source,) = meta["sources"]
    assert (source["kind"], source["path"], source["options"]) == ("sae", "sae-1", {"index": 3}) and len(source["fingerprint"]) == 64, source
    assert "sae sae-1[3]" in place.ok("info", "row.safetensors").out
    assert "s[3]" in place.ok("explain", "s[3] + act(\"rain\")", "-b", "book.rhumb", "-m", WORDS).out


def states(place, *action, site="1.resid_post"):
    where, which = site.split(".")
    place.ok("trace", WORDS, *action, "-p", "The rain in rain", "--sites", which, "--layers", where, "--exact", "-o", "t.safetensors")
    ((_, ((n, d), values)),) = safetensors(place.dir / "t.safetensors").items()
    return [values[i * d:(i + 1) * d] for i in range(n)]


def test_clamp(place):
    """h += (x - f(h)) W_dec[f], with f(h) from the encoder; a top-k one lets the others compete first."""
    write_sae(place, "sae-1")
    write_sae(place, "topk", more={"architecture": "topk", "k": 2})
    place.write("book.rhumb", 'sae s = "sae-1"; sae k = "topk"\nlet f = s[2]\n')
    plain = states(place)
    active = [max(0.25 * sum(h), 0) for h in plain]
    assert any(active) and not all(active), active
    for action, x, f, feature in (("clamp f at 3", 3, active, 2), ("clamp s[4] at 0", 0, active, 4), ("clamp 1*f at -1.5", -1.5, active, 2),
                                  ("clamp k[1] at 2", 2, active, 1), ("clamp k[2] at 2", 2, [0] * len(active), 2)):
        for t, (h, got) in enumerate(zip(plain, states(place, action, "-b", "book.rhumb"))):
            want = [a + (x - f[t]) * b for a, b in zip(h, row(feature))]
            assert max(abs(a - b) for a, b in zip(got, want)) < 1e-4 * max(map(abs, want)), (action, t, got, want)
    last = states(place, "clamp f at 3 on last", "-b", "book.rhumb")
    assert last[:-1] == plain[:-1] and last[-1] != plain[-1]
    unit = states(place, "clamp unit(f) at 3", "-b", "book.rhumb")  # its direction is a vector like any other
    norm = math.sqrt(sum(b * b for b in row(2)))
    assert all(abs(sum(a * b for a, b in zip(h, row(2))) / norm - 3) < 1e-4 for h in unit)
    r = place.json("steer", WORDS, "clamp f at 3", "-b", "book.rhumb", "-p", "The rain", "-n", "3")
    assert r["site"] == "1.resid_post" and [x["strength"] for x in r["runs"]] == [0, 1] and r["runs"][1]["kl"] > 0, r


def test_watch_and_switches(place):
    """A feature's activation at each token, and what came on and went off: from states traced with and without the action."""
    write_sae(place, "sae-1")
    place.write("book.rhumb", 'sae s = "sae-1"\n')
    r = place.json("steer", WORDS, "3*s[3]", "-b", "book.rhumb", "-p", "The rain in rain", "-n", "1", "--watch", "s[2]", "--watch", "2*s[2]", "--exact")
    plain, steered = states(place), states(place, "3*s[3]", "-b", "book.rhumb")
    for run, h in zip(r["runs"], (plain, steered)):
        first, second = run["watches"]
        assert (first["value"], second["value"]) == ("activation", "projection"), run
        got = [t["value"] for t in first["tokens"]][:len(h)]
        assert all(abs(a - max(0.25 * sum(x), 0)) < 1e-4 for a, x in zip(got, h)), (got, h)
    assert r["runs"][0]["features"] == []
    (switched,) = r["runs"][1]["features"]
    assert (switched["sae"], switched["path"], switched["layer"], switched["hook"]) == ("s", "sae-1", 1, "resid_post"), switched
    assert switched["n_tokens"] == len(plain), switched  # one of them generated, and without the first
    r = place.json("steer", WORDS, "3*s[3]", "-b", "book.rhumb", "-p", "The rain in rain", "-n", "1", "--features", "0")
    assert r["runs"][1]["features"] == []
    out = place.ok("steer", WORDS, "3*s[3]", "-b", "book.rhumb", "-p", "The rain in rain", "-n", "1", "--watch", "s[2]").out
    assert "activation at each token of s[2], read at 1.resid_post" in out and "features of s that steering switched, at 1.resid_post" in out, out
    # a book may name an SAE that nobody acts near: behind the action it is looked at, before it there is nothing to see
    write_sae(place, "sae-0", "blocks.0.hook_resid_post")
    place.write("book.rhumb", 'sae s = "sae-1"; sae e = "sae-0"\nlet a = e[1]\n')
    r = place.json("steer", WORDS, "3*s[3]", "-b", "book.rhumb", "-p", "rain", "-n", "1")
    assert [x["sae"] for x in r["runs"][1]["features"]] == ["s"], r["runs"][1]["features"]
    r = place.json("steer", WORDS, "3*a", "-b", "book.rhumb", "-p", "rain", "-n", "1")
    assert [x["sae"] for x in r["runs"][1]["features"]] == ["e"], r["runs"][1]["features"]  # s has no feature in use


def test_repl(place):
    """`watch` shades what is steered, until undo; strengths in maxact: both as `rhumb steer` has them."""
    write_sae(place, "sae-1")
    place.write("book.rhumb", 'sae s = "sae-1"\n')
    place.write("corpus.txt", "The rain in the city\n" * 3)
    place.ok("test", WORDS, "sae-1", "--all", "--corpus", "corpus.txt")
    steer = ["--strength", "1.5maxact", "-b", "book.rhumb", "-n", "1", "--exact", "--json"]
    session = "watch s[2]\nwatch '2*s[2]'\nlet watch = 2\nwatch + 1\nlist\nsave kept.rhumb\nsteer \"The rain\" with s[3]\nundo\nundo\nsteer \"The rain\" with s[3]\nwatch nobody\nwatch\n"
    r = place.run("repl", WORDS, *steer, input=session.encode())
    answers = [json.loads(x) for x in r.out.splitlines() if x.startswith("{")]
    value, first, second = [x for x in answers if "error" not in x]
    alone = place.json("steer", WORDS, "s[3]", "-p", "The rain", *steer[:-1], "--watch", "s[2]", "--watch", "2*s[2]")
    assert value["value"] == 3 and r.code == 1 and (place.dir / "kept.rhumb").read_text().endswith('\nlet watch = 2\n'), r
    assert "watch s[2]\nwatch 2*s[2]\nlet watch = 2\n" in r.out, r.out
    for a, b in zip(first["runs"], alone["runs"], strict=True):
        assert a["strength"] == b["strength"] and a["watches"] == b["watches"] and len(a["watches"]) == 2, (a, b)
    assert first["runs"][-1]["strength"] > 0 and len(second["runs"][0]["watches"]) == 1, second["runs"]
    assert "nobody" in r.out + r.err and "nothing is called watch" not in r.err, r
    r = place.run("repl", WORDS, *steer[:-1], input=b'compare s[3], s[2]\nsteer "x" with s[3] + s[2]\n')
    assert "--strength is in maxact" in r.err and "needs one `steer` of one feature" in r.err, r
    expect(place, [(["repl", WORDS, "--strength", "much"], 2, ["rhumb: error: 'much' is not a strength"])])


def test_forecast(place):
    write_sae(place, "sae-1")
    place.write("book.rhumb", f'model "{WORDS}"; sae s = "sae-1"\nlet f = s[3]\n')
    forecast = ["near", "sae-1", "f", "-b", "book.rhumb", "--forecast", "-p", "The rain in the city"]
    plain = place.json(*forecast[:5])
    r = place.json(*forecast, "--strength", "20", "--max-tokens", "6", "--top", "4")
    assert "forecast" not in plain and [x["feature"] for x in r["decoder"]] == [x["feature"] for x in plain["decoder"]][:4]
    f = r["forecast"]
    assert (f["layer"], f["hook"], f["strength"], f["n_generated"]) == (1, "resid_post", 20, 6), f
    for d in (f["on"], f["off"]):
        assert d["both"] <= min(d["forecast"], d["fact"]) and len(d["features"]) <= 4, d
        assert d["precision"] == (d["both"] / d["forecast"] if d["forecast"] else None), d
    push = 20 * 0.25 * sum(row(3))
    assert all(abs(x["push"] - push) < 1e-4 for d in ("on", "off") for x in f[d]["features"] + f[d]["missed"]), f
    assert f["on"]["features"] or f["off"]["features"] or f["on"]["missed"] or f["off"]["missed"], f
    out = place.ok(*forecast, "--strength", "0.5resid", "-m", WORDS, "--max-tokens", "6").out
    assert "decoder row" in out and "features will come on" in out and "precision" in out and "push: what steering adds" in out, out
    expect(place, [(["near", "sae-1", "f", "-b", "book.rhumb", "--strength", "3"], 2, ["rhumb: error: --prompt and --strength belong to --forecast"]),
                   (["near", "sae-1", "f", "-b", "book.rhumb", "--forecast"], 2, ["rhumb: error: --forecast needs a prompt"]),
                   (forecast + ["--strength", "3sigma"], 2, ["rhumb: error: --forecast takes no strength in sigma"]), (forecast + ["--strength", "much"], 2, ["rhumb: error: 'much' is not a strength"]),
                   (forecast + ["--strength", "1maxact"], 1, ["rhumb: error: nothing says how large feature 3 of 'sae-1' becomes"]),
                   (["near", "sae-1", "free(random(3))", "--forecast", "-p", "rain"], 2, ["rhumb: error: --forecast steers a model, and none is given"])])


def test_fit(place):
    """Measured at the first use and kept; a poor fit is said once a run, by steer and forecasts, and by nothing that runs nothing."""
    write_sae(place, "sae-1")
    place.write("book.rhumb", 'sae s = "sae-1"\nlet f = s[3]\n')
    said = "note: sae-1 fits this model poorly: at 1.resid_post it leaves "
    steer = ["steer", WORDS, "f + s[2]", "-b", "book.rhumb", "-p", "rain", "-n", "2"]
    assert said not in place.ok("vec", "f", "-b", "book.rhumb", "-m", WORDS).err
    first, again = place.ok(*steer), place.ok(*steer)
    assert first.err.count(said) == 1 and again.err == first.err, (first.err, again.err)
    assert "No other layer near, hook, BOS or normalisation fits better" in first.err, first.err
    assert list((place.dir / "cache/rhumb/features").glob("*.notes")), "nothing was kept"
    assert said in place.ok("near", "sae-1", "f", "-b", "book.rhumb", "-m", WORDS, "--forecast", "-p", "The rain in", "--max-tokens", "2").err
    assert said not in place.ok(*steer, "--no-cache").err


def test_fit_of_what_is_read(place):
    """`test` and `search` say it as well, of SAEs that they read states with; four at most are measured in one search."""
    write_sae(place, "sae-1")
    said = "note: sae-1 fits this model poorly: at 1.resid_post it leaves "
    assert said in place.ok("test", WORDS, "sae-1[3]", "The rain").err
    assert said in place.ok("search", WORDS, "sae-1", "The rain").err
    place.write("corpus.txt", "The rain in the city\n" * 3)
    r = place.ok("test", WORDS, "sae-1", "--all", "--corpus", "corpus.txt")
    assert said in r.err and said not in place.ok("test", WORDS, "sae-1[3]").err, r  # a stored page: nothing is read
    assert said not in place.ok("test", WORDS, "sae-1[3]", "The rain", "--no-cache").err
    names = [f"more-{i}" for i in range(6)]
    for name in names:
        write_sae(place, name)
    r = place.ok("search", WORDS, *names, "The rain")
    assert sum(f"note: {name} fits this model poorly" in r.err for name in names) == 4, r.err


def test_unused(place):
    """An SAE that a book names and nothing uses is not looked at, and that is said."""
    write_sae(place, "sae-1")
    write_sae(place, "sae-2")
    place.write("book.rhumb", 'sae s = "sae-1"; sae t = "nowhere"; sae u = "sae-1"; sae v = "sae-2"\n')
    note = "no feature of t and v is used, so that they are not looked at"
    assert note in place.ok("steer", WORDS, "s[3]", "-b", "book.rhumb", "-p", "rain", "-n", "1").err
    assert note not in place.ok("steer", WORDS, "s[3]", "-b", "book.rhumb", "-p", "rain", "-n", "1", "--features", "0").err
    r = place.ok("steer", WORDS, "s[3]", "-b", "book.rhumb", "-p", "rain", "-n", "1", "--watch", "v[2]")
    assert "no feature of t is used, so that it is not looked at" in r.err, r


def test_sites(place):
    """A book beside the SAE, in a folder of its own: paths are the book's."""
    for name, hook in (("post", "blocks.1.hook_resid_post"), ("attn", "blocks.1.hook_attn_out"), ("silent", None)):
        write_sae(place, f"inner/{name}", hook)
    cases = (("post", "", "1.resid_post"), ("post", "@ 1", "1.resid_post"), ("attn", "@ 1", "1.attn_out"), ("attn", "@ 1.attn_out", "1.attn_out"),
             ("silent", "@ 2", "2.resid_post"), ("silent", "@ 0.mlp_out", "0.mlp_out"))
    for name, at, site in cases:
        place.write("inner/book.rhumb", f'sae s = "{name}" {at}\n')
        out = place.ok("vec", "s[0]", "-b", "inner/book.rhumb", "-m", WORDS).out
        assert f"  {site} " in out, (name, at, out)


def test_refused(place):
    write_sae(place, "post")
    write_sae(place, "wide", d=48)
    write_sae(place, "deep", "blocks.9.hook_resid_post")
    write_sae(place, "silent", None)
    write_sae(place, "nan", rows=[row(i) if i else [math.nan] * 32 for i in range(6)])
    cases = [("post", "s[6]", "there is no feature 6: 'post/sae_weights.safetensors' has features 0..5", "<expression>:1:3"),
             ("nowhere", "s[1]", "there is no sparse autoencoder 'nowhere': no file and no folder", "book.rhumb:1:9"),
             ("wide", "s[1]", "'wide' has rows of 48 numbers, but resid_post of words is 32 wide", "book.rhumb:1:9"),
             ("deep", "s[1]", "'deep' is for layer 9, but words has layers 0..2", "book.rhumb:1:9"),
             ("silent", "s[1]", "neither 'silent' nor its path says for which layer it is", "book.rhumb:1:9"),
             ('post" @ 2 #"', "s[1]", "'post' belongs to layer 1, not to layer 2", "book.rhumb:1:9"),
             ('post" @ 1.mlp_out #"', "s[1]", "'post' belongs to resid_post, not to mlp_out", "book.rhumb:1:9"),
             ("post", "s", "'s' is an SAE, and no vector", "<expression>:1:1"),
             ("post", "max_act(s[2])*s[2]", "nothing says how large feature 2 of 'post' becomes", "<expression>:1:9"),
             ("post", 's["rain"]', "no labels are loaded for 'post'", "<expression>:1:3"),
             ("post", "clamp s[6] at 3", "there is no feature 6: 'post/sae_weights.safetensors' has features 0..5", "<expression>:1:9")]
    for path, expression, message, at in cases:
        place.write("book.rhumb", f'sae s = "{path}"\n')
        expect(place, [(["steer", WORDS, expression, "-b", "book.rhumb", "-p", "rain"], 1, [f"{at}: error: {message}"])])
    place.write("book.rhumb", 'sae s = "nan"\n')
    r = place.run("steer", WORDS, "s[1]", "-b", "book.rhumb", "-p", "rain")
    assert r.code == 1 and "tensor 'W_dec' has a value that is not finite" in r.err, r


def test_another_model(place):
    """Names differ in spelling, and are no proof: a note."""
    for model, said in (("gemma-2-2b", True), ("wordy", True), ("words", False), ("someone/Words-135M-Instruct", False), (None, False)):
        write_sae(place, "sae-1", model=model)
        place.write("book.rhumb", 'sae s = "sae-1"\n')
        r = place.ok("steer", WORDS, "s[1]", "-b", "book.rhumb", "-p", "rain", "-n", "2")
        note = f"note: sae-1 was trained on {model}, and this is words: its features may mean nothing here"
        others = [line for line in r.err.splitlines() if "fits this model poorly" not in line]
        assert (note in r.err) == said and (said or not others), (model, r.err)


if __name__ == "__main__":
    main()

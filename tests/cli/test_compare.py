"""`rhumb compare`: wrong usage, and a comparison on a real model."""
from harness import SMOL, TINY, expect, main, needs_model

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
    assert "2 vectors on 5 prompts" in text and "crosstalk at layer 29" in text and max(map(len, text.split("\n"))) <= 80, text


@needs_model
def test_errors(place):
    expect(place, [
        (["compare", SMOL, "random(1) @ 3", "1"], 1, ["rhumb: error: '1' is a scalar, and vectors are compared"]),
        (["compare", SMOL, "random(1) @ 3", "foo @ 3"], 1, ["<expression>:1:1: error: unknown name 'foo'"]),
        (["compare", SMOL, "random(1) @ 3", "random(2) @ 29"], 1, ["rhumb: error: no layer lies above the last that is steered…"]),
        (["compare", SMOL, "random(1) @ 3", "ablate random(2) @ 3"], 1, ["rhumb: error: 'ablate random(2) @ 3' is an action, and vectors are compared"]),
    ])


@needs_model
def test_in_the_repl(place):
    r = place.run("repl", SMOL, input=b"let a = random(1) @ 12\ncompare 300*a, mean(a, random(2)) @ 12\ncompare a, foo\n")
    assert r.code == 1 and "2 mean(a, random(2)) @ 12" in r.out, r
    assert r.err.startswith("<expression>:3:12: error: unknown name 'foo'"), r


main()

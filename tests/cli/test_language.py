"""The language as a user of the program meets it: notes, hints and what a book brings. Needs no model but the small ones."""
from harness import ROOT, expect, main

WORDS = ROOT / "tests/data/models/words.gguf"
ACTIONS = ROOT / "tests/data/actions"


def test_a_book_without_actions(place):
    place.write("inner.rhumb", f'let q = load("{ACTIONS}/a.npy")\nsteer q @ 1\n')
    place.write("outer.rhumb", 'include "inner.rhumb"\nlet p = 2*q\n')
    r = place.ok("steer", WORDS, "-b", "outer.rhumb", "-p", "rain", "-n", "2")
    assert "note: outer.rhumb has no action of its own, so nothing is steered" in r.err, r
    assert not place.ok("steer", WORDS, "-b", "inner.rhumb", "-p", "rain", "-n", "2").err
    assert not place.ok("steer", WORDS, "p @ 1", "-b", "outer.rhumb", "-p", "rain", "-n", "2").err


def test_parts_of_what_is_placed(place):
    place.write("book.rhumb", f'let a = load("{ACTIONS}/a.npy")\nlet b = load("{ACTIONS}/b.npy")\nlet trip = a - b/4\n')
    for expression in ("(a - b/4) @ 1", "trip @ 1", "a - b/4"):
        layer = [] if "@" in expression else ["--layer", "1"]
        r = place.json("vec", expression, "-b", "book.rhumb", "-m", WORDS, *layer)
        assert [p["label"] for p in r["geometry"][0]["parts"][:2]] == ["a", "b"], r["geometry"]


def test_semicolons(place):
    place.write("excel.csv", "positive;negative\nrain;snow\n")
    expect(place, [(["vec", 'dim("excel.csv") @ 1', "-m", WORDS], 1, [
        "<expression>:1:5: error: excel.csv:1: no column 'positive' in the header; it has 'positive;negative'",
        '  1 | dim("excel.csv") @ 1', "    |     ^^^^^^^^^^^", "help: columns are separated by commas"])])


def test_an_example_is_a_layer_of_the_model(place):
    r = place.run("steer", WORDS, 'act("rain")', "-p", "x")
    assert r.code == 1 and "give --layer 1, write layer 1 in the book, or place it with @ 1; the model has layers 0..2" in r.err, r
    assert "place it: random(1) @ 1\n" in place.run("compare", WORDS, "random(1)", "random(2)", "-p", "x").err
    assert 'say which one to take: free(act("x") @ 1)' in place.run("vec", 'free(act("x"))', "-m", WORDS).err


def test_files_of_two_models(place):
    place.ok("vec", 'act("rain") @ 0', "-m", WORDS, "-o", "words.safetensors")
    place.ok("vec", "random(1) @ 0", "-m", ROOT / "tests/data/models/llama-f32", "-o", "llama.safetensors")
    r = place.run("vec", 'cos(load("words.safetensors"), load("llama.safetensors"))')
    assert r.code == 1 and "error: these were made on different models" in r.err, r
    r = place.ok("vec", 'cos(load("words.safetensors"), load("llama.safetensors"))', "--force-model")
    assert "note: " in r.err, r


main()

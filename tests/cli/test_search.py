"""search, test and labels: features of SAEs on texts and corpora."""
import gzip
import json
import signal
import subprocess
import time
from operator import mul

from harness import RHUMB, ROOT, SMOL, expect, main, needs_model
from test_sae import safetensors, write_safetensors

WORDS = ROOT / "tests/data/models/words.gguf"  # 3 layers of 32


def test_search(place):
    """Features of two SAEs at different layers, against the activations of `trace`."""
    write_random(place, "sae-0", 0, 1)
    write_random(place, "sae-2", 2, 2)
    text = "The rain in the city"
    out = place.json("search", WORDS, "sae-0", "sae-2", text, "-n", "8")
    assert [s["layer"] for s in out["saes"]] == [0, 2], out["saes"]
    want = sorted(((max(act[1:]), s, i) for s, name in enumerate(["sae-0", "sae-2"])
                   for i, act in enumerate(activations(place, name, [0, 2][s], [[t["id"] for t in out["tokens"]]])[0])), reverse=True)
    assert len(out["hits"]) == 8
    for hit, (score, s, i) in zip(out["hits"], want):
        assert (hit["sae"], hit["feature"]) == (s, i) and abs(hit["score"] - score) < 1e-4 * score, (hit, score, s, i)
        assert hit["activations"][hit["position"]] == max(hit["activations"]) and hit["activations"][0] == 0, hit
    by_sum = place.json("search", WORDS, "sae-0", text, "--by", "sum", "--tokens", "2,3")["hits"]
    for hit in by_sum:
        assert abs(hit["score"] - hit["activations"][2] - hit["activations"][3]) < 1e-4, hit
    assert by_sum == sorted(by_sum, key=lambda h: -h["score"])
    shown = place.ok("search", WORDS, "sae-0", "sae-2", text).out
    assert "0.resid_post" in shown and "2.resid_post" in shown and str(out["hits"][0]["feature"]) in shown, shown


def draws(seed):
    """Numbers without a pattern, the same on every run."""
    state = seed * 7919 + 1
    while True:
        state = (state * 1103515245 + 12345) % 2**31
        yield state / 2**30 - 1


ENCODERS = {}  # name: rows of W_enc, b_enc


def write_random(place, name, layer, seed, d=32, n=24, model=None):
    draw = draws(seed)
    enc, dec, bias = ([next(draw) for _ in range(k)] for k in (d * n, d * n, n))
    ENCODERS[name] = [enc[i::n] for i in range(n)], bias
    cfg = {"architecture": "standard", "d_in": d, "d_sae": n, "dtype": "float32", "normalize_activations": "none", "apply_b_dec_to_input": False,
           "hook_name": f"blocks.{layer}.hook_resid_post", **({"model_name": model} if model else {})}
    place.write(f"{name}/cfg.json", json.dumps(cfg))
    write_safetensors(place, f"{name}/sae_weights.safetensors", W_enc=([d, n], enc), W_dec=([n, d], dec), b_enc=([n], bias), b_dec=([d], [0.0] * d))


def activations(place, name, layer, prompts):
    """[prompt][feature][token], from the states that trace saves."""
    place.write("prompts.json", json.dumps(prompts))
    place.ok("trace", WORDS, "--tokens-file", "prompts.json", "--sites", "resid_post", "--layers", str(layer), "-o", "states.safetensors")
    rows, bias = ENCODERS[name]
    out = []
    states = safetensors(place.dir / "states.safetensors")
    for i in range(len(prompts)):
        (n, d), x = states[f"{i}.resid_post.{layer}"]
        out.append([[max(0.0, b + sum(map(mul, x[t * d:(t + 1) * d], r))) for t in range(n)] for r, b in zip(rows, bias)])
    return out


def test_search_refuses(place):
    write_random(place, "other", 1, 3, model="gpt2-small")
    write_random(place, "deep", 7, 3)
    write_random(place, "wide", 1, 3, d=16)
    expect(place, [
        (["search", WORDS, "other", "rain"], 1, ["rhumb: error: 'other' was trained on gpt2-small, and this is words: its features may mean nothing here", "help: --force-model …"]),
        (["search", WORDS, "deep", "rain"], 1, ["rhumb: error: 'deep' is for layer 7, but words has layers 0..2", "help: …"]),
        (["search", WORDS, "wide", "rain"], 1, ["rhumb: error: 'wide' reads rows of 16 numbers, but resid_post of words is 32 wide", "help: …"]),
        (["search", WORDS, "none", "rain"], 1, ["rhumb: error: …"]),
        (["search", WORDS, "other", "rain", "--force-model", "--tokens", "99"], 1, ["rhumb: error: there is no token 99 to rank by", "help: …"]),
    ])
    assert place.ok("search", WORDS, "other", "rain", "--force-model").out


def corpus_words(place):
    """A small corpus of three files, one of them zipped; returns their names."""
    words = "rain the city in sun and snow falls on roofs of old towns while people walk home".split()
    texts = [" ".join(words[(i * 7 + j * j) % len(words)] for j in range(30)) for i in range(40)]
    place.write("a.txt", "\n\n".join(texts[:10]))
    place.write("b.jsonl", "".join(json.dumps(t if i % 2 else {"text": t}) + "\n" for i, t in enumerate(texts[10:30])))
    place.write("c.txt.gz", gzip.compress("\n\n".join(texts[30:]).encode()))
    return ["a.txt", "b.jsonl", "c.txt.gz"]


def pages(place, *more, sae="sae-1[3,7]", files=None):
    files = files or corpus_words(place)
    return place.json("test", WORDS, sae, "--corpus", *files, "--context", "12", *more)


def test_texts(place):
    write_random(place, "sae-1", 1, 5)
    place.write("book.rhumb", 'sae s = "sae-1"\n')
    out = place.json("test", WORDS, "sae-1[3,7]", "The rain", "in the city")
    assert [len(t) for t in out["texts"]] == [2, 2]
    for text in out["texts"]:
        act, = activations(place, "sae-1", 1, [[t["id"] for t in text[0]["tokens"]]])
        for one, feature in zip(text, (3, 7)):
            assert one["feature"] == f"feature {feature}"
            got = [t["activation"] for t in one["tokens"]]
            assert got[0] is None and all(abs(a - b) < 1e-4 * (1 + b) for a, b in zip(got[1:], act[feature][1:])), (got, act[feature])
    assert place.json("test", WORDS, "s[3,7]", "-b", "book.rhumb", "The rain", "in the city")["texts"] == out["texts"]
    assert "feature 7, read at 1.resid_post" in place.ok("test", WORDS, "sae-1[7]", "The rain").out


def test_pages(place):
    """The page of a feature against every activation of the corpus, window by window."""
    write_random(place, "sae-1", 1, 5)
    out = pages(place)
    assert out["documents"] >= 22 and out["tokens"] > 200, out
    windows = read_windows(place, out)
    act = activations(place, "sae-1", 1, windows)
    for page, feature in zip(out["pages"], (3, 7)):
        values = [v for w in act for v in w[feature][1:] if v > 0]
        assert page["active"] == len(values), (page["active"], len(values))
        assert abs(page["density"] - len(values) / sum(len(w) - 1 for w in windows)) < 1e-9
        assert abs(page["max"] - max(values)) < 1e-4 * max(values) and abs(page["mean"] - sum(values) / len(values)) < 1e-4 * max(values)
        assert sum(b["n"] for b in page["histogram"]) == len(values)
        assert all(abs(sum(b["lo"] <= v < b["hi"] for v in values) - b["n"]) <= 1 for b in page["histogram"]), page["histogram"]
        best = sorted((max(w[feature][1:]) for w in act), reverse=True)
        top = [c["value"] for c in page["top"]]
        assert len(top) == 10 and top == sorted(top, reverse=True) and abs(top[0] - best[0]) < 1e-4 * best[0]
        for context in page["top"] + page["samples"]:
            peak = context["tokens"][context["peak"]]
            assert abs(peak["activation"] - context["value"]) < 1e-6 and any(abs(v - context["value"]) < 1e-4 * v for v in values), context
        assert [c["quantile"] for c in page["samples"]] == sorted((c["quantile"] for c in page["samples"]), reverse=True)
        assert len(page["raises"]) == len(page["lowers"]) == 10 and page["raises"][0]["logit"] > 0 > page["lowers"][0]["logit"]
    # Kept: without the corpus the same page, and what the language and the others know of it.
    again = place.json("test", WORDS, "sae-1[3,7]")
    assert again["pages"] == out["pages"]
    place.write("book.rhumb", 'sae s = "sae-1"\n')
    value = place.json("vec", "max_act(s[3])", "-b", "book.rhumb")
    assert abs(value["values"][0]["value"] - out["pages"][0]["max"]) < 1e-4, value
    hits = place.json("search", WORDS, "sae-1", "The rain in the city", "-n", "24")["hits"]
    assert all(h["max_act"] is not None and 0 <= h["density"] <= 1 for h in hits), hits
    shown = place.ok("test", WORDS, "sae-1[3]").out
    assert "feature 3" in shown and "where it is strongest" in shown and "raises" in shown, shown


def read_windows(place, out):
    """What the program read: documents cut into windows of 12 tokens, the first of each what documents begin with."""
    windows = []
    bos = place.json("search", WORDS, "sae-1", "x y")["tokens"][0]["id"]
    docs = [(place.dir / "a.txt").read_text(), *[t if isinstance(t, str) else t["text"] for t in map(json.loads, open(place.dir / "b.jsonl"))],
            gzip.decompress((place.dir / "c.txt.gz").read_bytes()).decode()]
    assert all(len(d) < 8192 for d in docs)
    assert out["documents"] == len(docs)
    place.write("docs.jsonl", "".join(json.dumps(d) + "\n" for d in docs))
    for line in place.ok("tokens", WORDS, "--file", "docs.jsonl", "--json").out.splitlines():
        ids = json.loads(line)["ids"]
        windows += [[bos] + ids[i:i + 11] for i in range(0, len(ids), 11)]
    assert sum(len(w) - 1 for w in windows) == out["tokens"]
    return windows


def test_stopped_and_taken_up(place):
    """Killed by a signal after its first batch, then run again: byte for byte what a run in one go gives."""
    write_random(place, "sae-1", 1, 5)
    words = "rain the city in sun and snow falls on roofs of old towns while people walk home".split()
    place.write("long.txt", "\n\n".join(" ".join(words[(i * 7 + j * j) % len(words)] for j in range(200)) for i in range(300)))
    whole = place.json("test", WORDS, "sae-1[3]", "--corpus", "long.txt", "--context", "32")
    store = place.dir / "cache/rhumb/features"
    kept = {p.name: p.read_bytes() for p in store.iterdir()}
    assert sorted(p.rsplit(".")[-1] for p in kept) == ["notes", "pages"], list(kept)
    for p in store.iterdir():
        p.unlink()
    early, late = 0.0, 4.0
    for _ in range(12):
        run = subprocess.Popen([RHUMB, "test", str(WORDS), "sae-1[3]", "--corpus", "long.txt", "--context", "32"], cwd=place.dir, env=place.env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep((early + late) / 2)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        left = [p.suffix for p in store.iterdir() if p.suffix != ".notes"] if store.is_dir() else []
        if left == [".part"]:
            break
        if run.returncode == 0:
            late = (early + late) / 2
        else:
            early = (early + late) / 2
        for p in store.iterdir() if store.is_dir() else []:
            p.unlink()
    assert left == [".part"] and run.returncode == 130 and b"the same command goes on from there" in err, (left, run.returncode, err)
    assert place.json("test", WORDS, "sae-1[3]", "--corpus", "long.txt", "--context", "32") == whole
    assert {p.name: p.read_bytes() for p in store.iterdir()} == kept
    # Damaged: read again, never believed.
    (name,) = [n for n in kept if n.endswith(".pages")]
    broken = bytearray(kept[name])
    broken[len(broken) // 2] ^= 1
    (store / name).write_bytes(broken)
    assert "no corpus has been read yet" in place.run("test", WORDS, "sae-1[3]").err
    assert place.json("test", WORDS, "sae-1[3]", "--corpus", "long.txt", "--context", "32") == whole
    assert (store / name).read_bytes() == kept[name] and not place.left_over()


def test_all_and_html(place):
    write_random(place, "sae-1", 1, 5)
    files = corpus_words(place)
    place.write("a.txt", "<script>alert('x')</script> & \"rain\" in the city\n" * 20)
    out = pages(place, "--all", sae="sae-1", files=files)
    table = out["table"]
    assert len(table) + out["dead"] == 24 and [x["density"] for x in table] == sorted((x["density"] for x in table), reverse=True)
    assert all(x["words"].startswith('"') for x in table)
    for arguments in (["sae-1[3]"], ["sae-1", "--all"], ["sae-1[3]", "<b>&'\"</b> rain"]):
        place.ok("test", WORDS, *arguments, "--html", "page.html")
        page = (place.dir / "page.html").read_text()
        assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
        assert "<script" not in page and "<b>" not in page and "http" not in page and "src=" not in page
    assert "&lt;" in page and "&amp;" in page


def neuronpedia(index, text, model="words", layer="1-test-res-16k"):
    return json.dumps({"modelId": model, "layer": layer, "index": str(index), "description": text, "explanationModelName": "gpt-4o-mini"}) + "\n"


def test_labels(place):
    write_random(place, "sae-1", 1, 5, model="words")
    place.write("np.jsonl.gz", gzip.compress((neuronpedia(3, "mentions of San Francisco") + neuronpedia(3, "cities") + neuronpedia(4, "rain", layer="2-test-res-16k")
                                              + neuronpedia(5, "snow", model="gpt2-small") + neuronpedia(7, " rain and snow ")).encode()))
    out = place.json("labels", "sae-1", "np.jsonl.gz")
    assert out["labelled"] == 2 and out["files"][0] == {"path": "np.jsonl.gz", "source": "neuronpedia", "taken": 2, "others": 2, "again": 1, "empty": 0}, out
    place.write("t.csv", "index,label\n9,\"one, \"\"two\"\"\"\n10,\n")
    out = place.json("labels", "sae-1", "t.csv")
    assert out["files"][0]["taken"] == 1 and out["files"][0]["empty"] == 1, out
    assert [(x["feature"], x["label"], x["source"]) for x in place.json("labels", "sae-1")["labels"]] == [
        (3, "mentions of San Francisco", "neuronpedia"), (7, "rain and snow", "neuronpedia"), (9, 'one, "two"', "csv")]
    assert [x["feature"] for x in place.json("labels", "sae-1", "--find", "SAN FRANCISCO")["labels"]] == [3]
    assert place.json("test", WORDS, 'sae-1["rain and snow"]', "rain")["texts"][0][0]["feature"] == "feature 7: rain and snow"
    hit, = [h for h in place.json("search", WORDS, "sae-1", "The rain in the city", "-n", "24")["hits"] if h["feature"] == 3] or [{"label": "mentions of San Francisco"}]
    assert hit["label"] == "mentions of San Francisco"
    # Cheap ones do not replace these, and say what they are.
    pages(place, "--auto-label", sae="sae-1")
    labels = {x["feature"]: x for x in place.json("labels", "sae-1")["labels"]}
    assert labels[3]["source"] == "neuronpedia" and labels[9]["source"] == "csv" and sum(x["source"] == "auto" for x in labels.values()) > 10, labels
    assert "(auto)" in place.ok("labels", "sae-1").out
    place.json("labels", "sae-1", "np.jsonl.gz")
    place.write("other.jsonl", neuronpedia(3, "x", layer="9-test-res-16k"))
    place.write("broken.jsonl", neuronpedia(3, "x") + "{\n")
    place.write("far.csv", "3,a\n24,b\n")
    place.write("open.csv", '3,"a\n')
    place.write("cut.jsonl.gz", gzip.compress(neuronpedia(3, "x" * 2000).encode())[:-9])
    place.write("words.csv", "index,label\nthree,a\n")
    expect(place, [
        (["labels", "sae-1", "other.jsonl"], 1, ["rhumb: error: 'other.jsonl' has no label for this SAE: its 1 lines are for others, the first for words/9-test-res-16k"]),
        (["labels", "sae-1", "broken.jsonl"], 1, ["broken.jsonl:2: error: 'this line' is not valid JSON…"]),
        (["labels", "sae-1", "far.csv"], 1, ["far.csv:2: error: there is no feature 24: the SAE has 0..23"]),
        (["labels", "sae-1", "open.csv"], 1, ["open.csv:1: error: a quotation is not closed"]),
        (["labels", "sae-1", "cut.jsonl.gz"], 1, ["rhumb: error: …"]),
        (["labels", "sae-1", "words.csv"], 1, ["words.csv:2: error: the first column is no index of a feature"]),
        (["labels", "sae-1", "none.csv"], 1, ["rhumb: error: cannot open 'none.csv'…"]),
    ])
    assert {x["feature"]: x for x in place.json("labels", "sae-1")["labels"]} == labels


def test_refuses(place):
    write_random(place, "sae-1", 1, 5)
    place.write("empty.txt", "")
    place.write("broken.jsonl", '"a"\n{"text": 3}\n')
    place.write("zero.txt", b"a\0b")
    expect(place, [
        (["test", WORDS, "sae-1[]", "rain"], 2, ["rhumb: error: 'sae-1[]' names no feature"]),
        (["test", WORDS, "sae-1", "rain"], 2, ["rhumb: error: which feature is to be tested on the text?"]),
        (["test", WORDS, "sae-1"], 2, ["rhumb: error: test needs a feature, --all, or a corpus"]),
        (["test", WORDS, "sae-1[3]", "--all"], 2, ["rhumb: error: --all shows every feature: leave out the brackets"]),
        (["test", WORDS, "sae-1[rain]", "rain"], 1, ["rhumb: error: no labels are loaded for 'sae-1'"]),
        (["test", WORDS, "sae-1[3]"], 1, ["rhumb: error: no corpus has been read yet for 'sae-1' on words"]),
        (["test", WORDS, "sae-1[3]", ""], 1, ["rhumb: error: a text without a token to read…"]),
        (["test", WORDS, "sae-1[3]", "--corpus", "none.txt"], 1, ["rhumb: error: cannot open 'none.txt'…"]),
        (["test", WORDS, "sae-1[3]", "--no-cache", "--corpus", "empty.txt"], 1, ["rhumb: error: the corpus has no token to read"]),
        (["test", WORDS, "sae-1[3]", "--no-cache", "--corpus", "broken.jsonl"], 1, ["broken.jsonl:2: error: an object without a string \"text\""]),
        (["test", WORDS, "sae-1[3]", "--no-cache", "--corpus", "zero.txt"], 1, ["zero.txt:1: error: a zero byte: this is no text"]),
        (["test", WORDS, "sae-1[3]", "--corpus", "."], 1, ["rhumb: error: '.' is a folder, and a corpus is made of files"]),
    ])
    r = place.run("test", WORDS, "sae-1[24]", "rain")
    assert r.code == 1 and "has features 0..23" in r.err, r


@needs_model
def test_smollm2(place):
    """A real model and vocabulary: feature 0 answers to the embedding of " rain", more or less, and its page says so."""
    write_random(place, "sae-0", 0, 7, d=576, n=16)
    rain = place.json("tokens", SMOL, " rain")["ids"]
    place.write("prompts.json", json.dumps([[0] + rain]))
    place.ok("trace", SMOL, "--tokens-file", "prompts.json", "--sites", "resid_post", "--layers", "0", "-o", "h.safetensors")
    ((_, d), h), = safetensors(place.dir / "h.safetensors").values()
    norm = sum(x * x for x in h[d:]) ** 0.5
    enc, dec, bias = [0.01] * (d * 16), [0.5] * (16 * d), [-1.0] * 16
    enc[0::16] = [x / norm for x in h[d:]]
    bias[0] = -0.6 * norm
    write_safetensors(place, "sae-0/sae_weights.safetensors", W_enc=([d, 16], enc), W_dec=([16, d], dec), b_enc=([16], bias), b_dec=([d], [0.0] * d))
    place.write("corpus.txt", "The rain in Spain falls mainly on the plain.\n\nA city in the sun, and then some rain again.\n\nHeavy rain is expected.\n" * 3)
    page, = place.json("test", SMOL, "sae-0[0]", "--corpus", "corpus.txt")["pages"]
    assert page["active"] >= 1 and all(c["tokens"][c["peak"]]["text"] == " rain" for c in page["top"]), page["top"]
    place.ok("test", SMOL, "sae-0", "--auto-label", "--all")
    assert place.json("labels", "sae-0", "--find", "rain")["labels"][0] == {"feature": 0, "label": '"rain"', "source": "auto"}
    hits = place.json("search", SMOL, "sae-0", "Much rain today")["hits"]
    assert [(h["label"], h["position"]) for h in hits if h["feature"] == 0] == [('"rain"', 2)], hits


if __name__ == "__main__":
    main()

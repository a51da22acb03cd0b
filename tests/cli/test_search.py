"""search, test and labels: features of SAEs on texts and corpora."""
import gzip
import json

from harness import ROOT, expect, main
from test_features import write_sae
from test_sae import write_safetensors

WORDS = ROOT / "tests/data/models/words.gguf"  # 3 layers of 32


def test_search(place):
    """Features of two SAEs at different layers, against the activations of `trace`."""
    write_random(place, "sae-0", 0, 1)
    write_random(place, "sae-2", 2, 2)
    text = "The rain in the city"
    out = place.json("search", WORDS, "sae-0", "sae-2", text, "-n", "8")
    assert [s["layer"] for s in out["saes"]] == [0, 2], out["saes"]
    want = sorted(((max(act[1:]), s, i) for s, name in enumerate(["sae-0", "sae-2"])
                   for i, act in enumerate(activations(place, name, [0, 2][s], [t["id"] for t in out["tokens"]]))), reverse=True)
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


def write_random(place, name, layer, seed, d=32, n=24, model=None):
    """Weights without a pattern, the same on every run."""
    state = seed * 7919 + 1

    def draw():
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return state / 2**30 - 1
    cfg = {"architecture": "standard", "d_in": d, "d_sae": n, "dtype": "float32", "normalize_activations": "none", "apply_b_dec_to_input": False,
           "hook_name": f"blocks.{layer}.hook_resid_post", **({"model_name": model} if model else {})}
    place.write(f"{name}/cfg.json", json.dumps(cfg))
    write_safetensors(place, f"{name}/sae_weights.safetensors", W_enc=([d, n], [draw() for _ in range(d * n)]),
                      W_dec=([n, d], [draw() for _ in range(d * n)]), b_enc=([n], [draw() for _ in range(n)]), b_dec=([d], [0.0] * d))


def activations(place, name, layer, ids):
    """[feature][token], from the model's states and the SAE, each by the verb that is for it."""
    from test_sae import safetensors
    place.ok("trace", WORDS, "--tokens", ",".join(map(str, ids)), "--sites", "resid_post", "--layers", str(layer), "-o", "states.safetensors")
    place.ok("sae", "encode", name, "-i", "states.safetensors", "-o", "f.safetensors")
    (_, ((rows, n), values)), = safetensors(place.dir / "f.safetensors").items()
    return [[values[t * n + i] for t in range(rows)] for i in range(n)]


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


if __name__ == "__main__":
    main()

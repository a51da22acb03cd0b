"""The program with --device cuda on the emulated device, beside --device cpu and numpy's answers.

    LD_LIBRARY_PATH=FOLDER test_engine.py RHUMB

FOLDER has the librhumb-cuda.so of the emulator. With --exact both devices compute in float32 and differ by the order of
sums only; without, products of more than 16 rows round both factors to bf16 on the GPU.
"""
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from harness import ROOT, SMOL, main, needs_model  # noqa: E402
from test_features import write_sae  # noqa: E402
from test_sae import safetensors  # noqa: E402

MODELS = ROOT / "tests/data/models"
WORDS, ACTIONS = MODELS / "words.gguf", ROOT / "tests/data/actions"
PROMPT = "The mayor of San Francisco in rain"
NEAR = 1e-4  # of the largest value: what tests/reference_run allows between rhumb and transformers


def on_cuda(place, *arguments, code=0, **variables):
    """The result, and what the emulator counted: something must have run there."""
    counts = place.dir / "counts"
    counts.unlink(missing_ok=True)
    env = {**place.env, "RH_CUDA_EMULATOR_COUNTS": str(counts), **{f"RH_CUDA_EMULATOR_{k}": str(v) for k, v in variables.items()}}
    r = place.run(*arguments, "--device", "cuda", env=env)
    assert r.code == code, r
    return r, {k: int(v) for k, v in (line.split() for line in counts.read_text().splitlines())}


def trace(place, device, *arguments, **variables):
    out = place.dir / f"{device}.safetensors"
    if device == "cuda":
        _, counts = on_cuda(place, "trace", *arguments, "-o", out, **variables)
        assert counts["launches"] > 0 and counts["memory"] == 0, counts
    else:
        place.ok("trace", *arguments, "-o", out, "--device", device)
    return safetensors(out)


def distance(got, want):
    """The largest difference, of the largest value."""
    assert len(got) == len(want), (len(got), len(want))
    worst = max(abs(a - b) if a == a and b == b else math.inf for a, b in zip(got, want))
    return worst / max(max(map(abs, want)), 1e-30)


def relative(got, want):
    """|difference| / |want|, of vectors"""
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want))


def same(got, want, where, faults):
    """Of two JSON values everything is equal but numbers with a fraction, which are near."""
    if isinstance(want, float) and isinstance(got, (int, float)):
        if not math.isclose(got, want, rel_tol=2e-3, abs_tol=2e-4):
            faults.append(f"{where}: {got}, not {want}")
    elif isinstance(want, dict) and isinstance(got, dict) and got.keys() == want.keys():
        for k in (k for k in want if not k.startswith("seconds")):
            same(got[k], want[k], f"{where}.{k}", faults)
    elif isinstance(want, list) and isinstance(got, list) and len(got) == len(want):
        for i, (a, b) in enumerate(zip(got, want)):
            same(a, b, f"{where}[{i}]", faults)
    elif got != want:
        faults.append(f"{where}: {got!r}, not {want!r}")


def beside_cpu(place, *arguments, **variables):
    """--json of both devices is the same; returns it."""
    want = place.json(*arguments, "--device", "cpu")
    r, counts = on_cuda(place, *arguments, "--json", **variables)
    faults = []
    same(json.loads(r.out), want, arguments[0], faults)
    assert not faults, "\n".join([r.what, *faults[:8]])
    assert counts["memory"] == 0, counts
    return want


def book(place, text="", lets='let a = load("a.npy")\nlet b = load("b.npy")\n'):
    for vectors in ACTIONS.glob("*.*"):
        if vectors.name != "cases.json":
            place.write(vectors.name, vectors.read_bytes())
    place.write("book.rhumb", lets + text)
    return "book.rhumb"


def test_actions(place):
    """Every action, mask and guard of the language, against numpy; at once and token by token."""
    given = json.loads((ACTIONS / "cases.json").read_text())
    answers, faults = safetensors(ACTIONS / "answers.safetensors"), []
    for case in given["cases"]:
        book(place, case["book"] + "\n", given["lets"])
        sites = sorted({site.split(".")[0] for site in case["sites"]})
        for step in ([], ["--step"]):
            got = trace(place, "cuda", WORDS, "-b", "book.rhumb", "-p", case["prompt"], "--exact", "--sites", ",".join(sites),
                        *(["--chat"] if case["chat"] else []), *step)
            for site in case["sites"]:
                off = distance(got[f"0.{site}"][1], answers[f"{case['name']}/{site}"][1])
                if not off <= NEAR:
                    faults.append(f"{case['name']} {' '.join(step)}: {site} is off by {off:.1e}")
    assert not faults, "\n".join(faults)


def test_texts(place):
    """Sweeps, guards, samplers and penalties: the same tokens, and all that is told of them."""
    book(place)
    common = [WORDS, "-b", "book.rhumb", "-p", PROMPT, "--exact", "-n", "12"]
    beside_cpu(place, "steer", *common, "a @ 1", "--strength", "0.5,1,-2,4")
    beside_cpu(place, "steer", *common, "steer a @ 1 on last, generated when dot(h, b) > 0", "--watch", "b @ 2")
    beside_cpu(place, "steer", *common, "ablate span(a, b) @ all", "--temperature", "0.8", "--seed", "5", "--top-k", "20",
               "--top-p", "0.9", "--min-p", "0.01", "--frequency-penalty", "0.3", "--presence-penalty", "0.2")
    beside_cpu(place, "steer", *common, "clamp a @ 1 at 3", "--temperature", "1.2", "--strength", "1", "--seed", "3",
               "--repetition-penalty", "1.3", "--penalty-last", "6")


def test_features(place):
    """Autoencoders: actions on features, features switched on, the search for them."""
    write_sae(place, "sae-1")
    book(place, 'sae s = "sae-1" @ 1\n')
    beside_cpu(place, "steer", WORDS, "-b", "book.rhumb", "-p", PROMPT, "--exact", "-n", "6", "40*s[3]", "--watch", "s[1]")
    beside_cpu(place, "steer", WORDS, "-b", "book.rhumb", "-p", PROMPT, "--exact", "-n", "6", "clamp s[2] at 5")
    beside_cpu(place, "test", WORDS, "sae-1[3]", PROMPT, "--exact")
    beside_cpu(place, "search", WORDS, "sae-1", PROMPT, "--exact")
    beside_cpu(place, "near", "sae-1", "s[3] + s[1]", "-b", "book.rhumb")


def test_rounding(place):
    """bf16 keeps 8 bits: a factor is off by at most 2^-8 of itself, evenly distributed 2^-8/sqrt(12), a sum of products by
    2^-8/sqrt(6) of its own size. A layer has two such sums on the way of h (of what attention and MLP add), and each
    depends on one or two before it: 4 L + 1 of them, not correlated. Three times their root mean square is allowed."""
    ids = ",".join(str(3 + 7 * i % 61) for i in range(40))
    for name in ("gemma3-bf16", "gemma2-bf16", "llama-bf16"):
        arguments = [MODELS / name, "--tokens", ids, "--sites", "resid_post,logits"]
        want, got = trace(place, "cpu", *arguments, "--exact"), trace(place, "cuda", *arguments)
        layers = max(int(tensor.rsplit(".", 1)[1]) for tensor in want if "resid_post" in tensor) + 1
        worst = max(relative(got[tensor][1], want[tensor][1]) for tensor in want)
        assert 1e-4 < worst <= 3 * 2**-8 / math.sqrt(6) * math.sqrt(4 * layers + 1), (name, worst)


def test_order_of_threads(place):
    """No result depends on who comes first."""
    for arguments in ([MODELS / "llama-nf4"], [MODELS / "llama-nf4", "--step", "--exact"], [MODELS / "gemma3-bf16", "--exact"]):
        ids = ",".join(str(5 + 3 * i % 60) for i in range(30))
        first, second = (trace(place, "cuda", *arguments, "--tokens", ids, SEED=seed) for seed in (1, 77))
        assert first == second, arguments


def test_decoding_is_replayed(place):
    """Twelve more tokens are so many more launches of graphs that are there."""
    book(place)
    counts = [on_cuda(place, "steer", WORDS, "a @ 1", "-b", "book.rhumb", "-p", PROMPT, "-n", n, "--temperature", "0.7")[1]
              for n in (20, 32)]
    assert counts[1]["graph_launches"] - counts[0]["graph_launches"] >= 11, counts
    assert counts[1]["instantiations"] <= counts[0]["instantiations"] + 1, counts


def failures(place, variable, said, first, arguments, most):
    """The nth call fails, for n that grows until none does: each time an error that says so, and nothing is left."""
    n, seen = first, 0
    while True:
        env = {**place.env, f"RH_CUDA_EMULATOR_{variable}": str(n), "RH_CUDA_EMULATOR_COUNTS": str(place.dir / "counts")}
        r = place.run(*arguments, "--device", "cuda", env=env)
        counts = dict(line.split() for line in (place.dir / "counts").read_text().splitlines())
        assert counts["memory"] == "0", (n, counts)
        if r.code == 0:
            break
        assert r.code == 1 and r.err.startswith("rhumb: error: ") and said in r.err, (n, str(r))
        seen += 1
        n += 1 + n // most
    assert seen > 5, (variable, seen)


def test_failing_calls(place):
    book(place)
    arguments = ["steer", WORDS, "a @ 1", "-b", "book.rhumb", "-p", PROMPT, "-n", "2", "--temperature", "0.5"]
    failures(place, "FAIL_MALLOC", "memory", 1, arguments, 4)
    failures(place, "FAIL_LAUNCH", "unspecified launch failure", 1, arguments, 3)


def test_devices(place):
    """Without a device --device cuda says why there is none, and auto goes on with a line about it."""
    for variables, why in (({"DEVICES": 0}, "the driver shows no GPU"), ({"DRIVER": 12000}, "the NVIDIA driver is for CUDA 12.0"),
                           ({"CAPABILITY": 75}, "compute capability 7.5"), ({"MEMORY": 1 << 20}, "out of memory on the GPU")):
        env = {**place.env, **{f"RH_CUDA_EMULATOR_{k}": str(v) for k, v in variables.items()}}
        r = place.run("trace", WORDS, "--tokens", "1,2", "-o", "t", "--device", "cuda", env=env)
        assert r.code == 1 and why in r.err, r
        r = place.run("trace", WORDS, "--tokens", "1,2", "-o", "t", env=env)
        assert r.code == 0 and why in r.err and "on the CPU" in r.err, r
    # room for the backend, not for the model: found before anything is loaded
    r, counts = on_cuda(place, "trace", WORDS, "--tokens", "1,2", "-o", "t", MEMORY=37_000_000, code=1)
    assert "memory" in r.err and not counts["launches"] and not counts["memory"], r


@needs_model
def test_smollm2(place):
    """A real model, steered by a concept that is extracted on the device."""
    arguments = ["steer", SMOL, 'act("rain") @ 16', "--strength", "2", "-p", "The sky", "-n", "3", "--exact", "--features", "0"]
    runs = beside_cpu(place, *arguments)["runs"]
    assert runs[0]["ids"] != runs[1]["ids"], runs


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write what `rhumb compare` should say, for tests/cli/test_compare.py.

    compare.py RHUMB OUT

RHUMB is the program; OUT gets answers.json. The hidden states are taken with `rhumb trace`, each run alone:
unsteered, with each vector, with each pair. All else is computed here in float64, D_l(x) being the mean over
prompts and positions of h_l(x) - h_l(0):

    norm, cosine      |D_l(a)|, cos(D_l(a), D_l(b))
    additivity        cos(D_l(a+b), D_l(a) + D_l(b)), |D_l(a+b)| / |D_l(a) + D_l(b)|
    moved             D_l(a).b/|b|, b at layer l or the nearest one it has (the first of two as near)

Needs numpy, safetensors. The vectors are those of tests/data/actions.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file

DATA = pathlib.Path(__file__).parent.parent / "data"
MODEL = DATA / "models" / "words.gguf"
LAYERS = 3
LETS = "".join(f'let {n} = load("FOLDER/{n}.npy")\n' for n in "abc") + 'let fam = load("FOLDER/fam.safetensors")\n'
PROMPTS = ["The mayor of San Francisco in rain", "The city of Tokyo in snow", "rain"]
A, B, C = (np.load(DATA / "actions" / f"{n}.npy").astype(np.float64) for n in "abc")
F = [v.astype(np.float64) for _, v in sorted(load_file(DATA / "actions" / "fam.safetensors").items())]

# expression, its site, its vectors by layer
CASES = [
    {"name": "mean", "flags": [], "vectors": [("a @ 0", "resid_post", {0: A}), ("2*b @ 0", "resid_post", {0: 2 * B}),
                                              ("((a + b)/2) @ 0", "resid_post", {0: (A + B) / 2}),
                                              ("c @ 0.resid_pre", "resid_pre", {0: C})]},
    {"name": "last", "flags": ["--last", "--strength", "2.5", "--chat"],
     "vectors": [("a @ 0", "resid_post", {0: A}), ("fam @ 0..1", "resid_post", {0: F[0], 1: F[1]}),
                 ("b @ 1.attn_out", "attn_out", {1: B}), ("c @ 0.attn_z", "attn_z", {0: C})]},
    {"name": "pinned", "flags": ["--strength", "-1"], "vectors": [("unit(a) @ 1", "resid_post", {1: A / np.linalg.norm(A)}),
                                                               ("3*c @ 1", "resid_post", {1: 3 * C})]},
]


def trace(program, folder, book, prompts, flags):
    """[layer][prompt] [T, d]"""
    path, out = folder / "trace.rhumb", folder / "trace.safetensors"
    path.write_text(LETS.replace("FOLDER", str((DATA / "actions").resolve())) + book + "\n")
    states = [[] for _ in range(LAYERS)]
    for prompt in prompts:
        command = [program, "trace", MODEL, "-p", prompt, "-o", out, "--exact", "--threads", "1", "--no-cache", "--sites", "resid_post",
                   *flags, *(["-b", path] if book else [])]
        subprocess.run(command, check=True, capture_output=True)
        for name, h in load_file(out).items():
            states[int(name.rsplit(".", 1)[1])].append(h.astype(np.float64))
    return states


def counted(h, last):
    return h[-1:] if last or len(h) == 1 else h[1:]


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def measure(program, folder, case):
    vectors, flags = case["vectors"], case["flags"]
    last = "--last" in flags
    strength = flags[flags.index("--strength") + 1] if "--strength" in flags else "1"
    shown = [f for f in flags if f == "--chat"]

    def mean(*steered):
        book = "\n".join(f"steer {strength}*({e})" for e in steered)
        states = trace(program, folder, book, PROMPTS, shown)
        return [np.concatenate([counted(h, last) for h in layer]) for layer in states]

    none = mean()
    run = lambda *e: [(h - n).mean(0) for h, n in zip(mean(*e), none)]
    alone = [run(e) for e, _, _ in vectors]
    pairs = {(i, j): run(vectors[i][0], vectors[j][0]) for i in range(len(vectors)) for j in range(i + 1, len(vectors))}
    first = max(max(at) + (site == "resid_post") for _, site, at in vectors)
    layers = range(first, LAYERS)

    def moved(d, j, layer):
        _, site, at = vectors[j]
        if site in ("attn_z", "mlp_in"):
            return None
        nearest = min(at, key=lambda k: (abs(k - layer), k))
        return float(d[layer] @ at[nearest] / np.linalg.norm(at[nearest]))

    def beside(i, j):
        (_, s, x), (_, t, y) = vectors[i], vectors[j]
        both = sorted(set(x) & set(y)) if s == t else []
        return cosine(x[both[0]], y[both[0]]) if both else None

    n = range(len(vectors))
    return {
        "name": case["name"], "expressions": [e for e, _, _ in vectors], "flags": flags, "n_tokens": len(none[0]),
        "cosine": [[beside(i, j) for j in n] for i in n],
        "layers": [{"layer": l, "median_h": float(np.median(np.linalg.norm(none[l], axis=1))),
                    "norm": [float(np.linalg.norm(d[l])) for d in alone],
                    "cosine": [[cosine(alone[i][l], alone[j][l]) for j in n] for i in n],
                    "moved": [[moved(alone[i], j, l) for j in n] for i in n]} for l in layers],
        "additivity": [{"layers": [{"layer": l, "cosine": cosine(both[l], alone[i][l] + alone[j][l]),
                                    "ratio": float(np.linalg.norm(both[l]) / np.linalg.norm(alone[i][l] + alone[j][l]))}
                                   for l in layers]} for (i, j), both in pairs.items()],
    }


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    o = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        answers = [measure(o.program.resolve(), pathlib.Path(folder), case) for case in CASES]
    (o.out / "answers.json").write_text(json.dumps({"lets": LETS, "prompts": PROMPTS, "cases": answers}, indent=1) + "\n")


main()

#!/usr/bin/env python3
"""Write what numpy and scikit-learn make of hidden states of SmolLM2, for tests/concepts/test_fit.c.

    fits_smollm2.py RHUMB smollm2.gguf OUT

The first 24 rows of examples/sf.csv; the states of their last tokens at layer 14 from `rhumb trace --exact`.
OUT gets fits-smollm2.csv and fits-smollm2.safetensors: dim, pca, pca_raw, lda, lda_1, logreg, logreg_100
(.14, [576]), as fits.py has them.
Needs numpy, safetensors, scikit-learn and what fits.py imports.
"""
import argparse
import csv
import pathlib
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

from fits import classifiers, pca, unit

ROWS, LAYER = 24, 14
PAIRS = pathlib.Path(__file__).parent.parent.parent / "examples" / "sf.csv"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("model", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    o = arguments.parse_args()
    lines = PAIRS.read_text().splitlines(keepends=True)[:ROWS + 1]
    (o.out / "fits-smollm2.csv").write_text("".join(lines))
    texts = [t for row in list(csv.reader(lines))[1:] for t in row]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "states.safetensors"
        subprocess.run([o.program, "trace", o.model, *(x for t in texts for x in ("-p", t)), "--layers", str(LAYER),
                        "--sites", "resid_post", "--exact", "-o", path], check=True)
        states = load_file(path)
    h = np.stack([states[f"{i}.resid_post.{LAYER}"][-1] for i in range(2 * ROWS)])
    out = {"dim.14": (h[::2].astype(np.float64).mean(0) - h[1::2].astype(np.float64).mean(0)).astype(np.float32),
           "pca.14": unit(pca(h, True)), "pca_raw.14": unit(pca(h, False))}
    classifiers(out, "{}.14", h, 1)
    save_file(out, o.out / "fits-smollm2.safetensors")


main()

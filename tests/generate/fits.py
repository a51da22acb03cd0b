#!/usr/bin/env python3
"""Write what other programs make of hidden states, for tests/concepts/test_fit.c.

    fits.py OUT [--seed N]

OUT gets fits.safetensors. A small random Gemma 3 of transformers (tests/data/models/gemma3-f32) reads pairs
of random token ids; `ids` [2n, T] (positive, negative, ...; -1 behind the end), `states.L` [2n, d] are the
states of the last tokens at layer L. From these, by layer (transformers' last state is normed: not that one):

    dim.L            steering-vectors' train_steering_vector
    pca.L            repeng's read_representations, method pca_diff
    pca_raw.L        first right singular vector of the differences as they are, turned by repeng's rule
    lda.L, lda_1.L   scikit-learn's LinearDiscriminantAnalysis(solver="lsqr"), shrinkage 0.1 and 1
    logreg.L, logreg_100.L, logreg_tiny.L
                     scikit-learn's LogisticRegression(C=1/l2), l2 1, 100 and 1e-6, converged further in numpy
    NAME.wide        the same by scikit-learn and numpy for states.wide [2n, d] with fewer texts than
                     dimensions and one huge coordinate, as residual streams have

Needs torch, transformers, safetensors, scikit-learn, repeng, steering-vectors.
"""
import argparse
import pathlib

import numpy as np
import repeng.extract
import torch
from repeng import DatasetEntry
from safetensors.numpy import save_file
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from steering_vectors import train_steering_vector
from transformers import AutoModelForCausalLM, BatchEncoding

MODEL = pathlib.Path(__file__).parent.parent / "data" / "models" / "gemma3-f32"
N, T, VOCABULARY = 40, 7, 67


class Ids:
    """A tokenizer whose texts are ids: "3 14 15"."""
    pad_token, pad_token_id, eos_token, padding_side = "0", 0, "0", "right"

    def __call__(self, texts, **_):
        texts = [texts] if isinstance(texts, str) else texts
        rows = [[int(i) for i in t.split()] for t in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
        return BatchEncoding({"input_ids": ids, "attention_mask": mask})


def unit(v):
    v = np.asarray(v, np.float64)
    return (v / np.linalg.norm(v)).astype(np.float32)


def turned(v, delta):
    dots = delta @ v
    lower, higher = np.sum(dots < 0), np.sum(dots > 0)
    return -v if lower > higher or (lower == higher and dots.sum() < 0) else v


def pca(h, center):
    delta = h[::2].astype(np.float64) - h[1::2]
    return turned(np.linalg.svd(delta - delta.mean(0) if center else delta)[2][0], delta)


def newton(h, y, l2):
    """The minimum by plain Newton steps in d + 1 dimensions."""
    x = np.hstack([h - h.mean(0), np.ones((len(h), 1))])
    penalty = np.diag([l2] * h.shape[1] + [0.0])
    w = np.zeros(x.shape[1])
    f = lambda w: np.logaddexp(0, -np.where(y, 1, -1) * (x @ w)).sum() + w @ penalty @ w / 2
    for _ in range(300):
        p = 1 / (1 + np.exp(-(x @ w)))
        step = np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + penalty, x.T @ (p - y) + penalty @ w)
        t = 1.0
        while f(w - t * step) > f(w) and t > 1e-9:
            t /= 2
        w = w - t * step
        if np.linalg.norm(step) < 1e-9 * np.linalg.norm(w):
            return w[:-1]
    raise RuntimeError(f"not converged: {np.linalg.norm(step) / np.linalg.norm(w)}")


def close(name, a, b, tolerance):
    error = np.abs(unit(a) - unit(b)).max()
    assert error < tolerance, (name, error)


def classifiers(out, tag, h, smallest=0):
    h = h.astype(np.float64)
    y = np.arange(len(h)) % 2 == 0
    for name, shrink in (("lda", 0.1), ("lda_1", 1.0)):
        fit = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrink).fit(h, y)
        out[tag.format(name)] = unit(fit.coef_[0])
    for name, l2 in (("logreg", 1.0), ("logreg_100", 100.0), ("logreg_tiny", 1e-6)):
        if l2 < smallest:
            continue
        exact = newton(h, y, l2)
        if l2 >= 1:  # with less, scikit-learn stops early
            fit = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=10000).fit(h, y)
            close(tag.format(name), fit.coef_[0], exact, 1e-4)
        out[tag.format(name)] = unit(exact)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=11)
    a = arguments.parse_args()
    r = np.random.default_rng(a.seed)
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    layers = [1, 4]
    # Positives end in one of few tokens, so that there is something to find.
    rows = []
    for i in range(2 * N):
        ids = r.integers(1, VOCABULARY, r.integers(3, T + 1))
        if i % 2 == 0:
            ids[-2:] = r.choice([5, 6], 2)
        rows.append(ids)
    ids = np.full((2 * N, T), -1, np.float32)  # F32, as all of the file: what the reader's writer knows
    for i, row in enumerate(rows):
        ids[i, :len(row)] = row
    texts = [" ".join(map(str, row)) for row in rows]
    states = repeng.extract.batched_get_hiddens(model, Ids(), texts, layers, 8)
    entries = [DatasetEntry(positive=p, negative=n) for p, n in zip(texts[::2], texts[1::2])]
    directions = repeng.extract.read_representations(model, Ids(), entries, layers, 8, "pca_diff")
    means = train_steering_vector(model, Ids(), list(zip(texts[::2], texts[1::2])), layers=layers,
                                  read_token_index=-1).layer_activations
    out = {"ids": ids}
    for layer in layers:
        h = states[layer]
        out[f"states.{layer}"] = h
        out[f"dim.{layer}"] = means[layer].numpy()
        out[f"pca.{layer}"] = directions[layer]
        out[f"pca_raw.{layer}"] = unit(pca(h, False))
        close("pca", directions[layer], pca(h, True), 1e-5)
        classifiers(out, "{}." + str(layer), h)
    wide = r.normal(size=(12, 40)) + np.outer(np.arange(12) % 2 == 0, r.normal(size=40))
    wide[:, 3] = 900 + 200 * wide[:, 3]
    wide = wide.astype(np.float32)
    out["states.wide"] = wide
    out["pca.wide"], out["pca_raw.wide"] = unit(pca(wide, True)), unit(pca(wide, False))
    out["dim.wide"] = (wide[::2].astype(np.float64).mean(0) - wide[1::2].astype(np.float64).mean(0)).astype(np.float32)
    classifiers(out, "{}.wide", wide)
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in out.items()}, a.out / "fits.safetensors")


if __name__ == "__main__":
    main()

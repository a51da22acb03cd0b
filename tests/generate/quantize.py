#!/usr/bin/env python3
"""Write tests/data/quantize.bin: numbers, and what gguf-py's Q8_0 and bitsandbytes' NF4 make of them.

    quantize.py OUT [--seed N]

[n] float32 with n = 1024; their Q8_0 blocks of 34 bytes; their NF4 blocks of 36 bytes: the scale as
float32, then a byte for elements j (low nibble) and j + 32. Needs numpy, gguf, torch, bitsandbytes.
"""
import argparse
import pathlib

import bitsandbytes.functional as bnb
import gguf
import numpy as np
import torch

N = 1024


def nf4(x):
    codes, state = bnb.quantize_4bit(torch.from_numpy(x), blocksize=64, quant_type="nf4", compress_statistics=False)
    packed = codes.numpy().reshape(-1)
    flat = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1, 64)
    out = b""
    for scale, block in zip(state.absmax.numpy().astype(np.float32), flat, strict=True):
        out += scale.tobytes() + (block[:32] | block[32:] << 4).astype(np.uint8).tobytes()
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=5)
    a = ap.parse_args()
    r = np.random.default_rng(a.seed)
    x = (r.standard_normal(N) * np.repeat(10.0 ** r.uniform(-4, 1, N // 64), 64)).astype(np.float32)
    x[64:128] = 0
    x[130] = x[128:192].max() * 3  # an outlier: the others share few codes
    q8 = gguf.quantize(x.reshape(1, -1), gguf.GGMLQuantizationType.Q8_0).tobytes()
    a.out.write_bytes(x.tobytes() + q8 + nf4(x))


if __name__ == "__main__":
    main()

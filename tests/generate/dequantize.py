#!/usr/bin/env python3
"""Write tests/data/dequantize.bin: blocks of every quantised type and what gguf-py makes of them.

    dequantize.py OUT        needs the Python packages gguf and numpy

For each type, little endian: u32 ggml type, u32 number of blocks, the blocks' bytes, then
float32 values. Blocks are random bytes with scales that are ordinary, subnormal, zero and
negative. gguf-py computes in float32 in ggml's order, so answers are compared bit for bit.
"""
import struct
import sys

import numpy as np
from gguf import GGMLQuantizationType as T, quants, GGML_QUANT_SIZES

SCALES = {  # byte offsets of the f16 scales of a block
    T.Q4_0: (0,), T.Q4_1: (0, 2), T.Q5_0: (0,), T.Q5_1: (0, 2), T.Q8_0: (0,),
    T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,),
    T.Q2_K: (80, 82), T.Q3_K: (108,), T.IQ4_NL: (0,), T.IQ4_XS: (0,), T.MXFP4: (),
}
BLOCKS = {32: 8, 256: 4}


def blocks_of(rng, t):
    size, width = GGML_QUANT_SIZES[t]
    n = BLOCKS[size]
    raw = rng.integers(0, 256, (n, width), dtype=np.uint8)
    for at in SCALES[t]:
        scale = rng.normal(0, 0.05, n).astype(np.float16)
        scale[:3] = [0.0, 3e-7, -1.5]
        raw[:, at:at + 2] = scale.view(np.uint8).reshape(n, 2)
    if t == T.MXFP4:  # exponents: the least, ordinary ones, and none so large that a value is infinite
        raw[:, 0] = [0, 1, 2, 100, 127, 128, 129, 250]
    return raw


def main():
    rng = np.random.default_rng(7)
    with open(sys.argv[1], "wb") as out:
        for t in SCALES:
            raw = blocks_of(rng, t)
            values = quants.dequantize(raw, t).astype("<f4")
            out.write(struct.pack("<II", int(t), len(raw)) + raw.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write the engine's small goldens for the two real models, from the ids golden_texts.py chose.

    goldens.py SMOLLM2.gguf GEMMA.gguf

tests/data/goldens/MODEL.safetensors, for each of 3 texts t: `t.ids` I32 [64]; and of the
reference's next-token distribution at every position `t.top_ids` I32 [64, 64], `t.top_logprob`
F32 [64, 64] (the 64 largest, falling) and `t.rest` F32 [64] (the mass of all other tokens).
Needs torch, transformers, gguf, safetensors.
"""
import json
import pathlib
import sys
import torch
from safetensors.torch import save_file
import reference

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "goldens"
TEXTS, LENGTH, TOP = (0, 18, 19), 64, 64  # verse, code, several alphabets


def main():
    for name, path in zip(("smollm2", "gemma3-270m"), sys.argv[1:3], strict=True):
        model = reference.load(path)
        texts = json.loads((DATA / f"{name}-ids.json").read_text())
        out = {}
        for t, which in enumerate(TEXTS):
            ids = texts[which][:LENGTH]
            top = reference.log_probs(model, ids).topk(TOP, -1)
            rest = -torch.expm1(torch.logsumexp(top.values, -1))
            out |= {f"{t}.ids": torch.tensor(ids, dtype=torch.int32), f"{t}.top_ids": top.indices.int(),
                    f"{t}.top_logprob": top.values.float(), f"{t}.rest": rest.float()}
            print(f"{name} text {which}: mass of the rest {rest.mean():.3f}, largest {rest.max():.3f}")
        save_file(out, DATA / f"{name}.safetensors")


if __name__ == "__main__":
    main()

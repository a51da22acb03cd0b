#!/usr/bin/env python3
"""Write the very small random checkpoints of tests/data/models, with transformers' answers.

    tiny_models.py OUT [--seed N]

Each case is a folder as the hub ships a model (config.json, *.safetensors, no tokenizer) with
`tokens.json`, a list of id lists, and `expected.safetensors`: for prompt i, `i.embed` [T, d],
`i.resid_post.L` [T, d] and `i.logits` [T, V] in float32. Shapes are small and ragged (a
vocabulary of 67); weights are drawn large enough that every part of the block matters.
Needs torch, transformers, safetensors, and for NF4 bitsandbytes and accelerate.
"""
import argparse
import json
import pathlib
import random
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Gemma2Config, Gemma3TextConfig, LlamaConfig

SHAPE = dict(vocab_size=67, hidden_size=32, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1,
             head_dim=16, max_position_embeddings=128)
ROPE3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 16}
CASES = {  # name: (config, dtype, shard size)
    "gemma3-f32": (lambda: Gemma3TextConfig(**SHAPE, num_hidden_layers=7, sliding_window=5, query_pre_attn_scalar=24),
                   torch.float32, "90KB"),
    "gemma3-bf16": (lambda: Gemma3TextConfig(**SHAPE, num_hidden_layers=7, sliding_window=7, query_pre_attn_scalar=16,
                                             rope_scaling={"rope_type": "linear", "factor": 8.0}),
                    torch.bfloat16, "5GB"),
    "gemma2-bf16": (lambda: Gemma2Config(**SHAPE, num_hidden_layers=3, sliding_window=6, query_pre_attn_scalar=24,
                                         attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
                    torch.bfloat16, "5GB"),
    "llama-f32": (lambda: LlamaConfig(**(SHAPE | {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}),
                                      num_hidden_layers=2, tie_word_embeddings=True), torch.float32, "5GB"),
    "llama-bf16": (lambda: LlamaConfig(**SHAPE, num_hidden_layers=3, tie_word_embeddings=False, rope_theta=5e5,
                                       rope_scaling=ROPE3), torch.bfloat16, "20KB"),
    # "nf4": bitsandbytes' own file, with scales that are quantised too ("nf4x2") or not. Blocks of 64 lie in
    # rows of d = 64, and reach from row to row where there are 40 or 32 columns.
    "gemma2-nf4": (lambda: Gemma2Config(**(SHAPE | {"hidden_size": 64}), num_hidden_layers=2, sliding_window=6,
                                        query_pre_attn_scalar=24, attn_logit_softcapping=5.0,
                                        final_logit_softcapping=3.0), "nf4x2", "5GB"),
    "llama-nf4": (lambda: LlamaConfig(**SHAPE, num_hidden_layers=2, tie_word_embeddings=False), "nf4", "5GB"),
}


@torch.no_grad()
def randomize(model, seed):
    """Matrices near 1.5/sqrt(fan in); norms around their neutral value, which is 0 for Gemma's 1+w."""
    g = torch.Generator().manual_seed(seed)
    neutral = 0.0 if "gemma" in model.config.model_type else 1.0
    for p in model.parameters():
        if p.dim() == 1:
            p.copy_(neutral + 0.3 * torch.randn(p.shape, generator=g))
        else:
            p.copy_(1.5 / p.shape[-1] ** 0.5 * torch.randn(p.shape, generator=g))


def quantize(folder, twice):
    """The checkpoint in folder as bitsandbytes saves it."""
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=twice,
                             bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=how, dtype=torch.float32, device_map="cpu")
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    model.save_pretrained(folder)


@torch.no_grad()
def expanded(folder, config):
    """The same model with every 4-bit matrix as float32."""
    import bitsandbytes as bnb
    quantized = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    state = {name: p.data.float() for name, p in quantized.named_parameters()}
    for name, module in quantized.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            w = module.weight
            state[name + ".weight"] = bnb.functional.dequantize_4bit(w.data, w.quant_state).float()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    model.load_state_dict(state, strict=not config.tie_word_embeddings)
    return model


@torch.no_grad()
def answers(model, prompts):
    """Of the text model, where there is more."""
    text = model.model.language_model if hasattr(model.model, "language_model") else model.model
    out = {}
    for i, ids in enumerate(prompts):
        states = []
        hooks = [text.layers[0].register_forward_pre_hook(
            lambda m, args, kw: states.append(args[0] if args else kw["hidden_states"]), with_kwargs=True)]
        hooks += [block.register_forward_hook(lambda m, a, o: states.append(o[0] if isinstance(o, tuple) else o))
                  for block in text.layers]
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        for h in hooks:
            h.remove()
        names = [f"{i}.embed"] + [f"{i}.resid_post.{layer}" for layer in range(len(states) - 1)]
        out |= {n: s.reshape(len(ids), -1).contiguous().clone() for n, s in zip(names, states, strict=True)}
        out[f"{i}.logits"] = logits.contiguous().clone()
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=3)
    a = ap.parse_args()
    r = random.Random(a.seed)
    for k, (name, (make, dtype, shard)) in enumerate(CASES.items()):
        folder = a.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        config = make()
        config._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
        randomize(model, a.seed * 100 + k)
        nf4 = isinstance(dtype, str)
        model.to(torch.float32 if nf4 else dtype).save_pretrained(folder, max_shard_size=shard)
        if nf4:
            quantize(folder, dtype == "nf4x2")
        (folder / "generation_config.json").unlink(missing_ok=True)
        prompts = [[r.randrange(config.vocab_size) for _ in range(n)] for n in (1, 2, 9, 20)]
        (folder / "tokens.json").write_text(json.dumps(prompts) + "\n")
        model = expanded(folder, config) if nf4 else AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager").eval()
        save_file(answers(model, prompts), folder / "expected.safetensors")
        print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", sorted(p.name for p in folder.iterdir()))


if __name__ == "__main__":
    main()

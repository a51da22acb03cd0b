#!/usr/bin/env python3
"""Write more very small random checkpoints of tests/data/models, with transformers' answers.

    family_models.py OUT [--seed N]

What tiny_models.py leaves out of the families' differences: biases, Mistral's and Qwen2's windows, the
config spellings of transformers 4 and 5, text models inside multimodal checkpoints under both prefixes,
and the same weights as GGUF (model.gguf beside them), as llama.cpp's converter lays them out. Folders
hold what tiny_models.py's hold.
Needs torch, transformers 4, safetensors, gguf.
"""
import argparse
import json
import pathlib
import random

import gguf
import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, AutoModelForImageTextToText, Gemma2Config, Gemma3Config, LlamaConfig,
                          MistralConfig, Qwen2Config)

from tiny_models import answers

SHAPE = dict(vocab_size=43, hidden_size=32, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1,
             max_position_embeddings=64)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
TEXT = dict(vocab_size=43, hidden_size=32, intermediate_size=40, num_hidden_layers=7, head_dim=4, sliding_window=5,
            rope_scaling={"rope_type": "linear", "factor": 8.0})
VISION = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)


def multimodal():
    return Gemma3Config(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4, boi_token_index=40,
                        eoi_token_index=41, image_token_index=42)


def inner_prefix(folder):
    """The tensors under the names they have inside the model, and one file."""
    inside = {"language_model.model.": "model.language_model.", "vision_tower.": "model.vision_tower.",
              "multi_modal_projector.": "model.multi_modal_projector."}
    tensors = {}
    for part in sorted(folder.glob("model*.safetensors")):
        for name, t in load_file(part).items():
            old = next(p for p in inside if name.startswith(p))
            tensors[inside[old] + name[len(old):]] = t
        part.unlink()
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def only_what_differs(folder):
    """text_config as in the files that Google published: without what the class says anyway."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    says = Gemma3Config().text_config.to_dict()
    config["text_config"] = {k: v for k, v in config["text_config"].items()
                             if k == "model_type" or k != "layer_types" and v != says[k]}
    path.write_text(json.dumps(config, indent=2) + "\n")


def spelling_of_5(folder):
    """config.json's rope as transformers 5 writes it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    theta, scaling = text.pop("rope_theta", None), text.pop("rope_scaling", None) or {"rope_type": "default"}
    if "gemma3" in config["model_type"]:
        text["rope_parameters"] = {
            "full_attention": scaling | {"rope_theta": theta or 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": text.pop("rope_local_base_freq", 10000.0)}}
    else:
        text["rope_parameters"] = scaling | {"rope_theta": theta or 10000.0}
    path.write_text(json.dumps(config, indent=2) + "\n")


# name: (config, dtype, shard size, what is done to the folder, GGUF architecture or None)
CASES = {
    "qwen2": (lambda: Qwen2Config(**SHAPE, num_hidden_layers=2, tie_word_embeddings=False), torch.float16, "12KB", None,
              "qwen2"),
    "qwen2-window": (lambda: Qwen2Config(**SHAPE, num_hidden_layers=3, tie_word_embeddings=True, use_sliding_window=True,
                                         sliding_window=6, max_window_layers=1,
                                         rope_scaling={"rope_type": "linear", "factor": 3.0}), torch.bfloat16, "5GB",
                     spelling_of_5, None),
    "llama-bias": (lambda: LlamaConfig(**SHAPE, num_hidden_layers=2, attention_bias=True, mlp_bias=True, rope_theta=5e5,
                                       rope_scaling=LLAMA3), torch.float16, "5GB", spelling_of_5, "llama"),
    "mistral": (lambda: MistralConfig(**SHAPE | {"num_attention_heads": 6, "num_key_value_heads": 3}, head_dim=8,
                                      num_hidden_layers=2, sliding_window=6), torch.float16, "5GB", None, "llama"),
    "gemma2-layers": (lambda: Gemma2Config(**SHAPE, head_dim=10, num_hidden_layers=3, sliding_window=3,
                                           query_pre_attn_scalar=7, attention_bias=True, attn_logit_softcapping=None,
                                           final_logit_softcapping=3.0,
                                           layer_types=["full_attention"] + 2 * ["sliding_attention"]),
                      torch.bfloat16, "5GB", None, None),
    "gemma3-image": (multimodal, torch.bfloat16, "25KB", only_what_differs, None),
    "gemma3-image-inner": (multimodal, torch.bfloat16, "5GB", lambda f: (inner_prefix(f), spelling_of_5(f)), None),
}


@torch.no_grad()
def randomize(model, seed):
    """Matrices near 1.5/sqrt(fan in), norms around their neutral value, biases around 0."""
    g = torch.Generator().manual_seed(seed)
    gemma = "gemma" in model.config.model_type
    for name, p in model.named_parameters():
        if p.dim() == 1 and not name.endswith("bias"):
            p.copy_((0.0 if gemma else 1.0) + 0.3 * torch.randn(p.shape, generator=g))
        else:
            p.copy_((0.5 if p.dim() == 1 else 1.5 / p.shape[-1] ** 0.5) * torch.randn(p.shape, generator=g))


def interleaved(t, heads):
    """Llama's q and k: the two halves of a head row by row."""
    return t.reshape(heads, 2, t.shape[0] // heads // 2, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)


def llama3_divisors(c):
    """What llama.cpp's converter writes for the scaling: 1, the factor, or between them by wavelength."""
    rope, half = c.rope_scaling, c.head_dim // 2
    freq = 1 / c.rope_theta ** (torch.arange(half, dtype=torch.float64) / half)
    turns = rope["original_max_position_embeddings"] * freq / (2 * torch.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / ((1 - smooth) / rope["factor"] + smooth)


def write_gguf(model, path, architecture):
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    c = model.config
    w = gguf.GGUFWriter(path, architecture)
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_freq_base(c.rope_theta)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    if architecture == "llama":
        w.add_vocab_size(c.vocab_size)
        w.add_rope_dimension_count(c.head_dim)
    if getattr(c, "head_dim", None):
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
    if c.model_type == "mistral":
        w.add_sliding_window(c.sliding_window)
    for name, t in model.state_dict().items():
        if name not in outer:
            layer, part = name.removeprefix("model.layers.").split(".", 1)
            module, kind = part.rsplit(".", 1)
            if architecture == "llama" and module.endswith(("q_proj", "k_proj")):
                t = interleaved(t, c.num_attention_heads if module.endswith("q_proj") else c.num_key_value_heads)
            name = f"blk.{layer}.{names[module]}.{kind}"
        w.add_tensor(outer.get(name, name), (t if t.dim() == 1 else t.half()).contiguous().numpy())
    if getattr(c, "rope_scaling", None):
        w.add_tensor("rope_freqs.weight", llama3_divisors(c).float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=7)
    a = ap.parse_args()
    r = random.Random(a.seed)
    for k, (name, (make, dtype, shard, change, architecture)) in enumerate(CASES.items()):
        folder = a.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        config = make()
        auto = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
        model = auto.from_config(config, attn_implementation="eager").float()
        # Two multimodal cases, one model: the weights are found under either prefix.
        randomize(model, a.seed * 100 + (k if auto is AutoModelForCausalLM else 50))
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        (folder / "generation_config.json").unlink(missing_ok=True)
        model = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        prompts = [[r.randrange(40) for _ in range(n)] for n in (1, 14)]
        (folder / "tokens.json").write_text(json.dumps(prompts) + "\n")
        save_file(answers(model, prompts), folder / "expected.safetensors")
        if architecture:
            write_gguf(model, folder / "model.gguf", architecture)
        if change:
            change(folder)
        print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", sorted(p.name for p in folder.iterdir()))


if __name__ == "__main__":
    main()

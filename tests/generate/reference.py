"""The reference that Rhumb's engine is held against: transformers on a GGUF's weights, each
expanded to float32. Shared by the generators here and by bench/fidelity.

Expanding is transformers' own; `load` compares every tensor with gguf-py's dequantisation, so
that neither its un-permutation of Llama's q and k nor its handling of Gemma's norms (the file
stores 1+w) has to be trusted.
"""
import os
import pathlib
import re

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported

import numpy as np
import torch
import transformers
import gguf

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm"}
NORMS = {"llama": {"ffn_norm": "post_attention_layernorm"},
         "gemma3_text": {"post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
                         "post_ffw_norm": "post_feedforward_layernorm"}}


def unpermuted(w, heads):
    """gguf row h*hd+2i+p is checkpoint row h*hd+p*hd/2+i."""
    rows, cols = w.shape
    hd = rows // heads
    return w.reshape(heads, hd // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def checked(model, path):
    state = model.state_dict()
    config = model.config
    seen = set()
    for t in gguf.GGUFReader(path).tensors:
        want = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        stem = t.name.removesuffix(".weight")
        block = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
        if block:
            kind = block[2]
            name = f"model.layers.{block[1]}.{(NAMES | NORMS[config.model_type])[kind]}.weight"
            if config.model_type == "llama" and kind in ("attn_q", "attn_k"):
                want = unpermuted(want, config.num_attention_heads if kind == "attn_q"
                                  else config.num_key_value_heads)
        else:
            name = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight",
                    "output": "lm_head.weight"}[stem]
        got = state[name].numpy()
        if config.model_type.startswith("gemma") and "norm" in stem:
            want = want - 1  # transformers keeps w and applies 1+w
        assert got.shape == want.shape and np.array_equal(got, want), f"{path}: {t.name} was expanded wrongly"
        seen.add(name)
    missing = set(state) - seen - ({"lm_head.weight"} if config.tie_word_embeddings else set())
    assert not missing, f"not in the file: {missing}"
    return model


def load(path):
    path = pathlib.Path(path).resolve()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()
    return checked(model, path)


@torch.no_grad()
def log_probs(model, ids):
    """[T, V] float64: log softmax of float32 logits, summed in float64."""
    return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)

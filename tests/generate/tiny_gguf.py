#!/usr/bin/env python3
"""Write the very small random GGUF models that have a tokenizer: words.gguf and words-bos.gguf.

    tiny_gguf.py OUT [--seed N]

Llama shape, 3 layers of width 32, byte-level BPE with a handful of words as tokens, so that texts can
be tokenized, templates applied and sources extracted without a real model. words.gguf has a ChatML
template and adds no BOS (as SmolLM2), words-bos.gguf adds one (as Gemma) and has neither a template
nor the tokens of one.
Needs gguf, numpy.
"""
import argparse
import pathlib

import gguf
import numpy as np

D, LAYERS, HEADS, KV, HEAD_DIM, FF, CONTEXT = 32, 3, 2, 1, 16, 40, 64
# Merges rank in this order: the space must join its word before the word is whole.
WORDS = [" San", " Francisco", " Tokyo", " Paris", " rain", " snow", " the", " of", " in", " mayor", " city", " love",
         " walk", "San", "Tokyo", "rain", "The", "user", "system", "assistant"]
TEMPLATE = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
            "{{ '<|im_start|>system\nYou rain<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
            "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|im_start|>assistant\n' }}{% endif %}")


def byte_alphabet():
    """GPT-2's: printable bytes stand for themselves, the others for 256, 257, ..."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(other)) for b in range(256)]


def vocabulary():
    letters = byte_alphabet()
    tokens, merges = list(letters), []
    for word in WORDS:
        pieces = [letters[b] for b in word.encode()]
        left = pieces[0]
        for right in pieces[1:]:
            merge = f"{left} {right}"
            left += right
            if merge not in merges:
                merges.append(merge)
            if left not in tokens:
                tokens.append(left)
    return tokens, merges


def write(path, bos, seed):
    r = np.random.default_rng(seed)
    words, merges = vocabulary()
    turns = ["<one>", "<two>"] if bos else ["<|im_start|>", "<|im_end|>"]
    tokens = ["<|endoftext|>", *turns, "<s>", *words]
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(D)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_key_length(HEAD_DIM)
    w.add_value_length(HEAD_DIM)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3] * 4 + [1] * len(words))
    w.add_token_merges(merges)
    w.add_bos_token_id(3 if bos else 1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(bos)
    if not bos:
        w.add_chat_template(TEMPLATE)

    def matrix(name, rows, cols):
        w.add_tensor(name, (1.5 / cols ** 0.5 * r.standard_normal((rows, cols))).astype(np.float16))

    def norm(name):
        w.add_tensor(name, (1 + 0.3 * r.standard_normal(D)).astype(np.float32))

    matrix("token_embd.weight", len(tokens), D)
    norm("output_norm.weight")
    for i in range(LAYERS):
        norm(f"blk.{i}.attn_norm.weight")
        matrix(f"blk.{i}.attn_q.weight", HEADS * HEAD_DIM, D)
        matrix(f"blk.{i}.attn_k.weight", KV * HEAD_DIM, D)
        matrix(f"blk.{i}.attn_v.weight", KV * HEAD_DIM, D)
        matrix(f"blk.{i}.attn_output.weight", D, HEADS * HEAD_DIM)
        norm(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.ffn_gate.weight", FF, D)
        matrix(f"blk.{i}.ffn_up.weight", FF, D)
        matrix(f"blk.{i}.ffn_down.weight", D, FF)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(path, path.stat().st_size, "bytes,", len(tokens), "tokens")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=5)
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    write(a.out / "words.gguf", False, a.seed)
    write(a.out / "words-bos.gguf", True, a.seed)


if __name__ == "__main__":
    main()

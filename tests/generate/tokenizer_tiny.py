#!/usr/bin/env python3
"""Small vocabularies for each pre-tokenizer and for SentencePiece's space prefix, with llama.cpp's ids.

    python3 tokenizer_tiny.py LLAMA_IDS < tests/data/tokenizer/strings.txt   # needs gguf

writes tests/data/tokenizer/tiny-NAME.gguf and tiny-NAME.ids: ids as in tokenizer_strings.py, for the
first 80 strings and every twelfth of the others. The merges are learned over whole strings, so that without the right
pre-tokenizer they would join across words. The same files every time.
"""
import collections
import pathlib
import sys

import gguf

from tokenizer_strings import ask, unescape

OUT = pathlib.Path(__file__).parent.parent / "data" / "tokenizer"
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
          "<|eom_id|>", "<|eot_id|>"]
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


def learn(sequences, n):
    """The n most frequent pairs, merged one after the other."""
    merges = []
    for _ in range(n):
        pairs = collections.Counter()
        for s in sequences:
            pairs.update(zip(s, s[1:]))
        (a, b), _ = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))
        merges.append((a, b))
        for s in sequences:
            i = 0
            while i + 1 < len(s):
                if s[i] == a and s[i + 1] == b:
                    s[i:i + 2] = [a + b]
                i += 1
    return merges


def alphabet():
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in itself]
    return {**{b: chr(b) for b in itself}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def write(path, model, tokens, types, extra, scores=None):
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores:
        w.add_token_scores(scores)
    extra(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def byte_level(texts, pre):
    letters = alphabet()
    merges = learn([[letters[b] for b in t[:80]] for t in texts], 400)
    special = LLAMA3 if pre == "llama-bpe" else ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    user = ["<table>", "<b>", "  ", "\n\n"]
    tokens = special + user + list(letters.values()) + list(dict.fromkeys(a + b for a, b in merges))
    types = [CONTROL] * len(special) + [USER] * len(user)
    types += [NORMAL] * (len(tokens) - len(types))

    def extra(w):
        w.add_tokenizer_pre(pre)
        w.add_token_merges([f"{a} {b}" for a, b in merges])
        w.add_bos_token_id(0)
        w.add_eos_token_id(1)
    write(OUT / f"tiny-{pre}.gguf", "gpt2", tokens, types, extra)


def sentencepiece(texts):
    words = [list(t.decode(errors="ignore").replace(" ", "▁")[:80]) for t in texts]
    chars = [c for c, n in collections.Counter(c for w in words for c in w).most_common(300)]
    special, user = ["<unk>", "<s>", "</s>", "<bos>"], ["<table>", "[multimodal]"]
    # llama.cpp would merge the letters of a control token into it, even where it is plain text.
    # Rhumb does not, so the vocabulary has no parts of one.
    parts = {t[i:j] for t in special + user for i in range(len(t)) for j in range(i + 2, len(t) + 1)}
    merges = [m for m in learn([[c if c in chars else "\0" for c in w] for w in words], 400)
              if not {"\0", "\n"} & set(m[0] + m[1]) and m[0] + m[1] not in parts]
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    joined = [t for t in dict.fromkeys(a + b for a, b in merges)]
    chars = [c for c in chars if c >= " "]
    tokens = special + bytes_ + user + joined + chars
    types = [UNKNOWN, CONTROL, CONTROL, CONTROL] + [BYTE] * 256 + [USER] * 2
    types += [NORMAL] * (len(tokens) - len(types))
    first = len(special) + 256 + 2
    scores = [0.0] * first + [float(-i) for i in range(len(tokens) - first)]

    def extra(w):
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
        w.add_unk_token_id(0)
    write(OUT / "tiny-spaced.gguf", "llama", tokens, types, extra, scores)


def main():
    texts = [unescape(l) for l in sys.stdin.buffer.read().split(b"\n")[:-1]]
    names = ["gpt-2", "smollm", "llama-bpe", "qwen2", "default"]
    for pre in names:
        byte_level(texts, pre)
    sentencepiece(texts)
    for name in names + ["spaced"]:
        some = [t for i, t in enumerate(texts) if i < 80 or i % 12 == 0]
        plain, special = (ask(sys.argv[1], OUT / f"tiny-{name}.gguf", mode, some) for mode in ("plain", "special"))
        with open(OUT / f"tiny-{name}.ids", "w") as f:
            f.writelines(p + ("\n" if p == s else "|" + s + "\n") for p, s in zip(plain, special))


main()

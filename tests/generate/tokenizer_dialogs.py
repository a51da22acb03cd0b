#!/usr/bin/env python3
"""Chats of several turns by transformers' apply_chat_template, for the folders of tokenizer_folders.py.

    python3 tokenizer_dialogs.py            # needs transformers, tokenizers, sentencepiece

writes tests/data/tokenizer/hub/dialogs.json: {folder: [[messages, ids], …]}, messages [role, text] each. Ids of null:
the template refuses. Gemma's templates refuse turns that do not alternate, which is put in front of theirs here.
"""
import json
import pathlib
import shutil
import tempfile

from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer
from transformers.models.llama.tokenization_llama import LlamaTokenizer

HUB = pathlib.Path(__file__).resolve().parent.parent / "data" / "tokenizer" / "hub"
ALTERNATES = """{% set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}{% for m in turns -%}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% endfor -%}"""
FOLDERS = {"llama3.1": "llama3.1", "llama3": "llama3.1", "qwen2": "qwen2", "smollm2": "smollm2", "gemma3": "gemma3", "gemma2": "gemma3",
           "mistral0.1": "llama2", "mistral0.2": "llama2", "llama2-chat": "llama2", "mistral0.3": "mistral0.3", "nemo": "nemo"}
U, A, S = "user", "assistant", "system"
DIALOGS = [
    [(U, "Name a city."), (A, "Paris."), (U, "Another.")],
    [(S, "Be brief."), (U, "Name a city."), (A, "Paris."), (U, "Another.")],
    [(S, " spaced \n"), (U, "  Name\n"), (A, "\n Paris. \n\n"), (U, "\tAnother. ")],
    [(U, "1"), (A, "2"), (U, "3"), (A, "4"), (U, "5"), (A, "é\u0301 😀"), (U, "日本語で")],
    [(U, ""), (A, ""), (U, "")],
    [(U, "a"), (U, "b")],
    [(A, "Hello."), (U, "Hi.")],
    [(U, "a"), (A, "b"), (A, "c"), (U, "d")],
    [(S, "Be brief."), (U, "a"), (U, "b"), (A, "c"), (U, "d")],
    [(U, "x <end_of_turn> <|im_end|> <|eot_id|> y"), (A, "<|im_start|><start_of_turn>"), (U, "z")],
    [(S, "Be brief."), (U, ""), (A, " x "), (U, " \n")],
    [(U, "[INST] a [/INST] <<SYS>>"), (A, "b</s><s> c"), (U, "[/INST]d</s>")],
]


def main():
    out = {}
    for name, vocabulary in FOLDERS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / name
            shutil.copytree(HUB / vocabulary, folder)
            shutil.copytree(HUB / name, folder, dirs_exist_ok=True)
            gemma = name.startswith("gemma")
            slow = {"gemma3": GemmaTokenizer, "gemma2": GemmaTokenizer, "mistral0.1": LlamaTokenizer}
            t = slow.get(name, AutoTokenizer if (folder / "tokenizer.model").exists() else PreTrainedTokenizerFast).from_pretrained(folder)
            template = t.get_chat_template()
            out[name] = []
            for dialog in DIALOGS:
                messages = [{"role": r, "content": c} for r, c in dialog]
                try:
                    ids = t.apply_chat_template(messages, add_generation_prompt=True, chat_template=(ALTERNATES if gemma else "") + template)
                except Exception as e:
                    assert "alternate" in str(e) or "System role" in str(e), e
                    ids = None
                out[name].append([dialog, ids])
    rows = lambda r: "[\n" + ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in r) + "\n]"
    (HUB / "dialogs.json").write_text("{" + ",\n".join(f'"{n}":{rows(r)}' for n, r in out.items()) + "}\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Chat prompts as the model's own Jinja template renders them, as ids by llama.cpp.

    python3 tokenizer_chat.py LLAMA_IDS NAME MODEL.gguf > tests/data/tokenizer/NAME.chat

Needs gguf and jinja2. A line a prompt, fields separated by tabs: system text ("-" for none given),
user's text, both escaped as in strings.txt; the ids with control tokens in these texts as plain
text; and the ids with them as tokens. Jinja runs with transformers' settings (trim_blocks,
lstrip_blocks). NAME gemma3-270m and tiny-llama-bpe use the templates below.
"""
import re
import sys

import gguf
import jinja2
import jinja2.sandbox

from tokenizer_strings import ask, escape

GEMMA = """{{ bos_token }}{% if messages[0].role == 'system' %}%SYSTEM%{% set rest = messages[1:] %}
{% else %}{% set prefix = '' %}{% set rest = messages %}{% endif %}
{% for m in rest %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}
{{- (prefix if loop.first else '') + (m.content | trim) + '<end_of_turn>\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
LLAMA3 = """{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n'
 + m.content | trim + '<|eot_id|>' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
TEMPLATES = {  # the templates' effect for text, in fewer words than the originals
    "gemma3-270m": GEMMA.replace("%SYSTEM%", "{% set prefix = messages[0].content + '\\n\\n' %}"),
    "tiny-llama-bpe": LLAMA3,
}
PLACE = "\ue123\ue456"
USERS = [
    "Name a city.", "", " ", "  two spaces", "trailing  ", "\n\nnewlines\n\n", "\ttab", "a\r\nb\r\n",
    "What is 12345 + ½?", "\u00a0\u3000wide\u2003", "\x1cseparators\x1f", "<|im_end|>\n<|im_start|>system\nno",
    "<end_of_turn>\n<start_of_turn>model\n", "<bos>", "</s><b>bold</b>", "  <|im_start|>  ", "é\u0301 🙂👩‍👩‍👧‍👦",
    "日本語で答えて。", "\n", "'s", "1", "▁▁ x", "\u200bzero width\u200b", "x" * 60, " " * 20 + "y", "<|eot_id|>z",
    "<|start_header_id|>system<|end_header_id|>",
]
SYSTEMS = [None, "Be brief.", " spaces ", "ends with newline\n", "<|im_end|>", "<end_of_turn>x", "\n"]


def main():
    program, name, path = sys.argv[1:]
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    template = TEMPLATES.get(name) or fields["tokenizer.chat_template"].contents()
    controls = {t: i for i, t in enumerate(tokens) if types[i] == 3}
    bos = tokens[fields["tokenizer.ggml.bos_token_id"].contents()]
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    compiled = env.from_string(template)

    def render(system, user):
        messages = [{"role": "system", "content": system}] if system is not None else []
        return compiled.render(messages=messages + [{"role": "user", "content": user}],
                               add_generation_prompt=True, bos_token=bos)

    def trims(which):
        text = render("  " + PLACE, "x") if which == 0 else render(None, "  " + PLACE)
        return "  " + PLACE not in text

    trim = trims(0), trims(1)
    cut = re.compile("(" + "|".join(map(re.escape, sorted(controls, key=len, reverse=True))) + ")")
    prompts = [(s, u) for s in SYSTEMS for u in (USERS if s is None or s == "Be brief." else USERS[:3])]
    special = ask(program, path, "special", [render(s, u).encode() for s, u in prompts])
    for (system, user), ids in zip(prompts, special):
        # Plain: the template's control tokens are found with places in the stead of the texts.
        a, b = PLACE + "a", PLACE + "b"
        parts = cut.split(render(None if system is None else a, b))
        fill = lambda t: t.replace(a, (system or "").strip() if trim[0] else system or "") \
                          .replace(b, user.strip() if trim[1] else user)
        texts = [fill(p).encode() for p in parts[0::2]]
        pieces = ask(program, path, "plain", texts)
        plain = []
        for i, piece in enumerate(pieces):
            plain += [piece] if piece else []
            if 2 * i + 1 < len(parts):
                plain.append(str(controls[parts[2 * i + 1]]))
        shown = "-" if system is None else escape(system)
        print(f"{shown}\t{escape(user)}\t{' '.join(plain)}\t{ids}")


main()

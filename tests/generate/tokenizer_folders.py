#!/usr/bin/env python3
"""Small tokenizers saved as folders of the Hub are, with transformers' ids for texts and chats.

    python3 tokenizer_folders.py            # needs transformers, tokenizers, sentencepiece

writes tests/data/tokenizer/hub/NAME/: tokenizer.json or tokenizer.model, tokenizer_config.json, and
chat_template.jinja where that holds the template; and answers.json: {"texts": [[text, ids, plain ids],
…], "chats": [[system or null, user, ids], …], "with_bos": ids}. Plain ids are those with special
tokens as text: left out if they are the same, null where transformers then cuts no other added tokens
either (its slow tokenizers). Chats of null: the template refuses. The tokenizers are
trained on strings of tokenizer_strings.py; the templates have the families' effect. Of SentencePiece
folders the slow tokenizer answers, which is libsentencepiece; where the fast one differs is printed.
With legacy false the fast one answers: the slow one has a space in front of a token that is first.
The same files every time.
"""
import io
import json
import pathlib
import shutil
import tempfile

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers)
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer
from transformers.models.llama.tokenization_llama import LlamaTokenizer

from tokenizer_strings import strings

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "data" / "tokenizer" / "hub"

LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                r"\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")
GEMMA2 = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim
 + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
GEMMA3 = """{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\\n\\n' -%}
{%- set rest = messages[1:] -%}{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}
{%- for m in rest -%}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + (first if loop.first else '') }}
{{- m['content'] | trim }}{{ '<end_of_turn>\\n' }}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""
CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
%SYSTEM%<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
CHATML_BARE = CHATML[:CHATML.index("{% if loop")] + CHATML[CHATML.index("{% endif %}") + len("{% endif %}"):]
LLAMA31 = """{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: " + date_string + "\\n\\n" + system }}
{{- "<|eot_id|>" }}
{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
LLAMA3 = """{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}"""
ALTERNATING = """(message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"""
MISTRAL_01 = """{{ bos_token }}{% for message in messages %}{% if """ + ALTERNATING + """{% if message['role'] == 'user' %}
{{- '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""
SYSTEM_APART = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

"""
MISTRAL_02 = SYSTEM_APART + """{{- bos_token }}
{%- for message in loop_messages %}
    {%- if """ + ALTERNATING + """
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- endif %}
{%- endfor %}
"""
MISTRAL_03 = SYSTEM_APART.replace("'", '"') + """{#- Turns alternate, but for those of tools. #}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if message["role"] != "tool" %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is defined and tools is not none and loop.last %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {{- '{"type": "function", "function": ' + tool.function|tojson + "}}" }}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] " + message.tool_calls|tojson }}
        {{- "]" + eos_token }}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""
NEMO = MISTRAL_03.replace("[INST] ", "[INST]").replace('" " + message["content"]|trim', 'message["content"]')
LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}
{%- elif false == true and not '<<SYS>>' in messages[0]['content'] %}{% set system_message = 'You are honest.\\n' %}{% else %}
{%- set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if """ + ALTERNATING + """
{%- if loop.index0 == 0 and system_message != false %}
{%- set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}
{%- if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'system' %}
{{- '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}{% elif message['role'] == 'assistant' %}
{{- ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\r\n", "a\r\n\r\nb", "\t\tx", "12345 6789", "3.14159", "½ ²³ Ⅳ 一二三", "１２３", "٣٤٥",
    "don't WE'LL 'Twas 's 'ſ", "日本語のテキスト、漢字。", "한국어 조합 \u1112\u1161\u11ab", "e\u0301 é n\u0303 a\u0323\u0308 a\u0308\u0323",
    "\u0344 \u212b \ufb2c \u0958 \u2126", "क्\u200dष \u09c7\u09be", "😀👍🏽👩‍👩‍👧‍👦🇫🇷", "a\u00a0b\u3000c\u2028d\u0085e\u180ef", " \u200b zero",
    "x = {\n    'a': [1, 2],\n}\n", "    four\n        eight", "\n\n\n\nend", "ends in spaces    \n", "\x00\x01\x7f", "A" * 70, " " * 33 + "y",
    "▁ ▁▁ under▁score", "<0x0A> <0x41>", "\u0378\U0001e4d0\U000323af\U00010d42 unassigned", "ß ﬁ İ ſ", "=" * 40 + "\n" + "-" * 3,
]
CONTROL = [
    "%A%", "a%A%b", "a %A% b", "  %A%  ", "%A%%B%", "%A%\n\n%B% \n", "<%A%", "%A", "x%B%>y", " %B%\u3000\tz", "%B%%B%%A%", "é%B%e\u0301", "%A% \u00a0 %A%",
]
USERS = ["Name a city.", "", "  spaces  ", "\n\nlines\r\n", "What is 12345 + ½?", "日本語で😀", "e\u0301 é", "%A%x %B%", "'s", "\u3000wide\u00a0"]
SYSTEMS = [None, "Be brief.", " spaced \n"]


CORPUS = [s + "\n" for s in strings() if 0 < len(s) < 120 and "\0" not in s]
ASCII = [s for s in CORPUS if s.isascii() and s.strip()]


def save(name, tokenizer, config, template=None, jinja=False):
    folder = OUT / name
    folder.mkdir(parents=True)
    if template and jinja:
        (folder / "chat_template.jinja").write_text(template)
    elif template:
        config = {**config, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False) + "\n")
    if isinstance(tokenizer, bytes):
        (folder / "tokenizer.model").write_bytes(tokenizer)
    else:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")
    return folder


def byte_level(pre, special, others=(), normalizer=None, post=None, merges_as_pairs=True, ignore_merges=False, n=520):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=n, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(special)
    t.add_tokens(list(others))
    if post:
        t.post_processor = post(t)
    data = json.loads(t.to_str())
    if not merges_as_pairs:
        data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    return data


def piece_model(n, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([s.strip("\n") for s in ASCII]), model_writer=out, vocab_size=n, model_type="bpe",
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
        num_threads=1, minloglevel=2, split_digits=True, allow_whitespace_only_pieces=True, max_sentence_length=4192, **options)
    return out.getvalue()


def answer(folder, slow_class, marks, chat, chats_only=False):
    """texts, chats with the marks %A% and %B% filled in."""
    slow = slow_class.from_pretrained(folder) if slow_class else None
    t = slow or (AutoTokenizer if (folder / "tokenizer.model").exists() else PreTrainedTokenizerFast).from_pretrained(folder)
    plain = None
    if not slow:
        plain = Tokenizer.from_str(t.backend_tokenizer.to_str())
        plain.encode_special_tokens = True
    fill = lambda s: s.replace("%A%", marks[0]).replace("%B%", marks[1]).replace("%A", marks[0][:-1])
    texts, chats = [], []
    for s in [] if chats_only else dict.fromkeys(map(fill, TEXTS + CONTROL + [x for x in strings(700) if 0 < len(x) < 50][60:68])):
        special = t.encode(s, add_special_tokens=False)
        p = plain.encode(s, add_special_tokens=False).ids if plain else t.encode(s, add_special_tokens=False, split_special_tokens=True)
        if slow and any(a in s for a in slow.get_added_vocab()):
            p = None
        texts.append([s, special] if p == special else [s, special, p])
    for system in SYSTEMS if chat else []:
        for user in map(fill, USERS if system is None else USERS[:4]):
            messages = ([{"role": "system", "content": system}] if system is not None else []) + [{"role": "user", "content": user}]
            try:
                ids = t.apply_chat_template(messages, add_generation_prompt=True)
            except Exception as e:
                assert "System role" in str(e) or "alternate" in str(e), e
                ids = None
            chats.append([system, user, ids])
    if slow:
        f = AutoTokenizer.from_pretrained(folder)
        differ = [s for s, ids, *_ in texts if f.encode(s, add_special_tokens=False) != ids]
        print(folder.name, "fast differs from slow in", len(differ), "of", len(texts), differ[:6])
    rows = lambda r: "[\n" + ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in r) + "\n]"
    (folder / "answers.json").write_text('{"texts":' + rows(texts) + ',\n"chats":' + rows(chats) +
                                         f',\n"with_bos":{json.dumps(t.encode("Name a city."))}}}\n')


def as_json(name, source, template, change=None, **config):
    """The SentencePiece folder `source` with its vocabulary as transformers writes it to tokenizer.json, merges and all."""
    given = json.loads((OUT / source / "tokenizer_config.json").read_text())
    given.pop("chat_template", None)
    with tempfile.TemporaryDirectory() as place:
        (pathlib.Path(place) / "tokenizer_config.json").write_text(json.dumps({**given, **config}))
        (pathlib.Path(place) / "tokenizer.model").write_bytes((OUT / source / "tokenizer.model").read_bytes())
        data = json.loads(AutoTokenizer.from_pretrained(place).backend_tokenizer.to_str())
    if change:
        change(data)
    return save(name, data, {**given, **config}, template)


def special(*names, **flags):
    return [AddedToken(n, special=True, normalized=False, **flags) for n in names]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    split = lambda p: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bos = lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    data = byte_level(split(LLAMA3_SPLIT), special(*names), post=bos, ignore_merges=True)
    for name, template in (("llama3.1", LLAMA31), ("llama3", LLAMA3)):
        answer(save(name, data, config, template), None, ("<|eot_id|>", "<|start_header_id|>"), True, name == "llama3")
        if name == "llama3":
            (OUT / name / "tokenizer.json").unlink()  # the same as llama3.1's

    data = byte_level(split(QWEN2_SPLIT), special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), [AddedToken("<tool_call>", normalized=False)],
                      normalizer=normalizers.NFC(), merges_as_pairs=False)
    config = {"bos_token": None, "eos_token": "<|im_end|>", "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False}
    answer(save("qwen2", data, config, CHATML.replace("%SYSTEM%", "You are a helpful assistant."), jinja=True), None, ("<|im_end|>", "<tool_call>"), True)

    data = byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
                      special("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
                      [AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<sep>", rstrip=True, normalized=True), AddedToken("  ", normalized=True)])
    config = {"bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<|im_end|>"}, "tokenizer_class": "GPT2Tokenizer", "unk_token": "<|endoftext|>"}
    answer(save("smollm2", data, config, [{"name": "tool_use", "template": "none"}, {"name": "default", "template":
           CHATML.replace("%SYSTEM%", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")}]), None, ("<mask>", "<sep>"), True)

    data = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), special("<|endoftext|>"), n=300, merges_as_pairs=False)
    answer(save("gpt2", data, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer"}), None, ("<|endoftext|>", "<x>"), False)

    model = piece_model(500, add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", bos_piece="<bos>", eos_piece="<eos>",
                        user_defined_symbols=["<unused0>", "<start_of_turn>", "<end_of_turn>", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "</b>"])
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    decoder = {str(sp.piece_to_id(p)): {"content": p, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
               for p in ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")}
    config = {"add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": decoder, "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
              "unk_token": "<unk>", "tokenizer_class": "GemmaTokenizer", "spaces_between_special_tokens": False}
    for name, template in (("gemma3", GEMMA3), ("gemma2", GEMMA2)):
        answer(save(name, model, config, template), GemmaTokenizer, ("<end_of_turn>", "<start_of_turn>"), True, name == "gemma2")
        if name == "gemma2":
            (OUT / name / "tokenizer.model").unlink()  # the same as gemma3's

    model = piece_model(480, add_dummy_prefix=True)
    n = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    decoder = {str(i): {"content": c, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": s}
               for i, c, s in [(0, "<unk>", True), (1, "<s>", True), (2, "</s>", True), (n, "<|im_end|>", True), (n + 1, "<|im_start|>", False)]}
    config = {"add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": decoder, "bos_token": "<s>", "eos_token": "</s>",
              "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    for name, legacy in (("llama2", True), ("llama2-new", False)):
        answer(save(name, model, {**config, "legacy": legacy}, CHATML_BARE), LlamaTokenizer if legacy else None, ("</s>", "<|im_end|>"), True)
        if name == "llama2-new":
            (OUT / name / "tokenizer.model").unlink()  # the same as llama2's
    decoder = {i: d for i, d in decoder.items() if int(i) < n}
    for name, legacy, template in (("mistral0.1", True, MISTRAL_01), ("mistral0.2", False, MISTRAL_02), ("llama2-chat", False, LLAMA2)):
        folder = save(name, model, {**config, "added_tokens_decoder": decoder, "legacy": legacy}, template)
        answer(folder, LlamaTokenizer if legacy else None, ("</s>", "[INST]"), True, True)
        (folder / "tokenizer.model").unlink()  # the same as llama2's

    model = piece_model(380, add_dummy_prefix=True, control_symbols=["[INST]", "[/INST]", "[TOOL_CALLS]"])
    decoder = {**decoder, **{str(i): {**decoder["1"], "content": c} for i, c in ((3, "[INST]"), (4, "[/INST]"), (5, "[TOOL_CALLS]"))}}
    answer(save("mistral0.3", model, {**config, "added_tokens_decoder": decoder, "legacy": False}, MISTRAL_03, jinja=True), None, ("</s>", "[INST]"), True, True)

    data = byte_level(split(LLAMA3_SPLIT), special("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), n=300, ignore_merges=True)
    config = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True}
    answer(save("nemo", data, config, NEMO), None, ("</s>", "[INST]"), True, True)

    # tokenizer.json alone: Prepend and Replace of older ones, Metaspace, Gemma's; and words of their own, merges as strings.
    def in_words(data):
        data["pre_tokenizer"].update(split=True, prepend_scheme="always")
        data["model"].update(merges=[" ".join(m) for m in data["model"]["merges"]], byte_fallback=False)
    for name, source, template, marks, options in (
            ("llama2-json", "llama2", CHATML_BARE, ("</s>", "<|im_end|>"), {"legacy": True}),
            ("mistral-json", "mistral0.3", MISTRAL_03, ("</s>", "[INST]"), {"legacy": False}),
            ("gemma-json", "gemma3", GEMMA3, ("<end_of_turn>", "<start_of_turn>"), {}),
            ("words-json", "mistral0.3", MISTRAL_03, ("</s>", "[INST]"), {"legacy": False, "change": in_words})):
        answer(as_json(name, source, template, **options), None, marks, True)


if __name__ == "__main__":
    main()

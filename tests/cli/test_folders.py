"""Folders as the Hub has them: tokenizer, chat templates, stop ids, shards; and what is wrong with them."""
import json
import shutil
import struct

from harness import ROOT, expect, main

HUB = ROOT / "tests" / "data" / "tokenizer" / "hub"
D, VOCAB = 8, 600


def config(**more):
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": D, "num_hidden_layers": 1, "num_attention_heads": 1,
            "num_key_value_heads": 1, "intermediate_size": 8, "vocab_size": VOCAB, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu", **more}


def tensors():
    layer = "model.layers.0."
    shapes = {"model.embed_tokens.weight": [VOCAB, D], "model.norm.weight": [D], layer + "input_layernorm.weight": [D],
              layer + "post_attention_layernorm.weight": [D], **{layer + f"self_attn.{p}_proj.weight": [D, D] for p in "qkvo"},
              **{layer + f"mlp.{p}_proj.weight": [8, 8] for p in ("gate", "up", "down")}}
    value = lambda i, k: ((i * 37 + k * 11) % 23 - 11) / 10
    return {n: (s, [value(i, k) for i in range(s[0] * (s[1] if len(s) > 1 else 1))]) for k, (n, s) in enumerate(shapes.items())}


def safetensors(all_of):
    header, data = {}, b""
    for name, (shape, values) in all_of.items():
        bits = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def folder(place, name, vocabulary=None, **files):
    """The model's files, the tokenizer's of tests/data; `files` replace, as text or JSON; None leaves out."""
    to = place.dir / name
    to.mkdir()
    (to / "config.json").write_text(json.dumps(config()))
    (to / "model.safetensors").write_bytes(safetensors(tensors()))
    for source in dict.fromkeys([vocabulary or name, name] if (HUB / name).is_dir() else []):
        for f in (HUB / source).iterdir():
            if f.name.startswith("tokenizer") or f.name.endswith(".jinja"):
                shutil.copy(f, to)
    for f, content in files.items():
        path = to / f.replace("_json", ".json").replace("_jinja", ".jinja").replace("_model", ".model")
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode())
    return to


def answers(name):
    return json.loads((HUB / name / "answers.json").read_text())


def ids_of(place, at, texts, *flags):
    """One run for many texts."""
    r = place.ok("tokens", at, "--file", "-", *flags, input="".join(json.dumps(t) + "\n" for t in texts).encode())
    return [json.loads(line)["ids"] for line in r.out.splitlines()]


def test_texts_and_chats(place):
    for name, vocabulary in (("llama3.1", None), ("qwen2", None), ("smollm2", None), ("gemma3", None), ("gemma2", "gemma3"), ("llama2", None), ("mistral0.3", None)):
        at = folder(place, name, vocabulary)
        known = answers(name)
        texts = [t for t, *_ in known["texts"]]
        assert ids_of(place, at, texts, "--special") == [ids for _, ids, *_ in known["texts"]], name
        assert all(got == row[-1] or row[-1] is None for got, row in zip(ids_of(place, at, texts), known["texts"])), name
        for system in {s for s, *_ in known["chats"]}:
            rows = [(user, ids) for s, user, ids in known["chats"] if s == system]
            flags = ["--chat", "--special"] + (["--system", system] if system is not None else [])
            if rows[0][1] is None:
                assert "no system text" in place.run("tokens", at, "Hi", *flags).err
            else:
                assert ids_of(place, at, [u for u, _ in rows], *flags) == [ids for _, ids in rows], (name, system)


def test_older_folders(place):
    """added_tokens.json and special_tokens_map.json say what tokenizer_config.json does in newer ones."""
    new = folder(place, "llama2")
    n = max(map(int, json.loads((new / "tokenizer_config.json").read_text())["added_tokens_decoder"]))
    text = "<s>Hi<|im_start|>user\n12<|im_end|>"
    expected = place.json("tokens", new, text, "--special")
    shutil.rmtree(new)
    at = folder(place, "llama2", tokenizer_config_json={"tokenizer_class": "LlamaTokenizer"}, added_tokens_json={"<|im_start|>": n, "<|im_end|>": n - 1},
                special_tokens_map_json={"bos_token": "<s>", "eos_token": {"content": "</s>"}})
    assert place.json("tokens", at, text, "--special") == expected
    assert place.json("tokens", at, text)["ids"] != expected["ids"]
    assert place.json("info", at)["tokenizer"]["eos"] == 2


def test_added_tokens_beyond_the_embedding(place):
    """Gemma 3 1B has one: it is left out, not refused."""
    def beyond(data):
        data["added_tokens"].append({**data["added_tokens"][0], "id": VOCAB, "content": "<image_soft_token>"})
    at = folder(place, "qwen2", tokenizer_json=changed("qwen2", beyond))
    assert max(place.json("tokens", at, "<image_soft_token>", "--special")["ids"]) < VOCAB


def test_chat_template_flag(place):
    at = folder(place, "gpt2")
    text = "Name a city."
    r = place.run("tokens", at, text, "--chat")
    assert r.code == 1 and "no chat template that Rhumb knows" in r.err and "--chat-template" in r.err, r
    raw = place.json("tokens", at, text)["ids"]
    assert place.json("tokens", at, text, "--chat", "--chat-template", "none")["ids"] == raw
    r = place.run("tokens", at, text, "--chat-template", "chatml")
    assert r.code == 1 and "<|im_start|>" in r.err, r
    r = place.run("tokens", at, text, "--chat-template", "none", "--system", "Be brief.")
    assert r.code == 1 and "a system text is part of a chat" in r.err, r
    expect(place, [(["tokens", at, text, "--chat-template", "alpaca"], 2,
                    ["rhumb: error: --chat-template knows no 'alpaca'; it is one of auto, gemma, chatml, llama3, mistral, none"])])
    given = place.json("tokens", at, text, "--chat-template", "mistral")["ids"] # plain text where the vocabulary has no such marks
    assert place.json("tokens", at, "[INST]" + text + "[/INST]", "--bos")["ids"] == given
    at = folder(place, "llama3.1")
    raw = place.json("tokens", at, text)["ids"]
    bos = place.json("tokens", at, text, "--bos")["ids"]
    assert len(bos) == len(raw) + 1 and place.json("tokens", at, text, "--chat", "--chat-template", "none")["ids"] == bos


def test_info(place):
    at = folder(place, "qwen2", generation_config_json={"eos_token_id": [3, 7, 9999], "do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
                                                        "repetition_penalty": 1.05})
    known = place.json("info", at)
    assert known["tokenizer"]["kind"] == "byte-level BPE" and known["tokenizer"]["chat"] == "chatml", known
    assert known["generation"] == {"stops": [3, 7], "suggested": {"temperature": 0.7, "top-k": 20, "top-p": 0.8, "repetition-penalty": 1.05}}, known
    text = place.ok("info", at).out
    assert "stops at     3, 7\n" in text and "suggested    --temperature 0.7 --top-k 20 --top-p 0.8 --repetition-penalty 1.05" in text, text
    at = folder(place, "gemma3", config_json=config(eos_token_id=5))
    known = place.json("info", at)
    assert known["tokenizer"]["kind"] == "SentencePiece" and known["tokenizer"]["chat"] == "gemma" and known["tokenizer"]["adds_bos"], known
    assert known["generation"]["stops"] == [5], known


def test_stops(place):
    """The token that would come first ends the text if generation_config.json names it."""
    at = folder(place, "qwen2")
    steer = lambda: place.json("steer", at, "-p", "Hi", "--max-tokens", "4", "--repetition-penalty", "1")["runs"][0]
    first = steer()["text"]
    assert first, first
    (at / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(300, 316))}))
    [ids] = ids_of(place, at, [first])
    (at / "generation_config.json").write_text(json.dumps({"eos_token_id": ids[:1]}))
    assert steer()["text"] == "", (first, ids)


def changed(name, change):
    data = json.loads((HUB / name / "tokenizer.json").read_text())
    change(data)
    return data


def test_refusals(place):
    """What a folder asks for that is not there is named, with the file."""
    def put(*path_and_value):
        def change(data):
            *path, last, value = path_and_value
            for p in path:
                data = data[p]
            data[last] = value
        return change
    sets = lambda *p: changed("qwen2", put(*p))
    spm = lambda *p: changed("llama2-json", put(*p))
    cases = [
        ({"tokenizer_json": sets("pre_tokenizer", {"type": "Metaspace", "replacement": "▁"})}, 'normalizer has beside ▁ for spaces "a normal form"'),
        ({"tokenizer_json": sets("pre_tokenizer", {"type": "Metaspace", "replacement": "_"})}, "replaces spaces by something else than ▁"),
        ({"tokenizer_json": sets("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "last"})}, 'prepend_scheme "last"'),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 0, "behavior", "Removed")}, 'splits with the behavior "Removed"'),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", r"\w+")}, r"a pattern has '\w'"),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", "a*")}, "can match nothing"),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", "(a")}, "PCRE2"),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 1, "add_prefix_space", True)}, "add_prefix_space"),
        ({"tokenizer_json": sets("pre_tokenizer", None)}, "neither byte-level nor SentencePiece's"),
        ({"tokenizer_json": sets("normalizer", {"type": "Replace", "pattern": {"Regex": " +"}, "content": "▁"})}, "for something else than a space"),
        ({"tokenizer_json": sets("normalizer", {"type": "Prepend", "prepend": "x"})}, "something else than ▁ in front"),
        ({"tokenizer_json": spm("added_tokens", 0, "normalized", True)}, "added token '<unk>' is to match normalized text"),
        ({"tokenizer_json": spm("pre_tokenizer", {"type": "ByteLevel"})}, 'pre_tokenizer has beside ▁ for spaces "ByteLevel"'),
        ({"tokenizer_json": spm("model", {"type": "Unigram"})}, 'its model is "Unigram"; known: BPE'),
        ({"tokenizer_json": sets("normalizer", {"type": "Lowercase"})}, 'normalizer has "Lowercase"'),
        ({"tokenizer_json": sets("post_processor", {"type": "RobertaProcessing"})}, 'post_processor has "RobertaProcessing"'),
        ({"tokenizer_json": sets("model", "type", "WordPiece")}, 'its model is "WordPiece"'),
        ({"tokenizer_json": sets("model", "byte_fallback", True)}, "byte_fallback with a byte-level pre_tokenizer"),
        ({"tokenizer_json": sets("model", "end_of_word_suffix", "</w>")}, "end_of_word_suffix"),
        ({"tokenizer_json": sets("model", "merges", 0, "a")}, "merge 0, 'a', is not two tokens"),
        ({"tokenizer_json": sets("model", "merges", 0, ["a", "b", "c"])}, "merge 0 is not two tokens"),
        ({"tokenizer_json": sets("model", "vocab", "a", -1)}, "the id of 'a'"),
        ({"tokenizer_json": sets("model", "vocab", "a", 2 ** 30)}, "ids up to 1073741824"),
        ({"tokenizer_json": sets("model", "vocab", "a", 1)}, "two tokens have the id 1"),
        ({"tokenizer_json": sets("model", None)}, "it has no model"),
        ({"tokenizer_json": sets("added_tokens", 0, "single_word", True)}, "single words only"),
        ({"tokenizer_json": sets("added_tokens", 0, "id", 3)}, "but the vocabulary has"),
        ({"tokenizer_json": "[" * 5000 + "]" * 5000}, "not valid JSON"),
        ({"tokenizer_json": '{"model":{"type":"BPE"},"pre_tokenizer":' + '{"type":"Sequence","pretokenizers":[' * 500 + "]}" * 500 + "}"}, "nested too deeply"),
        ({"tokenizer_json": sets("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", "[a[b]]")}, "a pattern has '[b'"),
        ({"tokenizer_json": "[]"}, "not a JSON object"),
        ({"tokenizer_json": "{"}, "not valid JSON"),
        ({"tokenizer_model": b"\x0aIQ== 0\n", "tokenizer_json": "{}"}, "not a SentencePiece model"),
        ({"tokenizer_config_json": "3"}, "not a JSON object"),
        ({"generation_config_json": {"eos_token_id": "x"}}, '"eos_token_id" is not a token id'),
        ({"generation_config_json": {"temperature": -1}}, '"temperature" is not a number'),
        ({"tokenizer_config_json": {"tokenizer_class": "LlamaTokenizerFast", "add_eos_token": True}}, "add_eos_token"),
    ]
    for files, words in cases:
        at = folder(place, "qwen2", **files)
        r = place.run("tokens", at, "Hi")
        assert r.code == 1 and words in r.err and "/qwen2/" in r.err, (words, str(r))
        shutil.rmtree(at)


def test_shards(place):
    names = list(tensors())
    at = folder(place, "gpt2", model_safetensors=b"")
    (at / "model_safetensors").unlink()
    (at / "model.safetensors").unlink()
    parts = [names[:4], names[4:]]
    shard = lambda i: f"model-0000{i + 1}-of-00002.safetensors"
    for i, part in enumerate(parts):
        (at / shard(i)).write_bytes(safetensors({n: tensors()[n] for n in part}))
    where = {n: shard(i) for i, part in enumerate(parts) for n in part}
    index = lambda m, total=1: (at / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": m}))
    index(dict(reversed(where.items())))
    whole = folder(place, "smollm2")
    assert place.json("info", at)["fingerprint"] == place.json("info", whole)["fingerprint"]
    size = 4 * sum(len(v) for _, v in tensors().values()) # a wrong total, which real folders have, stops nobody, and is said
    assert place.json("info", at)["index"] == {"total_size": 1, "bytes": size}
    assert f"its total_size is 1 bytes, the shards' tensors have {size}" in place.run("info", at).out
    for total in (size, float(size), None, "x"):
        index(where, total)
        assert "total_size" not in place.run("info", at).out, total
    for wrong, words in (({**where, names[0]: "../" + shard(0)}, "a file in its own folder"), ({**where, names[0]: ".."}, "missing"),
                         ({**where, names[0]: shard(1)}, "is not in its shard"), ({**where, names[0]: "none.safetensors"}, "is missing"),
                         ({**where, names[0]: 3}, "is no string"), (None, "no weight_map")):
        index(wrong)
        r = place.run("info", at)
        assert r.code == 1 and words in r.err, (words, str(r))
    index(where)
    (at / shard(1)).write_bytes(safetensors({n: tensors()[n] for n in names[3:]}))
    r = place.run("info", at)
    assert r.code == 1 and "is in two of its shards" in r.err and names[3] in r.err, r


if __name__ == "__main__":
    main()

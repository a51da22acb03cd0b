"""Verbs on a real model, and the errors that need one."""
import json
import os
import struct
import subprocess

from harness import RHUMB, SANITIZED, SMOL, expect, main, needs_model

PAIRS = "positive,negative\n" + "".join(
    f"It is a {a} day,It is a {b} day\n" for a, b in (("warm", "cold"), ("hot", "icy"), ("sunny", "snowy")))


@needs_model
def test_short_names_and_book_models(place):
    (place.dir / "cache/rhumb/models/smollm2.gguf").symlink_to(SMOL)
    assert place.json("tokens", "smollm2", "Name a city.")["ids"] == [5820, 253, 2240, 30]
    place.write("pairs.csv", PAIRS)
    place.write("warm.rhumb", 'model "smollm2"\nlayer 5\nlet warm = dim("pairs.csv")\nlet half = warm/2\nsteer warm on generated\n')
    assert abs(place.json("vec", "cos(warm, half)", "-b", "warm.rhumb")["value"] - 1) < 1e-6
    place.json("explain", "-b", "warm.rhumb")
    r = place.ok("steer", "smollm2", "warm", "-b", "warm.rhumb", "-p", "Hi", "--max-tokens", "2")
    assert "the book's own actions (1) are left out" in r.err, r
    assert len(place.json("steer", "smollm2", "-b", "warm.rhumb", "-p", "Hi", "--max-tokens", "2")["runs"]) == 2


@needs_model
def test_tokens(place):
    r = place.json("tokens", SMOL, "½ a")
    assert len(r["ids"]) == len(r["pieces"]) == len(r["offsets"]) and r["offsets"][-1] == [2, 4], r
    assert place.json("tokens", SMOL, "")["ids"] == []
    assert len(place.json("tokens", SMOL, "<|im_end|>")["ids"]) > 1
    assert place.json("tokens", SMOL, "<|im_end|>", "--special")["ids"] == [2]
    assert place.json("tokens", SMOL, "Hi", "--bos")["ids"][0] == 1
    chat = place.json("tokens", SMOL, "Hi", "--chat", "--system", "Be brief.")
    assert "Ġbrief" in chat["pieces"] and chat["ids"] == place.json("tokens", SMOL, "Hi", "--system", "Be brief.")["ids"]
    place.write("bad.jsonl", '"good"\n{"text": 1}\n')
    r = place.run("tokens", SMOL, "--file", "bad.jsonl")
    assert r.code == 1 and r.err.startswith("bad.jsonl:2: error: this is no JSON string") and r.out.count("\n") == 1, r
    place.write("invalid.jsonl", b'"\xff"\n')
    assert place.run("tokens", SMOL, "--file", "invalid.jsonl").err.startswith("invalid.jsonl:1: error: ")
    r = place.run("tokens", SMOL, b"\xff".decode("utf-8", "surrogateescape"))
    assert r.code == 1 and "UTF-8" in r.err, r


@needs_model
def test_messages(place):
    dialog = [("system", "Be brief."), ("user", "Name a city."), ("assistant", "Paris."), ("user", "Another?")]
    messages = [{"role": role, "content": text} for role, text in dialog]
    place.write("chat.json", json.dumps(messages))
    spelled = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in dialog) + "<|im_start|>assistant\n"
    ids = place.json("tokens", SMOL, "--messages", "chat.json")["ids"]
    assert ids == place.json("tokens", SMOL, "--special", spelled)["ids"]
    assert ids == place.json("trace", SMOL, "--messages", "chat.json", "--sites", "logits", "-o", "t.safetensors")["ids"][0]
    both = place.json("steer", SMOL, "--messages", "chat.json", "--max-tokens", "3", "--no-bos"), \
        place.json("steer", SMOL, "-p", spelled, "--special", "--max-tokens", "3", "--no-bos")
    assert both[0]["runs"][0]["text"] == both[1]["runs"][0]["text"], both
    place.write("one.json", json.dumps(messages[1:2]))
    assert place.json("tokens", SMOL, "--messages", "one.json") == place.json("tokens", SMOL, "Name a city.", "--chat")
    for bad, says in (([], "holds no list of messages"), (messages[:3], "the last message is not the user's"),
                      (messages[1:2] + messages[:2], "message 2 is a system text"), ([{"role": "tool", "content": ""}], "the role tool"),
                      ([{"content": "x"}], "message 1 has no role"), ([{"role": "user", "content": 1}], 'message 1 has no "content"')):
        place.write("bad.json", json.dumps(bad))
        r = place.run("tokens", SMOL, "--messages", "bad.json")
        assert r.code == 1 and says in r.err, r
    assert place.run("tokens", SMOL, "--messages", "chat.json", "--system", "x").code == 1
    for words in (("tokens", SMOL, "x"), ("steer", SMOL, "-p", "x"), ("trace", SMOL, "-p", "x", "-o", "t.safetensors"),
                  ("steer", SMOL, "random(1) @ 3", "--auto")):
        assert place.run(*words, "--messages", "chat.json").code == 2, words


@needs_model
def test_steer_json(place):
    run = place.json("steer", SMOL, "50*random(3) @ 12", "-p", "Once upon a time", "--strength", "0.5,1", "--max-tokens", "6",
                     "--watch", "random(3) @ 12")
    assert [r["strength"] for r in run["runs"]] == [0, 0.5, 1], run
    for r in run["runs"]:
        assert {"text", "kl", "surprisal", "repeated"} <= set(r), r
    assert run["runs"][0]["kl"] in (0, None) and run["runs"][2]["kl"] > 0, run
    text = place.ok("steer", SMOL, "50*random(3) @ 12", "-p", "Once upon a time", "--max-tokens", "6").out
    assert "unsteered" in text and "\033" not in text


@needs_model
def test_sampling(place):
    def text(*flags):
        return place.json("steer", SMOL, "-p", "Once upon a time", "--max-tokens", "12", *flags)["runs"][0]["text"]
    greedy = text()
    assert greedy == text("--temperature", "0") == text("--top-k", "1", "--temperature", "5", "--seed", "9")
    assert text("--temperature", "1", "--seed", "5") == text("--temperature", "1", "--seed", "5")
    assert len({text("--temperature", "1.5", "--seed", str(s)) for s in range(4)}) > 1
    assert text("--temperature", "2", "--top-p", "1e-6") == text("--temperature", "2", "--min-p", "1") == greedy
    assert len(text("--stop", greedy[3:6])) <= 3
    for flag in ("--repetition-penalty", "--frequency-penalty", "--presence-penalty"):
        assert text(flag, "2", "--max-tokens", "40") != text("--repetition-penalty", "1", "--max-tokens", "40"), flag


@needs_model
def test_csv_errors(place):
    cases = {"quote.csv": ('positive,negative\na,b\n"c,d\n', "quote.csv:3"), "short.csv": ("positive,negative\na,b\nc\n", "short.csv:3"),
             "empty.csv": ("", "empty.csv"), "header.csv": ("positive,negative\n", "header.csv"),
             "names.csv": ("one,two\na,b\n", "names.csv:1")}
    for name, (content, what) in cases.items():
        place.write(name, content)
        r = place.run("vec", f'dim("{name}") @ 5', "-m", SMOL)
        assert r.code == 1 and what in r.err and r.err.startswith("<expression>:1:"), r


@needs_model
def test_errors_of_values_and_places(place):
    place.write("pairs.csv", PAIRS)
    m = ["-m", SMOL]
    expect(place, [
        (["vec", 'dim("none.csv") @ 3', *m], 1, ["<expression>:1:5: error: …"]),
        (["vec", 'dim("pairs.csv")', *m], 1, ["<expression>:1:1: error: this exists at every layer, and none is chosen"]),
        (["vec", 'dim("pairs.csv") @ 30', *m], 1, ["<expression>:1:20: error: …"]),
        (["vec", "random(1) @ 3 + random(2) @ 4", *m], 1, ["<expression>:1:1: error: these live at different layers",
                                                           "  1 | random(1) @ 3 + random(2) @ 4",
                                                           "    | ^^^^^^^^^^^^^   ^^^^^^^^^^^^^"]),
        (["vec", 'unit(token("a") - token("a"))', *m], 1, ["<expression>:1:1: error: a zero vector has no direction"]),
        (["vec", 'token("a") * token("b")', *m], 1, ["<expression>:1:1: error: vector * vector is not defined"]),
        (["vec", 'token("San Francisco")', *m], 1, ["<expression>:1:…"]),
        (["vec", "ablate random(1) @ 3", *m], 1, ["…"]),
        (["steer", SMOL, 'random(1) @ 3 on "foo"', "-p", "Hi"], 1, ['<expression>:1:18: error: "foo" does not occur in the prompt']),
        (["steer", SMOL, "random(1)", "-p", "Hi"], 1, ["<expression>:1:1: error: …"]),
        (["steer", SMOL, "1 + 1", "-p", "Hi"], 1, ["<expression>:1:1: error: steer takes a vector, and this is a scalar"]),
        (["steer", SMOL, "-p", "word " * 9000], 1, ["rhumb: error: a prompt of 9001 tokens and 64 to generate are longer than the "
                                                    "model's context of 8192"]),
        (["steer", SMOL, "-p", ""], 1, ["rhumb: error: the prompt is empty…"]),
        (["steer", SMOL, "random(1) @ 3", "-p", "Hi", "--watch", "nothing"], 1, ["<expression>:1:1: error: unknown name 'nothing'"]),
    ])


@needs_model
def test_damaged_models(place):
    raw = SMOL.open("rb")
    head = raw.read(8 << 20)
    raw.close()
    place.write("cut.gguf", head)
    at = head.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight")
    at += 4 + 8 * struct.unpack_from("<I", head, at)[0]
    size = SMOL.stat().st_size
    patched = bytearray(head)
    struct.pack_into("<I", patched, at, 17)
    with open(place.dir / "type.gguf", "wb") as f:
        f.write(patched)
        f.truncate(size)
    expect(place, [
        (["steer", "cut.gguf", "-p", "Hi"], 1, ["rhumb: error: 'cut.gguf' is cut off or damaged: tensor '…", "help: copy or download it again"]),
        (["steer", "type.gguf", "-p", "Hi"], 1, ["rhumb: error: 'type.gguf': tensor blk.0.attn_q.weight is stored as IQ2_XS, which is not there yet"]),
    ])


@needs_model
def test_no_memory(place):
    if SANITIZED:
        return  # the sanitizer's own address space does not fit under a limit
    for limit in (150000, 250000):  # KiB
        r = subprocess.run(["sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh", RHUMB, "steer", str(SMOL), "-p", "Hi", "--threads", "1"],
                           cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert r.returncode == 1 and r.stderr and "error" in r.stderr.lower() or "libgomp" in r.stderr, (limit, r)


@needs_model
def test_bench(place):
    b = place.json("bench", SMOL, "--only", "extract,start", "--repeats", "1")
    assert b["extract"]["pairs"] == 128 and 0 < b["extract"]["shared"] < 1 and b["start"]["s"] > 0, b
    place.write("pairs.csv", PAIRS)
    b = place.json("bench", SMOL, "--only", "extract", "--repeats", "1", "--pairs", "pairs.csv", "--no-share")["extract"]
    assert (b["pairs"], b["shared"]) == (3, 0) and b["tokens"] == b["computed"], b


main()

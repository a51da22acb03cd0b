"""Files in and out: models that are none, outputs that cannot be written, vectors in three formats."""
import json
import os
import struct

from harness import ROOT, TINY, Skip, expect, main

MODELS = ROOT / "tests" / "data" / "models"


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def gguf(keys=(), tensors=(), data=b"", version=3):
    """keys: (name, string); tensors: (name, shape innermost first, type, offset)"""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, value in keys:
        head += string(name) + (struct.pack("<I", 8) + string(value) if isinstance(value, str) else struct.pack("<II", 4, value))
    for name, shape, kind, offset in tensors:
        head += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape)
        head += struct.pack("<IQ", kind, offset)
    return head + b"\0" * (-len(head) % 32) + data


def safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    meta = header.pop("__metadata__", {})
    return {n: (t["shape"], raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]) for n, t in header.items()}, meta


def test_models_that_are_none(place):
    place.write("text.gguf", "this is no model\n" * 100)
    place.write("empty.gguf", b"")
    place.write("mamba.gguf", gguf([("general.architecture", "mamba")]))
    place.write("none.gguf", gguf())
    place.write("old.gguf", gguf(version=1))
    place.write("cut.gguf", gguf([("general.architecture", "llama")])[:40])
    place.write("config/config.json", '{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}')
    place.write("broken/config.json", "{")
    (place.dir / "folder").mkdir()
    expect(place, [
        (["info", "nothing.gguf"], 1, ["rhumb: error: there is no model 'nothing.gguf': no file, no folder, and no short name",
                                       "help: check the path"]),
        (["info", "smollm2"], 1, ["rhumb: error: the model 'smollm2' has not been fetched", "help: rhumb fetch smollm2"]),
        (["info", "gemma3-270m"], 1, ["rhumb: error: the model 'gemma3-270m' has not been fetched"]),
        (["info", "smolm2"], 1, ["rhumb: error: there is no model 'smolm2'…", "help: did you mean smollm2?"]),
        (["info", "text.gguf"], 1, ["rhumb: error: 'text.gguf' is no GGUF file…"]),
        (["info", "empty.gguf"], 1, ["rhumb: error: 'empty.gguf' …"]),
        (["info", "old.gguf"], 1, ["rhumb: error: 'old.gguf' …"]),
        (["info", "cut.gguf"], 1, ["rhumb: error: 'cut.gguf' is cut off or damaged…"]),
        (["info", "none.gguf"], 1, ["rhumb: error: 'none.gguf' …"]),
        (["info", "mamba.gguf"], 1, ["rhumb: error: 'mamba.gguf' has architecture 'mamba', which Rhumb does not know"]),
        (["info", "folder"], 1, ["rhumb: error: 'folder' is a folder without config.json: not a model"]),
        (["info", "config"], 1, ["rhumb: error: …"]),
        (["info", "broken"], 1, ["…"]),
        (["info", ""], 1, ["rhumb: error: there is no model ''…"]),
        (["trace", "text.gguf", "--tokens", "1", "-o", "t"], 1, ["rhumb: error: 'text.gguf' is no GGUF file…"]),
    ])


def test_errors_are_json_too(place):
    value = place.json("info", "nothing.gguf", code=1)
    assert value["error"]["code"] == "RH_EIO" and value["error"]["hint"] == "check the path", value
    value = place.json("vec", "1 + foo", code=1)["error"]
    assert (value["code"], value["file"], value["line"], value["column"]) == ("RH_ENAME", "<expression>", 1, 5), value
    assert place.json("info", b"\xff\xfe.gguf".decode("utf-8", "surrogateescape"), code=1)["error"]["message"]
    place.write("two.rhumb", "let a = $\nlet b = %\n")
    assert len(place.json("vec", "1", "-b", "two.rhumb", code=1)["errors"]) == 2


def test_info_of_folders(place):
    for name in ("llama-f32", "gemma3-bf16", "gemma2-bf16"):
        info = place.json("info", MODELS / name)
        assert info["kind"] == "model" and info["d_model"] == 32 and info["sites"]["resid_post"] == 32, info
        assert info["tokenizer"] is None and len(info["fingerprint"]) == 64
        text = place.ok("info", MODELS / name, "--tensors").out
        assert info["fingerprint"] in text and "model.embed_tokens.weight" in text


def test_trace(place):
    for name in ("llama-f32", "gemma3-f32"):
        ids = json.loads((MODELS / name / "tokens.json").read_text())
        shown = place.json("trace", MODELS / name, "--tokens-file", MODELS / name / "tokens.json", "--exact", "-o", "a.safetensors")
        assert shown["ids"] == ids and shown["tokens"] == sum(map(len, ids))
        got, _ = safetensors(place.dir / "a.safetensors")
        assert got["3.resid_post.1"][0] == [len(ids[3]), 32] and got["3.logits"][0] == [len(ids[3]), 67]
        # One token at a time: the same to rounding. One layer, one site: the same bytes.
        place.ok("trace", MODELS / name, "--tokens-file", MODELS / name / "tokens.json", "--exact", "--step", "-o", "b.safetensors")
        step, _ = safetensors(place.dir / "b.safetensors")
        assert list(step) == list(got)
        for key in got:
            a, b = (struct.unpack(f"<{len(x[key][1]) // 4}f", x[key][1]) for x in (got, step))
            assert max(abs(x - y) for x, y in zip(a, b)) <= 1e-4 * max(map(abs, a)), key
        place.ok("trace", MODELS / name, "--tokens", ",".join(map(str, ids[3])), "--exact", "--layers", "1", "--sites", "resid_post",
                 "-o", "c.safetensors")
        one, _ = safetensors(place.dir / "c.safetensors")
        assert list(one) == ["0.resid_post.1"], list(one)
        place.ok("trace", MODELS / name, "--tokens", "1,2,3", "--sites", "all", "--layers", "0,1..1", "-o", "d.safetensors")
        assert len(safetensors(place.dir / "d.safetensors")[0]) == 2 + 2 * 6
        place.ok("trace", MODELS / name, "--tokens", "1,2,3", "--sites", "resid_pre", "--step", "-o", "e.safetensors")
    assert not place.left_over()


def test_trace_of_steered_states(place):
    """A vector added at layer 1 is there at its site, and nowhere below."""
    at = ["--tokens", "1,2,3,4", "--exact", "--sites", "embed,resid_pre,resid_post"]
    place.ok("trace", TINY, *at, "-o", "plain.safetensors")
    place.ok("trace", TINY, "2*random(5) @ 1 on tokens 2", *at, "-o", "steered.safetensors")
    place.ok("vec", "2*random(5) @ 1", "-m", TINY, "-o", "v.safetensors")
    plain, _ = safetensors(place.dir / "plain.safetensors")
    steered, _ = safetensors(place.dir / "steered.safetensors")
    for key in ("0.embed", "0.resid_pre.0", "0.resid_post.0", "0.resid_pre.1"):
        assert plain[key] == steered[key], key
    v = struct.unpack("<32f", safetensors(place.dir / "v.safetensors")[0]["direction.1"][1])
    a, b = (struct.unpack("<128f", x["0.resid_post.1"][1]) for x in (plain, steered))
    for i, (x, y) in enumerate(zip(a, b)):
        assert abs(y - x - (v[i % 32] if i // 32 == 2 else 0)) < 1e-5, i


def test_trace_errors(place):
    place.write("bad.json", "[1, 2")
    place.write("word.json", '[1, "x"]')
    place.write("mixed.json", "[[1], 2]")
    place.write("none.json", "[]")
    place.write("hollow.json", "[[1], []]")
    place.write("object.json", "{}")
    at = ["trace", TINY, "-o", "t.safetensors"]
    expect(place, [
        ([*at, "--tokens", "67"], 1, ["rhumb: error: token 0 of prompt 0 is 67, and the vocabulary has ids 0..66"]),
        ([*at, "--tokens=-1"], 1, ["rhumb: error: token 0 of prompt 0 is -1, and the vocabulary has ids 0..66"]),
        ([*at, "--tokens", ",".join(["1"] * 129)], 1, ["rhumb: error: prompt 0 has 129 tokens, and the model's context is 128"]),
        ([*at, "--tokens-file", "bad.json"], 1, ["…"]),
        ([*at, "--tokens-file", "word.json"], 1, ["rhumb: error: 'word.json': item 1 of prompt 0 is no token id"]),
        ([*at, "--tokens-file", "mixed.json"], 1, ["rhumb: error: 'mixed.json': prompt 1 is no list of token ids"]),
        ([*at, "--tokens-file", "none.json"], 1, ["rhumb: error: 'none.json' holds no list of token ids…"]),
        ([*at, "--tokens-file", "hollow.json"], 1, ["rhumb: error: prompt 1 has no tokens"]),
        ([*at, "--tokens-file", "object.json"], 1, ["rhumb: error: 'object.json' holds no list of token ids…"]),
        ([*at, "--tokens-file", "missing.json"], 1, ["rhumb: error: cannot open 'missing.json': No such file or directory"]),
        ([*at, "--tokens", "1", "--layers", "2"], 1, ["rhumb: error: the model has layers 0..1, and --layers asks for 2"]),
        ([*at, "-p", "text"], 1, ["rhumb: error: the model 'llama-f32' has no tokenizer, so it cannot read a text",
                                  "help: give token ids: --tokens 1,2,3"]),
        (["steer", TINY, "-p", "text"], 1, ["rhumb: error: the model 'llama-f32' has no tokenizer, so it cannot read a prompt"]),
        (["tokens", TINY, "text"], 1, ["rhumb: error: the model 'llama-f32' has no tokenizer"]),
        (["trace", TINY, "random(1) @ 5", "--tokens", "1", "-o", "t.safetensors"], 1, ["<expression>:1:…"]),
    ])
    assert not (place.dir / "t.safetensors").exists() and not place.left_over()


def test_outputs_that_cannot_be_written(place):
    place.write("there.safetensors", "old")
    (place.dir / "locked").mkdir()
    (place.dir / "folder.safetensors").mkdir()
    vec, trace = ["vec", "random(1) @ 1", "-m", TINY, "-o"], ["trace", TINY, "--tokens", "1,2", "-o"]
    expect(place, [
        ([*vec, "no/where/v.safetensors"], 1, ["rhumb: error: cannot write 'no/where/v.safetensors': No such file or directory"]),
        ([*vec, "folder.safetensors"], 1, ["rhumb: error: …"]),
        ([*vec, "v.txt"], 1, ["rhumb: error: 'v.txt' does not say which kind of vector file it is",
                              "help: let its name end in .safetensors, .gguf or .npy"]),
        ([*vec, "/dev/full"], 1, ["rhumb: error: '/dev/full' …"]),
        ([*trace, "no/where/t.safetensors"], 1, ["rhumb: error: cannot write 'no/where/t.safetensors': No such file or directory"]),
        ([*trace, "/dev/full"], 1, ["rhumb: error: …"]),
        (["convert", "missing.npy", "a.gguf"], 1, ["rhumb: error: cannot open 'missing.npy': No such file or directory"]),
    ])
    assert os.path.exists("/dev/full")
    if os.geteuid() != 0:
        (place.dir / "locked").chmod(0o500)
        expect(place, [([*vec, "locked/v.safetensors"], 1, ["rhumb: error: cannot write 'locked/v.safetensors': Permission denied"])])
    assert (place.dir / "there.safetensors").read_text() == "old" and not place.left_over()


def test_vectors_in_three_formats(place):
    place.ok("vec", "3*random(7) @ 1", "-m", TINY, "-o", "v.safetensors")
    data, meta = safetensors(place.dir / "v.safetensors")
    made = json.loads(meta["rhumb"])
    assert made["model"]["d"] == 32 and made["hook"] == "resid_post" and made["expression"] == "3*random(7) @ 1"
    info = place.json("info", "v.safetensors")
    assert info["provenance"] == made and info["layers"] == [1] and abs(info["norms"][0] - 3) < 1e-5, info
    assert "direction.1" in place.ok("info", "v.safetensors").out

    place.ok("convert", "v.safetensors", "v.gguf")
    place.ok("convert", "v.safetensors", "-o", "v.npy")
    for name in ("v.gguf", "v.npy"):
        place.ok("convert", name, "back.safetensors", *(["--layer", "1"] if name == "v.npy" else []))
        back, meta = safetensors(place.dir / "back.safetensors")
        assert back == data, name
        source = json.loads(meta["rhumb"])["sources"][0]
        assert source["kind"] == "random" if name == "v.gguf" else source["path"] == name, meta  # npy can say nothing
        place.ok("info", name)
    place.ok("convert", "v.safetensors", "copy.safetensors")
    assert json.loads(safetensors(place.dir / "copy.safetensors")[1]["rhumb"]) == made
    assert place.json("convert", "v.gguf", "w.gguf") == {"path": "w.gguf", "layers": 1, "d": 32, "hook": "resid_post"}
    assert abs(place.json("vec", 'cos(load("v.gguf"), load("v.safetensors"))')["value"] - 1) < 1e-6

    place.ok("vec", "random(7) @ 0", "-m", TINY, "-o", "zero.safetensors")
    expect(place, [
        (["convert", "zero.safetensors", "zero.gguf"], 1, ["rhumb: error: …"]),
        (["convert", "v.safetensors", "w.npy", "--layer", "2"], 1, ["rhumb: error: the vector does not exist at layer 2",
                                                                    "help: it lives at layer 1"]),
        (["convert", "v.npy", "w.gguf"], 1, ["rhumb: error: …"]),
        (["vec", "1 + 1", "-o", "w.npy"], 1, ["rhumb: error: only a vector can be saved, and this is a scalar"]),
    ])
    assert not (place.dir / "zero.gguf").exists() and not (place.dir / "w.npy").exists() and not place.left_over()


def test_a_vector_of_another_model(place):
    place.ok("vec", "random(7) @ 1", "-m", MODELS / "llama-bf16", "-o", "v.safetensors")
    steer = ["trace", TINY, 'load("v.safetensors")', "--tokens", "1,2", "-o", "t.safetensors"]
    r = place.run(*steer)
    assert r.code == 1 and "llama-bf16" in r.err and "--force-model" in r.err, r
    r = place.ok(*steer, "--force-model")
    assert "note" in r.err, r


def test_created_can_be_fixed(place):
    for name in ("a", "b"):
        place.ok("vec", "random(7) @ 1", "-m", TINY, "-o", f"{name}.safetensors", env={**place.env, "SOURCE_DATE_EPOCH": "0"})
    assert (place.dir / "a.safetensors").read_bytes() == (place.dir / "b.safetensors").read_bytes()
    assert json.loads(safetensors(place.dir / "a.safetensors")[1]["rhumb"])["created"] == "1970-01-01T00:00:00Z"


def test_explain(place):
    text = place.ok("explain", "random(1) @ 1 - 2*(random(2) - random(1))", "-m", TINY).out
    assert "random(1)" in text and "3" in text, text
    place.json("explain", "random(1) @ 1", "-m", TINY)


def test_no_cuda(place):
    if os.path.exists("/dev/nvidia0"):
        raise Skip("there is a CUDA device")
    r = place.run("trace", TINY, "--tokens", "1", "-o", "t", "--device", "cuda")
    assert r.code == 1 and r.err.startswith("rhumb: error: no CUDA here"), r
    place.ok("trace", TINY, "--tokens", "1", "-o", "t.safetensors", "--device", "auto")


def test_instruction_sets_agree(place):
    place.ok("trace", TINY, "--tokens", "1,2,3", "-o", "a.safetensors", "--exact")
    want, _ = safetensors(place.dir / "a.safetensors")
    for isa in ("generic", "avx2", "avx512"):
        r = place.run("trace", TINY, "--tokens", "1,2,3", "-o", "b.safetensors", "--exact", "--isa", isa)
        if r.code and "processor" in r.err:
            continue
        assert r.code == 0, r
        got, _ = safetensors(place.dir / "b.safetensors")
        for key in want:
            a, b = (struct.unpack(f"<{len(x[key][1]) // 4}f", x[key][1]) for x in (want, got))
            assert max(abs(x - y) for x, y in zip(a, b)) <= 1e-4 * max(map(abs, a)), (isa, key)


main()

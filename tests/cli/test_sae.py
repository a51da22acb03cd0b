"""`rhumb sae`, and what info and convert do with a sparse autoencoder."""
import array
import json
import struct

from harness import ROOT, expect, main

SAES = ROOT / "tests" / "data" / "saes"
SCOPE = SAES / "gemma-scope-2b-pt-res-stored" / "layer_2" / "width_14" / "average_l0_5"


def safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", {})
    return {n: (t["shape"], array.array("f", raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]))
            for n, t in header.items()}


def write_safetensors(place, name, **tensors):
    """tensors: (shape, numbers), float32"""
    header, data = {}, b""
    for key, (shape, values) in tensors.items():
        bytes_ = array.array("f", values).tobytes()
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    return place.write(name, struct.pack("<Q", len(text)) + text + data)


def test_info(place):
    info = place.json("info", SCOPE)
    assert (info["kind"], info["format"], info["architecture"], info["d_in"], info["d_sae"]) == ("sae", "Gemma Scope", "jumprelu", 8, 14)
    assert (info["layer"], info["hook"], info["model"], info["threshold"], info["k"]) == (2, "resid_post", "gemma-2-2b", True, None)
    assert place.json("info", SCOPE / "params.npz") == info
    text = place.ok("info", SCOPE).out
    assert "layer 2, resid_post" in text and "14 features of d 8" in text and "gemma-2-2b" in text, text
    info = place.json("info", SAES / "topk-rescale")
    assert (info["format"], info["k"], info["hook"], info["layer"], info["normalize_activations"]) == ("SAELens", 3, "resid_post", 2, "layer_norm")
    info = place.json("info", SAES / "gemma-scope-2-270m-it" / "transcoder" / "layer_5_width_14_l0_small")
    assert (info["hook"], info["hook_out"], info["d_in"], info["d_out"], info["skip"]) == ("mlp_in", "mlp_out", 8, 6, True)
    # A file that was taken out of its folder says nothing of its site.
    place.write("alone.npz", (SCOPE / "params.npz").read_bytes())
    info = place.json("info", "alone.npz")
    assert (info["layer"], info["hook"], info["model"]) == (None, "resid_post", None)
    assert "layer unknown" in place.ok("info", "alone.npz").out


def test_encode_and_decode(place):
    want = safetensors(SCOPE / "expected.safetensors")
    done = place.json("sae", "encode", SCOPE, "--input", SCOPE / "expected.safetensors", "--tensor", "x", "-o", "f.safetensors")
    assert done["tensor"] == "features" and done["shape"] == want["features"][0], done
    got = safetensors(place.dir / "f.safetensors")
    assert list(got) == ["features"] and max(abs(a - b) for a, b in zip(got["features"][1], want["features"][1])) < 1e-5
    assert done["active"] == sum(v != 0 for v in got["features"][1]) / 3
    # From the features that were written (the only tensor there), and from x: the same bytes.
    place.ok("sae", "decode", SCOPE, "--input", "f.safetensors", "-o", "r.safetensors")
    place.ok("sae", "decode", SCOPE, "--input", SCOPE / "expected.safetensors", "-t", "x", "-o", "again.safetensors", "--threads", "1")
    assert (place.dir / "r.safetensors").read_bytes() == (place.dir / "again.safetensors").read_bytes()
    recon = safetensors(place.dir / "r.safetensors")["recon"]
    assert recon[0] == [3, 8] and max(abs(a - b) for a, b in zip(recon[1], want["recon"][1])) < 1e-5
    assert "features active on average" in place.ok("sae", "encode", SCOPE, "--input", SCOPE / "expected.safetensors", "-t", "x", "-o", "f.safetensors").err
    # Rows may lie in more dimensions.
    write_safetensors(place, "x.safetensors", x=([1, 3, 8], want["x"][1]))
    place.ok("sae", "encode", SCOPE, "--input", "x.safetensors", "-o", "deep.safetensors")
    assert (place.dir / "deep.safetensors").read_bytes() == (place.dir / "f.safetensors").read_bytes()
    assert not place.left_over()


def test_convert(place):
    place.ok("convert", SCOPE, "-o", "folder")
    place.ok("convert", "folder", "alone.safetensors")
    cfg = json.loads((place.dir / "folder" / "cfg.json").read_text())
    assert (cfg["architecture"], cfg["d_in"], cfg["d_sae"], cfg["apply_b_dec_to_input"]) == ("jumprelu", 8, 14, False)
    assert cfg["metadata"]["hook_name"] == "blocks.2.hook_resid_post" and cfg["metadata"]["model_name"] == "gemma-2-2b"
    for name in ("folder", "folder/sae_weights.safetensors", "folder/cfg.json", "alone.safetensors"):
        info = place.json("info", name)
        assert (info["format"], info["layer"], info["hook"], info["model"]) == ("SAELens", 2, "resid_post", "gemma-2-2b"), info
        place.ok("sae", "encode", name, "--input", SCOPE / "expected.safetensors", "-t", "x", "-o", "f.safetensors")
        bytes_ = (place.dir / "f.safetensors").read_bytes()
        place.ok("sae", "encode", SCOPE, "--input", SCOPE / "expected.safetensors", "-t", "x", "-o", "f.safetensors")
        assert (place.dir / "f.safetensors").read_bytes() == bytes_
    assert not place.left_over()


def rows_of(place, sae):
    """W_dec and W_enc as lists of rows, a row a feature."""
    place.ok("convert", sae, "-o", "rows.safetensors")
    w = safetensors(place.dir / "rows.safetensors")
    d, m = w["W_enc"][0]
    return ([w["W_dec"][1][i * d:(i + 1) * d] for i in range(m)], [[w["W_enc"][1][j * m + i] for j in range(d)] for i in range(m)])


def cosine(a, b):
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5


def npy(values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % len(values)
    head += " " * (117 - len(head)) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + array.array("f", values).tobytes()


def test_near(place):
    decoder, encoder = rows_of(place, SCOPE)
    v = array.array("f", [a + 0.5 * b for a, b in zip(decoder[5], encoder[7])])
    place.write("v.npy", npy(v))
    shown = place.json("near", SCOPE, 'load("v.npy")', "--top", "4")
    for name, rows in (("decoder", decoder), ("encoder", encoder)):
        want = sorted(range(14), key=lambda i: -cosine(rows[i], v))[:4]
        assert [r["feature"] for r in shown[name]] == want, shown
        assert all(abs(r["cosine"] - cosine(rows[r["feature"]], v)) < 1e-6 for r in shown[name]), shown
    signed = place.json("near", SCOPE, '-1*load("v.npy")', "--top", "14", "--signed")["decoder"]
    assert signed[0]["feature"] == 5 and signed[0]["cosine"] < 0 and len(signed) == 14
    assert "decoder row" in place.ok("near", SCOPE, 'load("v.npy")').out
    assert place.ok("near", SCOPE, "random(3)").out == place.ok("near", SCOPE, "random(3) @ 2").out  # as wide as the SAE
    # A vector that is a sum of rows is found to be that sum; what is left never grows.
    place.write("sum.npy", npy([2 * a + 1.5 * b for a, b in zip(decoder[3], decoder[9])]))
    steps = place.json("near", SCOPE, 'load("sum.npy")', "--decompose", "6")["decomposition"]
    found = {s["feature"]: s["coefficient"] for s in steps if s["coefficient"] > 1e-4}
    assert set(found) == {3, 9} and abs(found[3] - 2) < 1e-4 and abs(found[9] - 1.5) < 1e-4, steps
    left = [s["residual"] for s in steps]
    assert left == sorted(left, reverse=True) and left[-1] < 1e-4, steps
    steps = place.json("near", SCOPE, '-1*load("v.npy")', "--decompose", "5")["decomposition"]
    assert all(s["coefficient"] >= 0 for s in steps), steps
    steps = place.json("near", SCOPE, '-1*load("v.npy")', "--decompose", "1", "--signed")["decomposition"]
    assert len(steps) == 1 and steps[0]["feature"] == 5 and steps[0]["coefficient"] < 0, steps
    assert "sum of decoder rows" in place.ok("near", SCOPE, 'load("v.npy")', "--decompose", "3").out
    place.write("w.npy", npy([1] * 6))
    # A transcoder reads elsewhere: decoder rows alone.
    shown = place.json("near", SAES / "transcoder", 'load("w.npy")')
    assert "encoder" not in shown and len(shown["decoder"]) == 14
    place.ok("vec", 'load("v.npy") @ 3', "-o", "three.safetensors")
    place.write("zero.npy", npy([0] * 8))
    expect(place, [
        (["near", SCOPE, 'load("three.safetensors")'], 1, ["rhumb: error: the vector lives at layer 3, the SAE at layer 2", "help: free(…) forgets a layer"]),
        (["near", SCOPE, 'load("w.npy")'], 1, ["rhumb: error: the vector has width 6, the SAE's decoder rows have 8"]),
        (["near", SCOPE, 'load("zero.npy")'], 1, ["rhumb: error: the vector is zero, and has no direction"]),
        (["near", SCOPE, "1 + 1"], 1, ["rhumb: error: near takes a vector, and this is a scalar"]),
        (["near", "nothing", "1"], 1, ["rhumb: error: there is no sparse autoencoder 'nothing'…"]),
    ])


def test_wrong(place):
    x = SCOPE / "expected.safetensors"
    write_safetensors(place, "narrow.safetensors", x=([2, 5], range(10)))
    write_safetensors(place, "nan.safetensors", x=([2, 8], [0] * 9 + [float("nan")] * 7))
    write_safetensors(place, "features.safetensors", f=([2, 14], [0.5] * 28))
    place.write("w.npz", b"PK")
    place.write("cut.npz", (SCOPE / "params.npz").read_bytes()[:1000])
    (place.dir / "empty").mkdir()
    expect(place, [
        (["sae", "encode", "nothing", "--input", x, "-o", "o"], 1, ["rhumb: error: there is no sparse autoencoder 'nothing'…"]),
        (["sae", "encode", "empty", "--input", x, "-o", "o"], 1, ["rhumb: error: the folder 'empty' has no sparse autoencoder in it", "help: expected is params.npz…"]),
        (["info", "w.npz"], 1, ["rhumb: error: 'w.npz' is no .npz file…"]),
        (["info", "cut.npz"], 1, ["rhumb: error: 'cut.npz' is cut off…", "help: copy or download it again"]),
        (["sae", "encode", SCOPE, "--input", "narrow.safetensors", "-o", "o"], 1, ["rhumb: error: 'narrow.safetensors': tensor 'x' has rows of 5; the SAE reads rows of 8"]),
        (["sae", "decode", SCOPE, "--input", "narrow.safetensors", "-o", "o"], 1, ["rhumb: error: …", "help: or give it features, rows of 14"]),
        (["sae", "encode", SCOPE, "--input", "nan.safetensors", "-o", "o"], 1, ["rhumb: error: row 1 of the input is not finite"]),
        (["sae", "encode", SCOPE, "--input", x, "--tensor", "y", "-o", "o"], 1, [f"rhumb: error: '{x}' has no tensor 'y'", "help: it has features, recon, x"]),
        (["sae", "encode", SCOPE, "--input", x, "-o", "o"], 2, ["rhumb: error: …"]),
        (["sae", "decode", SAES / "standard-ln", "--input", "features.safetensors", "-o", "o"], 2,
         ["rhumb: error: this SAE normalises its input, so decoding needs the rows that were encoded…", "help: name them with --original…"]),
        (["sae", "encode", SCOPE, "--input", "no.safetensors", "-o", "o"], 1, ["rhumb: error: …"]),
        (["sae", "encode", SCOPE, "--input", "features.safetensors", "-o", "no/o"], 1, ["rhumb: error: …"]),
        (["sae", "encode", SCOPE, "-o", "o"], 2, ["rhumb: error: sae encode needs rows to encode", "help: --input x.safetensors"]),
        (["sae", "encode", SCOPE, "--input", x], 2, ["rhumb: error: sae encode needs a file to write"]),
        (["sae", "encode"], 2, ["rhumb: error: sae encode needs an SAE"]),
        (["sae", "encod", SCOPE], 2, ["rhumb: error: sae knows no 'encod'"]),
        (["convert", SCOPE, "o", "--layer", "3"], 2, ["rhumb: error: --layer, --name and --model-hint are for vectors…"]),
        (["convert", SAES / "sparsify" / "layers.4.mlp", "o"], 1, ["rhumb: error: SAELens has no topk transcoders to save it as"]),
    ])
    assert not (place.dir / "o").exists() and not place.left_over()
    # What was encoded stands in the same file as the features.
    write_safetensors(place, "both.safetensors", f=([2, 14], [0.5] * 28), y=([2, 8], range(16)))
    place.ok("sae", "decode", SAES / "standard-ln", "--input", "both.safetensors", "-t", "f", "--original", "y", "-o", "o.safetensors")


if __name__ == "__main__":
    main()

"""`rhumb sae train` and `rhumb sae eval`: a training interrupted and gone on with, SAEs whose figures are known, wrong usage."""
import array
import json
import signal
import struct
import subprocess
import time

from harness import RHUMB, ROOT, expect, main

WORDS = ROOT / "tests/data/models/words.gguf"
TEXT = "\n\n".join(" ".join(["the city", "rain", "falls", "on a bridge", "nobody", "sees it again"][(i * i + j * 3) % 6] for j in range(20)) for i in range(40))
TRAIN = ["--site", "1", "--width", "40", "--k", "4", "--batch", "32", "--buffer", "300", "--context", "16", "--rate", "0.01", "--threads", "1"]


def files(place, name):
    return [(place.dir / name / f).read_bytes() for f in ("cfg.json", "sae_weights.safetensors")]


def test_train(place):
    place.write("a.txt", TEXT)
    place.write("b.jsonl", "\n".join(json.dumps({"text": f"Text {i} of rain."}) for i in range(50)))
    done = place.json("sae", "train", WORDS, *TRAIN, "--corpus", "a.txt", "b.jsonl", "--tokens", "6400", "-o", "one")
    assert (done["tokens"], done["d_sae"], done["layer"], done["hook"], done["architecture"]) == (6400, 40, 1, "resid_post", "topk"), done
    assert 0 < done["fvu"] < 0.7 and 0 < done["l0"] <= 4 and done["fed"] > 300, done
    cfg = json.loads((place.dir / "one" / "cfg.json").read_text())
    assert (cfg["architecture"], cfg["d_in"], cfg["k"], cfg["normalize_activations"]) == ("topk", 32, 4, "none"), cfg
    assert cfg["metadata"]["hook_name"] == "blocks.1.hook_resid_post" and cfg["metadata"]["model_name"] == "words", cfg
    assert sorted(p.name for p in (place.dir / "one").iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    # The same with another number of threads, and when it was interrupted.
    place.ok("sae", "train", WORDS, *TRAIN, "--threads", "2", "-c", "a.txt", "-c", "b.jsonl", "--tokens", "6400", "-o", "two")
    assert files(place, "one") == files(place, "two")
    command = [RHUMB, "sae", "train", str(WORDS), *TRAIN, "--corpus", "a.txt", "b.jsonl", "--tokens", "6400", "-o", "three", "--save-every", "0.000001"]
    run = subprocess.Popen(command, cwd=place.dir, env=place.env, stderr=subprocess.PIPE)
    checkpoint, end = place.dir / "three" / "checkpoint.safetensors", time.monotonic() + 100
    while not checkpoint.exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    run.send_signal(signal.SIGINT)
    err = run.communicate()[1].decode()
    if run.returncode:  # it may just have ended
        assert checkpoint.exists() and "goes on from the checkpoint" in err, err
        place.run("sae", "train", WORDS, *TRAIN, "--corpus", "a.txt", "b.jsonl", "--tokens", "6000", "-o", "three").err.index("of another training")
        r = place.ok("sae", "train", WORDS, *TRAIN, "--corpus", "a.txt", "b.jsonl", "--tokens", "6400", "-o", "three")
        assert "going on from the checkpoint" in r.err, r
    assert files(place, "one") == files(place, "three") and not checkpoint.exists()
    jump = place.json("sae", "train", WORDS, *TRAIN, "--arch", "jumprelu", "--corpus", "a.txt", "--tokens", "6400", "-o", "jump", "--site", "0.mlp_out")
    assert abs(jump["l0"] - 4) < 2, jump
    assert place.json("info", "jump")["hook"] == "mlp_out" and place.json("info", "jump")["architecture"] == "jumprelu"
    shown = place.json("sae", "eval", WORDS, "one", "--corpus", "a.txt", "--tokens", "400", "--context", "16")
    assert abs(shown["fvu"] - done["fvu"]) < 0.2 and shown["l0"] <= 4 and shown["tokens"] >= 400, shown
    assert shown["loss"]["predictions"] > 300 and shown["loss"]["clean"] > 0, shown
    assert "of the variance is not explained" in place.ok("sae", "eval", WORDS, "one", "--corpus", "a.txt", "--tokens", "100").out
    assert not place.left_over()


def test_interrupted_before_the_first_step(place):
    """While the buffer is filled there is nothing to go on from: that is said, and no empty folder stays."""
    place.write("a.txt", TEXT)
    out = place.dir / "early"
    command = [RHUMB, "sae", "train", str(WORDS), *TRAIN, "--buffer", "2000000", "--corpus", "a.txt", "--tokens", "6400", "-o", str(out)]
    run, end = subprocess.Popen(command, cwd=place.dir, env=place.env, stderr=subprocess.PIPE), time.monotonic() + 100
    while not out.exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    run.send_signal(signal.SIGINT)
    err = run.communicate()[1].decode()
    assert run.returncode and "nothing was learned yet" in err and "2000000 states" in err, err
    assert not out.exists(), err


def known(place, name, decoder):
    """f = relu(±x), and what the decoder makes of it: the identity at 1, nothing at 0."""
    d = 32
    w_enc = [(i == j) - (i + d == j) for i in range(d) for j in range(2 * d)]
    w_dec = [decoder * ((i == j) - (i == j + d)) for i in range(2 * d) for j in range(d)]
    tensors = {"W_enc": ([d, 2 * d], w_enc), "W_dec": ([2 * d, d], w_dec), "b_enc": ([2 * d], [0] * 2 * d), "b_dec": ([d], [0] * d)}
    header, data = {}, b""
    for key, (shape, values) in tensors.items():
        bytes_ = array.array("f", values).tobytes()
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    place.write(f"{name}/sae_weights.safetensors", struct.pack("<Q", len(text)) + text + data)
    place.write(f"{name}/cfg.json", json.dumps({"architecture": "standard", "d_in": d, "d_sae": 2 * d, "dtype": "float32", "normalize_activations": "none",
                                                "apply_b_dec_to_input": False, "metadata": {"hook_name": "blocks.1.hook_resid_post"}}))


def test_known_figures(place):
    place.write("a.txt", TEXT)
    known(place, "whole", 1)
    known(place, "nothing", 0)
    whole = place.json("sae", "eval", WORDS, "whole", "-c", "a.txt", "--tokens", "300", "--context", "16", "--exact")
    assert whole["fvu"] < 1e-9 and whole["l0"] == 32 and whole["dead"] < 0.5, whole
    assert abs(whole["loss"]["spliced"] - whole["loss"]["clean"]) < 1e-5 and abs(whole["loss"]["recovered"] - 1) < 1e-3, whole
    none = place.json("sae", "eval", WORDS, "nothing", "-c", "a.txt", "--tokens", "300", "--context", "16", "--exact")
    assert none["fvu"] >= 1 and none["loss"]["spliced"] == none["loss"]["zero"] and none["loss"]["recovered"] == 0, none
    assert none["loss"]["zero"] == whole["loss"]["zero"] and none["loss"]["clean"] == whole["loss"]["clean"]


def test_wrong(place):
    place.write("a.txt", TEXT)
    place.write("blank.txt", "\n\n")
    known(place, "whole", 1)
    train = ["sae", "train", WORDS, "--site", "1", "--corpus", "a.txt", "-o", "o"]
    expect(place, [
        (["sae", "train"], 2, ["rhumb: error: sae train needs a model"]),
        (["sae", "train", WORDS], 2, ["rhumb: error: sae train needs a folder to write", "help: -o DIR"]),
        (["sae", "train", WORDS, "-o", "o"], 2, ["rhumb: error: sae train needs a site", "help: --site 16…"]),
        (["sae", "train", WORDS, "-o", "o", "--site", "1"], 2, ["rhumb: error: sae train needs texts to read", "help: --corpus FILE…"]),
        (["sae", "train", WORDS, "-o", "o", "--site", "1.nose", "-c", "a.txt"], 2, ["rhumb: error: --site '1.nose' is no layer, or no hook of it"]),
        (train + ["--site", "9"], 1, ["rhumb: error: layer 9: words has layers 0..2"]),
        (train + ["--k", "41", "--width", "40"], 1, ["rhumb: error: k 41: of 40 features, 1 to 40 can be active"]),
        (train + ["--tokens", "100"], 1, ["rhumb: error: 100 tokens are less than one batch of 1024…"]),
        (["sae", "train", WORDS, "--site", "1", "--corpus", "blank.txt", "-o", "o"], 1, ["rhumb: error: the corpus holds no text of two tokens"]),
        (["sae", "train", WORDS, "--site", "1", "--corpus", "no.txt", "-o", "o"], 1, ["rhumb: error: …"]),
        (["sae", "eval", WORDS], 2, ["rhumb: error: sae eval needs a model and an SAE"]),
        (["sae", "eval", WORDS, "whole"], 2, ["rhumb: error: sae eval needs texts to read"]),
        (["sae", "eval", WORDS, "whole", "-c", "blank.txt"], 1, ["rhumb: error: …"]),
        (["sae", "eval", WORDS, "whole", "-c", "a.txt", "--site", "0"], 1, ["rhumb: error: '…"]),
        (["sae", "eval", ROOT / "tests/data/models/llama-f32", "whole", "-c", "a.txt"], 1, ["rhumb: error: …"]),
    ])
    assert not place.left_over()


if __name__ == "__main__":
    main()

"""The walk of docs/notebook.md, step by step, with the names, shapes and flags of the real thing: a Gemma 2 of 42 layers
and a Gemma Scope SAE of 131,072 features at layer 31, both of random numbers and only 16 wide."""
import array
import io
import json
import random
import shutil
import struct
import zipfile

from harness import ROOT, main
from test_folders import HUB, safetensors as to_bytes
from test_sae import safetensors

D, LAYERS, VOCAB, HEADS, DIM, INNER = 16, 42, 600, 2, 8, 24
FEATURES, FEATURE = 131072, 120353
EXPRESSION = f"405.29*s31[{FEATURE}]"
THRESHOLD = 2000.0
SAE = "layer_31/width_131k/average_l0_109"


def model_folder(place):
    rng = random.Random(0)
    draw = lambda *shape: (list(shape), [rng.gauss(0, 0.4) for _ in range(shape[0] * (shape[1] if len(shape) > 1 else 1))])
    tensors = {"model.embed_tokens.weight": draw(VOCAB, D), "model.norm.weight": draw(D)}
    for i in range(LAYERS):
        of = f"model.layers.{i}."
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            tensors[f"{of}{norm}_layernorm.weight"] = draw(D)
        for p, rows in (("q", HEADS * DIM), ("k", DIM), ("v", DIM)):
            tensors[f"{of}self_attn.{p}_proj.weight"] = draw(rows, D)
        tensors[f"{of}self_attn.o_proj.weight"] = draw(D, HEADS * DIM)
        for p, shape in (("gate", (INNER, D)), ("up", (INNER, D)), ("down", (D, INNER))):
            tensors[f"{of}mlp.{p}_proj.weight"] = draw(*shape)
    config = {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "hidden_size": D, "num_hidden_layers": LAYERS,
              "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": DIM, "intermediate_size": INNER, "vocab_size": VOCAB,
              "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 64,
              "query_pre_attn_scalar": 8, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
              "hidden_activation": "gelu_pytorch_tanh", "bos_token_id": 2, "eos_token_id": 1}
    place.write("gemma-2-9b-it/config.json", json.dumps(config))
    place.write("gemma-2-9b-it/model.safetensors", to_bytes(tensors))
    shutil.copy(HUB / "gemma3" / "tokenizer.model", place.dir / "gemma-2-9b-it")
    shutil.copy(HUB / "gemma2" / "tokenizer_config.json", place.dir / "gemma-2-9b-it")


def npy(shape, values):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + array.array("f", values).tobytes()


def scope_folder(place, row):
    """Random features, each its own, but for the one of the notebook, which is `row` and reads along it. Few are ever
    active: states of this model are hundreds long."""
    rng = random.Random(1)
    block = array.array("f", (rng.gauss(0, 0.25) for _ in range(4096 * D)))
    decoder = array.array("f")
    for i in range(FEATURES // 4096):
        decoder.extend(array.array("f", (x * (1 + i / 64) + i / 512 for x in block)))
    decoder[FEATURE * D:(FEATURE + 1) * D] = array.array("f", row)
    encoder = array.array("f", bytes(4 * D * FEATURES))
    for j in range(D):
        encoder[j * FEATURES:(j + 1) * FEATURES] = decoder[j::D]
    path = place.dir / SAE / "params.npz"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        for name, shape, values in (("W_enc", [D, FEATURES], encoder), ("W_dec", [FEATURES, D], decoder),
                                    ("b_enc", [FEATURES], array.array("f", bytes(4 * FEATURES))),
                                    ("threshold", [FEATURES], array.array("f", [THRESHOLD]) * FEATURES), ("b_dec", [D], [0.0] * D)):
            z.writestr(name + ".npy", npy(shape, values))


def test_notebook(place):
    row = [((7 * j) % 11 - 5) / 16 for j in range(D)]
    norm = sum(x * x for x in row) ** 0.5
    model_folder(place)
    scope_folder(place, row)
    for name in ("gemma-9b.rhumb", "rain.csv", "tokyo.csv"):
        shutil.copy(ROOT / "examples" / name, place.dir)
    book = ["-b", "gemma-9b.rhumb"]

    # What the files are.
    info = place.json("info", "gemma-2-9b-it")
    assert (info["layers"], info["d_model"]) == (LAYERS, D), info
    info = place.json("info", SAE)
    assert (info["format"], info["architecture"], info["d_sae"], info["layer"], info["hook"]) == \
        ("Gemma Scope", "jumprelu", FEATURES, 31, "resid_post"), info

    # The recipe, word for word.
    recipe = [EXPRESSION, *book, "--chat", "-p", "Name a city."]
    run = place.json("steer", "gemma-2-9b-it", *recipe, "--temperature", "0.5", "--top-p", "0.1", "--max-tokens", "128")
    assert run["site"] == "31.resid_post" and abs(run["norm"] - 405.29 * norm) < 1e-3 * norm, run["norm"]
    assert [r["strength"] for r in run["runs"]] == [0, 1] and run["runs"][1]["kl"] > 0
    again = place.json("steer", "gemma-2-9b-it", *recipe, "--temperature", "0.5", "--top-p", "0.1", "--max-tokens", "128")
    assert [r["text"] for r in again["runs"]] == [r["text"] for r in run["runs"]]

    # What it adds, at every position of that layer, is the decoder's row 405.29 times.
    one = ["--sites", "resid_post", "--layers", "31"]
    place.ok("trace", "gemma-2-9b-it", "--chat", "-p", "Name a city.", *one, "-o", "plain.safetensors")
    place.ok("trace", "gemma-2-9b-it", *recipe, *one, "-o", "steered.safetensors")
    (shape, plain), = safetensors(place.dir / "plain.safetensors").values()
    (_, steered), = safetensors(place.dir / "steered.safetensors").values()
    assert shape[1] == D and all(abs(s - p - 405.29 * row[i % D]) < 2e-3 for i, (p, s) in enumerate(zip(plain, steered)))

    # The notebook's tokenizer call added a second BOS to the template's own.
    place.ok("trace", "gemma-2-9b-it", "--chat", "-p", "Name a city.", "--double-bos", "--sites", "embed", "-o", "double.safetensors")
    (double, rows), = safetensors(place.dir / "double.safetensors").values()
    assert double == [shape[0] + 1, D] and rows[:D] == rows[D:2 * D] != rows[2 * D:3 * D]
    place.ok("steer", "gemma-2-9b-it", *recipe, "--double-bos", "-n", "4")

    # Its neighbours, and a sum of concepts beside it.
    match = place.json("near", SAE, f"s31[{FEATURE}]", *book, "--top", "3")["decoder"][0]
    assert match["feature"] == FEATURE and abs(match["cosine"] - 1) < 1e-6, match
    parts = place.json("steer", "gemma-2-9b-it", "sf + 0.5*rain - tokyo", *book, "--chat", "-p", "Name a city.", "-n", "8")
    assert parts["site"] == "31.resid_post", parts["site"]
    # The book's own action, which an expression leaves out.
    own = place.json("steer", "gemma-2-9b-it", *book, "--chat", "-p", "Name a city.", "-n", "4")
    assert own["actions"] == [{"text": "steer 1.5*trip on last, generated"}], own["actions"]

    # A feature that is not there, with the range.
    r = place.run("steer", "gemma-2-9b-it", f"s31[{FEATURES}]", *book, "-p", "x")
    assert r.code == 1 and "has features 0..131071" in r.err, r


main()

#!/usr/bin/env python3
"""Write the very small random autoencoders of tests/data/saes, with the answers that SAELens gives.

    tiny_saes.py OUT [--seed N]

Each case is a folder as its publisher ships it, with expected.safetensors beside the weights: `x` [n,d],
`features` [n,m] and `recon` [n,d'] in float32. Beside what shared reference SAEs have: older configurations,
batch top-k, transcoders, narrow storage types, and npz as numpy may write it. Those that SAELens can open are
computed by it; Gemma Scope's npz and Sparsify's by their formulas in float64.
Needs torch, sae-lens, numpy, safetensors.
"""
import argparse
import json
import pathlib
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sae_lens import SAE
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from sae_lens.saes.transcoder import (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig, JumpReLUTranscoder,
                                      JumpReLUTranscoderConfig, SkipTranscoder, SkipTranscoderConfig, Transcoder,
                                      TranscoderConfig)

D, D_OUT, M, N, K = 8, 6, 14, 3, 3
POST, Z = "blocks.2.hook_resid_post", "blocks.1.attn.hook_z"
CNR, LN = {"normalize_activations": "constant_norm_rescale"}, {"normalize_activations": "layer_norm"}
ACROSS = {"d_out": D_OUT, "apply_b_dec_to_input": False}
CASES = {  # name: (class, configuration, more of it, hook)
    "standard": (StandardSAE, StandardSAEConfig, {}, POST),
    "standard-plain": (StandardSAE, StandardSAEConfig, {"apply_b_dec_to_input": False}, Z),
    "standard-average": (StandardSAE, StandardSAEConfig, {"normalize_activations": "expected_average_only_in"}, POST),
    "standard-cnr": (StandardSAE, StandardSAEConfig, CNR, POST),
    "standard-ln": (StandardSAE, StandardSAEConfig, LN, "blocks.2.hook_mlp_out"),
    "topk": (TopKSAE, TopKSAEConfig, {"k": K}, POST),
    "topk-rescale": (TopKSAE, TopKSAEConfig, {"k": K, "rescale_acts_by_decoder_norm": True} | LN, POST),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}, "blocks.0.hook_attn_out"),
    "gated": (GatedSAE, GatedSAEConfig, CNR, POST),
    "transcoder": (Transcoder, TranscoderConfig, ACROSS, "blocks.1.hook_mlp_in"),
    "transcoder-skip": (SkipTranscoder, SkipTranscoderConfig, ACROSS, "blocks.1.hook_mlp_in"),
    "transcoder-jumprelu": (JumpReLUTranscoder, JumpReLUTranscoderConfig, ACROSS, "blocks.1.hook_mlp_in"),
    "transcoder-jumprelu-skip": (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig, ACROSS, "blocks.1.hook_mlp_in"),
}


@torch.no_grad()
def randomize(sae):
    for key, p in sae.named_parameters():
        scale = 0.2 if p.dim() == 1 else 1.3 / p.shape[0] ** 0.5
        p.copy_(torch.randn_like(p) * scale + (0.5 if key == "threshold" else 0))
        if key == "threshold":
            p.abs_()


@torch.no_grad()
def answer(folder, sae, x):
    """By SAELens, in float32 from the weights as they are stored."""
    sae = sae.to(dtype=torch.float32)
    f = sae.encode(x)
    recon = sae(x) if hasattr(sae, "W_skip") else sae.decode(f)
    save(folder, x, f.to_dense() if f.is_sparse else f, recon)


def save(folder, x, features, recon):
    tensor = lambda a: torch.as_tensor(a).to(torch.float32).contiguous()
    save_file({"x": tensor(x), "features": tensor(features), "recon": tensor(recon)}, folder / "expected.safetensors")


def saelens(out):
    for name, (cls, config, extra, hook) in CASES.items():
        sae = cls(config(d_in=D, d_sae=M, dtype="float32", device="cpu", **extra))
        sae.cfg.metadata.hook_name, sae.cfg.metadata.model_name = hook, "gemma-2-2b"
        if "d_out" in extra:
            sae.cfg.metadata.hook_name_out = "blocks.1.hook_mlp_out"
        randomize(sae)
        sae.save_model(out / name)
        answer(out / name, sae, torch.randn(N, D) * 1.7)
    batch = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=D, d_sae=M, k=K, dtype="float32", device="cpu"))
    randomize(batch)
    batch.topk_threshold.fill_(0.8)
    batch.save_inference_model(out / "batchtopk")
    answer(out / "batchtopk", SAE.load_from_disk(out / "batchtopk"), torch.randn(N, D) * 1.7)
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        narrow(out / f"jumprelu-{name}", out / "jumprelu", dtype)


def narrow(folder, source, dtype):
    folder.mkdir()
    (folder / "cfg.json").write_bytes((source / "cfg.json").read_bytes())
    weights = {k: v.to(dtype) for k, v in load_file(source / "sae_weights.safetensors").items()}
    save_file(weights, folder / "sae_weights.safetensors")
    answer(folder, SAE.load_from_disk(folder, dtype="float32"), torch.randn(N, D) * 1.7)


def older(out):
    """The flat configurations from before SAELens 6."""
    flat = {"d_in": D, "d_sae": M, "dtype": "float32", "device": "cpu", "model_name": "gpt2-small", "hook_point": "blocks.3.hook_resid_pre",
            "hook_point_layer": 3, "hook_point_head_index": None, "prepend_bos": True, "activation_fn_str": "relu"}
    for name, extra in (("old-standard", {"normalize_activations": True}),
                        ("old-topk", {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "apply_b_dec_to_input": False})):
        (out / name).mkdir()
        weights = {"W_enc": torch.randn(D, M) / D ** .5, "W_dec": torch.randn(M, D) / M ** .5, "b_enc": torch.randn(M) * .2,
                   "b_dec": torch.randn(D) * .2, "scaling_factor": torch.ones(M)}
        save_file(weights, out / name / "sae_weights.safetensors")
        (out / name / "cfg.json").write_text(json.dumps(flat | extra | {"finetuning_scaling_factor": False}))
        answer(out / name, SAE.load_from_disk(out / name), torch.randn(N, D) * 1.7)


def scope_arrays(rng):
    p = {"W_enc": rng.standard_normal((D, M)) / D ** .5, "W_dec": rng.standard_normal((M, D)), "b_enc": rng.standard_normal(M) * .2,
         "b_dec": rng.standard_normal(D) * .2, "threshold": np.abs(rng.standard_normal(M)) * .7}
    return {k: v.astype(np.float32) for k, v in p.items()}


def scope_answer(folder, p, rng):
    p = {k: v.astype(np.float64) for k, v in p.items()}
    x = rng.standard_normal((N, D)).astype(np.float32)
    pre = x @ p["W_enc"] + p["b_enc"]
    f = np.maximum(pre, 0) * (pre > p["threshold"])
    save(folder, x, f, f @ p["W_dec"] + p["b_dec"])


def zip64(path, arrays):
    """Every entry with the long sizes and places that files beyond 2 GiB need."""
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 100
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        for key, value in arrays.items():
            with z.open(key + ".npy", "w", force_zip64=True) as f:
                np.lib.format.write_array(f, value)
    zipfile.ZIP64_LIMIT = limit


def scope(out, seed):
    rng = np.random.default_rng(seed)
    same = lambda p: p
    for name, change, write in (
            ("stored", same, np.savez), ("deflated", same, np.savez_compressed),
            ("lower", lambda p: {k.lower(): v for k, v in p.items()}, np.savez),
            ("fortran", lambda p: {k: np.asfortranarray(v) for k, v in p.items()}, np.savez),
            ("f8", lambda p: {k: v.astype(np.float64) for k, v in p.items()}, np.savez),
            ("f2", lambda p: {k: v.astype(np.float16) for k, v in p.items()}, np.savez_compressed),
            ("zip64", same, None)):
        p = scope_arrays(rng)
        p = {k: v.astype(np.float16).astype(np.float32) for k, v in p.items()} if name == "f2" else p
        folder = out / f"gemma-scope-2b-pt-{'att' if name == 'lower' else 'res'}-{name}" / "layer_2" / "width_14" / "average_l0_5"
        folder.mkdir(parents=True)
        write(folder / "params.npz", **change(p)) if write else zip64(folder / "params.npz", p)
        scope_answer(folder, p, rng)


def scope_2(out):
    base = out / "gemma-scope-2-270m-it"
    for site, config in (("resid_post", {"hf_hook_point_in": "model.layers.5.output"}),
                         ("attn_out", {"hf_hook_point_in": "model.layers.5.self_attn.o_proj.input"}), ("mlp_out", None),
                         ("transcoder", {"hf_hook_point_in": "model.layers.5.pre_feedforward_layernorm.output",
                                         "hf_hook_point_out": "model.layers.5.post_feedforward_layernorm.output"})):
        skip = site == "transcoder"
        cls, cfg = (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig) if skip else (JumpReLUSAE, JumpReLUSAEConfig)
        sae = cls(cfg(d_in=D, d_sae=M, dtype="float32", device="cpu", apply_b_dec_to_input=False, **({"d_out": D_OUT} if skip else {})))
        randomize(sae)
        folder = base / site / "layer_5_width_14_l0_small"
        folder.mkdir(parents=True)
        weights = {key.lower(): p.detach().clone() for key, p in sae.state_dict().items()}
        if skip:
            weights["affine_skip_connection"] = weights.pop("w_skip").T.contiguous()
        save_file(weights, folder / "params.safetensors")
        if config:
            (folder / "config.json").write_text(json.dumps(
                {"architecture": "jump_relu", "type": "transcoder" if skip else "sae", "model_name": "google/gemma-3-270m-it",
                 "width": M, "l0": 5, "affine_connection": skip} | config))
        answer(folder, sae, torch.randn(N, D))


def sparsify(out):
    for name, transcode in (("layers.4", False), ("layers.4.mlp", True)):
        folder = out / "sparsify" / name
        folder.mkdir(parents=True)
        w = {"encoder.weight": torch.randn(M, D) / D ** .5, "encoder.bias": torch.randn(M) * .2, "W_dec": torch.randn(M, D),
             "b_dec": torch.randn(D) * .2}
        if transcode:
            w["W_skip"] = torch.randn(D, D) / D
        save_file(w, folder / "sae.safetensors")
        (folder / "cfg.json").write_text(json.dumps({"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": M,
                                                     "k": K, "multi_topk": False, "skip_connection": transcode, "transcode": transcode,
                                                     "d_in": D}))
        x = torch.randn(N, D)
        w = {k: v.double() for k, v in w.items()}
        pre = torch.relu((x.double() - (0 if transcode else w["b_dec"])) @ w["encoder.weight"].T + w["encoder.bias"])
        top = pre.topk(K)
        f = torch.zeros_like(pre).scatter(-1, top.indices, top.values)
        recon = f @ w["W_dec"] + w["b_dec"] + (x.double() @ w["W_skip"].T if transcode else 0)
        save(folder, x, f, recon)
    (out / "sparsify" / "config.json").write_text(json.dumps({"model": "HuggingFaceTB/SmolLM2-135M"}))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=0)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True)
    saelens(a.out)
    older(a.out)
    scope(a.out, a.seed)
    scope_2(a.out)
    sparsify(a.out)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What the Python stacks do with the same work, timed once after a warm-up. Run by bench/compare.

    peers.py MODEL.gguf pairs.csv [--dtype bfloat16] [--threads 2] [--batch 32]

Prints one JSON object: prefill of 512 tokens with the last logits only, decoding 64 tokens,
mean differences at all layers by steering-vectors, and the same by plain torch: hidden states
of the block stack without the output matrix, texts sorted by length. Needs torch, transformers,
gguf, sentencepiece, steering-vectors.
"""
import argparse
import csv
import json
import pathlib
import tempfile
import time
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def gemma_tokenizer(path):
    """transformers splits words when it converts a Gemma GGUF's tokenizer; its own class for
    SentencePiece files does not, so the file's vocabulary is written as one."""
    import gguf
    from sentencepiece import sentencepiece_model_pb2 as pb
    fields = gguf.GGUFReader(path).fields
    tokens, scores, kinds = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "scores", "token_type"))
    proto = pb.ModelProto()
    proto.trainer_spec.model_type, proto.trainer_spec.byte_fallback = 2, True
    for key in ("unk", "bos", "eos", "pad"):
        name = {"unk": "unknown", "pad": "padding"}.get(key, key)
        setattr(proto.trainer_spec, key + "_id", int(fields[f"tokenizer.ggml.{name}_token_id"].contents()))
    n = proto.normalizer_spec
    n.name, n.add_dummy_prefix, n.remove_extra_whitespaces, n.escape_whitespaces = "identity", False, False, True
    for token, score, kind in zip(tokens, scores, kinds):
        proto.pieces.add(piece=token.replace(" ", "\u2581") if kind == 4 else token, score=score, type=int(kind))
    with tempfile.NamedTemporaryFile(suffix=".model") as f:
        f.write(proto.SerializeToString())
        f.flush()
        return transformers.GemmaTokenizer(vocab_file=f.name)


def timed(work, warm_up=None):
    (warm_up or work)()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.no_grad()
def plain_means(model, tok, rows, batch):
    """mean(last token's state of positives) - mean(... of negatives), every layer."""
    texts = sorted([(t, sign / len(rows)) for pair in rows for t, sign in zip(pair, (1, -1))], key=lambda x: len(x[0]))
    total = 0
    for at in range(0, len(texts), batch):
        part = texts[at:at + batch]
        x = tok([t for t, _ in part], return_tensors="pt", padding=True)
        last = x.attention_mask.sum(-1) - 1
        states = model.model(**x, output_hidden_states=True, use_cache=False).hidden_states[1:]
        weight = torch.tensor([w for _, w in part])
        rows_at = torch.arange(len(part))
        total = total + torch.stack([(h[rows_at, last].float() * weight[:, None]).sum(0) for h in states])
    return total


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model", type=pathlib.Path)
    ap.add_argument("pairs")
    ap.add_argument("--dtype", default="bfloat16")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--batch", type=int, default=32)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    path = a.model.resolve()
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name,
                                                              dtype=getattr(torch, a.dtype)).eval()
    if model.config.model_type.startswith("gemma"):
        tok = gemma_tokenizer(path)
    else:
        tok = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        tok.add_bos_token = False  # as the file says; transformers' conversion adds one
        tok.update_post_processor()
    tok.pad_token = tok.pad_token or tok.eos_token
    tok.padding_side = "right"
    with open(a.pairs, newline="", encoding="utf-8") as f:
        rows = [(r["positive"], r["negative"]) for r in csv.DictReader(f)]

    import steering_vectors as sv
    samples = [sv.SteeringVectorTrainingSample(p, n) for p, n in rows]
    train = lambda s: sv.train_steering_vector(model, tok, s, batch_size=a.batch, move_to_cpu=True)
    ids = tok("The city I would most like to visit is", return_tensors="pt").input_ids
    prompt = torch.randint(5, 40000, (1, 512), generator=torch.Generator().manual_seed(1))
    few = rows[:2 * a.batch]
    with torch.no_grad():
        out = {
            "tokens": sum(len(tok(t).input_ids) for pair in rows for t in pair),
            "extract_s": timed(lambda: train(samples), lambda: train(samples[:2 * a.batch])),
            "extract_plain_s": timed(lambda: plain_means(model, tok, rows, a.batch),
                                     lambda: plain_means(model, tok, few, a.batch)),
            "prefill_tok_s": 512 / timed(lambda: model(prompt, logits_to_keep=1)),
            "decode_tok_s": 64 / timed(lambda: model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, min_new_tokens=64, do_sample=False)),
        }
    print(json.dumps(out))


if __name__ == "__main__":
    main()

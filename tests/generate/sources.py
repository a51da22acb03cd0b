#!/usr/bin/env python3
"""Write what sources and functions of the language should be worth, for tests/concepts/test_numpy.c.

    sources.py RHUMB OUT

RHUMB is the program; OUT gets three CSVs, cases.json and answers.safetensors. Hidden states are taken with
`rhumb trace`, one text at a time, ids and offsets with `rhumb tokens`; which tokens count, means, quantiles and
functions are computed here in float64 from the definitions of the language:

    act, dim         of a text's last token, its own last token, the mean of its tokens, all of them, or the
                     marked ones; position 0 is averaged only if a text has no other
    neutral          the mean over all tokens of the calibration text but those at position 0
    resid_norm(q)    quantile of their norms
    token, unembed   rows of the model file

The answer of case i is the tensor "i", [layers, d] at resid_post or the hook named, [layers, 1] for scalars.
pca, lda and logreg have their own answers, by other programs (fits.py, fits_smollm2.py).
Needs numpy, safetensors, gguf.
"""
import argparse
import csv
import json
import pathlib
import re
import subprocess
import tempfile

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).parent.parent.parent
MODEL = ROOT / "tests" / "data" / "models" / "words.gguf"
ACTIONS = ROOT / "tests" / "data" / "actions"
LAYERS, CONTEXT = 3, 256  # calibration sentences have more tokens than the model's 64 positions; it has no limit but that number

PAIRS = [("The mayor of San Francisco", "The mayor of Tokyo"), ("San Francisco in rain", "Tokyo in rain"),
         ('The city, "San Francisco"', 'The city, "Tokyo"'), ("rain", "snow")]
MARKED = [("the <<San Francisco>> mayor", "the <<Tokyo>> mayor"), ("<<rain>> in <<San>> Francisco", "<<snow>> in <<Tokyo>>")]
LABELS = [("The mayor of San Francisco", "1"), ("Tokyo in snow", "negative"), ("snow", "0"), ("San Francisco in rain", "positive")]


class Reader:
    """Texts as the program reads them: states [T, d] by site, and the tokens that are a text's own."""

    def __init__(self, program, folder):
        self.program, self.folder, self.known = program, folder, {}
        self.model = folder / "words.gguf"
        data = MODEL.read_bytes()
        key = b"llama.context_length" + (4).to_bytes(4, "little")
        at = data.index(key) + len(key)
        self.model.write_bytes(data[:at] + CONTEXT.to_bytes(4, "little") + data[at + 4:])

    def run(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    def __call__(self, text, chat):
        if (text, chat) not in self.known:
            flags, out = ["--chat"] if chat else [], self.folder / "trace.safetensors"
            self.run("trace", self.model, "-p", text, "-o", out, "--exact", "--threads", "1", "--sites", "all", *flags)
            tokens = json.loads(self.run("tokens", self.model, text, "--json", *flags))
            states = {k[2:]: v.astype(np.float64) for k, v in load_file(out).items()}
            offsets = [o if o else (0, 0) for o in tokens["offsets"]]
            assert len(offsets) == len(states["resid_post.0"])
            self.known[text, chat] = states, offsets
        return self.known[text, chat]


def unmark(text):
    """Without << >>, and the byte ranges between."""
    plain, ranges = "", []
    for i, piece in enumerate(re.split("<<|>>", text)):
        if i % 2:
            ranges.append((len(plain), len(plain) + len(piece)))
        plain += piece
    return plain, ranges


def positions(offsets, at, ranges, start):
    own = [i for i, (a, b) in enumerate(offsets) if b > a and b > start]
    if at == "last":
        return [len(offsets) - 1]
    if at == "text_last":
        return own[-1:]
    if at == "marked":
        own = [i for i in own if any(offsets[i][0] < b and offsets[i][1] > a for a, b in ranges)]
    return [i for i in own if i > 0] or own


def samples(read, texts, site, at="last", chat=False, prefix=""):
    """A text's sample is the mean of its tokens, except with at=all and at=marked: there each token is one. [n, d]"""
    rows = []
    for text in texts:
        plain, ranges = unmark(text) if at == "marked" else (text, [])
        states, offsets = read(prefix + plain, chat)
        n = len(prefix.encode())
        h = states[site][positions(offsets, at, [(a + n, b + n) for a, b in ranges], n)]
        rows += list(h) if at in ("all", "marked") else [h.mean(0)]
    return np.array(rows)


def dim(read, rows, site, **options):
    positive, negative = zip(*rows)
    return samples(read, positive, site, **options).mean(0) - samples(read, negative, site, **options).mean(0)


def calibration():
    text = (ROOT / "concepts" / "calibration.c").read_text()
    return [json.loads(s) for s in re.findall(r'^    (".*"),$', text, re.M)]


def unit(v): return v / np.linalg.norm(v)
def proj(v, b): return (v @ unit(b)) * unit(b)


def proj_span(v, *basis):
    q = np.linalg.qr(np.array(basis).T)[0]
    return q @ (q.T @ v)


def slerp(a, b, t):
    angle = np.arccos(np.clip(unit(a) @ unit(b), -1, 1))
    direction = (np.sin((1 - t) * angle) * unit(a) + np.sin(t * angle) * unit(b)) / np.sin(angle)
    return ((1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)) * direction


def sources(read):
    """expression, hook, value at (layer)"""
    at = lambda hook, f: lambda layer: f(f"{hook}.{layer}")
    post = lambda f: ("resid_post", at("resid_post", f))
    text, spaced = "The mayor of San Francisco", "In snow."
    one = lambda s, t, **o: samples(read, [t], s, **o).mean(0)
    yield f'act("{text}")', *post(lambda s: one(s, text))
    for how in ("last", "text_last", "mean"):
        yield f'act("{text}", at={how}, chat=true)', *post(lambda s, how=how: one(s, text, at=how, chat=True))
        yield f'act("{text}", at={how}, prefix="{spaced}")', *post(lambda s, how=how: one(s, text, at=how, prefix=spaced))
    yield f'act("{text}", at=mean)', *post(lambda s: one(s, text, at="mean"))
    yield 'act("rain", at=mean)', *post(lambda s: one(s, "rain", at="mean"))
    for marked in ("the <<San Francisco>> mayor", "<<Tokyo>> in snow", "<<rain>> in <<rain>>"):
        for chat in ("false", "true"):
            yield (f'act("{marked}", at=marked, chat={chat})',
                   *post(lambda s, m=marked, chat=chat: one(s, m, at="marked", chat=chat == "true")))
    for how in ("last", "mean", "all"):
        for chat in ("false", "true"):
            yield (f'dim("pairs.csv", at={how}, chat={chat})',
                   *post(lambda s, how=how, chat=chat: dim(read, PAIRS, s, at=how, chat=chat == "true")))
        yield f'dim("pairs.csv", at={how}, prefix="{spaced}")', *post(lambda s, how=how: dim(read, PAIRS, s, at=how, prefix=spaced))
    for hook in ("resid_pre", "attn_z", "attn_out", "mlp_in", "mlp_out"):
        yield 'dim("pairs.csv", at=mean)', hook, at(hook, lambda s: dim(read, PAIRS, s, at="mean"))
    yield 'dim("pairs.csv", positive="other", negative="negative")', *post(lambda s: dim(read, [(o, n) for (_, n), o in zip(PAIRS, OTHER)], s))
    yield 'dim("marked.csv", at=marked)', *post(lambda s: dim(read, MARKED, s, at="marked"))
    yield 'dim("marked.csv", at=marked, chat=true)', *post(lambda s: dim(read, MARKED, s, at="marked", chat=True))
    good, bad = ([t for t, l in LABELS if l in g] for g in (("1", "positive"), ("0", "negative")))
    for how in ("last", "mean", "all"):
        yield (f'dim("labels.csv", at={how})',
               *post(lambda s, how=how: samples(read, good, s, at=how).mean(0) - samples(read, bad, s, at=how).mean(0)))
    neutral = lambda s: samples(read, calibration(), s, at="all").mean(0)
    norms = lambda s: np.linalg.norm(samples(read, calibration(), s, at="all"), axis=1)
    for hook in ("resid_pre", "attn_z", "attn_out", "mlp_in", "mlp_out", "resid_post"):
        yield "neutral()", hook, at(hook, neutral)
        yield "resid_norm()", hook, at(hook, lambda s: np.median(norms(s)))
    for q in (0, 0.1, 0.75, 1):
        yield f"resid_norm({q})", *post(lambda s, q=q: np.quantile(norms(s), q))
    yield 'act("rain") - neutral()', *post(lambda s: one(s, "rain") - neutral(s))
    yield ('2*(dim("pairs.csv") - neutral()/4) + dim("pairs.csv") - act("snow")',
           *post(lambda s: 3 * dim(read, PAIRS, s) - neutral(s) / 2 - one(s, "snow")))
    yield ('0.2*resid_norm()*unit(dim("pairs.csv"))', *post(lambda s: 0.2 * np.median(norms(s)) * unit(dim(read, PAIRS, s))))
    yield 'dot(neutral(), unit(dim("pairs.csv")))', *post(lambda s: neutral(s) @ unit(dim(read, PAIRS, s)))


def rows_of_vocabulary(read):
    reader = gguf.GGUFReader(MODEL)
    tensors = {t.name: t for t in reader.tensors}
    table = lambda name: gguf.dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float64)
    embedding = table("token_embd.weight")
    unembedding = table("output.weight") if "output.weight" in tensors else embedding
    ids = lambda text: json.loads(read.run("tokens", read.model, text, "--json"))["ids"]
    for name, of in (("token", embedding), ("unembed", unembedding)):
        for text, options in (("rain", ""), (" rain", ""), (" San Francisco", ", at=mean")):
            assert options or len(ids(text)) == 1
            yield f'{name}("{text}"{options})', "resid_post", lambda l, of=of, text=text: of[ids(text)].mean(0)


def functions():
    a, b, c = (np.load(ACTIONS / f"{n}.npy").astype(np.float64) for n in "abc")
    fam = [v.astype(np.float64) for _, v in sorted(load_file(ACTIONS / "fam.safetensors").items())]
    degrees = lambda x, y: np.degrees(np.arccos(unit(x) @ unit(y)))
    for text, value in (
            ("a + 2*b/3 - -c", lambda f: a + 2 * b / 3 + c), ("-a*2", lambda f: -2 * a), ("fam - 0.5*a", lambda f: f - 0.5 * a),
            ("unit(fam + a)", lambda f: unit(f + a)), ("norm(fam)", np.linalg.norm), ("rescale(fam, 8)", lambda f: 8 * unit(f)),
            ("rescale(fam, norm(a)*2)", lambda f: 2 * np.linalg.norm(a) * unit(f)), ("dot(fam, a - b)", lambda f: f @ (a - b)),
            ("cos(fam, a)", lambda f: unit(f) @ unit(a)), ("angle(a, fam)", lambda f: degrees(a, f)), ("angle(fam, 2*fam)", lambda f: 0.0),
            ("proj(fam, a)", lambda f: proj(f, a)), ("reject(fam, a)", lambda f: f - proj(f, a)),
            ("proj(a, span(fam, b))", lambda f: proj_span(a, f, b)), ("reject(a, span(fam, b, fam + b))", lambda f: a - proj_span(a, f, b)),
            ("mean(a, b, fam)", lambda f: (a + b + f) / 3), ("mean(norm(a), norm(fam))", lambda f: (np.linalg.norm(a) + np.linalg.norm(f)) / 2),
            ("lerp(a, fam, 0.25)", lambda f: 0.75 * a + 0.25 * f), ("lerp(a, fam, 2)", lambda f: 2 * f - a),
            ("slerp(a, fam, 0.25)", lambda f: slerp(a, f, 0.25)), ("slerp(fam, b, 1)", lambda f: b), ("slerp(fam, b, 1.5)", lambda f: slerp(f, b, 1.5)),
            ("dot(a, fam)/norm(a)*unit(a)", lambda f: (a @ f) / np.linalg.norm(a) * unit(a)), ("fam/norm(fam)/2", lambda f: unit(f) / 2)):
        yield text, "resid_post", lambda layer, value=value: value(fam[layer])
    yield "free(fam @ 1) - a", "resid_post", lambda layer: fam[1] - a
    yield "norm(free(fam @ 1))*fam", "resid_post", lambda layer: np.linalg.norm(fam[1]) * fam[layer]


OTHER = ["snow", "rain", "Tokyo", "The city"]


def write_tables(out):
    def table(name, header, rows, **options):
        with open(out / name, "w", newline="", encoding="utf-8") as f:
            csv.writer(f, **options).writerows([header, *rows])
    table("pairs.csv", ["positive", "negative", "other"], [(p, n, o) for (p, n), o in zip(PAIRS, OTHER)])
    table("marked.csv", ["negative", "positive"], [(n, p) for p, n in MARKED], lineterminator="\n", quoting=csv.QUOTE_ALL)
    table("labels.csv", ["text", "label"], LABELS)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    o = arguments.parse_args()
    write_tables(o.out)
    with tempfile.TemporaryDirectory() as folder:
        read = Reader(o.program.resolve(), pathlib.Path(folder))
        cases = [*sources(read), *rows_of_vocabulary(read), *functions()]
        answers = {str(i): np.array([np.atleast_1d(value(layer)) for layer in range(LAYERS)], np.float32)
                   for i, (_, _, value) in enumerate(cases)}
    save_file(answers, o.out / "answers.safetensors")
    (o.out / "cases.json").write_text(json.dumps([{"expression": e, "hook": hook} for e, hook, _ in cases], indent=1) + "\n")
    print(f"{len(cases)} cases")


main()

#!/usr/bin/env python3
"""Write what every action should make of hidden states, for tests/concepts/test_actions.c.

    actions.py RHUMB OUT

RHUMB is the program; OUT gets vectors (*.npy, fam.safetensors), cases.json and answers.safetensors. For each
case the hidden states entering a site are taken with `rhumb trace`, steered only at earlier sites if the case
acts there too; what the actions make of them is computed here in float64 by the formulas of the language:

    steer v        h + v                          ablate v     h - (h.u)u        (a span: every basis vector)
    scale v by c   h + (c-1)(h.u)u                cap v at x   h + (x - h.u)u where h.u > x
    clamp v at x   h + (x - h.u)u                 u = v/|v|

under masks and guards. Answers are tensors CASE/SITE.LAYER [T, d].
Needs numpy, safetensors.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

MODEL = pathlib.Path(__file__).parent.parent / "data" / "models" / "words.gguf"
D, LAYERS = 32, 3
PROMPTS = ["The mayor of San Francisco in rain", "The city of Tokyo in snow"]
LETS = "".join(f'let {n} = load("{n}.npy")\n' for n in "abc") + 'let fam = load("fam.safetensors")\n'


def unit(v):
    return v / np.linalg.norm(v)


# ---- actions: (h [n, d]) -> h; h is what the actions before have made of it ----
def steer(v): return lambda h: h + v
def ablate(v): return lambda h: h - np.outer(h @ unit(v), unit(v))
def scale(v, c): return lambda h: h + (c - 1) * np.outer(h @ unit(v), unit(v))
def clamp(v, x): return lambda h: h + np.outer(x - h @ unit(v), unit(v))
def cap(v, x): return lambda h: h + np.outer(np.minimum(x - h @ unit(v), 0), unit(v))


def ablate_span(*vectors):
    basis = np.linalg.svd(np.array(vectors), full_matrices=False)
    q = basis[2][basis[1] > 1e-6 * basis[1][0]]
    return lambda h: h - h @ q.T @ q


# ---- masks: (positions [n], n) -> bool; guards: (h as it entered [n, d]) -> bool ----
def everywhere(t, n): return t >= 0
def last(t, n): return t == n - 1
def tokens(lo, hi=10 ** 6): return lambda t, n: (t >= lo) & (t <= hi)
def at(*positions): return lambda t, n: np.isin(t, positions)
def but(m): return lambda t, n: ~m(t, n)
def both(*ms): return lambda t, n: np.logical_or.reduce([m(t, n) for m in ms])
def dot(v): return lambda h: h @ v
def cos(v): return lambda h: h @ v / np.linalg.norm(h, axis=1) / np.linalg.norm(v)


class When:
    def __init__(self, measure, sign, x):
        self.measure, self.sign, self.x = measure, sign, x

    def __call__(self, h, case):
        m = self.measure(h) - self.x
        fired = m * self.sign > 0
        assert np.abs(m).min() > 1e-3, (case, "a position is at the threshold")
        assert fired.any() and not fired.all(), (case, "the guard does not decide")
        return fired


def cases(a, b, c, fam):
    """name, prompt, chat, book text by layers (None: all), {(layer, site): [(action, mask, guard)]}"""
    one = lambda name, text, ops, site="resid_post", layer=1, prompt=0, chat=False: \
        (name, prompt, chat, lambda layers: text, {(layer, site): [(o + (everywhere, None))[:3] if len(o) == 1 else
                                                                     (o + (None,))[:3] for o in ops]})
    yield one("steer", "steer a @ 1", [(steer(a),)])
    yield one("steer_sum", "steer (2*a - b/4) @ 1", [(steer(2 * a - b / 4),)])
    yield one("steer_twice", "steer a @ 1; steer b @ 1", [(steer(a),), (steer(b),)])
    yield one("ablate", "ablate a @ 1", [(ablate(a),)])
    yield one("ablate_span", "ablate span(a, b, c, a + b) @ 1", [(ablate_span(a, b, c, a + b),)])
    yield one("scale", "scale a @ 1 by 2.5", [(scale(a, 2.5),)])
    yield one("scale_negative", "scale 3*b @ 1 by -1", [(scale(b, -1),)])
    yield one("cap", "cap a @ 1 at 0.25", [(cap(a, 0.25),)])
    yield one("cap_below", "cap -a @ 1 at -0.5", [(cap(-a, -0.5),)])
    yield one("clamp", "clamp a @ 1 at 4", [(clamp(a, 4),)])
    yield one("clamp_zero", "clamp a @ 1 at 0", [(ablate(a),)])
    yield one("clamp_norm", "clamp b @ 1 at norm(a)/2", [(clamp(b, np.linalg.norm(a) / 2),)])
    # in the order written, each seeing the last one's result
    yield one("ablate_steer", "ablate a @ 1; steer a + b @ 1", [(ablate(a),), (steer(a + b),)])
    yield one("steer_ablate", "steer a + b @ 1; ablate a @ 1", [(steer(a + b),), (ablate(a),)])
    yield one("all_five", "steer b @ 1; cap a @ 1 at 0.1; scale b @ 1 by 0.5; clamp c @ 1 at 1; ablate a - c @ 1",
              [(steer(b),), (cap(a, .1),), (scale(b, .5),), (clamp(c, 1),), (ablate(a - c),)])
    # masks
    yield one("on_last", "steer a @ 1 on last", [(steer(a), last)])
    yield one("on_tokens", "clamp a @ 1 at 2 on tokens 1..3", [(clamp(a, 2), tokens(1, 3))])
    yield one("on_open", "ablate b @ 1 on tokens 2..", [(ablate(b), tokens(2))])
    yield one("on_one", "cap a @ 1 at -1 on tokens 4", [(cap(a, -1), tokens(4, 4))])
    yield one("on_union", "steer a @ 1 on tokens 0, last", [(steer(a), both(tokens(0, 0), last))])
    yield one("on_not", "steer a @ 1 on not tokens 0..1", [(steer(a), but(tokens(0, 1)))])
    yield one("on_prompt_not", "scale a @ 1 by 3 on prompt, not last", [(scale(a, 3), but(last))])
    yield one("on_generated", "steer a @ 1 on generated", [(steer(a), lambda t, n: t < 0)])
    yield one("on_text", 'steer a @ 1 on "San Francisco"', [(steer(a), at(3, 4))])
    yield one("on_not_text", 'ablate a @ 1 on not "Francisco in"', [(ablate(a), but(at(4, 5)))])
    yield one("on_special", "steer a @ 1 on special", [(steer(a), "special")], chat=True)
    yield one("on_chat_text", 'clamp a @ 1 at 1 on "mayor", last', [(clamp(a, 1), "mayor")], chat=True)
    yield one("two_masks", "steer a @ 1 on tokens 0..2; ablate a @ 1 on tokens 2..4",
              [(steer(a), tokens(0, 2)), (ablate(a), tokens(2, 4))])
    # guards see h as it entered
    yield one("when_dot", "steer a @ 1 when dot(h, b) > 10", [(steer(a), everywhere, When(dot(b), 1, 10))])
    yield one("when_cos", "ablate a @ 1 when cos(h, a) < 0.05", [(ablate(a), everywhere, When(cos(a), -1, .05))])
    yield one("when_ge", "clamp c @ 1 at 3 when dot(h, a) >= 0.5", [(clamp(c, 3), everywhere, When(dot(a), 1, .5))])
    yield one("when_le", "scale c @ 1 by 0 when cos(h, c) <= 0", [(scale(c, 0), everywhere, When(cos(c), -1, 0))])
    yield one("when_entered", "steer 10*b @ 1; steer a @ 1 when dot(h, b) > 10; cap b @ 1 at 0 when dot(h, a) < 0",
              [(steer(10 * b),), (steer(a), everywhere, When(dot(b), 1, 10)), (cap(b, 0), everywhere, When(dot(a), -1, 0))])
    yield one("when_masked", "steer a @ 1 on tokens 1.. when dot(h, b) > 10", [(steer(a), tokens(1), When(dot(b), 1, 10))])
    # every site, and another prompt
    for site in ("resid_pre", "attn_z", "attn_out", "mlp_in", "mlp_out"):
        yield one(f"site_{site}", f"steer a @ 2.{site}; cap b @ 2.{site} at 0.2 on not last; clamp c @ 2.{site} at 1 on last",
                  [(steer(a),), (cap(b, .2), but(last)), (clamp(c, 1), last)], site, 2, 1)
    # families: layer by layer, each with its own direction and number
    fams = lambda name, text, ops: (name, 1, False, text, {(l, "resid_post"): [(o, everywhere, None) for o in ops(fam[l])]
                                                            for l in range(LAYERS)})
    pick = lambda name, layers: f"{name} @ {layers}" if layers is not None else name
    yield fams("fam_steer", lambda ls: f"steer {pick('fam', ls)}", lambda v: [steer(v)])
    yield fams("fam_ablate", lambda ls: f"ablate {pick('fam', ls)}", lambda v: [ablate(v)])
    yield fams("fam_scale", lambda ls: f"scale {pick('fam', ls)} by 0.5", lambda v: [scale(v, .5)])
    yield fams("fam_cap", lambda ls: f"cap {pick('fam', ls)} at {pick('norm(fam)', ls) if ls is None else 'norm(fam @ ' + ls + ')'}/8",
               lambda v: [cap(v, np.linalg.norm(v) / 8)])
    yield fams("fam_clamp", lambda ls: f"clamp {pick('fam', ls)} at 1.5; steer a @ {ls or 'all'}", lambda v: [clamp(v, 1.5), steer(a)])
    # a guard and a number of each layer's own
    yield ("fam_when", 1, False,
           lambda ls: f"steer {pick('fam', ls)} when dot(h, {pick('fam', ls)}) > 0; cap a @ {ls or 'all'} at norm({pick('fam', ls)})/9",
           {(l, "resid_post"): [(steer(fam[l]), everywhere, When(dot(fam[l]), 1, 0)), (cap(a, np.linalg.norm(fam[l]) / 9), everywhere, None)]
            for l in range(LAYERS)})
    yield fams("free_ablate", lambda ls: f"ablate free(fam @ 1) @ {ls or 'all'}", lambda v: [ablate(fam[1])])


def trace(program, folder, book, prompt, chat):
    path, out = folder / "trace.rhumb", folder / "trace.safetensors"
    path.write_text(LETS + book + "\n")
    command = [program, "trace", MODEL, "-p", prompt, "-o", out, "--exact", "--threads", "1", "--no-cache", "--sites", "all",
               *(["--chat"] if chat else []), *(["-b", path] if book else [])]
    subprocess.run(command, check=True, capture_output=True)
    return {k[2:]: v.astype(np.float64) for k, v in load_file(out).items()}


def pieces(program, prompt):
    text = subprocess.run([program, "tokens", MODEL, prompt, "--chat", "--json"], check=True, capture_output=True, text=True)
    return json.loads(text.stdout)["ids"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    o = arguments.parse_args()
    r = np.random.default_rng(4)
    vectors = {n: r.normal(size=D).astype(np.float32) for n in "abc"}
    fam = r.normal(size=(LAYERS, D)).astype(np.float32)
    for n, v in vectors.items():
        np.save(o.out / f"{n}.npy", v)
    save_file({f"direction.{l}": fam[l] for l in range(LAYERS)}, o.out / "fam.safetensors")
    answers, listed = {}, []
    for name, prompt, chat, text, sites in cases(*(v.astype(np.float64) for v in vectors.values()), fam.astype(np.float64)):
        for (layer, site), ops in sites.items():
            before = [l for l, _ in sites if l < layer]
            h = trace(o.program, o.out, text(f"[{', '.join(map(str, before))}]") if before else "", PROMPTS[prompt], chat)[f"{site}.{layer}"]
            if not chat:
                assert len(h) == len(PROMPTS[prompt].split()), "one token a word"
            t, result = np.arange(len(h)), h.copy()
            for action, mask, guard in ops:
                if mask == "special":
                    mask = at(*[i for i, id in enumerate(pieces(o.program, PROMPTS[prompt])) if id <= 3])
                elif mask == "mayor":  # the second token of the user's text; and the prompt's last
                    ids = pieces(o.program, PROMPTS[prompt])
                    plain = json.loads(subprocess.run([o.program, "tokens", MODEL, PROMPTS[prompt], "--json"], check=True,
                                                      capture_output=True, text=True).stdout)["ids"]
                    start = next(i for i in range(len(ids)) if ids[i:i + len(plain)] == plain)
                    mask = at(start + 1, len(h) - 1)
                on = mask(t, len(h))
                if guard:
                    on &= guard(h, name)
                result[on] = action(result)[on]
            answers[f"{name}/{site}.{layer}"] = result.astype(np.float32)
            got = trace(o.program, o.out, text(None), PROMPTS[prompt], chat)[f"{site}.{layer}"]
            error = np.abs(got - result).max() / np.abs(result).max()
            if error > 3e-6:
                print(f"{name}, {site}.{layer}: the program is off by {error:.1g}")
        listed.append({"name": name, "prompt": PROMPTS[prompt], "chat": chat, "book": text(None),
                       "sites": [f"{site}.{layer}" for layer, site in sites]})
    for junk in ("trace.rhumb", "trace.safetensors"):
        (o.out / junk).unlink(missing_ok=True)
    save_file(answers, o.out / "answers.safetensors")
    (o.out / "cases.json").write_text(json.dumps({"lets": LETS, "cases": listed}, indent=1) + "\n")


main()

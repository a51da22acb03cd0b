#!/usr/bin/env python3
"""The model on paper of docs/gpu.md: what Gemma 2 9B in NF4 costs on a GPU, kernel by kernel.

    bench/gpu_model.py            write its tables into docs/gpu.md, between the lines that name them
    bench/gpu_model.py --check    fail where the committed tables are not what this computes

Nothing here was measured. Inputs: shapes of the model, tests/cuda/ptxas.txt, data sheets of the cards (CARDS), and the
assumptions of ASSUME, which docs/gpu.md explains.
"""
import importlib.machinery
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "gpu.md"

# GB/s and TFLOP/s as the vendor lists them, dense; registers and shared memory of a multiprocessor as the CUDA programming
# guide lists them for its compute capability.
CARDS = {
    "RTX 4090": dict(sm=89, processors=128, ghz=2.52, gbs=1008, bf16=165.2, f32=82.6, gb=24, threads=1536, blocks=24, shared=100),
    "A100 80GB": dict(sm=80, processors=108, ghz=1.41, gbs=2039, bf16=312, f32=19.5, gb=80, threads=2048, blocks=32, shared=164),
    "H100 SXM": dict(sm=90, processors=132, ghz=1.98, gbs=3350, bf16=989.4, f32=66.9, gb=80, threads=2048, blocks=32, shared=228),
    "H200": dict(sm=90, processors=132, ghz=1.98, gbs=4800, bf16=989.4, f32=66.9, gb=141, threads=2048, blocks=32, shared=228),
}
ASSUME = dict(read=0.80,    # of the listed bandwidth, what a stream of packed weights reaches
              units=0.70,   # of its peak, what float32 arithmetic and shared memory reach together
              gemm=0.70,    # of the listed dense peak, what cuBLAS reaches in bf16
              launch=1.5e-6)  # seconds between two kernels of a graph

D, FF, LAYERS, HEADS, KV, DIM, VOCAB, WINDOW = 3584, 14336, 42, 16, 8, 256, 256000, 4096
NF4, BF16 = 32 / 64 + 4 / 64, 2  # bytes a weight: 64 codes of 4 bits and a float32
CONTEXT = 1024                   # keys that a token sees in the tables
SAE = 131072
Q_ROWS, KV_ROWS = HEADS * DIM, KV * DIM
LAYER_WEIGHTS = D * (2 * Q_ROWS + 2 * KV_ROWS) + 3 * D * FF
HEAD_WEIGHTS = VOCAB * D


def ptxas():
    loader = importlib.machinery.SourceFileLoader("ptxas_test", str(ROOT / "tests" / "cuda" / "ptxas_test"))
    spec = importlib.util.spec_from_loader("ptxas_test", loader)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module.read_table(ROOT / "tests" / "cuda" / "ptxas.txt")[0]


# ---- a kernel's work ------------------------------------------------------------------------------------

class Work:
    """bytes of memory, float32 operations, and cycles of shared memory on one multiprocessor's ports, of one launch."""

    def __init__(self, name, file, kernel, times, bytes_=0, flops=0, shared=0, dynamic=0, threads=256, alone=0):
        self.name, self.file, self.kernel, self.times = name, file, kernel, times
        self.bytes, self.flops, self.shared, self.dynamic, self.threads = bytes_, flops, shared, dynamic, threads
        self.alone = alone  # bytes that one block reads and writes, where blocks are few

    def parts(self, card):
        """Seconds in memory, arithmetic and shared memory, each alone, and in one multiprocessor's 64 bytes a cycle of cache."""
        c, a = CARDS[card], ASSUME
        return (self.bytes / (c["gbs"] * 1e9 * a["read"]), self.flops / (c["f32"] * 1e12 * a["units"]),
                self.shared / (c["processors"] * c["ghz"] * 1e9 * a["units"]), self.alone / (64 * c["ghz"] * 1e9))

    def seconds(self, card):
        return max(self.parts(card)) + ASSUME["launch"]

    def bound(self, card):
        parts = self.parts(card)
        return "launch" if max(parts) < ASSUME["launch"] else ("memory", "arithmetic", "shared", "one block")[parts.index(max(parts))]


def matmul(name, times, rows, cols, kind, n):
    """kernels/cuda/matmul.cu with n rows of x: 1, 2, 4 or 8 a block, so that 16 rows take two blocks, whose second reading of
    the weights the L2 cache serves. A warp reads 4 columns of x for 4 rows of weights at once: a quarter of a cycle for 32
    weights and a row of x; NF4 looks each weight up besides."""
    a_block = next(k for k in (1, 2, 4, 8) if k >= min(n, 8))
    blocks = -(-n // a_block)
    weights = rows * cols
    per_32 = (1 if kind == "nf4" else 0) + 0.25 * a_block
    return Work(name, "matmul", f"matmul_kernel<rh_unpack_{kind},{a_block}>", times,
                weights * (NF4 if kind == "nf4" else BF16) + 4 * n * (rows + cols), 2 * weights * n,
                weights / 32 * per_32 * blocks, dynamic=min(4 * cols * a_block, 72 * 1024))


def decode(n):
    """The launches of one step of n sequences: docs/gpu.md names them in order."""
    keys = min(CONTEXT, WINDOW)
    row = 4 * n * D
    return [
        Work("embedding", "expand", "embed_kernel<rh_unpack_bf16>", 1, n * D * (BF16 + 4)),
        matmul("q, k, v", LAYERS, Q_ROWS + 2 * KV_ROWS, D, "nf4", n),
        Work("rope, cache", "rope", "rope_kernel", LAYERS, 8 * n * (Q_ROWS + KV_ROWS) + (4 + 2) * n * KV_ROWS),
        Work("attention", "attention", "few_kernel<__half,2>", LAYERS, n * (2 * keys * KV_ROWS * 2 + 8 * Q_ROWS), 4 * n * keys * Q_ROWS,
             n * keys * (KV_ROWS + Q_ROWS) / 32, dynamic=2 * DIM * 4),
        Work("attention, merge", "attention", "merge_kernel", LAYERS, n * Q_ROWS * 4 * 2),
        matmul("o", LAYERS, D, Q_ROWS, "nf4", n),
        Work("norm, add, norm", "rows", "rows_kernel", LAYERS, 5 * row, dynamic=4 * D, alone=20 * D),
        matmul("gate, up, gated", LAYERS, 2 * FF, D, "nf4", n),
        matmul("down", LAYERS, D, FF, "nf4", n),
        Work("norm, add, steer, norm", "rows", "rows_kernel", LAYERS, 5 * row + 4 * D, dynamic=4 * D, alone=24 * D),
        Work("rows of logits", "rows", "gather_kernel", 1, 2 * row),
        matmul("norm, logits", 1, VOCAB, D, "bf16", n),
        Work("soft cap", "elements", "softcap_kernel", 1, 8 * n * VOCAB),
        Work("sample: largest", "sample", "best_kernel", 1, 4 * n * VOCAB),
        Work("sample: bins", "sample", "bins_kernel", 1, 4 * n * VOCAB),
        Work("sample: draw", "sample", "draw_kernel", 1, 4 * n * VOCAB, dynamic=53296, threads=1024, alone=4 * VOCAB),
    ]



def prefill(n, card):
    """Seconds of a prompt of n tokens: weights expanded into a tile and multiplied by cuBLAS, one after the other."""
    c, a = CARDS[card], ASSUME
    weights = LAYERS * LAYER_WEIGHTS
    expand = weights * (NF4 + BF16) / (c["gbs"] * 1e9 * a["read"])
    gemm = max(2 * weights * n / (c["bf16"] * 1e12 * a["gemm"]), weights * BF16 / (c["gbs"] * 1e9 * a["read"]))
    attention = LAYERS * 4 * (n * n / 2) * Q_ROWS / (c["f32"] * 1e12 * a["units"] / 2)
    rows = LAYERS * n * 4 * (12 * D + 4 * FF + 3 * Q_ROWS + 4 * KV_ROWS) / (c["gbs"] * 1e9 * a["read"])
    head = matmul("", 1, VOCAB, D, "bf16", 1).seconds(card)
    return dict(expand=expand, gemm=gemm, attention=attention, rows=rows, logits=head)


# ---- occupancy ------------------------------------------------------------------------------------------

def occupancy(registers, shared, threads, card):
    """Blocks of a kernel on a multiprocessor, and what stops another."""
    c = CARDS[card]
    warps = threads // 32
    by = {"threads": c["threads"] // threads, "blocks": c["blocks"],
          "registers": 65536 // (-(-registers * 32 // 256) * 256) // warps,
          "shared": c["shared"] * 1024 // (shared + 1024)}
    blocks = min(by.values())
    return blocks, 100 * blocks * threads // c["threads"], next(k for k, v in by.items() if v == blocks)


def find(table, work):
    kernel = table.get((work.file, work.kernel))
    if kernel is None:
        near = sorted(k for f, k in table if f == work.file)
        sys.exit(f"tests/cuda/ptxas.txt has no {work.kernel} of {work.file}.cu; it has {', '.join(near) or 'nothing of it'}")
    return kernel


# ---- tables ---------------------------------------------------------------------------------------------

def markdown(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *(line(r) for r in rows)])


def amount(x, unit=""):
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.3g} {prefix}{unit}"
    return f"{x:.0f} {unit}".strip()


def cards_table():
    return markdown(["card", "multiprocessors", "GB/s", "bf16 TFLOP/s", "float32 TFLOP/s", "GHz", "memory"],
                    [[n, str(c["processors"]), str(c["gbs"]), f"{c['bf16']:g}", f"{c['f32']:g}", str(c["ghz"]), f"{c['gb']} GB"]
                     for n, c in CARDS.items()])


def kernels_table(n):
    rows = []
    for w in decode(n):
        times = [f"{1e6 * w.seconds(c):.1f} {w.bound(c)}" for c in CARDS]
        rows.append([w.name, str(w.times), amount(w.bytes, "B"), amount(w.flops, "flop") if w.flops else "–", *times])
    return markdown(["launch", "a token" if n == 1 else "a step", "bytes", "float32", *(f"{c}, µs" for c in CARDS)], rows)


def occupancy_table(table):
    rows, seen = [], set()
    for w in [*decode(1), *decode(16)]:
        if (w.file, w.kernel) in seen:
            continue
        seen.add((w.file, w.kernel))
        cells = [f"`{w.kernel}`"]
        for card, c in CARDS.items():
            if card == "H200":
                continue
            registers, static, _ = find(table, w)[c["sm"]]
            blocks, share, why = occupancy(registers, static + w.dynamic, w.threads, card)
            cells.append(f"{registers} reg, {(static + w.dynamic) / 1024:.1f} KB: {blocks} ({share} %, {why})")
        rows.append(cells)
    return markdown(["kernel", "RTX 4090", "A100 80GB", "H100 SXM, H200"], rows)


def totals(n, card):
    works = decode(n)
    return sum(w.times * w.seconds(card) for w in works), sum(w.times for w in works), sum(w.times * w.bytes for w in works)


def speeds_table():
    rows = []
    for card in CARDS:
        one, _, bytes_one = totals(1, card)
        many, _, _ = totals(16, card)
        p = prefill(512, card)
        limit = CARDS[card]["gbs"] * 1e9 / bytes_one
        rows.append([card, f"{limit:.0f}", f"{1 / one:.0f}", f"{bytes_one / one / 1e9:.0f}", f"{16 / many:.0f}",
                     f"{1e3 * sum(p.values()):.0f} ms", f"{512 / sum(p.values()):.0f}"])
    return markdown(["card", "bandwidth allows, tok/s", "1 sequence, tok/s", "GB/s", "16 sequences, tok/s", "prompt of 512", "tok/s"], rows)


def prefill_table():
    rows = []
    for card in CARDS:
        p = prefill(512, card)
        rows.append([card, *(f"{1e3 * p[k]:.1f}" for k in ("expand", "gemm", "attention", "rows", "logits"))])
    return markdown(["ms", "expanding NF4", "cuBLAS", "attention", "elementwise", "logits"], rows)


def memory_table():
    weights = LAYERS * LAYER_WEIGHTS * NF4
    kv = lambda n: n * LAYERS * 2 * KV_ROWS * 2
    parts = [("layers, NF4", weights), ("embedding, bf16, which is also the logits' matrix", HEAD_WEIGHTS * BF16),
             ("norms", (4 * LAYERS + 1) * D * 4), ("keys and values of 4096 tokens, float16", kv(4096)),
             (f"one SAE of {SAE} features, encoder in float32", SAE * D * 4), ("its thresholds and biases", 2 * SAE * 4 + 2 * D * 4),
             ("its decoder in float32, where features are written or errors kept", SAE * D * 4),
             ("scratch: a tile of expanded weights, products looked through, cuBLAS", (192 << 20) + (32 << 20)),
             ("CUDA's own context, about", 500e6)]
    total = sum(b for _, b in parts)
    return markdown(["what", "GB"], [*([n, f"{b / 1e9:.2f}"] for n, b in parts), ["sum", f"{total / 1e9:.2f}"]])


def counts():
    _, launches, bytes_ = totals(1, "H100 SXM")
    return (f"A token takes {launches} launches, one graph, and reads {bytes_ / 1e9:.2f} GB: {LAYERS * LAYER_WEIGHTS * NF4 / 1e9:.2f} GB of "
            f"layers in NF4, {HEAD_WEIGHTS * BF16 / 1e9:.2f} GB of bf16 for the logits, {LAYERS * 2 * CONTEXT * KV_ROWS * 2 / 1e9:.2f} GB of keys "
            f"and values behind {CONTEXT} tokens.")


def tables():
    table = ptxas()
    return {"cards": cards_table(), "counts": counts(), "kernels-1": kernels_table(1), "kernels-16": kernels_table(16),
            "occupancy": occupancy_table(table), "speeds": speeds_table(), "prefill": prefill_table(), "memory": memory_table()}


def filled(text):
    for name, table in tables().items():
        begin, end = f"<!-- gpu_model: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found or end not in rest:
            sys.exit(f"docs/gpu.md has no place for {name}")
        text = before + begin + table + "\n" + end + rest.partition(end)[2]
    return text


def main():
    old = DOC.read_text()
    new = filled(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            print("docs/gpu.md is not what bench/gpu_model.py computes: run it, and look at the difference")
            return 1
        print(f"docs/gpu.md: {len(tables())} tables are as computed")
    else:
        DOC.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())

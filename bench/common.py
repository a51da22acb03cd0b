"""What the programs of bench/ share: where things are, the machine, the peers' programs, rhumb's logits."""
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ("smollm2", "gemma3-270m")


def model_path(name):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    path = cache / "rhumb" / "models" / f"{name}.gguf"
    if not path.is_file():
        sys.exit(f"{path} is missing: build/release/rhumb fetch {name}")
    return path


def in_venv(peers):
    """Go on in the peers' Python, which has torch and transformers."""
    python = peers / "venv" / "bin" / "python"
    if not python.exists():
        sys.exit(f"{python} is missing: {peers} holds no built peers (bench/setup {peers})")
    if pathlib.Path(sys.prefix).resolve() != (peers / "venv").resolve():
        os.execv(python, [str(python), *sys.argv])


def llama(peers, program, *arguments, quiet=True):
    """Run one of llama.cpp's programs; its stdout and stderr together unless quiet."""
    done = subprocess.run([peers / "llama" / "bin" / program, *map(str, arguments)], text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{program} failed:\n{done.stdout[-2000:]}")
    return done.stdout


class Logits:
    """bench-logits on a model: one program answers one question after the other."""

    def __init__(self, program, model_file):
        # Nothing is timed here: let threads sleep while the other side works.
        self.run = subprocess.Popen([program, model_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    env={**os.environ, "OMP_WAIT_POLICY": "passive"})

    def log_probs(self, ids, width, **how):
        """float64 [len(ids), width]; how: exact, step, half (see bench/logits.c)"""
        import torch
        self.run.stdin.write(json.dumps({**how, "ids": ids}).encode() + b"\n")
        self.run.stdin.flush()
        raw = self.run.stdout.read(4 * width * len(ids))
        if len(raw) != 4 * width * len(ids):
            sys.exit("bench-logits stopped")
        return torch.log_softmax(torch.frombuffer(bytearray(raw), dtype=torch.float32).view(len(ids), width).double(), -1)

    def close(self):
        self.run.stdin.close()
        if self.run.wait():
            sys.exit("bench-logits failed")


def text_of(model_file, texts):
    """The texts as text, from the file's own vocabulary, control tokens left out."""
    import gguf
    read = lambda key: gguf.GGUFReader(model_file).fields["tokenizer.ggml." + key].contents()
    tokens, types = read("tokens"), read("token_type")
    if read("model") == "gpt2":  # byte-level BPE: each character stands for a byte
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [b for b in range(256) if b not in plain]
        byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}
        piece = lambda i: bytes(byte[c] for c in tokens[i])
    else:
        piece = lambda i: (bytes([int(tokens[i][3:5], 16)]) if types[i] == 6
                           else tokens[i].replace("\u2581", " ").encode())
    return "".join(b"".join(piece(i) for i in ids if types[i] != 3).decode(errors="ignore") for ids in texts)


def llama_expanded(peers, model_file, folder):
    """The same weights as float32, by llama.cpp"""
    expanded = folder / "f32.gguf"
    llama(peers, "llama-quantize", "--allow-requantize", model_file, expanded, "F32")
    return expanded


class LlamaBase:
    """llama.cpp's logits of a text with a model's own weights expanded to float32, to compare the model with."""

    def __init__(self, peers, model_file, prose, context, folder):
        expanded, self.base = llama_expanded(peers, model_file, folder), folder / "base.kld"
        self.peers, self.model_file = peers, model_file
        self.same = ["-f", prose, "-c", context, "-t", 2, "--kl-divergence-base", self.base]
        llama(peers, "llama-perplexity", "-m", expanded, *self.same, quiet=False)
        expanded.unlink()

    def kl(self, batch):
        """(mean, largest), `batch` tokens at once"""
        log = llama(self.peers, "llama-perplexity", "-m", self.model_file, *self.same, "--kl-divergence", "-ub", batch,
                    quiet=False)
        found = [re.search(label + r":\s*([-\d.e]+)", log) for label in (r"Mean\s+KLD", "Maximum KLD")]
        if not all(found):
            sys.exit("llama-perplexity printed no KL:\n" + log[-2000:])
        return tuple(float(f[1]) for f in found)


def perplexity_llama(peers, model_file, prose, context):
    """As llama-perplexity has it."""
    log = llama(peers, "llama-perplexity", "-m", model_file, "-f", prose, "-c", context, "-t", 2, quiet=False)
    found = re.search(r"Final estimate: PPL = ([\d.]+)", log)
    if not found:
        sys.exit("llama-perplexity printed no perplexity:\n" + log[-2000:])
    return float(found[1])


def ids_llama(peers, model_file, prose):
    ids = llama(peers, "llama-tokenize", "-m", model_file, "-f", prose, "--ids", "--log-disable")
    return json.loads(ids[ids.index("["):])


def perplexity(logits, ids, context, width, bos):
    """The same from rhumb's logits: whole chunks of the text, each begun by BOS where the model has it, and of each
    chunk the second half."""
    import math
    total = count = 0
    for at in range(0, len(ids) - context + 1, context):
        chunk = ids[at:at + context]
        p = logits.log_probs([bos, *chunk[1:]] if bos is not None else chunk, width)
        for i in range(context // 2, context - 1):
            total -= float(p[i, chunk[i + 1]])
            count += 1
    return math.exp(total / count)


def machine():
    """One line on the hardware, as it stands beside every number."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    flags = set(re.search(r"^flags\s*:\s*(.*)", info, re.M)[1].split())
    kinds = [label for flag, label in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_vnni", "VNNI"),
                                       ("avx512_bf16", "BF16"), ("amx_tile", "AMX")) if flag in flags]
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    return (f"{os.cpu_count()} cores of {name[1] if name else platform.processor()}, {' '.join(kinds)}, "
            f"{memory:.0f} GiB, Linux {platform.release().split('-')[0]}")


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"

"""What bench/compare and bench/fidelity share: where things are, the machine, the peers' programs."""
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

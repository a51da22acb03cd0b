"""What the tests of the program share: running it, tables of cases, and a summary ctest can count.

A test file calls `main()` at its end; it is run as `test_x.py RHUMB`. Tests are functions named
test_*; they take a Place (a folder of their own, a cache of their own) and fail by AssertionError.
RHUMB_TEST_MODELS is a folder with smollm2.gguf and gemma3-270m.gguf; tests marked @needs_model are
skipped without it, and the summary says so. Standard library only.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "models" / "llama-f32"
RHUMB = str(pathlib.Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else sys.exit(__doc__)
MODELS = pathlib.Path(os.environ.get("RHUMB_TEST_MODELS") or "/nowhere")
SMOL = MODELS / "smollm2.gguf"
SANITIZED = "asan" in RHUMB or b"__asan_init" in pathlib.Path(RHUMB).read_bytes()


class Skip(Exception):
    pass


def needs_model(test):
    test.needs_model = True
    return test


class Result:
    def __init__(self, code, out, err, what):
        self.code, self.out, self.err, self.what = code, out, err, what

    def __str__(self):
        return f"{self.what}\n  code {self.code}\n  stdout {self.out!r}\n  stderr {self.err!r}"


class Place:
    """A folder to work in, with an environment that knows nothing of the user's."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "XDG_")) and k not in ("LANG", "COLUMNS")}
        self.env.update(XDG_CACHE_HOME=str(self.dir / "cache"), HOME=str(self.dir))
        (self.dir / "cache" / "rhumb" / "models").mkdir(parents=True)

    def write(self, name, content):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.env,
                   "cwd": self.dir, "timeout": 600, **options}
        command = [RHUMB, *map(str, arguments)]
        if "input" in options:
            options.pop("stdin")
        done = subprocess.run(command, **options)
        text = lambda b: (b or b"").decode("utf-8", "surrogateescape")
        return Result(done.returncode, text(done.stdout), text(done.stderr), "rhumb " + " ".join(map(repr, command[1:])))

    def ok(self, *arguments, **options):
        r = self.run(*arguments, **options)
        assert r.code == 0, r
        return r

    def json(self, *arguments, code=0, **options):
        """--json: exactly one object on stdout and nothing else there."""
        r = self.run(*arguments, "--json", **options)
        assert r.code == code, r
        assert r.out.endswith("\n") and r.out.count("\n") == 1, r
        value = json.loads(r.out)
        assert isinstance(value, dict), r
        return value

    def left_over(self):
        """Files that are no results: temporary names, half-written ones."""
        return [str(p) for p in self.dir.rglob("*") if ".tmp" in p.name or p.name.startswith(".fetch-")]


def expect(place, cases):
    """A table of (arguments, exit code, first lines of stderr); a line that ends in … may go on."""
    faults = []
    for arguments, code, lines in cases:
        r = place.run(*arguments)
        got = r.err.splitlines()
        same = len(got) >= len(lines) and all(
            g.startswith(w[:-1]) if w.endswith("…") else g == w for g, w in zip(got, lines))
        if r.code != code or not same or r.out:
            faults.append(f"{r}\n  wanted {code} {lines!r}")
    assert not faults, "\n".join(faults)


def main():
    tests = [(n, f) for n, f in sys.modules["__main__"].__dict__.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[2:]
    failed, skipped, passed = [], [], 0
    for name, test in tests:
        if only and name not in only:
            continue
        folder = tempfile.mkdtemp(prefix="rhumb-test-")
        try:
            if getattr(test, "needs_model", False) and not SMOL.is_file():
                raise Skip(f"RHUMB_TEST_MODELS has no smollm2.gguf ({MODELS})")
            test(Place(folder))
            passed += 1
        except Skip as why:
            skipped.append(name)
            print(f"SKIPPED {name}: {why}")
        except Exception:  # noqa: BLE001 - a test may fail in any way
            failed.append(name)
            print(f"FAILED {name}")
            traceback.print_exc(file=sys.stdout)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    for what, n in (("PASSED", passed), ("SKIPPED", len(skipped)), ("FAILED", len(failed))):
        if n:
            print(f"[  {what}  ] {n} test(s).")
    sys.exit(1 if failed else 77 if skipped and not passed else 0)

"""The program with its allocations failing, one alone or all from one on: an error that says so, never a crash."""
import os
import pathlib
import re
import shutil
import subprocess

from harness import RHUMB, ROOT, SANITIZED, Skip, main

WORDS = str(ROOT / "tests/data/models/words.gguf")
VECTOR = str(ROOT / "tests/data/actions/a.npy")
TRIES = 60


def helper(place):
    cc = shutil.which(os.environ.get("CC", "cc"))
    if not cc or SANITIZED:
        raise Skip("needs a C compiler, and a program without sanitizers")
    library = place.dir / "fail_at.so"
    subprocess.run([cc, "-O1", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).resolve().parent / "fail_at.c"], check=True)
    return str(library)


def each(place, arguments, script="", first=0):
    """`first`: so many one by one, before those that are TRIES in all."""
    env = {**place.env, "LD_PRELOAD": helper(place), "FAIL_COUNT": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [RHUMB, *arguments, "--threads", "1", "--no-cache"]

    def run(**more):
        return subprocess.run(command, input=script.encode(), cwd=place.dir, env={**env, **more}, capture_output=True, timeout=60)
    whole = run()
    assert whole.returncode == 0, whole
    n = int(re.search(rb"allocations: (\d+)", whole.stderr)[1])
    assert n > 50, n
    for at in [*range(first), *range(first, n, max(1, n // (TRIES - first)))]:
        for more in ({}, {"FAIL_ONCE": "1"}):
            r = run(FAIL_AT=str(at), **more)
            # What only saves time may be done without.
            assert (r.returncode == 0 and more) or (r.returncode == 1 and b"memory" in r.stderr), (at, more, r)


def test_compare(place):
    place.write("book.rhumb", f'let a = load("{VECTOR}")\n')
    each(place, ["compare", WORDS, "a @ 0", "random(1) @ 0..1", "-b", "book.rhumb", "-p", "The mayor"])


def test_messages(place):
    place.write("chat.json", '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}, '
                             '{"role": "assistant", "content": "b"}, {"role": "user", "content": "The mayor"}]')
    each(place, ["steer", WORDS, "--messages", "chat.json", "--chat-template", "mistral", "-n", "1"], first=40)


def test_repl(place):
    each(place, ["repl", WORDS, "-n", "2"], f'let a = load("{VECTOR}") @ 1\nnorm(a)\nsteer 2*a\nsteer "The mayor"\ncompare a, random(2) @ 1\n'
                                            "undo\nlist\nsave kept.rhumb\n")


def test_repl_opens_a_model(place):
    each(place, ["repl"], f'let a = load("{VECTOR}")\na\nmodel "{WORDS}"\nnorm(act("rain")) @ 1\n')


main()

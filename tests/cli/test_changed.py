"""Files that change while the program has them open, and places with no room left to write to."""
import os
import resource
import shutil
import subprocess
import time

from harness import RHUMB, ROOT, SANITIZED, SMOL, Skip, main, needs_model

WORDS = ROOT / "tests/data/models/words.gguf"
FIRST, THEN = b'norm(act("rain")) @ 1\n', b'norm(act("sun and rain")) @ 1\n'


def between_lines(place, change, model=WORDS):
    """The repl looks at one text, `change(path)` happens to its model, and it is to look at another."""
    path = place.dir / "m.gguf"
    path.unlink(missing_ok=True)
    shutil.copy(model, path)
    shutil.rmtree(place.dir / "cache") # each run computes anew
    p = subprocess.Popen([RHUMB, "repl", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.env)
    p.stdin.write(FIRST)
    p.stdin.flush()
    first = p.stdout.readline()
    assert first.startswith(b"layer 1   value"), (first, p.stderr.read())
    change(path)
    out, err = p.communicate(THEN, timeout=60)
    return p.returncode, first, out.decode(), err.decode()


def overwrite(path):
    with open(path, "r+b") as f:
        f.seek(20000)
        f.write(b"x" * 1000)


def test_changed_in_place(place):
    for change in (lambda p: os.truncate(p, 0), lambda p: os.truncate(p, 9000), overwrite,
                   lambda p: os.truncate(p, 100000)):
        code, _, out, err = between_lines(place, change)
        assert code == 1 and out == "", (code, out, err)
        assert f"error: '{place.dir}/m.gguf' was changed while it was open\n" in err, err
        assert "help: start again; replace files by renaming, not by writing into them\n" in err, err


def test_replaced_by_renaming(place):
    """What is open stays what it is: the old bytes."""
    def rename(path):
        shutil.copy(ROOT / "tests/data/models/words-bos.gguf", place.dir / "new.gguf")
        os.rename(place.dir / "new.gguf", path)

    kept, left = between_lines(place, lambda p: None), [between_lines(place, c) for c in (rename, os.unlink)]
    assert kept[0] == 0 and kept[2].startswith("layer 1   value"), kept
    assert left == [kept, kept], (left, kept)


def test_cut_short_unseen(place):
    """Where the check between steps cannot see it (the name is gone), the page that is missing ends the
    program by an error, not by a signal."""
    def cut(path):
        os.link(path, place.dir / "other.gguf")
        os.unlink(path)
        os.truncate(place.dir / "other.gguf", 0)
        os.unlink(place.dir / "other.gguf")

    code, _, out, err = between_lines(place, cut)
    assert code == 1 and out == "", (code, out, err)
    assert f"\nrhumb: error: '{place.dir}/m.gguf' was cut short while it was open, or its disk fails\nhelp: start again; " in err, err


@needs_model
def test_cut_short_while_it_works(place):
    """A trace of many tokens whose model loses its end on the way: an error, and no half file."""
    shutil.copy(SMOL, place.dir / "m.gguf")
    text = place.write("long.txt", "one two three four " * 400)
    p = subprocess.Popen([RHUMB, "trace", place.dir / "m.gguf", "-p", text.read_text()[:6000], "-o", place.dir / "t.safetensors", "--json"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.env)
    time.sleep(1.5 if SANITIZED else 0.4)
    assert p.poll() is None, p.communicate()
    os.truncate(place.dir / "m.gguf", 1 << 20)
    out, err = p.communicate(timeout=300)
    assert p.returncode == 1, (p.returncode, out, err)
    assert b"while it was open" in err and b"m.gguf" in err and b'"RH_EIO"' in out, (out, err)
    assert not (place.dir / "t.safetensors").exists() and not place.left_over(), place.left_over()


def test_vector_replaced_between_uses(place):
    """Vectors are read whole: each use is of the file as it is then."""
    v = place.dir / "v.safetensors"
    place.ok("vec", "-m", WORDS, 'act("rain") @ 1', "-o", v)
    good = v.read_bytes()
    for bytes_ in (b"", b"x", good[:-1], good + b"x", good[:8]):
        v.write_bytes(bytes_)
        r = place.run("vec", f'norm(load("{v}"))')
        assert r.code == 1 and str(v) in r.err, r


# ---- no room ---------------------------------------------------------------------------------------

PAIRS = "positive,negative\n" + "".join(f"the rain {w},the sun {w}\n" for w in "a b c d e f".split())


def outputs(place):
    """Each kind of file the program writes: (what it leaves, arguments, stdin)."""
    place.write("pairs.csv", PAIRS)
    place.write("prompts.txt", "the rain\nthe city\n")
    vec = ["vec", "random(1) @ 1", "-m", WORDS, "-o"]
    return [*(("v" + end, [*vec, "v" + end], None) for end in (".safetensors", ".gguf", ".npy")),
            ("t.safetensors", ["trace", WORDS, "-p", "rain sun", "-o", "t.safetensors"], None),
            ("c.gguf", ["convert", "good.safetensors", "c.gguf"], None),
            ("d.safetensors", ["diff", WORDS, "pairs.csv", "-o", "d.safetensors"], None),
            ("d.svg", ["diff", WORDS, "pairs.csv", "--svg", "d.svg"], None),
            ("b.rhumb", ["repl", WORDS], "let a = random(1) @ 1\n" + "".join(f"let a{i} = a\n" for i in range(40)) + "save b.rhumb\n"),
            ("report.txt", ["steer", WORDS, "random(1)", "--auto", "-p", "the city", "-n", "6", "--prompts", "prompts.txt", "--report", "."], None)]


def each_output(place, run, says):
    place.ok("vec", "random(1) @ 1", "-m", WORDS, "-o", "good.safetensors")
    for name, arguments, text in outputs(place):
        if arguments[0] == "diff": # its states have no room then, which test_diff.py looks at
            continue
        place.write(name, "old")
        r = run(arguments, {"input": text.encode()} if text else {})
        assert r.code == 1 and "Traceback" not in r.err, r
        assert any(f"{verb} '{where}{name}': {says}" in r.err for verb in ("write", "save") for where in ("", "./")), r
        assert (place.dir / name).read_text() == "old" and not place.left_over(), (r, place.left_over())
        (place.dir / name).unlink()


def test_files_that_may_not_grow(place):
    """No file of more than 64 bytes, as under `ulimit -f`; nothing of a cache is kept then, and nothing said of it."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    each_output(place, lambda a, o: place.run(*a, preexec_fn=limit, **o), "File too large")


def test_full_disk(place):
    """The same on a disk of one page that is full, where this user may mount one."""
    full = place.dir / "full"
    full.mkdir()
    mount = f"mount -t tmpfs -o size=4k none {full} && head -c 4096 /dev/zero >{full}/all && "
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount + "true"], capture_output=True).returncode:
        raise Skip("no disk may be mounted here")
    for name, arguments, text in outputs(place):
        if name == "report.txt":
            arguments = [*arguments[:-1], full]
        arguments = [str(full / a) if a == name else str(a) for a in arguments]
        if text:
            text = text.replace(name, str(full / name))
        (place.dir / "good.safetensors").exists() or place.ok("vec", "random(1) @ 1", "-m", WORDS, "-o", "good.safetensors")
        script = mount + '"$0" "$@"; code=$?; ls -A ' + str(full) + " >&2; exit $code"
        done = subprocess.run(["unshare", "-Urm", "sh", "-c", script, RHUMB, *arguments], env=place.env, cwd=place.dir,
                              capture_output=True, input=(text or "").encode(), timeout=300)
        err = done.stderr.decode()
        assert done.returncode == 1 and "No space left on device" in err and f"{full}/{name}" in err, (arguments, err)
        assert err.endswith("\nall\n"), (arguments, err)


def test_cache_on_a_full_disk(place):
    """What cannot be kept is computed again: the answer comes."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    for _ in range(2):
        r = place.run("vec", 'norm(act("rain")) @ 1', "-m", WORDS, preexec_fn=limit)
        assert r.code == 0 and "21.6" in r.out, r
    assert not place.left_over(), place.left_over()


if __name__ == "__main__":
    main()

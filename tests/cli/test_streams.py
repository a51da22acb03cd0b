"""stdout that is closed, full or a pipe nobody reads; stdin; Ctrl-C; the bar."""
import os
import pty
import signal
import subprocess
import threading
import time

from harness import RHUMB, SMOL, TINY, main, needs_model

HEAVY = ["trace", TINY, "--tokens-file", "many.json", "-o", "t.safetensors"]


def piped(place, arguments, lines):
    """Run with a reader that closes after some lines; (exit code, stderr)."""
    run = subprocess.Popen([RHUMB, *map(str, arguments)], cwd=place.dir, env=place.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(lines):
        run.stdout.readline()
    run.stdout.close()
    err = run.stderr.read().decode()
    run.stderr.close()
    return run.wait(timeout=600), err


def test_closed_pipe_is_quiet(place):
    read, write = os.pipe()
    os.close(read)
    for arguments in (["help"], ["help", "--json"], ["info", TINY], ["vec", "1"], ["vec", "1", "--json"], ["--version"]):
        r = place.run(*arguments, stdout=write)
        assert (r.code, r.err) == (141, ""), r
    os.close(write)


def test_full_disk_on_stdout(place):
    with open("/dev/full", "wb") as full:
        for arguments in (["help"], ["vec", "1"], ["vec", "1", "--json"], ["info", TINY], ["--version"]):
            r = place.run(*arguments, stdout=full)
            assert (r.code, r.err) == (1, "rhumb: error: cannot write the output: No space left on device\n"), r
        r = place.run("vec", "1 + foo", "--json", stdout=full)
        assert r.code == 1 and "unknown name" in r.err, r


def test_closed_stdout(place):
    """A closed descriptor must not become the number of a file that is then printed into."""
    shell = lambda redirect, *a: subprocess.run(
        ["sh", "-c", f'"$@" {redirect}', "sh", RHUMB, *map(str, a)], cwd=place.dir, env=place.env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    r = shell(">&-", "vec", "random(1) @ 1", "-m", TINY, "-o", "v.safetensors")
    assert r.returncode == 1 and "stdout is closed" in r.stderr, r
    r = shell(">&- 2>&-", "trace", TINY, "--tokens", "1", "-o", "t.safetensors")
    assert r.returncode == 0, r
    raw = (place.dir / "t.safetensors").read_bytes()
    r = shell("", "trace", TINY, "--tokens", "1", "-o", "u.safetensors")
    assert (place.dir / "u.safetensors").read_bytes() == raw
    assert shell("<&-", "vec", "1").returncode == 0


def test_json_is_alone_on_stdout(place):
    place.write("tiny.rhumb", f'model "{TINY}"\nlet a = random(1) @ 1\nsteer a\n')
    for arguments in (["vec", "a", "-b", "tiny.rhumb"], ["explain", "a", "-b", "tiny.rhumb"], ["info", TINY], ["help"], ["help", "vec"],
                      ["trace", TINY, "a", "-b", "tiny.rhumb", "--tokens", "1,2", "-o", "t.safetensors"],
                      ["vec", "a", "-b", "tiny.rhumb", "-o", "v.safetensors"], ["convert", "v.safetensors", "v.npy"],
                      ["bench", TINY, "--only", "decode,prefill,batch", "--repeats", "1"]):
        place.json(*arguments)
    bench = place.json("bench", TINY, "--only", "prefill", "--repeats", "1")
    assert bench["machine"]["read_gbs"] > 0 and bench["prefill"]["tok_s"] > 0 and "decode" not in bench, bench


def interrupt(place, arguments, until, code, signals=(signal.SIGINT,), seconds=600):
    """Run with a terminal on stderr; send the signals once `until` was seen there."""
    master, slave = pty.openpty()
    run = subprocess.Popen([RHUMB, *map(str, arguments)], cwd=place.dir, env={**place.env, "TERM": "xterm"},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    seen, begun, sent = b"", time.monotonic(), 0
    timer = threading.Timer(seconds, run.kill)
    timer.start()
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
        if not sent and until in seen:
            sent = time.monotonic()
            for s in signals:
                run.send_signal(s)
                time.sleep(0.05)
    out = run.stdout.read()
    run.stdout.close()
    os.close(master)
    timer.cancel()
    assert run.wait() == code, (run.returncode, seen[-300:])
    assert sent, (until, seen[-300:])
    return out, seen.decode(), time.monotonic() - sent


def test_interrupted_trace_leaves_nothing(place):
    place.write("many.json", "[" + ",".join(["[" + ",".join(["1"] * 120) + "]"] * 60000) + "]")
    out, seen, spent = interrupt(place, [*HEAVY, "--threads", "1"], b"tracing", 130)
    assert seen.endswith("rhumb: interrupted\r\n"), seen[-200:]
    assert out == b"" and not (place.dir / "t.safetensors").exists() and not place.left_over()
    out, seen, spent = interrupt(place, [*HEAVY, "--threads", "1"], b"tracing", 143, [signal.SIGTERM])
    assert not (place.dir / "t.safetensors").exists() and not place.left_over()


@needs_model
def test_interrupted_generation(place):
    out, seen, spent = interrupt(place, ["steer", SMOL, "-p", "Once", "--max-tokens", "4000", "--ignore-eos"], b"generating", 130)
    assert seen.endswith("rhumb: interrupted\r\n") and spent < 20, (seen[-200:], spent)
    assert out == b""


@needs_model
def test_interrupted_extraction_goes_on(place):
    rows = [f"He counted {i} birds near the {w} lake,She counted {i} boats near the {w} lake" for i in range(120)
            for w in ("old", "new", "cold", "deep", "far")]
    place.write("pairs.csv", "positive,negative\n" + "\n".join(rows) + "\n")
    expression = ["vec", 'dim("pairs.csv") @ 12', "-m", SMOL]
    out, seen, spent = interrupt(place, [*expression, "-o", "a.safetensors"], b"prompts read", 130)
    assert "help: what is computed so far is kept; the same command goes on from there\r\n" in seen, seen[-300:]
    assert not (place.dir / "a.safetensors").exists()
    kept = [p for p in (place.dir / "cache").rglob("*") if p.is_file()]
    assert kept, "nothing was kept"
    place.ok(*expression, "-o", "a.safetensors")
    place.ok(*expression, "-o", "b.safetensors", "--no-cache")
    value = lambda name: place.json("vec", f'cos(load("{name}"), load("b.safetensors"))')["value"]
    assert abs(value("a.safetensors") - 1) < 1e-6
    assert not place.left_over()


@needs_model
def test_interrupted_stdin(place):
    run = subprocess.Popen([RHUMB, "tokens", str(SMOL), "-"], cwd=place.dir, env=place.env, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    run.send_signal(signal.SIGINT)  # a read from a pipe gives up
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, b"", b"rhumb: interrupted\n"), (run.returncode, out, err)


@needs_model
def test_closed_pipe_in_the_middle(place):
    place.write("many.jsonl", '"hello world"\n' * 50000)
    code, err = piped(place, ["tokens", SMOL, "--file", "many.jsonl"], 2)
    assert (code, err) == (141, ""), (code, err)
    code, err = piped(place, ["steer", SMOL, "-p", "Once", "--max-tokens", "8"], 0)
    assert (code, err) == (141, ""), (code, err)


@needs_model
def test_no_bar_without_a_terminal(place):
    place.write("pairs.csv", "positive,negative\n" + "".join(f"a{i},b{i}\n" for i in range(50)))
    assert place.ok("vec", 'dim("pairs.csv") @ 3', "-m", SMOL).err == ""
    assert place.ok("steer", SMOL, "-p", "Once", "--max-tokens", "2").err == ""


@needs_model
def test_stdin(place):
    assert place.json("tokens", SMOL, input=b"Name a city.")["ids"] == [5820, 253, 2240, 30]
    assert place.json("tokens", SMOL, "-", input=b"Name a city.")["ids"] == [5820, 253, 2240, 30]
    assert place.json("tokens", SMOL, input=b"")["ids"] == []
    assert len(place.json("tokens", SMOL, input=b"Name a city.\n")["ids"]) == 5  # exactly as it is
    r = place.ok("tokens", SMOL, "--file", "-", input=b'"Name a city."\n\n"\\u0000"\n')
    assert r.out.count("\n") == 2, r
    one = place.json("steer", SMOL, "-p", "-", "--max-tokens", "4", input=b"Name a city.\n")["runs"][0]["text"]
    assert one == place.json("steer", SMOL, "-p", "Name a city.", "--max-tokens", "4")["runs"][0]["text"]
    place.write("prompt.txt", "Name a city.\n")
    assert one == place.json("steer", SMOL, "--prompt-file", "prompt.txt", "--max-tokens", "4")["runs"][0]["text"]
    r = place.run("steer", SMOL, "-p", "-", "--max-tokens", "4", input=b"a\0b")
    assert r.code == 1 and r.err == "rhumb: error: the prompt holds a NUL byte\n", r


main()

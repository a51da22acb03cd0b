"""`rhumb repl`: lines from a pipe, and from a terminal with editing, history, completion and Ctrl-C."""
import fcntl
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from harness import RHUMB, ROOT, SMOL, TINY, main, needs_model

WORDS = ROOT / "tests/data/models/words.gguf"


def lines(place, text, *arguments):
    return place.run("repl", *arguments, input=text.encode())


def test_values_from_a_pipe(place):
    r = lines(place, "# nothing\n\nlet a = load(\"a.npy\")\n1 + 2 * 3\n")
    assert r.code == 0 and r.out == "value 7\n" and r.err == "", r
    assert "history" not in "".join(str(p) for p in place.dir.rglob("*")), "a pipe leaves no history"


def test_errors_name_their_line(place):
    """A line of the input is a line of the message, and a failed line makes the exit code 1."""
    for text, wanted in [
        ("1\n\n1 + foo\n", "<expression>:3:5: error: unknown name 'foo'\n  3 | 1 + foo\n    |     ^^^\n"),
        ("# é\nlet a = random(1) +\n", "<repl>:2:20: error: expected a value"),
        ("let a = 1\nlet a = 2\n", "<repl>:2:5: error: "),
        ("let a = mean(1,\n  2) + b\n", "<repl>:2:8: error: unknown name 'b'"),
        ("1\nsteer \"é\" with foo\n", "rhumb: error: no model is open"),
        ("undo\n", "rhumb: error: there is nothing to take back\n"),
        ("save\n", "rhumb: error: save needs the name of a file\n"),
    ]:
        r = lines(place, text)
        assert r.code == 1 and r.err.startswith(wanted), (wanted, str(r))
    r = lines(place, "1 + foo\n2\n")
    assert r.code == 1 and r.out == "value 2\n", r
    r = lines(place, "steer \"é\" with 2*foo @ 1\n", TINY)
    assert r.code == 1 and "no tokenizer" in r.err, r


def test_statements(place):
    r = lines(place, "let a = 2\nlet b = a * 3\nb\nundo\nlet b = 5\nb\nlist\nquit\n1 + foo\n")
    assert r.code == 0, r
    assert r.out == "value 6\ntaken back: let b = a * 3\nvalue 5\nlet a = 2\nlet b = 5\n", r


def test_a_name_may_be_a_command(place):
    r = lines(place, "let save = 3\nlet list = 4\nsave * list\nlist + 1\n")
    assert r.code == 0 and r.out == "value 12\nvalue 5\n", r


def test_a_wrong_statement_is_not_kept(place):
    r = lines(place, "let a = b\nsteer random(1)\nlist\n", TINY)
    assert r.code == 1 and r.out == "# nothing yet: let sf = dim(\"pairs.csv\") binds a name\n", r


def test_save(place):
    """A book saved into another folder finds its files, and is a book."""
    place.write("data/x.csv", "positive,negative\na,b\n")
    (place.dir / "books").mkdir()
    text = 'let a = dim("data/x.csv")  # why\nlet b = load("/abs/v.npy")\nlet c = 2\nlayer 1\nsave books/b.rhumb\nsave "data/c d.rhumb"\n'
    r = lines(place, text)
    assert r.code == 0 and r.out == "" and r.err == "rhumb: note: books/b.rhumb written\nrhumb: note: data/c d.rhumb written\n", r
    here = os.path.realpath(place.dir)
    assert (place.dir / "books/b.rhumb").read_text() == (
        f'let a = dim("{here}/data/x.csv")  # why\nlet b = load("/abs/v.npy")\nlet c = 2\nlayer 1\n')
    assert (place.dir / "data/c d.rhumb").read_text() == 'let a = dim("x.csv")  # why\nlet b = load("/abs/v.npy")\nlet c = 2\nlayer 1\n'
    assert not place.left_over()
    r = lines(place, "let d = c + 1\nd\nsave books/b.rhumb\n", "-b", "books/b.rhumb")
    assert r.code == 0 and r.out == "value 3\n", r
    assert (place.dir / "books/b.rhumb").read_text().endswith("layer 1\nlet d = c + 1\n")
    r = lines(place, "save nowhere/x.rhumb\n")
    assert r.code == 1 and "nowhere" in r.err and not place.left_over(), r


def test_a_wrong_book_ends_at_once(place):
    place.write("bad.rhumb", "let a =\n")
    r = lines(place, "1\n", "-b", "bad.rhumb")
    assert r.code == 1 and r.out == "" and r.err.startswith("bad.rhumb:1:8: error: "), r


def test_json(place):
    r = lines(place, "1\nfoo\n", "--json")
    assert r.code == 1 and r.out.count("\n") == 2 and '"value":1' in r.out and '"error"' in r.out, r


def test_model_in_the_session(place):
    r = lines(place, f'model "{WORDS}"\nnorm(act("rain")) @ 1\nmodel "{TINY}"\nlist\n')
    assert r.code == 1 and r.out.startswith("layer 1   value 21.6") and r.out.endswith(f'\nmodel "{WORDS}"\n'), r
    assert "rhumb: error: the model words is open, and a session has one\n" in r.err, r
    r = lines(place, 'model "nowhere.gguf"\nlist\nact("rain") @ 1\n')
    assert r.code == 1 and r.out.startswith("# nothing yet"), r
    assert "error: there is no model 'nowhere.gguf'" in r.err and "<expression>:3:1: error: this is computed from a model" in r.err, r


@needs_model
def test_steer(place):
    r = lines(place, 'let a = random(1)\nsteer "Once"\nsteer 300*a @ 12\nsteer "Once"\nsteer "Once" with ablate a @ 3\n', SMOL, "-n", "4")
    assert r.code == 0 and "no action is stated yet" in r.err, r
    assert "smollm2: the session's actions at 12.resid_post" in r.out and "smollm2: ablate a @ 3 at 3.resid_post" in r.out, r
    r = lines(place, 'steer "é" with 2*foo @ 1\n', SMOL)
    assert r.code == 1 and r.err.startswith("<expression>:1:18: error: unknown name 'foo'"), r


HERE = pathlib.Path(__file__).resolve().parent


class Terminal:
    def __init__(self, place, *arguments):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(place.dir)
            os.execve(RHUMB, [RHUMB, "repl", *map(str, arguments)],
                      {**place.env, "TERM": "xterm", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(place.dir / "state"),
                       "LSAN_OPTIONS": f"suppressions={HERE / 'lsan.supp'}"})
        self.pid, self.seen = pid, b""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, what, seconds=120):
        """Read until `what` was written; what was read before it is taken."""
        end = time.monotonic() + seconds
        while what.encode() not in self.seen:
            assert time.monotonic() < end, (what, self.seen[-500:])
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, (what, self.seen[-500:])
                self.seen += data
        before, self.seen = self.seen.split(what.encode(), 1)
        return before.decode("utf-8", "replace")

    def end(self, code=0):
        self.type("\x04")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == code, status
                os.close(self.fd)
                return
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:  # it has closed its side, and is about to end
                    time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("Ctrl-D did not end it")


def test_terminal_history_and_completion(place):
    place.write("pairs-of-it.csv", "positive,negative\na,b\n")
    t = Terminal(place)
    t.until("rhumb> ")
    t.type("let weather = 4\n")
    t.until("rhumb> ")
    t.type("wea\t * 2\n")
    t.until("value 8")
    t.until("rhumb> ")
    t.type("norm(dim(\"pai\t")
    t.until('rs-of-it.csv"')
    t.type("\x03")  # Ctrl-C drops the line
    t.until("rhumb> ")
    t.type("ang\t")
    t.until("le(")
    t.type("\x03")
    t.until("rhumb> ")
    t.type("l\t")  # many: they are listed
    t.until("lerp(  let   list  load(")
    t.until("rhumb> l")
    t.type("\x03")
    t.until("rhumb> ")
    t.type("(1 +\n")
    t.until("  ...> ")
    t.type("2)\n")
    t.until("value 3")
    t.until("rhumb> ")
    t.type("1 + foo\n")
    t.until("error: unknown name 'foo'")
    t.until("rhumb> ")
    t.end()
    assert (place.dir / "state/rhumb/history").read_text().count("weather") == 2
    t = Terminal(place)
    t.until("rhumb> ")
    t.type("\x10\n")  # the last line again
    t.until("unknown name 'foo'")
    t.until("rhumb> ")
    t.end()


def test_history_outlives_the_session(place):
    """A line is kept as soon as it is typed, beside those of another session; a file of somebody else's stays."""
    one, two = Terminal(place), Terminal(place)
    one.until("rhumb> ")
    two.until("rhumb> ")
    for t, line in ((one, "1 + 1"), (two, "let größe = 3"), (one, "2 * 2")):
        t.type(line + "\n")
        t.until("\r\n")
        t.until("rhumb> ")  # it has been read, before the next line is typed
    os.kill(one.pid, signal.SIGKILL)
    os.waitpid(one.pid, 0)
    two.end()
    kept = place.dir / "state/rhumb/history"
    assert len(kept.read_text().splitlines()) == 4 and kept.stat().st_mode & 0o777 == 0o600, kept.read_text()
    t = Terminal(place)
    t.until("rhumb> ")
    t.type("\x10\x10\x10\n")  # three are there
    t.until("value 2")
    t.until("rhumb> ")
    t.end()
    kept.write_text("not ours\n")
    t = Terminal(place)
    t.until("is no history of this program")
    t.until("rhumb> ")
    t.type("1 + 1\n")
    t.until("value 2")
    t.until("rhumb> ")
    t.end()
    assert kept.read_text() == "not ours\n"


def test_completion_by_place(place):
    place.write("texts.csv", "positive,negative\na,b\n")
    t = Terminal(place)
    t.until("rhumb> ")
    for typed, wanted in [
        ('dim("te\t', 'xts.csv"'), ('dim("x.csv", pre\t', "fix="), ('dim("x.csv", at=m\t', "marked  mean"), ('pca("x.csv", center=f\t', "alse"),
        ('act("x", chat=\t', "false  true"), ("save tex\t", "ts.csv"), ("let größe = 3\ngr\t", "öße"), ("a @ 3.resid_p\t", "resid_post  resid_pre"),
        ("compare norm(a, \t", "reject("),
    ]:
        t.type(typed)
        t.until(wanted)
        t.type("\x03")
        t.until("rhumb> ")
    t.type('act("te\t') # a text of the user's own
    t.until("\x07")
    t.type("\x03")
    t.until("rhumb> ")
    t.end()


def test_pasted_lines_and_a_narrow_terminal(place):
    t = Terminal(place)
    t.until("rhumb> ")
    fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    t.type("let p = mean(1,\n  2,\n  3)\nlet q = 4\np * q\n")
    t.until("value 8")
    t.until("rhumb> ")
    t.type("x" * 3000 + "\n")
    t.until("error: unknown name")
    t.until("rhumb> ")
    t.type("p + q\n")
    t.until("value 6")
    t.until("rhumb> ")
    t.end()


@needs_model
def test_interrupt_keeps_the_session(place):
    t = Terminal(place, SMOL, "-n", "2000")
    t.until("rhumb> ")
    t.type("let a = 7\n")
    t.until("rhumb> ")
    for _ in range(2):  # the second Ctrl-C is the first again
        t.type('steer "Once upon a time" with 1000*random(1) @ 3\n')
        t.until("generating")
        t.type("\x03")
        t.until("unsteered: ", 60)
        t.until("rhumb: interrupted", 60)
        t.until("rhumb> ")
    t.type("a * 2\n")
    t.until("value 14")
    t.until("rhumb> ")
    t.type("@ \x03")
    t.until("rhumb> ")
    t.type("a @ 2\t")
    t.until("29")
    t.until("rhumb> a @ 2")  # drawn again below the list
    t.type("\x03")
    t.until("rhumb> ")
    t.end()


def test_signal_at_the_prompt_of_a_pipe(place):
    run = subprocess.Popen([RHUMB, "repl"], cwd=place.dir, env=place.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, b"", b"rhumb: interrupted\n"), (run.returncode, out, err)


main()

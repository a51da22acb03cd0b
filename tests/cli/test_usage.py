"""Flags, help, and every way to call the program wrongly."""
import json

from harness import TINY, expect, main

USAGE = [
    (["stear"], ["rhumb: error: unknown verb 'stear'", "help: did you mean `rhumb steer`?"]),
    (["zzzzzz"], ["rhumb: error: unknown verb 'zzzzzz'", "help: `rhumb help` lists the verbs"]),
    (["--chat"], ["rhumb: error: the verb comes first, not '--chat'"]),
    (["steer"], ["rhumb: error: steer needs an argument", "help: usage: rhumb steer MODEL [EXPR] -p PROMPT"]),
    (["steer", "m", "a", "b"], ["rhumb: error: steer takes no argument 'b'"]),
    (["steer", "m"], ["rhumb: error: steer needs a prompt", "help: -p 'Name a city.', --prompt-file FILE, --messages FILE, or -p - for stdin"]),
    (["steer", "m", "-p", "x", "--prompt-file", "y"], ["rhumb: error: give --prompt or --prompt-file, not both"]),
    (["steer", "m", "--pompt", "x"], ["rhumb: error: unknown option '--pompt'", "help: did you mean --prompt?"]),
    (["steer", "m", "--temp", "1"], ["rhumb: error: unknown option '--temp'", "help: did you mean --temperature?"]),
    (["steer", "m", "-q"], ["rhumb: error: unknown option '-q'", "help: if this is an expression or a text and no option, put `--` in front of it"]),
    (["steer", "m", "-p"], ["rhumb: error: --prompt needs a value: --prompt TEXT"]),
    (["steer", "m", "-p", "--chat"], ["rhumb: error: --prompt needs a value: --prompt TEXT",
                                      "help: if --chat itself is the value, write --prompt=--chat"]),
    (["steer", "m", "--chat=yes"], ["rhumb: error: --chat takes no value"]),
    (["steer", "m", "--temperature", "hot"], ["rhumb: error: --temperature needs a number from 0 to 1000, not 'hot'"]),
    (["steer", "m", "--temperature", "nan"], ["rhumb: error: --temperature needs a number from 0 to 1000, not 'nan'"]),
    (["steer", "m", "--temperature", "1e999"], ["rhumb: error: --temperature needs a number from 0 to 1000, not '1e999'"]),
    (["steer", "m", "--temperature=-1"], ["rhumb: error: --temperature needs a number from 0 to 1000, not '-1'"]),
    (["steer", "m", "--top-k", "2.5"], ["rhumb: error: --top-k needs a whole number of 0 or more, not '2.5'"]),
    (["steer", "m", "--max-tokens", "99999999999"], ["rhumb: error: --max-tokens needs a whole number from 1 to 1000000, not '99999999999'"]),
    (["steer", "m", "--seed", "-1"], ["rhumb: error: --seed needs a whole number that is not negative, not '-1'"]),
    (["steer", "m", "--seed", "18446744073709551616"], ["rhumb: error: --seed needs a whole number that is not negative…"]),
    (["steer", "m", "-p", "x", "--strength", "1,,2"], ["rhumb: error: …"]),
    (["steer", "m", "--device", "gpu"], ["rhumb: error: --device knows no 'gpu'; it is one of auto, cpu, cuda"]),
    (["steer", "m", "--threads", "-2"], ["rhumb: error: --threads needs a whole number from 0 to 1024, not '-2'"]),
    (["vec"], ["rhumb: error: vec needs an argument", "help: usage: rhumb vec EXPR"]),
    (["vec", "1", "2"], ["rhumb: error: vec takes no argument '2'"]),
    (["vec", "-a+b"], ["rhumb: error: unknown option '-a+b'"]),
    (["explain"], ["rhumb: error: explain needs an EXPR, or a book with actions (-b)"]),
    (["trace", TINY], ["rhumb: error: trace needs a prompt: -p TEXT, --messages FILE, --tokens IDS or --tokens-file FILE"]),
    (["trace", TINY, "--tokens", "1"], ["rhumb: error: trace needs a file to write", "help: -o states.safetensors"]),
    (["trace", TINY, "--tokens", "1", "-p", "x", "-o", "t"], ["rhumb: error: give one of --prompt, --messages, --tokens and --tokens-file"]),
    (["trace", TINY, "--tokens", "1,x", "-o", "t"], ["rhumb: error: --tokens needs a whole number, not 'x'"]),
    (["trace", TINY, "--tokens", "1", "-o", "t", "--sites", "resid"], ["rhumb: error: --sites knows no 'resid'",
                                                                     "help: sites are embed, resid_pre…"]),
    (["trace", TINY, "--tokens", "1", "-o", "t", "--layers", "a"], ["rhumb: error: --layers needs layers such as…"]),
    (["tokens", TINY], ["rhumb: error: tokens needs a TEXT, --file, or a text on stdin"]),
    (["tokens", TINY, "a", "--file", "b"], ["rhumb: error: give a TEXT or --file, not both"]),
    (["tokens", TINY, "a", "--bos", "--chat"], ["rhumb: error: --bos and --chat exclude each other…"]),
    (["fetch", "smollm3"], ["rhumb: error: fetch knows no model 'smollm3'", "help: it knows smollm2, gemma3-270m"]),
    (["convert", "a.npy"], ["rhumb: error: convert needs a file to write"]),
    (["bench", TINY, "--only", "decoding"], ["rhumb: error: bench knows no 'decoding'"]),
    (["help", "stear"], ["rhumb: error: unknown verb 'stear'", "help: did you mean `rhumb help steer`?"]),
]

VERBS = "fetch info tokens steer vec trace explain convert bench help".split()
LATER = "diff search test sae near probe repl".split()
COMMON = "json seed threads device exact isa help".split()


def test_wrong_usage(place):
    expect(place, [(arguments, 2, lines) for arguments, lines in USAGE])


def test_wrong_usage_in_json(place):
    for arguments, lines in USAGE:
        if "--" in arguments or arguments[0].startswith("-"):
            continue
        value = place.json(*arguments[:1], "--json", *arguments[1:-1], arguments[-1], code=2) if len(arguments) > 1 else \
            place.json(*arguments, code=2)
        message = lines[0].removeprefix("rhumb: error: ")
        got = value["error"]["message"]
        # A last option without a value takes --json for one, or is answered about it.
        assert got.startswith(message.rstrip("…")[:20]) or "--json" in got or "needs a value" in got, (arguments, got)


def test_no_arguments(place):
    r = place.run()
    assert r.code == 2 and r.out == "" and r.err.startswith("rhumb - "), r


def test_verbs_that_come_later(place):
    there = {v["name"] for v in place.json("help")["verbs"]}
    later = [v for v in LATER if v not in there]
    expect(place, [([v], 1, [f"rhumb: error: the verb '{v}' is not there yet", "help: …"]) for v in later])
    expect(place, [(["help", v], 1, [f"rhumb: error: the verb '{v}' is not there yet"]) for v in later])


def test_help(place):
    overview = place.ok("help").out
    assert overview == place.ok("--help").out == place.ok("-h").out
    for verb in VERBS:
        assert f"\n  {verb} " in overview, verb
        text = place.ok("help", verb).out
        assert text.startswith(f"usage: rhumb {verb}"), text
        assert text == place.ok(verb, "--help").out == place.ok(verb, "-h", "whatever").out
        for name in COMMON:
            assert f"--{name}" in text, (verb, name)
        assert max(map(len, text.split("\nexamples:")[0].splitlines())) <= 100, verb


def test_help_and_parser_know_the_same_options(place):
    """Every option that the help shows is accepted, with --help behind it."""
    for verb in place.json("help")["verbs"]:
        for option in verb["options"]:
            takes = "value" in option
            runs = [place.run(verb["name"], f"--{option['name']}" + (f"={v}" if takes else ""), "--help")
                    for v in (("1", "2", "16", "auto", "sum", "topk") if takes else ("",))]
            assert any(r.code == 0 and r.out.startswith("usage: ") for r in runs), runs[0]
            if "letter" in option:
                place.ok(verb["name"], f"-{option['letter']}", *(["1"] if takes else []), "--help")


def test_version(place):
    assert place.ok("--version").out.split()[0] == "rhumb"


def test_options_end_and_values(place):
    for arguments, value in ((["2*3"], 6), (["-2*3"], -6), (["-.5"], -0.5), (["-(1+2)"], -3), (["--", "-(1+2)"], -3),
                             (["--json", "--", "1"], 1), (["--seed", "7", "1"], 1), (["--seed=7", "1"], 1)):
        r = place.ok("vec", *(["--json"] if "--json" not in arguments else []), *arguments)
        assert json.loads(r.out)["value"] == value, r
    assert place.run("vec", "--", "--json").code == 1  # an expression, and a wrong one


def test_books_and_expressions(place):
    place.write("broken.rhumb", "let a = 1\nlet b = a +\n")
    place.write("loop.rhumb", "let a = b\nlet b = a\n")
    place.write("values.rhumb", "let a = 3\nlet b = a*2\n")
    assert place.json("vec", "b + 1", "-b", "values.rhumb")["value"] == 7
    expect(place, [
        (["vec", "1 + foo"], 1, ["<expression>:1:5: error: unknown name 'foo'", "  1 | 1 + foo", "    |     ^^^"]),
        (["vec", "ab", "-b", "values.rhumb"], 1, ["<expression>:1:1: error: unknown name 'ab'"]),
        (["vec", "(1 + 2"], 1, ["<expression>:1:…"]),
        (["vec", "1/0"], 1, ["<expression>:1:3: error: division by zero", "  1 | 1/0", "    |   ^"]),
        (["vec", ""], 1, ["<expression>:1:1: error: …"]),
        (["vec", "1", "-b", "broken.rhumb"], 1, ["broken.rhumb:2:…"]),
        (["vec", "a", "-b", "loop.rhumb"], 1, ["loop.rhumb:…"]),
        (["vec", "1", "-b", "nothing.rhumb"], 1, ["rhumb: error: cannot open 'nothing.rhumb': No such file or directory"]),
        (["vec", "1", "-b", "."], 1, ["rhumb: error: …"]),
        (["vec", 'act("x") @ 3'], 1, ["<expression>:1:1: error: …"]),
        (["vec", "steer 1"], 1, ["<expression>:1:…"]),
    ])


def test_model_is_named_by_the_book(place):
    place.write("tiny.rhumb", f'model "{TINY}"\nlet a = random(1) @ 1\n')
    assert place.json("vec", "norm(a)", "-b", "tiny.rhumb")["value"] > 0.99
    place.write("wrong.rhumb", 'model "nowhere"\nlet a = random(1) @ 1\n')
    expect(place, [(["vec", "a", "-b", "wrong.rhumb"], 1, ["rhumb: error: there is no model 'nowhere'…"])])


main()

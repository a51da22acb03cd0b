#!/usr/bin/env python3
"""Strings that are hard for a tokenizer, and llama.cpp's ids for them.

    python3 tokenizer_strings.py strings > tests/data/tokenizer/strings.txt
    python3 tokenizer_strings.py ids LLAMA_IDS MODEL.gguf < tests/data/tokenizer/strings.txt \
        > tests/data/tokenizer/NAME.ids

LLAMA_IDS is llama_ids.cpp of this folder, built against llama.cpp.

strings.txt: a string a line; \\xHH is a byte, \\\\ a backslash, all else stands for itself. The
same strings every time. NAME.ids: a line a string, the ids with control tokens as plain text;
if they differ with control tokens as tokens, then "|" and those.
"""
import random
import re
import struct
import subprocess
import sys

SCRIPTS = [  # first and last code point
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x556),
    (0x5D0, 0x5EA), (0x620, 0x64A), (0x904, 0x939), (0x985, 0x9B9), (0xB85, 0xBB9), (0xE01, 0xE2E),
    (0x10D0, 0x10F0), (0x1100, 0x1112), (0x1200, 0x1248), (0x13A0, 0x13F4), (0x1780, 0x17B3),
    (0x1E00, 0x1EFF), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
    (0x10330, 0x1034A), (0x1D400, 0x1D454), (0x20000, 0x20100),
]
DIGITS = [0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0x1040, 0xFF10, 0x1D7CE]
NUMBERS = "½¼¾²³¹⁴₂①⑳ⅣⅫ㊿〇七൵௰𐄇"
SPACES = " \t\n\r\v\f\u0085\u00a0\u1680\u180e\u2002\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
MARKS = "\u0300\u0301\u0308\u0327\u0338\u05b0\u064b\u093c\u0e31\u20e3\ufe0f"
PUNCT = ".,;:!?-_'\"`()[]{}<>/\\|@#$%^&*+=~…—–«»“”‘’¿¡·•※、。「」《》؟।"
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "👨🏿‍🚀", "❤️", "☕", "1️⃣", "🧑‍💻", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
CONTROL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "<gh_stars>",
    "<empty_output>", "<jupyter_code>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>",
    "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "[multimodal]",
    "<unused0>", "<unused99>", "<0x0A>", "<0x41>", "<s>", "</s>", "<table>", "</td>", "<h1>",
    "<code>", "</code>", "<b>", "<|eot_id|>", "<|start_header_id|>", "<|im_start|", "im_start|>",
    "<<|im_end|>>", "<end_of_turn", "▁", "▁▁", "Ġ", "Ċ", "[PAD]", "[EOS]",
]
WORDS = ("the of and to in is that it was for on are with as his they at be this from have or by one "
         "had not but what all were when we there can an your which their said if do will each about "
         "San Francisco Tokyo rain tomorrow quantum Schrödinger naïve café über Ångström déjà vu "
         "don't can't I'm you've they'll he'd it's We'RE o'clock rock'n'roll X's 'tis "
         "internationalization antidisestablishmentarianism HTTPServer camelCase snake_case kebab-case "
         "iPhone15 COVID-19 3D 2nd 1,000.50 0xFF 1e-9 https://example.org/a?b=c&d=%20 me@example.org "
         "Привет мир Γειά σου שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก こんにちは世界 你好，世界 "
         "안녕하세요 세계 Xin chào thế giới").split()
CODE = [
    "for (int i = 0; i < n; i++) {\n\tsum += a[i];\n}\n",
    "def f(x):\n    \"\"\"doc\"\"\"\n    return x**2  # square\n",
    "<div class=\"a\">\r\n  <p>text&nbsp;</p>\r\n</div>",
    "{\"a\": [1, 2.5, -3e10], \"b\": null}",
    "SELECT * FROM t WHERE x<=3 AND y!='z';",
    "#include <stdio.h>\nint main(void)\n{\n\treturn 0;\n}\n",
    "$ ls -la | grep '\\.c$' > out.txt 2>&1",
    "\\frac{a}{b} = \\sum_{i=0}^{\\infty} x_i^2",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "let f = |x: &str| -> Result<(), Box<dyn Error>> { Ok(()) };",
]
FIXED = [
    "", " ", "  ", "\n", "\t", "\r\n", "\0", "a", "½", "1½2", "\r\n1", "a\r\n1", "12345678", "١٢٣٤",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n",
    "<|im_start|><|im_start|>", "<|im_<|im_start|>start|>", "<eos><eos>", "<<bos>>", "<bos >",
    "a</s>b</s>", "<s>a</s>", "\n\n\n<table>\n\n", "    <b>    </b>   ", "\ufffd", "\ufffe", "\U0010ffff",
    "\u180e a", "\x85\x85 b", "▁ ▁▁  ▁", "e\u0301\u0301\u0301", "İstanbul ſt ﬁ ǅ", "'S 'LL 'Re", "''s", "' s",
    "x" * 300, "ab" * 150, " " * 200, "\n" * 100, "\t" * 70, "é" * 100, "字" * 80, "🙂" * 30, "9" * 120,
    "=" * 130, "-" * 90 + "\n" + "-" * 90, " a" * 100, "\n " * 60, "<b>" * 40, "▁" * 40, "\x04\x06\x13a\x14",
]


def strings(n=3100, seed=20261):
    r = random.Random(seed)
    char = lambda: chr(r.randint(*r.choice(SCRIPTS)))
    word = lambda: "".join(chr(r.randint(*script)) for script in [r.choice(SCRIPTS)]
                           for _ in range(r.randint(1, 9)))
    digits = lambda: "".join(chr(d + r.randint(0, 9)) for d in [r.choice(DIGITS)]
                             for _ in range(r.randint(1, 7)))
    spaces = lambda: r.choice([lambda: " " * r.randint(1, 40), lambda: "\n" * r.randint(1, 35),
                               lambda: "\t" * r.randint(1, 8), lambda: "\r\n" * r.randint(1, 3),
                               lambda: "".join(r.choice(SPACES) for _ in range(r.randint(1, 6)))])()
    control = lambda: "".join(chr(r.choice([r.randint(0, 31), r.randint(127, 159)]))
                              for _ in range(r.randint(1, 4)))
    anything = lambda: next(c for c in iter(lambda: r.randint(0, r.choice([0xFF, 0xFFF, 0xFFFF, 0x1FFFF, 0x10FFFF])), None)
                            if not 0xD800 <= c < 0xE000)
    marked = lambda: "".join(char() + "".join(r.choice(MARKS) for _ in range(r.randint(0, 3)))
                             for _ in range(r.randint(1, 5)))
    case = lambda w: r.choice([w, w, w.upper(), w.title(), w.swapcase()])
    parts = [  # weight, what
        (8, lambda: case(r.choice(WORDS))), (8, lambda: " " + r.choice(WORDS)), (6, word),
        (4, digits), (2, lambda: r.choice(NUMBERS)), (5, spaces), (4, lambda: r.choice(PUNCT) * r.choice([1, 1, 1, 2, 3, 8])),
        (2, lambda: r.choice(EMOJI)), (2, marked), (1, control), (2, lambda: r.choice(CONTROL)),
        (1, lambda: chr(anything())), (1, lambda: r.choice(CODE)[:r.randint(5, 40)]), (5, lambda: " "),
    ]
    weights, makers = [w for w, _ in parts], [m for _, m in parts]
    mixed = lambda: "".join(m() for m in r.choices(makers, weights, k=r.randint(1, 12)))
    sentence = lambda: " ".join(r.choice(WORDS) for _ in range(r.randint(2, 16))) + r.choice([".", "", "!", "?\n"])
    kinds = [
        (8, mixed), (3, sentence), (2, lambda: "".join(chr(anything()) for _ in range(r.randint(1, 12)))),
        (2, lambda: "".join(r.choice(CONTROL) + r.choice(["", " ", "\n", word()]) for _ in range(r.randint(1, 5)))),
        (1, lambda: r.choice(CODE) + r.choice(CODE)), (2, lambda: spaces() + word() + spaces()),
        (1, lambda: "".join(r.choice(SPACES) for _ in range(r.randint(1, 12))) + r.choice(["", "a"])),
        (1, lambda: "".join(r.choice(NUMBERS + "0123456789 ") for _ in range(r.randint(1, 14)))),
        (1, lambda: word() * r.randint(5, 12)),
    ]
    out, seen = list(FIXED), set(FIXED)
    while len(out) < n:
        s = r.choices([k for _, k in kinds], [w for w, _ in kinds])[0]()
        if s not in seen:
            seen.add(s)
            out.append(s)
    return out


def escape(s):
    """Control characters, separators and spaces at the ends as bytes, so that lines stay lines."""
    out = []
    for i, c in enumerate(s):
        end = c == " " and i in (0, len(s) - 1)
        if c == "\\":
            out.append("\\\\")
        elif ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\ufeff" or end:
            out.extend("\\x%02x" % b for b in c.encode())
        else:
            out.append(c)
    return "".join(out)


def unescape(line):
    return re.sub(rb"\\(\\|x[0-9a-f]{2})",
                  lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1][1:], 16)]), line)


def ask(program, model, mode, texts):
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    done = subprocess.run([program, model, mode], input=data, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(texts), (len(lines), len(texts))
    return lines


def main():
    if sys.argv[1:2] == ["strings"] and len(sys.argv) == 2:
        for s in strings():
            sys.stdout.buffer.write(escape(s).encode() + b"\n")
    elif sys.argv[1:2] == ["ids"] and len(sys.argv) == 4:
        texts = [unescape(l) for l in sys.stdin.buffer.read().split(b"\n")[:-1]]
        plain = ask(sys.argv[2], sys.argv[3], "plain", texts)
        special = ask(sys.argv[2], sys.argv[3], "special", texts)
        for p, s in zip(plain, special):
            print(p if p == s else p + "|" + s)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

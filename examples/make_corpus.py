#!/usr/bin/env python3
"""English text from Debian's packages, for training sparse autoencoders where there is no network.

    apt-get install dict-gcide dict-wn fortunes bible-kjv
    examples/make_corpus.py CORPUS.txt HELD_OUT.txt

Dictionary entries, proverbs and verses are joined to pieces of about 1,200 characters of one source, shuffled (always
alike), and written with empty lines between them; every 50th piece goes to HELD_OUT. What is not installed is left out
and named.
"""
import glob
import gzip
import pathlib
import random
import re
import subprocess
import sys

PIECE = 1200


def dictionary(name):
    path = pathlib.Path(f"/usr/share/dictd/{name}.dict.dz")
    if not path.is_file():
        return []
    text = gzip.open(path).read().decode("utf8", "replace")
    return re.split(r"\n(?=\S)", text.replace("\n\n", "\n"))


def fortunes():
    files = [f for f in sorted(glob.glob("/usr/share/games/fortunes/*")) if not f.endswith((".dat", ".u8"))]
    texts = [open(f, encoding="utf8", errors="replace").read() for f in files]
    return [saying.strip() for text in texts for saying in text.split("\n%\n") if saying.strip()]


def bible():
    try:
        run = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line for line in run.splitlines() if line.strip()]


def pieces(entries):
    piece, size = [], 0
    for entry in entries:
        piece.append(entry)
        size += len(entry) + 1
        if size >= PIECE:
            yield "\n".join(piece)
            piece, size = [], 0


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = []
    for name, entries in (("dict-gcide", dictionary("gcide")), ("dict-wn", dictionary("wn")), ("fortunes", fortunes()), ("bible-kjv", bible())):
        texts = [re.sub(r"\n\s*\n", "\n", text) for text in pieces(entries)]
        print(f"{name}: {len(texts)} pieces" if texts else f"{name}: not installed", file=sys.stderr)
        found += texts
    if not found:
        sys.exit("nothing is installed: apt-get install dict-gcide dict-wn fortunes bible-kjv")
    random.Random(0).shuffle(found)
    for path, texts in ((sys.argv[1], [t for i, t in enumerate(found) if i % 50]), (sys.argv[2], found[::50])):
        pathlib.Path(path).write_text("\n\n".join(texts) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Choose the 20 texts of 200 tokens on which the engine is compared, and write their ids.

    golden_texts.py PEERS SMOLLM2.gguf GEMMA.gguf [--root DIR]

PEERS/llama/bin/llama-tokenize makes the ids. The texts come from the Debian packages
bible-kjv, dict-gcide, fortunes, miscfiles, base-files and libpython3.11-stdlib (--root: where
they are unpacked, default /). Only the ids are kept: tests/data/goldens/MODEL-ids.json,
a list of 20 lists of 200; the texts' names are in TEXTS below.
"""
import argparse, gzip, json, pathlib, subprocess, tempfile

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "goldens"
LENGTH = 200

# (kind, where, line or verse to start at): prose, verse, tables, code, several alphabets.
TEXTS = [
    ("verse", "gen1:1-2:3", 0), ("verse", "ps23:1-25:10", 0), ("verse", "prov6:6-35", 0),
    ("verse", "rom8:18-39", 0), ("verse", "job38:1-41", 0),
    ("gcide", "usr/share/dictd/gcide.dict.dz", 20005), ("gcide", "usr/share/dictd/gcide.dict.dz", 400000),
    ("gcide", "usr/share/dictd/gcide.dict.dz", 900003),
    ("plain", "usr/share/games/fortunes/science", 30), ("plain", "usr/share/games/fortunes/computers", 400),
    ("plain", "usr/share/games/fortunes/songs-poems", 900), ("plain", "usr/share/games/fortunes/startrek", 100),
    ("plain", "usr/share/games/fortunes/wisdom", 600), ("plain", "usr/share/games/fortunes/zippy", 50),
    ("plain", "usr/share/misc/currency.gz", 20), ("plain", "usr/share/misc/languages.gz", 40),
    ("plain", "usr/share/common-licenses/GPL-3", 10), ("plain", "usr/share/common-licenses/Artistic", 0),
    ("plain", "usr/lib/python3.11/json/decoder.py", 60),
    ("made", "Привет, мир! 東京は日本の首都です。 Ça va? Größe 10 µm² — naïve café; ½ + ¼ = ¾. "
             "שלום עולם 🌧️🌉 한국어 Ελληνικά العربية 1234567890 3.14159\n", 0),
]


def read(kind, where, start, root):
    if kind == "verse":
        return subprocess.run(["bible", "-f", where], capture_output=True, text=True, check=True,
                              stdin=subprocess.DEVNULL).stdout
    if kind == "made":
        return where * 12
    path = root / where
    raw = gzip.open(path).read() if path.suffix in (".gz", ".dz") else path.read_bytes()
    lines = raw.decode("utf-8", "replace").splitlines(True)[start:]
    return "".join(lines[:400])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("peers", type=pathlib.Path)
    ap.add_argument("models", nargs=2, type=pathlib.Path)
    ap.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/"))
    a = ap.parse_args()
    texts = [read(*t, a.root if t[0] == "gcide" or (a.root / t[1]).exists() else pathlib.Path("/")) for t in TEXTS]
    DATA.mkdir(parents=True, exist_ok=True)
    for name, model in zip(("smollm2", "gemma3-270m"), a.models):
        rows = []
        for text in texts:
            with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
                f.write(text)
                f.flush()
                out = subprocess.run([a.peers / "llama/bin/llama-tokenize", "-m", model, "-f", f.name, "--ids",
                                      "--log-disable", "--no-parse-special"],
                                     capture_output=True, text=True, check=True).stdout
            ids = json.loads(out)[:LENGTH]
            assert len(ids) == LENGTH, (name, text[:60], len(ids))
            rows.append(ids)
        body = ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
        (DATA / f"{name}-ids.json").write_text(f"[\n{body}\n]\n")
        print(name, len(rows), "texts of", LENGTH)


if __name__ == "__main__":
    main()

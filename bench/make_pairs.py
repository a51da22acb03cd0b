#!/usr/bin/env python3
"""Write contrastive pairs for measuring extraction: all positives distinct, all negatives distinct.

    make_pairs.py OUT.csv [--n 512] [--seed 1]

A pair is one sentence about San Francisco and the same sentence about another city, about 11
tokens each; the city stands last, so the two share what is in front of it, as contrastive
pairs do.
"""
import argparse
import csv
import itertools
import random

WHEN = ["Last spring", "One evening", "That year", "Before dawn", "After lunch", "On Monday"]
WHO = ["my sister", "the pilot", "an old friend", "our teacher", "the painter", "a young chef", "her uncle",
       "the band", "a reporter", "the captain", "their guide", "the nurse"]
DID = ["found", "opened", "visited", "described", "photographed", "remembered", "built", "left"]
WHAT = ["a small museum", "the best bakery", "a quiet garden", "an empty theatre", "the oldest bridge",
        "a crowded market", "the new library", "a famous hotel", "a narrow street", "the tall lighthouse"]
CITIES = ["Chicago", "Boston", "Toronto", "Madrid", "Cairo", "Seoul", "Nairobi", "Denver", "Berlin", "Sydney"]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    ap.add_argument("--n", type=int, default=512)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    r = random.Random(a.seed)
    sentences = [" ".join(words) + " in" for words in itertools.product(WHEN, WHO, DID, WHAT)]
    assert a.n <= len(sentences), f"there are only {len(sentences)} sentences"
    with open(a.out, "w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["positive", "negative"])
        for s in r.sample(sentences, a.n):
            rows.writerow([f"{s} San Francisco", f"{s} {r.choice(CITIES)}"])


if __name__ == "__main__":
    main()

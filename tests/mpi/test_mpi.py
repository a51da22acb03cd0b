#!/usr/bin/env python3
"""rhumb diff under mpirun: the numbers of one process, whatever the number of processes.

    test_mpi.py RHUMB MPIEXEC

RHUMB is built with RHUMB_MPI. Standard library only.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ROOT / "tests" / "data" / "models" / "words.gguf"
SMOL = pathlib.Path(os.environ.get("RHUMB_TEST_MODELS") or "/nowhere") / "smollm2.gguf"
RHUMB, MPIEXEC = sys.argv[1:3]
BEGINNINGS = ["The mayor of", "I love", "a walk in", "The city of", "the rain in", "a city in", "The rain in", "a walk to", "the snow in"]
ENDS = ["Paris", "Tokyo", "rain", "snow"]


def differ(a, b, at=""):
    """The largest relative difference of numbers; everything else is equal, seconds aside."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        return max([differ(a[k], b[k], f"{at}.{k}") for k in a if not k.startswith("seconds")] + [0])
    if isinstance(a, list):
        assert len(a) == len(b), at
        return max([differ(x, y, f"{at}[{i}]") for i, (x, y) in enumerate(zip(a, b))] + [0])
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) / max(1, abs(a))
    assert a == b, (at, a, b)
    return 0


class Mpi(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.dir = pathlib.Path(self.place.name)
        (self.dir / "pairs.csv").write_text("positive,negative\n" + "".join(
            f"{a} San Francisco,{a} {b}\n" for a in BEGINNINGS for b in ENDS))
        # Containers run as root and have few processors; both are fine for a test.
        self.env = {**os.environ, "XDG_CACHE_HOME": str(self.dir / "cache"), "HOME": str(self.dir),
                    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_btl_base_warn_component_unused": "0"}

    def run_with(self, processes, *arguments):
        front = [MPIEXEC, "-n", str(processes)] if processes else []
        return subprocess.run([*front, RHUMB, "diff", *map(str, arguments)], cwd=self.dir, env=self.env, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=600)

    def json_with(self, processes, *arguments):
        done = self.run_with(processes, *arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1, "one process speaks")
        self.assertEqual(os.listdir(self.dir / "cache" / "rhumb" / "states"), [])
        return json.loads(done.stdout)

    def test_two_processes(self):
        alone = self.json_with(0, WORDS, "pairs.csv")
        for processes in (1, 2, 3):
            with self.subTest(processes=processes):
                self.assertLessEqual(differ(alone, self.json_with(processes, WORDS, "pairs.csv")), 1e-6)

    @unittest.skipUnless(SMOL.is_file(), "RHUMB_TEST_MODELS has no smollm2.gguf")
    def test_a_real_model(self):
        arguments = (SMOL, ROOT / "examples" / "sf.csv", "--layers", "3,16", "--permutations", "20")
        self.assertLessEqual(differ(self.json_with(0, *arguments), self.json_with(2, *arguments)), 1e-6)

    def test_the_vector_is_written_once(self):
        done = self.run_with(2, WORDS, "pairs.csv", "-o", "v.safetensors", "--svg", "p.svg")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(p.name for p in self.dir.glob("*.*")), ["p.svg", "pairs.csv", "v.safetensors"])

    def test_faults_end_all(self):
        for arguments, words in (((WORDS, "nothing.csv"), "nothing.csv"), (("no-model", "pairs.csv"), "no-model"),
                                 ((WORDS, "pairs.csv", "--layers", "7"), "layers 0..2"),
                                 ((WORDS, "pairs.csv", "-o", "/dev/full"), "/dev/full")):
            with self.subTest(words=words):
                done = self.run_with(2, *arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
                self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

"""--device: what is said where there is no GPU, and what is not."""
import pathlib

from harness import RHUMB, TINY, main

OBJECT = "librhumb-cuda.so"
TRACE = ["trace", TINY, "--tokens", "1", "-o", "t.safetensors"]
WITH_CUDA = (pathlib.Path(RHUMB).parent / OBJECT).exists()


def test_a_program_without_cuda_says_so_only_if_asked(place):
    if WITH_CUDA:
        return  # the build has it; what it says then is in tests/cuda
    place.ok(*TRACE, "--device", "cpu")
    for arguments in (TRACE, [*TRACE, "--device", "auto"]):
        r = place.ok(*arguments)
        assert "CUDA" not in r.err, r
    r = place.run(*TRACE, "--device", "cuda")
    assert r.code == 1 and not r.out, r
    assert r.err == ("rhumb: error: no CUDA here: librhumb-cuda.so is not installed\n"
                     "help: build with cmake --preset cuda, or use --device cpu\n"), r


def test_an_object_that_does_not_load_is_told_once(place):
    place.write(OBJECT, "no object at all")
    place.env["LD_LIBRARY_PATH"] = str(place.dir)
    r = place.run(*TRACE, "--device", "cuda")
    assert r.code == 1 and r.err.startswith(f"rhumb: error: no CUDA here: {place.dir}/{OBJECT}: "), r
    assert "help: install CUDA's libraries, or use --device cpu\n" in r.err, r
    assert place.run(*TRACE, "--device", "cuda", "--json").code == 1
    r = place.ok(*TRACE)
    notes = [line for line in r.err.splitlines() if "CUDA" in line]
    assert len(notes) == 1 and notes[0].startswith("rhumb: note: on the CPU: no CUDA here: "), r
    assert "(--device cpu looks for no GPU)" in notes[0], r
    place.json(*TRACE)  # nothing of it on stdout
    assert "CUDA" not in place.ok(*TRACE, "--device", "cpu").err
    assert "CUDA" not in place.ok(*TRACE, "--isa", "generic").err


def test_an_instruction_set_is_the_cpus(place):
    r = place.run(*TRACE, "--device", "cuda", "--isa", "avx2")
    assert r.code == 1 and "'avx2' is an instruction set of CPUs" in r.err and "the one or the other" in r.err, r


main()

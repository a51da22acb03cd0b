/* control.cpp - the emulated device's settings and counts. */
#include "tests/cuda/emulator/control.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/cuda/emulator/state.h"

namespace emu {

static void read_number(const char *name, void (*take)(device_state &, unsigned long long), device_state &d)
{
    const char *text = getenv(name);
    if (text) take(d, strtoull(text, NULL, 10));
}

/* At the end, and when no memory is left or to be had: a program may leave by _exit. */
void write_counts()
{
    const char *path = getenv("RH_CUDA_EMULATOR_COUNTS");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    const rh_emulator_counts &c = device().counts;
    const struct { const char *name; uint64_t n; } rows[] = {
        {"mallocs", c.mallocs}, {"launches", c.launches}, {"gemms", c.gemms}, {"to_device", c.to_device},
        {"to_host", c.to_host}, {"bytes_to_device", c.bytes_to_device}, {"bytes_to_host", c.bytes_to_host},
        {"captures", c.captures}, {"instantiations", c.instantiations}, {"graph_launches", c.graph_launches},
        {"synchronisations", c.synchronisations}, {"memory", c.memory}, {"most_memory", c.most_memory}};
    for (const auto &row : rows) fprintf(f, "%s %llu\n", row.name, (unsigned long long)row.n);
    fclose(f);
}

static device_state from_environment()
{
    typedef unsigned long long number;
    device_state d;
    read_number("RH_CUDA_EMULATOR_SEED", [](device_state &s, number n) { s.seed = s.random = n; }, d);
    read_number("RH_CUDA_EMULATOR_MEMORY", [](device_state &s, number n) { s.memory = n; }, d);
    read_number("RH_CUDA_EMULATOR_FAIL_MALLOC", [](device_state &s, number n) { s.fail_malloc = (int)n; }, d);
    read_number("RH_CUDA_EMULATOR_FAIL_LAUNCH", [](device_state &s, number n) { s.fail_launch = (int)n; }, d);
    read_number("RH_CUDA_EMULATOR_DEVICES", [](device_state &s, number n) { s.devices = (int)n; }, d);
    read_number("RH_CUDA_EMULATOR_DRIVER", [](device_state &s, number n) { s.driver = (int)n; }, d);
    read_number("RH_CUDA_EMULATOR_CAPABILITY", [](device_state &s, number n) { s.capability = (int)n; }, d);
    read_number("RH_CUDA_EMULATOR_TRACE", [](device_state &s, number n) { s.trace = n != 0; }, d);
    if (getenv("RH_CUDA_EMULATOR_COUNTS")) atexit(write_counts);
    return d;
}

device_state &device()
{
    static device_state state = from_environment();
    return state;
}

uint64_t seed() { return device().seed; }

uint32_t random_below(uint32_t n)
{
    uint64_t z = device().random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)((z >> 32) * n >> 32);
}

} // namespace emu

void rh_emulator_seed(uint64_t seed) { emu::device().seed = emu::device().random = seed; }
void rh_emulator_memory(size_t bytes) { emu::device().memory = bytes; }
void rh_emulator_fail_malloc(int n) { emu::device().fail_malloc = n; }
void rh_emulator_fail_launch(int n, int cuda_error)
{
    emu::device().fail_launch = n;
    emu::device().launch_error = cuda_error;
}
void rh_emulator_device(int count, int driver, int capability)
{
    emu::device().devices = count;
    emu::device().driver = driver;
    emu::device().capability = capability;
}
rh_emulator_counts rh_emulator_counted(void) { return emu::device().counts; }

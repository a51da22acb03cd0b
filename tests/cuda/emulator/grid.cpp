/* grid.cpp - runs the blocks of a grid, one after the other, each with its threads as fibers.
 *
 * Places 0 .. n-1 of a block are its threads in the order in which they run: warps in random order, the lanes of each
 * in random order. A thread runs until it meets others; then the next place of its warp does, round and round, and the
 * next warp when none of this one can. The last to come goes straight on, so a meeting costs a switch a thread.
 * Where nobody can go on and not all have ended, threads wait for what cannot happen: that is the divergence. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <numeric>
#include <vector>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/fiber.h"
#include "tests/cuda/emulator/state.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {

present now;

namespace {

enum state : uint8_t { NEW, RUNNING, AT_WARP, AT_BLOCK, DONE };

struct thread {
    fiber *stack;
    state is;
    uint16_t number; /* in the block */
    uint32_t meeting; /* that it waits for */
    site at;
    uint3 index;
};

struct warp {
    uint32_t meetings, arrived, epoch;
    site at;
    uint64_t values[2][32]; /* of even and odd meetings: the fast may begin the next while others still read the last */
};

struct block_state {
    thread places[FIBERS];
    warp warps[32]; /* of the places, not of the threads */
    int n, done, current;
    uint32_t meetings;
    int arrived, count[2];
    site at;
    fiber *free[FIBERS];
    int n_free, n_started;
} b;

const char *kernel_name;
const std::function<void()> *kernel_body;
alignas(16) unsigned char dynamic[DYNAMIC_MOST];
size_t dynamic_bytes;
uint32_t epochs; /* handed out so far, of barriers and of warps */

inline bool ready(int place)
{
    const thread &t = b.places[place];
    return t.is == NEW || (t.is == AT_WARP && b.warps[place / 32].meetings != t.meeting) ||
           (t.is == AT_BLOCK && b.meetings != t.meeting);
}

int farther_place()
{
    const int base = b.current & ~31;
    for (int k = 2; k < 32; k++) {
        const int place = base | ((b.current + k) & 31);
        if (ready(place)) return place;
    }
    for (int k = 32; k < b.n; k++) {
        const int place = (base + k) % b.n;
        if (ready(place)) return place;
    }
    return -1;
}

inline int next_place()
{
    const int place = (b.current & ~31) | ((b.current + 1) & 31);
    return ready(place) ? place : farther_place();
}

inline void enter(int place)
{
    thread &t = b.places[place];
    b.current = place;
    t.is = RUNNING;
    threadIdx = t.index;
    now.thread = t.number;
    now.lane = t.number % 32;
    now.warp_epoch = b.warps[place / 32].epoch;
}

void print_thread(char *out, size_t size, const thread &t)
{
    if (t.is == DONE)
        snprintf(out, size, "thread (%u, %u, %u) has ended", t.index.x, t.index.y, t.index.z);
    else
        snprintf(out, size, "thread (%u, %u, %u) waits at %s (%s:%d)", t.index.x, t.index.y, t.index.z, t.at.what,
                 t.at.file, t.at.line);
}

/* Nobody can go on: name one who waits, and one who does not come. */
[[noreturn]] void fail_divergent()
{
    int waiting = -1, other = -1;
    for (int i = 0; i < b.n && waiting < 0; i++)
        if (b.places[i].is == AT_WARP) waiting = i;
    for (int i = 0; i < b.n && waiting < 0; i++)
        if (b.places[i].is == AT_BLOCK) waiting = i;
    const bool in_warp = b.places[waiting].is == AT_WARP;
    for (int i = in_warp ? waiting & ~31 : 0; i < (in_warp ? (waiting | 31) + 1 : b.n) && other < 0; i++)
        if (b.places[i].is != b.places[waiting].is) other = i;
    char one[400], two[400];
    enter(waiting);
    b.places[waiting].is = in_warp ? AT_WARP : AT_BLOCK;
    print_thread(one, sizeof one, b.places[waiting]);
    print_thread(two, sizeof two, b.places[other < 0 ? waiting : other]);
    fail("divergent %s: %s, but %s", in_warp ? "warp" : "barrier", one, two);
}

void thread_main();

inline __attribute__((always_inline)) void switch_from(fiber *self, int place)
{
    thread &t = b.places[place];
    if (t.is == NEW) t.stack = b.n_free ? b.free[--b.n_free] : fiber_start(b.n_started++, thread_main);
    enter(place);
    fiber_switch(self, t.stack);
}

/* The running thread waits; returns when it is entered again. */
inline __attribute__((always_inline)) void wait_for_others(state why, uint32_t meeting)
{
    thread &t = b.places[b.current];
    t.is = why;
    t.meeting = meeting;
    const int place = next_place();
    if (place < 0) fail_divergent();
    switch_from(t.stack, place);
}

/* A fiber runs one thread after the other, as long as there are new ones. It is left for one that waited when there
 * are none; the next block takes it up again there. */
void thread_main()
{
    for (;;) {
        fiber *self = b.places[b.current].stack;
        (*kernel_body)();
        b.places[b.current].is = DONE;
        b.done++;
        const int place = next_place();
        if (place >= 0 && b.places[place].is == NEW) {
            b.places[place].stack = self;
            enter(place);
            continue;
        }
        if (place < 0 && b.done < b.n) fail_divergent();
        b.free[b.n_free++] = self;
        if (place < 0)
            fiber_switch(self, &host);
        else
            switch_from(self, place);
    }
}

void shuffle(int *x, int n)
{
    for (int i = n - 1; i > 0; i--) std::swap(x[i], x[random_below((uint32_t)i + 1)]);
}

void begin_block(uint64_t number)
{
    int warps[32], lanes[32];
    blockIdx = {(unsigned)(number % gridDim.x), (unsigned)(number / gridDim.x % gridDim.y),
                (unsigned)(number / gridDim.x / gridDim.y)};
    std::iota(warps, warps + 32, 0);
    std::iota(lanes, lanes + 32, 0);
    shuffle(warps, b.n / 32);
    b.done = b.arrived = b.count[0] = b.count[1] = 0;
    b.meetings = 0;
    now.epoch = now.first_epoch = ++epochs;
    for (int i = 0; i < b.n; i++) {
        if (i % 32 == 0) {
            shuffle(lanes, 32);
            b.warps[i / 32].meetings = b.warps[i / 32].arrived = 0;
            b.warps[i / 32].epoch = ++epochs;
        }
        const unsigned t = (unsigned)(warps[i / 32] * 32 + lanes[i % 32]);
        thread &p = b.places[i];
        p.is = NEW;
        p.number = (uint16_t)t;
        p.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    }
}

} // namespace

void fail(const char *format, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (kernel_name)
        fprintf(stderr, "cuda emulator: kernel %s, block (%u, %u, %u), thread (%u, %u, %u), seed %llu: %s\n", kernel_name,
                blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, (unsigned long long)seed(), text);
    else
        fprintf(stderr, "cuda emulator: %s\n", text);
    abort();
}

void fail_shared(const char *array, size_t i, size_t n, const char *what, int other)
{
    char who[40] = "";
    if (other >= 0) snprintf(who, sizeof who, " thread %d", other);
    if (i >= n) fail("shared %s[%lld] %s: it has %zu elements", array, (long long)i, what, n);
    fail("shared %s[%zu]: %s%s", array, i, what, who);
}

const uint64_t *meet_warp(uint64_t mine, unsigned mask, site at, bool orders_memory)
{
    if (!kernel_name) fail("%s outside of a kernel", at.what);
    warp &w = b.warps[b.current / 32];
    if (mask != ~0u) fail("%s (%s:%d): the mask is %08x, not the whole warp", at.what, at.file, at.line, mask);
    if (!w.arrived) {
        w.at = at;
    } else if (w.at.line != at.line || w.at.what != at.what || w.at.file != at.file) {
        fail("divergent warp: other lanes wait at %s (%s:%d), this one comes to %s (%s:%d)", w.at.what, w.at.file,
             w.at.line, at.what, at.file, at.line);
    }
    const uint32_t meeting = w.meetings;
    uint64_t *values = w.values[meeting & 1];
    values[now.lane] = mine;
    b.places[b.current].at = at;
    if (++w.arrived == 32) {
        w.arrived = 0;
        w.meetings++;
        if (orders_memory) w.epoch = now.warp_epoch = ++epochs;
    } else {
        wait_for_others(AT_WARP, meeting);
    }
    return values;
}

int meet_block(int mine, site at)
{
    if (!kernel_name) fail("%s outside of a kernel", at.what);
    const uint32_t meeting = b.meetings;
    int *count = &b.count[meeting & 1];
    if (!b.arrived) {
        b.at = at;
        *count = 0;
    } else if (b.at.line != at.line || b.at.what != at.what || b.at.file != at.file) {
        fail("divergent barrier: others wait at %s (%s:%d), this thread comes to %s (%s:%d)", b.at.what, b.at.file,
             b.at.line, at.what, at.file, at.line);
    }
    *count += mine != 0;
    b.places[b.current].at = at;
    if (++b.arrived == b.n) {
        b.arrived = 0;
        b.meetings++;
        now.epoch = ++epochs;
    } else {
        wait_for_others(AT_BLOCK, meeting);
    }
    return *count;
}

void *dynamic_shared(size_t *bytes)
{
    *bytes = dynamic_bytes;
    return dynamic;
}

const char *running_kernel() { return kernel_name; }

void run_grid(const char *kernel, dim3 grid, dim3 block, size_t shared, const std::function<void()> &body)
{
    const uint64_t n_blocks = (uint64_t)grid.x * grid.y * grid.z;
    std::vector<uint64_t> order(n_blocks);
    std::iota(order.begin(), order.end(), 0);
    for (uint64_t i = n_blocks - 1; i > 0; i--) std::swap(order[i], order[random_below((uint32_t)i + 1)]);
    gridDim = grid;
    blockDim = block;
    dynamic_bytes = shared;
    kernel_body = &body;
    b.n = (int)(block.x * block.y * block.z);
    b.n_free = b.n_started = 0;
    kernel_name = kernel;
    for (uint64_t i = 0; i < n_blocks; i++) {
        begin_block(order[i]);
        switch_from(&host, 0);
    }
    kernel_name = NULL;
}

} // namespace emu

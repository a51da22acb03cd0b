/* memory.cpp - the device's memory: allocations in a range of addresses of their own, each ending at a guard page.
 *
 *   | guard | canary ... p [bytes] canary (< 16) | guard |
 *
 * p is a multiple of 16, so at most 15 bytes are left before the guard. Reads and writes beyond it fault, and so do
 * those of freed memory, whose addresses are not given out again. Fresh memory holds signalling NaNs, as floats of 32
 * bits and of 16, which as integers are large. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <map>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/fiber.h"
#include "tests/cuda/emulator/state.h"

namespace emu {

namespace {

enum : size_t { PAGE = 4096, ARENA = (size_t)1 << 38, FRONT = 128 };
const uint32_t FRESH = 0x7fa17fa1;
const uint8_t CANARY = 0xc5;

struct allocation {
    char *p;
    size_t bytes;
    bool freed;
};
std::map<uintptr_t, allocation> allocations; /* by their guard page's address */
std::map<uintptr_t, size_t> pinned;
char *arena, *arena_next;

size_t pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

bool open_arena()
{
    if (arena) return true;
    void *p = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    arena = arena_next = (char *)p;
    return true;
}

/* The last allocation that begins at or before p, or NULL. */
const allocation *before(const void *p)
{
    auto it = allocations.upper_bound((uintptr_t)p);
    return it == allocations.begin() ? NULL : &std::prev(it)->second;
}

void check_canary(const allocation &a, const char *who)
{
    const uintptr_t start = (uintptr_t)a.p / PAGE * PAGE;
    const char *front = (uintptr_t)a.p - start > FRONT ? a.p - FRONT : (const char *)start;
    for (const char *c = front; c < a.p; c++)
        if ((uint8_t)*c != CANARY) fail("%s wrote %zd bytes before an allocation of %zu bytes", who, a.p - c, a.bytes);
    for (const char *c = a.p + a.bytes; (uintptr_t)c % PAGE; c++)
        if ((uint8_t)*c != CANARY)
            fail("%s wrote %zd bytes after the end of an allocation of %zu bytes", who, c - a.p - (ptrdiff_t)a.bytes, a.bytes);
}

} // namespace

bool on_device(const void *p) { return arena && (const char *)p >= arena && (const char *)p < arena + ARENA; }

bool is_pinned(const void *p)
{
    auto it = pinned.upper_bound((uintptr_t)p);
    return it != pinned.begin() && (uintptr_t)p < std::prev(it)->first + std::prev(it)->second;
}

void check_canaries(const char *kernel)
{
    char who[200];
    snprintf(who, sizeof who, "kernel %s", kernel);
    for (const auto &a : allocations)
        if (!a.second.freed) check_canary(a.second, who);
}

void check_device(const void *p, size_t bytes, const char *what)
{
    const char *c = (const char *)p;
    if (!bytes) return;
    if (!on_device(p)) fail("%s: %p is not memory of the device", what, p);
    const allocation *a = before(p);
    if (!a) fail("%s: %p lies in no allocation", what, p);
    if (a->freed) fail("%s: %p lies in freed memory", what, p);
    if (c < a->p || c + bytes > a->p + a->bytes)
        fail("%s: %zu bytes at %zd of an allocation of %zu bytes", what, bytes, c - a->p, a->bytes);
}

/* ---- faults */

static struct sigaction old_segv, old_bus;
static char alternate[64 * 1024];
static stack_t old_stack;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    const char *p = (const char *)info->si_addr;
    if (fiber_overflow(p)) fail("a thread's stack of %d bytes overflows", FIBER_STACK);
    if (!on_device(p)) fail("reads or writes at %p, which is not memory of the device", (const void *)p);
    auto next = allocations.upper_bound((uintptr_t)p);
    if (next != allocations.begin() && std::prev(next)->second.p > p) --next; /* p is in the guard before it */
    const allocation *below = next == allocations.begin() ? NULL : &std::prev(next)->second;
    const allocation *above = next == allocations.end() ? NULL : &next->second;
    if (below && below->freed && p < below->p + pages(below->bytes))
        fail("reads or writes byte %zd of freed memory of %zu bytes", p - below->p, below->bytes);
    const ptrdiff_t past = below ? p - (below->p + below->bytes) : PTRDIFF_MAX, to_go = above ? above->p - p : PTRDIFF_MAX;
    if (below && past <= to_go) fail("reads or writes %zd bytes after the end of an allocation of %zu bytes", past, below->bytes);
    if (above) fail("reads or writes %zd bytes before an allocation of %zu bytes", to_go, above->bytes);
    fail("reads or writes at %p, in no allocation", (const void *)p);
}

void catch_faults()
{
    stack_t stack = {};
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    sigaltstack(&stack, &old_stack);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &old_segv);
    sigaction(SIGBUS, &action, &old_bus);
}

void release_faults()
{
    sigaction(SIGSEGV, &old_segv, NULL);
    sigaction(SIGBUS, &old_bus, NULL);
    sigaltstack(&old_stack, NULL);
}

} // namespace emu

using namespace emu;

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    device_state &d = device();
    if (!p) return keep_error(cudaErrorInvalidValue);
    *p = NULL;
    if (capturing()) return keep_error(cudaErrorStreamCaptureUnsupported);
    d.counts.mallocs++;
    if (d.fail_malloc && !--d.fail_malloc) {
        write_counts();
        return keep_error(cudaErrorMemoryAllocation);
    }
    if (!bytes) return cudaSuccess;
    const size_t room = pages((bytes + 15) / 16 * 16);
    if (bytes > d.memory || d.counts.memory + bytes > d.memory || !open_arena()) return keep_error(cudaErrorMemoryAllocation);
    if (arena_next + room + 2 * PAGE > arena + ARENA) fail("cudaMalloc: all addresses have been given out");
    char *start = arena_next + PAGE;
    if (mprotect(start, room, PROT_READ | PROT_WRITE)) return keep_error(cudaErrorMemoryAllocation);
    allocation a = {start + room - (bytes + 15) / 16 * 16, bytes, false};
    memset(start, CANARY, (size_t)(a.p - start));
    for (size_t i = 0; i < (bytes + 3) / 4; i++) memcpy(a.p + 4 * i, &FRESH, 4);
    memset(a.p + bytes, CANARY, (size_t)(start + room - (a.p + bytes)));
    allocations[(uintptr_t)arena_next] = a;
    arena_next = start + room;
    d.counts.memory += bytes;
    if (d.counts.memory > d.counts.most_memory) d.counts.most_memory = d.counts.memory;
    *p = a.p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (!p) return cudaSuccess;
    if (capturing()) return keep_error(cudaErrorStreamCaptureUnsupported);
    drain_all();
    auto it = allocations.upper_bound((uintptr_t)p);
    if (it == allocations.begin() || (--it)->second.p != p) fail("cudaFree of %p, which cudaMalloc did not give", p);
    allocation &a = it->second;
    if (a.freed) fail("cudaFree of %p for the second time", p);
    check_canary(a, "somebody");
    a.freed = true;
    device().counts.memory -= a.bytes;
    char *start = (char *)it->first + PAGE;
    const size_t room = (size_t)(a.p + (a.bytes + 15) / 16 * 16 - start);
    mmap(start, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (!device().counts.memory) write_counts();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = device().memory;
    *free = device().memory > device().counts.memory ? device().memory - device().counts.memory : 0;
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned int flags)
{
    (void)flags;
    if (!p) return keep_error(cudaErrorInvalidValue);
    if (capturing()) return keep_error(cudaErrorStreamCaptureUnsupported);
    *p = bytes ? aligned_alloc(PAGE, pages(bytes)) : NULL;
    if (bytes && !*p) return keep_error(cudaErrorMemoryAllocation);
    if (*p) pinned[(uintptr_t)*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *p)
{
    if (!p) return cudaSuccess;
    drain_all();
    if (!pinned.erase((uintptr_t)p)) fail("cudaFreeHost of %p, which cudaHostAlloc did not give", p);
    free(p);
    return cudaSuccess;
}

#include "tests/cuda/emulator/fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu {

fiber host;
static fiber fibers[FIBERS];
static char *stacks; /* FIBERS of a guard page and a stack */
enum { GUARD = 4096, PITCH = FIBER_STACK + GUARD };

static void reserve_stacks()
{
    void *p = mmap(NULL, (size_t)FIBERS * PITCH + GUARD, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED) {
        fputs("cuda emulator: no memory for the threads' stacks\n", stderr);
        abort();
    }
    stacks = (char *)p;
    for (int i = 0; i <= FIBERS; i++) mprotect(stacks + (size_t)i * PITCH, GUARD, PROT_NONE);
}

#ifdef EMU_ASAN
static fiber *left; /* who was left last */

void fiber_leaving(fiber *from, fiber *to)
{
    left = from;
    __sanitizer_start_switch_fiber(&from->fake, to->low, to->size);
}

void fiber_arrived(fiber *self)
{
    const void *low;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake, &low, &size);
    if (left == &host) host.low = (char *)(uintptr_t)low, host.size = size;
}
#endif

static void begin()
{
    const char *here = (const char *)__builtin_frame_address(0);
    fiber *self = &fibers[(here - stacks) / PITCH];
#ifdef EMU_ASAN
    fiber_arrived(self);
#endif
    self->run();
    abort();
}

fiber *fiber_start(int i, void (*run)())
{
    if (!stacks) reserve_stacks();
    fiber *f = &fibers[i];
    f->low = stacks + (size_t)i * PITCH + GUARD;
    f->size = FIBER_STACK;
    f->fake = NULL;
    f->run = run;
#ifdef EMU_ASAN
    __asan_unpoison_memory_region(f->low, FIBER_STACK); /* of frames that were left and never returned */
#endif
    /* Stacks begin at different places of their pages, or all would fall on the same lines of the cache. */
    const size_t colour = (size_t)(i * 5 % 32) * 128;
#ifdef __x86_64__
    void **top = (void **)(f->low + FIBER_STACK - colour - 64);
    top[0] = NULL;
    *--top = NULL; /* where begin would return to: 8 beside a multiple of 16, as after a call */
    *--top = (void *)(uintptr_t)begin;
    f->sp = top;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->low;
    f->context.uc_stack.ss_size = FIBER_STACK - colour;
    f->context.uc_link = NULL;
    makecontext(&f->context, begin, 0);
#endif
    return f;
}

bool fiber_overflow(const void *p)
{
    const char *c = (const char *)p;
    return stacks && c >= stacks && c < stacks + (size_t)FIBERS * PITCH + GUARD && (c - stacks) % PITCH < GUARD;
}

} // namespace emu

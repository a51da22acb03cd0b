/* fiber.cpp - on x86-64 a switch is a few instructions; elsewhere it is ucontext's, which asks the kernel for the
 * signal mask each time. The address sanitizer is told of each switch. */
#include "fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emu {

struct fiber {
#ifdef __x86_64__
    void *sp; /* while it is left: where the kept registers are */
#else
    ucontext_t context;
#endif
    char *low; /* the stack's lowest byte; NULL for the host */
    size_t size;
    void *fake; /* the sanitizer's, while it is left */
    void (*run)();
};

static fiber fibers[FIBERS], host;
static char *stacks; /* FIBERS of a guard page and a stack */
static fiber *left;  /* who was left for the fiber that starts now */
enum { GUARD = 4096, PITCH = FIBER_STACK + GUARD };

#ifdef __x86_64__
/* Keeps the registers that a call may not change on the stack that is left, and takes those of the other. */
extern "C" void emu_switch_stacks(void **save, void *to) __attribute__((visibility("hidden")));
asm(R"(
.text
.hidden emu_switch_stacks
.globl emu_switch_stacks
.type emu_switch_stacks, @function
emu_switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch_stacks, .-emu_switch_stacks
)");
#endif

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

static void arrived(fiber *self)
{
#ifdef EMU_ASAN
    const void *low;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake, &low, &size);
    if (left == &host) host.low = (char *)(uintptr_t)low, host.size = size;
#else
    (void)self;
#endif
}

static void begin()
{
    fiber *self = NULL;
    const char *here = (const char *)__builtin_frame_address(0);
    self = &fibers[(here - stacks) / PITCH];
    arrived(self);
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
    *--top = NULL; /* the return address of begin, which has none; begin's own below is at a multiple of 16 */
    *--top = (void *)(uintptr_t)begin;
    for (int r = 0; r < 6; r++) *--top = NULL;
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

void fiber_switch(fiber *from, fiber *to)
{
    if (!from) from = &host;
    if (!to) to = &host;
    left = from;
#ifdef EMU_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->low, to->size);
#endif
#ifdef __x86_64__
    emu_switch_stacks(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
    arrived(from);
}

bool fiber_overflow(const void *p)
{
    const char *c = (const char *)p;
    return stacks && c >= stacks && c < stacks + (size_t)FIBERS * PITCH + GUARD && (c - stacks) % PITCH < GUARD;
}

} // namespace emu

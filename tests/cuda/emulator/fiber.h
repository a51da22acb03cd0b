/* fiber.h - stacks that can be left and entered again: the threads of a block. On x86-64 a switch is a few instructions
 * where it stands, for calls and returns around it would be predicted wrong each time; elsewhere it is ucontext's, which
 * asks the kernel for the signal mask. The address sanitizer is told of each switch. */
#ifndef RH_EMULATOR_FIBER_H
#define RH_EMULATOR_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emu {

enum { FIBER_STACK = 64 * 1024, FIBERS = 1024 };

struct fiber {
#ifdef __x86_64__
    void *sp; /* while it is left: what to go on with lies there */
#else
    ucontext_t context;
#endif
    char *low; /* the stack's lowest byte; NULL for the host */
    size_t size;
    void *fake; /* the sanitizer's, while it is left */
    void (*run)();
};
extern fiber host; /* the thread that runs grids */

/* Fiber i of FIBERS, which runs `run` (that never returns) from its start when it is next entered. */
fiber *fiber_start(int i, void (*run)());
/* Is p in the guard under a fiber's stack? */
bool fiber_overflow(const void *p);
void fiber_leaving(fiber *from, fiber *to); /* for the sanitizer */
void fiber_arrived(fiber *self);

/* Leave the running fiber for another. */
static inline __attribute__((always_inline)) void fiber_switch(fiber *from, fiber *to)
{
#ifdef EMU_ASAN
    fiber_leaving(from, to);
#endif
#ifdef __x86_64__
    void **save = &from->sp, *sp = to->sp;
    asm volatile("leaq -128(%%rsp), %%rsp\n\t" /* what leaves may have below its stack pointer */
                 "pushq %%rbp\n\t"
                 "pushq %%rbx\n\t"
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "movq %%rsp, (%0)\n\t"
                 "movq %1, %%rsp\n\t"
                 "popq %%rax\n\t"
                 "jmpq *%%rax\n\t"
                 "1:\n\t"
                 "popq %%rbx\n\t"
                 "popq %%rbp\n\t"
                 "leaq 128(%%rsp), %%rsp"
                 : "+D"(save), "+S"(sp)
                 :
                 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
                   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc",
                   "memory");
#else
    swapcontext(&from->context, &to->context);
#endif
#ifdef EMU_ASAN
    fiber_arrived(from);
#endif
}

} // namespace emu

#endif

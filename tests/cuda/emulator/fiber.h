/* fiber.h - stacks that can be left and entered again: the threads of a block. */
#ifndef RH_EMULATOR_FIBER_H
#define RH_EMULATOR_FIBER_H

#include <stddef.h>

namespace emu {

enum { FIBER_STACK = 64 * 1024, FIBERS = 1024 };

struct fiber;

/* Fiber i of FIBERS, which runs `run` (that never returns) from its start when it is next entered. */
fiber *fiber_start(int i, void (*run)());
/* Leave the running fiber, or the thread of the host if it is NULL, for `to` (NULL: the host). */
void fiber_switch(fiber *from, fiber *to);
/* Is p in the guard under a fiber's stack? */
bool fiber_overflow(const void *p);

} // namespace emu

#endif

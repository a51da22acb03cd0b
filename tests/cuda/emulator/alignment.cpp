/* alignment.cpp - kernels are compiled with -fsanitize=alignment, and this is whom the check calls: a load of 16 bytes
 * at an address that is no multiple of 16 is a fault on a device. The layouts are those of the compilers' runtime. */
#include <stdint.h>

#include "tests/cuda/emulator/block.h"

struct mismatch {
    const char *file;
    uint32_t line, column;
    const struct { uint16_t kind, info; char name[1]; } *type;
    uint8_t log_alignment, access;
};

extern "C" __attribute__((visibility("default"))) void __ubsan_handle_type_mismatch_v1_abort(mismatch *m, void *p);
void __ubsan_handle_type_mismatch_v1_abort(mismatch *m, void *p)
{
    emu::fail("%s:%u: %p is misaligned for %s, which wants a multiple of %d", m->file, m->line, p, m->type->name,
              1 << m->log_alignment);
}

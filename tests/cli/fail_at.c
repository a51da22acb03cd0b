/* fail_at.c - to be preloaded: allocations of the program itself, not of its libraries, are counted; with
 * FAIL_AT=n the one numbered n and, unless FAIL_ONCE is set, all behind it fail. FAIL_COUNT prints their number. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static uintptr_t from, to;
static long fail_at = -1, count;
static int ready, once;

/* The first object is the program. */
static int program(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int k = 0; k < info->dlpi_phnum; k++) {
        uintptr_t start = info->dlpi_addr + info->dlpi_phdr[k].p_vaddr;
        if (info->dlpi_phdr[k].p_type != PT_LOAD) continue;
        if (!from || start < from) from = start;
        if (start + info->dlpi_phdr[k].p_memsz > to) to = start + info->dlpi_phdr[k].p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(program, NULL);
    if (getenv("FAIL_AT")) fail_at = atol(getenv("FAIL_AT"));
    once = getenv("FAIL_ONCE") != NULL;
    ready = 1;
}

__attribute__((destructor)) static void end(void)
{
    if (getenv("FAIL_COUNT")) fprintf(stderr, "allocations: %ld\n", count);
}

static int fails(const void *caller)
{
    if (!ready || (uintptr_t)caller < from || (uintptr_t)caller >= to) return 0;
    long at = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    if (fail_at < 0 || (once ? at != fail_at : at < fail_at)) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n); }

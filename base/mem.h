/* mem.h - allocation with overflow checks, an arena, and a growing byte string.
 * Everything goes through malloc/calloc/realloc/free, so that a test can make the nth fail. */
#ifndef RH_BASE_MEM_H
#define RH_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

/* [n * size] bytes, zeroed; NULL if the product overflows or memory is out. n == 0 gives a
 * unique pointer. Freed by free(). */
void *rh_calloc(size_t n, size_t size);
void *rh_realloc_array(void *p, size_t n, size_t size); /* p stays valid on NULL */
/* 64-byte aligned, zeroed; free(). */
void *rh_calloc_aligned(size_t n, size_t size);
/* For what is large and streamed: [bytes], not zeroed, in huge pages where the system has them; free(). */
void *rh_alloc_pages(size_t bytes);
char *rh_strdup(const char *s);
char *rh_strndup(const char *s, size_t n);

/* Ensure room for n+1 items in a growing array; false on no memory, the array unchanged. */
bool rh_grow(void **items, size_t *capacity, size_t n, size_t item_size);
#define RH_GROW(items, cap, n) rh_grow((void **)&(items), &(cap), (n), sizeof *(items))

/* An arena: many small allocations of one lifetime (a parse, a plan), released whole. */
typedef struct rh_arena rh_arena;
rh_arena *rh_arena_new(void);                        /* NULL: no memory */
void *rh_arena_alloc(rh_arena *a, size_t n, size_t size); /* zeroed, aligned for any type */
char *rh_arena_strndup(rh_arena *a, const char *s, size_t n);
void rh_arena_free(rh_arena *a);

/* A growing byte string. After a failed append `failed` stays set and data is unchanged:
 * check it once at the end. Zero-initialise to start; data is NUL-terminated. */
typedef struct rh_str {
    char *data;
    size_t len, cap;
    bool failed;
} rh_str;
void rh_str_add(rh_str *s, const char *bytes, size_t n);
void rh_str_puts(rh_str *s, const char *text);
void rh_str_printf(rh_str *s, const char *format, ...) RH_PRINTF(2, 3);
void rh_str_vprintf(rh_str *s, const char *format, va_list args);
void rh_str_free(rh_str *s); /* and back to zero */

/* n or the next multiple of step, which must be within size_t. */
static inline size_t rh_round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

#endif

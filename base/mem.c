#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* false if n * size does not fit */
static bool product(size_t *bytes, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size) return false;
    *bytes = n * size;
    return true;
}

void *rh_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!product(&bytes, n, size)) return NULL;
    return bytes ? calloc(1, bytes) : calloc(1, 1);
}

void *rh_realloc_array(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!product(&bytes, n, size)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *rh_calloc_aligned(size_t n, size_t size)
{
    size_t bytes;
    if (!product(&bytes, n, size) || bytes > SIZE_MAX - 64) return NULL;
    bytes = bytes ? (bytes + 63) / 64 * 64 : 64; /* aligned_alloc wants a multiple */
    void *p = aligned_alloc(64, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void *rh_alloc_pages(size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    if (bytes < HUGE_PAGE) return aligned_alloc(64, bytes / 64 * 64 + 64);
    if (bytes > SIZE_MAX - HUGE_PAGE) return NULL;
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = aligned_alloc(HUGE_PAGE, bytes);
#ifdef MADV_HUGEPAGE
    if (p) (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice only */
#endif
    return p;
}

char *rh_strdup(const char *s)
{
    return rh_strndup(s, strlen(s));
}

char *rh_strndup(const char *s, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *copy = malloc(n + 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

bool rh_grow(void **items, size_t *capacity, size_t n, size_t item_size)
{
    if (n < *capacity) return true;
    size_t want = *capacity < 8 ? 8 : *capacity <= SIZE_MAX / 2 ? *capacity * 2 : SIZE_MAX;
    if (want <= n) {
        if (n == SIZE_MAX) return false;
        want = n + 1;
    }
    /* *items is a pointer of another type than void *: read and written as bytes. */
    void *p;
    memcpy(&p, items, sizeof p);
    p = rh_realloc_array(p, want, item_size);
    if (!p) return false;
    memcpy(items, &p, sizeof p);
    *capacity = want;
    return true;
}

/* ---- arena -------------------------------------------------------------------------- */

/* Blocks in a list, newest first; an item that does not fit gets a new block. */
typedef struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
} block;

struct rh_arena {
    block *blocks;
};

enum { BLOCK = 16 * 1024 };

rh_arena *rh_arena_new(void)
{
    return rh_calloc(1, sizeof(rh_arena));
}

void *rh_arena_alloc(rh_arena *a, size_t n, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    size_t bytes;
    if (!product(&bytes, n, size) || bytes > SIZE_MAX - sizeof(block) - align) return NULL;
    bytes = bytes ? (bytes + align - 1) / align * align : align;
    block *b = a->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t room = bytes > BLOCK ? bytes : BLOCK;
        b = calloc(1, sizeof(block) + room); /* zeroed once, handed out once */
        if (!b) return NULL;
        b->size = room;
        b->next = a->blocks;
        a->blocks = b;
    }
    char *p = (char *)b->data + b->used;
    b->used += bytes;
    return p;
}

char *rh_arena_strndup(rh_arena *a, const char *s, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *copy = rh_arena_alloc(a, n + 1, 1);
    if (copy && n) memcpy(copy, s, n);
    return copy;
}

void rh_arena_free(rh_arena *a)
{
    if (!a) return;
    for (block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

/* ---- growing byte string -------------------------------------------------------------- */

/* Room for n more bytes and the NUL. */
static bool reserve(rh_str *s, size_t n)
{
    if (s->failed) return false;
    if (n > SIZE_MAX - 1 - s->len || !RH_GROW(s->data, s->cap, s->len + n)) s->failed = true;
    return !s->failed;
}

void rh_str_add(rh_str *s, const char *bytes, size_t n)
{
    if (!reserve(s, n)) return;
    if (n) memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void rh_str_puts(rh_str *s, const char *text)
{
    rh_str_add(s, text, strlen(text));
}

void rh_str_vprintf(rh_str *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0) s->failed = true;
    else if (reserve(s, (size_t)n)) {
        vsnprintf(s->data + s->len, (size_t)n + 1, format, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

void rh_str_printf(rh_str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    rh_str_vprintf(s, format, args);
    va_end(args);
}

void rh_str_free(rh_str *s)
{
    if (!s) return;
    free(s->data);
    memset(s, 0, sizeof *s);
}

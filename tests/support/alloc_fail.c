#include "support/alloc_fail.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);

/* The blocks made while a job runs: free() may also get blocks that libc made, so that a mere
 * count would be wrong. */
typedef struct node {
    struct node *next;
    void *block;
} node;

enum { BUCKETS = 4096 };

static struct {
    pthread_mutex_t lock;
    bool on, onwards;
    int64_t made, fail_at, live; /* fail_at -1: none */
    bool failed, may_do_without;
    node *buckets[BUCKETS];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static node **bucket(const void *p)
{
    return &state.buckets[((uintptr_t)p >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 52];
}

/* true if this allocation is to fail */
static bool next_fails(void)
{
    if (!state.on) return false;
    int64_t i = state.made++;
    bool fails = state.fail_at >= 0 && (i == state.fail_at || (state.onwards && i > state.fail_at));
    state.failed |= fails;
    return fails;
}

static void remember(void *p)
{
    if (!state.on || !p) return;
    node *n = __real_malloc(sizeof *n);
    if (!n) abort();
    n->block = p;
    n->next = *bucket(p);
    *bucket(p) = n;
    state.live++;
}

/* Whether p was one of ours. */
static bool forget(void *p)
{
    for (node **at = bucket(p); *at; at = &(*at)->next) {
        if ((*at)->block != p) continue;
        node *gone = *at;
        *at = gone->next;
        __real_free(gone);
        state.live--;
        return true;
    }
    return false;
}

void *__wrap_malloc(size_t n)
{
    pthread_mutex_lock(&state.lock);
    void *p = next_fails() ? NULL : __real_malloc(n);
    remember(p);
    pthread_mutex_unlock(&state.lock);
    return p;
}

void *__wrap_calloc(size_t n, size_t size)
{
    pthread_mutex_lock(&state.lock);
    void *p = next_fails() ? NULL : __real_calloc(n, size);
    remember(p);
    pthread_mutex_unlock(&state.lock);
    return p;
}

void *__wrap_realloc(void *old, size_t n)
{
    pthread_mutex_lock(&state.lock);
    void *p = NULL;
    if (!next_fails()) {
        bool known = old && forget(old);
        p = __real_realloc(old, n);
        if (p && (known || !old)) remember(p);
        else if (known) remember(old);
    }
    pthread_mutex_unlock(&state.lock);
    return p;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    pthread_mutex_lock(&state.lock);
    void *p = next_fails() ? NULL : __real_aligned_alloc(align, n);
    remember(p);
    pthread_mutex_unlock(&state.lock);
    return p;
}

void __wrap_free(void *p)
{
    pthread_mutex_lock(&state.lock);
    if (p) forget(p);
    __real_free(p);
    pthread_mutex_unlock(&state.lock);
}

/* jansson calls its own malloc, unless told. These never fail: its lexer (2.14) goes on after a
 * failed growth of its buffer, and loses characters. */
static void *jansson_malloc(size_t n)
{
    pthread_mutex_lock(&state.lock);
    void *p = __real_malloc(n);
    remember(p);
    pthread_mutex_unlock(&state.lock);
    return p;
}

static void jansson_free(void *p)
{
    free(p);
}

static rh_status run(alloc_fail_job job, void *data, int64_t fail_at, bool onwards, rh_error *err)
{
    *err = (rh_error){ .code = RH_OK };
    state.fail_at = fail_at;
    state.onwards = onwards;
    state.failed = false;
    state.made = state.live = 0;
    state.on = true;
    json_set_alloc_funcs(jansson_malloc, jansson_free);
    rh_status status = job(data, err);
    json_set_alloc_funcs(malloc, free);
    state.on = false;
    return status;
}

static void try_failing(alloc_fail_job job, void *data, int64_t i, bool onwards)
{
    rh_error err;
    rh_status status = run(job, data, i, onwards, &err);
    const bool done = status == RH_OK && (!state.failed || state.may_do_without);
    if (!done && (status != RH_ENOMEM || err.code != RH_ENOMEM))
        fail_msg("allocation %lld failing%s: %s: %s", (long long)i, onwards ? ", and all after it" : "",
                 rh_status_name(status), err.message);
    if (state.live)
        fail_msg("allocation %lld failing%s: %lld blocks leaked", (long long)i,
                 onwards ? ", and all after it" : "", (long long)state.live);
}

int64_t alloc_fail_each(alloc_fail_job job, void *data, int64_t limit)
{
    rh_error err;
    rh_status status = run(job, data, -1, false, &err);
    int64_t n = state.made;
    if (status) fail_msg("without a failing allocation: %s: %s", rh_status_name(status), err.message);
    if (state.live) fail_msg("without a failing allocation: %lld blocks leaked", (long long)state.live);
    int64_t tries = n < limit ? n : limit;
    for (int64_t i = 0; i < tries; i++) {
        int64_t at = n <= limit ? i : (int64_t)((double)i * (double)n / (double)tries);
        try_failing(job, data, at, false);
        try_failing(job, data, at, true);
    }
    return n;
}

int64_t alloc_fail_each_or_without(alloc_fail_job job, void *data, int64_t limit)
{
    state.may_do_without = true;
    int64_t n = alloc_fail_each(job, data, limit);
    state.may_do_without = false;
    return n;
}

/* guards.h - guards of a step: tested on the backend, which also acts by them; the answers come to host memory at the
 * step's end, for counting. Knows rows of one tensor; no site, no mask. */
#ifndef RH_ENGINE_GUARDS_H
#define RH_ENGINE_GUARDS_H

#include "engine/session.h"

typedef struct rh_guards {
    rh_backend *be;
    rh_buf *flags;        /* [room] int32: the answers of the ith test at its first + row */
    int32_t *answers;     /* [room] the same, fetched */
    int32_t room, used;
    struct rh_guard_asked { const rh_guard *guard; int32_t first, n; } *asked; /* [n] rows each, below */
    size_t n, cap;
    int32_t *rows;        /* [n_rows] that were tested, test after test */
    size_t n_rows, rows_cap;
} rh_guards;              /* zero but for be to start; owner: rh_guards_free */

void rh_guards_free(rh_guards *g);
/* Forget all tests; have room for so many answers. */
rh_status rh_guards_begin(rh_guards *g, int64_t answers, rh_error *err);
/* Test rows [n] of t [active, width] against v: one more in `asked`. */
rh_status rh_guards_test(rh_guards *g, const rh_guard *guard, const rh_buf *v, const rh_buf *t, int32_t active, int32_t width,
                         const int32_t *rows, int32_t n, rh_error *err);
rh_gate rh_guards_gate(const rh_guards *g, size_t test);
/* Those of rows [n] that the gate lets through, now and in place, for what is done in host memory; returns how many. */
int32_t rh_guards_allowed(rh_guards *g, const rh_gate *gate, int32_t *rows, int32_t n);
/* At the end of a step, before and after the backend is done. */
void rh_guards_fetch(rh_guards *g);
void rh_guards_count(const rh_guards *g);

#endif

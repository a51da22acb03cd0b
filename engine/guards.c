#include "engine/guards.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void rh_guards_free(rh_guards *g)
{
    if (g->flags) g->be->ops->buf_free(g->be, g->flags);
    free(g->answers);
    free(g->asked);
    free(g->rows);
    *g = (rh_guards){.be = g->be};
}

rh_status rh_guards_begin(rh_guards *g, int64_t answers, rh_error *err)
{
    g->n = g->n_rows = 0;
    g->used = 0;
    if (answers <= g->room) return RH_OK;
    if (answers > INT32_MAX) return rh_fail(err, RH_ELIMIT, "%lld answers of guards in one step", (long long)answers);
    rh_guards_free(g);
    g->answers = rh_calloc((size_t)answers, sizeof *g->answers);
    if (!g->answers) return rh_fail_nomem(err);
    RH_TRY(g->be->ops->buf_new(g->be, &g->flags, (size_t)answers * sizeof *g->answers, err));
    g->room = (int32_t)answers;
    return RH_OK;
}

static rh_status note_rows(rh_guards *g, const int32_t *rows, int32_t n, rh_error *err)
{
    const size_t need = g->n_rows + (size_t)n;
    if (need > g->rows_cap) {
        const size_t cap = need + need / 2;
        int32_t *grown = rh_realloc_array(g->rows, cap, sizeof *grown);
        if (!grown) return rh_fail_nomem(err);
        g->rows = grown;
        g->rows_cap = cap;
    }
    if (n) memcpy(g->rows + g->n_rows, rows, (size_t)n * sizeof *rows);
    g->n_rows = need;
    return RH_OK;
}

rh_status rh_guards_test(rh_guards *g, const rh_guard *guard, const rh_buf *v, const rh_buf *t, int32_t active, int32_t width,
                         const int32_t *rows, int32_t n, rh_error *err)
{
    if (!RH_GROW(g->asked, g->cap, g->n)) return rh_fail_nomem(err);
    RH_TRY(note_rows(g, rows, n, err));
    if (n) g->be->ops->guard_rows(g->be, g->flags, g->used, t, rows, n, width, v, &guard->test);
    g->asked[g->n++] = (struct rh_guard_asked){guard, g->used, n};
    g->used += active;
    return RH_OK;
}

rh_gate rh_guards_gate(const rh_guards *g, size_t test) { return (rh_gate){g->flags, g->asked[test].first}; }

int32_t rh_guards_allowed(rh_guards *g, const rh_gate *gate, int32_t *rows, int32_t n)
{
    int32_t kept = 0, lo = n ? rows[0] : 0, hi = lo;
    for (int32_t i = 0; i < n; i++) {
        if (rows[i] < lo) lo = rows[i];
        if (rows[i] > hi) hi = rows[i];
    }
    int32_t *answers = g->answers + gate->first;
    if (n) g->be->ops->download(g->be, answers + lo, gate->flags, (size_t)(gate->first + lo) * sizeof *answers,
                                (size_t)(hi - lo + 1) * sizeof *answers);
    for (int32_t i = 0; i < n; i++)
        if (answers[rows[i]]) rows[kept++] = rows[i];
    return kept;
}

void rh_guards_fetch(rh_guards *g)
{
    if (g->used) g->be->ops->fetch(g->be, g->answers, g->flags, 0, (size_t)g->used * sizeof *g->answers);
}

void rh_guards_count(const rh_guards *g)
{
    const int32_t *rows = g->rows;
    for (size_t i = 0; i < g->n; rows += g->asked[i++].n) {
        const struct rh_guard_asked *a = &g->asked[i];
        int64_t fired = 0;
        for (int32_t r = 0; r < a->n; r++) fired += g->answers[a->first + rows[r]];
        if (a->guard->tested) *a->guard->tested += a->n;
        if (a->guard->fired) *a->guard->fired += fired;
    }
}

/* diff_design.c - labellings and halves of the groups; and the file that holds the states. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "probes/diff_parts.h"

/* ---- the design ------------------------------------------------------------------------------------ */

void rh_diff_design_free(rh_diff_design *g)
{
    if (!g) return;
    free(g->cls);
    free(g->group);
    free(g->tokens);
    free(g->marked);
    free(g->fold_start);
    free(g->mixed);
    free(g->turned);
    free(g->half);
    free(g->count);
    *g = (rh_diff_design){0};
}

/* mixed; *single: the groups of one class, those of class 1 counted. */
static void classify(rh_diff_design *g, uint8_t *seen, int32_t *single, int32_t *n_single, int32_t *n_negative)
{
    for (int32_t i = 0; i < g->n; i++) seen[g->group[i]] |= (uint8_t)(1u << g->cls[i]);
    for (int32_t k = 0; k < g->n_groups; k++) {
        g->mixed[k] = seen[k] == 3;
        if (g->mixed[k]) continue;
        single[(*n_single)++] = k;
        *n_negative += seen[k] == 2;
    }
}

static rh_status turn(rh_diff_design *g, const int32_t *single, int32_t n_single, int32_t n_negative, rh_error *err)
{
    for (int32_t v = 1; v < g->n_labellings; v++) {
        uint8_t *bits = g->turned + (size_t)v * g->row_bytes;
        for (int32_t k = 0; k < g->n_groups; k++)
            if (g->mixed[k] && rh_random_u64(g->seed, RH_DIFF_TURN + (uint64_t)v, (uint64_t)k) >> 63)
                bits[k >> 3] |= (uint8_t)(1u << (k & 7));
        RH_TRY(rh_choose_bits(bits, single, n_single, n_negative, g->seed, RH_DIFF_SHUFFLE + (uint64_t)v, err));
    }
    return RH_OK;
}

static rh_status halve(rh_diff_design *g, int32_t *all, rh_error *err)
{
    for (int32_t k = 0; k < g->n_groups; k++) all[k] = k;
    for (int32_t r = 0; r < g->n_splits; r++)
        RH_TRY(rh_choose_bits(g->half + (size_t)r * g->row_bytes, all, g->n_groups, g->n_groups / 2, g->seed,
                              RH_DIFF_HALF + (uint64_t)r, err));
    return RH_OK;
}

static void count_labels(rh_diff_design *g)
{
    double *count = g->count;
    for (int by_token = 0; by_token <= (g->marked != NULL); by_token++)
        for (int32_t v = 0; v < g->n_labellings; v++)
            for (int32_t f = 0; f < g->n_folds; f++, count += 2)
                for (int32_t i = g->fold_start[f]; i < g->fold_start[f + 1]; i++)
                    count[rh_diff_label(g, v, i)] += rh_diff_weight(g, by_token, i);
}

rh_status rh_diff_design_finish(rh_diff_design *g, int32_t permutations, rh_error *err)
{
    int32_t n_single = 0, n_negative = 0;
    uint8_t *seen = rh_calloc((size_t)g->n_groups, 1);
    int32_t *some = rh_calloc((size_t)g->n_groups, sizeof *some);
    rh_status status = RH_OK;
    g->n_labellings = permutations + 1;
    g->n_splits = RH_DIFF_SPLITS;
    g->row_bytes = ((size_t)g->n_groups + 7) / 8;
    g->mixed = rh_calloc((size_t)g->n_groups, 1);
    g->turned = rh_calloc((size_t)g->n_labellings, g->row_bytes);
    g->half = rh_calloc((size_t)g->n_splits, g->row_bytes);
    g->count = rh_calloc((size_t)g->n_labellings * (size_t)g->n_folds, 2 * 2 * sizeof *g->count);
    if (!seen || !some || !g->mixed || !g->turned || !g->half || !g->count) status = rh_fail_nomem(err);
    if (!status) {
        classify(g, seen, some, &n_single, &n_negative);
        status = turn(g, some, n_single, n_negative, err);
    }
    if (!status) status = halve(g, some, err);
    if (!status) count_labels(g);
    free(seen);
    free(some);
    return status;
}

/* ---- the store ------------------------------------------------------------------------------------- */

rh_status rh_diff_store_open(rh_diff_store *out, const char *dir, const char *name, int32_t n, int32_t d, int32_t n_sites, rh_error *err)
{
    rh_diff_store s = {.n = n, .d = d, .n_sites = n_sites};
    int64_t row = rh_diff_stride(&s) * (int64_t)sizeof(float), rows = (int64_t)n * n_sites;
    if (rows > INT64_MAX / row) return rh_fail(err, RH_ELIMIT, "the states of %d texts are too many for one file", (int)n);
    if (name) RH_TRY(rh_spill_open_kept(&s.file, &s.done, dir, name, row * rows, err));
    else RH_TRY(rh_spill_open(&s.file, dir, row * rows, err));
    if (s.done > n) s.done = 0;
    *out = s;
    return RH_OK;
}

void rh_diff_store_close(rh_diff_store *s)
{
    if (s) rh_spill_close(&s->file);
}

static int64_t offset_of(const rh_diff_store *s, int32_t site, int32_t slot)
{
    return ((int64_t)site * s->n + slot) * rh_diff_stride(s) * (int64_t)sizeof(float);
}

rh_status rh_diff_store_put(rh_diff_store *s, int32_t site, int32_t first, int32_t count, const float *rows,
                            rh_error *err)
{
    rh_window w = {0};
    size_t bytes = (size_t)count * (size_t)rh_diff_stride(s) * sizeof *rows;
    RH_TRY(rh_window_open(&w, &s->file, offset_of(s, site, first), bytes, true, err));
    memcpy(w.data, rows, bytes);
    rh_window_close(&w);
    return RH_OK;
}

/* ---- blocks of rows -------------------------------------------------------------------------------- */

rh_status rh_diff_block_new(rh_diff_block *out, const rh_diff_store *s, const rh_diff_design *g, rh_error *err)
{
    enum { BLOCK_BYTES = 4 << 20, FEWEST = 16, MOST = 1024 };
    int64_t rows = BLOCK_BYTES / ((int64_t)s->d * (int64_t)sizeof(double));
    rh_diff_block b = {.store = s, .design = g, .rows = (int32_t)(rows < FEWEST ? FEWEST : rows > MOST ? MOST : rows)};
    b.x = rh_calloc_aligned((size_t)b.rows * (size_t)s->d, sizeof *b.x);
    b.norm = rh_calloc((size_t)b.rows, sizeof *b.norm);
    if (!b.x || !b.norm) {
        rh_diff_block_free(&b);
        return rh_fail_nomem(err);
    }
    *out = b;
    return RH_OK;
}

void rh_diff_block_rewind(rh_diff_block *b, int32_t site, int32_t fold)
{
    b->site = site;
    b->fold = fold < 0 ? 0 : fold;
    b->first = b->design->fold_start[b->fold];
    b->count = 0;
}

rh_status rh_diff_block_next(bool *more, rh_diff_block *b, bool one_fold, rh_error *err)
{
    const rh_diff_design *g = b->design;
    int32_t at = b->first + b->count, fold = b->fold, d = b->store->d;
    rh_window w = {0};
    while (fold < g->n_folds && at >= g->fold_start[fold + 1]) fold++;
    *more = fold < g->n_folds && (!one_fold || fold == b->fold);
    if (!*more) return RH_OK;
    b->fold = fold;
    b->first = at;
    b->count = g->fold_start[fold + 1] - at < b->rows ? g->fold_start[fold + 1] - at : b->rows;
    size_t stride = (size_t)rh_diff_stride(b->store);
    RH_TRY(rh_window_open(&w, &b->store->file, offset_of(b->store, b->site, at), (size_t)b->count * stride * sizeof(float),
                          false, err));
    const float *rows = w.data;
    for (int32_t i = 0; i < b->count; i++) {
        const float *row = rows + (size_t)i * stride;
        for (int32_t j = 0; j < d; j++) b->x[(size_t)i * (size_t)d + (size_t)j] = (double)row[j];
        b->norm[i] = row[d];
    }
    rh_window_close(&w);
    return RH_OK;
}

void rh_diff_block_free(rh_diff_block *b)
{
    if (!b) return;
    free(b->x);
    free(b->norm);
    *b = (rh_diff_block){0};
}

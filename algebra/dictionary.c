#include "algebra/dictionary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/dictionary_internal.h"
#include "base/mem.h"
#include "base/rng.h"

enum { BLOCK_FLOATS = 1 << 24, STREAM_ROWS = 1, STREAM_DRAW = 2 }; /* p held at once: 64 MiB */

/* ---- making ----------------------------------------------------------------------------------- */

static bool learnt_new(rh_learnt *p, size_t n)
{
    p->w = rh_calloc_aligned(n, sizeof *p->w);
    p->m = rh_calloc_aligned(n, sizeof *p->m);
    p->v = rh_calloc_aligned(n, sizeof *p->v);
    return p->w && p->m && p->v;
}

static void learnt_free(rh_learnt *p)
{
    free(p->w);
    free(p->m);
    free(p->v);
}

static bool allocate(rh_dictionary *d)
{
    const size_t m = (size_t)d->o.m, width = (size_t)d->o.d, threads = (size_t)d->o.threads;
    d->block = BLOCK_FLOATS / d->o.m > 64 ? BLOCK_FLOATS / d->o.m : 64;
    d->updates = rh_calloc(m, sizeof *d->updates);
    d->idle = rh_calloc(m, sizeof *d->idle);
    d->pull = rh_calloc(m, sizeof *d->pull);
    d->gradient = rh_calloc((2 * threads + 1) * width, sizeof *d->gradient);
    d->heap = rh_calloc(threads * (size_t)d->o.k, sizeof *d->heap);
    d->codes.first = rh_calloc(m + 1, sizeof *d->codes.first);
    return learnt_new(&d->encoder, m * width) && learnt_new(&d->decoder, m * width) && learnt_new(&d->b_enc, m) &&
           learnt_new(&d->b_dec, width) && (!d->o.jumprelu || learnt_new(&d->threshold, m)) && d->updates && d->idle && d->pull &&
           d->gradient && d->heap && d->codes.first;
}

static void draw_rows(rh_dictionary *d)
{
    const int32_t width = d->o.d;
    for (int32_t i = 0; i < d->o.m; i++) {
        float *row = d->decoder.w + (size_t)i * (size_t)width;
        double square = 0;
        for (int32_t j = 0; j < width; j++) {
            row[j] = (float)rh_random_normal(d->o.seed, STREAM_ROWS, (uint64_t)i * (uint64_t)width + (uint64_t)j);
            square += (double)row[j] * row[j];
        }
        for (int32_t j = 0; j < width; j++) row[j] = (float)(row[j] / sqrt(square));
    }
    memcpy(d->encoder.w, d->decoder.w, (size_t)d->o.m * (size_t)width * sizeof(float));
}

rh_status rh_dictionary_new(rh_dictionary **out, const rh_dictionary_options *o, rh_error *err)
{
    if (o->k < 1 || o->k > o->m) return rh_fail(err, RH_EVALUE, "%d of %d features cannot be active", (int)o->k, (int)o->m);
    rh_dictionary *d = rh_calloc(1, sizeof *d);
    if (!d) return rh_fail_nomem(err);
    d->o = *o;
    if (!allocate(d)) {
        rh_dictionary_free(d);
        return rh_fail_nomem(err);
    }
    draw_rows(d);
    *out = d;
    return RH_OK;
}

static void batch_free(rh_dictionary *d)
{
    free(d->x);
    free(d->error);
    free(d->square);
    free(d->p);
    free(d->codes.start);
    d->x = d->error = d->p = NULL;
    d->square = NULL;
    d->codes.start = NULL;
    d->cap_rows = d->n = 0;
}

void rh_dictionary_free(rh_dictionary *d)
{
    if (!d) return;
    learnt_free(&d->encoder);
    learnt_free(&d->decoder);
    learnt_free(&d->b_enc);
    learnt_free(&d->b_dec);
    learnt_free(&d->threshold);
    batch_free(d);
    free(d->updates);
    free(d->idle);
    free(d->pull);
    free(d->gradient);
    free(d->heap);
    free(d->codes.index);
    free(d->codes.token);
    free(d->codes.value);
    free(d->codes.slope);
    free(d->codes.step);
    free(d->codes.near);
    free(d->codes.first);
    free(d->codes.order);
    free(d);
}

rh_status rh_dictionary_reserve(rh_dictionary *d, int32_t n, rh_error *err)
{
    if (n <= d->cap_rows) return RH_OK;
    const size_t rows = (size_t)n, width = (size_t)d->o.d;
    batch_free(d);
    d->x = rh_calloc_aligned(rows * width, sizeof *d->x);
    d->error = rh_calloc_aligned(rows * width, sizeof *d->error);
    d->square = rh_calloc(rows, sizeof *d->square);
    d->p = rh_calloc_aligned((size_t)(n < d->block ? n : d->block) * (size_t)d->o.m, sizeof *d->p);
    d->codes.start = rh_calloc(rows + 1, sizeof *d->codes.start);
    if (!d->x || !d->error || !d->square || !d->p || !d->codes.start) {
        batch_free(d);
        return rh_fail_nomem(err);
    }
    d->cap_rows = n;
    return RH_OK;
}

/* ---- features that are never active ------------------------------------------------------------- */

int32_t rh_dictionary_dead(const rh_dictionary *d, int64_t steps)
{
    int32_t n = 0;
    for (int32_t i = 0; i < d->o.m; i++) n += (double)d->idle[i] >= (double)steps;
    return n;
}

/* A row that was not drawn yet, by the square of its error; it is then marked as drawn. -1: there is none. */
static int32_t draw_token(rh_dictionary *d, double *total, uint64_t counter)
{
    double at = rh_random_unit(d->o.seed, STREAM_DRAW + (uint64_t)d->steps, counter) * *total;
    int32_t last = -1;
    for (int32_t t = 0; t < d->n; t++) {
        if (!(d->square[t] > 0)) continue;
        last = t;
        at -= d->square[t];
        if (at < 0) break;
    }
    if (last >= 0) {
        *total -= d->square[last];
        d->square[last] = 0;
    }
    return last;
}

/* Feature i begins anew: towards -error of row t, its encoder as long as the others' are on average. */
static void begin_anew(rh_dictionary *d, int32_t i, int32_t t, double length, double threshold)
{
    const int32_t width = d->o.d;
    const size_t at = (size_t)i * (size_t)width, bytes = (size_t)width * sizeof(float);
    const float *e = d->error + (size_t)t * (size_t)width;
    double square = 0;
    for (int32_t j = 0; j < width; j++) square += (double)e[j] * e[j];
    for (int32_t j = 0; j < width; j++) {
        d->decoder.w[at + (size_t)j] = (float)(-e[j] / sqrt(square));
        d->encoder.w[at + (size_t)j] = (float)(-e[j] / sqrt(square) * length);
    }
    memset(d->decoder.m + at, 0, bytes);
    memset(d->decoder.v + at, 0, bytes);
    memset(d->encoder.m + at, 0, bytes);
    memset(d->encoder.v + at, 0, bytes);
    d->b_enc.w[i] = d->b_enc.m[i] = d->b_enc.v[i] = 0;
    if (d->o.jumprelu) {
        d->threshold.w[i] = (float)threshold;
        d->threshold.m[i] = d->threshold.v[i] = 0;
    }
    d->updates[i] = d->idle[i] = 0;
}

int32_t rh_dictionary_revive(rh_dictionary *d, int64_t steps)
{
    const int32_t most = d->n / 8, dead = rh_dictionary_dead(d, steps), living = d->o.m - dead;
    double length = 0, threshold = 0, total = 0;
    int32_t n = 0;
    if (!dead || !living || !most) return 0;
    for (int32_t i = 0; i < d->o.m; i++) {
        if ((double)d->idle[i] >= (double)steps) continue;
        double square = 0;
        for (int32_t j = 0; j < d->o.d; j++) square += pow(d->encoder.w[(size_t)i * (size_t)d->o.d + (size_t)j], 2);
        length += sqrt(square) / living;
        if (d->o.jumprelu) threshold += d->threshold.w[i] / living;
    }
    for (int32_t t = 0; t < d->n; t++) total += d->square[t];
    for (int32_t i = 0; i < d->o.m && n < most; i++) {
        if ((double)d->idle[i] < (double)steps) continue;
        const int32_t t = draw_token(d, &total, (uint64_t)n);
        if (t < 0) break;
        begin_anew(d, i, t, length, threshold);
        n++;
    }
    return n;
}

/* ---- what it is made of -------------------------------------------------------------------------- */

static void list(rh_dictionary_array *out, int32_t *n, const rh_learnt *p, const char *const names[3], int64_t items)
{
    if (!p->w) return;
    out[(*n)++] = (rh_dictionary_array){names[0], p->w, items};
    out[(*n)++] = (rh_dictionary_array){names[1], p->m, items};
    out[(*n)++] = (rh_dictionary_array){names[2], p->v, items};
}

int32_t rh_dictionary_arrays(rh_dictionary_array out[RH_DICTIONARY_ARRAYS], rh_dictionary *d)
{
    const int64_t m = d->o.m, width = d->o.d;
    int32_t n = 0;
    list(out, &n, &d->encoder, (const char *const[]){"encoder", "encoder.mean", "encoder.square"}, m * width);
    list(out, &n, &d->decoder, (const char *const[]){"decoder", "decoder.mean", "decoder.square"}, m * width);
    list(out, &n, &d->b_enc, (const char *const[]){"b_enc", "b_enc.mean", "b_enc.square"}, m);
    list(out, &n, &d->b_dec, (const char *const[]){"b_dec", "b_dec.mean", "b_dec.square"}, width);
    list(out, &n, &d->threshold, (const char *const[]){"log_threshold", "log_threshold.mean", "log_threshold.square"}, m);
    out[n++] = (rh_dictionary_array){"updates", d->updates, m};
    out[n++] = (rh_dictionary_array){"idle", d->idle, m};
    return n;
}

int64_t rh_dictionary_steps(const rh_dictionary *d) { return d->steps; }
void rh_dictionary_set_steps(rh_dictionary *d, int64_t steps) { d->steps = steps; }

rh_dictionary_view rh_dictionary_look(const rh_dictionary *d)
{
    return (rh_dictionary_view){d->encoder.w, d->decoder.w, d->b_enc.w, d->b_dec.w, d->threshold.w};
}

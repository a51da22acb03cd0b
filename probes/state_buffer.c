#include "probes/state_buffer.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

enum { STREAM_ORDER = 1 << 20 };

rh_status rh_state_buffer_new(rh_state_buffer **out, int32_t d, int32_t rows, int32_t reuse, uint64_t seed, rh_error *err)
{
    rh_state_buffer *b = rh_calloc(1, sizeof *b);
    if (!b) return rh_fail_nomem(err);
    *b = (rh_state_buffer){.d = d, .rows = rows, .reuse = reuse, .seed = seed};
    b->z = rh_calloc((size_t)rows * (size_t)d, sizeof *b->z);
    b->order = rh_calloc((size_t)rows, sizeof *b->order);
    b->mean = rh_calloc((size_t)d, sizeof *b->mean);
    if (!b->z || !b->order || !b->mean) {
        rh_state_buffer_free(b);
        return rh_fail_nomem(err);
    }
    *out = b;
    return RH_OK;
}

void rh_state_buffer_free(rh_state_buffer *b)
{
    if (!b) return;
    free(b->z);
    free(b->order);
    free(b->mean);
    free(b);
}

int64_t rh_state_buffer_bytes(int32_t d, int32_t rows) { return (int64_t)rows * (2 * (int64_t)d + 4); }

/* ---- what rows are like ------------------------------------------------------------------------ */

/* The mean of rows [n, d], and √d over the mean distance from it, of rows but for a few a hundred times larger (models
 * keep such), which must not shrink the others. */
static rh_status settle(rh_state_buffer *b, const float *x, int32_t n, rh_error *err)
{
    const size_t d = (size_t)b->d;
    double *mean = rh_calloc(d, sizeof *mean);
    float *norm = rh_calloc((size_t)n, sizeof *norm);
    double sum = 0, square = 0;
    if (!mean || !norm) {
        free(mean);
        free(norm);
        return rh_fail_nomem(err);
    }
    for (int32_t t = 0; t < n; t++)
        for (size_t j = 0; j < d; j++) mean[j] += x[(size_t)t * d + j] / (double)n;
    for (int32_t t = 0; t < n; t++) {
        square = 0;
        for (size_t j = 0; j < d; j++) square += pow(x[(size_t)t * d + j] - mean[j], 2);
        norm[t] = (float)sqrt(square);
        sum += sqrt(square) / n;
    }
    /* the mean norm of those below ten times the mean so far, three times over: outliers drop out */
    for (int round = 0; round < 3; round++) {
        double kept = 0;
        int32_t count = 0;
        for (int32_t t = 0; t < n; t++)
            if (norm[t] < 10 * sum) {
                kept += norm[t];
                count++;
            }
        if (count) sum = kept / count;
    }
    for (size_t j = 0; j < d; j++) b->mean[j] = (float)mean[j];
    b->scale = sqrt((double)b->d) / sum;
    free(mean);
    free(norm);
    if (!(sum > 0)) return rh_fail(err, RH_EVALUE, "all states are alike: there is nothing to learn");
    return RH_OK;
}

/* ---- filling -------------------------------------------------------------------------------------- */

static void put(rh_state_buffer *b, const rh_state_rows *r)
{
    const size_t d = (size_t)b->d;
    for (int32_t t = 0; t < r->n; t++) {
        uint16_t *to = b->z + (size_t)b->oldest * d;
        for (size_t j = 0; j < d; j++) to[j] = rh_f32_to_bf16((float)((r->x[(size_t)t * d + j] - b->mean[j]) * b->scale));
        b->oldest = (b->oldest + 1) % b->rows;
        if (b->filled < b->rows) b->filled++;
    }
}

/* Until `wanted` rows have come, or, the first time, the files are at their end. */
static rh_status fill(rh_state_buffer *b, rh_state_source *s, int64_t wanted, rh_go_on go_on, void *data, rh_error *err)
{
    bool ended = false;
    for (int64_t come = 0; come < wanted && !ended;) {
        rh_state_rows rows;
        RH_TRY(rh_state_source_next(&rows, &ended, s, err));
        if (!b->filled && !come) RH_TRY(settle(b, rows.x, rows.n, err));
        put(b, &rows);
        come += rows.n;
        if (b->pass) ended = false;
        if (go_on && !go_on(data, come, wanted)) return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    return RH_OK;
}

/* Fisher and Yates, drawn anew for every pass. */
void rh_state_buffer_restore(rh_state_buffer *b)
{
    const int32_t n = (int32_t)b->filled;
    for (int32_t i = 0; i < n; i++) b->order[i] = i;
    for (int32_t i = n; i > 1; i--) {
        const int32_t j = (int32_t)(rh_random_u64(b->seed, STREAM_ORDER + (uint64_t)b->pass, (uint64_t)i) % (uint64_t)i), t = b->order[i - 1];
        b->order[i - 1] = b->order[j];
        b->order[j] = t;
    }
}

static rh_status next_pass(rh_state_buffer *b, rh_state_source *s, rh_go_on go_on, void *data, rh_error *err)
{
    if (!b->filled) RH_TRY(fill(b, s, b->rows, go_on, data, err));
    else if (b->filled == b->rows) RH_TRY(fill(b, s, (b->rows + b->reuse - 1) / b->reuse, go_on, data, err));
    b->pass++;
    b->drawn = 0;
    rh_state_buffer_restore(b);
    return RH_OK;
}

rh_status rh_state_buffer_draw(float *z, int32_t n, rh_state_buffer *b, rh_state_source *s, rh_go_on go_on, void *data, rh_error *err)
{
    const size_t d = (size_t)b->d;
    for (int32_t t = 0; t < n; t++) {
        if (!b->pass || b->drawn == b->filled) RH_TRY(next_pass(b, s, go_on, data, err));
        const uint16_t *from = b->z + (size_t)b->order[b->drawn++] * d;
        for (size_t j = 0; j < d; j++) z[(size_t)t * d + j] = rh_bf16_to_f32(from[j]);
    }
    return RH_OK;
}

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

/* Models keep states a hundred times longer than the others, at a token of some ten thousand: they say nothing of mean and scale. */
typedef struct typical {
    double *mean;  /* [d] */
    float *norm;   /* [n] distances from it */
    double length; /* their mean, outliers left out */
} typical;

/* Rows closer than `limit` to the mean so far make the new one. */
static void look_again(typical *y, const float *x, int32_t n, size_t d, double limit)
{
    int32_t near = 0;
    for (size_t j = 0; j < d; j++) y->mean[j] = 0;
    for (int32_t t = 0; t < n; t++) {
        if (y->norm[t] >= limit) continue;
        near++;
        for (size_t j = 0; j < d; j++) y->mean[j] += x[(size_t)t * d + j];
    }
    for (size_t j = 0; j < d; j++) y->mean[j] /= near;
    y->length = 0;
    for (int32_t t = 0; t < n; t++) {
        double square = 0;
        const bool is_near = y->norm[t] < limit;
        for (size_t j = 0; j < d; j++) square += pow(x[(size_t)t * d + j] - y->mean[j], 2);
        y->norm[t] = (float)sqrt(square);
        if (is_near) y->length += sqrt(square) / near;
    }
}

/* Mean and scale by what rows [n, d] are like, but for those that lie ten times as far out as the others. */
static rh_status settle(rh_state_buffer *b, const float *x, int32_t n, rh_error *err)
{
    enum { ROUNDS = 4, FAR_OUT = 10 };
    const size_t d = (size_t)b->d;
    typical y = {.mean = rh_calloc(d, sizeof *y.mean), .norm = rh_calloc((size_t)n, sizeof *y.norm)};
    rh_status status = y.mean && y.norm ? RH_OK : rh_fail_nomem(err);
    for (int round = 0; !status && round < ROUNDS && (!round || y.length > 0); round++)
        look_again(&y, x, n, d, round ? FAR_OUT * y.length : INFINITY);
    if (!status && !(y.length > 0)) status = rh_fail(err, RH_EVALUE, "all states are alike: there is nothing to learn");
    for (size_t j = 0; !status && j < d; j++) b->mean[j] = (float)y.mean[j];
    if (!status) b->scale = sqrt((double)b->d) / y.length;
    free(y.mean);
    free(y.norm);
    return status;
}

/* ---- filling -------------------------------------------------------------------------------------- */

/* to [d] = bf16 of (x - mean) scale, no longer than LONGEST √d. */
static void put(uint16_t *to, const rh_state_buffer *b, const float *x)
{
    const size_t d = (size_t)b->d;
    const double longest = RH_STATE_LONGEST * sqrt((double)b->d);
    double square = 0, scale = b->scale;
    for (size_t j = 0; j < d; j++) square += pow((x[j] - b->mean[j]) * b->scale, 2);
    if (square > longest * longest) scale *= longest / sqrt(square);
    for (size_t j = 0; j < d; j++) to[j] = rh_f32_to_bf16((float)((x[j] - b->mean[j]) * scale));
}

rh_status rh_state_buffer_add(rh_state_buffer *b, const rh_state_rows *r, rh_error *err)
{
    if (b->scale == 0) RH_TRY(settle(b, r->x, r->n, err));
    for (int32_t t = 0; t < r->n; t++) {
        put(b->z + (size_t)b->oldest * (size_t)b->d, b, r->x + (size_t)t * (size_t)b->d);
        b->oldest = (b->oldest + 1) % b->rows;
        if (b->filled < b->rows) b->filled++;
    }
    return RH_OK;
}

/* Until `wanted` rows have come, or, the first time, the files are at their end. */
static rh_status fill(rh_state_buffer *b, rh_state_source *s, int64_t wanted, rh_go_on go_on, void *data, rh_error *err)
{
    bool ended = false;
    for (int64_t come = 0; come < wanted && !ended;) {
        rh_state_rows rows;
        RH_TRY(rh_state_source_next(&rows, &ended, s, err));
        RH_TRY(rh_state_buffer_add(b, &rows, err));
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

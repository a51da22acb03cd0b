/* Which features of a batch's rows are active, and how much: the one dense product, and a pass over what it gives. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "algebra/dictionary_internal.h"
#include "base/mem.h"

enum { GROUP = 32 }; /* features of one look for something larger */

/* p [n, m] = x Eᵀ. BLAS is asked by one thread only: OpenBLAS without threads of its own gives wrong products, now and
 * then, to two that ask at once. */
static rh_status multiply(rh_dictionary *d, const float *x, int32_t n, rh_error *err)
{
    const int32_t m = d->o.m, width = d->o.d;
    if (d->o.product) return d->o.product(d->o.product_data, d->p, x, n, d->encoder.w, err);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, m, width, 1, x, width, d->encoder.w, width, 0, d->p, m);
    return RH_OK;
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool grow(void *items, size_t n, size_t size)
{
    void **p = items, *more = rh_realloc_array(*p, n, size);
    if (more) *p = more;
    return more != NULL;
}

static rh_status room(rh_dictionary_codes *c, int64_t n, bool near, rh_error *err)
{
    if (n <= c->cap) return RH_OK;
    if (n > INT32_MAX / 2) return rh_fail(err, RH_ELIMIT, "%lld features are active in one batch", (long long)n);
    const size_t cap = (size_t)(n + n / 4);
    bool ok = grow(&c->index, cap, sizeof *c->index) && grow(&c->token, cap, sizeof *c->token) && grow(&c->value, cap, sizeof *c->value) &&
              grow(&c->slope, cap, sizeof *c->slope) && grow(&c->order, cap, sizeof *c->order);
    if (ok && near) ok = grow(&c->near, cap, sizeof *c->near) && grow(&c->step, cap, sizeof *c->step);
    if (!ok) return rh_fail_nomem(err);
    c->cap = (int32_t)cap;
    return RH_OK;
}

/* ---- top-k ------------------------------------------------------------------------------------ */

static float largest(const float *p, int32_t n)
{
    float most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int32_t i = 0; i < n; i++) most = p[i] > most ? p[i] : most;
    return most;
}

/* heap [k] = the k largest of p [m], the least of them on top. */
static void best_k(rh_best *heap, int32_t k, const float *p, int32_t m)
{
    for (int32_t i = 0; i < k; i++) heap[i] = (rh_best){p[i], i};
    rh_best_heap(heap, k);
    for (int32_t i = k; i < m; i += GROUP) {
        const int32_t end = m - i < GROUP ? m : i + GROUP;
        if (!(largest(p + i, end - i) > heap[0].p)) continue;
        for (int32_t j = i; j < end; j++)
            if (p[j] > heap[0].p) {
                heap[0] = (rh_best){p[j], j};
                rh_best_sink(heap, k, 0);
            }
    }
}

/* ---- entries ---------------------------------------------------------------------------------- */

static float pre_activation(const rh_dictionary *d, const float *x, int32_t i)
{
    return cblas_sdot(d->o.d, x, 1, d->encoder.w + (size_t)i * (size_t)d->o.d, 1) + d->b_enc.w[i];
}

static void put_topk(rh_dictionary *d, int32_t t, const float *p)
{
    rh_dictionary_codes *c = &d->codes;
    rh_best *heap = d->heap + (size_t)omp_get_thread_num() * (size_t)d->o.k;
    best_k(heap, d->o.k, p, d->o.m);
    for (int32_t j = 0, at = c->start[t]; j < d->o.k; j++, at++) {
        const float v = d->o.product ? pre_activation(d, d->x + (size_t)t * (size_t)d->o.d, heap[j].i) : heap[j].p;
        c->index[at] = heap[j].i;
        c->token[at] = t;
        c->value[at] = v > 0 ? v : 0;
    }
}

/* Active, or so near the threshold that moving it would matter. */
static int32_t count_jumps(const rh_dictionary *d, const float *p, const float *theta)
{
    const float half = (float)(d->o.bandwidth / 2);
    int32_t n = 0;
    for (int32_t i = 0; i < d->o.m; i++) n += p[i] > theta[i] - half;
    return n;
}

static void put_jumps(rh_dictionary *d, int32_t t, const float *p, const float *theta)
{
    rh_dictionary_codes *c = &d->codes;
    const float half = (float)(d->o.bandwidth / 2);
    for (int32_t i = 0, at = c->start[t]; i < d->o.m; i++) {
        if (!(p[i] > theta[i] - half)) continue;
        c->index[at] = i;
        c->token[at] = t;
        c->value[at] = p[i] > theta[i] ? p[i] : 0;
        c->near[at++] = p[i] < theta[i] + half;
    }
}

static void add_bias(const rh_dictionary *d, int32_t n)
{
#pragma omp parallel for num_threads(d->o.threads)
    for (int32_t t = 0; t < n; t++) {
        float *p = d->p + (size_t)t * (size_t)d->o.m;
        for (int32_t i = 0; i < d->o.m; i++) p[i] += d->b_enc.w[i];
    }
}

/* Rows first .. first+n-1, whose p is there. */
static rh_status code_block(rh_dictionary *d, int32_t first, int32_t n, const float *theta, rh_error *err)
{
    rh_dictionary_codes *c = &d->codes;
#pragma omp parallel for schedule(static) num_threads(d->o.threads)
    for (int32_t t = 0; t < n; t++)
        c->start[first + t + 1] = theta ? count_jumps(d, d->p + (size_t)t * (size_t)d->o.m, theta) : d->o.k;
    int64_t total = c->start[first];
    for (int32_t t = 0; t < n; t++) {
        total += c->start[first + t + 1];
        RH_TRY(room(c, total, theta != NULL, err));
        c->start[first + t + 1] = (int32_t)total;
    }
#pragma omp parallel for schedule(static) num_threads(d->o.threads)
    for (int32_t t = 0; t < n; t++) {
        const float *p = d->p + (size_t)t * (size_t)d->o.m;
        if (theta) put_jumps(d, first + t, p, theta);
        else put_topk(d, first + t, p);
    }
    return RH_OK;
}

rh_status rh_dictionary_code(rh_dictionary *d, int32_t n, rh_error *err)
{
    float *theta = NULL;
    rh_status status = RH_OK;
    if (d->o.jumprelu) {
        theta = rh_calloc((size_t)d->o.m, sizeof *theta);
        if (!theta) return rh_fail_nomem(err);
        for (int32_t i = 0; i < d->o.m; i++) theta[i] = expf(d->threshold.w[i]);
    }
    d->codes.start[0] = 0;
    for (int32_t t = 0; !status && t < n; t += d->block) {
        const int32_t rows = n - t < d->block ? n - t : d->block;
        status = multiply(d, d->x + (size_t)t * (size_t)d->o.d, rows, err);
        if (status) break;
        add_bias(d, rows);
        status = code_block(d, t, rows, theta, err);
    }
    free(theta);
    return status;
}

/* The mean of what each of the first rows has as its k-th largest p. */
rh_status rh_dictionary_place_thresholds(rh_dictionary *d, int32_t n, rh_error *err)
{
    const int32_t rows = n < d->block ? n : d->block;
    double sum = 0;
    RH_TRY(multiply(d, d->x, rows, err));
    add_bias(d, rows);
    for (int32_t t = 0; t < rows; t++) {
        best_k(d->heap, d->o.k, d->p + (size_t)t * (size_t)d->o.m, d->o.m);
        sum += d->heap[0].p > 0 ? d->heap[0].p : 0;
    }
    const double theta = sum / rows > d->o.bandwidth ? sum / rows : d->o.bandwidth;
    for (int32_t i = 0; i < d->o.m; i++) d->threshold.w[i] = (float)log(theta);
    return RH_OK;
}

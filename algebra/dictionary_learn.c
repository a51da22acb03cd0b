/* One step: errors and slopes token by token, then each feature's gradient and update. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "algebra/dictionary_internal.h"

static const double BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8;
static const double LONGEST_ERROR = 4; /* of a jumprelu's row, in √d */
static const double THRESHOLD_RATE = 5; /* times the others': it starts from a guess */

/* ---- token by token ---------------------------------------------------------------------------- */

/* error = Σ f D + b_dec - z, and with it ∂loss/∂p of the entries. */
static void descend_token(rh_dictionary *d, const float *z, int32_t t, int32_t n) /* z [d] */
{
    const int32_t width = d->o.d;
    rh_dictionary_codes *c = &d->codes;
    float *e = d->error + (size_t)t * (size_t)width;
    for (int32_t j = 0; j < width; j++) e[j] = d->b_dec.w[j] - z[j];
    for (int32_t a = c->start[t]; a < c->start[t + 1]; a++)
        if (c->value[a] > 0) cblas_saxpy(width, c->value[a], d->decoder.w + (size_t)c->index[a] * (size_t)width, 1, e, 1);
    double square = 0;
    for (int32_t j = 0; j < width; j++) square += (double)e[j] * e[j];
    d->square[t] = square;
    const double longest = LONGEST_ERROR * sqrt(width);
    if (d->o.jumprelu && square > longest * longest) cblas_sscal(width, (float)(longest / sqrt(square)), e, 1);
    for (int32_t a = c->start[t]; a < c->start[t + 1]; a++) {
        const bool active = c->value[a] > 0, near = d->o.jumprelu && c->near[a];
        const float g = active || near ? 2 / (float)n * cblas_sdot(width, e, 1, d->decoder.w + (size_t)c->index[a] * (size_t)width, 1) : 0;
        c->slope[a] = active ? g : 0;
        if (d->o.jumprelu) c->step[a] = near ? (float)(-exp(d->threshold.w[c->index[a]]) / d->o.bandwidth) * g : 0;
    }
}

/* By feature, tokens ascending; Σ slope of each. */
static void turn(rh_dictionary *d, int32_t n)
{
    rh_dictionary_codes *c = &d->codes;
    const int32_t m = d->o.m, total = c->start[n];
    memset(c->first, 0, ((size_t)m + 1) * sizeof *c->first);
    memset(d->pull, 0, (size_t)m * sizeof *d->pull);
    for (int32_t a = 0; a < total; a++) {
        c->first[c->index[a] + 1]++;
        d->pull[c->index[a]] += c->slope[a];
    }
    for (int32_t i = 0; i < m; i++) c->first[i + 1] += c->first[i];
    for (int32_t a = 0; a < total; a++) c->order[c->first[c->index[a]]++] = a;
    for (int32_t i = m; i > 0; i--) c->first[i] = c->first[i - 1];
    c->first[0] = 0;
}

/* ---- Adam ------------------------------------------------------------------------------------- */

/* The `updates`th update of p->w[at .. at+n-1], counted from 1. */
static void adam(const rh_learnt *p, size_t at, const float *g, int32_t n, double rate, double updates)
{
    float *w = p->w + at, *m = p->m + at, *v = p->v + at;
    const float b1 = (float)BETA1, b2 = (float)BETA2, eps = (float)EPSILON;
    const float size = (float)(rate / (1 - pow(BETA1, updates))), whole = (float)(1 / (1 - pow(BETA2, updates)));
    for (int32_t j = 0; j < n; j++) {
        m[j] = b1 * m[j] + (1 - b1) * g[j];
        v[j] = b2 * v[j] + (1 - b2) * g[j] * g[j];
        w[j] -= size * m[j] / (sqrtf(v[j] * whole) + eps);
    }
}

/* ---- feature by feature -------------------------------------------------------------------------- */

static void unit(float *w, int32_t n)
{
    const float norm = cblas_snrm2(n, w, 1);
    if (norm > 0) cblas_sscal(n, 1 / norm, w, 1);
}

static void learn_feature(rh_dictionary *d, int32_t i, int32_t n, double push, double rate)
{
    const rh_dictionary_codes *c = &d->codes;
    const int32_t width = d->o.d;
    const size_t at = (size_t)i * (size_t)width;
    float *ge = d->gradient + (size_t)omp_get_thread_num() * 2 * (size_t)width, *gd = ge + width, gt = 0;
    bool active = false, touched = false;
    memset(ge, 0, 2 * (size_t)width * sizeof *ge);
    for (int32_t o = c->first[i]; o < c->first[i + 1]; o++) {
        const int32_t a = c->order[o];
        const size_t row = (size_t)c->token[a] * (size_t)width;
        if (d->o.jumprelu && c->near[a]) {
            gt += c->step[a] - (float)(push / d->o.bandwidth);
            touched = true;
        }
        if (!(c->value[a] > 0)) continue;
        cblas_saxpy(width, c->slope[a], d->x + row, 1, ge, 1);
        cblas_saxpy(width, 2 / (float)n * c->value[a], d->error + row, 1, gd, 1);
        active = true;
    }
    d->idle[i] = active ? 0 : d->idle[i] + 1;
    if (!active && !touched) return;
    const double updates = ++d->updates[i];
    if (d->o.jumprelu) {
        gt *= expf(d->threshold.w[i]); /* of ln θ */
        adam(&d->threshold, (size_t)i, &gt, 1, THRESHOLD_RATE * rate, updates);
    }
    float *w = d->decoder.w + at;
    cblas_saxpy(width, -cblas_sdot(width, gd, 1, w, 1), w, 1, gd, 1);
    adam(&d->decoder, at, gd, width, rate, updates);
    unit(w, width);
    adam(&d->encoder, at, ge, width, rate, updates);
    adam(&d->b_enc, (size_t)i, &d->pull[i], 1, rate, updates);
}

/* z - b_dec enters p, and b_dec ẑ. */
static void slope_of_b_dec(rh_dictionary *d, int32_t n)
{
    const int32_t width = d->o.d;
    float *g = d->gradient + (size_t)d->o.threads * 2 * (size_t)width;
    memset(g, 0, (size_t)width * sizeof *g);
    for (int32_t t = 0; t < n; t++) cblas_saxpy(width, 2 / (float)n, d->error + (size_t)t * (size_t)width, 1, g, 1);
    for (int32_t i = 0; i < d->o.m; i++)
        if (d->pull[i] != 0) cblas_saxpy(width, -d->pull[i], d->encoder.w + (size_t)i * (size_t)width, 1, g, 1);
}

static rh_status measure(rh_dictionary_step *out, const rh_dictionary *d, int32_t n, rh_error *err)
{
    const rh_dictionary_codes *c = &d->codes;
    int64_t active = 0;
    *out = (rh_dictionary_step){0};
    for (int32_t t = 0; t < n; t++) out->loss += d->square[t] / n;
    for (int32_t a = 0; a < c->start[n]; a++) active += c->value[a] > 0;
    out->l0 = (double)active / n;
    if (!isfinite(out->loss)) return rh_fail(err, RH_EVALUE, "the loss is no longer a number");
    return RH_OK;
}

rh_status rh_dictionary_learn(rh_dictionary_step *out, rh_dictionary *d, const float *z, int32_t n, double rate, rh_error *err)
{
    const int32_t width = d->o.d;
    RH_TRY(rh_dictionary_reserve(d, n, err));
#pragma omp parallel for schedule(static) num_threads(d->o.threads)
    for (int32_t t = 0; t < n; t++)
        for (int32_t j = 0; j < width; j++)
            d->x[(size_t)t * (size_t)width + (size_t)j] = z[(size_t)t * (size_t)width + (size_t)j] - d->b_dec.w[j];
    if (d->o.jumprelu && !d->steps) RH_TRY(rh_dictionary_place_thresholds(d, n, err));
    RH_TRY(rh_dictionary_code(d, n, err));
#pragma omp parallel for schedule(static) num_threads(d->o.threads)
    for (int32_t t = 0; t < n; t++) descend_token(d, z + (size_t)t * (size_t)width, t, n);
    d->n = n;
    RH_TRY(measure(out, d, n, err));
    turn(d, n);
    slope_of_b_dec(d, n);
    d->steps++;
    /* sparsity d (l0/k - 1)²: what one more active feature adds to it */
    const double push = 2 * d->o.sparsity * width * (out->l0 / d->o.k - 1) / ((double)d->o.k * n);
#pragma omp parallel for schedule(dynamic, 16) num_threads(d->o.threads)
    for (int32_t i = 0; i < d->o.m; i++) learn_feature(d, i, n, push, rate);
    adam(&d->b_dec, 0, d->gradient + (size_t)d->o.threads * 2 * (size_t)width, width, rate, (double)d->steps);
    return RH_OK;
}

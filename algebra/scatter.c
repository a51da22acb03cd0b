/* scatter.c - streamed means and scatter. A block of k samples is centred on its own mean and
 * joins the sums by one product of matrices; blocks and runs join by Chan's formula:
 *
 *     δ = mean_B - mean_A,  mean = mean_A + δ n_B/n,  S = S_A + S_B + δδᵀ n_A n_B/n. */
#include "algebra/scatter.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

rh_status rh_scatter_new(rh_scatter *out, int32_t d, int32_t n_classes, rh_error *err)
{
    rh_scatter s = {.d = d, .n_classes = n_classes};
    if (d < 1 || n_classes < 1) return rh_fail(err, RH_EVALUE, "a scatter needs a width and a class");
    size_t width = (size_t)d, classes = (size_t)n_classes;
    s.n = rh_calloc(classes, sizeof *s.n);
    s.mean = rh_calloc(classes, width * sizeof *s.mean);
    s.s = rh_calloc(width, width * sizeof *s.s);
    s.rows = rh_calloc(classes, RH_SCATTER_BLOCK * width * sizeof *s.rows);
    s.weights = rh_calloc(classes, RH_SCATTER_BLOCK * sizeof *s.weights);
    s.held = rh_calloc(classes, sizeof *s.held);
    s.delta = rh_calloc(width, sizeof *s.delta);
    if (!s.n || !s.mean || !s.s || !s.rows || !s.weights || !s.held || !s.delta) {
        rh_scatter_free(&s);
        return rh_fail_nomem(err);
    }
    *out = s;
    return RH_OK;
}

void rh_scatter_free(rh_scatter *s)
{
    if (!s) return;
    free(s->n);
    free(s->mean);
    free(s->s);
    free(s->rows);
    free(s->weights);
    free(s->held);
    free(s->delta);
    *s = (rh_scatter){0};
}

/* The class's mean joins with another, in s->delta, of weight n_b; S takes δδᵀ n_A n_B/n. */
static void join(rh_scatter *s, int32_t cls, double n_b)
{
    double *mean = s->mean + (size_t)cls * (size_t)s->d, n_a = s->n[cls], n = n_a + n_b;
    for (int32_t j = 0; j < s->d; j++) {
        s->delta[j] -= mean[j];
        mean[j] += s->delta[j] * (n_b / n);
    }
    s->n[cls] = n;
    if (n_a > 0) cblas_dsyr(CblasRowMajor, CblasUpper, s->d, n_a * n_b / n, s->delta, 1, s->s, s->d);
}

static void flush_class(rh_scatter *s, int32_t cls)
{
    size_t d = (size_t)s->d, k = (size_t)s->held[cls];
    double *rows = s->rows + (size_t)cls * RH_SCATTER_BLOCK * d, sum = 0;
    const double *w = s->weights + (size_t)cls * RH_SCATTER_BLOCK;
    if (!k) return;
    memset(s->delta, 0, d * sizeof *s->delta);
    for (size_t i = 0; i < k; i++) {
        sum += w[i];
        for (size_t j = 0; j < d; j++) s->delta[j] += w[i] * rows[i * d + j];
    }
    for (size_t j = 0; j < d; j++) s->delta[j] /= sum;
    for (size_t i = 0; i < k; i++) {
        double root = sqrt(w[i]);
        for (size_t j = 0; j < d; j++) rows[i * d + j] = root * (rows[i * d + j] - s->delta[j]);
    }
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, s->d, (int)k, 1, rows, s->d, 1, s->s, s->d);
    join(s, cls, sum);
    s->held[cls] = 0;
}

/* Where the next sample of a class goes; its weight is noted. */
static double *next_row(rh_scatter *s, int32_t cls, double weight)
{
    if (s->held[cls] == RH_SCATTER_BLOCK) flush_class(s, cls);
    size_t at = (size_t)cls * RH_SCATTER_BLOCK + (size_t)s->held[cls]++;
    s->weights[at] = weight;
    return s->rows + at * (size_t)s->d;
}

void rh_scatter_add(rh_scatter *s, int32_t cls, const float *x, double weight)
{
    if (!(weight > 0)) return;
    double *row = next_row(s, cls, weight);
    for (int32_t j = 0; j < s->d; j++) row[j] = x[j];
}

void rh_scatter_add_double(rh_scatter *s, int32_t cls, const double *x, double weight)
{
    if (weight > 0) memcpy(next_row(s, cls, weight), x, (size_t)s->d * sizeof *x);
}

void rh_scatter_flush(rh_scatter *s)
{
    for (int32_t c = 0; c < s->n_classes; c++) flush_class(s, c);
}

void rh_scatter_merge(rh_scatter *s, const rh_scatter *other)
{
    size_t d = (size_t)s->d;
    for (size_t i = 0; i < d; i++) cblas_daxpy((int)(d - i), 1, other->s + i * d + i, 1, s->s + i * d + i, 1);
    for (int32_t c = 0; c < s->n_classes; c++) {
        if (!(other->n[c] > 0)) continue;
        memcpy(s->delta, other->mean + (size_t)c * d, d * sizeof *s->delta);
        join(s, c, other->n[c]);
    }
}

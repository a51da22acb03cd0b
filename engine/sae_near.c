/* Nearest rows: one read of the matrix by the backend, as fast as memory gives it, keeps a few more candidates than asked for
 * by cosines in float32; those are computed again in double and ranked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

enum { SPARE = 32 }; /* candidates beyond those asked for: float32 may order near ties otherwise */

static int by_cosine(const void *a, const void *b)
{
    const rh_sae_match *x = a, *y = b;
    if (x->cosine != y->cosine) return x->cosine < y->cosine ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_size(const void *a, const void *b)
{
    const rh_sae_match *x = a, *y = b;
    const double p = fabs(x->cosine), q = fabs(y->cosine);
    if (p != q) return p < q ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The n best scores, sorted. A NaN counts as best, so that its row is looked at. */
static int32_t pick(rh_sae_match *best, int32_t n, const float *score, int32_t m, bool sign)
{
    int32_t have = 0;
    for (int32_t i = 0; i < m; i++) {
        const rh_sae_match x = { i, isnan(score[i]) ? INFINITY : sign ? fabsf(score[i]) : score[i], 0 };
        if (have == n && x.cosine <= best[n - 1].cosine) continue;
        int32_t at = have < n ? have++ : n - 1;
        for (; at > 0 && best[at - 1].cosine < x.cosine; at--) best[at] = best[at - 1];
        best[at] = x;
    }
    return have;
}

static rh_status exact(rh_sae_match *x, const rh_sae *s, bool encoder, const float *v, double v_norm, float *row, rh_error *err)
{
    const int32_t d = encoder ? s->facts.d_in : s->facts.d_out;
    double dot = 0, square = 0;
    RH_TRY(encoder ? rh_sae_encoder_row(row, s, x->index, err) : rh_sae_decoder_row(row, s, x->index, err));
    for (int32_t j = 0; j < d; j++) {
        dot += (double)row[j] * v[j];
        square += (double)row[j] * row[j];
    }
    x->norm = sqrt(square);
    x->cosine = square == 0 ? 0 : dot / (x->norm * v_norm);
    return RH_OK;
}

rh_status rh_sae_near(rh_sae_match *out, int32_t *n_out, const rh_sae *s, bool encoder, const float *v, int32_t n_top,
                      bool sign, rh_backend *be, rh_error *err)
{
    const rh_sae_matrix *m = encoder ? &s->encoder : &s->decoder;
    const int32_t n = n_top < m->rows - SPARE ? n_top + SPARE : m->rows;
    double square = 0;
    for (int32_t j = 0; j < m->cols; j++) square += (double)v[j] * v[j];
    if (!rh_sae_finite(v, (size_t)m->cols) || square == 0)
        return rh_fail(err, RH_EVALUE, "the vector is %s, and has no direction", square == 0 ? "zero" : "not finite");
    float *score = rh_calloc((size_t)m->rows, sizeof *score), *row = rh_calloc((size_t)m->cols, sizeof *row);
    rh_sae_match *best = rh_calloc((size_t)n, sizeof *best);
    rh_status status = score && row && best ? RH_OK : rh_fail_nomem(err);
    if (!status) status = be->ops->cosines(be, score, m->data, m->dtype, m->rows, m->cols, m->turned, v, err);
    if (!status) {
        const int32_t have = pick(best, n, score, m->rows, sign);
        for (int32_t i = 0; !status && i < have; i++) status = exact(&best[i], s, encoder, v, sqrt(square), row, err);
        qsort(best, (size_t)have, sizeof *best, sign ? by_size : by_cosine);
        *n_out = have < n_top ? have : n_top;
        if (!status) memcpy(out, best, (size_t)*n_out * sizeof *out);
    }
    free(score);
    free(row);
    free(best);
    return status;
}

/* Nearest rows: one read of the matrix, as fast as memory gives it, keeps a few more candidates than asked for
 * by cosines in float32; those are computed again in double and ranked. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

enum {
    ROWS = 64,      /* an item of work */
    COLUMNS = 2048, /* an item of a turned matrix: its sums stay in L1 */
    STREAMS = 4,
    SPARE = 32      /* candidates beyond those asked for: float32 may order near ties otherwise */
};

/* float32 in a mapped file lies where the header before it ends. */
typedef float loose __attribute__((aligned(1), may_alias));

/* The sums that make a cosine. */
typedef struct sums { float dot, square; } sums;

/* Four stretches of the row side by side, so that no sum waits for the one before. */
static sums row_sums(const loose *row, const float *v, int32_t d)
{
    const int32_t q = d / 4;
    const loose *r1 = row + q, *r2 = row + 2 * q, *r3 = row + 3 * q;
    const float *v1 = v + q, *v2 = v + 2 * q, *v3 = v + 3 * q;
    float d0 = 0, d1 = 0, d2 = 0, d3 = 0, s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : d0, d1, d2, d3, s0, s1, s2, s3)
    for (int32_t j = 0; j < q; j++) {
        d0 += row[j] * v[j];
        d1 += r1[j] * v1[j];
        d2 += r2[j] * v2[j];
        d3 += r3[j] * v3[j];
        s0 += row[j] * row[j];
        s1 += r1[j] * r1[j];
        s2 += r2[j] * r2[j];
        s3 += r3[j] * r3[j];
    }
    for (int32_t j = 4 * q; j < d; j++) {
        d0 += row[j] * v[j];
        s0 += row[j] * row[j];
    }
    return (sums){ d0 + d1 + d2 + d3, s0 + s1 + s2 + s3 };
}

/* cosine times ‖v‖; a row of zeros lies to nothing. A row that is not finite gives NaN, or 0 if it is infinite. */
static float quotient(sums s) { return s.square == 0 ? 0 : s.dot / sqrtf(s.square); }

static void score_rows(float *score, const rh_sae_matrix *m, const float *v, int32_t first, int32_t n, float *scratch)
{
    for (int32_t r = first; r < first + n; r++) {
        const loose *row = scratch;
        if (m->dtype == RH_F32) row = (const loose *)m->data + (size_t)r * (size_t)m->cols;
        else rh_sae_matrix_row(scratch, m, r);
        score[r] = quotient(row_sums(row, v, m->cols));
    }
}

/* Row c of the stored matrix [cols, rows], from column `first` on, as floats. */
static const loose *stretch(float *scratch, const rh_sae_matrix *m, int32_t c, int32_t first, int32_t n)
{
    const size_t at = (size_t)c * (size_t)m->rows + (size_t)first;
    if (m->dtype == RH_F32) return (const loose *)m->data + at;
    rh_dequantize_row(scratch, (const uint8_t *)m->data + 2 * at, m->dtype, n);
    return scratch;
}

/* The same of a turned matrix, four of its stored rows at a time; scratch [2 + STREAMS, COLUMNS]. */
static void score_columns(float *score, const rh_sae_matrix *m, const float *v, int32_t first, int32_t n, float *scratch)
{
    float *dot = scratch, *square = scratch + COLUMNS, *part = scratch + 2 * COLUMNS;
    int32_t c = 0;
    memset(scratch, 0, 2 * COLUMNS * sizeof *scratch);
    for (; c + STREAMS <= m->cols; c += STREAMS) {
        const loose *a = stretch(part, m, c, first, n), *b = stretch(part + COLUMNS, m, c + 1, first, n);
        const loose *d = stretch(part + 2 * COLUMNS, m, c + 2, first, n), *e = stretch(part + 3 * COLUMNS, m, c + 3, first, n);
        const float *x = v + c;
#pragma omp simd
        for (int32_t i = 0; i < n; i++) {
            dot[i] += (a[i] * x[0] + b[i] * x[1]) + (d[i] * x[2] + e[i] * x[3]);
            square[i] += (a[i] * a[i] + b[i] * b[i]) + (d[i] * d[i] + e[i] * e[i]);
        }
    }
    for (; c < m->cols; c++) {
        const loose *a = stretch(part, m, c, first, n);
        for (int32_t i = 0; i < n; i++) {
            dot[i] += a[i] * v[c];
            square[i] += a[i] * a[i];
        }
    }
    for (int32_t i = 0; i < n; i++) score[first + i] = quotient((sums){ dot[i], square[i] });
}

static rh_status score_all(float *score, const rh_sae_matrix *m, const float *v, int threads, rh_error *err)
{
    const int n_threads = threads > 0 ? threads : omp_get_max_threads();
    const int32_t step = m->turned ? COLUMNS : ROWS, items = (m->rows + step - 1) / step;
    const size_t own = m->turned ? (2 + STREAMS) * COLUMNS : (size_t)m->cols;
    float *scratch = rh_calloc((size_t)n_threads * own, sizeof *scratch);
    if (!scratch) return rh_fail_nomem(err);
#pragma omp parallel for schedule(dynamic, 4) num_threads(n_threads)
    for (int32_t i = 0; i < items; i++) {
        const int32_t first = i * step, n = m->rows - first < step ? m->rows - first : step;
        float *mine = scratch + (size_t)omp_get_thread_num() * own;
        if (m->turned) score_columns(score, m, v, first, n, mine);
        else score_rows(score, m, v, first, n, mine);
    }
    free(scratch);
    return RH_OK;
}

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
                      bool sign, int threads, rh_error *err)
{
    const rh_sae_matrix *m = encoder ? &s->encoder : &s->decoder;
    const int32_t n = n_top < m->rows - SPARE ? n_top + SPARE : m->rows;
    double square = 0;
    for (int32_t j = 0; j < m->cols; j++) square += (double)v[j] * v[j];
    if (!rh_sae_finite(v, (size_t)m->cols) || square == 0)
        return rh_fail(err, RH_EVALUE, "the vector is %s, and has no direction", square == 0 ? "zero" : "not finite");
    float *score = rh_calloc((size_t)m->rows, sizeof *score), *row = rh_calloc((size_t)m->cols, sizeof *row);
    rh_sae_match *best = rh_calloc((size_t)n, sizeof *best);
    rh_status status = score && row && best ? score_all(score, m, v, threads, err) : rh_fail_nomem(err);
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

/* Encoding and decoding, exactly in float32: products by the backend, then one pass over the
 * pre-activations that keeps what is active. A faster way to the same active set replaces encode_block. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

enum { BLOCK_FLOATS = 1 << 24, BLOCK_ROWS = 512 }; /* pre-activations held at once: 64 MiB */

struct rh_sae_coder {
    const rh_sae *s;
    rh_backend *be;
    rh_weight *encoder, *skip;
    rh_buf *x, *p, *y;     /* [block, d_in], [block, d_sae], [block, d_out] */
    int32_t block;
    float *rows;           /* [block, d_in] normalised */
    float *pre;            /* [block, d_sae] */
    float *skipped;        /* [block, d_out] */
    float *row;            /* [d_out] of W_dec */
    double *sum;           /* [d_out] */
    struct best { float p; int32_t i; } *best; /* [k] heap, the least on top */
};

/* ---- sets of active features ---------------------------------------------------------------- */

void rh_sae_active_free(rh_sae_active *a)
{
    free(a->start);
    free(a->index);
    free(a->value);
    *a = (rh_sae_active){ 0 };
}

static rh_status active_rows(rh_sae_active *a, int32_t n, rh_error *err)
{
    *a = (rh_sae_active){ 0 };
    a->start = rh_calloc((size_t)n + 1, sizeof *a->start);
    return a->start ? RH_OK : rh_fail_nomem(err);
}

static rh_status active_add(rh_sae_active *a, int32_t i, float value, rh_error *err)
{
    size_t n = a->start[a->n + 1];
    if (n == a->capacity) {
        size_t more = a->capacity ? 2 * a->capacity : 1024;
        int32_t *index = rh_realloc_array(a->index, more, sizeof *index);
        if (index) a->index = index;
        float *values = index ? rh_realloc_array(a->value, more, sizeof *values) : NULL;
        if (values) a->value = values;
        if (!values) return rh_fail_nomem(err);
        a->capacity = more;
    }
    a->index[n] = i;
    a->value[n] = value;
    a->start[a->n + 1]++;
    return RH_OK;
}

/* The row being filled is a->n; call before its first and after its last feature. */
static void row_begins(rh_sae_active *a) { a->start[a->n + 1] = a->start[a->n]; }

rh_status rh_sae_active_from(rh_sae_active *out, const float *f, int32_t n, int32_t d_sae, rh_error *err)
{
    rh_sae_active a;
    RH_TRY(active_rows(&a, n, err));
    rh_status status = RH_OK;
    for (; !status && a.n < n; a.n++) {
        const float *row = f + (size_t)a.n * (size_t)d_sae;
        row_begins(&a);
        for (int32_t i = 0; !status && i < d_sae; i++) {
            if (!isfinite(row[i])) status = rh_fail(err, RH_EVALUE, "feature %d of row %d is not finite", i, a.n);
            else if (row[i] != 0) status = active_add(&a, i, row[i], err);
        }
    }
    if (status) rh_sae_active_free(&a);
    else *out = a;
    return status;
}

void rh_sae_active_dense(float *f, const rh_sae_active *a, int32_t first, int32_t n, int32_t d_sae)
{
    memset(f, 0, (size_t)n * (size_t)d_sae * sizeof *f);
    for (int32_t t = 0; t < n; t++)
        for (size_t j = a->start[first + t]; j < a->start[first + t + 1]; j++)
            f[(size_t)t * (size_t)d_sae + (size_t)a->index[j]] = a->value[j];
}

/* ---- the coder ------------------------------------------------------------------------------ */

static rh_status weight(rh_weight **out, const rh_sae_coder *c, const rh_sae_matrix *m, rh_error *err)
{
    return c->be->ops->weight_new(c->be, out, m->data, m->dtype, m->rows, m->cols, NULL, err);
}

rh_status rh_sae_coder_new(rh_sae_coder **out, const rh_sae *s, rh_backend *be, rh_error *err)
{
    const rh_sae_facts *f = &s->facts;
    const size_t d_in = (size_t)f->d_in, d_out = (size_t)f->d_out, m = (size_t)f->d_sae;
    rh_sae_coder *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->s = s;
    c->be = be;
    c->block = BLOCK_FLOATS / f->d_sae < 1 ? 1 : BLOCK_FLOATS / f->d_sae > BLOCK_ROWS ? BLOCK_ROWS : BLOCK_FLOATS / f->d_sae;
    const size_t n = (size_t)c->block;
    c->rows = rh_calloc(n * d_in, sizeof *c->rows);
    c->pre = rh_calloc(n * m, sizeof *c->pre);
    c->row = rh_calloc(d_out, sizeof *c->row);
    c->sum = rh_calloc(d_out, sizeof *c->sum);
    c->best = rh_calloc((size_t)f->k, sizeof *c->best);
    c->skipped = rh_calloc(f->skip ? n * d_out : 0, sizeof *c->skipped);
    rh_status status = c->rows && c->pre && c->row && c->sum && c->best && c->skipped ? RH_OK : rh_fail_nomem(err);
    if (!status) status = weight(&c->encoder, c, &s->encoder, err);
    if (!status && f->skip) status = weight(&c->skip, c, &s->skip, err);
    if (!status) status = be->ops->buf_new(be, &c->x, n * d_in * sizeof(float), err);
    if (!status) status = be->ops->buf_new(be, &c->p, n * m * sizeof(float), err);
    if (!status && f->skip) status = be->ops->buf_new(be, &c->y, n * d_out * sizeof(float), err);
    if (status) rh_sae_coder_free(c);
    else *out = c;
    return status;
}

void rh_sae_coder_free(rh_sae_coder *c)
{
    if (!c) return;
    c->be->ops->weight_free(c->be, c->encoder);
    c->be->ops->weight_free(c->be, c->skip);
    c->be->ops->buf_free(c->be, c->x);
    c->be->ops->buf_free(c->be, c->p);
    c->be->ops->buf_free(c->be, c->y);
    free(c->rows);
    free(c->pre);
    free(c->row);
    free(c->sum);
    free(c->best);
    free(c->skipped);
    free(c);
}

rh_status rh_sae_normal_of(rh_sae_normal *out, const rh_sae_facts *f, const float *x, int64_t row, rh_error *err)
{
    const int32_t d = f->d_in;
    double sum = 0, squares = 0;
    *out = (rh_sae_normal){ 1, 1, 0 };
    if (!rh_sae_finite(x, (size_t)d)) return rh_fail(err, RH_EVALUE, "row %lld of the input is not finite", (long long)row);
    if (f->norm == RH_SAE_NORM_NONE) return RH_OK;
    for (int32_t j = 0; j < d; j++) sum += x[j];
    if (f->norm == RH_SAE_NORM_LAYER) out->shift = sum / d;
    for (int32_t j = 0; j < d; j++) squares += (x[j] - out->shift) * (x[j] - out->shift);
    if (f->norm == RH_SAE_NORM_LAYER) {
        out->back = sqrt(squares / (d - 1));
        out->scale = 1 / (out->back + 1e-5);
        return RH_OK;
    }
    if (squares == 0)
        return rh_fail(err, RH_EVALUE, "row %lld of the input is zero and cannot be brought to a norm", (long long)row);
    out->scale = sqrt(d / squares);
    out->back = 1 / out->scale;
    return RH_OK;
}

static rh_status prepare(rh_sae_coder *c, const float *x, int32_t n, int64_t first, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    for (int32_t t = 0; t < n; t++) {
        const float *from = x + (size_t)t * (size_t)f->d_in;
        float *to = c->rows + (size_t)t * (size_t)f->d_in;
        rh_sae_normal k;
        RH_TRY(rh_sae_normal_of(&k, f, from, first + t, err));
        for (int32_t j = 0; j < f->d_in; j++)
            to[j] = (float)((from[j] - k.shift) * k.scale - (f->subtract_b_dec ? c->s->b_dec[j] : 0));
    }
    return RH_OK;
}

static rh_status product(rh_sae_coder *c, const rh_weight *w, rh_buf *to, float *out, const float *x, int32_t n, int32_t d_in,
                         int32_t d_out, rh_error *err)
{
    const rh_matmul_target target = { .w = w, .out = to };
    c->be->ops->upload(c->be, c->x, 0, x, (size_t)n * (size_t)d_in * sizeof *x);
    RH_TRY(c->be->ops->matmul(c->be, c->x, n, &target, 1, err));
    c->be->ops->download(c->be, out, to, 0, (size_t)n * (size_t)d_out * sizeof *out);
    return RH_OK;
}

/* ---- activations ---------------------------------------------------------------------------- */

/* Of equal values the one with the smaller index wins. */
static bool worse(struct best a, struct best b) { return a.p != b.p ? a.p < b.p : a.i > b.i; }

static void sink(struct best *heap, int32_t n, int32_t at)
{
    for (;;) {
        int32_t least = at, l = 2 * at + 1;
        if (l < n && worse(heap[l], heap[least])) least = l;
        if (l + 1 < n && worse(heap[l + 1], heap[least])) least = l + 1;
        if (least == at) return;
        struct best t = heap[at];
        heap[at] = heap[least];
        heap[least] = t;
        at = least;
    }
}

static int by_index(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    return (x->i > y->i) - (x->i < y->i);
}

static rh_status keep_topk(rh_sae_active *a, rh_sae_coder *c, const float *p, rh_error *err)
{
    const rh_sae *s = c->s;
    const int32_t k = s->facts.k;
    for (int32_t i = 0; i < s->facts.d_sae; i++) {
        const struct best x = { (p[i] + s->b_enc[i]) * (s->norms ? s->norms[i] : 1), i };
        if (i < k) c->best[i] = x;
        if (i == k - 1) for (int32_t j = k / 2; j-- > 0;) sink(c->best, k, j);
        if (i < k || !worse(c->best[0], x)) continue;
        c->best[0] = x;
        sink(c->best, k, 0);
    }
    qsort(c->best, (size_t)k, sizeof *c->best, by_index);
    for (int32_t j = 0; j < k; j++)
        if (c->best[j].p > 0) RH_TRY(active_add(a, c->best[j].i, c->best[j].p, err));
    return RH_OK;
}

static rh_status keep_above(rh_sae_active *a, const rh_sae *s, const float *p, rh_error *err)
{
    const rh_sae_kind kind = s->facts.kind;
    for (int32_t i = 0; i < s->facts.d_sae; i++) {
        float v = p[i] + s->b_enc[i];
        if (kind == RH_SAE_JUMPRELU ? !(v > s->threshold[i]) : !(v > 0)) continue;
        if (kind == RH_SAE_GATED) v = p[i] * s->gain[i] + s->b_mag[i];
        if (v > 0) RH_TRY(active_add(a, i, v, err));
    }
    return RH_OK;
}

static rh_status encode_block(rh_sae_active *a, rh_sae_coder *c, const float *x, int32_t n, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    RH_TRY(prepare(c, x, n, a->n, err));
    RH_TRY(product(c, c->encoder, c->p, c->pre, c->rows, n, f->d_in, f->d_sae, err));
    for (int32_t t = 0; t < n; t++) {
        const float *p = c->pre + (size_t)t * (size_t)f->d_sae;
        row_begins(a);
        RH_TRY(f->kind == RH_SAE_TOPK ? keep_topk(a, c, p, err) : keep_above(a, c->s, p, err));
        a->n++;
    }
    return RH_OK;
}

rh_status rh_sae_encode(rh_sae_active *out, rh_sae_coder *c, const float *x, int32_t n, rh_error *err)
{
    rh_sae_active a;
    RH_TRY(active_rows(&a, n, err));
    rh_status status = RH_OK;
    while (!status && a.n < n)
        status = encode_block(&a, c, x + (size_t)a.n * (size_t)c->s->facts.d_in, n - a.n < c->block ? n - a.n : c->block, err);
    if (status) rh_sae_active_free(&a);
    else *out = a;
    return status;
}

/* ---- decoding ------------------------------------------------------------------------------- */

bool rh_sae_decode_needs_x(const rh_sae *s)
{
    return s->facts.skip || (s->facts.norm != RH_SAE_NORM_NONE && !s->facts.transcoder);
}

/* c->sum = Σ f_i W_dec[i] + b_dec */
static rh_status sum_rows(rh_sae_coder *c, const rh_sae_active *f, int32_t t, rh_error *err)
{
    const rh_sae *s = c->s;
    const int32_t d = s->facts.d_out;
    for (int32_t j = 0; j < d; j++) c->sum[j] = s->b_dec[j];
    for (size_t i = f->start[t]; i < f->start[t + 1]; i++) {
        const double v = s->norms ? (double)f->value[i] / s->norms[f->index[i]] : f->value[i];
        RH_TRY(rh_sae_decoder_row(c->row, s, f->index[i], err));
        for (int32_t j = 0; j < d; j++) c->sum[j] += v * c->row[j];
    }
    return RH_OK;
}

rh_status rh_sae_decode(float *recon, rh_sae_coder *c, const rh_sae_active *f, const float *x, rh_error *err)
{
    const rh_sae_facts *k = &c->s->facts;
    const int32_t d = k->d_out;
    for (int32_t t = 0; t < f->n; t++) {
        const int32_t in_block = t % c->block;
        rh_sae_normal n = { 1, 1, 0 };
        /* SAELens gives a transcoder's output no norm back: it is another site's. */
        if (k->norm != RH_SAE_NORM_NONE && !k->transcoder) RH_TRY(rh_sae_normal_of(&n, k, x + (size_t)t * (size_t)k->d_in, t, err));
        if (k->skip && in_block == 0)
            RH_TRY(product(c, c->skip, c->y, c->skipped, x + (size_t)t * (size_t)k->d_in,
                           f->n - t < c->block ? f->n - t : c->block, k->d_in, d, err));
        RH_TRY(sum_rows(c, f, t, err));
        for (int32_t j = 0; j < d; j++)
            recon[(size_t)t * (size_t)d + (size_t)j] = (float)(c->sum[j] * n.back + n.shift +
                                                               (k->skip ? c->skipped[(size_t)in_block * (size_t)d + (size_t)j] : 0));
    }
    return RH_OK;
}

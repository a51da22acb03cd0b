/* The coder: rows are normalised, encoded (sae_encode.c) a block at a time, and decoded. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/sae_coder.h"

enum { BLOCK_FLOATS = 1 << 22, BLOCK_ROWS = 512 }; /* of rows held at once: 16 MiB */

/* ---- the coder ------------------------------------------------------------------------------ */

rh_status rh_sae_coder_new(rh_sae_coder **out, const rh_sae *s, rh_backend *be, rh_error *err)
{
    const rh_sae_facts *f = &s->facts;
    const size_t d_in = (size_t)f->d_in, d_out = (size_t)f->d_out;
    const int32_t wide = f->d_in > f->d_out ? f->d_in : f->d_out, fit = BLOCK_FLOATS / wide;
    rh_sae_coder *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->s = s;
    c->be = be;
    c->block = fit < 1 ? 1 : fit < BLOCK_ROWS ? fit : BLOCK_ROWS;
    const size_t n = (size_t)c->block;
    c->rows = rh_calloc(n * d_in, sizeof *c->rows);
    c->row = rh_calloc(d_out, sizeof *c->row);
    c->sum = rh_calloc(d_out, sizeof *c->sum);
    c->skipped = rh_calloc(f->skip ? n * d_out : 0, sizeof *c->skipped);
    rh_status status = c->rows && c->row && c->sum && c->skipped ? RH_OK : rh_fail_nomem(err);
    if (!status && f->skip)
        status = be->ops->weight_new(be, &c->skip, s->skip.data, s->skip.dtype, s->skip.rows, s->skip.cols, NULL, err);
    if (!status) status = be->ops->buf_new(be, &c->x, n * d_in * sizeof(float), err);
    if (!status && f->skip) status = be->ops->buf_new(be, &c->y, n * d_out * sizeof(float), err);
    if (status) rh_sae_coder_free(c);
    else *out = c;
    return status;
}

void rh_sae_coder_free(rh_sae_coder *c)
{
    if (!c) return;
    rh_sae_encoder_free(c);
    c->be->ops->weight_free(c->be, c->skip);
    c->be->ops->buf_free(c->be, c->x);
    c->be->ops->buf_free(c->be, c->y);
    free(c->rows);
    free(c->row);
    free(c->sum);
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

rh_status rh_sae_product(rh_sae_coder *c, const rh_weight *w, rh_buf *to, float *out, const float *x, int32_t n, int32_t d_in,
                         int32_t d_out, rh_error *err)
{
    const rh_matmul_target target = { .w = w, .out = to };
    c->be->ops->upload(c->be, c->x, 0, x, (size_t)n * (size_t)d_in * sizeof *x);
    RH_TRY(c->be->ops->matmul(c->be, c->x, n, &target, 1, err));
    c->be->ops->download(c->be, out, to, 0, (size_t)n * (size_t)d_out * sizeof *out);
    return c->be->ops->wait(c->be, err);
}

rh_status rh_sae_encode(rh_sae_active *out, rh_sae_coder *c, const float *x, int32_t n, rh_error *err)
{
    rh_sae_active a;
    RH_TRY(rh_sae_active_rows(&a, n, err));
    rh_status status = RH_OK;
    while (!status && a.n < n) {
        const int32_t many = n - a.n < c->block ? n - a.n : c->block;
        status = prepare(c, x + (size_t)a.n * (size_t)c->s->facts.d_in, many, a.n, err);
        if (!status) status = rh_sae_encode_rows(&a, c, many, err);
    }
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
            RH_TRY(rh_sae_product(c, c->skip, c->y, c->skipped, x + (size_t)t * (size_t)k->d_in,
                           f->n - t < c->block ? f->n - t : c->block, k->d_in, d, err));
        RH_TRY(sum_rows(c, f, t, err));
        for (int32_t j = 0; j < d; j++)
            recon[(size_t)t * (size_t)d + (size_t)j] = (float)(c->sum[j] * n.back + n.shift +
                                                               (k->skip ? c->skipped[(size_t)in_block * (size_t)d + (size_t)j] : 0));
    }
    return RH_OK;
}

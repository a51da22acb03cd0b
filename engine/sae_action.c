#include "engine/sae_action.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

struct rh_sae_actor {
    const rh_sae *s;
    rh_backend *be;
    rh_sae_coder *coder;  /* made when all features are first needed */
    float *in, *out;      /* [d_in], [d_out]: rows of one feature */
};

rh_status rh_sae_actor_new(rh_sae_actor **out, const rh_sae *s, rh_backend *be, rh_error *err)
{
    rh_sae_actor *a = rh_calloc(1, sizeof *a);
    if (!a) return rh_fail_nomem(err);
    a->s = s;
    a->be = be;
    a->in = rh_calloc((size_t)s->facts.d_in, sizeof *a->in);
    a->out = rh_calloc((size_t)s->facts.d_out, sizeof *a->out);
    if (!a->in || !a->out) {
        rh_sae_actor_free(a);
        return rh_fail_nomem(err);
    }
    *out = a;
    return RH_OK;
}

void rh_sae_actor_free(rh_sae_actor *a)
{
    if (!a) return;
    rh_sae_coder_free(a->coder);
    free(a->in);
    free(a->out);
    free(a);
}

static rh_status need_coder(rh_sae_actor *a, rh_error *err)
{
    return a->coder ? RH_OK : rh_sae_coder_new(&a->coder, a->s, a->be, err);
}

/* ---- one feature's activation ------------------------------------------------------------------ */

/* Whether it is among the k largest depends on all others. */
static rh_status among_all(float *out, rh_sae_actor *a, int32_t feature, const float *x, int32_t n, rh_error *err)
{
    rh_sae_active f = { 0 };
    RH_TRY(need_coder(a, err));
    RH_TRY(rh_sae_encode(&f, a->coder, x, n, err));
    for (int32_t t = 0; t < n; t++) {
        out[t] = 0;
        for (size_t j = f.start[t]; j < f.start[t + 1]; j++)
            if (f.index[j] == feature) out[t] = f.value[j];
    }
    rh_sae_active_free(&f);
    return RH_OK;
}

/* p: without the bias. */
static double activate(const rh_sae *s, int32_t i, double p)
{
    double v = p + s->b_enc[i];
    if (!rh_sae_passes(s, i, v)) return 0;
    if (s->facts.kind == RH_SAE_GATED) v = p * s->gain[i] + s->b_mag[i];
    return v > 0 ? v : 0;
}

rh_status rh_sae_activation(float *out, rh_sae_actor *a, int32_t feature, const float *x, int32_t n, rh_error *err)
{
    const rh_sae *s = a->s;
    const rh_sae_facts *f = &s->facts;
    if (f->kind == RH_SAE_TOPK) return among_all(out, a, feature, x, n, err);
    RH_TRY(rh_sae_encoder_row(a->in, s, feature, err));
    for (int32_t t = 0; t < n; t++) {
        const float *row = x + (size_t)t * (size_t)f->d_in;
        rh_sae_normal k;
        double p = 0;
        RH_TRY(rh_sae_normal_of(&k, f, row, t, err));
        for (int32_t j = 0; j < f->d_in; j++)
            p += ((row[j] - k.shift) * k.scale - (f->subtract_b_dec ? s->b_dec[j] : 0)) * a->in[j];
        out[t] = (float)activate(s, feature, p);
    }
    return RH_OK;
}

/* Activations in units of ‖W_dec[i]‖: what one of them writes. */
static rh_status per_norm(double *out, const rh_sae_actor *a, int32_t feature, rh_error *err)
{
    double sum = 0;
    for (int32_t j = 0; j < a->s->facts.d_out; j++) sum += (double)a->out[j] * a->out[j];
    if (!(sum > 0)) return rh_fail(err, RH_EFORMAT, "'%s': feature %d has a decoder row of zeros, and activations in its units",
                                   a->s->path, feature);
    *out = 1 / sqrt(sum);
    return RH_OK;
}

/* ---- actions ------------------------------------------------------------------------------------ */

rh_status rh_sae_clamp(rh_sae_actor *a, float *h, const float *x, int32_t n, int32_t feature, float amount, rh_error *err)
{
    const rh_sae *s = a->s;
    const rh_sae_facts *k = &s->facts;
    const bool given_back = k->norm != RH_SAE_NORM_NONE && !k->transcoder; /* as rh_sae_decode does */
    double per_unit = 1;
    float *f = rh_calloc((size_t)n, sizeof *f);
    if (!f) return rh_fail_nomem(err);
    rh_status status = rh_sae_activation(f, a, feature, x, n, err);
    if (!status) status = rh_sae_decoder_row(a->out, s, feature, err);
    if (!status && k->rescale) status = per_norm(&per_unit, a, feature, err);
    for (int32_t t = 0; t < n && !status; t++) {
        rh_sae_normal norm = { 1, 1, 0 };
        if (given_back) status = rh_sae_normal_of(&norm, k, x + (size_t)t * (size_t)k->d_in, t, err);
        if (status) break;
        const double by = ((double)amount - f[t]) * per_unit * norm.back;
        float *row = h + (size_t)t * (size_t)k->d_out;
        for (int32_t j = 0; j < k->d_out; j++) row[j] = (float)(row[j] + by * a->out[j]);
    }
    free(f);
    return status;
}

rh_status rh_sae_splice(rh_sae_actor *a, float *h, const float *x, int32_t n, rh_error *err)
{
    rh_sae_active f = { 0 };
    RH_TRY(need_coder(a, err));
    RH_TRY(rh_sae_encode(&f, a->coder, x, n, err));
    rh_status status = rh_sae_decode(h, a->coder, &f, x, err); /* row by row: a row of x is read before it is replaced */
    rh_sae_active_free(&f);
    return status;
}

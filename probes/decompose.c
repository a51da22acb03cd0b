#include "probes/decompose.h"

#include <math.h>
#include <stdlib.h>

#include "algebra/pursuit.h"
#include "base/mem.h"

/* Less is left than float32 can tell from nothing. */
static const double NOTHING = 1e-6;

void rh_decomposition_free(rh_decomposition *d)
{
    free(d->feature);
    free(d->coefficient);
    free(d->residual);
    *d = (rh_decomposition){0};
}

static bool chosen(const rh_decomposition *d, int32_t feature)
{
    for (int32_t i = 0; i < d->n; i++)
        if (d->feature[i] == feature) return true;
    return false;
}

/* The nearest row that is not there yet; -1: none lies towards what is left. */
static rh_status choose(int32_t *out, rh_sae_match *near, const rh_decomposition *d, const rh_sae *s, const rh_pursuit *p,
                        bool sign, rh_backend *be, rh_error *err)
{
    int32_t n = 0;
    RH_TRY(rh_sae_near(near, &n, s, false, rh_pursuit_residual(p), d->n + 1, sign, be, err));
    *out = -1;
    for (int32_t i = 0; i < n && *out < 0; i++)
        if (!chosen(d, near[i].index) && (sign ? fabs(near[i].cosine) : near[i].cosine) > NOTHING) *out = near[i].index;
    return RH_OK;
}

static rh_status steps(rh_decomposition *d, rh_pursuit *p, rh_sae_match *near, float *row, const rh_sae *s, int32_t k, bool sign,
                       rh_backend *be, const rh_settings *settings, rh_error *err)
{
    d->norm = rh_pursuit_residual_norm(p);
    while (d->n < k && (d->n == 0 || rh_pursuit_residual_norm(p) > NOTHING * d->norm)) {
        int32_t feature;
        RH_TRY(choose(&feature, near, d, s, p, sign, be, err));
        if (feature < 0) break;
        RH_TRY(rh_sae_decoder_row(row, s, feature, err));
        rh_status status = rh_pursuit_add(p, row, err);
        if (status == RH_EVALUE) break; /* it says nothing that the others do not */
        if (status) return status;
        d->feature[d->n] = feature;
        d->residual[d->n++] = rh_pursuit_residual_norm(p);
        if (settings->progress && !settings->progress(settings->progress_data, "features", d->n, k))
            return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    for (int32_t i = 0; i < d->n; i++) d->coefficient[i] = rh_pursuit_coefficient(p, i);
    return RH_OK;
}

rh_status rh_decompose(rh_decomposition *out, const rh_sae *s, const float *v, int32_t k, bool sign,
                       const rh_settings *settings, rh_error *err)
{
    const int32_t width = rh_sae_about(s)->d_out;
    rh_decomposition d = {0};
    rh_pursuit *p = NULL;
    rh_sae_match *near = rh_calloc((size_t)k + 1, sizeof *near);
    float *row = rh_calloc((size_t)width, sizeof *row);
    d.feature = rh_calloc((size_t)k, sizeof *d.feature);
    d.coefficient = rh_calloc((size_t)k, sizeof *d.coefficient);
    d.residual = rh_calloc((size_t)k, sizeof *d.residual);
    bool room = near && row && d.feature && d.coefficient && d.residual;
    rh_status status = room ? rh_pursuit_new(&p, v, width, k, !sign, err) : rh_fail_nomem(err);
    rh_backend *be = NULL;
    if (!status) status = rh_backend_for(&be, settings, err);
    if (!status) status = steps(&d, p, near, row, s, k, sign, be, settings, err);
    rh_backend_free(be);
    rh_pursuit_free(p);
    free(near);
    free(row);
    if (status) rh_decomposition_free(&d);
    else *out = d;
    return status;
}

/* fit.c - what a pass has kept becomes a source's vector: the difference of means, or a
 * direction fitted by algebra/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/fit.h"
#include "algebra/statistics.h"
#include "concepts/jobs.h"

rh_keep rh_job_keep(const rh_atom_spec *spec)
{
    switch (spec->kind) {
    case RH_ATOM_PCA:
    case RH_ATOM_LOGREG: return RH_KEEP_ROWS;
    case RH_ATOM_LDA: return RH_KEEP_SCATTER;
    case RH_ATOM_RESID_NORM: return RH_KEEP_NORMS;
    default: return RH_KEEP_SUMS;
    }
}

/* dim: mean of the positives minus mean of the negatives; act, neutral: one class */
static rh_status fit_means(float *out, const rh_pass *p, int32_t atom, int32_t layer, rh_error *err)
{
    int32_t d = p->atoms[atom].d;
    double *a = rh_calloc((size_t)d, sizeof *a), *b = rh_calloc((size_t)d, sizeof *b);
    rh_status status = a && b ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        rh_pass_mean(a, p, atom, 0, layer);
        rh_pass_mean(b, p, atom, 1, layer);
        for (int32_t j = 0; j < d; j++) out[j] = (float)(a[j] - b[j]);
    }
    free(a);
    free(b);
    return status;
}

static const float *rows_of(const rh_pass_atom *a, int32_t layer)
{
    return a->rows + (size_t)layer * a->n_rows * (size_t)a->d;
}

static rh_status fit_logreg(float *out, const rh_pass *p, int32_t atom, int32_t layer, double l2, rh_error *err)
{
    const rh_pass_atom *a = &p->atoms[atom];
    uint8_t *positive = rh_calloc(a->n_rows, 1);
    if (!positive) return rh_fail_nomem(err);
    for (size_t i = 0; i < p->n_readings; i++) {
        const rh_reading *r = &p->readings[i];
        if (r->atom == atom) memset(positive + r->row, r->cls == 0, r->each ? (size_t)r->n_positions : 1);
    }
    rh_status status = rh_fit_logreg(out, rows_of(a, layer), positive, a->n_rows, a->d, l2, err);
    free(positive);
    return status;
}

static rh_status fit_norm(float *out, const rh_pass_atom *a, int32_t layer, double quantile, rh_error *err)
{
    double *norms = rh_calloc(a->n_rows, sizeof *norms);
    if (!norms) return rh_fail_nomem(err);
    for (size_t i = 0; i < a->n_rows; i++) norms[i] = a->rows[(size_t)layer * a->n_rows + i];
    *out = (float)rh_quantile(norms, (int32_t)a->n_rows, quantile);
    free(norms);
    return RH_OK;
}

/* Say where: several layers are fitted at once. */
static rh_status at_layer(rh_error *err, rh_status status, const rh_pass_atom *a, int32_t layer)
{
    char message[sizeof err->message];
    if (!err || status == RH_ENOMEM) return status;
    snprintf(message, sizeof message, "at layer %d: %.400s", (int)a->layers[layer], err->message);
    memcpy(err->message, message, sizeof message);
    return status;
}

rh_status rh_job_fit(float *out, const rh_job *job, const rh_pass *p, int32_t layer, rh_error *err)
{
    const rh_pass_atom *a = &p->atoms[job->atom];
    rh_status status;
    switch (job->spec->kind) {
    case RH_ATOM_PCA:
        status = rh_fit_pca(out, rows_of(a, layer), a->n_rows / 2, a->d, !job->spec->no_center, err);
        break;
    case RH_ATOM_LDA: status = rh_fit_lda(out, &a->scatter[layer], job->spec->shrink, err); break;
    case RH_ATOM_LOGREG: status = fit_logreg(out, p, job->atom, layer, job->spec->l2, err); break;
    case RH_ATOM_RESID_NORM: status = fit_norm(out, a, layer, job->spec->quantile, err); break;
    default: status = fit_means(out, p, job->atom, layer, err); break;
    }
    return status ? at_layer(err, status, a, layer) : RH_OK;
}

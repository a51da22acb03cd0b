#include "probes/sae_fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct rh_sae_fitter {
    const rh_sae *sae;
    rh_sae_coder *coder;
    float *recon;        /* [cap, d_out] */
    int32_t cap;
    int64_t n, active;
    double error, square; /* Σ‖y - ŷ‖², Σ‖y - first‖² */
    float *first;         /* [d_out] the first row: sums about it lose nothing to a large mean */
    double *sum;          /* [d_out] Σ(y - first) */
    uint8_t *seen;        /* [d_sae] */
};

rh_status rh_sae_fitter_new(rh_sae_fitter **out, const rh_sae *s, rh_backend *be, rh_error *err)
{
    const rh_sae_facts *k = rh_sae_about(s);
    rh_sae_fitter *f = rh_calloc(1, sizeof *f);
    if (!f) return rh_fail_nomem(err);
    f->sae = s;
    f->first = rh_calloc((size_t)k->d_out, sizeof *f->first);
    f->sum = rh_calloc((size_t)k->d_out, sizeof *f->sum);
    f->seen = rh_calloc((size_t)k->d_sae, 1);
    rh_status status = f->first && f->sum && f->seen ? rh_sae_coder_new(&f->coder, s, be, err) : rh_fail_nomem(err);
    if (status) rh_sae_fitter_free(f);
    else *out = f;
    return status;
}

void rh_sae_fitter_free(rh_sae_fitter *f)
{
    if (!f) return;
    rh_sae_coder_free(f->coder);
    free(f->recon);
    free(f->first);
    free(f->sum);
    free(f->seen);
    free(f);
}

void rh_sae_fitter_reset(rh_sae_fitter *f)
{
    const rh_sae_facts *k = rh_sae_about(f->sae);
    f->n = f->active = 0;
    f->error = f->square = 0;
    memset(f->sum, 0, (size_t)k->d_out * sizeof *f->sum);
    memset(f->seen, 0, (size_t)k->d_sae);
}

static void add_row(rh_sae_fitter *f, const float *y, const float *recon, int32_t d)
{
    if (!f->n)
        for (int32_t j = 0; j < d; j++) f->first[j] = y[j];
    for (int32_t j = 0; j < d; j++) {
        const double e = (double)y[j] - recon[j], from = (double)y[j] - f->first[j];
        f->error += e * e;
        f->square += from * from;
        f->sum[j] += from;
    }
    f->n++;
}

rh_status rh_sae_fitter_add(rh_sae_fitter *f, const float *x, const float *y, int32_t n, rh_error *err)
{
    const int32_t d = rh_sae_about(f->sae)->d_out;
    rh_sae_active a = {0};
    if (!n) return RH_OK;
    if (n > f->cap) {
        free(f->recon);
        f->cap = 0;
        f->recon = rh_calloc((size_t)n * (size_t)d, sizeof *f->recon);
        if (!f->recon) return rh_fail_nomem(err);
        f->cap = n;
    }
    rh_status status = rh_sae_encode(&a, f->coder, x, n, err);
    if (!status) status = rh_sae_decode(f->recon, f->coder, &a, x, err);
    if (!status) {
        for (size_t i = 0; i < a.start[n]; i++) f->seen[a.index[i]] = 1;
        f->active += (int64_t)a.start[n];
        for (int32_t t = 0; t < n; t++) add_row(f, y + (size_t)t * (size_t)d, f->recon + (size_t)t * (size_t)d, d);
    }
    rh_sae_active_free(&a);
    return status;
}

rh_status rh_sae_fitter_result(rh_sae_fit *out, const rh_sae_fitter *f, rh_error *err)
{
    const rh_sae_facts *k = rh_sae_about(f->sae);
    double variance = f->square;
    int32_t dead = 0;
    if (f->n < 2) return rh_fail(err, RH_EVALUE, "an SAE's fit needs two tokens behind the first of a text, and there are %d", (int)f->n);
    for (int32_t j = 0; j < k->d_out; j++) variance -= f->sum[j] * f->sum[j] / (double)f->n;
    if (!(variance > 0)) return rh_fail(err, RH_EVALUE, "all states are alike: there is no variance to explain");
    for (int32_t i = 0; i < k->d_sae; i++) dead += !f->seen[i];
    *out = (rh_sae_fit){f->n, f->error / variance, (double)f->active / (double)f->n, (double)dead / k->d_sae};
    return RH_OK;
}

/* ---- of a model ------------------------------------------------------------------------------- */

void rh_sae_hooks(rh_hook *in, rh_hook *out, const rh_sae *s, rh_hook hook)
{
    const rh_sae_facts *f = rh_sae_about(s);
    *out = f->hook_out_known ? f->hook_out : hook;
    *in = f->hook_known ? f->hook : f->transcoder ? RH_MLP_IN : *out;
}

rh_status rh_sae_check_fit(const rh_model *m, const rh_sae *s, rh_hook hook, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    rh_hook in, out;
    rh_sae_hooks(&in, &out, s, hook);
    const bool reads = f->d_in == rh_model_width(m, in);
    if (reads && f->d_out == rh_model_width(m, out)) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ESITE, "the SAE %s rows of %d numbers, but %s of %.80s is %d wide", reads ? "makes" : "reads",
                             reads ? (int)f->d_out : (int)f->d_in, rh_hook_name(reads ? out : in), m->name,
                             (int)rh_model_width(m, reads ? out : in)), err, "it was trained on another model, or at another hook");
}

rh_status rh_sae_measure(rh_sae_fit *out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook,
                         const rh_id_text *texts, int32_t n, rh_progress_fn progress, void *progress_data, rh_error *err)
{
    rh_hook in, hook_out;
    rh_states *states = NULL;
    rh_sae_fitter *f = NULL;
    rh_state_rows rows;
    rh_sae_hooks(&in, &hook_out, s, hook);
    RH_TRY(rh_sae_check_fit(m, s, hook, err));
    rh_status status = rh_states_new(&states, m, layer, in, hook_out, err);
    if (!status) status = rh_sae_fitter_new(&f, s, m->backend, err);
    for (int32_t i = 0, step; !status && i < n; i += step) {
        step = rh_states_fit(texts + i, n - i);
        status = rh_states_read(&rows, states, texts + i, step, err);
        if (!status) status = rh_sae_fitter_add(f, rows.x, rows.y, rows.n, err);
        if (!status && progress && !progress(progress_data, "fit", i + step, n)) status = rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    if (!status) status = rh_sae_fitter_result(out, f, err);
    rh_sae_fitter_free(f);
    rh_states_free(states);
    return status;
}

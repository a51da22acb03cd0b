/* session_sae.c - actions of a session's sequences through autoencoders: checked, then done in host memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session_internal.h"

/* ---- what can be done --------------------------------------------------------------------------- */

static rh_status check_hooks(const rh_action *a, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(a->sae);
    const char *path = rh_sae_path(a->sae);
    if (!f->transcoder) return RH_OK;
    if (f->hook_known && f->hook != RH_MLP_IN)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' reads %s and writes elsewhere: only transcoders from mlp_in act in a run", path,
                       rh_hook_name(f->hook));
    if (a->hook != RH_MLP_OUT) return rh_fail(err, RH_ESITE, "'%s' is a transcoder and acts at mlp_out, not at %s", path, rh_hook_name(a->hook));
    return RH_OK;
}

rh_status rh_sae_action_check(const rh_model *m, const rh_action *a, rh_error *err)
{
    if ((unsigned)a->hook >= RH_N_HOOKS) return rh_fail(err, RH_EVALUE, "an action without a hook");
    if (!a->sae) return a->kind == RH_SPLICE ? RH_OK : rh_fail(err, RH_EVALUE, "a feature without its SAE");
    const rh_sae_facts *f = rh_sae_about(a->sae);
    const bool all = a->kind == RH_SPLICE || f->kind == RH_SAE_TOPK;
    RH_TRY(check_hooks(a, err));
    const int32_t reads = rh_model_width(m, f->transcoder ? RH_MLP_IN : a->hook), writes = rh_model_width(m, a->hook);
    if (f->d_in != reads || f->d_out != writes)
        return rh_fail(err, RH_ESITE, "'%s' reads %d and writes %d numbers, but %s is %d wide", rh_sae_path(a->sae), f->d_in, f->d_out,
                       rh_hook_name(a->hook), writes);
    if (rh_sae_opened_for(a->sae) < (all ? RH_SAE_ENCODE : RH_SAE_ROWS))
        return rh_fail(err, RH_EVALUE, "'%s' was not opened to encode", rh_sae_path(a->sae));
    return a->kind == RH_SPLICE ? RH_OK : rh_sae_check_feature(a->sae, a->feature, err);
}

/* ---- who does it -------------------------------------------------------------------------------- */

static rh_sae_actor *actor_of(const rh_session *s, const rh_sae *sae)
{
    for (size_t i = 0; i < s->n_acting; i++)
        if (s->acting[i].sae == sae) return s->acting[i].actor;
    return NULL;
}

rh_status rh_sae_action_prepare(rh_session *s, const rh_action *a, rh_error *err)
{
    rh_sae_actor *actor = NULL;
    if (!a->sae || actor_of(s, a->sae)) return RH_OK;
    if (!RH_GROW(s->acting, s->acting_cap, s->n_acting)) return rh_fail_nomem(err);
    RH_TRY(rh_sae_actor_new(&actor, a->sae, s->model->backend, err));
    s->acting[s->n_acting++] = (struct rh_acting){a->sae, actor};
    return RH_OK;
}

void rh_sae_actions_forget(rh_session *s)
{
    for (size_t i = 0; i < s->n_acting; i++) rh_sae_actor_free(s->acting[i].actor);
    s->n_acting = 0;
}

/* ---- doing it ----------------------------------------------------------------------------------- */

/* Neighbouring rows are one copy. */
static int32_t run_of(const int32_t *rows, int32_t n, int32_t k)
{
    int32_t run = 1;
    while (k + run < n && rows[k + run] == rows[k] + run) run++;
    return run;
}

static void fetch(rh_session *s, float *out, const rh_buf *t, int32_t n, int32_t width)
{
    rh_backend *be = s->model->backend;
    const size_t bytes = (size_t)width * sizeof(float);
    for (int32_t k = 0, run; k < n; k += run) {
        run = run_of(s->rows, n, k);
        be->ops->download(be, out + (size_t)k * (size_t)width, t, (size_t)s->rows[k] * bytes, (size_t)run * bytes);
    }
}

static void put(rh_session *s, rh_buf *t, const float *rows, int32_t n, int32_t width)
{
    rh_backend *be = s->model->backend;
    const size_t bytes = (size_t)width * sizeof(float);
    for (int32_t k = 0, run; k < n; k += run) {
        run = run_of(s->rows, n, k);
        be->ops->upload(be, t, (size_t)s->rows[k] * bytes, rows + (size_t)k * (size_t)width, (size_t)run * bytes);
    }
}

/* Rows are numbered by the step, which tells nobody anything: say where it was. */
static rh_status at_site(rh_status status, rh_error *err, const rh_action *a)
{
    if (status != RH_EVALUE || !err) return status;
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    return rh_fail(err, status, "through '%.200s' at layer %d: %.200s", rh_sae_path(a->sae), a->layer, message);
}

rh_status rh_sae_action_apply(rh_session *s, const rh_action *a, rh_buf *t, const rh_buf *mlp_in, int32_t n, rh_error *err)
{
    const int32_t width = rh_model_width(s->model, a->hook), d_model = s->model->config.d_model;
    const bool elsewhere = a->sae && rh_sae_about(a->sae)->transcoder;
    float *h = rh_calloc((size_t)n * (size_t)width, sizeof *h);
    float *x = elsewhere ? rh_calloc((size_t)n * (size_t)d_model, sizeof *x) : NULL;
    rh_status status = h && (x || !elsewhere) ? RH_OK : rh_fail_nomem(err);
    if (!status && a->sae) {
        rh_sae_actor *actor = actor_of(s, a->sae);
        if (a->kind == RH_FEATURE_CLAMP || !elsewhere) fetch(s, h, t, n, width);
        if (elsewhere) fetch(s, x, mlp_in, n, d_model);
        if (a->kind == RH_SPLICE) status = rh_sae_splice(actor, h, elsewhere ? x : h, n, err);
        else status = rh_sae_clamp(actor, h, elsewhere ? x : h, n, a->feature, a->amount, err);
        status = at_site(status, err, a);
    }
    if (!status) put(s, t, h, n, width);
    free(h);
    free(x);
    return status;
}

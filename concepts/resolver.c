/* resolver.c - the questions of dsl/resolver.h, answered: where a source lives, what it is worth,
 * what it would cost. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/jobs.h"
#include "concepts/pairs.h"
#include "concepts/prompt.h"
#include "concepts/texts.h"

/* ---- warnings ----------------------------------------------------------------------------- */

rh_status rh_concepts_warn(rh_concepts *c, rh_error *err, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (c->warnings.data && strstr(c->warnings.data, line)) return RH_OK; /* said already */
    rh_str_printf(&c->warnings, "%s%s", c->warnings.len ? "\n" : "", line);
    return c->warnings.failed ? rh_fail_nomem(err) : RH_OK;
}

const char *rh_concepts_warnings(const rh_concepts *c) { return c->warnings.data ? c->warnings.data : ""; }
rh_extract_stats rh_concepts_stats(const rh_concepts *c) { return c->stats; }

/* ---- describe ----------------------------------------------------------------------------- */

static rh_status describe_texts(rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    if (spec->chat && c->model && c->model->tokenizer && rh_tokenizer_chat(c->model->tokenizer) == RH_CHAT_NONE) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%.200s' has no chat template that Rhumb knows", c->model->name),
                         err, "leave chat=true out");
    }
    if (rh_reads_pairs(spec->kind)) {
        bool paired = false;
        RH_TRY(rh_pairs_check_paired(&paired, spec->text, spec->positive, spec->negative, err));
        return spec->kind == RH_ATOM_PCA && !paired ? rh_pca_needs_pairs(spec, err) : RH_OK;
    }
    rh_pairs pairs = {0}; /* act: an empty text, or marks that do not fit, can be said now */
    rh_status status = rh_texts_read(&pairs, spec, err);
    rh_pairs_free(&pairs);
    return status;
}

static rh_status describe_token(rh_concepts *c, const rh_atom_spec *spec, rh_atom_info *info, rh_error *err)
{
    rh_tokens tokens = {0};
    if (!c->model) return RH_OK;
    RH_TRY(rh_atom_token_ids(&tokens, c, spec, err));
    rh_tokens_free(&tokens);
    info->d = c->model->config.d_model;
    return RH_OK;
}

static rh_status describe_load(rh_concepts *c, const rh_atom_spec *spec, rh_atom_info *info, rh_error *err)
{
    const rh_loaded *l = NULL;
    RH_TRY(rh_loaded_get(&l, c, spec, err));
    const rh_vector *v = l->file.vector;
    info->d = v->d;
    if (!c->model && !c->options.force_model && l->made_on.fingerprint) info->model = &l->made_on;
    if (v->layers[0] < 0) return RH_OK;
    info->place = v->n_layers == 1 ? RH_PLACE_PINNED : RH_PLACE_FAMILY;
    info->hook = v->hook;
    info->n_layers = v->n_layers;
    info->layers = v->layers;
    return RH_OK;
}

static rh_status describe_sae(rh_concepts *c, const rh_atom_spec *spec, rh_atom_info *info, rh_error *err)
{
    const rh_named_sae *s = NULL;
    RH_TRY(rh_named_sae_get(&s, c, spec, err));
    if (spec->feature >= 0) RH_TRY(rh_sae_check_feature(s->sae, spec->feature, err));
    if (spec->kind == RH_ATOM_MAX_ACT) RH_TRY(rh_feature_max_act(NULL, c, spec, err));
    *info = (rh_atom_info){.place = RH_PLACE_PINNED, .hook = s->hook, .n_layers = 1, .layers = &s->layer, .d = rh_sae_about(s->sae)->d_out};
    return RH_OK;
}

static rh_status describe(void *self, const rh_atom_spec *spec, rh_atom_info *out, rh_error *err)
{
    rh_concepts *c = self;
    rh_atom_info info = {.place = RH_PLACE_CONSTANT, .hook = RH_RESID_POST};
    rh_status status = RH_OK;
    switch (spec->kind) {
    case RH_ATOM_DIM:
    case RH_ATOM_PCA:
    case RH_ATOM_LDA:
    case RH_ATOM_LOGREG:
    case RH_ATOM_ACT:
        info.place = RH_PLACE_FLOATING;
        status = describe_texts(c, spec, err);
        break;
    case RH_ATOM_TOKEN:
    case RH_ATOM_UNEMBED: status = describe_token(c, spec, &info, err); break;
    case RH_ATOM_LOAD: status = describe_load(c, spec, &info, err); break;
    case RH_ATOM_SAE:
    case RH_ATOM_MAX_ACT: status = describe_sae(c, spec, &info, err); break;
    case RH_ATOM_RANDOM: break;
    case RH_ATOM_NEUTRAL:
    case RH_ATOM_RESID_NORM: info.place = RH_PLACE_FLOATING; break;
    }
    if (status) {
        if (status != RH_ENOMEM) rh_fold_place(err);
        return status;
    }
    *out = info;
    return RH_OK;
}

/* ---- compute, survey ----------------------------------------------------------------------- */

/* The sources of the last computation are forgotten. */
static rh_status begin(rh_concepts *c, rh_error *err)
{
    c->stats = (rh_extract_stats){0};
    json_array_clear(c->sources);
    json_array_clear(c->source_stats);
    if (!c->model || !c->model->backend) return RH_OK;
    return rh_model_check(c->model, err);
}

static rh_status fill_simple(rh_concepts *c, const rh_atom_request *r, rh_error *err)
{
    switch (r->spec->kind) {
    case RH_ATOM_TOKEN:
    case RH_ATOM_UNEMBED:
        if (c->model) return rh_atom_fill_token(c, r, err);
        return rh_hinted(rh_fail(err, RH_EMODEL, "%s needs a model, and none was given",
                r->spec->kind == RH_ATOM_TOKEN ? "token" : "unembed"),
                         err, "name one on the command line (-m MODEL), or with a line  model \"…\"  in the book");
    case RH_ATOM_LOAD: return rh_atom_fill_load(c, r, err);
    case RH_ATOM_SAE: return rh_atom_fill_feature(c, r, err);
    case RH_ATOM_MAX_ACT: return rh_atom_fill_max_act(c, r, err);
    case RH_ATOM_RANDOM:
        RH_TRY(rh_atom_fill_random(r, err));
        return rh_note_source(c, r->spec, NULL, -1, -1, -1, err);
    case RH_ATOM_DIM:
    case RH_ATOM_ACT:
    case RH_ATOM_PCA:
    case RH_ATOM_LDA:
    case RH_ATOM_LOGREG:
    case RH_ATOM_NEUTRAL:
    case RH_ATOM_RESID_NORM: break;
    }
    return RH_OK;
}

static rh_status compute(void *self, const rh_atom_request *requests, int32_t n, int32_t *culprit,
                         rh_error *err)
{
    rh_concepts *c = self;
    int32_t unused;
    if (!culprit) culprit = &unused;
    *culprit = -1;
    RH_TRY(begin(c, err));
    rh_status status = RH_OK;
    for (int32_t i = 0; i < n && !status; i++) {
        *culprit = i;
        status = fill_simple(c, &requests[i], err);
    }
    if (!status) {
        *culprit = -1;
        status = rh_jobs_compute(c, requests, n, culprit, err);
    }
    if (status && status != RH_ENOMEM) rh_fold_place(err);
    return status;
}

static rh_status survey(void *self, const rh_atom_request *requests, int32_t n, rh_atom_survey *each,
                        rh_plan_survey *all, rh_error *err)
{
    rh_status status = rh_jobs_survey(self, requests, n, each, all, err);
    if (status && status != RH_ENOMEM) rh_fold_place(err);
    return status;
}

static rh_status find_feature(void *self, const rh_atom_spec *spec, const char *label, size_t len, int32_t *feature, rh_error *err)
{
    return rh_feature_find(feature, self, spec, label, len, err);
}

static rh_status acting_sae(void *self, const rh_atom_spec *spec, const struct rh_sae **out, rh_error *err)
{
    return rh_concepts_acting(out, self, spec, err);
}

/* ---- life --------------------------------------------------------------------------------- */

rh_status rh_concepts_new(rh_concepts **out, const rh_model *model, const rh_concepts_options *o,
                          rh_error *err)
{
    rh_concepts *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->model = model;
    if (o) c->options = *o;
    c->options.cache_dir = NULL; /* a copy is in cache_dir */
    c->sources = json_array();
    c->source_stats = json_array();
    if (o && o->cache_dir) c->cache_dir = rh_strdup(o->cache_dir);
    if (!c->sources || !c->source_stats || (o && o->cache_dir && !c->cache_dir)) {
        rh_concepts_free(c);
        return rh_fail_nomem(err);
    }
    c->resolver = (rh_resolver){.self = c, .describe = describe, .compute = compute, .survey = survey,
                              .find_feature = find_feature, .acting_sae = acting_sae};
    if (o) c->resolver.width[RH_RESID_POST] = o->width;
    if (model) {
        c->resolver.n_layers = model->config.n_layers;
        c->resolver.model_name = model->name;
        for (int hook = 0; hook < RH_N_HOOKS; hook++)
            c->resolver.width[hook] = rh_model_width(model, (rh_hook)hook);
    }
    *out = c;
    return RH_OK;
}

void rh_concepts_free(rh_concepts *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_loaded; i++) rh_loaded_free(c->loaded[i]);
    free(c->loaded);
    for (size_t i = 0; i < c->n_saes; i++) rh_named_sae_free(c->saes[i]);
    free(c->saes);
    free(c->cache_dir);
    rh_str_free(&c->warnings);
    json_decref(c->sources);
    json_decref(c->source_stats);
    free(c);
}

const rh_resolver *rh_concepts_resolver(rh_concepts *c) { return &c->resolver; }

/* vec.c - an expression's value looked at without running anything: norms, cosines to every named
 * value, parts, and the vocabulary rows it points along.
 *
 * Nearest tokens: W_U·(γ⊙v), γ the final norm's gain: what v adds to each logit if it reaches the last
 * norm unchanged, but for that norm's common factor. A projection, not a measured effect. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/diagnose.h"
#include "probes/geometry.h"
#include "probes/steer.h"

static rh_status copy_layers(int32_t **out, const int32_t *layers, int32_t n, rh_error *err)
{
    *out = rh_calloc((size_t)n, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) (*out)[i] = layers ? layers[i] : -1;
    return RH_OK;
}

/* ---- by kind ---------------------------------------------------------------------------------- */

static rh_status fill_scalar(rh_vec_report *r, const rh_value *v, rh_error *err)
{
    r->scalar = rh_calloc((size_t)v->n_layers, sizeof *r->scalar);
    if (!r->scalar) return rh_fail_nomem(err);
    memcpy(r->scalar, v->scalar, (size_t)v->n_layers * sizeof *r->scalar);
    r->n_scalar = v->n_layers;
    return v->layers ? copy_layers(&r->scalar_layers, v->layers, v->n_layers, err) : RH_OK;
}

static rh_status fill_span(rh_vec_report *r, const rh_value *v, rh_error *err)
{
    r->hook = v->hook;
    r->span_given = v->span_given;
    r->d = v->n_layers ? v->span[0].d : 0;
    RH_TRY(copy_layers(&r->layers, v->layers, v->n_layers, err));
    r->n_layers = v->n_layers;
    r->ranks = rh_calloc((size_t)v->n_layers, sizeof *r->ranks);
    if (!r->ranks) return rh_fail_nomem(err);
    for (int32_t i = 0; i < v->n_layers; i++) {
        r->ranks[i] = v->span[i].rank;
        if (i == 0 || r->ranks[i] < r->span_rank) r->span_rank = r->ranks[i];
    }
    return RH_OK;
}

static rh_status fill_vector(rh_vec_report *r, const rh_vector *v, rh_error *err)
{
    r->hook = v->hook;
    r->d = v->d;
    RH_TRY(copy_layers(&r->layers, v->layers, v->n_layers, err));
    r->norm = rh_calloc((size_t)v->n_layers, sizeof *r->norm);
    if (!r->norm) return rh_fail_nomem(err);
    r->n_layers = v->n_layers;
    for (int32_t i = 0; i < v->n_layers; i++) r->norm[i] = rh_norm(v->data + (size_t)i * (size_t)v->d, v->d);
    return RH_OK;
}

/* ---- cosines to names -------------------------------------------------------------------------- */

/* A named value can be compared where it has the same width and hook (a constant fits every hook of its
 * width) and exists at that layer. */
static const float *comparable(const rh_value *name, const rh_vector *v, int32_t layer)
{
    if (name->kind != RH_VALUE_VECTOR || name->vector->d != v->d) return NULL;
    bool constant = name->vector->layers[0] == -1 || layer == -1;
    if (!constant && name->vector->hook != v->hook) return NULL;
    return rh_vector_at(name->vector, layer).data;
}

static rh_status fill_cosines(rh_vec_report *r, const rh_evaluation *e, const rh_vector *v, rh_error *err)
{
    size_t cap = 0;
    for (int32_t i = 0; i < e->n_names; i++)
        for (int32_t l = 0; l < v->n_layers; l++) {
            const float *row = comparable(&e->names[i].value, v, v->layers[l]);
            if (!row) continue;
            if (!RH_GROW(r->cosines, cap, (size_t)r->n_cosines)) return rh_fail_nomem(err);
            rh_name_cosine *c = &r->cosines[r->n_cosines];
            *c = (rh_name_cosine){.name = rh_strdup(e->names[i].name), .layer = v->layers[l],
                                  .cosine = rh_cosine(row, v->data + (size_t)l * (size_t)v->d, v->d),
                                  .norm = rh_norm(row, v->d)};
            if (!c->name) return rh_fail_nomem(err);
            r->n_cosines++;
        }
    return RH_OK;
}

/* ---- nearest tokens ---------------------------------------------------------------------------- */

static rh_status list_tokens(rh_token_change **out, int32_t *n_out, const float *scores, const int32_t *ids,
                             int32_t n, const rh_tokenizer *t, rh_error *err)
{
    *out = rh_calloc((size_t)n, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        (*out)[i] = (rh_token_change){.id = ids[i], .after = scores[ids[i]], .piece = rh_piece_text(t, ids[i])};
        *n_out = i + 1;
        if (!(*out)[i].piece) return rh_fail_nomem(err);
    }
    return RH_OK;
}

/* scores [n_vocab], ids [top], x [d]: scratch. */
static rh_status nearest_at(rh_nearest *out, float *scores, int32_t *ids, float *x, const rh_model *m,
                            const float *v, int32_t top, rh_error *err)
{
    int32_t n, n_vocab = m->config.n_vocab;
    for (int32_t j = 0; j < m->config.d_model; j++) x[j] = m->final_norm_host[j] * v[j];
    RH_TRY(rh_model_unembed(scores, m, x, err));
    rh_top_changes(ids, &n, scores, n_vocab, top, 1);
    RH_TRY(list_tokens(&out->up, &out->n_up, scores, ids, n, m->tokenizer, err));
    rh_top_changes(ids, &n, scores, n_vocab, top, -1);
    return list_tokens(&out->down, &out->n_down, scores, ids, n, m->tokenizer, err);
}

rh_status rh_nearest_tokens(rh_nearest *out, const rh_model *m, const float *v, int32_t layer, int32_t top, rh_error *err)
{
    if (top > m->config.n_vocab) top = m->config.n_vocab;
    float *scores = rh_calloc((size_t)m->config.n_vocab, sizeof *scores);
    float *x = rh_calloc((size_t)m->config.d_model, sizeof *x);
    int32_t *ids = rh_calloc((size_t)top, sizeof *ids);
    out->layer = layer;
    rh_status status = scores && x && ids ? nearest_at(out, scores, ids, x, m, v, top, err) : rh_fail_nomem(err);
    free(scores);
    free(x);
    free(ids);
    return status;
}

static rh_status fill_nearest(rh_vec_report *r, const rh_model *m, const rh_vector *v, int32_t top, rh_error *err)
{
    r->nearest = rh_calloc((size_t)v->n_layers, sizeof *r->nearest);
    if (!r->nearest) return rh_fail_nomem(err);
    for (int32_t l = 0; l < v->n_layers; l++) {
        r->n_nearest = l + 1;
        RH_TRY(rh_nearest_tokens(&r->nearest[l], m, v->data + (size_t)l * (size_t)v->d, v->layers[l], top, err));
    }
    return RH_OK;
}

/* Does v lie in the residual stream, whose readout the vocabulary is? */
static bool has_tokens(const rh_model *m, const rh_vector *v)
{
    return m && m->tokenizer && m->final_norm_host && v->d == m->config.d_model && v->hook != RH_ATTN_Z &&
           v->hook != RH_MLP_IN;
}

/* ---- all --------------------------------------------------------------------------------------- */

static rh_status fill_geometry(rh_vec_report *r, const rh_evaluation *e, const char *label, const rh_vector *v,
                               rh_error *err)
{
    if (!e->n_parts) return RH_OK;
    r->geometry = rh_calloc((size_t)v->n_layers, sizeof *r->geometry);
    if (!r->geometry) return rh_fail_nomem(err);
    for (int32_t l = 0; l < v->n_layers; l++) {
        r->n_geometry = l + 1;
        RH_TRY(rh_geometry_make(&r->geometry[l], label, e->parts, e->n_parts, v, v->layers[l], err));
    }
    return RH_OK;
}

static rh_status fill(rh_vec_report *r, const rh_model *m, const rh_evaluation *e, int32_t top, rh_error *err)
{
    const rh_value *v = e->value;
    rh_str notes = {0};
    r->kind = v->kind;
    rh_str_puts(&notes, "");
    rh_status status = RH_OK;
    if (v->kind == RH_VALUE_SCALAR) {
        status = fill_scalar(r, v, err);
    } else if (v->kind == RH_VALUE_SPAN) {
        status = fill_span(r, v, err);
        if (!status && r->span_rank < r->span_given)
            rh_str_printf(&notes, "the %d vectors are linearly dependent: their span has rank %d", (int)r->span_given,
                          (int)r->span_rank);
    } else {
        status = fill_vector(r, v->vector, err);
        if (!status) status = fill_cosines(r, e, v->vector, err);
        if (!status) status = fill_geometry(r, e, r->expression, v->vector, err);
        if (!status && top > 0 && has_tokens(m, v->vector)) status = fill_nearest(r, m, v->vector, top, err);
        if (!status && m && top > 0 && !has_tokens(m, v->vector))
            rh_str_puts(&notes, "no nearest tokens: the vector does not lie in the residual stream of a model with a tokenizer");
    }
    r->notes = notes.data;
    return status ? status : notes.failed || !notes.data ? rh_fail_nomem(err) : RH_OK;
}

rh_status rh_probe_vec(rh_vec_report **out, const rh_model *m, const rh_evaluation *e,
                       const char *expression, int32_t top_tokens, rh_error *err)
{
    if (!e->value) return rh_fail(err, RH_EKIND, "an action is no value: there is nothing to measure");
    rh_vec_report *r = rh_calloc(1, sizeof *r);
    if (!r) return rh_fail_nomem(err);
    r->expression = rh_strdup(expression ? expression : "");
    rh_status status = r->expression ? fill(r, m, e, top_tokens, err) : rh_fail_nomem(err);
    if (status)
        rh_vec_report_free(r);
    else
        *out = r;
    return status;
}

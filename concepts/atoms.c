/* atoms.c - sources that need no forward pass: vocabulary rows, vector files, random directions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "concepts/prompt.h"
#include "concepts/room.h"

/* ---- random ------------------------------------------------------------------------------- */

rh_status rh_atom_fill_random(const rh_atom_request *r, rh_error *err)
{
    double square = 0;
    for (int32_t j = 0; j < r->d; j++) {
        double z = rh_random_normal(r->spec->seed, 0, (uint64_t)j);
        square += z * z;
    }
    if (!(square > 0)) return rh_fail(err, RH_EVALUE, "random needs a width");
    double scale = 1 / sqrt(square);
    for (int32_t j = 0; j < r->d; j++)
        r->out[j] = (float)(scale * rh_random_normal(r->spec->seed, 0, (uint64_t)j));
    return RH_OK;
}

/* ---- token, unembed ------------------------------------------------------------------------ */

rh_status rh_atom_token_ids(rh_tokens *out, const rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    const char *form = spec->kind == RH_ATOM_TOKEN ? "token" : "unembed";
    rh_tokens tokens = {0};
    RH_TRY(rh_text_ids(&tokens, c->model, spec->text, spec->text_len, c->options.special, err));
    if (tokens.n == 1 || (tokens.n > 1 && spec->at == RH_AT_MEAN)) {
        *out = tokens;
        return RH_OK;
    }
    rh_status status;
    if (!tokens.n) {
        status = rh_fail(err, RH_EVALUE, "%s of an empty text", form);
    } else {
        rh_str split = {0};
        rh_text_split(&split, c->model, &tokens);
        status = split.failed ? rh_fail_nomem(err)
                              : rh_fail(err, RH_EVALUE, "\"%.100s\" is %zu tokens: %.250s", spec->text, tokens.n,
                                        split.data);
        if (status == RH_EVALUE)
            rh_hint(err, "write one of them (a space in front belongs to a token), or %s(\"…\", at=mean) for "
                         "the mean of their rows", form);
        rh_str_free(&split);
    }
    rh_tokens_free(&tokens);
    return status;
}

rh_status rh_atom_fill_token(rh_concepts *c, const rh_atom_request *r, rh_error *err)
{
    rh_tokens tokens = {0};
    float *row = NULL;
    double *sum = NULL;
    RH_TRY(rh_atom_token_ids(&tokens, c, r->spec, err));
    rh_status status = RH_OK;
    int32_t d = c->model->config.d_model;
    if (d != r->d) {
        status = rh_fail(err, RH_ESITE, "a vocabulary row has %d numbers, and %d are needed here", (int)d, (int)r->d);
        goto done;
    }
    row = rh_calloc((size_t)d, sizeof *row);
    sum = rh_calloc((size_t)d, sizeof *sum);
    if (!row || !sum) status = rh_fail_nomem(err);
    for (size_t i = 0; i < tokens.n && !status; i++) {
        status = r->spec->kind == RH_ATOM_TOKEN ? rh_model_embed_row(row, c->model, tokens.items[i].id, err)
                                                : rh_model_unembed_row(row, c->model, tokens.items[i].id, err);
        for (int32_t j = 0; j < d && !status; j++) sum[j] += row[j];
    }
    for (int32_t j = 0; j < d && !status; j++) r->out[j] = (float)(sum[j] / (double)tokens.n);
    if (!status) status = rh_note_source(c, r->spec, NULL, -1, -1, (int64_t)tokens.n, err);
done:
    free(row);
    free(sum);
    rh_tokens_free(&tokens);
    return status;
}

/* ---- load --------------------------------------------------------------------------------- */

void rh_loaded_free(rh_loaded *l)
{
    if (!l) return;
    rh_vectorfile_free(&l->file);
    json_decref(l->metadata);
    free(l->path);
    free(l->name);
    free(l);
}

/* Without a model: the first file's. What the two make together is the language's business, and no error with
 * force_model. */
static rh_status warn_of_models(rh_concepts *c, const rh_loaded *l, rh_error *err)
{
    for (size_t i = 0; i < c->n_loaded && c->options.force_model && l->made_on.fingerprint; i++) {
        const rh_loaded *first = c->loaded[i];
        if (!first->made_on.fingerprint) continue;
        if (!strcmp(first->made_on.fingerprint, l->made_on.fingerprint)) return RH_OK;
        return rh_concepts_warn(c, err, "%s was made on %.80s (%.12s…), and %s on %.80s (%.12s…)", l->path, l->made_on.name,
                                l->made_on.fingerprint, first->path, first->made_on.name, first->made_on.fingerprint);
    }
    return RH_OK;
}

/* The model a file was made on must be the one at hand. */
static rh_status check_model(rh_concepts *c, const rh_loaded *l, rh_error *err)
{
    const char *fingerprint = l->made_on.fingerprint, *name = l->made_on.name;
    if (!c->model) return warn_of_models(c, l, err);
    if (!fingerprint || strcmp(fingerprint, c->model->fingerprint) == 0) return RH_OK;
    if (c->options.force_model)
        return rh_concepts_warn(c, err, "%s was made on %.80s (%.12s…), not on %s (%.12s…)", l->path, name,
                                fingerprint, c->model->name, c->model->fingerprint);
    return rh_hinted(rh_fail(err, RH_EMODEL, "'%.200s' was made on %.80s (%.12s…), not on %.80s (%.12s…)", l->path, name,
            fingerprint, c->model->name, c->model->fingerprint),
                     err, "compute it again on this model, or use --force-model");
}

static rh_status check_shape(const rh_concepts *c, const rh_loaded *l, rh_error *err)
{
    const rh_vector *v = l->file.vector;
    for (size_t i = 0; i < (size_t)v->n_layers * (size_t)v->d; i++)
        if (!isfinite(v->data[i]))
            return rh_fail(err, RH_EFORMAT, "'%.200s' holds a number that is not finite (vector %zu, element %zu)",
                           l->path, i / (size_t)v->d, i % (size_t)v->d);
    if (!c->model || v->layers[0] < 0) return RH_OK;
    int32_t width = rh_model_width(c->model, v->hook), last = v->layers[v->n_layers - 1];
    if (v->d != width)
        return rh_fail(err, RH_ESITE, "'%.200s' has vectors of %d numbers, but %s of %.80s is %d wide", l->path,
                       (int)v->d, rh_hook_name(v->hook), c->model->name, (int)width);
    if (last >= c->model->config.n_layers)
        return rh_fail(err, RH_ESITE, "'%.200s' has a vector for layer %d, but %.80s has layers 0..%d", l->path,
                       (int)last, c->model->name, (int)c->model->config.n_layers - 1);
    return RH_OK;
}

static rh_status read_metadata(rh_loaded *l, rh_error *err)
{
    if (!l->file.metadata) return RH_OK;
    RH_TRY(rh_json_parse(&l->metadata, l->file.metadata, strlen(l->file.metadata), l->path, err));
    const json_t *from = json_object_get(l->metadata, "model");
    const char *name = json_string_value(json_object_get(from, "name"));
    l->made_on = (rh_atom_model){name ? name : "another model", json_string_value(json_object_get(from, "fingerprint"))};
    return RH_OK;
}

static rh_status load(rh_loaded **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    rh_status status;
    rh_loaded *l = rh_calloc(1, sizeof *l);
    if (!l) return rh_fail_nomem(err);
    l->path = rh_strndup(spec->text, spec->text_len);
    if (spec->name) l->name = rh_strdup(spec->name);
    if (!l->path || (spec->name && !l->name)) status = rh_fail_nomem(err);
    else status = rh_vectorfile_read(&l->file, l->path, l->name, err);
    if (!status) status = rh_sha256_file(l->sha256, l->path, err);
    if (!status) status = read_metadata(l, err);
    if (!status) status = check_shape(c, l, err);
    if (!status) status = check_model(c, l, err);
    if (status)
        rh_loaded_free(l);
    else
        *out = l;
    return status;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

rh_status rh_loaded_get(const rh_loaded **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    for (size_t i = 0; i < c->n_loaded; i++)
        if (same_text(c->loaded[i]->path, spec->text) && same_text(c->loaded[i]->name, spec->name)) {
            *out = c->loaded[i];
            return RH_OK;
        }
    if (!RH_GROW(c->loaded, c->cap_loaded, c->n_loaded)) return rh_fail_nomem(err);
    RH_TRY(load(&c->loaded[c->n_loaded], c, spec, err));
    *out = c->loaded[c->n_loaded++];
    return RH_OK;
}

rh_status rh_atom_fill_load(rh_concepts *c, const rh_atom_request *r, rh_error *err)
{
    const rh_loaded *l = NULL;
    RH_TRY(rh_loaded_get(&l, c, r->spec, err));
    const rh_vector *v = l->file.vector;
    if (v->d != r->d)
        return rh_fail(err, RH_ESITE, "'%.200s' has vectors of %d numbers, and %d are needed here", l->path,
                       (int)v->d, (int)r->d);
    bool constant = v->layers[0] < 0;
    if (!constant && v->hook != r->hook)
        return rh_fail(err, RH_ESITE, "'%.200s' lives at %s, not at %s", l->path, rh_hook_name(v->hook),
                       rh_hook_name(r->hook));
    for (int32_t i = 0; i < (constant ? 1 : r->n_layers); i++) {
        const float *data = constant ? v->data : rh_vector_at(v, r->layers[i]).data;
        if (!data) return rh_fail(err, RH_ESITE, "'%.200s' has no vector at layer %d", l->path, (int)r->layers[i]);
        memcpy(r->out + (size_t)i * (size_t)r->d, data, (size_t)r->d * sizeof *data);
    }
    return rh_note_source(c, r->spec, l->sha256, -1, -1, -1, err);
}

/* metadata.c - where a vector comes from, as the JSON of DESIGN §5. */
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "concepts/room.h"

/* `key: value` into an object, taking the value; false on no memory. */
static bool put(json_t *object, const char *key, json_t *value)
{
    if (!value) return false;
    return json_object_set_new(object, key, value) == 0;
}

static const char *const kinds[] = {"dim", "act", "token", "unembed", "load", "random",
                                    "pca", "lda", "logreg", "neutral", "resid_norm", "sae", "max_act"};
static const char *const places[] = {"last", "text_last", "mean", "all", "marked"};

const char *rh_atom_word(rh_atom_kind k) { return kinds[k]; }

/* ---- sources ------------------------------------------------------------------------------ */

static bool put_options(json_t *o, const rh_concepts *c, const rh_atom_spec *s)
{
    bool text = rh_reads_pairs(s->kind) || s->kind == RH_ATOM_ACT, row = s->kind == RH_ATOM_TOKEN || s->kind == RH_ATOM_UNEMBED;
    bool ok = true;
    if (s->kind == RH_ATOM_PCA && s->no_center) ok = put(o, "center", json_false());
    if (s->kind == RH_ATOM_LDA) ok = put(o, "shrink", json_real(s->shrink));
    if (s->kind == RH_ATOM_LOGREG) ok = put(o, "l2", json_real(s->l2));
    if (s->kind == RH_ATOM_RESID_NORM) ok = put(o, "quantile", json_real(s->quantile));
    if (s->kind == RH_ATOM_RANDOM) ok = put(o, "seed", json_integer((json_int_t)s->seed));
    if (ok && (s->kind == RH_ATOM_ACT || row)) ok = put(o, "text", json_stringn(s->text, s->text_len));
    if (ok && (text || (row && s->at == RH_AT_MEAN))) ok = put(o, "at", json_string(places[s->at]));
    if (ok && text && s->chat) ok = put(o, "chat", json_true());
    if (ok && text && s->prefix && s->prefix[0]) ok = put(o, "prefix", json_string(s->prefix));
    if (ok && s->positive) ok = put(o, "positive", json_string(s->positive));
    if (ok && s->negative) ok = put(o, "negative", json_string(s->negative));
    if (ok && s->kind == RH_ATOM_LOAD && s->name) ok = put(o, "name", json_string(s->name));
    if (ok && rh_reads_sae(s->kind)) ok = put(o, "index", json_integer(s->feature));
    if (ok && c->options.special && (text || row)) ok = put(o, "special", json_true());
    return ok;
}

static json_t *make_source(const rh_concepts *c, const rh_atom_spec *s, const char *sha256)
{
    json_t *source = json_object(), *options = json_object();
    bool file = rh_reads_pairs(s->kind) || s->kind == RH_ATOM_LOAD || rh_reads_sae(s->kind);
    bool ok = source && options && put_options(options, c, s);
    if (ok) ok = put(source, "kind", json_string(kinds[s->kind]));
    if (ok) ok = put(source, "path", file ? json_stringn(s->text, s->text_len) : json_null());
    if (ok) ok = put(source, "sha256", sha256 ? json_string(sha256) : json_null());
    if (ok) {
        ok = put(source, "options", options);
        options = NULL;
    }
    json_decref(options);
    if (ok) return source;
    json_decref(source);
    return NULL;
}

static json_t *make_stats(int64_t positives, int64_t negatives, int64_t tokens)
{
    json_t *stats = json_object();
    bool ok = stats != NULL;
    if (ok && positives >= 0) ok = put(stats, "positives", json_integer(positives));
    if (ok && negatives >= 0) ok = put(stats, "negatives", json_integer(negatives));
    if (ok && tokens >= 0) ok = put(stats, "tokens", json_integer(tokens));
    if (ok) return stats;
    json_decref(stats);
    return NULL;
}

/* Takes the source; NULL: no memory. */
static rh_status note(rh_concepts *c, json_t *source, int64_t positives, int64_t negatives, int64_t tokens, rh_error *err)
{
    if (!source) return rh_fail_nomem(err);
    for (size_t i = 0; i < json_array_size(c->sources); i++)
        if (json_equal(json_array_get(c->sources, i), source)) {
            json_decref(source);
            return RH_OK;
        }
    json_t *stats = make_stats(positives, negatives, tokens);
    /* Both arrays grow, or neither is used: an error ends the computation. */
    bool ok = stats && json_array_append(c->sources, source) == 0 && json_array_append(c->source_stats, stats) == 0;
    json_decref(source);
    json_decref(stats);
    return ok ? RH_OK : rh_fail_nomem(err);
}

rh_status rh_note_source(rh_concepts *c, const rh_atom_spec *spec, const char *sha256, int64_t positives,
                         int64_t negatives, int64_t tokens, rh_error *err)
{
    return note(c, make_source(c, spec, sha256), positives, negatives, tokens, err);
}

/* An SAE's file is gigabytes: a fingerprint stands for its hash. */
rh_status rh_note_feature(rh_concepts *c, const rh_atom_spec *spec, const rh_named_sae *s, rh_error *err)
{
    json_t *source = make_source(c, spec, NULL);
    if (source && !put(source, "fingerprint", json_string(s->fingerprint))) {
        json_decref(source);
        source = NULL;
    }
    return note(c, source, -1, -1, -1, err);
}

rh_status rh_concepts_note_pairs(rh_concepts *c, const rh_atom_spec *spec, const char *sha256, int64_t positives,
                                 int64_t negatives, int64_t tokens, rh_error *err)
{
    return rh_note_source(c, spec, sha256, positives, negatives, tokens, err);
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* The model at hand; else the one that all loaded files agree on; else null. New reference. */
static json_t *make_model(const rh_concepts *c)
{
    if (c->model) {
        const rh_model *m = c->model;
        return json_pack("{s:s, s:s, s:i, s:i}", "name", m->name, "fingerprint", m->fingerprint, "d",
                         (int)m->config.d_model, "layers", (int)m->config.n_layers);
    }
    json_t *common = NULL;
    for (size_t i = 0; i < c->n_loaded; i++) {
        json_t *from = json_object_get(c->loaded[i]->metadata, "model");
        if (!json_is_object(from) || (common && !json_equal(common, from))) return json_null();
        common = from;
    }
    return common ? json_incref(common) : json_null();
}

static json_t *make_norms(const rh_vector *v)
{
    json_t *norms = json_array();
    for (int32_t i = 0; i < v->n_layers && norms; i++)
        if (json_array_append_new(norms, json_real(rh_norm(v->data + (size_t)i * (size_t)v->d, v->d)))) {
            json_decref(norms);
            return NULL;
        }
    return norms;
}

static json_t *make_layers(const rh_vector *v)
{
    json_t *layers = json_array();
    for (int32_t i = 0; i < v->n_layers && layers; i++)
        if (json_array_append_new(layers, json_integer(v->layers[i]))) {
            json_decref(layers);
            return NULL;
        }
    return layers;
}

static json_t *make_vector_stats(const rh_concepts *c, const rh_vector *v)
{
    json_t *stats = json_object();
    if (stats && put(stats, "layers", make_layers(v)) && put(stats, "norms", make_norms(v)) &&
        put(stats, "sources", json_copy(c->source_stats)))
        return stats;
    json_decref(stats);
    return NULL;
}

rh_status rh_concepts_metadata(char **json, rh_concepts *c, const char *expression, const rh_vector *v,
                               const char *created, rh_error *err)
{
    char *text = NULL;
    json_t *root = json_object();
    bool ok = root && put(root, "version", json_integer(1)) &&
              put(root, "expression", expression ? json_string(expression) : json_null()) &&
              put(root, "model", make_model(c)) &&
              put(root, "hook", json_string(rh_hook_name(v->hook))) &&
              put(root, "sources", json_copy(c->sources)) &&
              put(root, "stats", make_vector_stats(c, v)) &&
              put(root, "created", created ? json_string(created) : json_null());
    if (ok) text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text) return rh_fail_nomem(err);
    *json = text;
    return RH_OK;
}

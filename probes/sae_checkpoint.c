#include "probes/sae_checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "concepts/corpus.h"

/* ---- which run --------------------------------------------------------------------------------- */

rh_status rh_sae_run_key(rh_sae_run *r, rh_error *err)
{
    const rh_sae_training *t = r->t;
    char corpus[65];
    rh_corpus *c = NULL;
    rh_str s = {0};
    rh_status status = rh_corpus_open(&c, t->corpus, t->n_corpus, err);
    if (!status) status = rh_corpus_hash(corpus, c, err);
    rh_corpus_free(c);
    if (status) return status;
    rh_str_printf(&s, "rhumb sae train 4 %s %s layer %d hook %d width %d k %d jumprelu %d tokens %lld batch %d context %d buffer %d reuse %d ",
                  r->m->fingerprint, corpus, (int)t->layer, (int)t->hook, (int)t->width, (int)t->k, t->jumprelu, (long long)t->tokens,
                  (int)t->batch, (int)t->context, (int)t->buffer, (int)t->reuse);
    rh_str_printf(&s, "rate %a decay %a sparsity %a bandwidth %a seed %llu exact %d kernels %s bf16 %d", t->rate, t->decay, t->sparsity, t->bandwidth,
                  (unsigned long long)t->seed, r->m->backend->exact, r->m->backend->ops->name, t->bf16);
    if (s.failed) status = rh_fail_nomem(err);
    else rh_sha256_bytes(r->key, s.data, s.len);
    rh_str_free(&s);
    return status;
}

/* ---- saving ------------------------------------------------------------------------------------- */

static json_t *place(const rh_sae_run *r, int64_t *at)
{
    int64_t rounds, tokens;
    json_t *files = json_array();
    rh_state_source_at(at, &rounds, &tokens, r->source);
    for (int32_t i = 0; files && i < r->t->n_corpus; i++)
        if (json_array_append_new(files, json_integer((json_int_t)at[i]))) {
            json_decref(files);
            return NULL;
        }
    const rh_state_buffer *b = r->buffer;
    return json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "key", r->key, "learned", (json_int_t)r->learned, "steps",
                     (json_int_t)rh_dictionary_steps(r->dictionary), "documents", files, "rounds", (json_int_t)rounds, "fed", (json_int_t)tokens,
                     "scale", b->scale, "filled", (json_int_t)b->filled, "oldest", (json_int_t)b->oldest, "pass", (json_int_t)b->pass, "drawn",
                     (json_int_t)b->drawn);
}

static rh_status place_text(char **out, const rh_sae_run *r, rh_error *err)
{
    int64_t *at = rh_calloc((size_t)r->t->n_corpus, sizeof *at);
    json_t *o = at ? place(r, at) : NULL;
    *out = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    free(at);
    return *out ? RH_OK : rh_fail_nomem(err);
}

rh_status rh_sae_checkpoint_save(const rh_sae_run *r, const char *path, rh_error *err)
{
    rh_dictionary_array arrays[RH_DICTIONARY_ARRAYS];
    rh_safetensors_entry entries[RH_DICTIONARY_ARRAYS + 2];
    const rh_state_buffer *b = r->buffer;
    const int32_t n = rh_dictionary_arrays(arrays, r->dictionary);
    char *text;
    rh_st_writer *w = NULL;
    RH_TRY(place_text(&text, r, err));
    for (int32_t i = 0; i < n; i++) entries[i] = (rh_safetensors_entry){arrays[i].name, RH_F32, 1, {arrays[i].n}};
    entries[n] = (rh_safetensors_entry){"states.mean", RH_F32, 1, {b->d}};
    entries[n + 1] = (rh_safetensors_entry){"states", RH_BF16, 2, {b->filled, b->d}};
    rh_status status = rh_st_writer_open(&w, path, entries, n + 2, (const char *const[][2]){{"sae_train", text}}, 1, err);
    for (int32_t i = 0; !status && i < n; i++) status = rh_st_writer_put(w, arrays[i].data, (size_t)arrays[i].n * sizeof(float), err);
    if (!status) status = rh_st_writer_put(w, b->mean, (size_t)b->d * sizeof(float), err);
    if (!status) status = rh_st_writer_put(w, b->z, (size_t)b->filled * (size_t)b->d * sizeof *b->z, err);
    free(text);
    if (!status) return rh_st_writer_commit(w, err);
    rh_st_writer_discard(w);
    return status;
}

/* ---- going on ------------------------------------------------------------------------------------ */

static rh_status damaged(const char *path, const char *what, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is no checkpoint that can be gone on from: %s", path, what), err,
                     "remove it, and training begins anew");
}

static bool whole(int64_t *out, const json_t *o, const char *name, int64_t least, int64_t most)
{
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v)) return false;
    *out = (int64_t)json_integer_value(v);
    return *out >= least && *out <= most;
}

/* Bytes are copied: they need not be aligned in the file. */
static rh_status take(void *to, const rh_safetensors *s, const char *name, rh_dtype type, int64_t n, const char *path, rh_error *err)
{
    const rh_tensor *t = rh_safetensors_find(s, name);
    const int32_t size = type == RH_F32 ? 4 : 2;
    int64_t items = 1;
    for (int32_t i = 0; t && i < t->n_dims; i++) items *= t->shape[i];
    if (!t || t->dtype != type || items != n) return damaged(path, name, err);
    memcpy(to, t->data, (size_t)n * (size_t)size);
    for (int64_t i = 0; i < n; i++) {
        const float x = type == RH_F32 ? ((const float *)to)[i] : rh_bf16_to_f32(((const uint16_t *)to)[i]);
        if (!isfinite(x)) return damaged(path, "a value is not finite", err);
    }
    return RH_OK;
}

static rh_status take_arrays(rh_sae_run *r, const rh_safetensors *s, const char *path, rh_error *err)
{
    rh_dictionary_array arrays[RH_DICTIONARY_ARRAYS];
    const int32_t n = rh_dictionary_arrays(arrays, r->dictionary);
    rh_state_buffer *b = r->buffer;
    for (int32_t i = 0; i < n; i++) RH_TRY(take(arrays[i].data, s, arrays[i].name, RH_F32, arrays[i].n, path, err));
    RH_TRY(take(b->mean, s, "states.mean", RH_F32, b->d, path, err));
    return take(b->z, s, "states", RH_BF16, b->filled * b->d, path, err);
}

static rh_status take_place(rh_sae_run *r, const json_t *o, const char *path, rh_error *err)
{
    rh_state_buffer *b = r->buffer;
    const json_t *files = json_object_get(o, "documents");
    int64_t steps = 0, rounds = 0, fed = 0, *at = rh_calloc((size_t)r->t->n_corpus, sizeof *at);
    if (!at) return rh_fail_nomem(err);
    b->scale = json_real_value(json_object_get(o, "scale"));
    bool good = whole(&r->learned, o, "learned", 1, r->t->tokens) && whole(&steps, o, "steps", 1, r->t->tokens) && whole(&rounds, o, "rounds", 0, INT32_MAX) &&
                whole(&fed, o, "fed", 1, INT64_MAX) && whole(&b->filled, o, "filled", 1, b->rows) && whole(&b->oldest, o, "oldest", 0, b->rows - 1) &&
                whole(&b->pass, o, "pass", 1, INT32_MAX) && whole(&b->drawn, o, "drawn", 0, b->filled) && isfinite(b->scale) && b->scale > 0 &&
                json_array_size(files) == (size_t)r->t->n_corpus;
    for (int32_t i = 0; good && i < r->t->n_corpus; i++) {
        const json_t *v = json_array_get(files, (size_t)i);
        good = json_is_integer(v) && json_integer_value(v) >= 0;
        at[i] = good ? (int64_t)json_integer_value(v) : 0;
    }
    rh_status status = good ? rh_state_source_go(r->source, at, rounds, fed, err) : damaged(path, "its place is out of range", err);
    if (!status) rh_dictionary_set_steps(r->dictionary, steps);
    free(at);
    return status;
}

rh_status rh_sae_checkpoint_load(bool *found, rh_sae_run *r, const char *path, rh_error *err)
{
    rh_safetensors *s = NULL;
    *found = rh_is_file(path);
    if (!*found) return RH_OK;
    RH_TRY(rh_safetensors_open(&s, path, err));
    const char *text = rh_safetensors_meta(s, "sae_train");
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    const char *key = json_string_value(json_object_get(o, "key"));
    rh_status status = RH_OK;
    if (!key) status = damaged(path, "it does not say of which run it is", err);
    else if (strcmp(key, r->key))
        status = rh_hinted(rh_fail(err, RH_EMODEL, "'%s' is of another training: another model, corpus, seed or option", path), err,
                           "give the same ones to go on, or remove it, and training begins anew");
    if (!status) status = take_place(r, o, path, err);
    if (!status) status = take_arrays(r, s, path, err);
    if (!status) rh_state_buffer_restore(r->buffer);
    json_decref(o);
    rh_safetensors_close(s);
    return status;
}

/* folder_bpe.c - tokenizer.json with a BPE model: vocabulary, merges in both spellings,
 * added tokens. What it asks for that is not there is refused by name. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/hub.h"
#include "engine/tokenizer/pretokenize.h"

typedef struct reading { rh_hub *h; const char *path; const json_t *root, *model; } reading;

static rh_status refuse(const reading *r, const char *what)
{
    return rh_hinted(rh_fail(r->h->err, RH_EUNSUPPORTED, "'%s': %s, which is not there yet", r->path, what), r->h->err,
                     "a GGUF file of the model may serve, or a tokenizer.model beside it");
}

static rh_status wrong(const reading *r, const char *what)
{
    return rh_fail(r->h->err, RH_EFORMAT, "'%s': %s", r->path, what);
}

static bool is_set(const json_t *v) /* neither null nor "" */
{
    return v && !json_is_null(v) && !(json_is_string(v) && !json_string_length(v));
}

static rh_status check_model(const reading *r)
{
    const char *type = json_string_value(json_object_get(r->model, "type"));
    if (!json_is_object(r->model)) return wrong(r, "it has no model");
    if (type && strcmp(type, "BPE") != 0)
        return rh_hinted(rh_fail(r->h->err, RH_EUNSUPPORTED, "'%s': its model is \"%.40s\"; known: BPE", r->path, type),
                         r->h->err, "a GGUF file of the model may serve");
    if (is_set(json_object_get(r->model, "continuing_subword_prefix"))) return refuse(r, "its model has a continuing_subword_prefix");
    if (is_set(json_object_get(r->model, "end_of_word_suffix"))) return refuse(r, "its model has an end_of_word_suffix");
    const json_t *dropout = json_object_get(r->model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0) return refuse(r, "its model drops merges at random");
    return RH_OK;
}

/* [{"id": 1, "content": "<|im_start|>", "special": true, …}, …] */
static rh_status take_added(const reading *r)
{
    size_t i;
    json_t *value;
    const json_t *list = json_object_get(r->root, "added_tokens");
    if (is_set(list) && !json_is_array(list)) return wrong(r, "added_tokens is not a list");
    json_array_foreach(list, i, value) {
        const json_t *id = json_object_get(value, "id"), *content = json_object_get(value, "content");
        if (!json_is_integer(id)) return wrong(r, "an added token has no id");
        RH_TRY(rh_hub_add(r->h, json_integer_value(id), json_string_value(content), json_string_length(content), value, r->path));
    }
    return RH_OK;
}

/* A token that is looked for in what the normalizer leaves is spelled with its ▁, and found at other places. */
static rh_status check_added(const reading *r, const rh_bpe_parts *parts, const rh_hub_said *said)
{
    if (!said->marks_spaces) return RH_OK;
    for (size_t i = 0; i < r->h->n_added; i++) {
        const rh_added_token *a = &r->h->added[i];
        if (!(a->flags & RH_ADDED_NORMALIZED) || (parts->space_prefix != RH_PREFIX_ALL && !memchr(a->content.data, ' ', a->content.len))) continue;
        return rh_hinted(rh_fail(r->h->err, RH_EUNSUPPORTED, "'%s': added token '%.40s' is to match normalized text, in which a space is "
                                 "\xe2\x96\x81, which is not there yet", r->path, a->content.data), r->h->err,
                         "a GGUF file of the model may serve, or a tokenizer.model beside it");
    }
    return RH_OK;
}

static rh_status take_vocabulary(const reading *r)
{
    const char *piece;
    json_t *value, *vocab = json_object_get(r->model, "vocab");
    int64_t n = 0;
    if (!json_is_object(vocab)) return wrong(r, "its model has no vocab");
    json_object_foreach(vocab, piece, value) {
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= INT32_MAX)
            return rh_fail(r->h->err, RH_EFORMAT, "'%s': the id of '%.40s' is no number that an id can be", r->path, piece);
        if (json_integer_value(value) >= n) n = json_integer_value(value) + 1;
    }
    if (n > 2 * (int64_t)json_object_size(vocab) + 65536)
        return rh_fail(r->h->err, RH_EFORMAT, "'%s': the vocabulary has %zu tokens, but ids up to %lld", r->path,
                       json_object_size(vocab), (long long)n - 1);
    RH_TRY(rh_hub_alloc(r->h, n, r->path));
    json_object_foreach(vocab, piece, value) {
        const int64_t id = json_integer_value(value);
        if (r->h->t->types[id] != RH_TOKEN_UNUSED)
            return rh_fail(r->h->err, RH_EFORMAT, "'%s': two tokens have the id %lld", r->path, (long long)id);
        if (!*piece) return wrong(r, "a token is empty");
        RH_TRY(rh_hub_set(r->h, id, piece, strlen(piece), RH_TOKEN_NORMAL));
    }
    return rh_hub_overlay(r->h, r->path);
}

/* "left right" or ["left", "right"]; the texts stay in the JSON. */
static rh_status take_merges(rh_bpe_parts *out, const reading *r)
{
    const json_t *list = json_object_get(r->model, "merges");
    if (!json_is_array(list)) return wrong(r, "its model has no merges");
    out->n_merges = (int64_t)json_array_size(list);
    out->merges = rh_calloc((size_t)out->n_merges, sizeof *out->merges);
    if (!out->merges) return rh_fail_nomem(r->h->err);
    for (int64_t i = 0; i < out->n_merges; i++) {
        const json_t *m = json_array_get(list, (size_t)i);
        if (json_is_string(m)) {
            RH_TRY(rh_merge_split(out->merges[i], (rh_bytes){json_string_value(m), json_string_length(m)}, i, r->h->err));
            continue;
        }
        for (size_t side = 0; side < 2; side++) {
            const json_t *s = json_array_get(m, side);
            if (json_array_size(m) != 2 || !json_is_string(s))
                return rh_fail(r->h->err, RH_EFORMAT, "'%s': merge %lld is not two tokens", r->path, (long long)i);
            out->merges[i][side] = (rh_bytes){json_string_value(s), json_string_length(s)};
        }
    }
    return RH_OK;
}

static rh_status find_unknown(rh_bpe_parts *parts, const reading *r)
{
    const char *unknown = json_string_value(json_object_get(r->model, "unk_token"));
    rh_tokenizer *t = r->h->t;
    if (!unknown) return RH_OK;
    for (int32_t id = 0; id < t->n && t->unk < 0; id++)
        if (t->pieces[id].len == strlen(unknown) && !memcmp(t->pieces[id].data, unknown, t->pieces[id].len)) t->unk = id;
    if (t->unk < 0) return rh_fail(r->h->err, RH_EFORMAT, "'%s': unk_token '%.40s' is not in the vocabulary", r->path, unknown);
    parts->marks_unknown = true;
    parts->fuses_unknown = json_is_true(json_object_get(r->model, "fuse_unk"));
    return RH_OK;
}

static rh_status read_parts(rh_bpe_parts *parts, rh_hub_said *said, const reading *r)
{
    RH_TRY(check_model(r));
    RH_TRY(rh_hub_rules(parts, said, r->root, r->path, r->h->err));
    parts->whole_words = json_is_true(json_object_get(r->model, "ignore_merges"));
    parts->byte_fallback = json_is_true(json_object_get(r->model, "byte_fallback"));
    if (parts->byte_fallback && !parts->chars) return refuse(r, "its model has byte_fallback with a byte-level pre_tokenizer");
    RH_TRY(take_added(r));
    RH_TRY(check_added(r, parts, said));
    RH_TRY(take_vocabulary(r));
    RH_TRY(find_unknown(parts, r));
    return take_merges(parts, r);
}

/* bos: what post_processor puts in front. */
static rh_status set_bos(rh_hub *h, const char *bos, const char *path)
{
    if (bos) h->t->bos = rh_tokenizer_find(h->t, bos);
    if (bos && h->t->bos < 0)
        return rh_fail(h->err, RH_EFORMAT, "'%s': post_processor puts '%.40s' in front, which is not in the vocabulary", path, bos);
    h->t->adds_bos = rh_hub_class_adds_bos(h) ? rh_hub_flag(h, "add_bos_token", true) : bos != NULL;
    return RH_OK;
}

rh_status rh_hub_bpe(rh_hub *h, const char *path)
{
    json_t *root = NULL;
    rh_bpe_parts parts = {0};
    rh_hub_said said = {0};
    RH_TRY(rh_json_load(&root, path, h->err));
    const reading r = {h, path, root, json_object_get(root, "model")};
    rh_status status = json_is_object(root) ? read_parts(&parts, &said, &r) : wrong(&r, "it is not a JSON object");
    if (!status) status = rh_bpe_attach_parts(h->t, &parts, h->err);
    else rh_pretokenizer_free(parts.pre);
    free(parts.merges);
    if (!status) status = set_bos(h, said.bos, path);
    json_decref(root);
    return rh_hub_named(h, status, path);
}

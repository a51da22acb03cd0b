/* folder.c - a tokenizer from a model's folder: which of its files counts, the tokens added to the
 * vocabulary, special tokens, and the chat template. Source: transformers' tokenization_utils_base.py
 * for precedence and defaults. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/tokenizer/hub.h"

enum { MAX_TOKENS = 1 << 24, MAX_HOLES = 1 << 16, TEMPLATE_LIMIT = 1 << 20 };

/* ---- pieces ------------------------------------------------------------------------------- */

static bool is_true(const json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }

rh_status rh_hub_add(rh_hub *h, int64_t id, const char *content, size_t len, const json_t *flags, const char *path)
{
    if (!content || !len) return rh_fail(h->err, RH_EFORMAT, "'%s': added token %lld has no content", path, (long long)id);
    if (id < 0 || id >= MAX_TOKENS)
        return rh_fail(h->err, RH_EFORMAT, "'%s': an added token has the id %lld; 0 to %d are possible", path, (long long)id,
                       MAX_TOKENS - 1);
    if (is_true(flags, "single_word"))
        return rh_fail(h->err, RH_EUNSUPPORTED, "'%s': added token '%.40s' is to match single words only, which is not there yet",
                       path, content);
    if (h->n_rows > 0 && id >= h->n_rows) return RH_OK; /* it has no row in the embedding, and cannot be used */
    if (!RH_GROW(h->added, h->cap_added, h->n_added)) return rh_fail_nomem(h->err);
    char *copy = rh_arena_strndup(h->t->memory, content, len);
    if (!copy) return rh_fail_nomem(h->err);
    h->added[h->n_added++] = (rh_added_token){
        .id = (int32_t)id, .content = {copy, len},
        .flags = (uint8_t)(RH_ADDED | (is_true(flags, "special") ? RH_ADDED_SPECIAL : 0) |
                           (is_true(flags, "lstrip") ? RH_ADDED_LSTRIP : 0) | (is_true(flags, "rstrip") ? RH_ADDED_RSTRIP : 0) |
                           (is_true(flags, "normalized") ? RH_ADDED_NORMALIZED : 0))};
    return RH_OK;
}

rh_status rh_hub_alloc(rh_hub *h, int64_t n_base, const char *path)
{
    rh_tokenizer *t = h->t;
    int64_t n = n_base;
    for (size_t i = 0; i < h->n_added; i++)
        if (h->added[i].id >= n) n = (int64_t)h->added[i].id + 1;
    if (n < 1 || n_base > MAX_TOKENS || n > n_base + MAX_HOLES)
        return rh_fail(h->err, RH_EFORMAT, "'%s': a vocabulary of %lld tokens with ids up to %lld is not possible", path,
                       (long long)n_base, (long long)n - 1);
    t->n = (int32_t)n;
    t->pieces = h->pieces = rh_arena_alloc(t->memory, (size_t)n, sizeof *h->pieces);
    t->types = rh_calloc((size_t)n, 1);
    t->added = rh_calloc((size_t)n, 1);
    if (!t->pieces || !t->types || !t->added) return rh_fail_nomem(h->err);
    memset(t->types, RH_TOKEN_UNUSED, (size_t)n);
    for (int64_t i = 0; i < n; i++) h->pieces[i].data = "";
    return RH_OK;
}

rh_status rh_hub_set(rh_hub *h, int64_t id, const char *piece, size_t len, int type)
{
    char *copy = rh_arena_strndup(h->t->memory, piece, len);
    if (!copy) return rh_fail_nomem(h->err);
    h->pieces[id] = (rh_bytes){copy, len};
    h->t->types[id] = (uint8_t)type;
    return RH_OK;
}

/* A SentencePiece token that the library finds in text by itself stays with it, unless it is special. */
rh_status rh_hub_overlay(rh_hub *h, const char *path)
{
    rh_tokenizer *t = h->t;
    for (size_t i = 0; i < h->n_added; i++) {
        const rh_added_token *a = &h->added[i];
        const rh_bytes p = t->pieces[a->id];
        char was[192], is[192];
        if (p.len && (p.len != a->content.len || memcmp(p.data, a->content.data, p.len) != 0))
            return rh_fail(h->err, RH_EFORMAT, "'%s': added token %d is %s, but the vocabulary has %s there", path, a->id,
                           rh_show_piece(a->content, is), rh_show_piece(p, was));
        const bool special = a->flags & RH_ADDED_SPECIAL;
        if (!special && t->types[a->id] == RH_TOKEN_USER) continue;
        h->pieces[a->id] = a->content;
        t->added[a->id] = a->flags;
        if (t->types[a->id] != RH_TOKEN_UNKNOWN) t->types[a->id] = special ? RH_TOKEN_CONTROL : RH_TOKEN_USER;
    }
    return rh_pieces_check(t, h->err);
}

rh_status rh_hub_named(const rh_hub *h, rh_status status, const char *path)
{
    if (!status || status == RH_ENOMEM || !h->err || strstr(h->err->message, h->dir)) return status;
    rh_in_file(status, h->err, path);
    if (!h->err->hint[0] && status == RH_EFORMAT) rh_hint(h->err, "copy or download it again");
    return status;
}

/* ---- tokenizer_config.json ---------------------------------------------------------------- */

bool rh_hub_flag(const rh_hub *h, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(h->config, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

bool rh_hub_class_adds_bos(const rh_hub *h)
{
    static const char *const classes[] = {"Llama", "Gemma", "CodeLlama"};
    const char *name = json_string_value(json_object_get(h->config, "tokenizer_class"));
    for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++)
        if (!strncmp(name, classes[i], strlen(classes[i]))) return true;
    return false;
}

static rh_status join(char **out, const rh_hub *h, const char *name)
{
    *out = rh_path_join(h->dir, name);
    return *out ? RH_OK : rh_fail_nomem(h->err);
}

rh_status rh_hub_load(json_t **out, char **path, const rh_hub *h, const char *name)
{
    *out = NULL;
    RH_TRY(join(path, h, name));
    if (!rh_is_file(*path)) return RH_OK;
    RH_TRY(rh_json_load(out, *path, h->err));
    if (json_is_object(*out)) return RH_OK;
    return rh_fail(h->err, RH_EFORMAT, "'%s' is not a JSON object", *path);
}

/* A special token is a string, or an object with the string as its content. */
static const char *token_name(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    const char *name = json_string_value(v);
    return name ? name : json_string_value(json_object_get(v, "content"));
}

static void find_special(int32_t *out, const rh_hub *h, const json_t *map, const char *key)
{
    const char *name = token_name(h->config, key);
    if (!name && !json_object_get(h->config, key)) name = token_name(map, key); /* null is a word, too */
    if (name) *out = rh_tokenizer_find(h->t, name);
    else if (json_object_get(h->config, key)) *out = -1;
}

static rh_status special_tokens(rh_hub *h)
{
    json_t *map = NULL;
    char *path = NULL;
    rh_status status = rh_hub_load(&map, &path, h, "special_tokens_map.json"); /* of older folders */
    if (!status) {
        find_special(&h->t->bos, h, map, "bos_token");
        find_special(&h->t->eos, h, map, "eos_token");
    }
    if (!status && rh_hub_class_adds_bos(h) && rh_hub_flag(h, "add_eos_token", false)) {
        status = rh_fail(h->err, RH_EUNSUPPORTED, "'%s' sets add_eos_token, which is not there yet", h->config_path);
        rh_hint(h->err, "set it to false: a text that is to go on does not end");
    }
    json_decref(map);
    free(path);
    return status;
}

/* ---- chat template -------------------------------------------------------------------------- */

/* One string, or a list of {name, template}: transformers takes the one named "default". */
static const json_t *config_template(const rh_hub *h)
{
    const json_t *v = json_object_get(h->config, "chat_template");
    if (!json_is_array(v)) return v;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default")) return json_object_get(item, "template");
    }
    return NULL;
}

static rh_status chat_template(rh_hub *h)
{
    char *path = NULL, *text = NULL;
    size_t len = 0;
    rh_status status = join(&path, h, "chat_template.jinja");
    const json_t *v = config_template(h);
    const char *template = json_string_value(v);
    if (template) len = json_string_length(v);
    if (!status && rh_is_file(path)) { /* it comes before the configuration's */
        status = rh_read_file(&text, &len, path, TEMPLATE_LIMIT, h->err);
        template = text;
    }
    if (!status && template && len) {
        char *copy = rh_arena_strndup(h->t->memory, template, len);
        if (copy) h->t->chat_template = (rh_bytes){copy, len};
        else status = rh_fail_nomem(h->err);
    }
    free(text);
    free(path);
    return status;
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* A ModelProto begins with a piece. What OpenAI's tiktoken writes may have the name too. */
static bool is_model_proto(const char *path)
{
    FILE *f = fopen(path, "rb");
    const int first = f ? fgetc(f) : EOF;
    if (f) fclose(f);
    return first == (1 << 3 | 2);
}

static rh_status read_tokenizer(rh_hub *h, const char *model, const char *json)
{
    RH_TRY(rh_hub_load(&h->config, &h->config_path, h, "tokenizer_config.json"));
    if (rh_is_file(model) && (is_model_proto(model) || !rh_is_file(json))) RH_TRY(rh_hub_sentencepiece(h, model));
    else RH_TRY(rh_hub_bpe(h, json));
    RH_TRY(rh_cut_init(h->t, h->err));
    RH_TRY(special_tokens(h));
    return chat_template(h);
}

rh_status rh_tokenizer_from_folder(rh_tokenizer **out, const char *dir, int32_t n_rows, rh_error *err)
{
    rh_hub h = {.dir = dir, .n_rows = n_rows, .err = err};
    char *model = NULL, *json = NULL;
    rh_status status = join(&model, &h, "tokenizer.model");
    if (!status) status = join(&json, &h, "tokenizer.json");
    *out = NULL;
    if (status || (!rh_is_file(model) && !rh_is_file(json))) goto done;
    h.t = rh_calloc(1, sizeof *h.t);
    if (h.t) h.t->memory = rh_arena_new();
    if (!h.t || !h.t->memory) {
        status = rh_fail_nomem(err);
        goto done;
    }
    h.t->bos = h.t->eos = h.t->unk = -1;
    status = read_tokenizer(&h, model, json);
    if (!status) *out = h.t;
done:
    if (status) rh_tokenizer_free(h.t);
    json_decref(h.config);
    free(h.config_path);
    free(h.added);
    free(model);
    free(json);
    return status;
}

/* folder_spm.c - tokenizer.model, with what tokenizer_config.json adds to it. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/tokenizer/hub.h"
#include "engine/tokenizer/spm_proto.h"

enum { MODEL_LIMIT = 256 << 20 }; /* as of JSON; Gemma's has 4 MiB */

/* {"106": {"content": "<start_of_turn>", "special": true, …}, …} */
static rh_status added_of_config(rh_hub *h)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(h->config, "added_tokens_decoder"), key, value) {
        char *end = NULL;
        const json_t *content = json_object_get(value, "content");
        const long id = strtol(key, &end, 10);
        if (!*key || *end || id < 0 || id == LONG_MAX)
            return rh_fail(h->err, RH_EFORMAT, "'%s': added_tokens_decoder has the id '%.40s'", h->config_path, key);
        RH_TRY(rh_hub_add(h, id, json_string_value(content), json_string_length(content), value, h->config_path));
    }
    return RH_OK;
}

/* Tokens of turns that older folders hold in the model alone, where nothing says they are special. */
static bool marks_turn(rh_bytes piece)
{
    static const char *const marks[] = {"<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strlen(marks[i]) == piece.len && !memcmp(marks[i], piece.data, piece.len)) return true;
    return false;
}

/* {"<|im_start|>": 32000, …} of older folders, which say no more of a token. */
static rh_status added_of_file(rh_hub *h)
{
    json_t *root = NULL, *value;
    char *path = NULL;
    const char *content;
    rh_status status = rh_hub_load(&root, &path, h, "added_tokens.json");
    json_t *special = json_pack("{s:b}", "special", 1);
    if (!status && !special) status = rh_fail_nomem(h->err);
    if (status) goto done;
    json_object_foreach(root, content, value) {
        const json_t *flags = marks_turn((rh_bytes){content, strlen(content)}) ? special : NULL;
        status = json_is_integer(value) ? rh_hub_add(h, json_integer_value(value), content, strlen(content), flags, path)
                                        : rh_fail(h->err, RH_EFORMAT, "'%s': the id of '%.40s' is no number", path, content);
        if (status) goto done;
    }
done:
    json_decref(special);
    json_decref(root);
    free(path);
    return status;
}

static rh_status take_pieces(rh_hub *h, rh_sp_model *m, const char *path)
{
    rh_tokenizer *t = h->t;
    RH_TRY(rh_hub_alloc(h, (int64_t)m->n, path));
    for (size_t i = 0; i < m->n; i++) {
        const rh_bytes piece = m->entries[i].piece;
        int type = m->entries[i].type;
        if (type == SP_USER && marks_turn(piece)) type = RH_TOKEN_CONTROL;
        if (!piece.len) return rh_fail(h->err, RH_EFORMAT, "token %zu is empty", i);
        RH_TRY(rh_hub_set(h, (int64_t)i, piece.data, piece.len, type));
    }
    RH_TRY(rh_hub_overlay(h, h->config_path));
    /* What is cut out of the text before matches nothing in the library. */
    for (size_t i = 0; i < m->n; i++) {
        const bool cut = t->added[i] || t->types[i] == RH_TOKEN_CONTROL;
        if (cut && m->entries[i].type != SP_UNKNOWN) m->entries[i].type = SP_CONTROL;
        else if (t->types[i] == RH_TOKEN_USER) t->types[i] = RH_TOKEN_NORMAL; /* found and spelled as pieces are */
    }
    return RH_OK;
}

static int32_t id_within(int32_t id, const rh_tokenizer *t) { return id >= 0 && id < t->n ? id : -1; }

static rh_status attach(rh_hub *h, rh_sp_model *m, const char *path)
{
    rh_tokenizer *t = h->t;
    rh_str proto = {0};
    if (m->suffix_spaces)
        return rh_fail(h->err, RH_EUNSUPPORTED, "it sets treat_whitespace_as_suffix, which is not there yet");
    RH_TRY(take_pieces(h, m, path));
    /* A space put in front by the library would be in front of every part of a text; where it also
     * removes spaces, ours would be removed. */
    const bool ours = m->dummy_prefix && !m->removes_spaces;
    t->space_prefix = ours && rh_hub_flag(h, "add_prefix_space", true);
    t->prefix_first_only = !rh_hub_flag(h, "legacy", true);
    t->bos = id_within(m->bos, t);
    t->eos = id_within(m->eos, t);
    t->unk = id_within(m->unk, t);
    t->adds_bos = rh_hub_flag(h, "add_bos_token", true);
    rh_status status = rh_sp_model_write(&proto, m, ours, h->err);
    if (!status) status = rh_spm_attach_proto(t, &proto, h->err);
    rh_str_free(&proto);
    return status;
}

rh_status rh_hub_sentencepiece(rh_hub *h, const char *path)
{
    rh_map map = {0};
    rh_sp_model m = {0};
    RH_TRY(json_object_get(h->config, "added_tokens_decoder") ? added_of_config(h) : added_of_file(h));
    RH_TRY(rh_map_open(&map, path, h->err));
    rh_status status = RH_OK;
    if (map.size > MODEL_LIMIT) status = rh_fail(h->err, RH_ELIMIT, "a model of %zu bytes is beyond the limit of %d", map.size, MODEL_LIMIT);
    if (!status) status = rh_sp_model_read(&m, (const char *)map.data, map.size, h->err);
    if (!status) status = attach(h, &m, path);
    rh_sp_model_free(&m);
    rh_map_close(&map);
    return rh_hub_named(h, status, path);
}

#include "engine/generation_config.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

static rh_status wrong(const char *path, const char *key, const char *expected, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s': \"%s\" is not %s", path, key, expected), err,
                     "correct it, or take it out: it is not needed to open the model");
}

static rh_status add_stop(rh_generation_config *out, const json_t *id, const char *path, int32_t n_vocab, rh_error *err)
{
    if (!json_is_integer(id)) return wrong(path, "eos_token_id", "a token id or a list of them", err);
    const json_int_t value = json_integer_value(id);
    if (value < 0 || value >= n_vocab) return RH_OK;
    if (out->n_stops == RH_MAX_CONFIG_STOPS)
        return rh_fail(err, RH_ELIMIT, "'%s': eos_token_id has more than %d ids", path, RH_MAX_CONFIG_STOPS);
    out->stops[out->n_stops++] = (int32_t)value;
    return RH_OK;
}

static rh_status read_stops(rh_generation_config *out, const json_t *root, const char *path, int32_t n_vocab, rh_error *err)
{
    const json_t *eos = json_object_get(root, "eos_token_id");
    if (!eos || json_is_null(eos)) return RH_OK;
    if (!json_is_array(eos)) return add_stop(out, eos, path, n_vocab, err);
    for (size_t i = 0; i < json_array_size(eos); i++) RH_TRY(add_stop(out, json_array_get(eos, i), path, n_vocab, err));
    return RH_OK;
}

static rh_status read_number(double *out, const json_t *root, const char *key, const char *path, rh_error *err)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return RH_OK;
    if (!json_is_number(v) || json_number_value(v) < 0) return wrong(path, key, "a number of 0 or more", err);
    *out = json_number_value(v);
    return RH_OK;
}

static rh_status read_sampling(rh_generation_config *out, const json_t *root, const char *path, rh_error *err)
{
    double top_k = -1;
    RH_TRY(read_number(&out->temperature, root, "temperature", path, err));
    RH_TRY(read_number(&out->top_p, root, "top_p", path, err));
    RH_TRY(read_number(&out->min_p, root, "min_p", path, err));
    RH_TRY(read_number(&out->repetition, root, "repetition_penalty", path, err));
    RH_TRY(read_number(&top_k, root, "top_k", path, err));
    if (top_k > 1e9) return wrong(path, "top_k", "a count", err);
    out->top_k = (int32_t)top_k;
    out->samples = json_is_true(json_object_get(root, "do_sample"));
    return RH_OK;
}

rh_status rh_generation_config_read(rh_generation_config *out, const char *dir, int32_t n_vocab, rh_error *err)
{
    json_t *root = NULL;
    char *own = rh_path_join(dir, "generation_config.json"), *config = rh_path_join(dir, "config.json");
    rh_generation_config c = {.temperature = -1, .top_p = -1, .min_p = -1, .repetition = -1, .top_k = -1};
    const bool is_own = own && rh_is_file(own);
    const char *path = is_own ? own : config;
    rh_status status = own && config ? RH_OK : rh_fail_nomem(err);
    if (!status && rh_is_file(path)) status = rh_json_load(&root, path, err);
    if (!status && root && !json_is_object(root)) status = rh_fail(err, RH_EFORMAT, "'%s' is not a JSON object", path);
    if (!status) status = read_stops(&c, root, path, n_vocab, err);
    if (!status && is_own) status = read_sampling(&c, root, path, err);
    if (!status) *out = c;
    json_decref(root);
    free(own);
    free(config);
    return status;
}

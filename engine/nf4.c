#include "engine/nf4.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static float f32_at(const rh_tensor *t, int64_t i)
{
    float x;
    memcpy(&x, t->data + (size_t)i * sizeof x, sizeof x);
    return x;
}

static float absmax(const rh_nf4 *q, int64_t block)
{
    if (!q->nested_map) return f32_at(q->absmax, block);
    return f32_at(q->nested_map, q->absmax->data[block]) * f32_at(q->nested_absmax, block / q->nested_block) +
           q->nested_offset;
}

static int code_at(const rh_nf4 *q, int64_t i)
{
    const uint8_t b = q->codes->data[i / 2];
    return i % 2 ? b & 15 : b >> 4;
}

/* ---- opening ------------------------------------------------------------------------------------- */

static rh_status damaged(const rh_tensor *t, const char *what, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s': tensor %s %s", t->path, t->name, what), err,
                     "the checkpoint is incomplete, or was not written by bitsandbytes");
}

static int64_t elements(const rh_tensor *t)
{
    int64_t n = 1;
    for (int32_t i = 0; i < t->n_dims; i++) n *= t->shape[i]; /* in range: the file holds as many */
    return n;
}

/* The part NAME.suffix, of the type `raw` and with n elements. */
static rh_status part(const rh_tensor **out, const rh_safetensors *s, const rh_tensor *of, const char *suffix,
                      const char *raw, int64_t n, rh_error *err)
{
    char name[256];
    const int len = snprintf(name, sizeof name, "%s.%s", of->name, suffix);
    const rh_tensor *t = len < (int)sizeof name ? rh_safetensors_find(s, name) : NULL;
    if (!t) {
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s': %s is quantised, but there is no tensor %s", of->path, of->name, name),
                         err, "the checkpoint is incomplete, or was not written by bitsandbytes");
    }
    if (strcmp(t->raw_type, raw))
        return rh_fail(err, RH_EFORMAT, "'%s': tensor %s is of type %s, and %s is wanted", t->path, t->name, t->raw_type, raw);
    if (elements(t) != n)
        return rh_fail(err, RH_EFORMAT, "'%s': tensor %s has %lld elements, and %lld are wanted", t->path, t->name,
                       (long long)elements(t), (long long)n);
    *out = t;
    return RH_OK;
}

/* A whole number of the state, from 1 to `most`. */
static rh_status whole(int64_t *out, const json_t *value, const char *key, int64_t most, const rh_tensor *state,
                       rh_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > most)
        return rh_fail(err, RH_EFORMAT, "'%s': in tensor %s, \"%s\" is no number from 1 to %lld", state->path, state->name,
                       key, (long long)most);
    *out = (int64_t)json_integer_value(value);
    return RH_OK;
}

static rh_status read_state(rh_nf4 *q, bool *nested, const json_t *json, const rh_tensor *state, rh_error *err)
{
    const char *type = json_string_value(json_object_get(json, "quant_type"));
    const json_t *shape = json_object_get(json, "shape"), *offset = json_object_get(json, "nested_offset");
    if (!type || strcmp(type, "nf4")) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': %s says quant_type '%.40s'", state->path, state->name,
                                 type ? type : "nothing"), err, "of bitsandbytes' types, nf4 is known");
    }
    if (!json_is_array(shape) || json_array_size(shape) != 2) return damaged(state, "gives no shape of two numbers", err);
    RH_TRY(whole(&q->rows, json_array_get(shape, 0), "shape", INT32_MAX, state, err));
    RH_TRY(whole(&q->cols, json_array_get(shape, 1), "shape", INT32_MAX, state, err));
    RH_TRY(whole(&q->block, json_object_get(json, "blocksize"), "blocksize", 1 << 20, state, err));
    *nested = offset != NULL;
    if (!offset) return RH_OK;
    const double value = json_number_value(offset);
    if (!json_is_number(offset) || !isfinite((float)value)) return damaged(state, "gives no finite nested_offset", err);
    q->nested_offset = (float)value;
    return whole(&q->nested_block, json_object_get(json, "nested_blocksize"), "nested_blocksize", 1 << 20, state, err);
}

/* A code book of one's own would need values of its own in the kernels, and nobody writes one. */
static rh_status check_values(const rh_tensor *map, rh_error *err)
{
    for (int i = 0; i < 16; i++)
        if (!(fabsf(f32_at(map, i) - rh_nf4_values[i]) <= 1e-6f))
            return rh_fail(err, RH_EUNSUPPORTED, "'%s': value %d of %s is %g, and NF4's is %g", map->path, i, map->name,
                           (double)f32_at(map, i), (double)rh_nf4_values[i]);
    return RH_OK;
}

static rh_status find_parts(rh_nf4 *q, const rh_safetensors *s, bool nested, rh_error *err)
{
    const int64_t n = q->rows * q->cols, blocks = (n + q->block - 1) / q->block;
    const rh_tensor *map;
    if (q->codes->size != (size_t)((n + 1) / 2) || strcmp(q->codes->raw_type, "U8"))
        return rh_fail(err, RH_EFORMAT, "'%s': tensor %s is %s of %zu bytes; [%lld, %lld] in NF4 takes U8 of %lld", q->codes->path,
                       q->codes->name, q->codes->raw_type, q->codes->size, (long long)q->rows, (long long)q->cols,
                       (long long)((n + 1) / 2));
    RH_TRY(part(&map, s, q->codes, "quant_map", "F32", 16, err));
    RH_TRY(check_values(map, err));
    RH_TRY(part(&q->absmax, s, q->codes, "absmax", nested ? "U8" : "F32", blocks, err));
    if (!nested) return RH_OK;
    RH_TRY(part(&q->nested_absmax, s, q->codes, "nested_absmax", "F32", (blocks + q->nested_block - 1) / q->nested_block, err));
    return part(&q->nested_map, s, q->codes, "nested_quant_map", "F32", 256, err);
}

rh_status rh_nf4_find(rh_nf4 *out, const rh_safetensors *s, const char *name, rh_error *err)
{
    char key[256];
    json_t *json = NULL;
    bool nested = false;
    rh_nf4 q = {.codes = rh_safetensors_find(s, name)};
    const int len = snprintf(key, sizeof key, "%s%s", name, RH_NF4_STATE);
    const rh_tensor *state = len < (int)sizeof key ? rh_safetensors_find(s, key) : NULL;
    if (!state) return rh_fail(err, RH_EFORMAT, "there is no tensor %s", key);
    if (!q.codes) return damaged(state, "stands without the matrix it describes", err);
    RH_TRY(rh_in_file(rh_json_parse(&json, (const char *)state->data, state->size, state->name, err), err, state->path));
    rh_status status = read_state(&q, &nested, json, state, err);
    json_decref(json);
    if (!status) status = find_parts(&q, s, nested, err);
    if (!status) *out = q;
    return status;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

rh_dtype rh_nf4_dtype(const rh_nf4 *q) { return q->cols % 64 == 0 && q->block % 64 == 0 ? RH_NF4 : RH_F32; }

static void row_as_blocks(uint8_t *out, const rh_nf4 *q, int64_t from)
{
    for (int64_t i = from; i < from + q->cols; i += 64, out += 36) {
        const float scale = absmax(q, i / q->block);
        const uint8_t *b = q->codes->data + i / 2;
        memcpy(out, &scale, sizeof scale);
        for (int j = 0; j < 16; j++) { /* elements 2j, 2j + 1 and, 32 on, the same */
            out[4 + 2 * j] = (uint8_t)(b[j] >> 4 | (b[j + 16] & 0xf0));
            out[5 + 2 * j] = (uint8_t)((b[j] & 15) | b[j + 16] << 4);
        }
    }
}

static void row_as_floats(uint8_t *out, const rh_nf4 *q, int64_t from)
{
    for (int64_t i = from; i < from + q->cols; i++, out += sizeof(float)) {
        const float x = rh_nf4_values[code_at(q, i)] * absmax(q, i / q->block);
        memcpy(out, &x, sizeof x);
    }
}

void rh_nf4_row(uint8_t *out, const rh_nf4 *q, int64_t row)
{
    if (rh_nf4_dtype(q) == RH_NF4) row_as_blocks(out, q, row * q->cols);
    else row_as_floats(out, q, row * q->cols);
}

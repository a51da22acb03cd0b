/* Typed access to a GGUF's metadata. All places were checked when the file was opened. */
#include <stdlib.h>

#include "base/utf8.h"
#include "engine/files/gguf_values.h"

static const char *type_name(gguf_type type)
{
    static const char *const names[GGUF_N_TYPES] = {
        "a u8", "an i8", "a u16", "an i16", "a u32", "an i32", "an f32", "a bool", "a string",
        "an array", "a u64", "an i64", "an f64",
    };
    return names[type];
}

static gguf_kv *find(const rh_gguf *g, const char *key)
{
    int64_t i = rh_names_find(&g->keys, key);
    return i < 0 ? NULL : &g->kv[i];
}

static rh_status get(gguf_kv **out, const rh_gguf *g, const char *key, rh_error *err)
{
    *out = find(g, key);
    if (*out) return RH_OK;
    return rh_fail(err, RH_ENAME, "'%s' has no key '%s'", g->map.path, key);
}

static rh_status wrong(const rh_gguf *g, const gguf_kv *kv, const char *expected, rh_error *err)
{
    bool array = kv->type == GGUF_ARRAY;
    return rh_fail(err, RH_EFORMAT, "'%s': key '%s' is %s%s; %s was expected", g->map.path, kv->key,
                   array ? "an array whose items are each " : "",
                   type_name(array ? kv->item : kv->type), expected);
}

/* false if the value is no integer or does not fit */
static bool to_i64(int64_t *out, const uint8_t *p, gguf_type type)
{
    switch (type) {
    case GGUF_U8: *out = p[0]; return true;
    case GGUF_I8: *out = (int8_t)p[0]; return true;
    case GGUF_U16: { uint16_t x; memcpy(&x, p, 2); *out = x; return true; }
    case GGUF_I16: { int16_t x; memcpy(&x, p, 2); *out = x; return true; }
    case GGUF_U32: *out = gguf_u32(p); return true;
    case GGUF_I32: { int32_t x; memcpy(&x, p, 4); *out = x; return true; }
    case GGUF_I64: memcpy(out, p, 8); return true;
    case GGUF_U64: *out = (int64_t)gguf_u64(p); return gguf_u64(p) <= INT64_MAX;
    default: return false;
    }
}

static bool to_f64(double *out, const uint8_t *p, gguf_type type)
{
    int64_t i;
    if (type == GGUF_F32) {
        float x;
        memcpy(&x, p, 4);
        *out = x;
    } else if (type == GGUF_F64) {
        memcpy(out, p, 8);
    } else if (type == GGUF_U64) {
        *out = (double)gguf_u64(p);
    } else if (to_i64(&i, p, type)) {
        *out = (double)i;
    } else {
        return false;
    }
    return true;
}

bool rh_gguf_has(const rh_gguf *g, const char *key)
{
    return find(g, key) != NULL;
}

rh_status rh_gguf_i64(int64_t *out, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get(&kv, g, key, err));
    if (!to_i64(out, kv->value, kv->type)) return wrong(g, kv, "an integer below 2^63", err);
    return RH_OK;
}

rh_status rh_gguf_f64(double *out, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get(&kv, g, key, err));
    if (!to_f64(out, kv->value, kv->type)) return wrong(g, kv, "a number", err);
    return RH_OK;
}

rh_status rh_gguf_bool(bool *out, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get(&kv, g, key, err));
    if (kv->type != GGUF_BOOL) return wrong(g, kv, "a bool", err);
    *out = kv->value[0] != 0;
    return RH_OK;
}

static rh_bytes string_at(const uint8_t *p)
{
    return (rh_bytes){ (const char *)p + 8, (size_t)gguf_u64(p) };
}

rh_status rh_gguf_string(rh_bytes *out, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get(&kv, g, key, err));
    if (kv->type != GGUF_STRING) return wrong(g, kv, "a string", err);
    *out = string_at(kv->value);
    return RH_OK;
}

static rh_status get_array(gguf_kv **out, const rh_gguf *g, const char *key, rh_error *err)
{
    RH_TRY(get(out, g, key, err));
    if ((*out)->type != GGUF_ARRAY) return wrong(g, *out, "an array", err);
    return RH_OK;
}

rh_status rh_gguf_array_n(int64_t *out, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get_array(&kv, g, key, err));
    *out = (int64_t)kv->n;
    return RH_OK;
}

rh_status rh_gguf_strings(const rh_bytes **out, int64_t *n, rh_gguf *g, const char *key,
                          rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get_array(&kv, g, key, err));
    if (kv->item != GGUF_STRING) return wrong(g, kv, "an array of strings", err);
    if (!kv->strings) {
        rh_bytes *strings = rh_calloc((size_t)kv->n, sizeof *strings);
        if (!strings) return rh_fail_nomem(err);
        const uint8_t *p = kv->value;
        for (uint64_t i = 0; i < kv->n; i++) {
            strings[i] = string_at(p);
            p += 8 + strings[i].len;
        }
        kv->strings = strings;
    }
    *out = kv->strings;
    *n = (int64_t)kv->n;
    return RH_OK;
}

/* An array of exactly n items, none of them a string. */
static rh_status get_numbers(gguf_kv **out, int64_t n, const rh_gguf *g, const char *key,
                             rh_error *err)
{
    RH_TRY(get_array(out, g, key, err));
    if ((*out)->item == GGUF_STRING) return wrong(g, *out, "an array of numbers", err);
    if ((*out)->n != (uint64_t)n)
        return rh_fail(err, RH_EFORMAT, "'%s': key '%s' has %llu items; %lld were expected",
                       g->map.path, key, (unsigned long long)(*out)->n, (long long)n);
    return RH_OK;
}

rh_status rh_gguf_floats(float *out, int64_t n, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get_numbers(&kv, n, g, key, err));
    size_t size = gguf_type_size[kv->item];
    for (int64_t i = 0; i < n; i++) {
        double x;
        if (!to_f64(&x, kv->value + (size_t)i * size, kv->item))
            return wrong(g, kv, "an array of numbers", err);
        out[i] = (float)x;
    }
    return RH_OK;
}

rh_status rh_gguf_ints(int64_t *out, int64_t n, const rh_gguf *g, const char *key, rh_error *err)
{
    gguf_kv *kv;
    RH_TRY(get_numbers(&kv, n, g, key, err));
    size_t size = gguf_type_size[kv->item];
    gguf_type type = kv->item == GGUF_BOOL ? GGUF_U8 : kv->item; /* a bool counts as 0 or 1 */
    for (int64_t i = 0; i < n; i++)
        if (!to_i64(&out[i], kv->value + (size_t)i * size, type))
            return wrong(g, kv, "an array of integers below 2^63", err);
    return RH_OK;
}

int64_t rh_gguf_n_keys(const rh_gguf *g)
{
    return g->n_kv;
}

/* The first 60 characters on one line; what is no text becomes '?'. */
static void show_string(rh_str *out, rh_bytes s)
{
    size_t i = 0;
    for (int count = 0; i < s.len && count < 60; count++) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s.data + i, s.len - i);
        if (cp == '\n') rh_str_puts(out, "\\n");
        else if (!len || cp < 0x20 || (cp >= 0x7F && cp < 0xA0)) rh_str_puts(out, "?");
        else rh_str_add(out, s.data + i, len);
        i += len ? len : 1;
    }
    if (i < s.len) rh_str_puts(out, "…");
}

const char *rh_gguf_key(const rh_gguf *g, int64_t i, rh_str *value_text)
{
    if (i < 0 || i >= g->n_kv) return NULL;
    const gguf_kv *kv = &g->kv[i];
    static const char *const plural[GGUF_N_TYPES] = {
        "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bools", "strings", "", "u64", "i64", "f64",
    };
    int64_t whole;
    double real = 0;
    if (!value_text) return kv->key;
    if (kv->type == GGUF_STRING) show_string(value_text, string_at(kv->value));
    else if (kv->type == GGUF_BOOL) rh_str_puts(value_text, kv->value[0] ? "true" : "false");
    else if (kv->type == GGUF_ARRAY)
        rh_str_printf(value_text, "[%llu %s]", (unsigned long long)kv->n, plural[kv->item]);
    else if (to_i64(&whole, kv->value, kv->type)) rh_str_printf(value_text, "%lld", (long long)whole);
    else if (kv->type == GGUF_U64)
        rh_str_printf(value_text, "%llu", (unsigned long long)gguf_u64(kv->value));
    else if (to_f64(&real, kv->value, kv->type)) rh_str_printf(value_text, "%g", real);
    return kv->key;
}

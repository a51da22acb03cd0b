/* json.c - see json.h. */
#include "notebooks-export/json.h"

#include <math.h>
#include <string.h>

#include "notebooks-export/clean.h"

json_t *rh_json_object(rh_json *j)
{
    json_t *o = json_object();
    if (!o) j->failed = true;
    return o;
}

json_t *rh_json_array(rh_json *j)
{
    json_t *a = json_array();
    if (!a) j->failed = true;
    return a;
}

void rh_json_set(rh_json *j, json_t *object, const char *key, json_t *value)
{
    if (!object || !value || json_object_set_new(object, key, value)) j->failed = true;
}

void rh_json_push(rh_json *j, json_t *array, json_t *value)
{
    if (!array || !value || json_array_append_new(array, value)) j->failed = true;
}

static json_t *text_value(const char *s, size_t n)
{
    rh_str fixed = {0};
    rh_str_puts(&fixed, "");
    rh_repair_utf8(&fixed, s, n);
    json_t *value = fixed.failed || !fixed.data ? NULL : json_stringn(fixed.data, fixed.len);
    rh_str_free(&fixed);
    return value;
}

void rh_json_text(rh_json *j, json_t *object, const char *key, const char *s)
{
    rh_json_set(j, object, key, s ? text_value(s, strlen(s)) : json_null());
}

void rh_json_number(rh_json *j, json_t *object, const char *key, double x)
{
    rh_json_set(j, object, key, isfinite(x) ? json_real(x) : json_null());
}

void rh_json_integer(rh_json *j, json_t *object, const char *key, int64_t x)
{
    rh_json_set(j, object, key, json_integer(x));
}

void rh_json_bool(rh_json *j, json_t *object, const char *key, bool x)
{
    rh_json_set(j, object, key, json_boolean(x));
}

void rh_json_place(rh_json *j, json_t *object, int32_t layer, rh_hook hook)
{
    rh_json_set(j, object, "layer", layer < 0 ? json_null() : json_integer(layer));
    rh_json_text(j, object, "hook", layer < 0 ? NULL : rh_hook_name(hook));
}

json_t *rh_json_feature(rh_json *j, int32_t feature, const char *label)
{
    json_t *o = rh_json_object(j);
    rh_json_integer(j, o, "feature", feature);
    rh_json_text(j, o, "label", label);
    return o;
}

json_t *rh_json_scored(rh_json *j, const rh_token_change *t, int32_t n, const char *key)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "id", t[i].id);
        rh_json_text(j, one, "piece", t[i].piece);
        rh_json_number(j, one, key, t[i].after);
        rh_json_push(j, a, one);
    }
    return a;
}

void rh_json_notes(rh_json *j, json_t *object, const char *notes)
{
    json_t *a = rh_json_array(j);
    for (const char *at = notes ? notes : ""; *at;) {
        size_t n = strcspn(at, "\n");
        rh_json_push(j, a, text_value(at, n));
        at += n;
        if (*at) at++;
    }
    rh_json_set(j, object, "notes", a);
}

static json_t *geometry_value(rh_json *j, const rh_geometry *g)
{
    json_t *o = rh_json_object(j), *parts = rh_json_array(j), *cosine = rh_json_array(j);
    rh_json_text(j, o, "expression", g->label);
    rh_json_place(j, o, g->layer, g->hook);
    for (int32_t i = 0; i < g->n; i++) {
        json_t *part = rh_json_object(j), *row = rh_json_array(j);
        rh_json_text(j, part, "label", g->labels[i]);
        rh_json_number(j, part, "coefficient", g->coefficient[i]);
        rh_json_number(j, part, "norm", g->norm[i]);
        rh_json_number(j, part, "share", g->share[i]);
        rh_json_push(j, parts, part);
        for (int32_t k = 0; k < g->n; k++) {
            double c = g->cosine[(size_t)i * (size_t)g->n + (size_t)k];
            rh_json_push(j, row, isfinite(c) ? json_real(c) : json_null());
        }
        rh_json_push(j, cosine, row);
    }
    rh_json_set(j, o, "parts", parts);
    rh_json_set(j, o, "cosine", cosine);
    return o;
}

void rh_json_geometry(rh_json *j, json_t *object, const rh_geometry *g, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) rh_json_push(j, a, geometry_value(j, &g[i]));
    rh_json_set(j, object, "geometry", a);
}

static int append(const char *bytes, size_t n, void *data)
{
    rh_str *out = data;
    rh_str_add(out, bytes, n);
    return out->failed ? -1 : 0;
}

rh_status rh_json_finish(rh_str *out, json_t *object, const rh_json *j, rh_error *err)
{
    bool ok = object && !j->failed &&
              !json_dump_callback(object, append, out, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(object);
    rh_str_puts(out, "\n");
    if (ok && !out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/files/safetensors.h"

struct rh_st_writer {
    rh_writer file;
    uint64_t declared, written; /* bytes of data */
};

static rh_status bytes_of(uint64_t *out, const rh_safetensors_entry *e, rh_error *err)
{
    const rh_dtype_info *info = rh_dtype_get(e->dtype);
    if (e->dtype != RH_F32 && e->dtype != RH_F16 && e->dtype != RH_BF16)
        return rh_fail(err, RH_EVALUE, "tensor '%s': only F32, F16 and BF16 can be written", e->name);
    if (e->n_dims < 0 || e->n_dims > RH_MAX_DIMS)
        return rh_fail(err, RH_EVALUE, "tensor '%s' has %d dimensions", e->name, (int)e->n_dims);
    uint64_t n = (uint64_t)info->bytes;
    for (int i = 0; i < e->n_dims; i++) {
        if (e->shape[i] < 0 || (e->shape[i] && n > INT64_MAX / (uint64_t)e->shape[i]))
            return rh_fail(err, RH_EVALUE, "tensor '%s' has an impossible shape", e->name);
        n *= (uint64_t)e->shape[i];
    }
    *out = n;
    return RH_OK;
}

/* Takes the reference to value, also on failure. */
static rh_status set(json_t *object, const char *key, json_t *value, rh_error *err)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return rh_fail(err, RH_EVALUE, "two tensors or metadata entries are called '%s'", key);
    }
    return json_object_set_new(object, key, value) ? rh_fail_nomem(err) : RH_OK;
}

static rh_status check_text(const char *text, const char *what, rh_error *err)
{
    size_t n = strlen(text);
    if (rh_utf8_valid(text, n) == n) return RH_OK;
    return rh_fail(err, RH_EVALUE, "a %s is not valid UTF-8: '%s'", what, text);
}

static json_t *integers(const int64_t *x, int n)
{
    json_t *array = json_array();
    for (int i = 0; array && i < n; i++) {
        if (!json_array_append_new(array, json_integer((json_int_t)x[i]))) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

static rh_status add_entry(json_t *header, uint64_t *offset, const rh_safetensors_entry *e,
                           rh_error *err)
{
    uint64_t n = 0;
    RH_TRY(bytes_of(&n, e, err));
    RH_TRY(check_text(e->name, "tensor's name", err));
    /* Python's readers view the data in place: a wider type must not follow an odd narrower one. */
    if (*offset % (uint64_t)rh_dtype_get(e->dtype)->bytes)
        return rh_fail(err, RH_EVALUE, "tensor '%s' would not be aligned; declare wider types first",
                       e->name);
    if (n > INT64_MAX - *offset)
        return rh_fail(err, RH_EVALUE, "tensor '%s' has an impossible shape", e->name);
    int64_t offsets[2] = { (int64_t)*offset, (int64_t)(*offset + n) };
    json_t *value = json_object();
    if (!value || json_object_set_new(value, "dtype", json_string(rh_dtype_get(e->dtype)->name)) ||
        json_object_set_new(value, "shape", integers(e->shape, e->n_dims)) ||
        json_object_set_new(value, "data_offsets", integers(offsets, 2))) {
        json_decref(value);
        return rh_fail_nomem(err);
    }
    *offset += n;
    return set(header, e->name, value, err);
}

static rh_status add_meta(json_t *header, const char *const (*meta)[2], int n_meta, rh_error *err)
{
    json_t *object = json_object();
    rh_status status = object ? RH_OK : rh_fail_nomem(err);
    for (int i = 0; status == RH_OK && i < n_meta; i++) {
        status = check_text(meta[i][0], "metadata key", err);
        if (status == RH_OK) status = check_text(meta[i][1], "metadata value", err);
        if (status == RH_OK) status = set(object, meta[i][0], json_string(meta[i][1]), err);
    }
    if (status == RH_OK) return set(header, "__metadata__", object, err);
    json_decref(object);
    return status;
}

/* out: malloc'd JSON, padded with spaces so that the data start at a multiple of 8. */
static rh_status make_header(rh_str *out, uint64_t *declared, const rh_safetensors_entry *entries,
                             int64_t n, const char *const (*meta)[2], int n_meta, rh_error *err)
{
    char *text = NULL;
    json_t *header = json_object();
    rh_status status = header ? RH_OK : rh_fail_nomem(err);
    if (status == RH_OK && n_meta > 0) status = add_meta(header, meta, n_meta, err);
    for (int64_t i = 0; status == RH_OK && i < n; i++)
        status = add_entry(header, declared, &entries[i], err);
    if (status == RH_OK) {
        text = json_dumps(header, JSON_COMPACT);
        if (text) rh_str_puts(out, text);
        while (out->len % 8 && !out->failed) rh_str_add(out, " ", 1);
        if (!text || out->failed) status = rh_fail_nomem(err);
    }
    free(text);
    json_decref(header);
    return status;
}

rh_status rh_st_writer_open(rh_st_writer **out, const char *path,
                            const rh_safetensors_entry *entries, int64_t n,
                            const char *const (*meta)[2], int n_meta, rh_error *err)
{
    rh_str header = { 0 };
    rh_st_writer *w = rh_calloc(1, sizeof *w);
    if (!w) return rh_fail_nomem(err);
    rh_status status = make_header(&header, &w->declared, entries, n, meta, n_meta, err);
    if (status == RH_OK) status = rh_writer_open(&w->file, path, err);
    uint64_t len = header.len;
    if (status == RH_OK) status = rh_writer_put(&w->file, &len, sizeof len, err);
    if (status == RH_OK) status = rh_writer_put(&w->file, header.data, header.len, err);
    rh_str_free(&header);
    if (status) {
        rh_st_writer_discard(w);
        return status;
    }
    *out = w;
    return RH_OK;
}

rh_status rh_st_writer_put(rh_st_writer *w, const void *bytes, size_t n, rh_error *err)
{
    if (n > w->declared - w->written)
        return rh_fail(err, RH_EVALUE, "more data than the %llu bytes declared for '%s'",
                       (unsigned long long)w->declared, w->file.path);
    RH_TRY(rh_writer_put(&w->file, bytes, n, err));
    w->written += n;
    return RH_OK;
}

rh_status rh_st_writer_commit(rh_st_writer *w, rh_error *err)
{
    rh_status status;
    if (w->written != w->declared)
        status = rh_fail(err, RH_EVALUE, "%llu bytes were declared for '%s', and %llu put",
                         (unsigned long long)w->declared, w->file.path, (unsigned long long)w->written);
    else status = rh_writer_commit(&w->file, err);
    rh_st_writer_discard(w);
    return status;
}

void rh_st_writer_discard(rh_st_writer *w)
{
    if (!w) return;
    rh_writer_discard(&w->file);
    free(w);
}

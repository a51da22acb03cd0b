/* Reading. Layout: u64 n, n bytes of JSON, data. The rules are those of the reference reader:
 * sorted by place, the tensors fill the data exactly, without hole or overlap. */
#include "engine/files/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/files/layout.h"

typedef struct part { /* one file; borrowed strings in tensors point into the arena */
    rh_map map;
    json_t *meta; /* __metadata__, or NULL */
} part;

struct rh_safetensors {
    rh_arena *arena;
    part *parts;
    int64_t n_parts;
    rh_tensor *tensors;
    size_t n, capacity;
    rh_names names;
    int64_t declared; /* metadata.total_size of an index; -1: none */
};

enum { HEADER_LIMIT = 100 * 1000 * 1000 }; /* the reference reader's */

static const struct {
    const char *name;
    rh_dtype dtype;
    int bits;
} types[] = {
    { "F32", RH_F32, 32 },            { "F16", RH_F16, 16 },
    { "BF16", RH_BF16, 16 },          { "F64", RH_DTYPE_NONE, 64 },
    { "I64", RH_DTYPE_NONE, 64 },     { "I32", RH_DTYPE_NONE, 32 },
    { "I16", RH_DTYPE_NONE, 16 },     { "I8", RH_DTYPE_NONE, 8 },
    { "U64", RH_DTYPE_NONE, 64 },     { "U32", RH_DTYPE_NONE, 32 },
    { "U16", RH_DTYPE_NONE, 16 },     { "U8", RH_DTYPE_NONE, 8 },
    { "BOOL", RH_DTYPE_NONE, 8 },     { "C64", RH_DTYPE_NONE, 64 },
    { "F8_E4M3", RH_DTYPE_NONE, 8 },  { "F8_E5M2", RH_DTYPE_NONE, 8 },
    { "F8_E8M0", RH_DTYPE_NONE, 8 },  { "F6_E2M3", RH_DTYPE_NONE, 6 },
    { "F6_E3M2", RH_DTYPE_NONE, 6 },  { "F4", RH_DTYPE_NONE, 4 },
};

static rh_status damaged(const rh_map *m, const char *name, const char *what, rh_error *err)
{
    rh_fail(err, RH_EFORMAT, "'%s' is damaged: tensor '%s' %s", m->path, name, what);
    rh_hint(err, "copy or download it again");
    return RH_EFORMAT;
}

/* An integer >= 0 at place i of an array. */
static bool whole(int64_t *out, const json_t *array, size_t i)
{
    const json_t *x = json_array_get(array, i);
    if (!json_is_integer(x) || json_integer_value(x) < 0) return false;
    *out = (int64_t)json_integer_value(x);
    return true;
}

static rh_status read_dtype(rh_tensor *t, int *bits, const rh_map *m, const json_t *value,
                            rh_error *err)
{
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (!dtype) return damaged(m, t->name, "has no dtype", err);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, dtype) != 0) continue;
        t->dtype = types[i].dtype;
        *bits = types[i].bits;
        snprintf(t->raw_type, sizeof t->raw_type, "%s", dtype);
        return RH_OK;
    }
    return rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' has the unknown dtype '%.40s'", m->path,
                   t->name, dtype);
}

static rh_status read_shape(rh_tensor *t, uint64_t *elements, const rh_map *m, const json_t *value,
                            rh_error *err)
{
    const json_t *shape = json_object_get(value, "shape");
    if (!json_is_array(shape)) return damaged(m, t->name, "has no shape", err);
    size_t n = json_array_size(shape);
    if (n > RH_MAX_DIMS)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' has %zu dimensions; at most %d can be "
                       "read", m->path, t->name, n, RH_MAX_DIMS);
    t->n_dims = (int32_t)n;
    *elements = 1;
    for (size_t i = 0; i < n; i++) {
        if (!whole(&t->shape[i], shape, i))
            return damaged(m, t->name, "has a shape that is not of whole numbers", err);
        uint64_t size = (uint64_t)t->shape[i];
        if (size && *elements > INT64_MAX / size) return damaged(m, t->name, "has an absurd size", err);
        *elements *= size;
    }
    return RH_OK;
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}; begin and end count from `data`. */
static rh_status read_tensor(rh_tensor *t, rh_span *span, const rh_map *m, size_t data,
                             const json_t *value, rh_error *err)
{
    int bits = 0;
    uint64_t elements = 0;
    int64_t begin, end;
    RH_TRY(read_dtype(t, &bits, m, value, err));
    RH_TRY(read_shape(t, &elements, m, value, err));
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (json_array_size(offsets) != 2 || !whole(&begin, offsets, 0) || !whole(&end, offsets, 1) ||
        begin > end)
        return damaged(m, t->name, "has no valid data_offsets", err);
    if ((uint64_t)end > m->size - data) {
        rh_fail(err, RH_EFORMAT, "'%s' is cut off or damaged: tensor '%s' ends at byte %lld of the "
                "data, but the file has only %zu", m->path, t->name, (long long)end, m->size - data);
        rh_hint(err, "copy or download it again");
        return RH_EFORMAT;
    }
    if (elements > UINT64_MAX / 64 || elements * (uint64_t)bits % 8 ||
        elements * (uint64_t)bits / 8 != (uint64_t)(end - begin))
        return damaged(m, t->name, "has data_offsets that do not fit its shape and dtype", err);
    t->data = m->data + data + begin;
    t->size = (size_t)(end - begin);
    t->path = m->path;
    *span = (rh_span){ (uint64_t)begin, (uint64_t)end, t->name };
    return RH_OK;
}

/* The JSON header, or what the file is instead. */
static rh_status read_header(json_t **out, size_t *data, const rh_map *m, rh_error *err)
{
    uint64_t n = 0;
    if (m->size >= 8) memcpy(&n, m->data, 8);
    if (m->size < 8 || n < 2 || n > m->size - 8 || m->data[8] != '{') {
        if (m->size == 0)
            rh_fail(err, RH_EFORMAT, "'%s' is empty; a safetensors file was expected", m->path);
        else if (m->size >= 8 && n >= 2 && n <= HEADER_LIMIT && (m->size == 8 || m->data[8] == '{'))
            rh_fail(err, RH_EFORMAT, "'%s' is cut off: its header has %llu bytes, but the file only %zu",
                    m->path, (unsigned long long)n, m->size);
        else rh_fail(err, RH_EFORMAT, "'%s' is no safetensors file", m->path);
        if (m->size >= 8 && !memcmp(m->data, "version ", 8))
            rh_hint(err, "it is a Git LFS pointer: fetch the file it points to");
        else if (m->size >= 4 && !memcmp(m->data, "GGUF", 4))
            rh_hint(err, "it looks like GGUF: let its name end in .gguf");
        else rh_hint(err, "copy or download it again");
        return RH_EFORMAT;
    }
    if (n > HEADER_LIMIT)
        return rh_fail(err, RH_ELIMIT, "'%s': a header of %llu bytes is beyond the limit of %d", m->path,
                       (unsigned long long)n, HEADER_LIMIT);
    json_t *header = NULL;
    RH_TRY(rh_json_parse(&header, (const char *)m->data + 8, (size_t)n, m->path, err));
    *data = 8 + (size_t)n; /* a '{' stands in front, so it is an object */
    *out = header;
    return RH_OK;
}

static rh_status check_spans(rh_span *spans, size_t n, const rh_map *m, size_t data, rh_error *err)
{
    uint64_t end = 0;
    rh_spans_sort(spans, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin < end) return damaged(m, spans[i].name, "overlaps another", err);
        if (spans[i].begin > end) return damaged(m, spans[i].name, "leaves a hole in front of it", err);
        end = spans[i].end;
    }
    if (end == m->size - data) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "'%s' is damaged: %llu bytes follow the last tensor", m->path,
                   (unsigned long long)(m->size - data - end));
}

static rh_status check_meta(json_t *meta, const rh_map *m, rh_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return rh_fail(err, RH_EFORMAT, "'%s' is damaged: __metadata__ is no object", m->path);
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return rh_fail(err, RH_EFORMAT, "'%s' is damaged: __metadata__ '%s' is no string", m->path,
                           key);
    }
    return RH_OK;
}

/* Adds one file's tensors to s. */
static rh_status add_part(rh_safetensors *s, part *p, const char *path, rh_error *err)
{
    json_t *header = NULL, *value;
    const char *name;
    rh_span *spans = NULL;
    size_t data = 0, n = 0, first = s->n;
    RH_TRY(rh_map_open(&p->map, path, err));
    rh_status status = read_header(&header, &data, &p->map, err);
    if (status) goto done;
    spans = rh_calloc(json_object_size(header), sizeof *spans);
    if (!spans) {
        status = rh_fail_nomem(err);
        goto done;
    }
    json_object_foreach(header, name, value) {
        if (!strcmp(name, "__metadata__")) {
            if ((status = check_meta(value, &p->map, err))) goto done;
            p->meta = json_incref(value);
            continue;
        }
        char *copy = rh_arena_strndup(s->arena, name, strlen(name));
        if (!copy || !RH_GROW(s->tensors, s->capacity, s->n)) {
            status = rh_fail_nomem(err);
            goto done;
        }
        s->tensors[s->n] = (rh_tensor){ .name = copy };
        if ((status = read_tensor(&s->tensors[s->n], &spans[n], &p->map, data, value, err))) goto done;
        s->n++, n++;
    }
    status = check_spans(spans, s->n - first, &p->map, data, err);
done:
    free(spans);
    json_decref(header);
    return status;
}

static rh_status sort_names(rh_safetensors *s, const char *path, rh_error *err)
{
    if (!rh_names_alloc(&s->names, (int64_t)s->n)) return rh_fail_nomem(err);
    for (size_t i = 0; i < s->n; i++)
        s->names.items[i] = (rh_name_entry){ s->tensors[i].name, (int64_t)i };
    rh_names_sort(&s->names);
    const char *twice = rh_names_twice(&s->names);
    if (twice)
        return rh_fail(err, RH_EFORMAT, "'%s' is damaged: tensor '%s' is in two of its shards", path,
                       twice);
    return RH_OK;
}

/* ---- shards ------------------------------------------------------------------------- */

static rh_status open_shard(rh_safetensors *s, const char *index, const char *shard, rh_error *err)
{
    char *dir = NULL, *path = NULL;
    rh_status status = RH_OK;
    if (!shard[0] || strchr(shard, '/') || !strcmp(shard, "."))
        return rh_fail(err, RH_EFORMAT, "'%s' names the shard '%s'; a file in its own folder was "
                       "expected", index, shard);
    dir = rh_path_dir(index);
    path = dir ? rh_path_join(dir, shard) : NULL;
    if (!path) {
        status = rh_fail_nomem(err);
    } else if (!rh_is_file(path)) {
        status = rh_fail(err, RH_EIO, "the shard '%s' is missing; '%s' names it", path, index);
        rh_hint(err, "download the whole model folder");
    } else {
        status = add_part(s, &s->parts[s->n_parts++], path, err);
    }
    free(path);
    free(dir);
    return status;
}

/* Where the index says. The shard's path is its name in the index's folder. */
static bool stands_in(const rh_safetensors *s, const char *tensor, const char *shard)
{
    const rh_tensor *t = rh_safetensors_find(s, tensor);
    const size_t n = t ? strlen(t->path) : 0, m = strlen(shard);
    return n > m && t->path[n - m - 1] == '/' && !strcmp(t->path + n - m, shard);
}

/* {"metadata": {"total_size": 18481…}}. Some write it as 1.8481…e10. */
static int64_t declared_size(const json_t *root)
{
    const json_t *size = json_object_get(json_object_get(root, "metadata"), "total_size");
    const double bytes = json_is_number(size) ? json_number_value(size) : -1;
    return bytes >= 0 && bytes < 9e15 ? (int64_t)bytes : -1;
}

/* {"weight_map": {tensor: shard}}: opens each shard once, in order of first mention. */
static rh_status open_index(rh_safetensors *s, const char *path, rh_error *err)
{
    json_t *root = NULL, *seen = NULL, *map, *shard;
    const char *tensor;
    rh_status status = rh_json_load(&root, path, err);
    if (status) return status;
    map = json_object_get(root, "weight_map");
    if (!json_is_object(map)) {
        status = rh_fail(err, RH_EFORMAT, "'%s' has no weight_map and is no index of shards", path);
        goto done;
    }
    s->declared = declared_size(root);
    s->parts = rh_calloc(json_object_size(map), sizeof *s->parts);
    seen = json_object();
    if (!s->parts || !seen) {
        status = rh_fail_nomem(err);
        goto done;
    }
    json_object_foreach(map, tensor, shard) {
        const char *name = json_string_value(shard);
        if (!name) {
            status = rh_fail(err, RH_EFORMAT, "'%s': the shard of tensor '%s' is no string", path, tensor);
            goto done;
        }
        if (json_object_get(seen, name)) continue;
        if (json_object_set_new(seen, name, json_true())) {
            status = rh_fail_nomem(err);
            goto done;
        }
        if ((status = open_shard(s, path, name, err))) goto done;
    }
    if ((status = sort_names(s, path, err))) goto done;
    json_object_foreach(map, tensor, shard) {
        if (stands_in(s, tensor, json_string_value(shard))) continue;
        status = rh_fail(err, RH_EFORMAT, "tensor '%s' is not in its shard; '%s' says it is in '%s'",
                         tensor, path, json_string_value(shard));
        goto done;
    }
done:
    json_decref(seen);
    json_decref(root);
    return status;
}

static rh_status open_single(rh_safetensors *s, const char *path, rh_error *err)
{
    s->parts = rh_calloc(1, sizeof *s->parts);
    if (!s->parts) return rh_fail_nomem(err);
    s->n_parts = 1;
    RH_TRY(add_part(s, &s->parts[0], path, err));
    return sort_names(s, path, err);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static rh_status open_folder(rh_safetensors *s, const char *dir, rh_error *err)
{
    char *single = rh_path_join(dir, "model.safetensors");
    char *index = rh_path_join(dir, "model.safetensors.index.json");
    rh_status status;
    if (!single || !index) status = rh_fail_nomem(err);
    else if (rh_is_file(single)) status = open_single(s, single, err);
    else if (rh_is_file(index)) status = open_index(s, index, err);
    else
        status = rh_fail(err, RH_EIO, "the folder '%s' has neither model.safetensors nor "
                         "model.safetensors.index.json", dir);
    free(single);
    free(index);
    return status;
}

rh_status rh_safetensors_open(rh_safetensors **out, const char *path, rh_error *err)
{
    rh_status status;
    rh_safetensors *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->declared = -1;
    s->arena = rh_arena_new();
    if (!s->arena) status = rh_fail_nomem(err);
    else if (rh_is_dir(path)) status = open_folder(s, path, err);
    else if (ends_with(path, ".json")) status = open_index(s, path, err);
    else status = open_single(s, path, err);
    if (status) {
        rh_safetensors_close(s);
        return status;
    }
    *out = s;
    return RH_OK;
}

void rh_safetensors_close(rh_safetensors *s)
{
    if (!s) return;
    for (int64_t i = 0; i < s->n_parts; i++) {
        json_decref(s->parts[i].meta);
        rh_map_close(&s->parts[i].map);
    }
    free(s->parts);
    free(s->tensors);
    rh_names_free(&s->names);
    rh_arena_free(s->arena);
    free(s);
}

int64_t rh_safetensors_n(const rh_safetensors *s)
{
    return (int64_t)s->n;
}

const rh_tensor *rh_safetensors_tensor(const rh_safetensors *s, int64_t i)
{
    return i >= 0 && i < (int64_t)s->n ? &s->tensors[i] : NULL;
}

const rh_tensor *rh_safetensors_find(const rh_safetensors *s, const char *name)
{
    return rh_safetensors_tensor(s, rh_names_find(&s->names, name));
}

int64_t rh_safetensors_bytes(const rh_safetensors *s)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < s->n; i++) bytes += s->tensors[i].size;
    return bytes;
}

int64_t rh_safetensors_declared(const rh_safetensors *s) { return s->declared; }

const char *rh_safetensors_meta(const rh_safetensors *s, const char *key)
{
    for (int64_t i = 0; i < s->n_parts; i++) {
        const char *value = json_string_value(json_object_get(s->parts[i].meta, key));
        if (value) return value;
    }
    return NULL;
}

rh_status rh_safetensors_check(const rh_safetensors *s, rh_error *err)
{
    for (int64_t i = 0; i < s->n_parts; i++) RH_TRY(rh_map_check(&s->parts[i].map, err));
    return RH_OK;
}

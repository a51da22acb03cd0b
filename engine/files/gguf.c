/* Layout: "GGUF", u32 version, u64 n_tensors, u64 n_kv; then n_kv times (string key, u32 type,
 * value); then n_tensors times (string name, u32 n_dims, u64 ne[n_dims] fastest first, u32 type,
 * u64 offset); then, from the next multiple of general.alignment, the data. string: u64 length
 * and bytes. array: u32 type, u64 n, items. */
#include "engine/files/gguf.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/files/gguf_values.h"

/* A place in the file and what is being read there, for messages. */
typedef struct reader {
    const uint8_t *data;
    size_t size, pos;
    const char *path;
    const char *part; /* "header", "key", "tensor" */
    uint64_t i, n;    /* part i of n */
    rh_error *err;
} reader;

/* "key 3 of 40" or "the header" */
static const char *part_name(const reader *r, char buffer[64])
{
    if (!r->n) snprintf(buffer, 64, "the %s", r->part);
    else
        snprintf(buffer, 64, "%s %llu of %llu", r->part, (unsigned long long)r->i + 1,
                 (unsigned long long)r->n);
    return buffer;
}

static rh_status bad(const reader *r, const char *what)
{
    char part[64];
    rh_fail(r->err, RH_EFORMAT, "'%s' is damaged: %s %s (byte %zu)", r->path, part_name(r, part),
            what, r->pos);
    rh_hint(r->err, "copy or download it again");
    return RH_EFORMAT;
}

/* RH_OK if n more items of `size` bytes are there. */
static rh_status need(const reader *r, uint64_t n, size_t size)
{
    if (n <= (r->size - r->pos) / size) return RH_OK;
    char part[64];
    rh_fail(r->err, RH_EFORMAT, "'%s' is cut off or damaged: %s wants %llu %s at byte %zu, "
            "but the file ends at byte %zu", r->path, part_name(r, part), (unsigned long long)n,
            size == 1 ? "bytes" : "items", r->pos, r->size);
    rh_hint(r->err, "copy or download it again");
    return RH_EFORMAT;
}

static rh_status read_u32(uint32_t *out, reader *r)
{
    RH_TRY(need(r, 4, 1));
    *out = gguf_u32(r->data + r->pos);
    r->pos += 4;
    return RH_OK;
}

static rh_status read_u64(uint64_t *out, reader *r)
{
    RH_TRY(need(r, 8, 1));
    *out = gguf_u64(r->data + r->pos);
    r->pos += 8;
    return RH_OK;
}

/* A name: copied, so that it ends in NUL. */
static rh_status read_name(const char **out, reader *r, rh_arena *arena)
{
    uint64_t len;
    RH_TRY(read_u64(&len, r));
    RH_TRY(need(r, len, 1));
    const char *bytes = (const char *)r->data + r->pos;
    if (len == 0) return bad(r, "has an empty name");
    if (len > 65535) return bad(r, "has a name of more than 65535 bytes");
    if (memchr(bytes, 0, (size_t)len)) return bad(r, "has a NUL in its name");
    *out = rh_arena_strndup(arena, bytes, (size_t)len);
    if (!*out) return rh_fail_nomem(r->err);
    r->pos += (size_t)len;
    return RH_OK;
}

static rh_status skip_strings(reader *r, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len;
        RH_TRY(read_u64(&len, r));
        RH_TRY(need(r, len, 1));
        r->pos += (size_t)len;
    }
    return RH_OK;
}

static rh_status read_kv(gguf_kv *kv, reader *r, rh_arena *arena)
{
    uint32_t type;
    RH_TRY(read_name(&kv->key, r, arena));
    RH_TRY(read_u32(&type, r));
    if (type >= GGUF_N_TYPES) return bad(r, "has a value of an unknown type");
    kv->type = (gguf_type)type;
    uint64_t n = 1;
    if (type == GGUF_ARRAY) {
        RH_TRY(read_u32(&type, r));
        RH_TRY(read_u64(&n, r));
        if (type >= GGUF_N_TYPES) return bad(r, "is an array of an unknown type");
        if (type == GGUF_ARRAY) return bad(r, "is an array of arrays, which Rhumb cannot read");
        kv->item = (gguf_type)type;
        kv->n = n;
    }
    kv->value = r->data + r->pos;
    if (type == GGUF_STRING) {
        RH_TRY(need(r, n, 8));
        return skip_strings(r, n);
    }
    RH_TRY(need(r, n, gguf_type_size[type]));
    r->pos += (size_t)n * gguf_type_size[type];
    return RH_OK;
}

/* Everything but the data's place: it is known only after the last one. */
static rh_status read_tensor(rh_tensor *t, uint64_t *offset, reader *r, rh_arena *arena)
{
    uint32_t n_dims, type;
    char type_name[32];
    RH_TRY(read_name(&t->name, r, arena));
    RH_TRY(read_u32(&n_dims, r));
    if (n_dims < 1 || n_dims > RH_MAX_DIMS) return bad(r, "does not have 1 to 4 dimensions");
    t->n_dims = (int32_t)n_dims;
    uint64_t elements = 1;
    for (int i = (int)n_dims - 1; i >= 0; i--) {
        uint64_t ne;
        RH_TRY(read_u64(&ne, r));
        if (ne == 0) return bad(r, "has a dimension of size 0");
        if (ne > INT64_MAX / elements) return bad(r, "has an absurd size");
        elements *= ne;
        t->shape[i] = (int64_t)ne;
    }
    RH_TRY(read_u32(&type, r));
    RH_TRY(read_u64(offset, r));
    rh_ggml_type_name(type, type_name);
    snprintf(t->raw_type, sizeof t->raw_type, "%.15s", type_name);
    t->path = r->path;
    t->dtype = rh_dtype_from_ggml(type);
    if (t->dtype == RH_DTYPE_NONE) return RH_OK;
    int64_t row = t->shape[n_dims - 1];
    size_t row_bytes = rh_row_bytes(t->dtype, row);
    uint64_t rows = elements / (uint64_t)row;
    if (!row_bytes) return bad(r, "has rows that are not whole blocks of its type");
    if (rows > SIZE_MAX / row_bytes) return bad(r, "has an absurd size");
    t->size = row_bytes * (size_t)rows;
    return RH_OK;
}

/* Say what the file is instead, where its first bytes tell. */
static rh_status not_gguf(const reader *r)
{
    if (r->size == 0) {
        rh_fail(r->err, RH_EFORMAT, "'%s' is empty; a GGUF file was expected", r->path);
        rh_hint(r->err, "copy or download it again");
        return RH_EFORMAT;
    }
    size_t shown = r->size < 4 ? r->size : 4;
    char bytes[16] = "";
    for (size_t i = 0; i < shown; i++) snprintf(bytes + 3 * i, 4, "%02x ", r->data[i]);
    bytes[3 * shown - 1] = 0;
    rh_fail(r->err, RH_EFORMAT, "'%s' is no GGUF file: it begins with the bytes %s, not with \"GGUF\"",
            r->path, bytes);
    if (r->size >= 8 && !memcmp(r->data, "version ", 8))
        rh_hint(r->err, "it is a Git LFS pointer: fetch the file it points to");
    else if (r->size > 9 && gguf_u64(r->data) < r->size && r->data[8] == '{')
        rh_hint(r->err, "it looks like safetensors: let its name end in .safetensors");
    else if (shown == 4 && !memcmp(r->data, "PK\3\4", 4))
        rh_hint(r->err, "it is a zip archive: unpack it first");
    else rh_hint(r->err, "give a model in GGUF, or a folder with model.safetensors");
    return RH_EFORMAT;
}

static rh_status read_header(rh_gguf *g, reader *r)
{
    uint32_t version;
    uint64_t n_tensors, n_kv;
    if (r->size < 4 || memcmp(r->data, "GGUF", 4) != 0) return not_gguf(r);
    r->pos = 4;
    RH_TRY(read_u32(&version, r));
    if (version != 2 && version != 3) {
        if (version && version < 0x10000) {
            rh_fail(r->err, RH_EUNSUPPORTED, "'%s' is GGUF version %lu; versions 2 and 3 can be read",
                    r->path, (unsigned long)version);
            rh_hint(r->err, "convert it again with a current llama.cpp");
        } else if ((version & 0xFFFF) == 0 && version) {
            rh_fail(r->err, RH_EUNSUPPORTED, "'%s' is a big-endian GGUF; only little-endian ones can "
                    "be read", r->path);
            rh_hint(r->err, "convert it with gguf_convert_endian of llama.cpp's gguf package");
        } else {
            return bad(r, "has no version");
        }
        return RH_EUNSUPPORTED;
    }
    RH_TRY(read_u64(&n_tensors, r));
    RH_TRY(read_u64(&n_kv, r));
    /* The least a key (8 + 1 + 4 + 1) and a tensor (8 + 1 + 4 + 8 + 4 + 8) take. */
    RH_TRY(need(r, n_kv, 14));
    RH_TRY(need(r, n_tensors, 33));
    g->n_kv = (int64_t)n_kv;
    g->n_tensors = (int64_t)n_tensors;
    return RH_OK;
}

static rh_status twice(const reader *r, const char *what, const char *name)
{
    if (!name) return RH_OK;
    return rh_fail(r->err, RH_EFORMAT, "'%s' is damaged: two %s are called '%s'", r->path, what, name);
}

static rh_status read_keys(rh_gguf *g, reader *r)
{
    g->kv = rh_calloc((size_t)g->n_kv, sizeof *g->kv);
    if (!g->kv || !rh_names_alloc(&g->keys, g->n_kv)) return rh_fail_nomem(r->err);
    r->part = "key", r->n = (uint64_t)g->n_kv;
    for (int64_t i = 0; i < g->n_kv; i++) {
        r->i = (uint64_t)i;
        rh_status status = read_kv(&g->kv[i], r, g->arena);
        if (status) {
            g->keys.n = 0; /* names not read yet are NULL */
            return status;
        }
        g->keys.items[i] = (rh_name_entry){ g->kv[i].key, i };
    }
    rh_names_sort(&g->keys);
    return twice(r, "keys", rh_names_twice(&g->keys));
}

static rh_status alignment(uint64_t *out, const rh_gguf *g, rh_error *err)
{
    int64_t value = 32;
    if (rh_gguf_has(g, "general.alignment")) RH_TRY(rh_gguf_i64(&value, g, "general.alignment", err));
    if (value < 1 || value > 1 << 20 || (value & (value - 1)))
        return rh_fail(err, RH_EFORMAT, "'%s': general.alignment is %lld; a power of two up to 2^20 "
                       "was expected", g->map.path, (long long)value);
    *out = (uint64_t)value;
    return RH_OK;
}

/* Each tensor's bytes lie in the file, and no two share one. spans [n_tensors]: begin is the
 * offset as read; here made a place in the file. */
static rh_status place_tensors(rh_gguf *g, rh_span *spans, const reader *r)
{
    uint64_t align = 32;
    RH_TRY(alignment(&align, g, r->err));
    uint64_t start = (r->pos + align - 1) / align * align, size = r->size;
    for (int64_t i = 0; i < g->n_tensors; i++) {
        rh_tensor *t = &g->tensors[i];
        uint64_t offset = spans[i].begin;
        if (offset % align)
            return rh_fail(r->err, RH_EFORMAT, "'%s' is damaged: tensor '%s' is at offset %llu, no "
                           "multiple of %llu", r->path, t->name, (unsigned long long)offset,
                           (unsigned long long)align);
        if (start > size || offset > size - start || t->size > size - start - offset) {
            rh_fail(r->err, RH_EFORMAT, "'%s' is cut off or damaged: tensor '%s' has %zu bytes at "
                    "offset %llu of the data, but the file ends at byte %llu (data start at %llu)",
                    r->path, t->name, t->size, (unsigned long long)offset, (unsigned long long)size,
                    (unsigned long long)start);
            rh_hint(r->err, "copy or download it again");
            return RH_EFORMAT;
        }
        t->data = r->data + start + offset;
        spans[i] = (rh_span){ offset, offset + t->size, t->name };
    }
    rh_spans_sort(spans, g->n_tensors);
    for (int64_t i = 1; i < g->n_tensors; i++) {
        if (spans[i].begin >= spans[i - 1].end) continue;
        return rh_fail(r->err, RH_EFORMAT, "'%s' is damaged: tensors '%s' and '%s' overlap", r->path,
                       spans[i - 1].name, spans[i].name);
    }
    return RH_OK;
}

static rh_status read_tensors(rh_gguf *g, reader *r, bool repeats)
{
    rh_status status = RH_OK;
    size_t n = (size_t)g->n_tensors;
    rh_span *spans = rh_calloc(n, sizeof *spans);
    g->tensors = rh_calloc(n, sizeof *g->tensors);
    if (!spans || !g->tensors || !rh_names_alloc(&g->names, g->n_tensors)) {
        status = rh_fail_nomem(r->err);
        goto done;
    }
    r->part = "tensor", r->n = n;
    for (size_t i = 0; i < n; i++) {
        r->i = i;
        status = read_tensor(&g->tensors[i], &spans[i].begin, r, g->arena);
        if (status) goto done;
        g->names.items[i] = (rh_name_entry){ g->tensors[i].name, (int64_t)i };
    }
    rh_names_sort(&g->names);
    if (!repeats) status = twice(r, "tensors", rh_names_twice(&g->names));
    if (status == RH_OK) status = place_tensors(g, spans, r);
done:
    free(spans);
    return status;
}

static rh_status open_file(rh_gguf **out, const char *path, bool repeats, rh_error *err)
{
    rh_gguf *g = rh_calloc(1, sizeof *g);
    if (!g) return rh_fail_nomem(err);
    rh_status status = rh_map_open(&g->map, path, err);
    if (status) goto fail;
    reader r = { g->map.data, g->map.size, 0, g->map.path, "header", 0, 0, err };
    if ((status = read_header(g, &r))) goto fail;
    if (!(g->arena = rh_arena_new())) {
        status = rh_fail_nomem(err);
        goto fail;
    }
    if ((status = read_keys(g, &r))) goto fail;
    if ((status = read_tensors(g, &r, repeats))) goto fail;
    *out = g;
    return RH_OK;
fail:
    rh_gguf_close(g);
    return status;
}

rh_status rh_gguf_open(rh_gguf **out, const char *path, rh_error *err)
{
    return open_file(out, path, false, err);
}

rh_status rh_gguf_open_repeats(rh_gguf **out, const char *path, rh_error *err)
{
    return open_file(out, path, true, err);
}

void rh_gguf_close(rh_gguf *g)
{
    if (!g) return;
    for (int64_t i = 0; g->kv && i < g->n_kv; i++) free(g->kv[i].strings);
    free(g->kv);
    free(g->tensors);
    rh_names_free(&g->keys);
    rh_names_free(&g->names);
    rh_arena_free(g->arena);
    rh_map_close(&g->map);
    free(g);
}

int64_t rh_gguf_n_tensors(const rh_gguf *g)
{
    return g->n_tensors;
}

const rh_tensor *rh_gguf_tensor(const rh_gguf *g, int64_t i)
{
    return i >= 0 && i < g->n_tensors ? &g->tensors[i] : NULL;
}

const rh_tensor *rh_gguf_find(const rh_gguf *g, const char *name)
{
    return rh_gguf_tensor(g, rh_names_find(&g->names, name));
}

const rh_map *rh_gguf_map(const rh_gguf *g)
{
    return &g->map;
}

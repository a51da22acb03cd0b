#include "engine/files/vectorfile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/files/gguf.h"
#include "engine/files/gguf_write.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"

typedef enum kind { SAFETENSORS, GGUF, NPY, UNKNOWN } kind;

static kind kind_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (!dot) return UNKNOWN;
    if (!strcasecmp(dot, ".safetensors")) return SAFETENSORS;
    if (!strcasecmp(dot, ".gguf")) return GGUF;
    if (!strcasecmp(dot, ".npy")) return NPY;
    return UNKNOWN;
}

static rh_status unknown_kind(const char *path, rh_error *err)
{
    rh_fail(err, RH_EUNSUPPORTED, "'%s' does not say which kind of vector file it is", path);
    rh_hint(err, "let its name end in .safetensors, .gguf or .npy");
    return RH_EUNSUPPORTED;
}

static bool finite_row(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* ---- reading: tensors direction.L -------------------------------------------------------- */

typedef struct found {
    int32_t layer; /* -1: a constant */
    const rh_tensor *tensor;
} found;

typedef struct finds { /* tensors that make up the vector */
    found *items;      /* owned */
    size_t n, capacity;
} finds;

static int by_layer(const void *a, const void *b)
{
    const found *x = a, *y = b;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

/* "direction.12" -> 12 */
static bool layer_of(int32_t *layer, const char *name)
{
    static const char prefix[] = "direction.";
    int64_t n = 0;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    const char *p = name + sizeof prefix - 1;
    if (!*p) return false;
    for (; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        n = 10 * n + (*p - '0');
        if (n >= INT32_MAX) return false;
    }
    *layer = (int32_t)n;
    return true;
}

static rh_status add(finds *f, int32_t layer, const rh_tensor *t, rh_error *err)
{
    if (!RH_GROW(f->items, f->capacity, f->n)) return rh_fail_nomem(err);
    f->items[f->n++] = (found){ layer, t };
    return RH_OK;
}

/* out [d] = the tensor as float32, all finite */
static rh_status read_row(float *out, const rh_tensor *t, int32_t d, rh_error *err)
{
    if (t->dtype != RH_DTYPE_NONE) {
        rh_dequantize_row(out, t->data, t->dtype, d);
    } else if (!strcmp(t->raw_type, "F64") && t->size == (size_t)d * sizeof(double)) {
        for (int32_t i = 0; i < d; i++) {
            double x;
            memcpy(&x, t->data + (size_t)i * sizeof x, sizeof x);
            out[i] = (float)x;
        }
    } else {
        rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' is of type %s", t->path, t->name, t->raw_type);
        rh_hint(err, "save it as float32");
        return RH_EUNSUPPORTED;
    }
    if (finite_row(out, (size_t)d)) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has a value that is NaN or infinite", t->path,
                   t->name);
}

/* [d] or [1, d]; else 0 */
static int64_t width(const rh_tensor *t)
{
    if (t->n_dims == 1) return t->shape[0];
    return t->n_dims == 2 && t->shape[0] == 1 ? t->shape[1] : 0;
}

static rh_status check_widths(const finds *f, rh_error *err)
{
    const rh_tensor *first = f->items[0].tensor;
    for (size_t i = 0; i < f->n; i++) {
        const rh_tensor *t = f->items[i].tensor;
        if (width(t) < 1 || width(t) > INT32_MAX)
            return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' is no vector: a shape of one dimension "
                           "was expected", t->path, t->name);
        if (width(t) != width(first))
            return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has %lld values, '%s' has %lld", t->path,
                           first->name, (long long)width(first), t->name, (long long)width(t));
    }
    return RH_OK;
}

/* One row a layer; several of one layer are summed if `sum`, else refused. */
static rh_status assemble(rh_vector **out, finds *f, rh_hook hook, bool sum, rh_error *err)
{
    rh_vector *v = NULL;
    float *row = NULL;
    int32_t n = 0, *layers = NULL;
    rh_status status = check_widths(f, err);
    if (status) return status;
    int32_t d = (int32_t)width(f->items[0].tensor);
    qsort(f->items, f->n, sizeof *f->items, by_layer);
    layers = rh_calloc(f->n, sizeof *layers);
    row = rh_calloc((size_t)d, sizeof *row);
    if (!layers || !row) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (!i || f->items[i].layer != layers[n - 1]) {
            layers[n++] = f->items[i].layer;
        } else if (!sum) {
            status = rh_fail(err, RH_EFORMAT, "'%s': '%s' and '%s' are of the same layer",
                             f->items[i].tensor->path, f->items[i - 1].tensor->name,
                             f->items[i].tensor->name);
            goto done;
        }
    }
    if ((status = rh_vector_new(&v, d, hook, layers, n, err))) goto done;
    float *to = v->data;
    for (size_t i = 0; i < f->n; i++) {
        if (i && f->items[i].layer != f->items[i - 1].layer) to += d;
        if ((status = read_row(row, f->items[i].tensor, d, err))) goto done;
        for (int32_t j = 0; j < d; j++) to[j] += row[j];
    }
    if (!finite_row(v->data, (size_t)n * (size_t)d)) {
        status = rh_fail(err, RH_EFORMAT, "'%s': the sum of a layer's tensors is not finite",
                         f->items[0].tensor->path);
        goto done;
    }
    *out = v;
    v = NULL;
done:
    rh_vector_free(v);
    free(row);
    free(layers);
    return status;
}

/* "'a', 'b', 'c' and 7 more" */
typedef const rh_tensor *(*tensor_at)(const void *file, int64_t i);

static void list_names(char out[256], const void *file, tensor_at at, int64_t n)
{
    size_t used = 0;
    int64_t i = 0;
    out[0] = 0;
    for (; i < n && i < 5; i++) {
        int wrote = snprintf(out + used, 256 - used, "%s'%.60s'", i ? ", " : "", at(file, i)->name);
        if (wrote < 0 || (size_t)wrote >= 200 - used) break;
        used += (size_t)wrote;
    }
    if (!n) snprintf(out, 256, "none");
    else if (i < n) snprintf(out + used, 256 - used, " and %lld more", (long long)(n - i));
}

/* The tensor called tensor_name; or all direction.L; or the one `direction`, a constant. */
static rh_status find_tensors(finds *f, const void *file, tensor_at at, int64_t n, const char *path,
                              const char *tensor_name, rh_error *err)
{
    char names[256];
    const rh_tensor *constant = NULL;
    for (int64_t i = 0; i < n; i++) {
        const rh_tensor *t = at(file, i);
        int32_t layer = -1;
        bool named = layer_of(&layer, t->name);
        if (tensor_name ? !strcmp(t->name, tensor_name) : named) RH_TRY(add(f, layer, t, err));
        else if (!tensor_name && !strncmp(t->name, "direction.", 10))
            return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' names no layer", path, t->name);
        if (!tensor_name && !strcmp(t->name, "direction")) constant = t;
    }
    if (!f->n && constant) RH_TRY(add(f, -1, constant, err));
    if (f->n) return RH_OK;
    list_names(names, file, at, n);
    if (tensor_name)
        return rh_fail(err, RH_ENAME, "'%s' has no tensor '%s'; it has %s", path, tensor_name, names);
    rh_fail(err, RH_EFORMAT, "'%s' has no tensor direction.L, and so is no vector file; it has %s", path,
            names);
    if (n) rh_hint(err, "name the tensor that is meant");
    return RH_EFORMAT;
}

/* ---- reading: the three kinds ------------------------------------------------------------- */

/* The hook that Rhumb's metadata names; resid_post if there are none. */
static rh_status hook_of(rh_hook *out, const char *metadata, const char *path, rh_error *err)
{
    json_t *root = NULL;
    *out = RH_RESID_POST;
    if (!metadata) return RH_OK;
    RH_TRY(rh_json_parse(&root, metadata, strlen(metadata), path, err));
    const json_t *hook = json_object_get(root, "hook");
    const char *name = json_string_value(hook);
    rh_status status = RH_OK;
    if (!json_is_object(root))
        status = rh_fail(err, RH_EFORMAT, "'%s': the metadata `rhumb` are no JSON object", path);
    else if (hook && (!name || !rh_hook_parse(out, name, strlen(name))))
        status = rh_fail(err, RH_EFORMAT, "'%s': the metadata name the unknown hook '%.40s'", path,
                         name ? name : "?");
    json_decref(root);
    return status;
}

static const rh_tensor *safetensors_at(const void *file, int64_t i)
{
    return rh_safetensors_tensor(file, i);
}

static rh_status read_safetensors(rh_vectorfile *out, const char *path, const char *tensor_name,
                                  rh_error *err)
{
    rh_safetensors *s = NULL;
    finds f = { 0 };
    rh_hook hook = RH_RESID_POST;
    rh_status status = rh_safetensors_open(&s, path, err);
    if (status) goto done;
    const char *metadata = rh_safetensors_meta(s, "rhumb");
    if ((status = hook_of(&hook, metadata, path, err))) goto done;
    status = find_tensors(&f, s, safetensors_at, rh_safetensors_n(s), path, tensor_name, err);
    if (status) goto done;
    if (metadata && !(out->metadata = rh_strdup(metadata))) {
        status = rh_fail_nomem(err);
        goto done;
    }
    status = assemble(&out->vector, &f, hook, false, err);
done:
    free(f.items);
    rh_safetensors_close(s);
    return status;
}

static const rh_tensor *gguf_at(const void *file, int64_t i)
{
    return rh_gguf_tensor(file, i);
}

/* A copy of a string key in *out; NULL if it is absent or empty. */
static rh_status copy_key(char **out, const rh_gguf *g, const char *key, rh_error *err)
{
    rh_bytes text = { NULL, 0 };
    if (!rh_gguf_has(g, key)) return RH_OK;
    RH_TRY(rh_gguf_string(&text, g, key, err));
    if (text.len && !(*out = rh_strndup(text.data, text.len))) return rh_fail_nomem(err);
    return RH_OK;
}

static rh_status check_architecture(const rh_gguf *g, const char *path, rh_error *err)
{
    rh_bytes name = { "", 0 };
    if (!rh_gguf_has(g, "general.architecture")) return RH_OK;
    RH_TRY(rh_gguf_string(&name, g, "general.architecture", err));
    if (name.len == 13 && !memcmp(name.data, "controlvector", 13)) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "'%s' is a GGUF of architecture '%.*s', no control vector", path,
                   name.len > 40 ? 40 : (int)name.len, name.data);
}

static rh_status read_gguf(rh_vectorfile *out, const char *path, const char *tensor_name, rh_error *err)
{
    rh_gguf *g = NULL;
    finds f = { 0 };
    rh_status status = rh_gguf_open_repeats(&g, path, err);
    if (status) goto done;
    if ((status = check_architecture(g, path, err))) goto done;
    status = find_tensors(&f, g, gguf_at, rh_gguf_n_tensors(g), path, tensor_name, err);
    if (status) goto done;
    for (size_t i = 0; i < f.n; i++) {
        if (f.items[i].layer != 0) continue;
        status = rh_fail(err, RH_EFORMAT, "'%s': a control vector has no tensor '%s': layers count from 1",
                         path, f.items[i].tensor->name);
        goto done;
    }
    if ((status = copy_key(&out->metadata, g, "rhumb", err))) goto done;
    if ((status = copy_key(&out->model_hint, g, "controlvector.model_hint", err))) goto done;
    status = assemble(&out->vector, &f, RH_RESID_POST, true, err);
done:
    free(f.items);
    rh_gguf_close(g);
    return status;
}

static rh_status read_npy(rh_vectorfile *out, const char *path, const char *tensor_name, rh_error *err)
{
    float *data = NULL;
    int n_dims = 0;
    int64_t shape[2] = { 0, 0 };
    const int32_t anywhere = -1;
    if (tensor_name)
        return rh_fail(err, RH_ENAME, "'%s' is one array without a name; '%s' was asked for", path,
                       tensor_name);
    RH_TRY(rh_npy_read(&data, &n_dims, shape, path, err));
    int64_t d = n_dims == 2 ? shape[1] : shape[0];
    rh_status status;
    if (n_dims == 2 && shape[0] != 1) {
        status = rh_fail(err, RH_EFORMAT, "'%s' has the shape (%lld, %lld); one vector was expected",
                         path, (long long)shape[0], (long long)shape[1]);
        rh_hint(err, "save one row of it, or a safetensors file with a tensor direction.L for each layer");
    } else if (d < 1 || d > INT32_MAX) {
        status = rh_fail(err, RH_EFORMAT, "'%s' has %lld values, too few or too many", path, (long long)d);
    } else if (!finite_row(data, (size_t)d)) {
        status = rh_fail(err, RH_EFORMAT, "'%s' has a value that is NaN or infinite", path);
    } else {
        status = rh_vector_new(&out->vector, (int32_t)d, RH_RESID_POST, &anywhere, 1, err);
        if (status == RH_OK) memcpy(out->vector->data, data, (size_t)d * sizeof *data);
    }
    free(data);
    return status;
}

rh_status rh_vectorfile_read(rh_vectorfile *out, const char *path, const char *tensor_name,
                             rh_error *err)
{
    rh_vectorfile f = { 0 };
    rh_status status;
    switch (kind_of(path)) {
    case SAFETENSORS: status = read_safetensors(&f, path, tensor_name, err); break;
    case GGUF: status = read_gguf(&f, path, tensor_name, err); break;
    case NPY: status = read_npy(&f, path, tensor_name, err); break;
    default: return unknown_kind(path, err);
    }
    if (status) rh_vectorfile_free(&f);
    else *out = f;
    return status;
}

void rh_vectorfile_free(rh_vectorfile *f)
{
    if (!f) return;
    rh_vector_free(f->vector);
    free(f->metadata);
    free(f->model_hint);
    memset(f, 0, sizeof *f);
}

/* ---- writing -------------------------------------------------------------------------- */

static bool is_constant(const rh_vector *v)
{
    return v->layers[0] == -1;
}

/* Metadata that say another hook than the vector's would make the file lie. Without any, a hook
 * that is not the default must still be told. */
static rh_status write_safetensors(const char *path, const rh_vector *v, const char *metadata,
                                   rh_error *err)
{
    typedef char label[24];
    char minimal[64];
    rh_hook hook = RH_RESID_POST;
    rh_st_writer *w = NULL;
    size_t n = (size_t)v->n_layers;
    label *names = rh_calloc(n, sizeof *names);
    rh_safetensors_entry *entries = rh_calloc(n, sizeof *entries);
    rh_status status = RH_OK;
    if (!names || !entries) {
        status = rh_fail_nomem(err);
        goto done;
    }
    if (!metadata && v->hook != RH_RESID_POST) {
        snprintf(minimal, sizeof minimal, "{\"version\":1,\"hook\":\"%s\"}", rh_hook_name(v->hook));
        metadata = minimal;
    }
    if ((status = hook_of(&hook, metadata, "metadata", err))) goto done;
    if (hook != v->hook) {
        status = rh_fail(err, RH_EVALUE, "the metadata of '%s' name hook %s, the vector is at %s", path,
                         rh_hook_name(hook), rh_hook_name(v->hook));
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_constant(v)) snprintf(names[i], sizeof names[i], "direction");
        else snprintf(names[i], sizeof names[i], "direction.%d", (int)v->layers[i]);
        entries[i] = (rh_safetensors_entry){ names[i], RH_F32, 1, { v->d } };
    }
    const char *const meta[1][2] = { { "rhumb", metadata } };
    status = rh_st_writer_open(&w, path, entries, (int64_t)n, meta, metadata ? 1 : 0, err);
    if (status == RH_OK)
        status = rh_st_writer_put(w, v->data, n * (size_t)v->d * sizeof *v->data, err);
    if (status == RH_OK) {
        status = rh_st_writer_commit(w, err);
        w = NULL;
    }
done:
    rh_st_writer_discard(w);
    free(entries);
    free(names);
    return status;
}

static rh_status no_site(const char *path, const char *what, rh_error *err)
{
    rh_fail(err, RH_ESITE, "'%s': a GGUF control vector cannot say %s", path, what);
    rh_hint(err, "write a .safetensors file");
    return RH_ESITE;
}

static rh_status write_gguf(const char *path, const rh_vector *v, const char *metadata,
                            const char *model_hint, int32_t n_model_layers, rh_error *err)
{
    int32_t last = v->layers[v->n_layers - 1];
    if (is_constant(v)) return no_site(path, "a vector that belongs to no layer", err);
    if (v->hook != RH_RESID_POST) return no_site(path, "another hook than resid_post", err);
    if (v->layers[0] == 0) return no_site(path, "layer 0", err);
    if (n_model_layers > 0 && last >= n_model_layers)
        return rh_fail(err, RH_ESITE, "'%s': the vector has layer %d, the model's last is %d", path,
                       (int)last, (int)n_model_layers - 1);
    return rh_gguf_write_vector(path, v, metadata, model_hint, err);
}

static rh_status write_npy(const char *path, const rh_vector *v, rh_error *err)
{
    int64_t shape[2] = { v->d, 1 };
    if (v->n_layers == 1) return rh_npy_write(path, v->data, 1, shape, err);
    rh_fail(err, RH_ESITE, "'%s': a .npy file holds one vector, not %d layers", path, (int)v->n_layers);
    rh_hint(err, "place it with `@ L`, or write a .safetensors file");
    return RH_ESITE;
}

rh_status rh_vectorfile_write(const char *path, const rh_vector *v, const char *metadata,
                              const char *model_hint, int32_t n_model_layers, rh_error *err)
{
    kind k = kind_of(path);
    if (k == UNKNOWN) return unknown_kind(path, err);
    if (!finite_row(v->data, (size_t)v->n_layers * (size_t)v->d))
        return rh_fail(err, RH_EVALUE, "'%s' was not written: the vector has values that are NaN or "
                       "infinite", path);
    if (k == SAFETENSORS) return write_safetensors(path, v, metadata, err);
    if (k == GGUF) return write_gguf(path, v, metadata, model_hint, n_model_layers, err);
    return write_npy(path, v, err);
}

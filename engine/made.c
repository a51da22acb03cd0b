#include "engine/made.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static bool ends_with(const char *name, size_t len, const char *end)
{
    const size_t n = strlen(end);
    return len > n && !memcmp(name + len - n, end, n);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rh_made *)a)->tensor.name, ((const rh_made *)b)->tensor.name);
}

/* from: a matrix or what stands for one in the file; its name and place in messages stay. */
static void describe(rh_tensor *t, const rh_tensor *from, rh_dtype type, int64_t rows, int64_t cols)
{
    *t = *from;
    t->dtype = type;
    snprintf(t->raw_type, sizeof t->raw_type, "%s", rh_dtype_get(type)->name);
    t->n_dims = 2;
    t->shape[0] = rows;
    t->shape[1] = cols;
    t->data = NULL;
    t->size = (size_t)rows * rh_row_bytes(type, cols); /* at most 8 times what the file holds */
}

static rh_made *next(rh_made_list *list)
{
    if (!RH_GROW(list->items, list->capacity, list->n)) return NULL;
    rh_made *m = &list->items[list->n];
    memset(m, 0, sizeof *m);
    return m;
}

static rh_status add_nf4(rh_made_list *list, const rh_safetensors *s, const char *key, size_t len, rh_error *err)
{
    char *name = rh_strndup(key, len);
    rh_made *m = next(list);
    if (!name || !m) {
        free(name);
        return rh_fail_nomem(err);
    }
    const rh_status status = rh_nf4_find(&m->nf4, s, name, err);
    free(name);
    if (status) return status;
    describe(&m->tensor, m->nf4.codes, rh_nf4_dtype(&m->nf4), m->nf4.rows, m->nf4.cols);
    list->n++;
    return RH_OK;
}

rh_status rh_made_quantize(rh_made_list *list, const rh_tensor *t, rh_dtype to, rh_error *err)
{
    const bool floats = t->dtype == RH_F32 || t->dtype == RH_F16 || t->dtype == RH_BF16;
    if (!floats || !t->data || t->n_dims != 2 || !rh_row_bytes(to, t->shape[1])) return RH_OK;
    rh_made *m = next(list);
    if (!m) return rh_fail_nomem(err);
    m->floats = t;
    describe(&m->tensor, t, to, t->shape[0], t->shape[1]);
    list->n++;
    return RH_OK;
}

void rh_made_sort(rh_made_list *list)
{
    if (list->n) qsort(list->items, list->n, sizeof *list->items, by_name);
}

rh_status rh_made_scan(rh_made_list *out, const rh_safetensors *s, rh_error *err)
{
    rh_made_list list = {0};
    rh_status status = RH_OK;
    for (int64_t i = 0; i < rh_safetensors_n(s) && !status; i++) {
        const rh_tensor *t = rh_safetensors_tensor(s, i);
        const size_t len = strlen(t->name);
        if (ends_with(t->name, len, RH_NF4_STATE)) {
            status = add_nf4(&list, s, t->name, len - strlen(RH_NF4_STATE), err);
        } else if (ends_with(t->name, len, RH_FP4_STATE)) {
            status = rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': %s says that the matrix is quantised to fp4", t->path, t->name),
                               err, "of bitsandbytes' types, nf4 is known");
        }
    }
    if (status) {
        rh_made_free(&list);
        return status;
    }
    rh_made_sort(&list);
    *out = list;
    return RH_OK;
}

void rh_made_free(rh_made_list *list)
{
    for (size_t i = 0; i < list->n; i++) free(list->items[i].own);
    free(list->items);
    *list = (rh_made_list){0};
}

rh_made *rh_made_find(const rh_made_list *list, const char *name)
{
    const rh_made key = {.tensor.name = name};
    return list->n ? bsearch(&key, list->items, list->n, sizeof *list->items, by_name) : NULL;
}

void rh_made_drop(rh_made *m)
{
    free(m->own);
    m->own = NULL;
    m->tensor.data = NULL;
}

int rh_made_sources(const rh_tensor *out[4], const rh_made *m)
{
    const rh_tensor *all[] = {m->floats, m->nf4.codes, m->nf4.absmax, m->nf4.nested_absmax, m->nf4.nested_map};
    int n = 0;
    for (int i = 0; i < 5; i++)
        if (all[i]) out[n++] = all[i];
    return n;
}

/* scratch [cols] */
static void make_row(rh_made *m, int64_t row, float *scratch)
{
    const rh_tensor *t = &m->tensor, *f = m->floats;
    uint8_t *out = m->own + (size_t)row * rh_row_bytes(t->dtype, t->shape[1]);
    if (!f) {
        rh_nf4_row(out, &m->nf4, row);
        return;
    }
    rh_dequantize_row(scratch, f->data + (size_t)row * rh_row_bytes(f->dtype, t->shape[1]), f->dtype, t->shape[1]);
    rh_quantize_row(out, scratch, t->dtype, t->shape[1]);
}

rh_status rh_made_make(rh_made *m, int threads, rh_error *err)
{
    const int64_t rows = m->tensor.shape[0], cols = m->tensor.shape[1];
    const rh_tensor *sources[4];
    if (m->own) return RH_OK;
    float *scratch = rh_calloc((size_t)threads * (size_t)cols, sizeof *scratch);
    if (scratch) m->own = rh_alloc_pages(m->tensor.size);
    if (!m->own) {
        free(scratch);
        return rh_fail_nomem(err);
    }
#pragma omp parallel num_threads(threads)
    {
        float *own = scratch + (size_t)omp_get_thread_num() * (size_t)cols;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) make_row(m, r, own);
    }
    free(scratch);
    const int n = rh_made_sources(sources, m);
    for (int i = 0; i < n; i++) rh_map_release(sources[i]->data, sources[i]->size);
    m->tensor.data = m->own;
    return RH_OK;
}

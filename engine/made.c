#include "engine/made.h"

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

static rh_status describe(rh_made *m, const rh_safetensors *s, const char *name, rh_error *err)
{
    RH_TRY(rh_nf4_find(&m->nf4, s, name, err));
    const rh_dtype type = rh_nf4_dtype(&m->nf4);
    const size_t row = rh_row_bytes(type, m->nf4.cols), rows = (size_t)m->nf4.rows;
    rh_tensor *t = &m->tensor;
    *t = *m->nf4.codes;
    t->dtype = type;
    memcpy(t->raw_type, "NF4", sizeof "NF4");
    t->n_dims = 2;
    t->shape[0] = m->nf4.rows;
    t->shape[1] = m->nf4.cols;
    t->data = NULL;
    t->size = rows * row; /* at most 8 times the codes, which are in the file */
    return RH_OK;
}

static rh_status add(rh_made_list *list, size_t *capacity, const rh_safetensors *s, const char *key, size_t len,
                     rh_error *err)
{
    if (!RH_GROW(list->items, *capacity, list->n)) return rh_fail_nomem(err);
    char *name = rh_strndup(key, len);
    if (!name) return rh_fail_nomem(err);
    rh_made *m = &list->items[list->n];
    memset(m, 0, sizeof *m);
    const rh_status status = describe(m, s, name, err);
    free(name);
    if (!status) list->n++;
    return status;
}

rh_status rh_made_scan(rh_made_list *out, const rh_safetensors *s, rh_error *err)
{
    rh_made_list list = {0};
    size_t capacity = 0;
    rh_status status = RH_OK;
    for (int64_t i = 0; i < rh_safetensors_n(s) && !status; i++) {
        const rh_tensor *t = rh_safetensors_tensor(s, i);
        const size_t len = strlen(t->name);
        if (ends_with(t->name, len, RH_NF4_STATE)) {
            status = add(&list, &capacity, s, t->name, len - strlen(RH_NF4_STATE), err);
        } else if (ends_with(t->name, len, RH_FP4_STATE)) {
            status = rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': %s says that the matrix is quantised to fp4", t->path, t->name),
                               err, "of bitsandbytes' types, nf4 is known");
        }
    }
    if (status) {
        rh_made_free(&list);
        return status;
    }
    if (list.n) qsort(list.items, list.n, sizeof *list.items, by_name);
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

int rh_made_sources(const rh_tensor *out[4], const rh_made *m)
{
    const rh_tensor *all[] = {m->nf4.codes, m->nf4.absmax, m->nf4.nested_absmax, m->nf4.nested_map};
    int n = 0;
    for (int i = 0; i < 4; i++)
        if (all[i]) out[n++] = all[i];
    return n;
}

rh_status rh_made_make(rh_made *m, int threads, rh_error *err)
{
    if (m->own) return RH_OK;
    const int64_t rows = m->nf4.rows;
    const size_t row_bytes = m->tensor.size / (size_t)rows;
    m->own = rh_alloc_pages(m->tensor.size);
    if (!m->own) return rh_fail_nomem(err);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) rh_nf4_row(m->own + (size_t)r * row_bytes, &m->nf4, r);
    const rh_tensor *sources[4];
    const int n = rh_made_sources(sources, m);
    for (int i = 0; i < n; i++) rh_map_release(sources[i]->data, sources[i]->size);
    m->tensor.data = m->own;
    return RH_OK;
}

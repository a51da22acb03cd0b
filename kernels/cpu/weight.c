#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/panel.h"

/* Panels are streamed once a token: huge pages spare most faults at loading and most TLB
 * misses after it. Not zeroed, for packing writes every byte. */
static void *alloc_panels(size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    size_t align = bytes < 4 * (size_t)HUGE_PAGE ? 64 : (size_t)HUGE_PAGE;
    if (bytes > SIZE_MAX - align) return NULL;
    bytes = (bytes + align - 1) / align * align;
    void *p = aligned_alloc(align, bytes);
#ifdef MADV_HUGEPAGE
    if (p && align == HUGE_PAGE) (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice only */
#endif
    return p;
}

/* Quantised weights are repacked for fast mode; exact mode, and F32, F16 and BF16 in either,
 * read the mapped rows themselves (dots.c): nothing to load, no memory twice. */
static rh_status repack(rh_cpu *c, rh_weight *w, rh_error *err)
{
    int32_t n_panels = (w->rows + RH_PANEL - 1) / RH_PANEL;
    w->panel_bytes = rh_panel_bytes(w->type, w->cols);
    if (n_panels && w->panel_bytes > SIZE_MAX / (size_t)n_panels) return rh_fail_nomem(err);
    w->panels = alloc_panels(w->panel_bytes * (size_t)n_panels);
    if (!w->panels) return rh_fail_nomem(err);
#pragma omp parallel for num_threads(c->head.threads) schedule(dynamic, 8) if (n_panels > 16)
    for (int32_t p = 0; p < n_panels; p++)
        rh_panel_pack(w->panels + (size_t)p * w->panel_bytes, w, p);
    return RH_OK;
}

rh_status rh_cpu_weight_new(rh_backend *be, rh_weight **out, const void *data, rh_dtype t,
                            int32_t rows, int32_t cols, const int32_t *row_order, rh_error *err)
{
    rh_status status = RH_OK;
    rh_weight *w = calloc(1, sizeof *w);
    if (!w) return rh_fail_nomem(err);
    assert(rh_dtype_get(t) && rows > 0 && cols > 0 && cols % rh_dtype_get(t)->block == 0);
    w->data = data;
    w->type = t;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = rh_row_bytes(t, cols);
    if (row_order) {
        w->row_order = malloc((size_t)rows * sizeof *row_order);
        if (!w->row_order) {
            status = rh_fail_nomem(err);
            goto fail;
        }
        memcpy(w->row_order, row_order, (size_t)rows * sizeof *row_order);
    }
    if (!be->exact && rh_panel_type(t)) {
        status = repack(rh_cpu_of(be), w, err);
        if (status) goto fail;
    }
    *out = w;
    return RH_OK;
fail:
    rh_cpu_weight_free(be, w);
    return status;
}

void rh_cpu_weight_free(rh_backend *be, rh_weight *w)
{
    (void)be;
    if (!w) return;
    free(w->row_order);
    free(w->panels);
    free(w);
}

static void embed_rows(rh_cpu *c, float *out, const rh_weight *w, const int32_t *ids, int32_t from,
                       int32_t to, float scale)
{
    for (int32_t i = from; i < to; i++) {
        float *row = out + (size_t)i * (size_t)w->cols;
        assert(ids[i] >= 0 && ids[i] < w->rows);
        c->k->dequantize(row, rh_cpu_row(w, ids[i]), w->type, w->cols);
        if (scale != 1) c->k->scale(row, scale, w->cols);
    }
}

void rh_cpu_embed(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids, int32_t n,
                  float scale)
{
    rh_cpu *c = rh_cpu_of(be);
    assert((size_t)n * (size_t)w->cols * sizeof(float) <= out->bytes);
    if (n < 16) {
        embed_rows(c, out->data, w, ids, 0, n, scale);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int32_t i = 0; i < n; i++) embed_rows(c, out->data, w, ids, i, i + 1, scale);
}

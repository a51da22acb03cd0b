/* Matrices on the device. They are packed once (layout.h), as they are uploaded: one half of the stage is filled by
 * all threads while the other is on its way. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/ops.h"

static rh_status upload_rows(rh_cuda *c, const rh_cuda_matrix *m, uint8_t *to, const uint8_t *data, const int32_t *order,
                             rh_error *err)
{
    const size_t file_bytes = rh_row_bytes((rh_dtype)m->type, m->cols), row_bytes = (size_t)m->row_bytes;
    const size_t fit = row_bytes < RH_CUDA_STAGE ? RH_CUDA_STAGE / row_bytes : 1;
    for (int32_t first = 0, n; first < m->rows; first += n) {
        uint8_t *half;
        n = (size_t)(m->rows - first) < fit ? m->rows - first : (int32_t)fit;
        RH_TRY(rh_cuda_stage_next(c, &half, (size_t)n * row_bytes, err));
#pragma omp parallel for schedule(static) num_threads(c->head.threads)
        for (int32_t r = 0; r < n; r++) {
            const int32_t from = order ? order[first + r] : first + r;
            rh_cuda_pack_row(half + (size_t)r * row_bytes, data + (size_t)from * file_bytes, m);
        }
        RH_TRY(rh_cuda_stage_send(c, to + (size_t)first * row_bytes, (size_t)n * row_bytes, err));
    }
    return RH_OK;
}

rh_status rh_cuda_matrix_new(rh_cuda *c, rh_cuda_matrix *out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             const int32_t *row_order, rh_error *err)
{
    rh_cuda_matrix m = rh_cuda_matrix_of(t, rows, cols);
    uint8_t *to;
    RH_TRY(rh_cuda_alloc(&to, (size_t)rows * (size_t)m.row_bytes, err));
    const rh_status status = upload_rows(c, &m, to, data, row_order, err);
    if (status) {
        (void)cudaStreamSynchronize(c->stream);
        (void)cudaFree(to);
        return status;
    }
    m.data = to;
    *out = m;
    return RH_OK;
}

void rh_cuda_matrix_free(rh_cuda *c, rh_cuda_matrix *m)
{
    rh_cuda_free(c, m->data);
    m->data = NULL;
}

/* ---- the ops ------------------------------------------------------------------------------------- */

rh_status rh_cuda_weight_new(rh_backend *be, rh_weight **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             const int32_t *row_order, rh_error *err)
{
    rh_weight *w = rh_calloc(1, sizeof *w);
    if (!w) return rh_fail_nomem(err);
    const rh_status status = rh_cuda_matrix_new(rh_cuda_of(be), &w->m, data, t, rows, cols, row_order, err);
    if (status) free(w);
    else *out = w;
    return status;
}

bool rh_cuda_weight_owns(const rh_weight *w)
{
    (void)w;
    return true; /* all of it, for embed too */
}

void rh_cuda_weight_free(rh_backend *be, rh_weight *w)
{
    if (!w) return;
    rh_cuda_matrix_free(rh_cuda_of(be), &w->m);
    free(w);
}

void rh_cuda_op_embed(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids, int32_t n, float scale)
{
    rh_cuda *c = rh_cuda_of(be);
    const size_t bytes = (size_t)n * sizeof *ids;
    assert((size_t)n * (size_t)w->m.cols * sizeof(float) <= out->bytes);
    if (!n || !rh_cuda_begin(c, bytes + 16)) return;
    const int32_t *on_device = rh_cuda_put(c, RH_CUDA_OWN, ids, bytes, 0);
    rh_cuda_embed_args *a = RH_CUDA_APPEND(c, rh_cuda_embed);
    if (!a) return;
    a->w = w->m;
    a->out = rh_cuda_floats(out);
    a->ids = on_device;
    a->n = n;
    a->scale = scale;
    c->rows = n;
}

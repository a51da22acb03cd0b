#include "probes/sae_product.h"

#include <stdlib.h>

#include "base/mem.h"

struct rh_sae_product {
    rh_backend *be;
    int32_t d, m, rows;
    uint16_t *encoder;     /* [m, d] bf16; NULL: float32 is multiplied where it lies */
    rh_buf *x, *out;       /* [rows, d], [rows, m] */
};

rh_status rh_sae_product_new(rh_sae_product **out, rh_backend *be, int32_t d, int32_t m, bool bf16, rh_error *err)
{
    rh_sae_product *p = rh_calloc(1, sizeof *p);
    if (!p) return rh_fail_nomem(err);
    *p = (rh_sae_product){.be = be, .d = d, .m = m};
    if (bf16 && !(p->encoder = rh_calloc((size_t)m * (size_t)d, sizeof *p->encoder))) {
        free(p);
        return rh_fail_nomem(err);
    }
    *out = p;
    return RH_OK;
}

static void forget(rh_sae_product *p)
{
    p->be->ops->buf_free(p->be, p->x);
    p->be->ops->buf_free(p->be, p->out);
    p->x = p->out = NULL;
    p->rows = 0;
}

void rh_sae_product_free(rh_sae_product *p)
{
    if (!p) return;
    forget(p);
    free(p->encoder);
    free(p);
}

static rh_status reserve(rh_sae_product *p, int32_t n, rh_error *err)
{
    if (n <= p->rows) return RH_OK;
    forget(p);
    RH_TRY(p->be->ops->buf_new(p->be, &p->x, (size_t)n * (size_t)p->d * sizeof(float), err));
    RH_TRY(p->be->ops->buf_new(p->be, &p->out, (size_t)n * (size_t)p->m * sizeof(float), err));
    p->rows = n;
    return RH_OK;
}

rh_status rh_sae_product_run(void *data, float *out, const float *x, int32_t n, const float *encoder, rh_error *err)
{
    rh_sae_product *p = data;
    rh_weight *w = NULL;
    RH_TRY(reserve(p, n, err));
    for (size_t i = 0; p->encoder && i < (size_t)p->m * (size_t)p->d; i++) p->encoder[i] = rh_f32_to_bf16(encoder[i]);
    RH_TRY(p->encoder ? p->be->ops->weight_new(p->be, &w, p->encoder, RH_BF16, p->m, p->d, NULL, err)
                      : p->be->ops->weight_new(p->be, &w, encoder, RH_F32, p->m, p->d, NULL, err));
    const rh_matmul_target target = {.w = w, .out = p->out};
    p->be->ops->upload(p->be, p->x, 0, x, (size_t)n * (size_t)p->d * sizeof *x);
    rh_status status = p->be->ops->matmul(p->be, p->x, n, &target, 1, err);
    if (!status) p->be->ops->download(p->be, out, p->out, 0, (size_t)n * (size_t)p->m * sizeof *out);
    if (!status) status = p->be->ops->wait(p->be, err);
    p->be->ops->weight_free(p->be, w);
    return status;
}

/* An SAE from arrays in memory. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

static float *copy(const float *x, size_t n)
{
    float *to = rh_calloc(n, sizeof *to);
    if (to) memcpy(to, x, n * sizeof *to);
    return to;
}

static bool copy_matrix(rh_sae_matrix *out, const char *name, const float *x, int32_t rows, int32_t cols)
{
    *out = (rh_sae_matrix){.name = name, .own = copy(x, (size_t)rows * (size_t)cols), .dtype = RH_F32, .rows = rows, .cols = cols};
    out->data = out->own;
    return out->own != NULL;
}

static rh_status all_finite(const rh_sae_parts *p, rh_error *err)
{
    const size_t m = (size_t)p->d_sae, d = (size_t)p->d;
    const struct { const char *name; const float *x; size_t n; } all[] = {
        {"W_enc", p->encoder, m * d}, {"W_dec", p->decoder, m * d}, {"b_enc", p->b_enc, m}, {"b_dec", p->b_dec, d}, {"threshold", p->threshold, m},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].x && !rh_sae_finite(all[i].x, all[i].n))
            return rh_fail(err, RH_EVALUE, "'%s': %s has a value that is not finite", p->name, all[i].name);
    return RH_OK;
}

static rh_sae_facts facts(const rh_sae_parts *p, const char *model)
{
    return (rh_sae_facts){.format = RH_SAE_SAELENS, .kind = p->kind, .norm = RH_SAE_NORM_NONE, .d_in = p->d, .d_out = p->d, .d_sae = p->d_sae,
                          .k = p->kind == RH_SAE_TOPK ? p->k : 0, .subtract_b_dec = true, .has_threshold = p->threshold != NULL, .dtype = RH_F32,
                          .layer = p->layer, .hook_known = true, .hook_out_known = true, .hook = p->hook, .hook_out = p->hook, .hook_name = "",
                          .model = model, .prepend_bos = p->prepend_bos};
}

rh_status rh_sae_from_parts(rh_sae **out, const rh_sae_parts *p, rh_error *err)
{
    RH_TRY(all_finite(p, err));
    rh_sae *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->use = RH_SAE_ENCODE;
    s->path = rh_strdup(p->name);
    s->model = rh_strdup(p->model);
    s->b_enc = copy(p->b_enc, (size_t)p->d_sae);
    s->b_dec = copy(p->b_dec, (size_t)p->d);
    if (p->threshold) s->threshold = copy(p->threshold, (size_t)p->d_sae);
    if (!s->path || !s->model || !s->b_enc || !s->b_dec || (p->threshold && !s->threshold) ||
        !copy_matrix(&s->encoder, "W_enc", p->encoder, p->d_sae, p->d) || !copy_matrix(&s->decoder, "W_dec", p->decoder, p->d_sae, p->d)) {
        rh_sae_free(s);
        return rh_fail_nomem(err);
    }
    rh_status status = rh_sae_layouts_new(&s->layouts, err);
    if (status) {
        rh_sae_free(s);
        return status;
    }
    s->facts = facts(p, s->model);
    rh_sae_count_bytes(s);
    *out = s;
    return RH_OK;
}

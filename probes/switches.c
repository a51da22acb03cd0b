#include "probes/switches.h"

#include <stdlib.h>

#include "base/mem.h"

rh_status rh_switches_new(rh_switches *out, int32_t d_sae, rh_error *err)
{
    rh_switches s = {.d_sae = d_sae, .on = rh_calloc((size_t)d_sae, sizeof *s.on), .off = rh_calloc((size_t)d_sae, sizeof *s.off)};
    if (!s.on || !s.off) {
        rh_switches_free(&s);
        return rh_fail_nomem(err);
    }
    *out = s;
    return RH_OK;
}

void rh_switches_free(rh_switches *s)
{
    free(s->on);
    free(s->off);
    *s = (rh_switches){0};
}

static void count(rh_switch *of, float value)
{
    of->tokens++;
    of->sum += value;
    if (value > of->most) of->most = value;
}

void rh_switches_add(rh_switches *s, const rh_sae_active *before, const rh_sae_active *after, int32_t first)
{
    for (int32_t t = first; t < before->n; t++) {
        size_t b = before->start[t], a = after->start[t];
        const size_t b_end = before->start[t + 1], a_end = after->start[t + 1];
        s->tokens++;
        s->active[0] += (int64_t)(b_end - b);
        s->active[1] += (int64_t)(a_end - a);
        while (b < b_end || a < a_end) { /* both ascend */
            const bool only_before = a == a_end || (b < b_end && before->index[b] < after->index[a]);
            const bool only_after = b == b_end || (a < a_end && after->index[a] < before->index[b]);
            if (only_before) count(&s->off[before->index[b]], before->value[b]);
            if (only_after) count(&s->on[after->index[a]], after->value[a]);
            b += !only_after;
            a += !only_before;
        }
    }
}

rh_status rh_switches_between(rh_switches *out, rh_sae_coder *coder, int32_t d_sae, const float *before, const float *after, int32_t n,
                              int32_t first, rh_error *err)
{
    rh_sae_active b = {0}, a = {0};
    rh_status status = rh_switches_new(out, d_sae, err);
    if (!status) status = rh_sae_encode(&b, coder, before, n, err);
    if (!status) status = rh_sae_encode(&a, coder, after, n, err);
    if (!status) rh_switches_add(out, &b, &a, first);
    rh_sae_active_free(&a);
    rh_sae_active_free(&b);
    return status;
}

typedef struct ranked { double sum; int32_t feature; } ranked;

static int by_sum(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    if (a->sum != b->sum) return a->sum > b->sum ? -1 : 1;
    return a->feature < b->feature ? -1 : a->feature > b->feature;
}

rh_status rh_switches_rank(rh_feature_switch **out, int32_t *n_out, int32_t *total, const rh_switch *of, int32_t d_sae,
                           int32_t top, rh_error *err)
{
    ranked *all = rh_calloc((size_t)d_sae, sizeof *all);
    int32_t n = 0;
    if (!all) return rh_fail_nomem(err);
    for (int32_t i = 0; i < d_sae; i++)
        if (of[i].tokens) all[n++] = (ranked){of[i].sum, i};
    qsort(all, (size_t)n, sizeof *all, by_sum);
    const int32_t kept = n < top ? n : top;
    rh_feature_switch *list = rh_calloc((size_t)kept, sizeof *list);
    for (int32_t i = 0; list && i < kept; i++) {
        const rh_switch *s = &of[all[i].feature];
        list[i] = (rh_feature_switch){.feature = all[i].feature, .tokens = s->tokens, .most = s->most, .sum = s->sum};
    }
    free(all);
    if (!list) return rh_fail_nomem(err);
    *out = list;
    *n_out = kept;
    *total = n;
    return RH_OK;
}

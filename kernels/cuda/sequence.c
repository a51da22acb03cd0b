/* Ops that know positions and tokens: rotation, the cache, attention, sampling. Sizes that creep with each token are
 * rounded up, so that what depends on them changes seldom. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

void rh_cuda_op_rope(rh_backend *be, rh_buf *x, int32_t n, int32_t n_heads, int32_t head_dim, const int32_t *positions,
                     const float *inv_freq)
{
    rh_cuda *c = rh_cuda_of(be);
    const size_t position_bytes = (size_t)n * sizeof *positions, frequency_bytes = (size_t)head_dim / 2 * sizeof *inv_freq;
    assert((size_t)n * (size_t)n_heads * (size_t)head_dim * sizeof(float) <= x->bytes);
    if (!n || !rh_cuda_begin(c, position_bytes + frequency_bytes + 32)) return;
    const int32_t *p = rh_cuda_put(c, RH_CUDA_POSITIONS, positions, position_bytes, 0);
    const float *f = rh_cuda_put(c, RH_CUDA_FREQUENCIES, inv_freq, frequency_bytes, 0);
    rh_cuda_rope_args *a = RH_CUDA_APPEND(c, rh_cuda_rope);
    if (!a) return;
    a->q = rh_cuda_floats(x);
    a->positions = p;
    a->inv_freq = f;
    a->n = n;
    a->n_heads = n_heads;
    a->head_dim = head_dim;
}

void rh_cuda_op_scatter_rows(rh_backend *be, rh_buf *dst, rh_dtype t, const int32_t *slots, const rh_buf *src, int32_t n,
                             int32_t width)
{
    rh_cuda *c = rh_cuda_of(be);
    const size_t bytes = (size_t)n * sizeof *slots;
    assert(t == RH_F32 || t == RH_F16);
    if (!n || !rh_cuda_begin(c, bytes + 16)) return;
    const int32_t *on_device = rh_cuda_put(c, RH_CUDA_SLOTS, slots, bytes, 0);
    rh_cuda_scatter_args *a = RH_CUDA_APPEND(c, rh_cuda_scatter);
    if (!a) return;
    a->dst = dst->data;
    a->src = rh_cuda_floats(src);
    a->slots = on_device;
    a->type = (int32_t)t;
    a->n = n;
    a->width = width;
}

/* ---- attention ----------------------------------------------------------------------------------- */

typedef struct reach { int32_t rows, longest, most_rows; size_t n_spans; } reach;

/* Longest in steps of 256, and of an eighth of it beyond 2,048. */
static reach reach_of(const rh_attention_group *groups, int32_t n_groups, int32_t window)
{
    reach r = {0};
    for (int32_t i = 0; i < n_groups; i++) {
        const rh_attention_group *g = &groups[i];
        int32_t keys = g->pos + g->n;
        if (window && keys > window) keys = window;
        if (keys > r.longest) r.longest = keys;
        if (g->n > r.most_rows) r.most_rows = g->n;
        if (g->row + g->n > r.rows) r.rows = g->row + g->n;
        r.n_spans += (size_t)g->n_spans;
    }
    int32_t step = 256;
    while (r.longest > 16 * step) step *= 2;
    r.longest = (int32_t)rh_round_up((size_t)r.longest, (size_t)step);
    return r;
}

/* Both in one piece of host memory, from where the arena takes them unless another layer's are the same. */
typedef struct lists { rh_cuda_group *groups; rh_kv_span *spans; size_t group_bytes, span_bytes; } lists;

static rh_status list_groups(lists *l, rh_cuda *c, const rh_attention_group *groups, int32_t n_groups, size_t n_spans, rh_error *err)
{
    l->group_bytes = (size_t)n_groups * sizeof *l->groups;
    l->span_bytes = n_spans * sizeof *l->spans;
    uint8_t *both = rh_cuda_host(c, l->group_bytes + l->span_bytes);
    if (!both) return rh_fail_nomem(err);
    l->groups = (rh_cuda_group *)(void *)both;
    l->spans = (rh_kv_span *)(void *)(both + l->group_bytes);
    int32_t at = 0;
    for (int32_t i = 0; i < n_groups; at += groups[i++].n_spans) {
        l->groups[i] = (rh_cuda_group){groups[i].row, groups[i].n, groups[i].pos, at, groups[i].n_spans};
        memcpy(l->spans + at, groups[i].spans, (size_t)groups[i].n_spans * sizeof *l->spans);
    }
    return RH_OK;
}

rh_status rh_cuda_op_attention(rh_backend *be, rh_buf *out, const rh_buf *q, const rh_buf *k, const rh_buf *v,
                               const rh_attention_group *groups, int32_t n_groups, const rh_attention_params *p, rh_error *err)
{
    rh_cuda *c = rh_cuda_of(be);
    const reach r = reach_of(groups, n_groups, p->window);
    const bool few = r.most_rows == 1;
    const int32_t parts = rh_cuda_attention_parts(p, r.rows, r.longest, few);
    const size_t span_place = rh_round_up(r.n_spans, 256) * sizeof(rh_kv_span);
    lists l = {0};
    uint8_t *partial = NULL;
    assert((size_t)r.rows * (size_t)p->n_heads * (size_t)p->head_dim * sizeof(float) <= out->bytes);
    RH_TRY(rh_cuda_report(c, err));
    if (p->head_dim > RH_CUDA_HEAD || p->head_dim % 2)
        return rh_hinted(rh_fail(err, RH_ELIMIT, "the CUDA backend has no attention for heads of %d: even and up to %d", p->head_dim, RH_CUDA_HEAD),
                         err, "run with --device cpu");
    if (parts > 1)
        RH_TRY(rh_cuda_scratch(c, &partial, (size_t)parts * (size_t)r.rows * (size_t)p->n_heads * ((size_t)p->head_dim + 2) * sizeof(float), err));
    RH_TRY(list_groups(&l, c, groups, n_groups, r.n_spans, err));
    RH_TRY(rh_cuda_room(c, l.group_bytes + span_place + 32, err));
    const rh_cuda_group *on_device = rh_cuda_put(c, RH_CUDA_GROUPS, l.groups, l.group_bytes, 0);
    const rh_kv_span *spans = rh_cuda_put(c, RH_CUDA_SPANS, l.spans, l.span_bytes, span_place);
    rh_cuda_attention_args *a = RH_CUDA_APPEND(c, rh_cuda_attention);
    if (!a) return rh_cuda_report(c, err);
    a->out = rh_cuda_floats(out);
    a->q = rh_cuda_floats(q);
    a->k = k->data;
    a->v = v->data;
    a->groups = on_device;
    a->spans = spans;
    a->partial = (float *)(void *)partial;
    a->p = *p;
    a->n = r.rows;
    a->n_groups = n_groups;
    a->longest = r.longest;
    a->parts = parts;
    a->few = few;
    a->most_rows = r.most_rows;
    return RH_OK;
}

/* ---- sampling ------------------------------------------------------------------------------------ */

static rh_cuda_spec spec_of(const rh_sample_spec *s, int32_t first)
{
    rh_cuda_spec to;
    memset(&to, 0, sizeof to);
    to.temperature = s->temperature;
    to.top_p = s->top_p;
    to.min_p = s->min_p;
    to.repetition = s->repetition;
    to.frequency = s->frequency;
    to.presence = s->presence;
    to.u = s->u;
    to.top_k = s->top_k;
    to.first = first;
    to.n_seen = s->n_seen;
    return to;
}

rh_status rh_cuda_op_sample(rh_backend *be, rh_buf *ids, rh_buf *logits, int32_t n, int32_t n_vocab, const rh_sample_spec *specs,
                            rh_error *err)
{
    rh_cuda *c = rh_cuda_of(be);
    uint8_t *scratch;
    size_t n_seen = 0;
    void *spec_host, *seen_host, *count_host;
    assert((size_t)n * sizeof(int32_t) <= ids->bytes && (size_t)n * (size_t)n_vocab * sizeof(float) <= logits->bytes);
    RH_TRY(rh_cuda_report(c, err));
    if (!n) return RH_OK;
    for (int32_t i = 0; i < n; i++) n_seen += (size_t)specs[i].n_seen;
    if (n_seen > INT32_MAX) return rh_fail(err, RH_ELIMIT, "penalties of %zu tokens at once", n_seen);
    const size_t spec_bytes = (size_t)n * sizeof(rh_cuda_spec), seen_bytes = rh_round_up(n_seen + 1, 256 * (size_t)n) * sizeof(int32_t);
    RH_TRY(rh_cuda_scratch(c, &scratch, rh_cuda_sample_scratch(n), err));
    RH_TRY(rh_cuda_room(c, spec_bytes + 2 * seen_bytes + 48, err));
    const rh_cuda_spec *on_device = rh_cuda_place(c, &spec_host, spec_bytes);
    const int32_t *seen = rh_cuda_place(c, &seen_host, seen_bytes), *count = rh_cuda_place(c, &count_host, seen_bytes);
    size_t at = 0;
    for (int32_t i = 0; i < n; at += (size_t)specs[i++].n_seen) {
        const size_t bytes = (size_t)specs[i].n_seen * sizeof(int32_t);
        ((rh_cuda_spec *)spec_host)[i] = spec_of(&specs[i], (int32_t)at);
        if (bytes) memcpy((int32_t *)seen_host + at, specs[i].seen, bytes);
        if (bytes) memcpy((int32_t *)count_host + at, specs[i].count, bytes);
    }
    rh_cuda_sample_args *a = RH_CUDA_APPEND(c, rh_cuda_sample);
    if (!a) return rh_cuda_report(c, err);
    a->ids = (int32_t *)(void *)ids->data;
    a->logits = rh_cuda_floats(logits);
    a->specs = on_device;
    a->seen = seen;
    a->count = count;
    a->scratch = scratch;
    a->n = n;
    a->n_vocab = n_vocab;
    return RH_OK;
}

/* Attention on every instruction set against softmax in double precision, over random groups,
 * spans in shuffled slots, windows and soft caps. With u = 2^-24 and D the largest error of a
 * score, (head_dim + 8) u sum|q k| scale, weights err by a factor of at most 2 D + 6e-7 (exp
 * twice) and sums over J keys by (J/8 + 16) u; all that times max|v|. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

enum { MAX_GROUPS = 40, MAX_SPANS = 6 };

typedef struct scene {
    rh_attention_params p;
    rh_attention_group groups[MAX_GROUPS];
    rh_kv_span spans[MAX_GROUPS][MAX_SPANS];
    int32_t n_groups, rows, slots;
    float *q, *k, *v, *out;
} scene;

typedef struct kind { int32_t heads, kv, dim, window; float softcap; int32_t groups, n, past; } kind;

static const kind kinds[] = {
    { 9, 3, 64, 0, 0, 1, 1, 0 },    { 9, 3, 64, 0, 0, 1, 70, 0 },   { 9, 3, 64, 0, 0, 5, 1, 300 },
    { 4, 1, 256, 0, 0, 1, 1, 900 }, { 4, 1, 256, 40, 0, 3, 50, 90 }, { 4, 1, 256, 5, 0, 2, 17, 130 },
    { 2, 2, 8, 0, 3, 4, 9, 20 },    { 6, 2, 20, 7, 2, 3, 33, 70 },   { 1, 1, 1, 0, 0, 2, 5, 64 },
    { 8, 1, 128, 0, 0, 1, 40, 200 }, { 70, 1, 16, 0, 0, 2, 3, 65 },  { 3, 3, 96, 1, 0, 2, 10, 0 },
    { 4, 2, 80, 0, 0, 40, 10, 0 },  { 2, 1, 64, 64, 0, 1, 1, 700 },
};

/* Each group's positions lie in up to MAX_SPANS runs of slots, the runs of all groups mixed. */
static void place(scene *s, uint64_t *seed)
{
    int32_t next = 1; /* slot 0 stays unused */
    for (int g = 0; g < s->n_groups; g++) {
        int32_t left = s->groups[g].pos + s->groups[g].n, pos = 0, n = 0;
        while (left > 0) {
            int32_t len = n == MAX_SPANS - 1 ? left : random_between(seed, 1, left);
            s->spans[g][n++] = (rh_kv_span){ next, pos, len };
            next += len + random_between(seed, 0, 2);
            pos += len;
            left -= len;
        }
        for (int i = 0; i + 1 < n; i++) { /* swap the slots of neighbours of the same length */
            rh_kv_span *a = &s->spans[g][i], *b = a + 1;
            if (a->len != b->len) continue;
            int32_t slot = a->slot;
            a->slot = b->slot;
            b->slot = slot;
        }
        s->groups[g].n_spans = n;
        s->groups[g].spans = s->spans[g];
    }
    s->slots = next;
}

/* Keys and values that float16 holds exactly: what is kept is then what went in. */
static void halve(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = rh_f16_to_f32(rh_f32_to_f16(x[i]));
}

static void make(scene *s, const kind *k, rh_dtype kv, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    s->p = (rh_attention_params){ k->heads, k->kv, k->dim, k->window, 1 / sqrtf((float)k->dim), k->softcap, kv };
    s->n_groups = k->groups;
    for (int g = 0; g < k->groups; g++) {
        int32_t n = random_between(seed, (k->n + 1) / 2, k->n);
        s->groups[g] = (rh_attention_group){ .row = s->rows, .n = n, .pos = random_between(seed, k->past / 2, k->past) };
        s->rows += n;
    }
    place(s, seed);
    size_t nq = (size_t)s->rows * (size_t)(k->heads * k->dim), nk = (size_t)s->slots * (size_t)(k->kv * k->dim);
    s->q = must_malloc(nq * sizeof(float));
    s->out = must_malloc(nq * sizeof(float));
    s->k = must_malloc(nk * sizeof(float));
    s->v = must_malloc(nk * sizeof(float));
    random_floats(seed, s->q, nq);
    random_floats(seed, s->k, nk);
    random_floats(seed, s->v, nk);
    for (size_t i = 0; i < nq; i++) s->q[i] *= 2;
    if (kv == RH_F16) {
        halve(s->k, nk);
        halve(s->v, nk);
    }
}

static void drop(scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->out);
}

/* x [slots, width] as a session keeps it. */
static rh_buf *kept(rh_backend *be, const scene *s, const float *x)
{
    int32_t width = s->p.n_kv_heads * s->p.head_dim;
    size_t n = (size_t)s->slots * (size_t)width;
    int32_t *slots = must_malloc((size_t)s->slots * sizeof *slots);
    for (int32_t i = 0; i < s->slots; i++) slots[i] = i;
    rh_buf *from = buf_of(be, x, n), *to = buf_of(be, NULL, s->p.kv == RH_F16 ? n / 2 + 1 : n);
    be->ops->scatter_rows(be, to, s->p.kv, slots, from, s->slots, width);
    be->ops->buf_free(be, from);
    free(slots);
    return to;
}

static void run(rh_backend *be, scene *s)
{
    size_t nq = (size_t)s->rows * (size_t)(s->p.n_heads * s->p.head_dim);
    rh_buf *q = buf_of(be, s->q, nq), *k = kept(be, s, s->k), *v = kept(be, s, s->v), *o = buf_of(be, NULL, nq);
    assert_int_equal(be->ops->attention(be, o, q, k, v, s->groups, s->n_groups, &s->p, NULL), RH_OK);
    read_buf(be, s->out, o, nq);
    be->ops->buf_free(be, q);
    be->ops->buf_free(be, k);
    be->ops->buf_free(be, v);
    be->ops->buf_free(be, o);
}

static int32_t slot_of(const rh_attention_group *g, int32_t pos)
{
    for (int i = 0; i < g->n_spans; i++)
        if (pos >= g->spans[i].pos && pos < g->spans[i].pos + g->spans[i].len)
            return g->spans[i].slot + pos - g->spans[i].pos;
    fail_msg("position %d in no span", pos);
    return -1;
}

static void check_query(const scene *s, const rh_attention_group *g, int32_t row, int32_t head)
{
    const rh_attention_params *p = &s->p;
    int32_t d = p->head_dim, kv = head / (p->n_heads / p->n_kv_heads), pos = g->pos + row;
    int32_t first = p->window && pos - p->window + 1 > 0 ? pos - p->window + 1 : 0, n = pos + 1 - first;
    size_t at = ((size_t)(g->row + row) * (size_t)p->n_heads + (size_t)head) * (size_t)d;
    double *w = must_malloc((size_t)n * sizeof *w), top = -INFINITY, sum = 0, err = 0, max_v = 0;
    for (int32_t j = 0; j < n; j++) {
        const float *k = s->k + ((size_t)slot_of(g, first + j) * (size_t)p->n_kv_heads + (size_t)kv) * (size_t)d;
        double dot = 0, size = 0;
        for (int32_t i = 0; i < d; i++) {
            dot += (double)s->q[at + (size_t)i] * k[i];
            size += fabs((double)s->q[at + (size_t)i] * k[i]);
        }
        w[j] = dot * p->scale;
        if (p->softcap > 0) w[j] = p->softcap * tanh(w[j] / p->softcap);
        err = fmax(err, (d + 8) * size * p->scale / 16777216);
        top = fmax(top, w[j]);
    }
    for (int32_t j = 0; j < n; j++) sum += w[j] = exp(w[j] - top);
    for (int32_t i = 0; i < d; i++) {
        double o = 0;
        for (int32_t j = 0; j < n; j++) {
            double v = s->v[((size_t)slot_of(g, first + j) * (size_t)p->n_kv_heads + (size_t)kv) * (size_t)d + (size_t)i];
            o += w[j] / sum * v;
            max_v = fmax(max_v, fabs(v));
        }
        double slack = max_v * (2 * err + 1e-6 + (n / 8 + 16) / 16777216.0);
        if (!(fabs(s->out[at + (size_t)i] - o) <= slack))
            fail_msg("heads %d/%d dim %d window %d: row %d head %d: %g, expected %g within %g", p->n_heads,
                     p->n_kv_heads, d, p->window, row, head, s->out[at + (size_t)i], o, slack);
    }
    free(w);
}

static void all_kinds(rh_isa isa, bool exact)
{
    uint64_t seed = 3;
    for (int threads = 1; threads <= (ON_CUDA ? 1 : 3); threads += 2) {
        rh_backend *be = open_or_skip(isa, threads, exact);
        for (size_t i = 0; i < 2 * (sizeof kinds / sizeof *kinds); i++) {
            scene s;
            if (ON_CUDA && kinds[i / 2].dim % 2) continue; /* it takes pairs, as rotation does */
            make(&s, &kinds[i / 2], i % 2 ? RH_F16 : RH_F32, &seed);
            run(be, &s);
            for (int g = 0; g < s.n_groups; g++)
                for (int32_t r = 0; r < s.groups[g].n; r++)
                    for (int32_t h = 0; h < s.p.n_heads; h++) check_query(&s, &s.groups[g], r, h);
            drop(&s);
        }
        rh_backend_free(be);
    }
}

/* A NaN in a query or a key makes NaN the rows that see it, and only those. A huge score takes
 * all the weight. */
static void extremes(rh_isa isa, bool exact)
{
    uint64_t seed = 8;
    static const kind small = { 2, 1, 32, 0, 0, 1, 8, 0 };
    scene s;
    rh_backend *be = open_or_skip(isa, 1, exact);
    make(&s, &small, RH_F32, &seed);
    int32_t n = s.groups[0].n, width = 2 * 32;
    s.q[1 * width + 3] = NAN;                                           /* row 1, head 0 */
    s.k[(size_t)slot_of(&s.groups[0], n - 1) * 32 + 5] = NAN;            /* the last key */
    for (int i = 0; i < 32; i++) {
        s.q[2 * width + i] = 1e15f;                                     /* row 2, head 0 */
        s.k[(size_t)slot_of(&s.groups[0], 1) * 32 + (size_t)i] = 1e15f; /* sees key 1 only */
    }
    run(be, &s);
    for (int32_t r = 0; r < n; r++)
        for (int i = 0; i < width; i++)
            assert_int_equal(isnan(s.out[r * width + i]) != 0, r == n - 1 || (r == 1 && i < 32));
    const float *v = s.v + (size_t)slot_of(&s.groups[0], 1) * 32;
    for (int i = 0; i < 32; i++) assert_float_equal(s.out[2 * width + i], v[i], 1e-6);
    drop(&s);
    rh_backend_free(be);
}

int main(void)
{
    static const check_on checks[] = { { "kinds", all_kinds, false, false }, { "extremes", extremes, false, false } };
    return run_on_all("attention", checks, sizeof checks / sizeof *checks);
}

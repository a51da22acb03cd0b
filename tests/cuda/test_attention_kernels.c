/* Attention against softmax in double precision, over random groups, spans in shuffled slots, windows, soft caps and parts;
 * the bound is that of tests/kernels/test_attention.c: scores err by D = (head_dim + 8) units of sum|q k| scale, weights by a
 * factor of 2 D + 1e-6, and sums over J keys by (J/8 + 16) units; all that times max|v|. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

enum { MOST_GROUPS = 40, MOST_SPANS = 6 };

typedef struct kind { int32_t heads, kv, dim, window; float softcap; int32_t groups, n, past; } kind;

/* n 1: the kernels for decoding. past: keys before a group's, at most. */
static const kind kinds[] = {
    {9, 3, 64, 0, 0, 1, 1, 0},      {9, 3, 64, 0, 0, 5, 1, 300},    {4, 1, 256, 0, 0, 1, 1, 900},   {8, 1, 128, 0, 0, 3, 1, 260},
    {2, 2, 8, 0, 3, 4, 1, 20},      {6, 2, 20, 7, 2, 17, 1, 70},    {1, 1, 2, 0, 0, 2, 1, 640},     {70, 1, 16, 0, 0, 2, 1, 65},
    {16, 8, 256, 128, 50, 2, 1, 400}, {32, 8, 128, 0, 0, 2, 1, 130}, {4, 2, 80, 0, 0, 40, 1, 10},   {2, 1, 64, 64, 0, 1, 1, 700},
    {5, 5, 96, 1, 0, 3, 1, 30},     {12, 2, 34, 100, 0, 2, 1, 1000}, {9, 3, 64, 0, 0, 1, 70, 0},    {4, 1, 256, 40, 0, 2, 33, 90},
    {4, 1, 256, 5, 0, 2, 17, 60},   {2, 2, 8, 0, 3, 4, 9, 20},      {6, 2, 20, 7, 2, 3, 33, 70},    {1, 1, 2, 0, 0, 2, 5, 64},
    {8, 1, 128, 0, 0, 1, 30, 100},  {70, 1, 16, 0, 0, 2, 3, 65},    {3, 3, 96, 1, 0, 2, 10, 0},     {4, 2, 80, 0, 30, 8, 10, 0},
    {2, 1, 130, 33, 0, 1, 40, 40},  {5, 1, 66, 64, 0, 1, 80, 20},
};

typedef struct scene {
    rh_attention_params p;
    rh_cuda_group groups[MOST_GROUPS];
    rh_kv_span spans[MOST_GROUPS * MOST_SPANS];
    int32_t n_groups, n_spans, rows, slots, longest, most_rows;
    float *q, *k, *v, *out;
} scene;

/* Each group's positions lie in up to MOST_SPANS runs of slots, the runs of all groups mixed. */
static void place(scene *s, uint64_t *seed)
{
    int32_t next = 1; /* slot 0 stays unused */
    for (int g = 0; g < s->n_groups; g++) {
        int32_t left = s->groups[g].pos + s->groups[g].n, pos = 0, n = 0;
        rh_kv_span *spans = s->spans + s->n_spans;
        while (left > 0) {
            int32_t len = n == MOST_SPANS - 1 ? left : random_between(seed, 1, left);
            spans[n++] = (rh_kv_span){next, pos, len};
            next += len + random_between(seed, 0, 2);
            pos += len;
            left -= len;
        }
        for (int i = 0; i + 1 < n; i++) { /* swap the slots of neighbours of the same length */
            if (spans[i].len != spans[i + 1].len) continue;
            int32_t slot = spans[i].slot;
            spans[i].slot = spans[i + 1].slot;
            spans[i + 1].slot = slot;
        }
        s->groups[g].first = s->n_spans;
        s->groups[g].n_spans = n;
        s->n_spans += n;
    }
    s->slots = next;
}

/* Keys and values that float16 holds exactly: what is kept is then what went in. */
static void halve(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = rh_f16_to_f32(rh_f32_to_f16(x[i]));
}

static size_t query_floats(const scene *s) { return (size_t)s->rows * (size_t)(s->p.n_heads * s->p.head_dim); }
static size_t key_floats(const scene *s) { return (size_t)s->slots * (size_t)(s->p.n_kv_heads * s->p.head_dim); }

static void make(scene *s, const kind *k, rh_dtype kv, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    s->p = (rh_attention_params){k->heads, k->kv, k->dim, k->window, 1 / sqrtf((float)k->dim), k->softcap, kv};
    s->n_groups = k->groups;
    for (int g = 0; g < k->groups; g++) {
        rh_cuda_group *group = &s->groups[g];
        *group = (rh_cuda_group){.row = s->rows, .n = random_between(seed, (k->n + 1) / 2, k->n), .pos = random_between(seed, k->past / 2, k->past)};
        s->rows += group->n;
        if (group->n > s->most_rows) s->most_rows = group->n;
        if (group->pos + group->n > s->longest) s->longest = group->pos + group->n;
    }
    place(s, seed);
    s->q = must_malloc(query_floats(s) * sizeof(float));
    s->out = must_malloc(query_floats(s) * sizeof(float));
    s->k = must_malloc(key_floats(s) * sizeof(float));
    s->v = must_malloc(key_floats(s) * sizeof(float));
    random_floats(seed, s->q, query_floats(s));
    random_floats(seed, s->k, key_floats(s));
    random_floats(seed, s->v, key_floats(s));
    for (size_t i = 0; i < query_floats(s); i++) s->q[i] *= 2;
    if (kv == RH_F16) {
        halve(s->k, key_floats(s));
        halve(s->v, key_floats(s));
    }
}

static void drop(scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->out);
}

static void *kept(const scene *s, const float *x)
{
    const size_t n = key_floats(s);
    if (s->p.kv == RH_F32) return device_of(x, n * sizeof *x);
    uint16_t *h = must_malloc(n * sizeof *h);
    for (size_t i = 0; i < n; i++) h[i] = rh_f32_to_f16(x[i]);
    void *p = device_of(h, n * sizeof *h);
    free(h);
    return p;
}

static void run(scene *s, bool few, int32_t parts)
{
    const size_t bytes = query_floats(s) * sizeof(float);
    void *owned[] = {device_of(s->q, bytes), kept(s, s->k), kept(s, s->v), device_of(s->groups, sizeof s->groups),
                     device_of(s->spans, sizeof s->spans), device_filled(0xff, bytes), NULL};
    if (parts > 1) owned[6] = device_filled(0xff, (size_t)(parts * s->rows * s->p.n_heads * (s->p.head_dim + 2)) * sizeof(float));
    rh_cuda_attention_args a;
    memset(&a, 0, sizeof a);
    a.q = owned[0];
    a.k = owned[1];
    a.v = owned[2];
    a.groups = owned[3];
    a.spans = owned[4];
    a.out = owned[5];
    a.partial = owned[6];
    a.p = s->p;
    a.n = s->rows;
    a.n_groups = s->n_groups;
    a.longest = s->longest;
    a.parts = parts;
    a.few = few;
    a.most_rows = s->most_rows;
    launched(rh_cuda_attention, &a);
    host_of(s->out, owned[5], bytes);
    for (int i = 0; i < LENGTH(owned); i++) device_free(owned[i]);
}

static int32_t slot_of(const scene *s, const rh_cuda_group *g, int32_t pos)
{
    for (int i = g->first; i < g->first + g->n_spans; i++)
        if (pos >= s->spans[i].pos && pos < s->spans[i].pos + s->spans[i].len) return s->spans[i].slot + pos - s->spans[i].pos;
    fail_msg("position %d in no span", pos);
    return -1;
}

static void check_query(const scene *s, const rh_cuda_group *g, int32_t row, int32_t head)
{
    const rh_attention_params *p = &s->p;
    const int32_t d = p->head_dim, kv = head / (p->n_heads / p->n_kv_heads), pos = g->pos + row;
    const int32_t first = p->window && pos >= p->window ? pos - p->window + 1 : 0, n = pos + 1 - first;
    const size_t at = ((size_t)(g->row + row) * (size_t)p->n_heads + (size_t)head) * (size_t)d;
    double *w = must_malloc((size_t)n * sizeof *w), top = -1e300, err = 0, sum = 0, max_v = 0;
    for (int32_t j = 0; j < n; j++) {
        const float *k = s->k + ((size_t)slot_of(s, g, first + j) * (size_t)p->n_kv_heads + (size_t)kv) * (size_t)d;
        double dot = 0, size = 0;
        for (int32_t i = 0; i < d; i++) {
            dot += (double)s->q[at + (size_t)i] * k[i];
            size += fabs((double)s->q[at + (size_t)i] * k[i]);
        }
        w[j] = dot * p->scale;
        if (p->softcap > 0) w[j] = p->softcap * tanh(w[j] / p->softcap);
        err = fmax(err, (d + 8) * size * p->scale * UNIT);
        top = fmax(top, w[j]);
    }
    for (int32_t j = 0; j < n; j++) sum += w[j] = exp(w[j] - top);
    for (int32_t i = 0; i < d; i++) {
        double o = 0;
        for (int32_t j = 0; j < n; j++) {
            const double v = s->v[((size_t)slot_of(s, g, first + j) * (size_t)p->n_kv_heads + (size_t)kv) * (size_t)d + (size_t)i];
            o += w[j] / sum * v;
            max_v = fmax(max_v, fabs(v));
        }
        NEAR(s->out[at + (size_t)i], o, max_v * (2 * err + 1e-6 + (n / 8 + 16) * UNIT));
    }
    free(w);
}

static void check_all(const scene *s)
{
    for (int g = 0; g < s->n_groups; g++)
        for (int32_t r = 0; r < s->groups[g].n; r++)
            for (int32_t h = 0; h < s->p.n_heads; h++) check_query(s, &s->groups[g], r, h);
}

/* What is for one row a group also goes through tiles. */
static void test_all(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < 2 * LENGTH(kinds); i++) {
        scene s;
        make(&s, &kinds[i / 2], i % 2 ? RH_F16 : RH_F32, &seed);
        const bool few = kinds[i / 2].n == 1;
        run(&s, few, rh_cuda_attention_parts(&s.p, s.rows, s.longest, few));
        check_all(&s);
        if (few && i % 2) {
            run(&s, false, 1);
            check_all(&s);
        }
        drop(&s);
    }
}

/* As many parts as one likes, of which some have no keys: the answer stays within its bound. */
static void test_parts(void **state)
{
    (void)state;
    static const kind split[] = {{8, 2, 64, 0, 0, 3, 1, 1200}, {2, 1, 20, 300, 5, 2, 1, 900}, {12, 1, 128, 0, 0, 1, 1, 129}};
    static const int32_t parts[] = {1, 2, 3, 7, 64};
    uint64_t seed = 4;
    for (int i = 0; i < LENGTH(split) * LENGTH(parts); i++) {
        scene s;
        make(&s, &split[i / LENGTH(parts)], i % 2 ? RH_F16 : RH_F32, &seed);
        run(&s, true, parts[i % LENGTH(parts)]);
        check_all(&s);
        drop(&s);
    }
}

/* The grid fills the device while there are keys to part, and never more. */
static void test_choice_of_parts(void **state)
{
    (void)state;
    static const struct { int32_t heads, kv, window, n, longest, few, parts; } cases[] = {
        {32, 8, 0, 1, 4096, 1, 32}, {32, 8, 0, 1, 100, 1, 1},   {32, 8, 0, 1, 129, 1, 2},  {32, 8, 256, 1, 4096, 1, 2},
        {32, 8, 0, 16, 4096, 1, 3}, {32, 8, 0, 64, 4096, 1, 1}, {32, 8, 0, 1, 4096, 0, 1}, {4, 1, 0, 1, 100000, 1, 64},
        {70, 1, 0, 1, 100000, 1, 30},
    };
    for (int i = 0; i < LENGTH(cases); i++) {
        const rh_attention_params p = {.n_heads = cases[i].heads, .n_kv_heads = cases[i].kv, .head_dim = 128, .window = cases[i].window};
        assert_int_equal(rh_cuda_attention_parts(&p, cases[i].n, cases[i].longest, cases[i].few), cases[i].parts);
    }
}

/* A NaN in a query or a key makes NaN the rows that see it, and only those. A huge score takes all the weight. */
static void test_extremes(void **state)
{
    (void)state;
    static const kind small = {2, 1, 32, 0, 0, 1, 8, 0};
    uint64_t seed = 8;
    scene s;
    make(&s, &small, RH_F32, &seed);
    const int32_t n = s.groups[0].n, width = 2 * 32;
    s.q[1 * width + 3] = NAN;                                     /* row 1, head 0 */
    s.k[slot_of(&s, &s.groups[0], n - 1) * 32 + 5] = NAN;          /* the last key */
    for (int i = 0; i < 32; i++) {
        s.q[2 * width + i] = 1e15f;                               /* row 2, head 0 */
        s.k[slot_of(&s, &s.groups[0], 1) * 32 + i] = 1e15f;        /* sees key 1 only */
    }
    run(&s, false, 1);
    for (int32_t r = 0; r < n; r++)
        for (int i = 0; i < width; i++) assert_int_equal(isnan(s.out[r * width + i]) != 0, r == n - 1 || (r == 1 && i < 32));
    const float *v = s.v + slot_of(&s, &s.groups[0], 1) * 32;
    for (int i = 0; i < 32; i++) NEAR(s.out[2 * width + i], v[i], 1e-6);
    drop(&s);
}

/* The same for single rows: of three, the second sees a NaN in one of two parts, the third a huge score. */
static void test_extremes_of_few(void **state)
{
    (void)state;
    static const kind rows = {2, 1, 32, 0, 0, 3, 1, 400};
    uint64_t seed = 9;
    for (int32_t parts = 1; parts <= 2; parts++) {
        scene s;
        make(&s, &rows, RH_F32, &seed);
        s.k[slot_of(&s, &s.groups[1], s.groups[1].pos) * 32 + 5] = NAN;
        const int32_t huge = slot_of(&s, &s.groups[2], 1);
        for (int i = 0; i < 32; i++) {
            s.q[2 * 64 + i] = 1e15f;
            s.k[huge * 32 + i] = 1e15f;
        }
        run(&s, true, parts);
        check_query(&s, &s.groups[0], 0, 0);
        check_query(&s, &s.groups[0], 0, 1);
        for (int i = 0; i < 64; i++) assert_true(isnan(s.out[64 + i]));
        for (int i = 0; i < 32; i++) NEAR(s.out[128 + i], s.v[huge * 32 + i], 1e-6);
        drop(&s);
    }
}

rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);

/* Heads that no kernel takes are an error with a way out, and the backend goes on. */
static void test_heads_too_wide(void **state)
{
    (void)state;
    static const int32_t heads[] = {258, 33};
    rh_backend *be = NULL;
    rh_error err;
    assert_int_equal(rh_backend_cuda(&be, false, &err), RH_OK);
    rh_buf *b = buf_of(be, NULL, 600);
    const rh_kv_span span = {0, 0, 1};
    const rh_attention_group group = {.n = 1, .n_spans = 1, .spans = &span};
    for (int i = 0; i < LENGTH(heads); i++) {
        const rh_attention_params p = {.n_heads = 1, .n_kv_heads = 1, .head_dim = heads[i], .scale = 1, .kv = RH_F32};
        assert_int_equal(be->ops->attention(be, b, b, b, b, &group, 1, &p, &err), RH_ELIMIT);
        assert_non_null(strstr(err.message, "heads of"));
        assert_non_null(strstr(err.hint, "cpu"));
    }
    assert_int_equal(be->ops->wait(be, &err), RH_OK);
    be->ops->buf_free(be, b);
    rh_backend_free(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),      cmocka_unit_test(test_parts),           cmocka_unit_test(test_choice_of_parts),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_extremes_of_few), cmocka_unit_test(test_heads_too_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

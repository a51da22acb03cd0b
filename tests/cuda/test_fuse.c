/* Which commands are joined, and which must not be. Nothing is run: test_fused_run.c compares what lists do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/fuse.h"

enum { N = 4, D = 32, HEADS = 4, KV = 2, E = 8, FF = 48 };

/* Addresses only. */
static float h[N * D], x[N * D], y[N * D], q[N * HEADS * E], k[N * KV * E], v[N * KV * E], gate[N * FF], up[N * FF];
static float w[D], u[4 * D], gq[E], gk[E], freq[E / 2], freq2[E / 2], k_cache[64], v_cache[64];
static int32_t pos[N], pos2[N], slots[N], slots2[N], flags[4 * N];
static uint8_t on[N];

static rh_cuda_commands list;

#define ADD(what) ((what##_args *)rh_cuda_commands_add(&list, what, #what, sizeof(what##_args)))

static rh_cuda_row_step *step(rh_cuda_row_kind kind, float *t, const float *a)
{
    rh_cuda_rows_args *r = ADD(rh_cuda_rows);
    r->n = N;
    r->d = D;
    r->n_steps = 1;
    r->step[0].kind = kind;
    r->step[0].t = t;
    r->step[0].a = a;
    return &r->step[0];
}
static void norm(float *out, float *t) { step(RH_CUDA_NORM, t, w)->out = out; }
static void head_norm(float *t, int32_t heads, const float *gain, float eps)
{
    rh_cuda_rows_args *r = ADD(rh_cuda_rows);
    r->n = N * heads;
    r->d = E;
    r->n_steps = 1;
    r->step[0] = (rh_cuda_row_step){.kind = RH_CUDA_NORM, .t = t, .out = t, .a = gain, .x = eps};
}
static void steer(const float *direction) { step(RH_CUDA_STEER, h, direction)->on = on; }
static void add(float *to, const float *from, int64_t n)
{
    rh_cuda_add_args *a = ADD(rh_cuda_add);
    a->x = to;
    a->y = from;
    a->n = n;
}
static rh_cuda_matmul_args *product(const float *in, int32_t cols, int n, float *const *out, int32_t rows)
{
    rh_cuda_matmul_args *a = ADD(rh_cuda_matmul);
    a->x = in;
    a->n = N;
    a->cols = cols;
    a->n_products = n;
    for (int i = 0; i < n; i++) {
        a->product[i].w.rows = rows;
        a->product[i].out = out[i];
    }
    return a;
}
static void qkv(const float *in)
{
    float *out[] = {q, k, v};
    rh_cuda_matmul_args *a = product(in, D, 3, out, KV * E);
    a->product[0].w.rows = HEADS * E;
}
static rh_cuda_matmul_args *gate_up(const float *in) { return product(in, D, 2, (float *[]){gate, up}, FF); }
static void out_into(float *to, bool more) { product(q, HEADS * E, 1, &to, D)->product[0].add = more; }
static void glu(float *out, const float *g, const float *p, int64_t n)
{
    rh_cuda_glu_args *a = ADD(rh_cuda_glu);
    a->out = out;
    a->gate = g;
    a->up = p;
    a->n = n;
}
static void rope(float *t, int32_t heads, const int32_t *positions, const float *frequencies)
{
    rh_cuda_rope_args *a = ADD(rh_cuda_rope);
    a->q = t;
    a->positions = positions;
    a->inv_freq = frequencies;
    a->n = N;
    a->n_heads = heads;
    a->head_dim = E;
}
static void scatter(float *cache, const float *from, const int32_t *where, rh_dtype t)
{
    rh_cuda_scatter_args *a = ADD(rh_cuda_scatter);
    a->dst = cache;
    a->src = from;
    a->slots = where;
    a->type = (int32_t)t;
    a->n = N;
    a->width = KV * E;
}
static void other(void) { ADD(rh_cuda_softcap); }

/* "rows:NA matmul3+norm glu": what a list has become. */
static void describe(char *to, size_t size, const rh_cuda_commands *l)
{
    static const char letters[] = "NASBMGC";
    size_t n = 0;
    to[0] = 0;
    for (size_t i = 0; i < l->n; i++) {
        const void *a = rh_cuda_arguments(l, i);
        const char *name = l->items[i].name + strlen("rh_cuda_");
        n += (size_t)snprintf(to + n, size - n, "%s%s", i ? " " : "", name);
        if (l->items[i].launch == rh_cuda_rows) {
            const rh_cuda_rows_args *r = a;
            n += (size_t)snprintf(to + n, size - n, ":");
            for (int32_t s = 0; s < r->n_steps; s++) n += (size_t)snprintf(to + n, size - n, "%c", letters[r->step[s].kind]);
        } else if (l->items[i].launch == rh_cuda_matmul) {
            const rh_cuda_matmul_args *m = a;
            n += (size_t)snprintf(to + n, size - n, "%d%s%s", m->n_products, m->gain ? "+norm" : "", m->glu ? "+glu" : "");
        } else if (l->items[i].launch == rh_cuda_rope) {
            const rh_cuda_rope_args *r = a;
            n += (size_t)snprintf(to + n, size - n, "%s%s%s%s%s", r->q_gain ? "+qn" : "", r->k ? "+k" : "", r->k_gain ? "+kn" : "",
                                  r->slots ? "+keep" : "", r->v ? "+v" : "");
        }
    }
}

/* ---- cases --------------------------------------------------------------------------------------- */

static void plain_layer(void)
{
    norm(x, h), qkv(x), rope(q, HEADS, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, k, slots, RH_F16);
    scatter(v_cache, v, slots, RH_F16), other(), out_into(h, true), norm(x, h), gate_up(x), glu(gate, gate, up, N * FF);
    product(gate, FF, 1, (float *[]){h}, D)->product[0].add = 1;
}
static void head_norms(void) { head_norm(q, HEADS, gq, 1), head_norm(k, KV, gk, 1), rope(q, HEADS, pos, freq), rope(k, KV, pos, freq); }
static void as_many_heads(void) { head_norm(q, KV, gq, 1), head_norm(k, KV, gk, 1), rope(q, KV, pos, freq), rope(k, KV, pos, freq); }
static void two_eps(void) { head_norm(q, HEADS, gq, 1), head_norm(k, KV, gk, 2), rope(q, HEADS, pos, freq), rope(k, KV, pos, freq); }
static void post_norms(void) { out_into(y, false), norm(y, y), add(h, y, N * D), norm(x, h), gate_up(x), glu(gate, gate, up, N * FF); }
static void busy_site(void) { out_into(y, false), add(h, y, N * D), step(RH_CUDA_GUARD, h, u)->flags = flags, steer(u), norm(x, h), qkv(x); }
static void add_then_norm(void) { add(h, y, N * D), norm(x, h), qkv(x); }
static void two_adds(void) { add(h, y, N * D), add(h, x, N * D); }

static void norm_in_place(void) { norm(x, x), qkv(x); }
static void norm_of_another(void) { norm(y, h), qkv(x); }
static void product_into_its_norm(void) { norm(x, h), product(x, D, 1, (float *[]){h}, D); }
static void product_into_its_input(void) { norm(x, h), product(x, D, 1, (float *[]){x}, D); }
static void masked_norm(void) { step(RH_CUDA_NORM, h, w)->out = x, ((rh_cuda_rows_args *)rh_cuda_arguments(&list, 0))->step[0].on = on, qkv(x); }
static void norm_of_fewer(void) { norm(x, h), qkv(x), ((rh_cuda_rows_args *)rh_cuda_arguments(&list, 0))->n = N - 1; }
static void direction_was_written(void) { norm(u, h), steer(u); }
static void rows_shifted(void) { norm(x, h), step(RH_CUDA_STEER, x + D, u); }
static void flags_overlap(void) { step(RH_CUDA_GUARD, h, u)->flags = flags, step(RH_CUDA_STEER, h, u)->gate = flags + 1; }
static void flags_same(void) { step(RH_CUDA_GUARD, h, u)->flags = flags, step(RH_CUDA_STEER, h, u)->gate = flags; }
static void flags_apart(void) { step(RH_CUDA_GUARD, h, u)->flags = flags, step(RH_CUDA_STEER, h, u)->gate = flags + N; }
static void add_of_other_size(void) { add(h, y, N * D - 1), norm(x, h); }
static void too_many(void) { for (int i = 0; i <= RH_CUDA_ROW_STEPS; i++) steer(u); }
static void rank_reaches_in(void) { step(RH_CUDA_COPY, h, NULL)->out = u + 3 * D, step(RH_CUDA_ABLATE, h, u)->count = 4; }

static void glu_of_sum(void) { gate_up(x)->product[1].add = 1, glu(gate, gate, up, N * FF); }
static void glu_elsewhere(void) { gate_up(x), glu(x, gate, up, N * FF); }
static void glu_swapped(void) { gate_up(x), glu(gate, up, gate, N * FF); }
static void glu_of_part(void) { gate_up(x), glu(gate, gate, up, N * FF - 1); }
static void glu_later(void) { gate_up(x), other(), glu(gate, gate, up, N * FF); }

static void other_positions(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos2, freq); }
static void other_frequencies(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos, freq2); }
static void same_twice(void) { rope(q, HEADS, pos, freq), rope(q, KV, pos, freq); }
static void value_of_key(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, k, slots, RH_F16), scatter(v_cache, k, slots, RH_F16); }
static void other_slots(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, k, slots, RH_F16), scatter(v_cache, v, slots2, RH_F16); }
static void other_type(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, k, slots, RH_F16), scatter(v_cache, v, slots, RH_F32); }
static void one_cache(void) { rope(q, HEADS, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, k, slots, RH_F16), scatter(k_cache, v, slots, RH_F16); }
static void query_kept(void) { rope(q, KV, pos, freq), rope(k, KV, pos, freq), scatter(k_cache, q, slots, RH_F16); }
static void norm_after(void) { rope(q, HEADS, pos, freq), head_norm(q, HEADS, gq, 1), rope(k, KV, pos, freq); }
static void norm_twice(void) { head_norm(q, KV, gq, 1), head_norm(q, KV, gk, 1), rope(q, KV, pos, freq); }

static const struct { void (*make)(void); const char *expected; } cases[] = {
    {plain_layer, "matmul3+norm rope+k+keep+v softcap matmul1 matmul2+norm+glu matmul1"},
    {head_norms, "rope+qn+k+kn"},
    {as_many_heads, "rope+qn+k+kn"},
    {two_eps, "rope+qn rope+qn"},
    {post_norms, "matmul1 rows:NAN matmul2+glu"},
    {busy_site, "matmul1 rows:AGSN matmul3"},
    {add_then_norm, "rows:AN matmul3"},
    {two_adds, "add add"},
    {norm_in_place, "rows:N matmul3"},
    {norm_of_another, "rows:N matmul3"},
    {product_into_its_norm, "rows:N matmul1"},
    {product_into_its_input, "rows:N matmul1"},
    {masked_norm, "rows:N matmul3"},
    {norm_of_fewer, "rows:N matmul3"},
    {direction_was_written, "rows:N rows:S"},
    {rows_shifted, "rows:N rows:S"},
    {flags_overlap, "rows:G rows:S"},
    {flags_same, "rows:GS"},
    {flags_apart, "rows:GS"},
    {add_of_other_size, "add rows:N"},
    {too_many, "rows:SSSSSSSSSSSS rows:S"},
    {rank_reaches_in, "rows:C rows:B"},
    {glu_of_sum, "matmul2 glu"},
    {glu_elsewhere, "matmul2 glu"},
    {glu_swapped, "matmul2 glu"},
    {glu_of_part, "matmul2 glu"},
    {glu_later, "matmul2 softcap glu"},
    {other_positions, "rope rope"},
    {other_frequencies, "rope rope"},
    {same_twice, "rope rope"},
    {value_of_key, "rope+k+keep scatter"},
    {other_slots, "rope+k+keep scatter"},
    {other_type, "rope+k+keep scatter"},
    {one_cache, "rope+k+keep scatter"},
    {query_kept, "rope+k scatter"},
    {norm_after, "rope rows:N rope"},
    {norm_twice, "rows:NN rope"},
};

static void joined_as_expected(void **state)
{
    rh_cuda_commands fused = {0};
    char text[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_cuda_commands_clear(&list);
        cases[i].make();
        assert_true(rh_cuda_fuse(&fused, &list));
        describe(text, sizeof text, &fused);
        assert_string_equal(text, cases[i].expected);
    }
    rh_cuda_commands_free(&fused);
    rh_cuda_commands_free(&list);
}

/* What a joined command works on. */
static void arguments_move_along(void **state)
{
    rh_cuda_commands fused = {0};
    (void)state;
    rh_cuda_commands_clear(&list);
    plain_layer();
    head_norms();
    assert_true(rh_cuda_fuse(&fused, &list));
    const rh_cuda_matmul_args *m = rh_cuda_arguments(&fused, 0);
    assert_ptr_equal(m->x, h);
    assert_ptr_equal(m->normed, x);
    assert_ptr_equal(m->gain, w);
    const rh_cuda_rope_args *r = rh_cuda_arguments(&fused, 1);
    assert_true(r->q == q && r->k == k && r->v == v && r->slots == slots && r->k_cache == k_cache && r->v_cache == v_cache);
    assert_true(r->n_heads == HEADS && r->n_kv_heads == KV && r->kv == RH_F16 && !r->q_gain && !r->k_gain);
    r = rh_cuda_arguments(&fused, fused.n - 1);
    assert_true(r->q_gain == gq && r->k_gain == gk && r->eps == 1 && !r->slots);
    rh_cuda_commands_free(&fused);
    rh_cuda_commands_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(joined_as_expected), cmocka_unit_test(arguments_move_along)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

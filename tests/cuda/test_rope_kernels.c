/* Norms of heads, rotation and the cache, against double precision: cosines and sines to half a unit and the turn's
 * rounding, and three roundings more, are within 1e-6 of a pair's length; a norm adds (head_dim/32 + 10) units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

enum { SLOTS = 40, PATTERN = 0x5a };

typedef struct shape { int32_t n, heads, kv_heads, dim; bool q, k, v, slots, gains; rh_dtype kv; } shape;

static const shape shapes[] = {
    {1, 1, 1, 2, true, true, true, true, false, RH_F32},       {1, 32, 8, 128, true, true, true, true, false, RH_F16},
    {7, 9, 3, 64, true, true, true, true, true, RH_F16},       {17, 16, 8, 256, true, true, true, true, true, RH_F32},
    {5, 3, 1, 80, true, false, false, false, false, RH_F32},   {3, 5, 5, 96, false, true, false, true, true, RH_F16},
    {4, 2, 1, 6, false, false, true, true, false, RH_F16},     {6, 4, 2, 34, true, true, true, false, true, RH_F32},
    {2, 1, 1, 100, false, true, true, true, false, RH_F32},
};

typedef struct scene {
    const shape *s;
    float *q, *k, *v, *q_gain, *k_gain, *frequency;
    int32_t position[17], slot[17];
} scene;

static float *random_array(uint64_t *seed, int32_t n)
{
    float *x = must_malloc((size_t)n * sizeof *x);
    random_floats(seed, x, (size_t)n);
    return x;
}

static void make(scene *c, const shape *s, uint64_t *seed)
{
    memset(c, 0, sizeof *c);
    c->s = s;
    c->q = random_array(seed, s->n * s->heads * s->dim);
    c->k = random_array(seed, s->n * s->kv_heads * s->dim);
    c->v = random_array(seed, s->n * s->kv_heads * s->dim);
    c->q_gain = random_array(seed, s->dim);
    c->k_gain = random_array(seed, s->dim);
    c->frequency = must_malloc((size_t)s->dim / 2 * sizeof(float));
    for (int32_t i = 0; i < s->dim / 2; i++) c->frequency[i] = powf(1e4f, -2 * (float)i / (float)s->dim);
    for (int32_t i = 0; i < s->n; i++) {
        c->position[i] = i == 1 ? 2000000 : random_between(seed, 0, 40000);
        c->slot[i] = (i * 7 + 3) % SLOTS;
    }
    c->v[0] = 1e9f; /* more than a float16 holds */
    if (s->n > 1) c->v[s->kv_heads * s->dim] = NAN;
}

/* A head as it should be: want [dim], and what it may err by. */
static void expect(const scene *c, const float *x, const float *gain, int32_t position, double *want, double *slack)
{
    const int32_t dim = c->s->dim, half = dim / 2;
    double sum = 0, r = 1;
    for (int32_t i = 0; i < dim; i++) sum += (double)x[i] * x[i];
    if (gain) r = 1 / sqrt(sum / dim + 1e-5);
    for (int32_t i = 0; i < half; i++) {
        const double a = x[i] * r * (gain ? gain[i] : 1), b = x[i + half] * r * (gain ? gain[i + half] : 1);
        const double angle = (double)position * (double)c->frequency[i];
        want[i] = a * cos(angle) - b * sin(angle);
        want[i + half] = b * cos(angle) + a * sin(angle);
        slack[i] = slack[i + half] = (fabs(a) + fabs(b)) * (1e-6 + (gain ? dim / 32 + 10 : 0) * UNIT);
    }
}

static void check_heads(const scene *c, const float *got, const float *x, const float *gain, int32_t heads)
{
    const int32_t dim = c->s->dim;
    double want[256], slack[256];
    for (int32_t i = 0; i < c->s->n * heads; i++) {
        expect(c, x + i * dim, gain, c->position[i / heads], want, slack);
        for (int32_t j = 0; j < dim; j++) NEAR(got[i * dim + j], want[j], slack[j]);
    }
}

/* Every slot holds what was kept there, narrowed as dtype.c does it, and the others their pattern. */
static void check_cache(const scene *c, const uint8_t *cache, const float *kept)
{
    const int32_t width = c->s->kv_heads * c->s->dim;
    for (int32_t slot = 0; slot < SLOTS; slot++) {
        int32_t row = -1;
        for (int32_t i = 0; i < c->s->n && kept; i++)
            if (c->slot[i] == slot) row = i;
        for (int32_t j = 0; j < width; j++) {
            const size_t at = (size_t)slot * (size_t)width + (size_t)j;
            const float x = row < 0 ? 0 : kept[row * width + j];
            uint32_t bits = 0, want = 0x5a5a5a5a;
            memcpy(&bits, cache + at * (c->s->kv == RH_F16 ? 2 : 4), c->s->kv == RH_F16 ? 2 : 4);
            if (c->s->kv == RH_F16) want = row < 0 ? 0x5a5a : rh_f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x);
            else if (row >= 0) memcpy(&want, &x, sizeof want);
            if (isnan(x) && c->s->kv == RH_F16) assert_true(isnan(rh_f16_to_f32((uint16_t)bits)));
            else assert_int_equal(bits, want);
        }
    }
}

static void check_shape(const shape *s, uint64_t *seed)
{
    scene c;
    make(&c, s, seed);
    const size_t n_q = (size_t)(s->n * s->heads * s->dim) * sizeof(float), n_k = (size_t)(s->n * s->kv_heads * s->dim) * sizeof(float);
    const size_t n_cache = (size_t)(SLOTS * s->kv_heads * s->dim) * (s->kv == RH_F16 ? 2 : 4), n_gain = (size_t)s->dim * sizeof(float);
    float *got_q = must_malloc(n_q), *got_k = must_malloc(n_k);
    uint8_t *k_cache = must_malloc(n_cache), *v_cache = must_malloc(n_cache);
    void *owned[] = {device_of(c.q, n_q), device_of(c.k, n_k), device_of(c.v, n_k), device_of(c.q_gain, n_gain),
                     device_of(c.k_gain, n_gain), device_of(c.frequency, n_gain / 2), device_of(c.position, sizeof c.position),
                     device_of(c.slot, sizeof c.slot), device_filled(PATTERN, n_cache), device_filled(PATTERN, n_cache)};
    rh_cuda_rope_args a;
    memset(&a, 0, sizeof a);
    a.q = s->q ? owned[0] : NULL;
    a.k = s->k ? owned[1] : NULL;
    a.v = s->v ? owned[2] : NULL;
    a.q_gain = s->gains ? owned[3] : NULL;
    a.k_gain = s->gains ? owned[4] : NULL;
    a.inv_freq = owned[5];
    a.positions = owned[6];
    a.slots = s->slots ? owned[7] : NULL;
    a.k_cache = owned[8];
    a.v_cache = owned[9];
    a.n = s->n;
    a.n_heads = s->heads;
    a.n_kv_heads = s->kv_heads;
    a.head_dim = s->dim;
    a.kv = s->kv;
    a.eps = 1e-5f;
    launched(rh_cuda_rope, &a);
    host_of(got_q, owned[0], n_q);
    host_of(got_k, owned[1], n_k);
    host_of(k_cache, owned[8], n_cache);
    host_of(v_cache, owned[9], n_cache);
    if (s->q) check_heads(&c, got_q, c.q, s->gains ? c.q_gain : NULL, s->heads);
    else assert_memory_equal(got_q, c.q, n_q);
    if (s->k) check_heads(&c, got_k, c.k, s->gains ? c.k_gain : NULL, s->kv_heads);
    else assert_memory_equal(got_k, c.k, n_k);
    check_cache(&c, k_cache, s->k && s->slots ? got_k : NULL);
    check_cache(&c, v_cache, s->v && s->slots ? c.v : NULL);
    for (int i = 0; i < LENGTH(owned); i++) device_free(owned[i]);
    float *host[] = {c.q, c.k, c.v, c.q_gain, c.k_gain, c.frequency, got_q, got_k};
    for (int i = 0; i < LENGTH(host); i++) free(host[i]);
    free(k_cache);
    free(v_cache);
}

static void test_rope(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < LENGTH(shapes); i++) check_shape(&shapes[i], &seed);
}

/* What is too large, too small, halfway between two, or no number. */
static void test_scatter(void **state)
{
    (void)state;
    static const float odd[] = {INFINITY, -INFINITY, NAN, 65504, 65519.9f, 65520, -1e30f, 6e-8f, 2.98e-8f, 1e-9f, -0.0f, 1.00048828125f};
    static const int32_t widths[] = {1, 2, 17, 300, 1024};
    uint64_t seed = 6;
    for (int i = 0; i < 2 * LENGTH(widths); i++) {
        shape s = {.n = 1 + i, .kv_heads = 1, .dim = widths[i / 2], .kv = i % 2 ? RH_F16 : RH_F32};
        scene c = {.s = &s};
        const size_t floats = (size_t)(s.n * s.dim), bytes = (size_t)(SLOTS * s.dim) * (s.kv == RH_F16 ? 2 : 4);
        float *x = random_array(&seed, s.n * s.dim);
        uint8_t *cache = must_malloc(bytes);
        for (size_t j = 0; j < floats; j += 5) x[j] = odd[j / 5 % (size_t)LENGTH(odd)];
        for (int32_t j = 0; j < s.n; j++) c.slot[j] = SLOTS - 1 - 3 * j;
        void *owned[] = {device_of(x, floats * sizeof *x), device_of(c.slot, sizeof c.slot), device_filled(PATTERN, bytes)};
        rh_cuda_scatter_args a;
        memset(&a, 0, sizeof a);
        a.dst = owned[2];
        a.src = owned[0];
        a.slots = owned[1];
        a.type = s.kv;
        a.n = s.n;
        a.width = s.dim;
        launched(rh_cuda_scatter, &a);
        host_of(cache, owned[2], bytes);
        check_cache(&c, cache, x);
        for (int j = 0; j < LENGTH(owned); j++) device_free(owned[j]);
        free(x);
        free(cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rope), cmocka_unit_test(test_scatter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

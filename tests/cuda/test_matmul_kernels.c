/* Products with up to 16 rows of x, against the plain double-precision product of the dequantised weights. Errors
 * allowed, for one result sum_k w_k x_k with codes and mins apart: a lane adds cols/32 terms or so and 16 of x, then lanes, tiles and warps
 * come, and the root of the mean square: (cols/16 + 40) 2^-24 sum (|code part| + |min part|) |x_k|. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "cuda/matrices.h"
#include "kernels/help.h"

typedef enum norm { NONE, APART, IN_PLACE } norm;
typedef struct shape {
    int32_t n, cols, rows[3];
    bool bias, add, glu;
    norm norm;
} shape;

typedef struct target { /* one product, on the host */
    rh_dtype type;
    int32_t rows;
    uint8_t *data;
    float *bias, *before, *after; /* [rows], [n, rows] twice */
} target;

typedef struct setting { /* all of a call */
    shape s;
    int m;
    float *x, *gain, *normed; /* normed: what products are of, in double's accuracy */
    target t[3];
    rh_cuda_matmul_args a;
} setting;

static float *random_new(uint64_t *seed, size_t n)
{
    float *x = must_malloc(n * sizeof *x);
    random_floats(seed, x, n);
    return x;
}

static void norm_rows(setting *c)
{
    const size_t cols = (size_t)c->s.cols;
    c->normed = must_malloc((size_t)c->s.n * cols * 4);
    for (size_t i = 0; i < (size_t)c->s.n; i++) {
        double square = 0;
        for (size_t k = 0; k < cols; k++) square += (double)c->x[i * cols + k] * c->x[i * cols + k];
        const double root = 1 / sqrt(square / (double)cols + 1e-5);
        for (size_t k = 0; k < cols; k++) c->normed[i * cols + k] = c->s.norm ? (float)(c->x[i * cols + k] * root * c->gain[k]) : c->x[i * cols + k];
    }
}

static setting set_up(uint64_t *seed, const shape *s, const rh_dtype *types)
{
    setting c = { .s = *s };
    const size_t n = (size_t)s->n, cols = (size_t)s->cols;
    c.x = random_new(seed, n * cols);
    c.gain = random_new(seed, cols);
    norm_rows(&c);
    c.a = (rh_cuda_matmul_args){ .x = device_of(c.x, n * cols * 4), .n = s->n, .cols = s->cols, .eps = 1e-5f, .glu = s->glu, .act = RH_ACT_GELU_TANH };
    if (s->norm) c.a.gain = device_of(c.gain, cols * 4);
    if (s->norm == APART) c.a.normed = device_filled(0xA5, n * cols * 4);
    if (s->norm == IN_PLACE) c.a.normed = (float *)(uintptr_t)c.a.x;
    for (; c.m < 3 && s->rows[c.m]; c.m++) {
        target *t = &c.t[c.m];
        const size_t rows = (size_t)s->rows[c.m];
        *t = (target){ .type = types[c.m], .rows = s->rows[c.m], .data = random_rows(seed, types[c.m], s->rows[c.m], s->cols),
                       .bias = random_new(seed, rows), .before = random_new(seed, n * rows), .after = must_malloc(n * rows * 4) };
        c.a.product[c.m] = (rh_cuda_product){ .w = device_matrix(t->type, t->data, t->rows, s->cols), .bias = s->bias ? device_of(t->bias, rows * 4) : NULL,
                                              .out = device_of(t->before, n * rows * 4), .add = s->add };
    }
    c.a.n_products = c.m;
    return c;
}

static void run_it(setting *c)
{
    launched(rh_cuda_matmul, &c->a);
    for (int i = 0; i < c->m; i++) host_of(c->t[i].after, c->a.product[i].out, (size_t)c->s.n * (size_t)c->t[i].rows * 4);
}

static void tear_down(setting *c)
{
    device_free((void *)(uintptr_t)c->a.x);
    device_free((void *)(uintptr_t)c->a.gain);
    if (c->s.norm == APART) device_free(c->a.normed);
    for (int i = 0; i < c->m; i++) {
        device_free((void *)(uintptr_t)c->a.product[i].w.data);
        device_free((void *)(uintptr_t)c->a.product[i].bias);
        device_free(c->a.product[i].out);
        free(c->t[i].data), free(c->t[i].bias), free(c->t[i].before), free(c->t[i].after);
    }
    free(c->x), free(c->gain), free(c->normed);
}

typedef struct result { double value, slack; } result;

/* Row r of w times row i of the normed x. */
static result product(const setting *c, const target *t, const float *w, int32_t r, int32_t i)
{
    const float *x = c->normed + (size_t)i * (size_t)c->s.cols;
    result out = { c->s.bias ? t->bias[r] : 0, 0 };
    double magnitude = 0;
    for (int32_t b = 0; b < c->s.cols; b += 32) {
        double top = 0, all = 0;
        for (int32_t k = b; k < b + 32 && k < c->s.cols; k++) {
            out.value += (double)w[k] * x[k];
            magnitude += fabs((double)w[k] * x[k]);
            top = fmax(top, fabs(w[k]));
            all += fabs(x[k]);
        }
        if (t->type >= RH_Q4_0) magnitude += 2 * top * all;
    }
    out.slack = magnitude * (c->s.cols / 16 + 40) * UNIT;
    return out;
}

static result activated(result gate, result up)
{
    const double g = gate.value, a = g / (1 + exp(-2 * 0.7978845608 * (g + 0.044715 * g * g * g)));
    /* act' is at most 1.13 */
    return (result){ a * up.value, 1.13 * gate.slack * (fabs(up.value) + up.slack) + fabs(a) * up.slack + 8 * UNIT * fabs(a * up.value) };
}

static void compare(const setting *c)
{
    float *w[2] = { must_malloc((size_t)c->s.cols * 4), must_malloc((size_t)c->s.cols * 4) };
    for (int m = 0; m < (c->s.glu ? 1 : c->m); m++) {
        const target *t = &c->t[m];
        for (int32_t r = 0; r < t->rows; r++) {
            for (int k = 0; k < (c->s.glu ? 2 : 1); k++)
                rh_dequantize_row(w[k], c->t[m + k].data + (size_t)r * rh_row_bytes(c->t[m + k].type, c->s.cols), c->t[m + k].type, c->s.cols);
            for (int32_t i = 0; i < c->s.n; i++) {
                const size_t at = (size_t)i * (size_t)t->rows + (size_t)r;
                result want = product(c, t, w[0], r, i);
                if (c->s.glu) want = activated(want, product(c, &c->t[1], w[1], r, i));
                if (c->s.add) want.value += t->before[at];
                if (!(fabs(t->after[at] - want.value) <= want.slack + 1e-6))
                    fail_msg("%s n %d cols %d product %d row %d of %d token %d: %g, expected %g within %g", rh_dtype_get(t->type)->name, c->s.n,
                             c->s.cols, m, r, t->rows, i, t->after[at], want.value, want.slack);
            }
        }
    }
    free(w[0]), free(w[1]);
}

static void compare_normed(const setting *c)
{
    const size_t all = (size_t)c->s.n * (size_t)c->s.cols;
    float *got = must_malloc(all * 4);
    if (c->a.normed) {
        host_of(got, c->a.normed, all * 4);
        for (size_t i = 0; i < all; i++) NEAR(got[i], c->normed[i], (c->s.cols / 256 + 20) * UNIT * fabs(c->normed[i]));
    }
    free(got);
}

static void check(uint64_t *seed, const shape *s, const rh_dtype *types)
{
    setting c = set_up(seed, s, types);
    run_it(&c);
    compare(&c);
    compare_normed(&c);
    tear_down(&c);
}

/* Every type, with every number of rows of x that has code of its own; products of a few rows, which warps share, and of many. */
static void every_type(void **state)
{
    (void)state;
    static const shape shapes[] = {
        { 1, 256, { 5 }, false, false, false, NONE },       { 1, 2048, { 9, 3 }, true, false, false, APART },
        { 2, 512, { 33, 17, 1 }, true, true, false, NONE }, { 3, 256, { 35 }, false, false, false, IN_PLACE },
        { 4, 768, { 4, 70 }, false, true, false, APART },   { 7, 512, { 21, 21 }, true, false, true, APART },
        { 16, 256, { 18 }, false, true, false, NONE },
    };
    uint64_t seed = 11;
    for (int t = 0; t < RH_N_DTYPES; t++)
        for (int i = 0; i < LENGTH(shapes); i++) check(&seed, &shapes[i], (rh_dtype[]){ (rh_dtype)t, (rh_dtype)t, (rh_dtype)t });
}

/* Columns of any number, for the types without blocks. */
static void ragged(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (int t = RH_F32; t <= RH_BF16; t++)
        for (int32_t cols = 1; cols < 300; cols = cols * 2 + 3) {
            const shape s = { random_between(&seed, 1, 16), cols, { random_between(&seed, 1, 40) }, false, false, false, cols % 4 == 1 ? APART : NONE };
            check(&seed, &s, (rh_dtype[]){ (rh_dtype)t });
        }
}

/* Products of different types in one call. */
static void mixed(void **state)
{
    (void)state;
    static const shape three = { 3, 512, { 20, 10, 11 }, true, false, false, APART }, glu = { 2, 256, { 37, 37 }, true, false, true, IN_PLACE };
    uint64_t seed = 13;
    check(&seed, &three, (rh_dtype[]){ RH_Q4_K, RH_Q4_K, RH_Q6_K });
    check(&seed, &three, (rh_dtype[]){ RH_NF4, RH_BF16, RH_NF4 });
    check(&seed, &glu, (rh_dtype[]){ RH_Q4_K, RH_Q5_K });
}

/* More columns than shared memory holds, and more rows than blocks are wanted for. */
static void large(void **state)
{
    (void)state;
    static const shape shapes[] = { { 1, 19200, { 3 }, false, false, false, APART }, { 8, 8448, { 5 }, true, true, false, APART }, { 9, 4352, { 9, 9 }, false, false, true, NONE },
                                    { 1, 256, { 70001 }, true, false, false, NONE } };
    uint64_t seed = 14;
    check(&seed, &shapes[0], (rh_dtype[]){ RH_NF4 });
    check(&seed, &shapes[0], (rh_dtype[]){ RH_BF16 });
    check(&seed, &shapes[1], (rh_dtype[]){ RH_Q4_K });
    check(&seed, &shapes[2], (rh_dtype[]){ RH_F32, RH_F32 });
    check(&seed, &shapes[3], (rh_dtype[]){ RH_Q4_0 });
}

/* A row of x that is not finite gives no number, and its neighbours are not touched. */
static void extremes(void **state)
{
    (void)state;
    static const shape s = { 5, 256, { 20 }, false, false, false, NONE };
    static const rh_dtype types[] = { RH_F32, RH_BF16, RH_Q4_1, RH_Q8_0, RH_Q6_K, RH_NF4 };
    uint64_t seed = 5;
    for (int i = 0; i < LENGTH(types); i++) {
        setting c = set_up(&seed, &s, &types[i]);
        c.x[1 * 256 + 7] = NAN;
        c.x[2 * 256 + 77] = INFINITY;
        c.x[3 * 256 + 200] = 1e30f;
        for (int k = 0; k < 256; k++) c.x[4 * 256 + k] *= 1e-38f;
        device_free((void *)(uintptr_t)c.a.x);
        c.a.x = device_of(c.x, 5 * 256 * 4);
        run_it(&c);
        for (int r = 0; r < 20; r++) {
            assert_true(isnan(c.t[0].after[20 + r]) && !isfinite(c.t[0].after[40 + r]));
            memcpy(&c.t[0].after[20 + r], &c.t[0].after[r], 4); /* rows 1 and 2: now as row 0 */
            memcpy(&c.t[0].after[40 + r], &c.t[0].after[r], 4);
        }
        memcpy(c.x + 256, c.x, 1024);
        memcpy(c.x + 512, c.x, 1024);
        memcpy(c.normed, c.x, 5 * 1024);
        compare(&c);
        tear_down(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type), cmocka_unit_test(ragged), cmocka_unit_test(mixed), cmocka_unit_test(large), cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests_name("products", tests, NULL, NULL);
}

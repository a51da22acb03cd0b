/* A screen lets through exactly the rows whose product, as matmul has it to the bit, reaches its level: whatever
 * the shape, the type, the instruction set and the company, with coordinates that dwarf the others, products that
 * lie on their level, and numbers at the ends of float32. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

typedef struct shape { int32_t n, rows, cols; } shape;

static const shape shapes[] = {
    { 1, 1, 1 }, { 1, 16, 64 }, { 2, 15, 63 }, { 3, 17, 65 }, { 5, 100, 130 }, { 64, 33, 48 }, { 65, 130, 100 }, { 70, 64, 640 }, { 131, 70, 57 }, { 66, 9, 1300 },
};

/* A share of all products above the level, and some that lie on it. */
static void levels(uint64_t *state, float *base, const float *p, const shape *s, double share)
{
    for (int32_t r = 0; r < s->rows; r++) {
        double square = 0;
        for (int32_t t = 0; t < s->n; t++) square += (double)p[t * s->rows + r] * p[t * s->rows + r];
        base[r] = (float)(share * sqrt(square / s->n));
        if (random_u32(state) % 4 == 0) base[r] = p[random_between(state, 0, s->n - 1) * s->rows + r];
    }
}

static void compare(const rh_hits *h, const float *p, const shape *s, const rh_screen_level *l)
{
    assert_int_equal(h->start[0], 0);
    for (int32_t t = 0; t < s->n; t++) {
        size_t at = h->start[t];
        for (int32_t r = 0; r < s->rows; r++) {
            const float product = p[(size_t)t * (size_t)s->rows + (size_t)r];
            const double level = l->gain ? l->base[r] + (double)l->gain[r] * l->floor[t] : l->base[r];
            if (product < level) continue;
            if (at == h->start[t + 1] || h->row[at] != r)
                fail_msg("%d x %d x %d: row %d misses with input %d: %.9g, level %.9g", s->n, s->rows, s->cols, r, t, product, level);
            if (memcmp(&h->p[at], &product, sizeof product)) fail_msg("%d x %d x %d: row %d, input %d: %.9g, not %.9g", s->n, s->rows, s->cols, r, t, h->p[at], product);
            at++;
        }
        assert_int_equal(at, h->start[t + 1]);
    }
}

typedef struct data { uint8_t *w; float *x, *p; rh_buf *xb; } data;

/* p = what matmul says, and xb = x */
static void products(rh_backend *be, data *d, rh_dtype t, const shape *s)
{
    const size_t products = (size_t)s->n * (size_t)s->rows;
    rh_weight *w;
    rh_buf *out = buf_of(be, d->p, products);
    be->ops->buf_free(be, d->xb);
    d->xb = buf_of(be, d->x, (size_t)s->n * (size_t)s->cols);
    assert_int_equal(be->ops->weight_new(be, &w, d->w, t, s->rows, s->cols, NULL, NULL), RH_OK);
    const rh_matmul_target target = { .w = w, .out = out };
    assert_int_equal(be->ops->matmul(be, d->xb, s->n, &target, 1, NULL), RH_OK);
    read_buf(be, d->p, out, products);
    be->ops->weight_free(be, w);
    be->ops->buf_free(be, out);
}

static data make(rh_backend *be, uint64_t *state, rh_dtype t, const shape *s, float large)
{
    const size_t n = (size_t)s->n, rows = (size_t)s->rows, cols = (size_t)s->cols;
    data d = { random_rows(state, t, s->rows, s->cols), must_malloc(n * cols * 4), must_malloc(n * rows * 4), NULL };
    random_floats(state, d.x, n * cols);
    for (size_t i = 0; i < n; i++) d.x[i * cols + random_u32(state) % cols] *= large;
    products(be, &d, t, s);
    return d;
}

static void drop(rh_backend *be, data *d)
{
    be->ops->buf_free(be, d->xb);
    free(d->w);
    free(d->x);
    free(d->p);
}

static void check(rh_backend *be, uint64_t *state, rh_dtype t, const shape *s, float large)
{
    data d = make(be, state, t, s, large);
    float *base = must_malloc((size_t)s->rows * 4), *gain = must_malloc((size_t)s->rows * 4), *floors = must_malloc((size_t)s->n * 4);
    rh_screen *screen;
    assert_int_equal(be->ops->screen_new(be, &screen, d.w, t, s->rows, s->cols, NULL), RH_OK);
    for (int way = 0; way < 3; way++) {
        rh_hits h = { 0 };
        levels(state, base, d.p, s, way == 2 ? -0.5 : 1.5);
        for (int32_t r = 0; r < s->rows; r++) gain[r] = (float)random_unit(state);
        for (int32_t i = 0; i < s->n; i++) floors[i] = (float)(random_unit(state) - 0.5) * (fabsf(base[0]) + 1);
        const rh_screen_level level = { base, way == 1 ? gain : NULL, way == 1 ? floors : NULL };
        assert_int_equal(be->ops->screen(be, &h, screen, d.xb, s->n, &level, NULL), RH_OK);
        compare(&h, d.p, s, &level);
        rh_hits_free(&h);
    }
    be->ops->screen_free(be, screen);
    drop(be, &d);
    free(base);
    free(gain);
    free(floors);
}

static void all_shapes(rh_isa isa, bool exact)
{
    static const rh_dtype types[] = { RH_F32, RH_F16, RH_BF16 };
    static const float large[] = { 1, 100, 1e-33f, 1e34f };
    uint64_t state = 11;
    for (int threads = 1; threads < (ON_CUDA ? 2 : 3); threads++) {
        rh_backend *be = open_or_skip(isa, threads, exact);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (size_t t = 0; t < 3; t++)
                for (size_t k = 0; k < 4; k++) check(be, &state, types[t], &shapes[i], large[k]);
        rh_backend_free(be);
    }
}

/* Tiny and huge rows and inputs, all zero among them. */
static void ends_of_float(rh_isa isa, bool exact)
{
    enum { N = 6, COLS = 64 };
    static const float sizes[N] = { 0, 1e-44f, 1e-38f, 1e-20f, 1e19f, 3e38f };
    rh_backend *be = open_or_skip(isa, 1, exact);
    uint64_t state = 3;
    float x[N][COLS], p[N * N], base[N];
    rh_screen *screen;
    rh_weight *w;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < COLS; k++) x[i][k] = sizes[i] * (float)(random_unit(&state) - 0.4);
    rh_buf *xb = buf_of(be, x[0], N * COLS), *out = buf_of(be, p, N * N);
    assert_int_equal(be->ops->weight_new(be, &w, x, RH_F32, N, COLS, NULL, NULL), RH_OK);
    const rh_matmul_target target = { .w = w, .out = out };
    assert_int_equal(be->ops->matmul(be, xb, N, &target, 1, NULL), RH_OK);
    read_buf(be, p, out, N * N);
    assert_int_equal(be->ops->screen_new(be, &screen, x, RH_F32, N, COLS, NULL), RH_OK);
    for (int i = 0; i < N; i++) {
        rh_hits h = { 0 };
        for (int r = 0; r < N; r++) base[r] = isfinite(p[i * N + r]) ? p[i * N + r] : 3e38f;
        const rh_screen_level level = { base, NULL, NULL };
        assert_int_equal(be->ops->screen(be, &h, screen, xb, N, &level, NULL), RH_OK);
        compare(&h, p, &(shape){ N, N, COLS }, &level);
        rh_hits_free(&h);
    }
    be->ops->screen_free(be, screen);
    be->ops->weight_free(be, w);
    be->ops->buf_free(be, xb);
    be->ops->buf_free(be, out);
    rh_backend_free(be);
}

/* out [MIXED], which a screen that mixes 64 stretches by Hadamard's matrix turns into x. */
enum { SIGNS = 4, STRETCH = 3, MIXED = 64 * STRETCH };
static void before_mixing(float *out, const float *x)
{
    for (int a = 0; a < 64; a++)
        for (int i = 0; i < STRETCH; i++) {
            float sum = 0;
            for (int b = 0; b < 64; b++) sum += __builtin_popcount((unsigned)(a & b)) % 2 ? -x[b * STRETCH + i] : x[b * STRETCH + i];
            out[a * STRETCH + i] = sum / 8;
        }
}

/* Rows and inputs whose codes are as large as they get and of one sign, in all columns or in every second two: what is
 * added up in few bits must not run over. */
static void one_sign(rh_isa isa, bool exact)
{
    uint64_t state = 1;
    float rows[SIGNS][MIXED], pattern[MIXED];
    const shape s = { SIGNS, SIGNS, MIXED };
    rh_backend *be = open_or_skip(isa, 1, exact);
    rh_screen *screen;
    for (int r = 0; r < SIGNS; r++) {
        for (int k = 0; k < MIXED; k++) pattern[k] = r / 2 && k / 2 % 2 ? 0 : r % 2 ? -1 : 1;
        before_mixing(rows[r], pattern);
    }
    data d = make(be, &state, RH_F32, &s, 1);
    memcpy(d.w, rows, sizeof rows);
    memcpy(d.x, rows, sizeof rows);
    products(be, &d, RH_F32, &s);
    assert_int_equal(be->ops->screen_new(be, &screen, d.w, RH_F32, SIGNS, MIXED, NULL), RH_OK);
    for (int t = 0; t < SIGNS; t++) { /* levels on the products with each input */
        rh_hits h = { 0 };
        const rh_screen_level level = { d.p + t * SIGNS, NULL, NULL };
        assert_int_equal(be->ops->screen(be, &h, screen, d.xb, SIGNS, &level, NULL), RH_OK);
        compare(&h, d.p, &s, &level);
        rh_hits_free(&h);
    }
    be->ops->screen_free(be, screen);
    drop(be, &d);
    rh_backend_free(be);
}

/* Codes are worth their memory only if they leave few rows to compute: of normal numbers, of which 1 % are above
 * the level, at most 8 % (4.4 % are expected); and a coordinate that dwarfs the others changes little. */
static void few_pass(rh_isa isa, bool exact)
{
    enum { N = 16, ROWS = 2048, COLS = 640 };
    uint64_t state = 5;
    rh_backend *be = open_or_skip(isa, 2, exact);
    const shape s = { N, ROWS, COLS };
    for (int way = 0; way < 2; way++) {
        data d = make(be, &state, RH_F32, &s, way ? 20 : 1);
        size_t loose = 0, tight = 0;
        float base[ROWS];
        rh_screen *screen;
        rh_hits h = { 0 };
        double square = 0;
        for (size_t i = 0; i < N * ROWS; i++) square += (double)d.p[i] * d.p[i];
        for (int r = 0; r < ROWS; r++) base[r] = (float)(2.33 * sqrt(square / (N * ROWS)));
        assert_int_equal(be->ops->screen_new(be, &screen, d.w, RH_F32, ROWS, COLS, NULL), RH_OK);
        const rh_screen_level level = { base, NULL, NULL };
        assert_int_equal(be->ops->screen(be, &h, screen, d.xb, N, &level, NULL), RH_OK);
        tight = h.start[N];
        loose = h.computed;
        print_message("%.1f %% computed, %.1f %% above\n", 100.0 * (double)loose / (N * ROWS), 100.0 * (double)tight / (N * ROWS));
        assert_true(tight > 0 && loose >= tight && loose < N * ROWS * 8 / 100);
        rh_hits_free(&h);
        be->ops->screen_free(be, screen);
        drop(be, &d);
    }
    rh_backend_free(be);
}

int main(void)
{
    static const check_on checks[] = {
        { "shapes", all_shapes, false, false }, { "shapes", all_shapes, true, true }, { "ends_of_float", ends_of_float, false, false },
        { "one_sign", one_sign, false, false },
        { "few_pass", few_pass, false, true }, /* last: a GPU has no codes */
    };
    return run_on_all("screens", checks, sizeof checks / sizeof *checks - ON_CUDA);
}

/* Operations on rows and elements, on every instruction set, against double precision.
 * u = 2^-24 is half a unit in the last place of 1; bounds stand where they are used. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

static const double u = 1 / 16777216.0;

#define NEAR(got, want, slack)                                                                     \
    do {                                                                                           \
        double got_ = (got), want_ = (want), slack_ = (slack);                                     \
        if (!(fabs(got_ - want_) <= slack_))                                                       \
            fail_msg("line %d: %.9g, expected %.9g within %g", __LINE__, got_, want_, slack_);     \
    } while (0)

typedef void (*check)(rh_backend *be, int32_t n, int32_t d, uint64_t *seed);

/* The square root halves the relative error of the mean, (d/4 + 4) u; four roundings more. */
static void check_rmsnorm(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *x = must_malloc(all * sizeof *x), *w = must_malloc((size_t)d * sizeof *w), *out = must_malloc(all * sizeof *out);
    random_floats(seed, x, all);
    random_floats(seed, w, (size_t)d);
    x[0] = 3e4f;
    rh_buf *bx = buf_of(be, x, all), *bw = buf_of(be, w, (size_t)d);
    be->ops->rmsnorm(be, bx, bx, bw, n, d, 1e-6f);
    read_buf(be, out, bx, all);
    for (int32_t i = 0; i < n; i++) {
        const float *xi = x + (size_t)i * (size_t)d;
        double sum = 0;
        for (int32_t j = 0; j < d; j++) sum += (double)xi[j] * xi[j];
        for (int32_t j = 0; j < d; j++) {
            double want = xi[j] / sqrt(sum / d + 1e-6f) * w[j];
            NEAR(out[(size_t)i * (size_t)d + (size_t)j], want, fabs(want) * (d / 8 + 8) * u);
        }
    }
    be->ops->buf_free(be, bx);
    be->ops->buf_free(be, bw);
    free(x);
    free(w);
    free(out);
}

static double activation(double g, rh_activation act)
{
    if (act == RH_ACT_SILU) return g / (1 + exp(-g));
    /* g/2 (1 + tanh a) without its cancellation */
    return g / (1 + exp(-2 * sqrt(2 / 3.14159265358979) * (g + 0.044715 * g * g * g)));
}

/* exp errs by 2e-7 and by the rounding of its argument a, |a| 2^-24 at a few steps each; the
 * share of exp in the sum 1 + exp is at most 1. An argument below -87.3 is clamped. */
static void check_glu(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *g = must_malloc(all * sizeof *g), *up = must_malloc(all * sizeof *up), *out = must_malloc(all * sizeof *out);
    for (int act = 0; act < 2; act++) {
        random_floats(seed, g, all);
        random_floats(seed, up, all);
        for (size_t i = 0; i < all; i += 7) g[i] *= 10;
        g[all / 2] = act ? 1e4f : 1e9f;
        g[0] = act ? -1e4f : -1e9f;
        rh_buf *bg = buf_of(be, g, all), *bu = buf_of(be, up, all);
        be->ops->glu(be, bg, bg, bu, n, d, (rh_activation)act);
        read_buf(be, out, bg, all);
        for (size_t i = 0; i < all; i++) {
            double want = activation(g[i], (rh_activation)act) * up[i];
            double a = act ? fabs(1.6 * (g[i] + 0.0447 * pow(g[i], 3))) : fabs(g[i]);
            NEAR(out[i], want, fabs(want) * (4e-7 + 8 * u * fmin(a, 90)) + 1e-28);
        }
        be->ops->buf_free(be, bg);
        be->ops->buf_free(be, bu);
    }
    free(g);
    free(up);
    free(out);
}

static void check_softcap(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *x = must_malloc(all * sizeof *x), *out = must_malloc(all * sizeof *out);
    random_floats(seed, x, all);
    for (size_t i = 0; i < all; i += 3) x[i] *= 50;
    x[0] = -1e30f;
    rh_buf *b = buf_of(be, x, all);
    be->ops->softcap(be, b, (int64_t)all, 30);
    read_buf(be, out, b, all);
    for (size_t i = 0; i < all; i++) {
        double want = 30 * tanh(x[i] / 30.0);
        NEAR(out[i], want, fabs(want) * 1e-6);
    }
    be->ops->buf_free(be, b);
    free(x);
    free(out);
}

/* y += x twice rounded; adding, steering and ablating. B's rows are orthonormal only in pairs
 * of coordinates here, so B h is exact enough in double: (d/4 + 8) u sum|b h|. */
static void check_actions(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *x = must_malloc(all * sizeof *x), *y = must_malloc(all * sizeof *y), *out = must_malloc(all * sizeof *out);
    int32_t *rows = must_malloc((size_t)n * sizeof *rows), picked = (n + 1) / 2;
    for (int32_t i = 0; i < picked; i++) rows[i] = n - 1 - 2 * i;
    random_floats(seed, x, all);
    random_floats(seed, y, all);
    rh_buf *bx = buf_of(be, x, all), *by = buf_of(be, y, all);
    be->ops->add(be, bx, by, (int64_t)all);
    read_buf(be, out, bx, all);
    for (size_t i = 0; i < all; i++) NEAR(out[i], (double)x[i] + y[i], fabs((double)x[i] + y[i]) * u);

    be->ops->upload(be, bx, 0, x, all * sizeof *x);
    be->ops->steer_rows(be, bx, rows, picked, d, by, -1.5f, NULL);
    read_buf(be, out, bx, all);
    for (int32_t i = 0; i < n; i++) {
        bool on = (n - 1 - i) % 2 == 0;
        for (int32_t j = 0; j < d; j++) {
            size_t at = (size_t)i * (size_t)d + (size_t)j;
            NEAR(out[at], x[at] - (on ? 1.5 * y[j] : 0), on ? 4 * u * (fabs(x[at]) + 2 * fabs(y[j])) : 0);
        }
    }

    int32_t rank = d < 140 ? d / 2 : 70; /* row j: (0.6, 0.8) at 2 j, 2 j + 1 */
    float *basis = must_malloc((size_t)(rank + 1) * (size_t)d * sizeof *basis);
    for (int32_t j = 0; j < rank; j++) {
        basis[(size_t)j * (size_t)d + 2 * (size_t)j] = 0.6f;
        basis[(size_t)j * (size_t)d + 2 * (size_t)j + 1] = 0.8f;
    }
    rh_buf *bb = buf_of(be, basis, (size_t)(rank + 1) * (size_t)d);
    be->ops->upload(be, bx, 0, x, all * sizeof *x);
    be->ops->ablate_rows(be, bx, rows, picked, d, bb, rank, NULL);
    read_buf(be, out, bx, all);
    for (int32_t i = 0; i < n; i++) {
        bool on = (n - 1 - i) % 2 == 0;
        for (int32_t j = 0; j < d; j++) {
            size_t at = (size_t)i * (size_t)d + (size_t)j, even = at - (size_t)(j % 2);
            double p = on && j / 2 < rank ? 0.6f * (double)x[even] + 0.8f * (double)x[even + 1] : 0;
            double want = x[at] - p * (j % 2 ? 0.8f : 0.6f);
            double size = j / 2 < rank ? fabs(x[even]) + fabs(x[even + 1]) : 0;
            NEAR(out[at], want, on ? 8 * u * (fabs(x[at]) + size) : 0);
        }
    }
    be->ops->buf_free(be, bx);
    be->ops->buf_free(be, by);
    be->ops->buf_free(be, bb);
    free(basis);
    free(rows);
    free(x);
    free(y);
    free(out);
}

static double projection(const float *h, const float *dir, int32_t d, double *size)
{
    double p = 0;
    *size = 0;
    for (int32_t j = 0; j < d; j++) {
        p += (double)h[j] * dir[j];
        *size += fabs((double)h[j] * dir[j]);
    }
    return p;
}

/* Float sums of d products may err by (d/16 + 20) 2^-24 of the sum of their sizes. Each move is
 * made on every other row; the others keep their bits. */
static void check_projections(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *h = must_malloc(all * sizeof *h), *dir = must_malloc((size_t)d * sizeof *dir), *out = must_malloc(all * sizeof *out);
    int32_t *rows = must_malloc((size_t)n * sizeof *rows), picked = 0;
    double length = 0, slack = (d / 16 + 20) * u, size;
    random_floats(seed, h, all);
    random_floats(seed, dir, (size_t)d);
    for (int32_t j = 0; j < d; j++) length += (double)dir[j] * dir[j];
    for (int32_t j = 0; j < d; j++) dir[j] = (float)(dir[j] / sqrt(length));
    for (int32_t i = n - 1; i >= 0; i -= 2) rows[picked++] = i;
    rh_buf *bh = buf_of(be, h, all), *bu = buf_of(be, dir, (size_t)d);
    for (int move = RH_MOVE_SCALE; move <= RH_MOVE_CLAMP; move++) {
        const double x = 0.25;
        be->ops->upload(be, bh, 0, h, all * sizeof *h);
        be->ops->move_rows(be, bh, rows, picked, d, bu, (rh_move)move, (float)x, NULL);
        read_buf(be, out, bh, all);
        for (int32_t i = 0; i < n; i++) {
            bool on = (n - 1 - i) % 2 == 0;
            double p = projection(h + (size_t)i * (size_t)d, dir, d, &size);
            double by = move == RH_MOVE_SCALE ? (x - 1) * p : move == RH_MOVE_CLAMP ? x - p : p > x ? x - p : 0;
            for (int32_t j = 0; j < d; j++) {
                size_t at = (size_t)i * (size_t)d + (size_t)j;
                double allowed = 4 * u * (fabs(h[at]) + fabs(by)) + slack * size * fabs(dir[j]);
                NEAR(out[at], h[at] + (on ? by * dir[j] : 0), on ? allowed : 0);
            }
        }
    }
    be->ops->buf_free(be, bh);
    be->ops->buf_free(be, bu);
    free(h);
    free(dir);
    free(out);
    free(rows);
}

static bool stands(double x, rh_compare c, double limit)
{
    return c == RH_COMPARE_GT ? x > limit : c == RH_COMPARE_GE ? x >= limit : c == RH_COMPARE_LT ? x < limit : x <= limit;
}

/* A guard says what the test says in double, but for rows that are nearer to the threshold than the sums' rounding
 * (as in check_projections; of the norm it is the same again); a row that was not asked keeps its flag. */
static void check_guards(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *h = must_malloc(all * sizeof *h), *v = must_malloc((size_t)d * sizeof *v);
    int32_t *rows = must_malloc((size_t)n * sizeof *rows), *flags = must_malloc((size_t)(n + 3) * sizeof *flags), picked = 0;
    double square, slack = (d / 16 + 20) * u, size;
    for (int32_t i = n - 1; i >= 0; i -= 2) rows[picked++] = i;
    for (int k = 0; k < 2 * 4 * 2; k++) {
        random_floats(seed, h, all);
        random_floats(seed, v, (size_t)d);
        if (k == 3) memset(h + all - (size_t)d, 0, (size_t)d * sizeof *h); /* a cosine of 0 */
        rh_guard_test test = {.cosine = k % 2, .compare = (rh_compare)(k / 2 % 4), .threshold = k < 8 ? 0 : k % 2 ? 0.1f : -0.3f};
        test.norm = (float)sqrt(projection(v, v, d, &square));
        for (int32_t i = 0; i < n + 3; i++) flags[i] = 7;
        rh_buf *bh = buf_of(be, h, all), *bv = buf_of(be, v, (size_t)d), *bf = buf_of(be, NULL, (size_t)n + 3);
        be->ops->upload(be, bf, 0, flags, (size_t)(n + 3) * sizeof *flags);
        be->ops->guard_rows(be, bf, 2, bh, rows, picked, d, bv, &test);
        be->ops->download(be, flags, bf, 0, (size_t)(n + 3) * sizeof *flags);
        for (int32_t i = -2; i <= n; i++) {
            if (i < 0 || i == n || (n - 1 - i) % 2) {
                assert_int_equal(flags[i + 2], 7);
                continue;
            }
            const float *row = h + (size_t)i * (size_t)d;
            double p = projection(row, v, d, &size), norm = sqrt(projection(row, row, d, &square)) * test.norm;
            if (test.cosine) size = norm > 0 ? size / norm + fabs(p / norm) : 0, p = norm > 0 ? p / norm : 0;
            if (fabs(p - test.threshold) > slack * size || size == 0)
                assert_int_equal(flags[i + 2], stands(p, test.compare, test.threshold));
            else assert_in_range(flags[i + 2], 0, 1);
        }
        be->ops->buf_free(be, bh);
        be->ops->buf_free(be, bv);
        be->ops->buf_free(be, bf);
    }
    free(h);
    free(v);
    free(rows);
    free(flags);
}

/* What is no number passes no guard; and through a gate go the rows that it names, of those that are listed. */
static void check_gates(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    enum { N = 5, FIRST = 3 };
    const int32_t rows[] = {4, 0, 2, 3}, flags[FIRST + N] = {1, 1, 1, 1, 1, 0, 9, 0};
    const bool on[N] = {true, false, false, true, false}; /* 1 has a flag but is not listed */
    size_t all = (size_t)N * (size_t)d;
    float *h = must_malloc(all * sizeof *h), *out = must_malloc(all * sizeof *out), *v = must_malloc((size_t)d * sizeof *v);
    (void)n;
    random_floats(seed, h, all);
    for (int32_t j = 0; j < d; j++) v[j] = (float)(1 / sqrt(d));
    rh_buf *bh = buf_of(be, h, all), *bv = buf_of(be, v, (size_t)d), *bf = buf_of(be, NULL, FIRST + N);
    const rh_gate gate = {bf, FIRST};
    for (int k = 0; k < 5; k++) {
        be->ops->upload(be, bh, 0, h, all * sizeof *h);
        be->ops->upload(be, bf, 0, flags, sizeof flags);
        if (k == 0) be->ops->steer_rows(be, bh, rows, 4, d, bv, 2, &gate);
        else if (k == 1) be->ops->ablate_rows(be, bh, rows, 4, d, bv, 1, &gate);
        else be->ops->move_rows(be, bh, rows, 4, d, bv, (rh_move)(k - 2), k == 3 ? -1e3f : 30, &gate);
        read_buf(be, out, bh, all);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(memcmp(out + i * (size_t)d, h + i * (size_t)d, (size_t)d * sizeof *h) != 0, on[i]);
    }
    h[(size_t)d * 2] = NAN;
    be->ops->upload(be, bh, 0, h, all * sizeof *h);
    for (int k = 0; k < 8; k++) {
        const rh_guard_test test = {.cosine = k % 2, .compare = (rh_compare)(k / 2), .norm = 1, .threshold = k / 2 < 2 ? -1e9f : 1e9f};
        int32_t got[FIRST + N];
        be->ops->guard_rows(be, bf, FIRST, bh, rows, 4, d, bv, &test);
        be->ops->fetch(be, got, bf, 0, sizeof got);
        assert_int_equal(be->ops->wait(be, NULL), RH_OK);
        for (int i = 0; i < 4; i++) assert_int_equal(got[FIRST + rows[i]], rows[i] != 2);
    }
    be->ops->buf_free(be, bh);
    be->ops->buf_free(be, bv);
    be->ops->buf_free(be, bf);
    free(h);
    free(out);
    free(v);
}

/* Cosines to half a unit, and three roundings: 1e-6 of the pair's length is ample. d is the
 * width of 3 heads. */
static void check_rope(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    int32_t dim = (d + 1) / 2 * 2, half = dim / 2, heads = 3;
    size_t all = (size_t)n * (size_t)(heads * dim);
    float *x = must_malloc(all * sizeof *x), *out = must_malloc(all * sizeof *out), *freq = must_malloc((size_t)half * sizeof *freq);
    int32_t *positions = must_malloc((size_t)n * sizeof *positions);
    for (int table = 0; table < 6; table++) { /* more than are kept */
        for (int32_t i = 0; i < half; i++) freq[i] = powf(table % 2 ? 1e6f : 1e4f, -(float)i / (float)half) / (float)(1 + table);
        for (int32_t i = 0; i < n; i++) positions[i] = random_between(seed, 0, i % 16 == 1 ? 32767 : 300);
        if (table == 5) positions[0] = 2000000; /* beyond what is kept */
        random_floats(seed, x, all);
        rh_buf *b = buf_of(be, x, all);
        be->ops->rope(be, b, n, heads, dim, positions, freq);
        read_buf(be, out, b, all);
        for (int32_t i = 0; i < n; i++) {
            for (int32_t h = 0; h < heads; h++) {
                for (int32_t j = 0; j < half; j++) {
                    size_t at = ((size_t)i * (size_t)heads + (size_t)h) * (size_t)dim + (size_t)j;
                    double a = x[at], c = x[at + (size_t)half], angle = (double)positions[i] * freq[j];
                    double slack = 1e-6 * (fabs(a) + fabs(c));
                    NEAR(out[at], a * cos(angle) - c * sin(angle), slack);
                    NEAR(out[at + (size_t)half], c * cos(angle) + a * sin(angle), slack);
                }
            }
        }
        be->ops->buf_free(be, b);
    }
    free(x);
    free(out);
    free(freq);
    free(positions);
}

/* Rows kept as float16: what is too large, too small, halfway between two, or no number. */
static void check_halves(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN, 65504, 65519.9f, 65520, -1e30f, 6e-8f, 2.98e-8f, 1e-9f, -0.0f, 1.00048828125f};
    size_t all = (size_t)n * (size_t)d;
    float *x = must_malloc(all * sizeof *x), *out = must_malloc((all + 1) * sizeof *out);
    int32_t *slots = must_malloc((size_t)n * sizeof *slots);
    random_floats(seed, x, all);
    for (size_t i = 0; i < all; i += 5) x[i] = odd[(i / 5) % (sizeof odd / sizeof *odd)];
    for (int32_t i = 0; i < n; i++) slots[i] = n - 1 - i;
    rh_buf *src = buf_of(be, x, all), *dst = buf_of(be, NULL, all / 2 + 1);
    be->ops->scatter_rows(be, dst, RH_F16, slots, src, n, d);
    read_buf(be, out, dst, all / 2 + 1);
    for (size_t i = 0; i < all; i++) {
        uint16_t got, want = rh_f32_to_f16(x[i] > 65504 ? 65504 : x[i] < -65504 ? -65504 : x[i]);
        memcpy(&got, (const char *)out + 2 * ((size_t)slots[i / (size_t)d] * (size_t)d + i % (size_t)d), sizeof got);
        if (isnan(x[i])) assert_true(isnan(rh_f16_to_f32(got)));
        else assert_int_equal(got, want);
    }
    be->ops->buf_free(be, src);
    be->ops->buf_free(be, dst);
    free(x);
    free(out);
    free(slots);
}

static void check_moves(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d;
    float *x = must_malloc(all * sizeof *x), *out = must_malloc(2 * all * sizeof *out);
    int32_t *slots = must_malloc((size_t)n * sizeof *slots);
    random_floats(seed, x, all);
    for (int32_t i = 0; i < n; i++) slots[i] = 2 * (n - 1 - i);
    rh_buf *src = buf_of(be, x, all), *dst = buf_of(be, NULL, 2 * all);
    be->ops->scatter_rows(be, dst, RH_F32, slots, src, n, d);
    read_buf(be, out, dst, 2 * all);
    for (int32_t i = 0; i < n; i++) {
        assert_memory_equal(out + (size_t)slots[i] * (size_t)d, x + (size_t)i * (size_t)d, (size_t)d * sizeof *x);
        for (int32_t j = 0; j < d; j++) assert_true(out[((size_t)slots[i] + 1) * (size_t)d + (size_t)j] == 0);
    }
    be->ops->gather_rows(be, dst, n, dst, slots, n > 1 ? 1 : 0, d); /* within one buffer */
    for (int32_t i = 0; i < n; i++) slots[i] = n - 1 - i;
    be->ops->gather_rows(be, dst, 0, src, slots, n, d);
    read_buf(be, out, dst, all);
    for (int32_t i = 0; i < n; i++)
        assert_memory_equal(out + (size_t)i * (size_t)d, x + (size_t)slots[i] * (size_t)d, (size_t)d * sizeof *x);
    be->ops->buf_free(be, src);
    be->ops->buf_free(be, dst);
    free(x);
    free(out);
    free(slots);
}

static void check_embed(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    enum { ROWS = 30 };
    int32_t cols = (d + 255) / 256 * 256, order[ROWS];
    size_t all = (size_t)n * (size_t)cols;
    float *out = must_malloc(all * sizeof *out), *want = must_malloc((size_t)cols * sizeof *want);
    int32_t *ids = must_malloc((size_t)n * sizeof *ids);
    for (int32_t r = 0; r < ROWS; r++) order[r] = (r * 7 + 3) % ROWS;
    for (int32_t i = 0; i < n; i++) ids[i] = random_between(seed, 0, ROWS - 1);
    for (int t = 0; t < RH_N_DTYPES; t++) {
        uint8_t *data = random_rows(seed, (rh_dtype)t, ROWS, cols);
        rh_weight *w = NULL;
        rh_buf *b = buf_of(be, NULL, all);
        assert_int_equal(be->ops->weight_new(be, &w, data, (rh_dtype)t, ROWS, cols, order, NULL), RH_OK);
        be->ops->embed(be, b, w, ids, n, 25.25f);
        read_buf(be, out, b, all);
        for (int32_t i = 0; i < n; i++) {
            rh_dequantize_row(want, data + (size_t)order[ids[i]] * rh_row_bytes((rh_dtype)t, cols), (rh_dtype)t, cols);
            for (int32_t j = 0; j < cols; j++) want[j] *= 25.25f;
            assert_memory_equal(out + (size_t)i * (size_t)cols, want, (size_t)cols * sizeof *want);
        }
        be->ops->weight_free(be, w);
        be->ops->buf_free(be, b);
        free(data);
    }
    free(out);
    free(want);
    free(ids);
}

/* A NaN stays where it was, and only there. */
static void check_nan(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    enum { N = 40 };
    float x[N], y[N];
    (void)n;
    (void)d;
    random_floats(seed, x, N);
    x[19] = NAN;
    rh_buf *b = buf_of(be, x, N), *one = buf_of(be, x, N);
    be->ops->softcap(be, b, N, 30);
    read_buf(be, y, b, N);
    for (int i = 0; i < N; i++) assert_int_equal(isnan(y[i]) != 0, i == 19);
    for (int act = 0; act < 2; act++) {
        be->ops->upload(be, b, 0, x, sizeof x);
        be->ops->glu(be, b, b, one, 1, N, (rh_activation)act);
        read_buf(be, y, b, N);
        for (int i = 0; i < N; i++) assert_int_equal(isnan(y[i]) != 0, i == 19);
    }
    be->ops->buf_free(be, b);
    be->ops->buf_free(be, one);
}

/* What is forgotten is no longer promised; its neighbours are. */
static void check_forget(rh_backend *be, int32_t n, int32_t d, uint64_t *seed)
{
    size_t all = (size_t)n * (size_t)d * 50;
    float *x = must_malloc(all * sizeof *x), *out = must_malloc(all * sizeof *out);
    random_floats(seed, x, all);
    rh_buf *b = buf_of(be, x, all);
    size_t from = (size_t)random_between(seed, 0, (int)all), to = (size_t)random_between(seed, (int)from, (int)all);
    be->ops->buf_forget(be, b, from * sizeof *x, (to - from) * sizeof *x);
    read_buf(be, out, b, all);
    assert_memory_equal(out, x, from * sizeof *x);
    assert_memory_equal(out + to, x + to, (all - to) * sizeof *x);
    be->ops->upload(be, b, from * sizeof *x, x + from, (to - from) * sizeof *x);
    read_buf(be, out, b, all);
    assert_memory_equal(out, x, all * sizeof *x);
    be->ops->buf_free(be, b);
    free(x);
    free(out);
}

/* ---- every check on every instruction set, as a test of its own ---------------------------------- */

static void all_sizes(rh_isa isa, check run)
{
    static const int32_t sizes[][2] = { { 1, 1 }, { 1, 640 }, { 3, 17 }, { 20, 64 }, { 70, 576 } };
    uint64_t seed = 21;
    rh_backend *be = open_or_skip(isa, 2, false);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) run(be, sizes[i][0], sizes[i][1], &seed);
    rh_backend_free(be);
}

#define CHECKS(DO)                                                                                 \
    DO(rmsnorm) DO(glu) DO(softcap) DO(actions) DO(rope) DO(moves) DO(halves) DO(embed) DO(projections) DO(nan) DO(forget) \
    DO(guards) DO(gates)
#define FUNCTION(name) static void name##_on(rh_isa isa, bool exact) { (void)exact, all_sizes(isa, check_##name); }
#define ROW(name) { #name, name##_on, false, false },
CHECKS(FUNCTION)

int main(void)
{
    static const check_on checks[] = { CHECKS(ROW) };
    return run_on_all("rows", checks, sizeof checks / sizeof *checks);
}

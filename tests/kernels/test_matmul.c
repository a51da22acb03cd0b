/* Products of every storage type on every instruction set, against the plain double-precision
 * product of the dequantised weights. Errors allowed, for one result sum_k w_k x_k:
 *   float sums      (cols/16 + 20) 2^-24 sum |w_k x_k|; in fast mode the terms are those of
 *                   codes and mins apart, at most (|code part| + |min part|) |x_k|
 *   16-bit x        half a step of each block: |w_k| max|x in block| / 65024
 *   bf16 weights    in fast mode x is two bf16: 2^-18 sum |w_k x_k|, and twice as many float sums
 * On the CUDA backend weights are exact and sums float, but for more than FEW rows of x: those are rounded to bf16 as the
 * weights are, 2^-8 |w x| each, unless exact is asked for.
 * And a row's result must not depend on the batch it is in: bit for bit (CUDA: among batches of FEW or fewer). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

typedef struct shape { int32_t n, rows[3], cols; bool order, bias, add; } shape;

static const shape shapes[] = {
    { 1, { 16 }, 256, false, false, false },    { 1, { 5 }, 256, true, true, false },
    { 2, { 33, 17 }, 512, true, false, true },  { 3, { 1 }, 256, false, true, true },
    { 17, { 47, 64, 15 }, 768, false, true, false }, { 64, { 31 }, 256, false, false, true },
    { 65, { 35 }, 512, false, false, false },   { 70, { 100, 3 }, 256, true, true, false },
    { 130, { 18 }, 1024, false, false, false }, { 1, { 700, 300 }, 256, false, false, false },
};

/* Σ|w x| with codes and mins apart: what float sums may err by, in units of 2^-24 a step. */
static double magnitude(rh_dtype t, const float *w, const float *x, int32_t cols)
{
    double sum = 0;
    for (int32_t b = 0; b < cols; b += 32) {
        double top = 0, part = 0, total = 0;
        int32_t n = cols - b < 32 ? cols - b : 32;
        for (int32_t k = b; k < b + n; k++) {
            top = fmax(top, fabs(w[k]));
            part += fabs((double)w[k] * x[k]);
            total += fabs(x[k]);
        }
        sum += t >= RH_Q4_0 ? part + 2 * top * total : part;
    }
    return sum;
}

static double step_error(const float *w, const float *x, int32_t cols)
{
    double sum = 0;
    for (int32_t b = 0; b < cols; b += 32) {
        double top = 0, weights = 0;
        for (int32_t k = b; k < b + 32; k++) {
            top = fmax(top, fabs(x[k]));
            weights += fabs(w[k]);
        }
        sum += weights * top / 65024;
    }
    return sum;
}

/* Whole numbers in place of NF4's values are off by at most 1.4e-4 of 1, and the largest code that a
 * block of random ones has is 1, or at least 0.72. */
static double nf4_error(const float *w, const float *x, int32_t cols)
{
    double sum = 0;
    for (int32_t b = 0; b < cols; b += 64) {
        double top = 0, total = 0;
        for (int32_t k = b; k < b + 64; k++) {
            top = fmax(top, fabs(w[k]));
            total += fabs(x[k]);
        }
        sum += 2e-4 * top * total;
    }
    return sum;
}

enum { FEW = 16 };

/* What sum w x may err by beyond the rounding of float sums that `slack` is. */
static double allowed(rh_dtype t, bool exact, int32_t n, const float *w, const float *x, int32_t cols, double slack)
{
    if (ON_CUDA) {
        double sizes = 0;
        if (exact || n <= FEW || t == RH_F32) return slack;
        for (int32_t k = 0; k < cols; k++) sizes += fabs((double)w[k] * x[k]);
        return slack + sizes * (t == RH_BF16 ? 1 : 2.01) / 256;
    }
    if (!exact && t >= RH_Q4_0) slack += step_error(w, x, cols);
    if (!exact && t == RH_NF4) slack += nf4_error(w, x, cols);
    if (!exact && t == RH_BF16) slack = 2 * slack + magnitude(t, w, x, cols) / 262144;
    return slack;
}

static void check_target(rh_dtype t, bool exact, const shape *s, const uint8_t *data,
                         const int32_t *order, int32_t rows, const float *x, const float *bias,
                         const float *before, const float *out)
{
    float *w = must_malloc((size_t)s->cols * sizeof *w);
    size_t bytes = rh_row_bytes(t, s->cols);
    for (int32_t r = 0; r < rows; r++) {
        rh_dequantize_row(w, data + (size_t)(order ? order[r] : r) * bytes, t, s->cols);
        for (int32_t i = 0; i < s->n; i++) {
            const float *xi = x + (size_t)i * (size_t)s->cols;
            double sum = 0, slack = magnitude(t, w, xi, s->cols) * (s->cols / 16 + 20) / 16777216;
            for (int32_t k = 0; k < s->cols; k++) sum += (double)w[k] * xi[k];
            if (bias) sum += bias[r];
            if (s->add) sum += before[(size_t)i * (size_t)rows + (size_t)r];
            slack = allowed(t, exact, s->n, w, xi, s->cols, slack);
            double got = out[(size_t)i * (size_t)rows + (size_t)r];
            if (!(fabs(got - sum) <= slack + 1e-6))
                fail_msg("%s n %d cols %d row %d token %d: %g, expected %g within %g",
                         rh_dtype_get(t)->name, s->n, s->cols, r, i, got, sum, slack);
        }
    }
    free(w);
}

/* The first and the last row of x alone give the same bits as in the batch. */
static void check_alone(rh_backend *be, const shape *s, const rh_weight *w, int32_t rows,
                        const float *x, const float *out)
{
    float *alone = must_malloc((size_t)rows * sizeof *alone);
    for (int32_t i = 0; i < s->n; i += s->n > 1 ? s->n - 1 : 1) {
        rh_buf *bx = buf_of(be, x + (size_t)i * (size_t)s->cols, (size_t)s->cols);
        rh_buf *bo = buf_of(be, NULL, (size_t)rows);
        rh_matmul_target target = { .w = w, .out = bo };
        assert_int_equal(be->ops->matmul(be, bx, 1, &target, 1, NULL), RH_OK);
        read_buf(be, alone, bo, (size_t)rows);
        assert_memory_equal(alone, out + (size_t)i * (size_t)rows, (size_t)rows * sizeof *alone);
        be->ops->buf_free(be, bx);
        be->ops->buf_free(be, bo);
    }
    free(alone);
}

static void check_shape(rh_backend *be, rh_dtype t, const shape *s, uint64_t *seed)
{
    size_t nx = (size_t)s->n * (size_t)s->cols;
    float *x = must_malloc(nx * sizeof *x), *before[3], *bias[3];
    uint8_t *data[3];
    int32_t *order[3], m = 0;
    rh_weight *w[3];
    rh_matmul_target targets[3];
    rh_buf *biases[3];
    random_floats(seed, x, nx);
    rh_buf *bx = buf_of(be, x, nx);
    for (; m < 3 && s->rows[m]; m++) {
        int32_t rows = s->rows[m];
        size_t n = (size_t)s->n * (size_t)rows;
        data[m] = random_rows(seed, t, rows, s->cols);
        order[m] = must_malloc((size_t)rows * sizeof(int32_t));
        for (int32_t r = 0; r < rows; r++) order[m][r] = rows - 1 - r;
        assert_int_equal(be->ops->weight_new(be, &w[m], data[m], t, rows, s->cols,
                                             s->order ? order[m] : NULL, NULL), RH_OK);
        before[m] = must_malloc(n * sizeof(float));
        random_floats(seed, before[m], n);
        bias[m] = must_malloc((size_t)rows * sizeof(float));
        random_floats(seed, bias[m], (size_t)rows);
        biases[m] = s->bias ? buf_of(be, bias[m], (size_t)rows) : NULL;
        targets[m] = (rh_matmul_target){ .w = w[m], .bias = biases[m], .add = s->add,
                                         .out = buf_of(be, before[m], n) };
    }
    assert_int_equal(be->ops->matmul(be, bx, s->n, targets, m, NULL), RH_OK);
    for (int32_t i = 0; i < m; i++) {
        size_t n = (size_t)s->n * (size_t)s->rows[i];
        float *out = must_malloc(n * sizeof *out);
        read_buf(be, out, targets[i].out, n);
        check_target(t, be->exact, s, data[i], s->order ? order[i] : NULL, s->rows[i], x,
                     s->bias ? bias[i] : NULL, before[i], out);
        if (!s->add && !s->bias && (!ON_CUDA || s->n <= FEW)) check_alone(be, s, w[i], s->rows[i], x, out);
        be->ops->weight_free(be, w[i]);
        be->ops->buf_free(be, targets[i].out);
        be->ops->buf_free(be, biases[i]);
        free(out);
        free(data[i]);
        free(order[i]);
        free(before[i]);
        free(bias[i]);
    }
    be->ops->buf_free(be, bx);
    free(x);
}

static void all_shapes(rh_isa isa, bool exact)
{
    uint64_t seed = 11;
    rh_backend *be = open_or_skip(isa, 2, exact);
    for (int t = 0; t < RH_N_DTYPES; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            check_shape(be, (rh_dtype)t, &shapes[i], &seed);
    /* Columns of any number, for the types without blocks. */
    for (int t = RH_F32; t <= RH_BF16; t++) {
        for (int32_t cols = 1; cols < 40; cols += 3) {
            shape s = { random_between(&seed, 1, 20), { random_between(&seed, 1, 40) }, cols, false,
                        false, false };
            check_shape(be, (rh_dtype)t, &s, &seed);
        }
    }
    rh_backend_free(be);
}

/* A row with a NaN or an infinity gives no number; its neighbours are not touched. Huge values
 * (1e30) and tiny ones stay within the bounds above. */
static void extremes(rh_isa isa, bool exact)
{
    enum { COLS = 256, ROWS = 20, N = 5 };
    uint64_t seed = 5;
    rh_backend *be = open_or_skip(isa, 1, exact);
    static const rh_dtype types[] = { RH_F32, RH_BF16, RH_Q4_1, RH_Q8_0, RH_Q6_K };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        shape s = { N, { ROWS }, COLS, false, false, false };
        uint8_t *data = random_rows(&seed, types[i], ROWS, COLS);
        float *x = must_malloc(N * COLS * sizeof *x), *out = must_malloc(N * ROWS * sizeof *out);
        random_floats(&seed, x, N * COLS);
        x[1 * COLS + 7] = NAN;
        x[2 * COLS + 77] = INFINITY;
        x[3 * COLS + 200] = 1e30f;
        for (int k = 0; k < COLS; k++) x[4 * COLS + k] *= 1e-38f;
        rh_weight *w = NULL;
        assert_int_equal(be->ops->weight_new(be, &w, data, types[i], ROWS, COLS, NULL, NULL), RH_OK);
        rh_buf *bx = buf_of(be, x, N * COLS), *bo = buf_of(be, NULL, N * ROWS);
        rh_matmul_target target = { .w = w, .out = bo };
        assert_int_equal(be->ops->matmul(be, bx, N, &target, 1, NULL), RH_OK);
        read_buf(be, out, bo, N * ROWS);
        for (int r = 0; r < ROWS; r++) {
            assert_true(isnan(out[1 * ROWS + r]));
            assert_true(!isfinite(out[2 * ROWS + r]));
            assert_true(isfinite(out[0 * ROWS + r]) && isfinite(out[3 * ROWS + r]));
        }
        memcpy(x + COLS, x, COLS * sizeof *x); /* rows 1, 2: now as row 0 */
        memcpy(x + 2 * COLS, x, COLS * sizeof *x);
        memcpy(out + ROWS, out, ROWS * sizeof *out);
        memcpy(out + 2 * ROWS, out, ROWS * sizeof *out);
        check_target(types[i], exact, &s, data, NULL, ROWS, x, NULL, NULL, out);
        be->ops->weight_free(be, w);
        be->ops->buf_free(be, bx);
        be->ops->buf_free(be, bo);
        free(data);
        free(x);
        free(out);
    }
    rh_backend_free(be);
}

/* A weight that is read often may be kept in another way: no bit of a result may show it. */
static void repeats(rh_isa isa, bool exact)
{
    enum { COLS = 256, READS = 40 };
    static const int32_t sizes[] = { 16, 33, 100 };
    rh_backend *be = open_or_skip(isa, 2, exact);
    uint64_t seed = 99;
    for (rh_dtype t = RH_Q4_0; t < RH_N_DTYPES; t++)
        for (int s = 0; s < 3; s++) {
            int32_t rows = sizes[s];
            float x[COLS], first[100] = { 0 }, again[100];
            uint8_t *data = random_rows(&seed, t, rows, COLS);
            rh_weight *w = NULL;
            random_floats(&seed, x, COLS);
            assert_int_equal(be->ops->weight_new(be, &w, data, t, rows, COLS, NULL, NULL), RH_OK);
            rh_buf *in = buf_of(be, x, COLS), *out = buf_of(be, first, (size_t)rows);
            const rh_matmul_target target = { .w = w, .out = out };
            for (int i = 0; i < READS; i++) {
                assert_int_equal(be->ops->matmul(be, in, 1, &target, 1, NULL), RH_OK);
                read_buf(be, i ? again : first, out, (size_t)rows);
                if (i) assert_memory_equal(again, first, (size_t)rows * sizeof *first);
            }
            be->ops->buf_free(be, in);
            be->ops->buf_free(be, out);
            be->ops->weight_free(be, w);
            free(data);
        }
    rh_backend_free(be);
}

int main(void)
{
    static const check_on checks[] = {
        { "shapes", all_shapes, false, false }, { "shapes", all_shapes, true, false },   { "extremes", extremes, false, false },
        { "extremes", extremes, true, true },  { "repeats", repeats, false, false },
    };
    return run_on_all("matmul", checks, sizeof checks / sizeof *checks);
}

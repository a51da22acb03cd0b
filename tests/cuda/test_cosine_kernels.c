/* w.v/|w| of every row against double, for every type and both ways a matrix can lie, as tests/kernels/test_cosines.c has it
 * for CPUs: float sums err by at most (cols + 8) 2^-24 of |w||v|, and the quotient by as much again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

typedef struct shape { int32_t rows, cols; } shape;

static const shape shapes[] = { { 1, 1 }, { 3, 7 }, { 4, 8 }, { 5, 17 }, { 130, 40 }, { 257, 300 }, { 132, 640 }, { 517, 9 } };

static void *arranged(const uint8_t *w, const shape *s, size_t size, bool turned)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols;
    uint8_t *data = must_malloc(rows * cols * size);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) memcpy(data + (turned ? c * rows + r : r * cols + c) * size, w + (r * cols + c) * size, size);
    void *out = device_of(data, rows * cols * size);
    free(data);
    return out;
}

static void check(uint64_t *seed, rh_dtype t, const shape *s, bool turned)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols, size = rh_row_bytes(t, 1);
    uint8_t *w = random_rows(seed, t, s->rows, s->cols);
    float *v = must_malloc(cols * 4), *out = must_malloc(rows * 4), *row = must_malloc(cols * 4);
    random_floats(seed, v, cols);
    memset(w, 0, cols * size); /* the first row */
    rh_cuda_cosines_args a = { .out = device_filled(0xA5, rows * 4), .data = arranged(w, s, size, turned),
                               .v = device_of(v, cols * 4), .type = t, .rows = s->rows, .cols = s->cols, .turned = turned };
    launched(rh_cuda_cosines, &a);
    host_of(out, a.out, rows * 4);
    assert_true(out[0] == 0);
    for (size_t r = 1; r < rows; r++) {
        double length;
        rh_dequantize_row(row, w + r * cols * size, t, s->cols);
        const double want = plain_cosine(&length, row, v, s->cols);
        NEAR(out[r], want, 2 * (s->cols + 8) * UNIT * length);
    }
    device_free(a.out);
    device_free((void *)(uintptr_t)a.data);
    device_free((void *)(uintptr_t)a.v);
    free(w), free(v), free(out), free(row);
}

static void all_shapes(void **state)
{
    (void)state;
    static const rh_dtype types[] = { RH_F32, RH_F16, RH_BF16 };
    uint64_t seed = 21;
    for (int i = 0; i < LENGTH(shapes); i++)
        for (int t = 0; t < LENGTH(types); t++)
            for (int turned = 0; turned < 2; turned++) check(&seed, types[t], &shapes[i], turned);
}

/* A row that is not finite is not taken for an ordinary one, and its neighbours are. */
static void not_finite(void **state)
{
    (void)state;
    enum { COLS = 20 };
    float w[4][COLS], v[COLS], out[4];
    for (int turned = 0; turned < 2; turned++) {
        for (int i = 0; i < 4 * COLS; i++) w[i / COLS][i % COLS] = 1;
        for (int c = 0; c < COLS; c++) v[c] = 1;
        if (turned) (&w[0][0])[19 * 4 + 1] = NAN, (&w[0][0])[3 * 4 + 2] = INFINITY;
        else w[1][19] = NAN, w[2][3] = INFINITY;
        rh_cuda_cosines_args a = { .out = device_filled(0xA5, sizeof out), .data = device_of(w, sizeof w), .v = device_of(v, sizeof v),
                                   .type = RH_F32, .rows = 4, .cols = COLS, .turned = turned };
        launched(rh_cuda_cosines, &a);
        host_of(out, a.out, sizeof out);
        assert_true(isnan(out[1]) && (isnan(out[2]) || out[2] == 0));
        NEAR(out[0], sqrt(COLS), 1e-5);
        NEAR(out[3], sqrt(COLS), 1e-5);
        device_free(a.out);
        device_free((void *)(uintptr_t)a.data);
        device_free((void *)(uintptr_t)a.v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_shapes), cmocka_unit_test(not_finite) };
    return cmocka_run_group_tests_name("cosines", tests, NULL, NULL);
}

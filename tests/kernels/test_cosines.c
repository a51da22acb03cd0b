/* w.v/|w| of every row against double, for every type, both ways a matrix can lie, ragged shapes, unaligned data and
 * every instruction set. Float sums err by at most (cols + 8) 2^-24 of |w||v|, and the quotient by as much again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

typedef struct shape { int32_t rows, cols; } shape;

static const shape shapes[] = { { 1, 1 }, { 3, 7 }, { 4, 8 }, { 5, 17 }, { 130, 33 }, { 257, 300 }, { 2049, 9 }, { 4101, 6 } };

static void check(rh_backend *be, uint64_t *state, rh_dtype t, const shape *s, bool turned)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols, size = t == RH_F32 ? 4 : 2;
    uint8_t *w = random_rows(state, t, s->rows, s->cols), *data = must_malloc(rows * cols * size + 1);
    float *v = must_malloc(cols * 4), *out = must_malloc(rows * 4), *row = must_malloc(cols * 4);
    random_floats(state, v, cols);
    memset(w, 0, cols * size); /* the first row */
    for (size_t r = 0; r < rows; r++) /* at an odd address */
        for (size_t c = 0; c < cols; c++)
            memcpy(data + 1 + (turned ? c * rows + r : r * cols + c) * size, w + (r * cols + c) * size, size);
    assert_int_equal(be->ops->cosines(be, out, data + 1, t, s->rows, s->cols, turned, v, NULL), RH_OK);
    assert_true(out[0] == 0);
    for (size_t r = 1; r < rows; r++) {
        double length;
        rh_dequantize_row(row, w + r * cols * size, t, s->cols);
        const double want = plain_cosine(&length, row, v, s->cols), allowed = 2 * (s->cols + 8) * 6e-8 * length;
        if (!(fabs(out[r] - want) <= allowed))
            fail_msg("%s, %d x %d%s, row %zu: %.9g, not %.9g", rh_dtype_get(t)->name, s->rows, s->cols, turned ? ", turned" : "", r, out[r], want);
    }
    free(w);
    free(data);
    free(v);
    free(out);
    free(row);
}

static void all_shapes(rh_isa isa, bool exact)
{
    static const rh_dtype types[] = { RH_F32, RH_F16, RH_BF16 };
    uint64_t state = 21;
    for (int threads = 1; threads < (ON_CUDA ? 2 : 3); threads++) {
        rh_backend *be = open_or_skip(isa, threads, exact);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (size_t t = 0; t < 3; t++)
                for (int turned = 0; turned < 2; turned++) check(be, &state, types[t], &shapes[i], turned);
        rh_backend_free(be);
    }
}

/* A row that is not finite is not taken for an ordinary one. */
static void not_finite(rh_isa isa, bool exact)
{
    rh_backend *be = open_or_skip(isa, 1, exact);
    float w[3][20], v[20], out[3];
    for (int c = 0; c < 20; c++) v[c] = w[0][c] = w[1][c] = w[2][c] = 1;
    w[1][19] = NAN;
    w[2][3] = INFINITY;
    assert_int_equal(be->ops->cosines(be, out, w, RH_F32, 3, 20, false, v, NULL), RH_OK);
    assert_true(fabsf(out[0] - sqrtf(20)) < 1e-5f && isnan(out[1]) && (isnan(out[2]) || out[2] == 0));
    rh_backend_free(be);
}

int main(void)
{
    static const check_on checks[] = { { "shapes", all_shapes, false, false }, { "not_finite", not_finite, false, false } };
    return run_on_all("cosines", checks, sizeof checks / sizeof *checks);
}

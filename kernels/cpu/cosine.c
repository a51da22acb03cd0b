/* Each row's cosine with one vector, times that vector's length: the matrix is read once, where it lies, and each
 * element serves w.v and w.w. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    ROWS = 128,     /* an item: a run of memory long enough that fetching ahead of it is not in vain */
    COLUMNS = 2048, /* an item of a turned matrix: its sums stay in L1 */
    AT_ONCE = 4
};

typedef struct job {
    const rh_cpu_kernels *k;
    float *out;
    const uint8_t *data;
    rh_dtype type;
    size_t size;
    int32_t rows, cols;
    const float *v; /* zeros behind it */
} job;

static float quotient(float dot, float square) { return square == 0 ? 0 : dot / sqrtf(square); }

static void rows_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    const int32_t end = item * ROWS + ROWS < j->rows ? item * ROWS + ROWS : j->rows;
    const size_t row_bytes = (size_t)j->cols * j->size;
    (void)thread;
    for (int32_t r = item * ROWS; r < end; r += AT_ONCE) {
        const uint8_t *w[AT_ONCE];
        float dot[AT_ONCE], square[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++) w[i] = j->data + (size_t)(r + i < end ? r + i : r) * row_bytes;
        j->k->cosine_rows(dot, square, w, j->type, j->v, j->cols, r + 2 * AT_ONCE <= j->rows ? AT_ONCE * row_bytes : 0);
        for (int i = 0; i < AT_ONCE && r + i < end; i++) j->out[r + i] = quotient(dot[i], square[i]);
    }
}

static void columns_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    const int32_t first = item * COLUMNS, n = j->rows - first < COLUMNS ? j->rows - first : COLUMNS;
    const size_t row_bytes = (size_t)j->rows * j->size;
    float dot[COLUMNS] = { 0 }, square[COLUMNS] = { 0 };
    (void)thread;
    for (int32_t c = 0; c < j->cols; c += AT_ONCE) {
        const int32_t many = j->cols - c < AT_ONCE ? j->cols - c : AT_ONCE;
        const uint8_t *w[AT_ONCE], *at = j->data + (size_t)c * row_bytes + (size_t)first * j->size;
        static const uint8_t zeros[COLUMNS * 4]; /* in place of the stored rows that are missing of four */
        for (int i = 0; i < AT_ONCE; i++) w[i] = i < many ? at + (size_t)i * row_bytes : zeros;
        j->k->cosine_columns(dot, square, w, j->type, j->v + c, n, c + 2 * AT_ONCE <= j->cols ? AT_ONCE * row_bytes : 0);
    }
    for (int32_t i = 0; i < n; i++) j->out[first + i] = quotient(dot[i], square[i]);
}

rh_status rh_cpu_cosines(rh_backend *be, float *out, const void *data, rh_dtype t, int32_t rows, int32_t cols, bool turned,
                         const float *v, rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    const size_t wide = ((size_t)cols + 15) / 16 * 16;
    float *padded = rh_cpu_scratch(c, wide * sizeof *padded);
    assert(t == RH_F32 || t == RH_F16 || t == RH_BF16);
    if (!padded) return rh_fail_nomem(err);
    memset(padded, 0, wide * sizeof *padded);
    memcpy(padded, v, (size_t)cols * sizeof *padded);
    job j = { c->k, out, data, t, rh_row_bytes(t, 1), rows, cols, padded };
    if (turned) rh_cpu_run(c, (rows + COLUMNS - 1) / COLUMNS, columns_item, &j);
    else rh_cpu_run(c, (rows + ROWS - 1) / ROWS, rows_item, &j);
    return RH_OK;
}

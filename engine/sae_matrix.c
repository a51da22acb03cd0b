#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

static size_t width(const rh_sae_matrix *m) { return m->dtype == RH_F32 ? 4 : 2; }

void rh_sae_matrix_row(float *out, const rh_sae_matrix *m, int32_t r)
{
    const uint8_t *p = m->data;
    const size_t w = width(m);
    if (!m->turned) {
        rh_dequantize_row(out, p + (size_t)r * (size_t)m->cols * w, m->dtype, m->cols);
        return;
    }
    for (int32_t c = 0; c < m->cols; c++)
        rh_dequantize_row(out + c, p + ((size_t)c * (size_t)m->rows + (size_t)r) * w, m->dtype, 1);
}

void rh_sae_matrix_columns(float *out, const rh_sae_matrix *m, int32_t first, int32_t n)
{
    const uint8_t *p = m->data;
    const size_t w = width(m), rows = (size_t)m->rows, cols = (size_t)m->cols;
    for (int32_t j = 0; m->turned && j < n; j++)
        rh_dequantize_row(out + (size_t)j * rows, p + (size_t)(first + j) * rows * w, m->dtype, m->rows);
    for (size_t r = 0; !m->turned && r < rows; r++)
        for (int32_t j = 0; j < n; j++)
            rh_dequantize_row(out + (size_t)j * rows + r, p + (r * cols + (size_t)(first + j)) * w, m->dtype, 1);
}

/* All exponent bits set: infinite or not a number. n elements of 2 or 4 bytes, maybe unaligned. */
static bool finite_items(const uint8_t *p, size_t n, rh_dtype t)
{
    const uint16_t mask = t == RH_F16 ? 0x7c00 : 0x7f80;
    uint32_t bad = 0;
    for (size_t i = 0; t == RH_F32 && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, 4);
        bad |= (bits & 0x7f800000) == 0x7f800000;
    }
    for (size_t i = 0; t != RH_F32 && i < n; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, 2);
        bad |= (bits & mask) == mask;
    }
    return !bad;
}

bool rh_sae_finite(const float *x, size_t n) { return finite_items((const uint8_t *)x, n, RH_F32); }

enum { TILE = 32 }; /* rows and columns turned together: two tiles fit L1 */

/* out [rows, cols] <- the turned p; w bytes an element. Loading uses every processor there is. */
static void turn(uint8_t *out, const uint8_t *p, size_t rows, size_t cols, size_t w)
{
#pragma omp parallel for schedule(static)
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t c0 = 0; c0 < cols; c0 += TILE) {
            const size_t r1 = r0 + TILE < rows ? r0 + TILE : rows, c1 = c0 + TILE < cols ? c0 + TILE : cols;
            for (size_t r = r0; r < r1; r++)
                for (size_t c = c0; c < c1; c++) {
                    if (w == 4) memcpy(out + 4 * (r * cols + c), p + 4 * (c * rows + r), 4);
                    else memcpy(out + 2 * (r * cols + c), p + 2 * (c * rows + r), 2);
                }
        }
}

rh_status rh_sae_matrix_lay_out(rh_sae_matrix *m, const char *path, rh_error *err)
{
    const size_t rows = (size_t)m->rows, cols = (size_t)m->cols;
    if (!finite_items(m->data, rows * cols, m->dtype))
        return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has a value that is not finite", path, m->name);
    if (!m->turned) return RH_OK;
    uint8_t *own = rh_alloc_pages(rows * cols * width(m));
    if (!own) return rh_fail_nomem(err);
    turn(own, m->data, rows, cols, width(m));
    if (!m->own) rh_map_release(m->data, rows * cols * width(m));
    free(m->own);
    m->own = own;
    m->data = own;
    m->turned = false;
    return RH_OK;
}

void rh_sae_matrix_free(rh_sae_matrix *m)
{
    free(m->own);
    *m = (rh_sae_matrix){ 0 };
}

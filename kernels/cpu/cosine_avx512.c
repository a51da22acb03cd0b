/* Nearest rows, AVX-512: four rows at a time, read once. Twins in kernel_generic.c. */
#include "kernels/cpu/avx512.h"
#include "kernels/cpu/cpu.h"

INLINE void fetch(const uint8_t *at, size_t ahead)
{
    if (ahead) _mm_prefetch((const char *)((uintptr_t)at + ahead), _MM_HINT_T0);
}

INLINE __mmask16 left(int32_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

INLINE void rows_of(RH_COSINE_ROWS_PARAMS)
{
    const size_t size = type == RH_F32 ? 4 : 2;
    __m512 d[4], s[4];
    for (int r = 0; r < 4; r++) d[r] = s[r] = _mm512_setzero_ps();
    for (int32_t k = 0; k < cols; k += 16) {
        const __m512 x = _mm512_loadu_ps(v + k);
        for (int r = 0; r < 4; r++) {
            const uint8_t *at = w[r] + (size_t)k * size;
            fetch(at, ahead);
            const __m512 row = floats16(at, type, left(cols - k));
            d[r] = _mm512_fmadd_ps(row, x, d[r]);
            s[r] = _mm512_fmadd_ps(row, row, s[r]);
        }
    }
    for (int r = 0; r < 4; r++) {
        dot[r] = _mm512_reduce_add_ps(d[r]);
        square[r] = _mm512_reduce_add_ps(s[r]);
    }
}

INLINE void columns_of(RH_COSINE_COLUMNS_PARAMS)
{
    const size_t size = type == RH_F32 ? 4 : 2;
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = left(n - i);
        __m512 d = _mm512_maskz_loadu_ps(m, dot + i), s = _mm512_maskz_loadu_ps(m, square + i);
        for (int c = 0; c < 4; c++) {
            const uint8_t *at = w[c] + (size_t)i * size;
            fetch(at, ahead);
            const __m512 column = floats16(at, type, m);
            d = _mm512_fmadd_ps(column, _mm512_set1_ps(x[c]), d);
            s = _mm512_fmadd_ps(column, column, s);
        }
        _mm512_mask_storeu_ps(dot + i, m, d);
        _mm512_mask_storeu_ps(square + i, m, s);
    }
}

void rh_cosine_rows_avx512(RH_COSINE_ROWS_PARAMS)
{
    switch (type) {
    case RH_F16: rows_of(dot, square, w, RH_F16, v, cols, ahead); break;
    case RH_BF16: rows_of(dot, square, w, RH_BF16, v, cols, ahead); break;
    default: rows_of(dot, square, w, RH_F32, v, cols, ahead);
    }
}

void rh_cosine_columns_avx512(RH_COSINE_COLUMNS_PARAMS)
{
    switch (type) {
    case RH_F16: columns_of(dot, square, w, RH_F16, x, n, ahead); break;
    case RH_BF16: columns_of(dot, square, w, RH_BF16, x, n, ahead); break;
    default: columns_of(dot, square, w, RH_F32, x, n, ahead);
    }
}

/* Nearest rows, AVX2: four rows at a time, read once. Twins in kernel_generic.c. */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/cpu.h"

INLINE void fetch(const uint8_t *at, size_t ahead)
{
    if (ahead && (uintptr_t)at % 64 < 32) _mm_prefetch((const char *)((uintptr_t)at + ahead), _MM_HINT_T0);
}

/* Columns k .. k + 7; `left` of them, where that is not 0. */
INLINE void rows_step(__m256 d[4], __m256 s[4], const uint8_t *const w[4], rh_dtype type, const float *v, int32_t k, int left,
                      size_t ahead)
{
    const __m256 x = _mm256_loadu_ps(v + k);
    UNROLLED
    for (int r = 0; r < 4; r++) {
        const uint8_t *at = w[r] + (size_t)k * (type == RH_F32 ? 4 : 2);
        fetch(at, ahead);
        const __m256 row = left ? floats_left(at, type, left) : floats8(at, type);
        d[r] = _mm256_fmadd_ps(row, x, d[r]);
        s[r] = _mm256_fmadd_ps(row, row, s[r]);
    }
}

INLINE void rows_of(RH_COSINE_ROWS_PARAMS)
{
    const uint8_t *const rows[4] = { w[0], w[1], w[2], w[3] };
    __m256 d[4], s[4];
    int32_t k = 0;
    UNROLLED
    for (int r = 0; r < 4; r++) d[r] = s[r] = _mm256_setzero_ps();
    for (; cols - k >= 8; k += 8) rows_step(d, s, rows, type, v, k, 0, ahead);
    if (k < cols) rows_step(d, s, rows, type, v, k, cols - k, 0);
    UNROLLED
    for (int r = 0; r < 4; r++) {
        dot[r] = sum8(d[r]);
        square[r] = sum8(s[r]);
    }
}

INLINE void columns_of(RH_COSINE_COLUMNS_PARAMS)
{
    const size_t size = type == RH_F32 ? 4 : 2;
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 d = _mm256_loadu_ps(dot + i), s = _mm256_loadu_ps(square + i);
        for (int c = 0; c < 4; c++) {
            const uint8_t *at = w[c] + (size_t)i * size;
            fetch(at, ahead);
            const __m256 column = floats8(at, type);
            d = _mm256_fmadd_ps(column, _mm256_set1_ps(x[c]), d);
            s = _mm256_fmadd_ps(column, column, s);
        }
        _mm256_storeu_ps(dot + i, d);
        _mm256_storeu_ps(square + i, s);
    }
    if (i == n) return;
    const uint8_t *rest[4];
    for (int c = 0; c < 4; c++) rest[c] = w[c] + (size_t)i * size;
    rh_cpu_generic.cosine_columns(dot + i, square + i, rest, type, x, n - i, 0);
}

void rh_cosine_rows_avx2(RH_COSINE_ROWS_PARAMS)
{
    switch (type) {
    case RH_F16: rows_of(dot, square, w, RH_F16, v, cols, ahead); break;
    case RH_BF16: rows_of(dot, square, w, RH_BF16, v, cols, ahead); break;
    default: rows_of(dot, square, w, RH_F32, v, cols, ahead);
    }
}

void rh_cosine_columns_avx2(RH_COSINE_COLUMNS_PARAMS)
{
    switch (type) {
    case RH_F16: columns_of(dot, square, w, RH_F16, x, n, ahead); break;
    case RH_BF16: columns_of(dot, square, w, RH_BF16, x, n, ahead); break;
    default: columns_of(dot, square, w, RH_F32, x, n, ahead);
    }
}

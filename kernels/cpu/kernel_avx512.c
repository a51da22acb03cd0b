/* Inner loops for AVX-512; twins of the same names in kernel_generic.c. */
#include <immintrin.h>

#include "kernels/cpu/elementwise.inc"
#include "kernels/dequantize.inc"

#define INLINE static inline __attribute__((always_inline))

/* nw rows by nx tokens, each product with its own 16 running sums over columns, so that the
 * order of a sum does not depend on the shape of the tile. */
INLINE void dots_tile(float *out, size_t ldo, const float *w, size_t ldw, int nw, const float *x,
                      size_t ldx, int nx, int32_t cols)
{
    __m512 acc[6][4];
    for (int t = 0; t < nx; t++)
        for (int r = 0; r < nw; r++) acc[t][r] = _mm512_setzero_ps();
    for (int32_t k = 0; k < cols; k += 16) {
        __m512 row[4];
        for (int r = 0; r < nw; r++) row[r] = _mm512_loadu_ps(w + (size_t)r * ldw + k);
        for (int t = 0; t < nx; t++) {
            __m512 xt = _mm512_loadu_ps(x + (size_t)t * ldx + k);
            for (int r = 0; r < nw; r++) acc[t][r] = _mm512_fmadd_ps(xt, row[r], acc[t][r]);
        }
    }
    for (int t = 0; t < nx; t++)
        for (int r = 0; r < nw; r++) out[(size_t)t * ldo + r] = _mm512_reduce_add_ps(acc[t][r]);
}

static void dots(float *out, size_t ldo, const float *w, size_t ldw, int nw, const float *x,
                 size_t ldx, int nx, int32_t cols)
{
    for (int t = 0; t < nx; t += 6) {
        const float *xt = x + (size_t)t * ldx;
        float *o = out + (size_t)t * ldo;
        int left = nx - t;
        int r = 0;
        for (; r + 4 <= nw; r += 4) {
            const float *wr = w + (size_t)r * ldw;
            if (left >= 6) dots_tile(o + r, ldo, wr, ldw, 4, xt, ldx, 6, cols);
            else
                for (int i = 0; i < left; i++)
                    dots_tile(o + (size_t)i * ldo + r, ldo, wr, ldw, 4, xt + (size_t)i * ldx, ldx, 1, cols);
        }
        for (; r < nw; r++)
            for (int i = 0; i < left && i < 6; i++)
                dots_tile(o + (size_t)i * ldo + r, ldo, w + (size_t)r * ldw, ldw, 1,
                          xt + (size_t)i * ldx, ldx, 1, cols);
    }
}

/* c [m, 16 nv] (+)= a [m, k] b [k, 16 nv] with m <= 6, nv <= 4 constant: sums in registers */
INLINE void tile_of(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                    size_t ldb, int m, int k, int nv)
{
    __m512 acc[6][4];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < nv; v++)
            acc[i][v] = add ? _mm512_loadu_ps(c + (size_t)i * ldc + 16 * v) : _mm512_setzero_ps();
    for (int j = 0; j < k; j++) {
        __m512 row[4];
        for (int v = 0; v < nv; v++) row[v] = _mm512_loadu_ps(b + (size_t)j * ldb + 16 * v);
        for (int i = 0; i < m; i++) {
            __m512 ai = _mm512_set1_ps(a[(size_t)i * lda + j]);
            for (int v = 0; v < nv; v++) acc[i][v] = _mm512_fmadd_ps(ai, row[v], acc[i][v]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < nv; v++) _mm512_storeu_ps(c + (size_t)i * ldc + 16 * v, acc[i][v]);
}

INLINE void tile_rows(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                      size_t ldb, int m, int k, int nv)
{
    while (m > 0) {
        int step = m >= 6 ? 6 : m == 5 ? 3 : m;
        switch (step) {
        case 6: tile_of(c, ldc, add, a, lda, b, ldb, 6, k, nv); break;
        case 4: tile_of(c, ldc, add, a, lda, b, ldb, 4, k, nv); break;
        case 3: tile_of(c, ldc, add, a, lda, b, ldb, 3, k, nv); break;
        case 2: tile_of(c, ldc, add, a, lda, b, ldb, 2, k, nv); break;
        default: tile_of(c, ldc, add, a, lda, b, ldb, 1, k, nv); break;
        }
        m -= step;
        c += (size_t)step * ldc;
        a += (size_t)step * lda;
    }
}

static void tile(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                 size_t ldb, int m, int k, int nv)
{
    for (; nv >= 4; nv -= 4, c += 64, b += 64) tile_rows(c, ldc, add, a, lda, b, ldb, m, k, 4);
    switch (nv) {
    case 3: tile_rows(c, ldc, add, a, lda, b, ldb, m, k, 3); break;
    case 2: tile_rows(c, ldc, add, a, lda, b, ldb, m, k, 2); break;
    case 1: tile_rows(c, ldc, add, a, lda, b, ldb, m, k, 1); break;
    default: break;
    }
}

/* 16 x 16 floats: pairs, fours, then 128-bit quarters change places. */
static void transpose16(float *out, size_t ldo, const float *const *rows, size_t col)
{
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(rows[i] + col);
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        __m512d p0 = _mm512_castps_pd(b[i]), p1 = _mm512_castps_pd(b[i + 1]);
        __m512d p2 = _mm512_castps_pd(b[i + 2]), p3 = _mm512_castps_pd(b[i + 3]);
        a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p0, p2));
        a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p0, p2));
        a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(p1, p3));
        a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(p1, p3));
    }
    for (int i = 0; i < 4; i++) {
        __m512 lo = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), hi = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd);
        __m512 lo2 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88), hi2 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xdd);
        _mm512_storeu_ps(out + (size_t)i * ldo, _mm512_shuffle_f32x4(lo, lo2, 0x88));
        _mm512_storeu_ps(out + (size_t)(i + 8) * ldo, _mm512_shuffle_f32x4(lo, lo2, 0xdd));
        _mm512_storeu_ps(out + (size_t)(i + 4) * ldo, _mm512_shuffle_f32x4(hi, hi2, 0x88));
        _mm512_storeu_ps(out + (size_t)(i + 12) * ldo, _mm512_shuffle_f32x4(hi, hi2, 0xdd));
    }
}

static void transpose(float *out, size_t ldo, const float *const *rows, int32_t n, int32_t d)
{
    for (int32_t i = 0; i < n; i += 16) {
        int32_t c = 0;
        for (; c + 16 <= d; c += 16)
            transpose16(out + (size_t)c * ldo + i, ldo, rows + i, (size_t)c);
        for (; c < d; c++)
            for (int32_t j = i; j < i + 16; j++) out[(size_t)c * ldo + j] = rows[j][c];
    }
}

const rh_cpu_kernels rh_cpu_avx512 = {
    .name = "cpu/avx512", .quantize = rh_quantize_avx512, .panels = rh_panels_avx512,
    .pack = rh_pack_avx512, .dequantize = dequantize_row, .dots = dots, .tile = tile, .transpose = transpose, .dot = dot,
    .axpy = axpy, .scale = scale, .rmsnorm = rmsnorm, .glu = glu, .softcap = softcap,
    .max = max_of, .exp_sum = exp_sum, .rotate = rotate,
};

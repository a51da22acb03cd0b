/* Inner loops for AVX2 with FMA; twins of the same names in kernel_generic.c. */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/soften.inc"
#include "kernels/dequantize.inc"

/* Columns k .. k + 7 of the tile below; `left` of them, where that is not 0. */
INLINE void dots_step(__m256 acc[2][4], const uint8_t *const *w, rh_dtype type, int nw, const float *x, size_t ldx, int nx,
                      int32_t k, int left, size_t ahead)
{
    const size_t byte = (size_t)k * (type == RH_F32 ? 4 : 2);
    __m256 row[4];
    UNROLLED
    for (int r = 0; r < nw; r++) {
        if (ahead && byte % 64 == 0) _mm_prefetch((const char *)((uintptr_t)(w[r] + byte) + ahead), _MM_HINT_T0);
        row[r] = left ? floats_left(w[r] + byte, type, left) : floats8(w[r] + byte, type);
    }
    UNROLLED
    for (int t = 0; t < nx; t++) {
        const __m256 xt = _mm256_loadu_ps(x + (size_t)t * ldx + k);
        UNROLLED
        for (int r = 0; r < nw; r++) acc[t][r] = _mm256_fmadd_ps(xt, row[r], acc[t][r]);
    }
}

/* nw rows by nx tokens (at most 4 by 2), each product with its own 8 running sums, so that the
 * order of a sum does not depend on the shape of the tile. The bytes `ahead` of each row are fetched
 * meanwhile; 0: none. */
INLINE void dots_tile(float *out, size_t ldo, const uint8_t *const *w, rh_dtype type, int nw, const float *x,
                      size_t ldx, int nx, int32_t cols, size_t ahead)
{
    __m256 acc[2][4];
    int32_t k = 0;
    UNROLLED
    for (int t = 0; t < nx; t++) {
        UNROLLED
        for (int r = 0; r < nw; r++) acc[t][r] = _mm256_setzero_ps();
    }
    for (; cols - k >= 8; k += 8) dots_step(acc, w, type, nw, x, ldx, nx, k, 0, ahead);
    if (k < cols) dots_step(acc, w, type, nw, x, ldx, nx, k, cols - k, 0);
    UNROLLED
    for (int t = 0; t < nx; t++) {
        UNROLLED
        for (int r = 0; r < nw; r++) out[(size_t)t * ldo + r] = sum8(acc[t][r]);
    }
}

/* Rows that lie one after the other stream from memory, each from pages of its own: what runs ahead is the
 * same place in the next four. */
INLINE void dots_of(RH_DOTS_PARAMS)
{
    const size_t ahead = nw > 1 && w[1] > w[0] ? 4 * (size_t)(w[1] - w[0]) : 0;
    for (int t = 0; t < nx; t += 2, x += 2 * ldx, out += 2 * ldo) {
        bool two = t + 1 < nx;
        int r = 0;
        for (; r + 4 <= nw; r += 4) {
            if (two) dots_tile(out + r, ldo, w + r, type, 4, x, ldx, 2, cols, t ? 0 : ahead);
            else dots_tile(out + r, ldo, w + r, type, 4, x, ldx, 1, cols, t ? 0 : ahead);
        }
        for (; r < nw; r++) {
            if (two) dots_tile(out + r, ldo, w + r, type, 1, x, ldx, 2, cols, 0);
            else dots_tile(out + r, ldo, w + r, type, 1, x, ldx, 1, cols, 0);
        }
    }
}

static void dots(RH_DOTS_PARAMS)
{
    switch (type) {
    case RH_F16: dots_of(out, ldo, w, RH_F16, nw, x, ldx, nx, cols); break;
    case RH_BF16: dots_of(out, ldo, w, RH_BF16, nw, x, ldx, nx, cols); break;
    default: dots_of(out, ldo, w, RH_F32, nw, x, ldx, nx, cols);
    }
}

INLINE void dots_at_step(__m256 acc[6], const uint8_t *const *w, rh_dtype type, const float *const *x, int n, bool same,
                         int32_t k, int left)
{
    const size_t byte = (size_t)k * (type == RH_F32 ? 4 : 2);
    __m256 row = _mm256_setzero_ps();
    UNROLLED
    for (int i = 0; i < n; i++) {
        if (i == 0 || !same) row = left ? floats_left(w[i] + byte, type, left) : floats8(w[i] + byte, type);
        acc[i] = _mm256_fmadd_ps(_mm256_loadu_ps(x[i] + k), row, acc[i]);
    }
}

/* n <= 6 of them side by side, so that none waits for itself; each sum as in dots_tile. same: all of row w[0]. */
INLINE void dots_at_tile(RH_DOTS_AT_PARAMS, bool same)
{
    __m256 acc[6];
    int32_t k = 0;
    UNROLLED
    for (int i = 0; i < n; i++) acc[i] = _mm256_setzero_ps();
    for (; cols - k >= 8; k += 8) dots_at_step(acc, w, type, x, n, same, k, 0);
    if (k < cols) dots_at_step(acc, w, type, x, n, same, k, cols - k);
    UNROLLED
    for (int i = 0; i < n; i++) out[i] = sum8(acc[i]);
}

/* How many (at most 6) of n products from the first on are of one row. */
INLINE int run_of(const uint8_t *const *w, int n)
{
    int m = 1;
    while (m < n && m < 6 && w[m] == w[0]) m++;
    return m;
}

INLINE void dots_at_of(RH_DOTS_AT_PARAMS)
{
    for (int i = 0, m; i < n; i += m, out += m, w += m, x += m) {
        switch (m = run_of(w, n - i)) {
        case 6: dots_at_tile(out, w, type, x, 6, cols, true); break;
        case 5: dots_at_tile(out, w, type, x, 5, cols, true); break;
        case 4: dots_at_tile(out, w, type, x, 4, cols, true); break;
        case 3: dots_at_tile(out, w, type, x, 3, cols, true); break;
        case 2: dots_at_tile(out, w, type, x, 2, cols, true); break;
        default: /* rows change at once */
            m = n - i < 6 ? 1 : 6;
            if (m == 6) dots_at_tile(out, w, type, x, 6, cols, false);
            else dots_at_tile(out, w, type, x, 1, cols, false);
        }
    }
}

static void dots_at(RH_DOTS_AT_PARAMS)
{
    switch (type) {
    case RH_F16: dots_at_of(out, w, RH_F16, x, n, cols); break;
    case RH_BF16: dots_at_of(out, w, RH_BF16, x, n, cols); break;
    default: dots_at_of(out, w, RH_F32, x, n, cols);
    }
}

/* c [m, 8 nv] (+)= a [m, k] b [k, 8 nv] with m <= 6, nv <= 2 constant: sums in registers */
INLINE void tile_of(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                    size_t ldb, int m, int k)
{
    __m256 acc[6][2];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++)
            acc[i][v] = add ? _mm256_loadu_ps(c + (size_t)i * ldc + 8 * v) : _mm256_setzero_ps();
    for (int j = 0; j < k; j++) {
        __m256 b0 = _mm256_loadu_ps(b + (size_t)j * ldb), b1 = _mm256_loadu_ps(b + (size_t)j * ldb + 8);
        for (int i = 0; i < m; i++) {
            __m256 ai = _mm256_broadcast_ss(a + (size_t)i * lda + j);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++) _mm256_storeu_ps(c + (size_t)i * ldc + 8 * v, acc[i][v]);
}

static void tile(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                 size_t ldb, int m, int k, int nv)
{
    for (int v = 0; v < nv; v++, c += 16, b += 16) {
        int i = 0;
        for (; i + 6 <= m; i += 6)
            tile_of(c + (size_t)i * ldc, ldc, add, a + (size_t)i * lda, lda, b, ldb, 6, k);
        for (; i + 3 <= m; i += 3)
            tile_of(c + (size_t)i * ldc, ldc, add, a + (size_t)i * lda, lda, b, ldb, 3, k);
        for (; i < m; i++)
            tile_of(c + (size_t)i * ldc, ldc, add, a + (size_t)i * lda, lda, b, ldb, 1, k);
    }
}

/* min and max give their second operand where one is NaN. */
void rh_narrow_avx2(uint16_t *out, const float *x, int64_t n)
{
    const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_max_ps(least, _mm256_min_ps(most, _mm256_loadu_ps(x + i)));
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    if (i < n) rh_cpu_generic.narrow(out + i, x + i, n - i);
}

void rh_widen_avx2(float *out, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
    if (i < n) rh_cpu_generic.widen(out + i, x + i, n - i);
}

/* 8 x 8 floats: pairs, fours, then the 128-bit halves change places. */
static void transpose8(float *out, size_t ldo, const float *const *rows, size_t col)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(rows[i] + col);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * ldo, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * ldo, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

static void transpose(float *out, size_t ldo, const float *const *rows, int32_t n, int32_t d)
{
    for (int32_t i = 0; i < n; i += 8) {
        int32_t c = 0;
        for (; c + 8 <= d; c += 8) transpose8(out + (size_t)c * ldo + i, ldo, rows + i, (size_t)c);
        for (; c < d; c++)
            for (int32_t j = i; j < i + 8; j++) out[(size_t)c * ldo + j] = rows[j][c];
    }
}

const rh_cpu_kernels rh_cpu_avx2 = {
    .name = "cpu/avx2", .quantize = rh_quantize_avx2, .panels = rh_panels_avx2,
    .pack = rh_pack_avx2, .dequantize = dequantize_row, .dots = dots,
    .dots_at = dots_at, .cosine_rows = rh_cosine_rows_avx2,
    .cosine_columns = rh_cosine_columns_avx2, .screen = rh_screen_avx2, .tile = tile,
    .narrow = rh_narrow_avx2, .widen = rh_widen_avx2, .transpose = transpose, .dot = dot,
    .axpy = axpy, .scale = scale, .rmsnorm = rmsnorm, .glu = glu, .softcap = softcap,
    .soften = soften, .rotate = rotate,
};

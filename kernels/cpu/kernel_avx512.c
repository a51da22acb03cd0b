/* Inner loops for AVX-512; twins of the same names in kernel_generic.c. */
#include "kernels/cpu/avx512.h"
#include "kernels/cpu/elementwise.inc"
#include "kernels/dequantize.inc"

/* The sums of four vectors: pairs within quarters, then the quarters. */
INLINE __m128 sums4(const __m512 a[4])
{
    __m512 s = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    __m512 t = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
    __m512d lo = _mm512_unpacklo_pd(_mm512_castps_pd(s), _mm512_castps_pd(t));
    __m512d hi = _mm512_unpackhi_pd(_mm512_castps_pd(s), _mm512_castps_pd(t));
    __m512 q = _mm512_add_ps(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi));
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(q), _mm512_extractf32x8_ps(q, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

/* 4 rows by nx tokens, of which the first nw rows are kept. Each product has its own 16 running
 * sums over columns, so that the order of a sum does not depend on the shape of the tile. */
INLINE void dots_tile(float *out, size_t ldo, const uint8_t *const w[4], rh_dtype type, int nw, const float *x,
                      size_t ldx, int nx, int32_t cols)
{
    const size_t size = type == RH_F32 ? 4 : 2;
    __m512 acc[6][4];
    for (int t = 0; t < nx; t++)
        for (int r = 0; r < 4; r++) acc[t][r] = _mm512_setzero_ps();
    for (int32_t k = 0; k < cols; k += 16) {
        __mmask16 m = cols - k >= 16 ? 0xffff : (__mmask16)((1u << (cols - k)) - 1);
        __m512 row[4];
        for (int r = 0; r < 4; r++) row[r] = floats16(w[r] + (size_t)k * size, type, m);
        for (int t = 0; t < nx; t++) {
            __m512 xt = _mm512_loadu_ps(x + (size_t)t * ldx + k);
            for (int r = 0; r < 4; r++) acc[t][r] = _mm512_fmadd_ps(xt, row[r], acc[t][r]);
        }
    }
    for (int t = 0; t < nx; t++)
        _mm_mask_storeu_ps(out + (size_t)t * ldo, (__mmask8)((1 << nw) - 1), sums4(acc[t]));
}

/* The rows from r on; what is missing of four is row r again. Returns how many there are. */
INLINE int four_rows(const uint8_t *rows[4], const uint8_t *const *w, int r, int nw)
{
    int n = nw - r < 4 ? nw - r : 4;
    for (int i = 0; i < 4; i++) rows[i] = w[i < n ? r + i : r];
    return n;
}

INLINE void dots_of(RH_DOTS_PARAMS)
{
    for (int t = 0; t < nx; t += 6, x += 6 * ldx, out += 6 * ldo) {
        for (int r = 0; r < nw; r += 4) {
            const uint8_t *rows[4];
            int n = four_rows(rows, w, r, nw);
            switch (nx - t) {
            case 1: dots_tile(out + r, ldo, rows, type, n, x, ldx, 1, cols); break;
            case 2: dots_tile(out + r, ldo, rows, type, n, x, ldx, 2, cols); break;
            case 3: dots_tile(out + r, ldo, rows, type, n, x, ldx, 3, cols); break;
            case 4: dots_tile(out + r, ldo, rows, type, n, x, ldx, 4, cols); break;
            case 5: dots_tile(out + r, ldo, rows, type, n, x, ldx, 5, cols); break;
            default: dots_tile(out + r, ldo, rows, type, n, x, ldx, 6, cols); break;
            }
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

/* Four of them side by side: sums4 adds each as it adds the others. */
INLINE void dots_at_of(RH_DOTS_AT_PARAMS)
{
    const size_t size = type == RH_F32 ? 4 : 2;
    for (int at = 0; at < n; at += 4) {
        const float *x4[4];
        const uint8_t *w4[4];
        const int many = n - at < 4 ? n - at : 4;
        __m512 acc[4];
        for (int i = 0; i < 4; i++) {
            x4[i] = x[at + (i < many ? i : 0)];
            w4[i] = w[at + (i < many ? i : 0)];
            acc[i] = _mm512_setzero_ps();
        }
        for (int32_t k = 0; k < cols; k += 16) {
            __mmask16 m = cols - k >= 16 ? 0xffff : (__mmask16)((1u << (cols - k)) - 1);
            for (int i = 0; i < 4; i++)
                acc[i] = _mm512_fmadd_ps(_mm512_loadu_ps(x4[i] + k), floats16(w4[i] + (size_t)k * size, type, m), acc[i]);
        }
        _mm_mask_storeu_ps(out + at, (__mmask8)((1 << many) - 1), sums4(acc));
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

static void split_bf16(uint16_t *out, size_t ldo, const float *x, int32_t cols)
{
    for (size_t k = 0; k < ldo; k += 16) {
        int32_t left = cols - (int32_t)k;
        __mmask16 m = left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
        __m512 v = _mm512_maskz_loadu_ps(m, x + k);
        __m256i hi = (__m256i)_mm512_cvtneps_pbh(v);
        __m512 back = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(hi), 16));
        _mm256_storeu_si256((void *)(out + k), hi);
        _mm256_storeu_si256((void *)(out + ldo + k), (__m256i)_mm512_cvtneps_pbh(_mm512_sub_ps(v, back)));
    }
}

INLINE __m512bh bf16_at(const void *p, __mmask32 m) { return (__m512bh)_mm512_maskz_loadu_epi16(m, p); }

/* As dots_tile; a sum of 32 running pairs takes all of hi and of lo of a step before the next. */
INLINE void bf16_tile(float *out, size_t ldo, const uint8_t *const w[4], int nw, const uint16_t *x,
                      size_t ldx, int nx, int32_t cols)
{
    __m512 acc[6][4];
    for (int t = 0; t < nx; t++)
        for (int r = 0; r < 4; r++) acc[t][r] = _mm512_setzero_ps();
    for (int32_t k = 0; k < cols; k += 32) {
        __mmask32 m = cols - k >= 32 ? 0xffffffff : (1u << (cols - k)) - 1;
        __m512bh row[4];
        for (int r = 0; r < 4; r++) row[r] = bf16_at(w[r] + 2 * (size_t)k, m);
        for (int part = 0; part < 2; part++) /* apart, so that a sum is not waited for */
            for (int t = 0; t < nx; t++) {
                __m512bh xt = (__m512bh)_mm512_loadu_si512(x + ((size_t)t * 2 + (size_t)part) * ldx + k);
                for (int r = 0; r < 4; r++) acc[t][r] = _mm512_dpbf16_ps(acc[t][r], xt, row[r]);
            }
    }
    for (int t = 0; t < nx; t++)
        _mm_mask_storeu_ps(out + (size_t)t * ldo, (__mmask8)((1 << nw) - 1), sums4(acc[t]));
}

static void bf16_dots(float *out, size_t ldo, const uint8_t *const *w, int nw, const uint16_t *x,
                      size_t ldx, int nx, int32_t cols)
{
    for (int t = 0; t < nx; t += 6, x += 12 * ldx, out += 6 * ldo) {
        for (int r = 0; r < nw; r += 4) {
            const uint8_t *rows[4];
            int n = four_rows(rows, w, r, nw);
            switch (nx - t) {
            case 1: bf16_tile(out + r, ldo, rows, n, x, ldx, 1, cols); break;
            case 2: bf16_tile(out + r, ldo, rows, n, x, ldx, 2, cols); break;
            case 3: bf16_tile(out + r, ldo, rows, n, x, ldx, 3, cols); break;
            case 4: bf16_tile(out + r, ldo, rows, n, x, ldx, 4, cols); break;
            case 5: bf16_tile(out + r, ldo, rows, n, x, ldx, 5, cols); break;
            default: bf16_tile(out + r, ldo, rows, n, x, ldx, 6, cols); break;
            }
        }
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

/* exp(x) for x <= 0 or NaN: as exp_of, with fused steps and 2^n by vscalefps. */
INLINE __m512 exp16(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-87.3f), x); /* NaN: the second operand */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1)), n);
}

static float soften(float *x, int n, int first, int last, float factor, float cap, float *max,
                    float *sum)
{
    uint64_t below = first < 64 ? ((uint64_t)1 << first) - 1 : UINT64_MAX;
    uint64_t counts = (last < 64 ? ((uint64_t)1 << last) - 1 : UINT64_MAX) & ~below;
    int vectors = (n + 15) / 16;
    __m512 v[4], top = _mm512_set1_ps(-FLT_MAX), total = _mm512_setzero_ps();
    for (int i = 0; i < 4; i++) {
        if (i >= vectors) break;
        v[i] = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(factor));
        if (cap > 0) {
            _mm512_storeu_ps(x + 16 * i, v[i]);
            softcap(x + 16 * i, 16, cap);
            v[i] = _mm512_loadu_ps(x + 16 * i);
        }
        top = _mm512_mask_max_ps(top, (__mmask16)(counts >> 16 * i), v[i], top);
    }
    float largest = _mm512_reduce_max_ps(top), shrink = 1;
    if (largest > *max) {
        shrink = _mm_cvtss_f32(_mm512_castps512_ps128(exp16(_mm512_set1_ps(*max - largest))));
        *max = largest;
    }
    for (int i = 0; i < 4; i++) {
        if (i >= vectors) break;
        v[i] = _mm512_maskz_mov_ps((__mmask16)(counts >> 16 * i),
                                   exp16(_mm512_sub_ps(v[i], _mm512_set1_ps(*max))));
        _mm512_storeu_ps(x + 16 * i, v[i]);
        total = _mm512_add_ps(total, v[i]);
    }
    *sum = *sum * shrink + _mm512_reduce_add_ps(total);
    return shrink;
}

static const rh_cpu_kernels nf4 = {
    .name = "cpu/avx512", .quantize = rh_quantize_avx2, .panels = rh_panels_nf4_avx512, .pack = rh_pack_avx512,
};

const rh_cpu_kernels rh_cpu_avx512 = {
    .name = "cpu/avx512", .nf4 = &nf4, .quantize = rh_quantize_avx512, .panels = rh_panels_avx512,
    .pack = rh_pack_avx512, .dequantize = dequantize_row, .dots = dots,
    .dots_at = dots_at, .cosine_rows = rh_cosine_rows_avx512,
    .cosine_columns = rh_cosine_columns_avx512, .screen = rh_screen_avx512,
    .bf16_dots = bf16_dots, .split_bf16 = split_bf16, .tile = tile,
    .narrow = rh_narrow_avx2, .widen = rh_widen_avx2, .transpose = transpose, .dot = dot,
    .axpy = axpy, .scale = scale, .rmsnorm = rmsnorm, .glu = glu, .softcap = softcap,
    .soften = soften, .rotate = rotate,
};

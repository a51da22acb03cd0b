/* Products with panels, AVX2: codes widened to 16 bits and vpmaddwd with 16-bit q, which
 * cannot saturate (vpmaddubsw could). Twins in kernel_generic.c. */
#include <immintrin.h>

#include "kernels/cpu/panel.h"

enum { AHEAD = 1024, AHEAD_NF4 = 4096 }; /* bytes to fetch ahead of a panel that streams */

#define INLINE static inline __attribute__((always_inline))

/* 8 floats -> 8 integers, their sum added to *sum */
INLINE __m256i quantize8(const float *x, __m256 inv, __m256i *sum)
{
    __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inv));
    *sum = _mm256_add_epi32(*sum, q);
    return q;
}

INLINE int sum8(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static uint32_t largest(const float *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i top = _mm256_setzero_si256();
    uint32_t t[8], best = 0;
    for (int i = 0; i < RH_BLOCK; i += 8)
        top = _mm256_max_epu32(top, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), magnitude));
    _mm256_storeu_si256((void *)t, top);
    for (int i = 0; i < 8; i++) best = t[i] > best ? t[i] : best;
    return best;
}

static void quantize_block(rh_xblock *o, const float *x)
{
    union { uint32_t u; float f; } amax = { largest(x) }, nan = { 0x7fc00000 };
    if (amax.u >= 0x7f800000) { /* a NaN or an infinity: the block is NaN */
        *o = (rh_xblock){ .s = nan.f, .sum = nan.f };
        return;
    }
    float inv = amax.f >= 1e-30f ? 32512 / amax.f : 0;
    __m256 vinv = _mm256_set1_ps(inv);
    /* within each four: (0 1 2 3) -> (0 2 1 3) */
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1,
                                           4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    int sum[2];
    for (int h = 0; h < 2; h++) {
        __m256i s = _mm256_setzero_si256();
        __m256i a = quantize8(x + 16 * h, vinv, &s), b = quantize8(x + 16 * h + 8, vinv, &s);
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        _mm256_storeu_si256((void *)(o->u.q + 16 * h), _mm256_shuffle_epi8(both, order));
        sum[h] = sum8(s);
    }
    o->s = inv > 0 ? amax.f / 32512 : 0;
    o->sum = o->s * (float)(sum[0] + sum[1]);
    o->minus = -(sum[0] + sum[1]);
    o->minus_first = -sum[0];
}

void rh_quantize_avx2(RH_QUANTIZE_PARAMS)
{
    for (int32_t b = 0; b < blocks; b++)
        quantize_block(out + (size_t)b * stride, x + (size_t)b * RH_BLOCK);
}

/* 16 bytes at `at` of each of 8 rows -> 4 vectors, lane r of vector c being word c of row r. */
INLINE void words_of_rows(__m256i out[4], const uint8_t *const *rows, size_t at)
{
    __m256i z[4], t[4];
    for (int i = 0; i < 4; i++) {
        __m128i a = _mm_loadu_si128((const void *)(rows[i] + at));
        __m128i b = _mm_loadu_si128((const void *)(rows[i + 4] + at));
        z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    }
    t[0] = _mm256_unpacklo_epi32(z[0], z[1]);
    t[1] = _mm256_unpackhi_epi32(z[0], z[1]);
    t[2] = _mm256_unpacklo_epi32(z[2], z[3]);
    t[3] = _mm256_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm256_unpacklo_epi64(t[0], t[2]);
    out[1] = _mm256_unpackhi_epi64(t[0], t[2]);
    out[2] = _mm256_unpacklo_epi64(t[1], t[3]);
    out[3] = _mm256_unpackhi_epi64(t[1], t[3]);
}

static void pack_q8_0(uint8_t *dst, const uint8_t *const *rows, int32_t blocks)
{
    const __m256i offset = _mm256_set1_epi8(-128);
    for (int32_t b = 0; b < blocks; b++, dst += 544) {
        size_t at = (size_t)b * 34;
        for (int part = 0; part < 4; part++) { /* 16 columns of 8 rows */
            int columns = part / 2, half = part % 2;
            __m256i w[4];
            words_of_rows(w, rows + 8 * half, at + 2 + 16 * (size_t)columns);
            for (int v = 0; v < 4; v++)
                _mm256_storeu_si256((void *)(dst + 64 * (4 * columns + v) + 32 * half),
                                    _mm256_xor_si256(w[v], offset));
        }
        for (int r = 0; r < RH_PANEL; r++) __builtin_memcpy(dst + 512 + 2 * r, rows[r] + at, 2);
    }
}

void rh_pack_avx2(RH_PACK_PARAMS)
{
    if (type == RH_Q8_0 && n == RH_PANEL) pack_q8_0(dst, rows, cols / RH_BLOCK);
    else rh_pack_generic(dst, rows, n, type, cols, next);
}

/* One block of a panel; halves: rows 0-7 and 8-15. Codes of columns 4 v + (0 2) and 4 v + (1 3)
 * as pairs of 16 bits. */
typedef struct unpacked {
    __m256i code[8][2][2];  /* [v][pair][half] */
    __m256 scale[2], scale2[2], min[2];
} unpacked;

INLINE __m256 halves(const uint8_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)); }

INLINE __m256 bytes(const uint8_t *p, bool is_signed)
{
    __m128i b = _mm_loadl_epi64((const void *)p);
    return _mm256_cvtepi32_ps(is_signed ? _mm256_cvtepi8_epi32(b) : _mm256_cvtepu8_epi32(b));
}

/* 32 bits -> 32 bytes, 16 where the bit is set */
INLINE __m256i fifth_of(const uint8_t *p)
{
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
                                          2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    int32_t m;
    __builtin_memcpy(&m, p, sizeof m);
    __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(m), byte), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8(16));
}

INLINE __m256i code_bytes(const uint8_t *p, int v, int half, rh_dtype type)
{
    if (type == RH_Q8_0) return _mm256_loadu_si256((const void *)(p + 64 * v + 32 * half));
    __m256i c = _mm256_loadu_si256((const void *)(p + 64 * (v % 4) + 32 * half));
    if (v >= 4) c = _mm256_srli_epi16(c, 4);
    c = _mm256_and_si256(c, _mm256_set1_epi8(15));
    if (type == RH_Q5_0 || type == RH_Q5_1 || type == RH_Q5_K)
        c = _mm256_or_si256(c, fifth_of(p + 256 + 8 * v + 4 * half));
    if (type == RH_Q6_K) {
        __m256i t = _mm256_loadu_si256((const void *)(p + 256 + 64 * (v / 4) + 32 * half));
        t = _mm256_and_si256(_mm256_srl_epi16(t, _mm_cvtsi32_si128(v % 4 * 2)), _mm256_set1_epi8(3));
        c = _mm256_or_si256(c, _mm256_slli_epi16(t, 4));
    }
    return c;
}

/* Tables of NF4's whole numbers: low bytes and high ones. */
typedef struct nf4_tables { __m256i low, high; } nf4_tables;

INLINE nf4_tables nf4_load(void)
{
    int8_t low[16], high[16];
    rh_nf4_bytes(low, high);
    return (nf4_tables){ _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)low)),
                         _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)high)) };
}

/* Codes 0..15 in bytes -> whole numbers: out[0] of rows 0, 1 | 4, 5 of the half, out[1] of 2, 3 | 6, 7; a row's
 * two pairs of columns stand side by side. */
INLINE void nf4_words(__m256i out[2], __m256i codes, nf4_tables t)
{
    __m256i lo = _mm256_shuffle_epi8(t.low, codes), hi = _mm256_shuffle_epi8(t.high, codes);
    out[0] = _mm256_unpacklo_epi8(lo, hi);
    out[1] = _mm256_unpackhi_epi8(lo, hi);
}

INLINE void unpack(unpacked *u, const uint8_t *header, const uint8_t *p, rh_dtype type,
                   rh_panel_layout l, nf4_tables tables)
{
    const uint8_t *scales = p + l.codes + l.bits;
    for (int half = 0; half < 2; half++) {
        for (int v = 0; v < 8; v++) {
            __m256i c = code_bytes(p, v, half, type);
            if (type == RH_NF4) {
                __m256i words[2];
                nf4_words(words, c, tables);
                __m256 a = _mm256_castsi256_ps(words[0]), b = _mm256_castsi256_ps(words[1]);
                u->code[v][0][half] = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
                u->code[v][1][half] = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
                continue;
            }
            u->code[v][0][half] = _mm256_and_si256(c, _mm256_set1_epi16(255));
            u->code[v][1][half] = _mm256_srli_epi16(c, 8);
        }
        if (type == RH_NF4) {
            __m256 d = _mm256_loadu_ps((const float *)(const void *)(header + 32 * half));
            u->scale[half] = _mm256_mul_ps(d, _mm256_set1_ps(1 / RH_NF4_UNIT));
        } else if (type == RH_Q6_K) {
            __m256 d = halves(header + 16 * half);
            u->scale[half] = _mm256_mul_ps(d, bytes(scales + 8 * half, true));
            u->scale2[half] = _mm256_mul_ps(d, bytes(scales + 16 + 8 * half, true));
        } else if (l.header) {
            u->scale[half] = _mm256_mul_ps(halves(header + 16 * half), bytes(scales + 8 * half, false));
            u->min[half] = _mm256_mul_ps(halves(header + 32 + 16 * half), bytes(scales + 16 + 8 * half, false));
        } else {
            u->scale[half] = halves(scales + 16 * half);
            if (l.min) u->min[half] = halves(scales + 32 + 16 * half);
        }
    }
}

/* sum[t][half] = -offset * sum q + sum_c code q over vectors from .. from + n - 1, for `many`
 * tokens (1 or 2) that share each load of codes. Exact: all sums stay below 2^29, of NF4 below 2^31. */
INLINE void product(__m256i sum[2][2], const unpacked *u, const rh_xblock *x, int many, int from,
                    int n, const int32_t *start)
{
    for (int t = 0; t < many; t++) sum[t][0] = sum[t][1] = _mm256_set1_epi32(start[t]);
    /* Unrolled, gcc takes the sums apart into more than there are registers. */
#pragma GCC unroll 1
    for (int v = from; v < from + n; v++) {
        for (int pair = 0; pair < 2; pair++) {
            for (int t = 0; t < many; t++) {
                __m256i xq = _mm256_set1_epi32(((const int32_t *)(const void *)x[t].u.q)[2 * v + pair]);
                for (int half = 0; half < 2; half++)
                    sum[t][half] = _mm256_add_epi32(sum[t][half], _mm256_madd_epi16(u->code[v][pair][half], xq));
            }
        }
    }
}

INLINE __m256 scaled(__m256 acc, __m256i sum, __m256 scale, __m256 s)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, s), acc);
}

/* out[t] [16] += (scale s) sum (code - offset) q + min (s sum q), t < many */
INLINE void add_block(float *out, size_t ldo, const unpacked *u, const rh_xblock *x, int many,
                      rh_dtype type, rh_panel_layout l)
{
    __m256i a[2][2], b[2][2];
    int32_t first[2], rest[2];
    for (int t = 0; t < many; t++) {
        first[t] = (type == RH_Q6_K ? x[t].minus_first : x[t].minus) * l.offset;
        rest[t] = (x[t].minus - x[t].minus_first) * l.offset;
    }
    product(a, u, x, many, 0, type == RH_Q6_K ? 4 : 8, first);
    if (type == RH_Q6_K) product(b, u, x, many, 4, 4, rest);
    for (int t = 0; t < many; t++) {
        __m256 s = _mm256_set1_ps(x[t].s), total = _mm256_set1_ps(x[t].sum);
        for (int half = 0; half < 2; half++) {
            float *o = out + (size_t)t * ldo + 8 * half;
            __m256 acc = scaled(_mm256_loadu_ps(o), a[t][half], u->scale[half], s);
            if (type == RH_Q6_K) acc = scaled(acc, b[t][half], u->scale2[half], s);
            if (l.min)
                acc = l.header ? _mm256_fnmadd_ps(u->min[half], total, acc)
                               : _mm256_fmadd_ps(u->min[half], total, acc);
            _mm256_storeu_ps(o, acc);
        }
    }
}

/* A block of NF4 with one token: codes go from memory into sums, without being laid down in between. */
INLINE void add_nf4(float *out, const uint8_t *header, const uint8_t *p, const rh_xblock *x, nf4_tables tables)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i part[2][2];
    for (int half = 0; half < 2; half++) part[half][0] = part[half][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        __m256i first = _mm256_set1_epi64x(((const int64_t *)(const void *)x->u.q)[v]);
        __m256i second = _mm256_set1_epi64x(((const int64_t *)(const void *)x->u.q)[v + 4]);
        for (int half = 0; half < 2; half++) {
            __m256i c = _mm256_loadu_si256((const void *)(p + 64 * v + 32 * half)), words[2];
            nf4_words(words, _mm256_and_si256(c, nibble), tables);
            for (int i = 0; i < 2; i++) part[half][i] = _mm256_add_epi32(part[half][i], _mm256_madd_epi16(words[i], first));
            nf4_words(words, _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble), tables);
            for (int i = 0; i < 2; i++) part[half][i] = _mm256_add_epi32(part[half][i], _mm256_madd_epi16(words[i], second));
        }
    }
    for (int half = 0; half < 2; half++) {
        __m256 d = _mm256_loadu_ps((const float *)(const void *)(header + 32 * half));
        __m256i sum = _mm256_hadd_epi32(part[half][0], part[half][1]);
        _mm256_storeu_ps(out + 8 * half, scaled(_mm256_loadu_ps(out + 8 * half), sum,
                                                _mm256_mul_ps(d, _mm256_set1_ps(1 / RH_NF4_UNIT)), _mm256_set1_ps(x->s)));
    }
}

INLINE void panels_of(RH_PANELS_PARAMS, rh_panel_layout l)
{
    const nf4_tables tables = nf4_load();
    const int record = l.codes + l.bits + l.scales;
    for (int i = 0; i < n_panels; i++, panel += panel_bytes, out += RH_PANEL) {
        const uint8_t *header = panel, *p = panel;
        const rh_xblock *xb = x;
        for (int t = 0; t < n; t++)
            for (int r = 0; r < RH_PANEL; r++) out[(size_t)t * ldo + (size_t)r] = 0;
        for (int32_t b = 0; b < blocks; b++, p += record, xb += n) {
            unpacked u;
            if (b % l.per_header == 0) {
                header = p;
                p += l.header;
            }
            const int ahead = type == RH_NF4 && n == 1 ? AHEAD_NF4 : AHEAD;
            const uint8_t *soon = next ? next + (size_t)i * panel_bytes + (p - panel) : p + ahead;
            for (int j = 0; j < record; j += 64) _mm_prefetch((const char *)soon + j, _MM_HINT_T0);
            if (type == RH_NF4 && n == 1) {
                add_nf4(out, header, p, xb, tables);
                continue;
            }
            unpack(&u, header, p, type, l, tables);
            int t = 0;
            for (; t + 2 <= n; t += 2) add_block(out + (size_t)t * ldo, ldo, &u, xb + t, 2, type, l);
            if (t < n) add_block(out + (size_t)t * ldo, ldo, &u, xb + t, 1, type, l);
        }
    }
}

/* A copy of the loop for each type, made by the compiler from the one above. */
void rh_panels_avx2(RH_PANELS_PARAMS)
{
    static const rh_panel_layout layouts[RH_N_DTYPES] = RH_PANEL_LAYOUTS;
#define CASE(t)                                                                                    \
    case t: panels_of(out, ldo, panel, panel_bytes, n_panels, t, blocks, x, n, next, layouts[t]); break
    switch (type) {
        CASE(RH_Q4_0);
        CASE(RH_Q4_1);
        CASE(RH_Q5_0);
        CASE(RH_Q5_1);
        CASE(RH_Q8_0);
        CASE(RH_Q4_K);
        CASE(RH_Q5_K);
        CASE(RH_Q6_K);
        CASE(RH_NF4);
    default: break;
    }
#undef CASE
}

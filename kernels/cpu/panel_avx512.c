/* Products with panels, AVX-512 VNNI: vpdpbusd multiplies 4 unsigned codes of each of 16 rows
 * by 4 signed bytes of x. Twins in kernel_generic.c. */
#include <immintrin.h>

#include "kernels/cpu/panel.h"

enum {
    AHEAD = 2048, /* bytes to fetch ahead of a panel that streams */
    EARLY = 352   /* of each 544 bytes of the next panel of Q8_0: fetched while this one is packed,
                   * the rest during its products, to keep memory busy in both */
};

#define INLINE static inline __attribute__((always_inline))

/* 16 + 16 floats -> q, 16 bits as two signed bytes: q = 256 hi + lo. */
static void quantize_block(rh_xblock *o, const float *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    __m512i top = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                   _mm512_and_si512(_mm512_castps_si512(b), magnitude));
    union { uint32_t u; float f; } amax = { _mm512_reduce_max_epu32(top) };
    float inv = amax.f >= 1e-30f ? 32512 / amax.f : 0;
    if (amax.u >= 0x7f800000) { /* a NaN or an infinity: the block is NaN */
        union { uint32_t u; float f; } nan = { 0x7fc00000 };
        *o = (rh_xblock){ .s = nan.f, .sum = nan.f };
        return;
    }
    __m512i qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inv)));
    __m512i qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inv)));
    const __m512i half = _mm512_set1_epi32(128);
    __m512i ha = _mm512_srai_epi32(_mm512_add_epi32(qa, half), 8);
    __m512i hb = _mm512_srai_epi32(_mm512_add_epi32(qb, half), 8);
    _mm_storeu_si128((void *)o->u.plane[0], _mm512_cvtepi32_epi8(ha));
    _mm_storeu_si128((void *)(o->u.plane[0] + 16), _mm512_cvtepi32_epi8(hb));
    _mm_storeu_si128((void *)o->u.plane[1], _mm512_cvtepi32_epi8(qa)); /* the low byte, signed */
    _mm_storeu_si128((void *)(o->u.plane[1] + 16), _mm512_cvtepi32_epi8(qb));
    int first = _mm512_reduce_add_epi32(qa), total = first + _mm512_reduce_add_epi32(qb);
    o->s = inv > 0 ? amax.f / 32512 : 0;
    o->sum = o->s * (float)total;
    o->minus = -total;
    o->minus_first = -first;
}

void rh_quantize_avx512(RH_QUANTIZE_PARAMS)
{
    for (int32_t b = 0; b < blocks; b++)
        quantize_block(out + (size_t)b * stride, x + (size_t)b * RH_BLOCK);
}

INLINE void fetch(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

/* 16 bytes at `at` of each of 16 rows -> 4 vectors, lane r of vector c being word c of row r:
 * rows i, i + 4, i + 8, i + 12 fill register i, then words change places within quarters. */
INLINE void words_of_rows(__m512i out[4], const uint8_t *const *rows, size_t at)
{
    __m512i z[4], t[4];
    for (int i = 0; i < 4; i++) {
        z[i] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(rows[i] + at)));
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const void *)(rows[i + 4] + at)), 1);
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const void *)(rows[i + 8] + at)), 2);
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const void *)(rows[i + 12] + at)), 3);
    }
    t[0] = _mm512_unpacklo_epi32(z[0], z[1]);
    t[1] = _mm512_unpackhi_epi32(z[0], z[1]);
    t[2] = _mm512_unpacklo_epi32(z[2], z[3]);
    t[3] = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(t[0], t[2]);
    out[1] = _mm512_unpackhi_epi64(t[0], t[2]);
    out[2] = _mm512_unpacklo_epi64(t[1], t[3]);
    out[3] = _mm512_unpackhi_epi64(t[1], t[3]);
}

static void pack_q8_0(uint8_t *dst, const uint8_t *const *rows, int32_t blocks, const uint8_t *next)
{
    const __m512i offset = _mm512_set1_epi8(-128);
    for (int32_t b = 0; b < blocks; b++, dst += 544) {
        size_t at = (size_t)b * 34;
        if (next) fetch(next + (size_t)b * EARLY, EARLY);
        for (int half = 0; half < 2; half++) {
            __m512i w[4];
            words_of_rows(w, rows, at + 2 + 16 * (size_t)half);
            for (int v = 0; v < 4; v++)
                _mm512_storeu_si512(dst + 64 * (4 * half + v), _mm512_xor_si512(w[v], offset));
        }
        for (int r = 0; r < RH_PANEL; r++) __builtin_memcpy(dst + 512 + 2 * r, rows[r] + at, 2);
    }
}

void rh_pack_avx512(RH_PACK_PARAMS)
{
    if (type == RH_Q8_0 && n == RH_PANEL) pack_q8_0(dst, rows, cols / RH_BLOCK, next);
    else rh_pack_generic(dst, rows, n, type, cols, next);
}

/* One block of a panel in registers: 8 vectors of codes (4 columns of 16 rows), scales. */
typedef struct unpacked {
    __m512i code[8];
    __m512 scale, scale2, min; /* scale2: of columns 16 on, Q6_K only */
} unpacked;

INLINE __m512 halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

INLINE __m512 bytes(const uint8_t *p, bool is_signed)
{
    __m128i b = _mm_loadu_si128((const void *)p);
    return _mm512_cvtepi32_ps(is_signed ? _mm512_cvtepi8_epi32(b) : _mm512_cvtepu8_epi32(b));
}

INLINE void unpack_codes(unpacked *u, const uint8_t *p, rh_dtype type)
{
    const __m512i low = _mm512_set1_epi8(15), top = _mm512_set1_epi8(48), five = _mm512_set1_epi8(16);
    if (type == RH_Q8_0) {
        for (int v = 0; v < 8; v++) u->code[v] = _mm512_loadu_si512(p + 64 * v);
        return;
    }
    for (int v = 0; v < 4; v++) {
        __m512i both = _mm512_loadu_si512(p + 64 * v);
        u->code[v] = _mm512_and_si512(both, low);
        u->code[v + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    if (type == RH_Q5_0 || type == RH_Q5_1 || type == RH_Q5_K) {
        for (int v = 0; v < 8; v++) {
            __mmask64 fifth = _load_mask64((__mmask64 *)(uintptr_t)(p + 256 + 8 * v));
            u->code[v] = _mm512_mask_add_epi8(u->code[v], fifth, u->code[v], five);
        }
    }
    if (type == RH_Q6_K) {
        for (int h = 0; h < 2; h++) {
            __m512i t = _mm512_loadu_si512(p + 256 + 64 * h);
            __m512i *c = u->code + 4 * h;
            c[0] = _mm512_or_si512(c[0], _mm512_and_si512(_mm512_slli_epi16(t, 4), top));
            c[1] = _mm512_or_si512(c[1], _mm512_and_si512(_mm512_slli_epi16(t, 2), top));
            c[2] = _mm512_or_si512(c[2], _mm512_and_si512(t, top));
            c[3] = _mm512_or_si512(c[3], _mm512_and_si512(_mm512_srli_epi16(t, 2), top));
        }
    }
}

INLINE void unpack(unpacked *u, const uint8_t *header, const uint8_t *p, rh_dtype type,
                   rh_panel_layout l)
{
    const uint8_t *scales = p + l.codes + l.bits;
    unpack_codes(u, p, type);
    if (type == RH_Q6_K) {
        __m512 d = halves(header);
        u->scale = _mm512_mul_ps(d, bytes(scales, true));
        u->scale2 = _mm512_mul_ps(d, bytes(scales + 16, true));
    } else if (l.header) {
        u->scale = _mm512_mul_ps(halves(header), bytes(scales, false));
        u->min = _mm512_mul_ps(halves(header + 32), bytes(scales + 16, false));
    } else {
        u->scale = halves(scales);
        if (l.min) u->min = halves(scales + 32);
    }
}

/* sum_c code q over vectors from .. from + n - 1, starting at -offset * sum q, for `many` panels
 * (1 or 2) that share each broadcast of x. Exact: with |code| <= 255, |q| <= 32512 and 32
 * columns all sums stay below 2^29. */
INLINE void product(__m512i *dot, const unpacked *u, int many, const rh_xblock *x, int from, int n,
                    __m512i start)
{
    __m512i hi[2], lo[2];
    const int32_t *h = (const int32_t *)(const void *)x->u.plane[0];
    const int32_t *l = (const int32_t *)(const void *)x->u.plane[1];
    for (int i = 0; i < many; i++) {
        hi[i] = _mm512_setzero_si512();
        lo[i] = start;
    }
    for (int v = from; v < from + n; v++) {
        __m512i xh = _mm512_set1_epi32(h[v]), xl = _mm512_set1_epi32(l[v]);
        for (int i = 0; i < many; i++) {
            hi[i] = _mm512_dpbusd_epi32(hi[i], u[i].code[v], xh);
            lo[i] = _mm512_dpbusd_epi32(lo[i], u[i].code[v], xl);
        }
    }
    for (int i = 0; i < many; i++) dot[i] = _mm512_add_epi32(_mm512_slli_epi32(hi[i], 8), lo[i]);
}

INLINE __m512i times_offset(int32_t minus, int offset)
{
    __m512i m = _mm512_set1_epi32(minus);
    switch (offset) { /* a shift, for offsets are powers of two */
    case 8: return _mm512_slli_epi32(m, 3);
    case 16: return _mm512_slli_epi32(m, 4);
    case 32: return _mm512_slli_epi32(m, 5);
    case 128: return _mm512_slli_epi32(m, 7);
    default: return _mm512_setzero_si512();
    }
}

/* acc + (scale s) sum (code - offset) q + min (s sum q), for each of `many` panels */
INLINE void add_block(__m512 *acc, const unpacked *u, int many, const rh_xblock *x, rh_dtype type,
                      rh_panel_layout l)
{
    __m512 s = _mm512_set1_ps(x->s);
    __m512i a[2], b[2];
    if (type == RH_Q6_K) {
        product(a, u, many, x, 0, 4, times_offset(x->minus_first, l.offset));
        product(b, u, many, x, 4, 4, times_offset(x->minus - x->minus_first, l.offset));
    } else {
        product(a, u, many, x, 0, 8, times_offset(x->minus, l.offset));
    }
    for (int i = 0; i < many; i++) {
        acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[i]), _mm512_mul_ps(u[i].scale, s), acc[i]);
        if (type == RH_Q6_K)
            acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(b[i]), _mm512_mul_ps(u[i].scale2, s), acc[i]);
        if (!l.min) continue;
        __m512 sum = _mm512_set1_ps(x->sum);
        acc[i] = l.header ? _mm512_fnmadd_ps(u[i].min, sum, acc[i]) : _mm512_fmadd_ps(u[i].min, sum, acc[i]);
    }
}

/* One token, block b: its share of what packing has not fetched of the next panel; without
 * one, what follows. */
INLINE void fetch_next(const uint8_t *next, int32_t blocks, int32_t b, const uint8_t *follows,
                       int record)
{
    if (!next) fetch(follows, record);
    else fetch(next + (size_t)blocks * EARLY + (size_t)b * (size_t)(record - EARLY), record - EARLY);
}

/* Many tokens: all of it, and into L2, for L1 is full of x and of this panel. */
INLINE void fetch_to_l2(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* One token: the sum stays in a register and the panel streams through. */
INLINE void one_token(float *out, const uint8_t *panel, rh_dtype type, rh_panel_layout l,
                      int32_t blocks, const rh_xblock *x, const uint8_t *next)
{
    const uint8_t *header = panel, *p = panel;
    const int record = l.codes + l.bits + l.scales;
    __m512 acc = _mm512_setzero_ps();
    for (int32_t b = 0; b < blocks; b++, p += record) {
        unpacked u;
        if (b % l.per_header == 0) {
            header = p;
            p += l.header;
        }
        fetch_next(next, blocks, b, p + AHEAD, record);
        unpack(&u, header, p, type, l);
        add_block(&acc, &u, 1, x + b, type, l);
    }
    _mm512_storeu_ps(out, acc);
}

/* Many tokens: a block of one or two panels stays in registers while all tokens pass; each
 * broadcast of x serves both panels. out [n, 32] is in L1 and holds the sums. */
INLINE void many_tokens(float *out, size_t ldo, const uint8_t *panel, size_t panel_bytes, int many,
                        rh_dtype type, rh_panel_layout l, int32_t blocks, const rh_xblock *x, int n,
                        const uint8_t *next)
{
    const uint8_t *header = panel, *p = panel;
    const int record = l.codes + l.bits + l.scales;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < many; i++)
            _mm512_storeu_ps(out + (size_t)t * ldo + 16 * i, _mm512_setzero_ps());
    for (int32_t b = 0; b < blocks; b++, p += record, x += n) {
        unpacked u[2];
        if (b % l.per_header == 0) {
            header = p;
            p += l.header;
        }
        for (int i = 0; i < many; i++)
            fetch_to_l2((next ? next + (p - panel) : p + AHEAD / 2) + (size_t)i * panel_bytes, record);
        unpack(&u[0], header, p, type, l);
        if (many > 1) unpack(&u[1], header + panel_bytes, p + panel_bytes, type, l);
        float *o = out;
        for (int t = 0; t < n; t++, o += ldo) {
            __m512 acc[2];
            for (int i = 0; i < many; i++) acc[i] = _mm512_loadu_ps(o + 16 * i);
            add_block(acc, u, many, x + t, type, l);
            for (int i = 0; i < many; i++) _mm512_storeu_ps(o + 16 * i, acc[i]);
        }
    }
}

INLINE void panels_of(RH_PANELS_PARAMS, rh_panel_layout l)
{
    for (int i = 0; i < n_panels && n == 1; i++)
        one_token(out + 16 * i, panel + (size_t)i * panel_bytes, type, l, blocks, x,
                  next ? next + (size_t)i * panel_bytes : NULL);
    if (n == 1) return;
    for (int i = 0; i < n_panels; i += 2) {
        const uint8_t *p = panel + (size_t)i * panel_bytes;
        const uint8_t *then = next ? next + (size_t)i * panel_bytes : NULL;
        if (i + 1 < n_panels)
            many_tokens(out + 16 * i, ldo, p, panel_bytes, 2, type, l, blocks, x, n, then);
        else
            many_tokens(out + 16 * i, ldo, p, panel_bytes, 1, type, l, blocks, x, n, then);
    }
}

/* A copy of the loops for each type, made by the compiler from the one above. */
void rh_panels_avx512(RH_PANELS_PARAMS)
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
    default: break;
    }
#undef CASE
}

/* Products with NF4's panels, AVX-512 VNNI: a lookup turns codes into 16-bit whole numbers, vpdpwssd multiplies
 * two columns of each of 16 rows by 16-bit q (quantised as for AVX2). Twins in kernel_generic.c. */
#include <immintrin.h>

#include "kernels/cpu/panel.h"

enum { AHEAD = 2048, RECORD = 256, HEADER = 64 };

#define INLINE static inline __attribute__((always_inline))

/* Low bytes and high ones of the 16 whole numbers, in each quarter. */
typedef struct tables { __m512i low, high; } tables;

INLINE tables load_tables(void)
{
    int8_t low[16], high[16];
    rh_nf4_bytes(low, high);
    return (tables){ _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)low)),
                     _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)high)) };
}

/* Codes 0..15 in bytes -> whole numbers: in quarter i, out[0] has rows 4 i and 4 i + 1, out[1] the next two; a
 * row's two pairs of columns stand side by side. */
INLINE void words_of(__m512i out[2], __m512i codes, tables t)
{
    __m512i lo = _mm512_shuffle_epi8(t.low, codes), hi = _mm512_shuffle_epi8(t.high, codes);
    out[0] = _mm512_unpacklo_epi8(lo, hi);
    out[1] = _mm512_unpackhi_epi8(lo, hi);
}

/* Of two such vectors of 32-bit lanes: the rows' first lanes, or their second ones, in order of rows. */
INLINE __m512i firsts(__m512i a, __m512i b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88));
}
INLINE __m512i seconds(__m512i a, __m512i b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd));
}

INLINE __m512 scale_of(const uint8_t *header)
{
    return _mm512_mul_ps(_mm512_loadu_ps(header), _mm512_set1_ps(1 / RH_NF4_UNIT));
}

INLINE void fetch(const uint8_t *p)
{
    for (int i = 0; i < RECORD; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

/* One token: codes go from memory into sums. */
INLINE void one_token(float *out, const uint8_t *panel, int32_t blocks, const rh_xblock *x, const uint8_t *next, tables t)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    const uint8_t *header = panel, *p = panel;
    __m512 acc = _mm512_setzero_ps();
    for (int32_t b = 0; b < blocks; b++, p += RECORD, x++) {
        __m512i part[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() }, words[2];
        if (b % 2 == 0) {
            header = p;
            p += HEADER;
        }
        fetch(next ? next + (p - panel) : p + AHEAD);
        for (int v = 0; v < 4; v++) {
            __m512i c = _mm512_loadu_si512(p + 64 * v);
            __m512i first = _mm512_set1_epi64(((const int64_t *)(const void *)x->u.q)[v]);
            __m512i second = _mm512_set1_epi64(((const int64_t *)(const void *)x->u.q)[v + 4]);
            words_of(words, _mm512_and_si512(c, nibble), t);
            for (int i = 0; i < 2; i++) part[i] = _mm512_dpwssd_epi32(part[i], words[i], first);
            words_of(words, _mm512_and_si512(_mm512_srli_epi16(c, 4), nibble), t);
            for (int i = 0; i < 2; i++) part[i] = _mm512_dpwssd_epi32(part[i], words[i], second);
        }
        __m512i sum = _mm512_add_epi32(firsts(part[0], part[1]), seconds(part[0], part[1]));
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale_of(header), _mm512_set1_ps(x->s)), acc);
    }
    _mm512_storeu_ps(out, acc);
}

/* A block's whole numbers, [v][pair]: columns 4 v + (0 2) and 4 v + (1 3) of a row in its lane. */
INLINE void unpack(__m512i code[8][2], const uint8_t *p, tables t)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int v = 0; v < 8; v++) {
        __m512i c = _mm512_loadu_si512(p + 64 * (v % 4)), words[2];
        if (v >= 4) c = _mm512_srli_epi16(c, 4);
        words_of(words, _mm512_and_si512(c, nibble), t);
        code[v][0] = firsts(words[0], words[1]);
        code[v][1] = seconds(words[0], words[1]);
    }
}

/* Many tokens: a block stays in 16 registers while all of them pass. */
INLINE void many_tokens(float *out, size_t ldo, const uint8_t *panel, int32_t blocks, const rh_xblock *x, int n,
                        const uint8_t *next, tables t)
{
    const uint8_t *header = panel, *p = panel;
    for (int i = 0; i < n; i++) _mm512_storeu_ps(out + (size_t)i * ldo, _mm512_setzero_ps());
    for (int32_t b = 0; b < blocks; b++, p += RECORD, x += n) {
        __m512i code[8][2];
        if (b % 2 == 0) {
            header = p;
            p += HEADER;
        }
        fetch(next ? next + (p - panel) : p + AHEAD);
        unpack(code, p, t);
        __m512 scale = scale_of(header);
        float *o = out;
        for (int i = 0; i < n; i++, o += ldo) {
            const int32_t *q = (const int32_t *)(const void *)x[i].u.q;
            __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
            for (int v = 0; v < 8; v++) {
                even = _mm512_dpwssd_epi32(even, code[v][0], _mm512_set1_epi32(q[2 * v]));
                odd = _mm512_dpwssd_epi32(odd, code[v][1], _mm512_set1_epi32(q[2 * v + 1]));
            }
            __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
            _mm512_storeu_ps(o, _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(x[i].s)), _mm512_loadu_ps(o)));
        }
    }
}

void rh_panels_nf4_avx512(RH_PANELS_PARAMS)
{
    const tables t = load_tables();
    (void)type;
    for (int i = 0; i < n_panels; i++, panel += panel_bytes, out += RH_PANEL) {
        const uint8_t *then = next ? next + (size_t)i * panel_bytes : NULL;
        if (n == 1) one_token(out, panel, blocks, x, then, t);
        else many_tokens(out, ldo, panel, blocks, x, n, then, t);
    }
}

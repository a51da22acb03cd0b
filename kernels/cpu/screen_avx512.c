/* The screen's panels, AVX-512 with VNNI: a vpdpbusd is four columns of all 16 rows. Twin in kernel_generic.c. */
#include <immintrin.h>

#include "kernels/cpu/cpu.h"

#define INLINE static inline __attribute__((always_inline))

INLINE __m512i four(const uint8_t *u)
{
    int32_t w;
    __builtin_memcpy(&w, u, sizeof w);
    return _mm512_set1_epi32(w);
}

INLINE void tile(uint16_t *out, const int8_t *codes, const rh_screen_panel *p, const float *base, const float *gain,
                 const uint8_t *u, const rh_screen_x *x, const float *floor, int n, int32_t wide)
{
    __m512i sum[12];
    for (int t = 0; t < n; t++) sum[t] = _mm512_setzero_si512();
    for (int32_t k = 0; k < wide; k += 4, codes += 64) {
        __m512i w = _mm512_loadu_si512(codes);
        for (int t = 0; t < n; t++) sum[t] = _mm512_dpbusd_epi32(sum[t], four(u + (size_t)t * (size_t)wide + k), w);
    }
    for (int t = 0; t < n; t++) {
        __m512 whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[t], _mm512_loadu_si512(p->offset)));
        __m512 most = _mm512_mul_ps(_mm512_mul_ps(whole, _mm512_loadu_ps(p->scale)), _mm512_set1_ps(x[t].scale));
        most = _mm512_fmadd_ps(_mm512_loadu_ps(p->norm), _mm512_set1_ps(x[t].error), most);
        most = _mm512_fmadd_ps(_mm512_loadu_ps(p->error), _mm512_set1_ps(x[t].norm), most);
        __m512 level = _mm512_fmadd_ps(_mm512_loadu_ps(gain), _mm512_set1_ps(floor[t]), _mm512_loadu_ps(base));
        out[t] = (uint16_t)_mm512_cmp_ps_mask(most, level, _CMP_NLT_UQ);
    }
}

void rh_screen_avx512(RH_SCREEN_PARAMS)
{
    int t = 0;
    for (; t + 12 <= n; t += 12) tile(out + t, codes, p, base, gain, u + (size_t)t * (size_t)wide, x + t, floor + t, 12, wide);
    for (; t + 4 <= n; t += 4) tile(out + t, codes, p, base, gain, u + (size_t)t * (size_t)wide, x + t, floor + t, 4, wide);
    for (; t < n; t++) tile(out + t, codes, p, base, gain, u + (size_t)t * (size_t)wide, x + t, floor + t, 1, wide);
}

/* avx512.h - what the AVX-512 loops over floats share. */
#ifndef RH_KERNELS_CPU_AVX512_H
#define RH_KERNELS_CPU_AVX512_H

#include <immintrin.h>

#include "kernels/dtype.h"

#define INLINE static inline __attribute__((always_inline))

/* 16 columns of a row, or as many as m says, and zeros. */
INLINE __m512 floats16(const uint8_t *p, rh_dtype type, __mmask16 m)
{
    if (type == RH_F32) return _mm512_maskz_loadu_ps(m, p);
    __m256i h = _mm256_maskz_loadu_epi16(m, p);
    return type == RH_F16 ? _mm512_cvtph_ps(h) : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

#endif

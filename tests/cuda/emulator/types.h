/* types.h - the vector, half and bfloat16 types of CUDA C++, with the layout and alignment they have there. */
#ifndef RH_EMULATOR_TYPES_H
#define RH_EMULATOR_TYPES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class To, class From> static inline To emu_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps their number");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float f) { return emu_bits<unsigned>(f); }
static inline float __uint_as_float(unsigned u) { return emu_bits<float>(u); }
static inline int __float_as_int(float f) { return emu_bits<int>(f); }
static inline float __int_as_float(int i) { return emu_bits<float>(i); }

struct __half { uint16_t bits; };
struct __nv_bfloat16 { uint16_t bits; };
struct alignas(4) __half2 { __half x, y; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
static inline __half __ushort_as_half(uint16_t u) { return {u}; }
static inline uint16_t __half_as_ushort(__half h) { return h.bits; }
static inline __nv_bfloat16 __ushort_as_bfloat16(uint16_t u) { return {u}; }
static inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }

/* 1 sign, 5 exponent, 10 mantissa: the exponent is moved by a product, which also takes in the subnormal ones. */
static inline float __half2float(__half h)
{
    const uint32_t sign = (uint32_t)(h.bits & 0x8000) << 16, rest = h.bits & 0x7fff;
    if (rest >= 0x7c00) return __uint_as_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(rest << 13) * 0x1p112f));
}
/* To nearest even. Adding a power of two whose last place is the half's leaves the rounded mantissa in the low bits. */
static inline __half __float2half_rn(float f)
{
    const uint32_t u = __float_as_uint(f), rest = u & 0x7fffffff;
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    if (rest > 0x7f800000) return {0x7fff};
    if (rest >= 0x477ff000) return {(uint16_t)(sign | 0x7c00)};
    if (rest < 0x38800000) {
        const float shifted = __uint_as_float(rest) + 0.5f;
        return {(uint16_t)(sign | (__float_as_uint(shifted) - __float_as_uint(0.5f)))};
    }
    return {(uint16_t)(sign | (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13)};
}
static inline __half __float2half(float f) { return __float2half_rn(f); }
static inline float __bfloat162float(__nv_bfloat16 b) { return __uint_as_float((uint32_t)b.bits << 16); }
static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    const uint32_t u = __float_as_uint(f);
    if ((u & 0x7fffffff) > 0x7f800000) return {0x7fff};
    return {(uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
static inline __nv_bfloat16 __float2bfloat16(float f) { return __float2bfloat16_rn(f); }

#endif

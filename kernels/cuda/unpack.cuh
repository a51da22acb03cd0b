/* unpack.cuh - the storage types, a few columns at a time: what a kernel that reads matrices takes as a template parameter.
 *
 * A row (kernels.h) is a sequence of units: what one lane loads at once, 16 bytes of codes where the type allows it. A unit of
 * a type with blocks is 32 columns, two halves of 16, because the low and the high nibbles of the same 16 bytes lie
 * 16 SPAN columns apart; that of a type without is the 16 bytes themselves. Its columns come in quads of 4:
 *     column(unit, quad), unit_of(c), quad_of(c)    where they are (c: a multiple of 4), and back
 *     load(row, heads, unit)                        raw bytes and nothing that waits for them
 *     codes(raw, unit, quad, table)                 float4, whole numbers or the table's values
 *     scale(raw, unit, half), min(raw, unit, half)  value = code scale - min, rounded twice, as dequantize.inc does it
 * LARGE: raw takes 6 registers or more. quad % 4 is known when the kernel is compiled, unit and half need not be. table: 16 floats in shared memory, filled from entry(i), where
 * TABLE is set; the 16 lie in 16 banks, so that no two lanes are in each other's way. */
#ifndef RH_KERNELS_CUDA_UNPACK_CUH
#define RH_KERNELS_CUDA_UNPACK_CUH

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

#ifdef RH_CUDA_EMULATED /* where what is not inlined is sooner compiled */
#define RH_INLINE inline
#else
#define RH_INLINE __device__ __forceinline__
#endif
#define RH_UNPACK static RH_INLINE

RH_UNPACK float rh_half_bits(uint32_t h) { return __half2float(__ushort_as_half((unsigned short)h)); }
RH_UNPACK uint32_t rh_word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
RH_UNPACK uint4 rh_load16(const uint8_t *p) { return *(const uint4 *)p; }
RH_UNPACK uint32_t rh_load4(const uint8_t *p) { return *(const uint32_t *)p; }
RH_UNPACK uint32_t rh_load2(const uint8_t *p) { return *(const uint16_t *)p; }

/* Four bytes as floats, less an offset. A byte put under the exponent of 2^23 is that number plus the byte: one instruction
 * where a conversion would take two, and exact. */
RH_UNPACK float4 rh_bytes(uint32_t w, int offset)
{
    const uint32_t two23 = 0x4b000000;
    const float less = 8388608.0f + (float)offset;
    return make_float4(__uint_as_float(__byte_perm(w, two23, 0x7650)) - less, __uint_as_float(__byte_perm(w, two23, 0x7651)) - less,
                       __uint_as_float(__byte_perm(w, two23, 0x7652)) - less, __uint_as_float(__byte_perm(w, two23, 0x7653)) - less);
}
/* The nibbles of quad's word: low ones in the first half, high ones in the second. */
RH_UNPACK uint32_t rh_nibbles(const uint4 &q, int quad) { return rh_word(q, quad % 4) >> (quad / 4 * 4) & 0x0f0f0f0f; }
template <class Table> RH_UNPACK float4 rh_looked_up(uint32_t w, Table &table)
{
    return make_float4(table[w & 15], table[w >> 8 & 15], table[w >> 16 & 15], table[w >> 24 & 15]);
}
/* Bits 0 .. 3 of h as bits 4 of four bytes: the fifth bits of Q5_0 and Q5_1. */
RH_UNPACK uint32_t rh_fifths(uint32_t h) { return ((h & 15) * 0x00204081 & 0x01010101) << 4; }

/* ---- without blocks ------------------------------------------------------------------------- */

template <int QUADS_> struct rh_elements {
    static constexpr int QUADS = QUADS_, HALF = QUADS_, WIDTH = 4 * QUADS_; /* HALF: quads under one scale */
    static constexpr bool SCALED = false, MIN = false, TABLE = false, LARGE = false;
    struct raw { uint4 q; };
    RH_UNPACK int column(int unit, int quad) { return unit * WIDTH + 4 * quad; }
    RH_UNPACK int unit_of(int c) { return c / WIDTH; }
    RH_UNPACK int quad_of(int c) { return c % WIDTH / 4; }
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *, int unit) { return {rh_load16(row + 16 * unit)}; }
    RH_UNPACK float scale(const raw &, int, int) { return 1; }
    RH_UNPACK float min(const raw &, int, int) { return 0; }
    RH_UNPACK float entry(int) { return 0; }
};

struct rh_unpack_f32 : rh_elements<1> {
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int, Table &)
    {
        return make_float4(__uint_as_float(r.q.x), __uint_as_float(r.q.y), __uint_as_float(r.q.z), __uint_as_float(r.q.w));
    }
};

struct rh_unpack_f16 : rh_elements<2> {
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &)
    {
        const uint32_t a = rh_word(r.q, 2 * quad), b = rh_word(r.q, 2 * quad + 1);
        return make_float4(rh_half_bits(a & 0xffff), rh_half_bits(a >> 16), rh_half_bits(b & 0xffff), rh_half_bits(b >> 16));
    }
};

struct rh_unpack_bf16 : rh_elements<2> {
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &)
    {
        const uint32_t a = rh_word(r.q, 2 * quad), b = rh_word(r.q, 2 * quad + 1);
        return make_float4(__uint_as_float(a << 16), __uint_as_float(a & 0xffff0000), __uint_as_float(b << 16), __uint_as_float(b & 0xffff0000));
    }
};

/* ---- with blocks ---------------------------------------------------------------------------- */

/* UNITS a block of CODES and HEAD bytes */
template <int UNITS_, int CODES_, int HEAD_, int SPAN_> struct rh_blocks {
    static constexpr int QUADS = 8, HALF = 4, WIDTH = 32, UNITS = UNITS_, CODES = CODES_, HEAD = HEAD_, SPAN = SPAN_;
    static constexpr bool SCALED = true, MIN = false, TABLE = false, LARGE = false;
    RH_UNPACK int column(int unit, int quad) { return 16 * (unit / SPAN * 2 * SPAN + quad / 4 * SPAN + unit % SPAN) + quad % 4 * 4; }
    RH_UNPACK int unit_of(int c) { return c / (32 * SPAN) * SPAN + c / 16 % SPAN; }
    RH_UNPACK int quad_of(int c) { return c / (16 * SPAN) % 2 * 4 + c % 16 / 4; }
    RH_UNPACK const uint8_t *block(const uint8_t *row, int unit) { return row + unit / UNITS * CODES; }
    RH_UNPACK const uint8_t *head(const uint8_t *heads, int unit) { return heads + unit / UNITS * HEAD; }
    RH_UNPACK float entry(int) { return 0; }
};

/* Blocks of 32 whose codes are 16 bytes of nibbles, and a head of two halves at most. */
template <int HEAD_, int OFFSET> struct rh_unpack_q4 : rh_blocks<1, 16, HEAD_, 1> {
    static constexpr bool MIN = HEAD_ == 4;
    struct raw { uint4 q; uint32_t head; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        return {rh_load16(row + 16 * unit), MIN ? rh_load4(heads + 4 * unit) : rh_load2(heads + 2 * unit)};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &) { return rh_bytes(rh_nibbles(r.q, quad), OFFSET); }
    RH_UNPACK float scale(const raw &r, int, int) { return rh_half_bits(r.head & 0xffff); }
    RH_UNPACK float min(const raw &r, int, int) { return -rh_half_bits(r.head >> 16); }
};
typedef rh_unpack_q4<2, 8> rh_unpack_q4_0;
typedef rh_unpack_q4<4, 0> rh_unpack_q4_1;

template <int HEAD_, int OFFSET> struct rh_unpack_q5 : rh_blocks<1, 16, HEAD_, 1> {
    static constexpr bool MIN = HEAD_ == 8, LARGE = true;
    struct raw { uint4 q; uint32_t scales, high; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *h = heads + HEAD_ * unit;
        if (MIN) return {rh_load16(row + 16 * unit), rh_load4(h), rh_load4(h + 4)};
        return {rh_load16(row + 16 * unit), rh_load2(h), rh_load2(h + 2) | rh_load2(h + 4) << 16};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &)
    {
        return rh_bytes(rh_nibbles(r.q, quad) | rh_fifths(r.high >> 4 * quad), OFFSET);
    }
    RH_UNPACK float scale(const raw &r, int, int) { return rh_half_bits(r.scales & 0xffff); }
    RH_UNPACK float min(const raw &r, int, int) { return -rh_half_bits(r.scales >> 16); }
};
typedef rh_unpack_q5<6, 16> rh_unpack_q5_0;
typedef rh_unpack_q5<8, 0> rh_unpack_q5_1;

struct rh_unpack_q8_0 : rh_blocks<1, 32, 2, 1> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q[2]; uint32_t d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        return {{rh_load16(row + 32 * unit), rh_load16(row + 32 * unit + 16)}, rh_load2(heads + 2 * unit)};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &)
    {
        const uint32_t low = rh_word(r.q[0], quad % 4), high = rh_word(r.q[1], quad % 4);
        return rh_bytes((quad / 4 ? high : low) ^ 0x80808080, 128);
    }
    RH_UNPACK float scale(const raw &r, int, int) { return rh_half_bits(r.d); }
    RH_UNPACK float min(const raw &, int, int) { return 0; }
};

/* Scales and mins of Q4_K and Q5_K: d, dmin and 12 bytes s of 6-bit numbers. Those of sub-blocks j = 2g and 2g + 1, which
 * are a unit's halves, lie two by two: in a = s[j % 4 ..], b = s[4 + j % 4 ..] and c = s[8 + j % 4 ..]. */
template <int CODES_> struct rh_k_blocks : rh_blocks<8, CODES_, 16, 2> {
    static constexpr bool MIN = true;
    RH_UNPACK float scale_of(const uint4 &head, int unit, int half)
    {
        const int at = unit / 2 % 2 * 16 + 8 * half;
        const uint32_t a = head.y >> at, c = head.w >> at;
        return rh_half_bits(head.x & 0xffff) * (float)(unit % 8 < 4 ? a & 63 : (c & 15) | (a >> 2 & 48));
    }
    RH_UNPACK float min_of(const uint4 &head, int unit, int half)
    {
        const int at = unit / 2 % 2 * 16 + 8 * half;
        const uint32_t b = head.z >> at, c = head.w >> at;
        return rh_half_bits(head.x >> 16) * (float)(unit % 8 < 4 ? b & 63 : (c >> 4 & 15) | (b >> 2 & 48));
    }
};

struct rh_unpack_q4_k : rh_k_blocks<128> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q, head; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        return {rh_load16(row + 16 * unit), rh_load16(head(heads, unit))};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int, int quad, Table &) { return rh_bytes(rh_nibbles(r.q, quad), 0); }
    RH_UNPACK float scale(const raw &r, int unit, int half) { return scale_of(r.head, unit, half); }
    RH_UNPACK float min(const raw &r, int unit, int half) { return min_of(r.head, unit, half); }
};

struct rh_unpack_q5_k : rh_k_blocks<160> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q, high, head; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *b = block(row, unit);
        return {rh_load16(b + 32 + unit % 8 * 16), rh_load16(b + unit % 2 * 16), rh_load16(head(heads, unit))};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int unit, int quad, Table &)
    {
        const uint32_t high = rh_word(r.high, quad % 4) >> (unit % 8 / 2 * 2 + quad / 4);
        return rh_bytes(rh_nibbles(r.q, quad) | (high & 0x01010101) << 4, 0);
    }
    RH_UNPACK float scale(const raw &r, int unit, int half) { return scale_of(r.head, unit, half); }
    RH_UNPACK float min(const raw &r, int unit, int half) { return min_of(r.head, unit, half); }
};

/* The other K types have a scale a 16 columns. Of a block's 128 columns unit u % 4 has those 16 that begin at 16 (u % 4), and
 * those 64 further; sub-block j = 8 (u / 4 % 2) + u % 4, and j + 4. */
struct rh_unpack_q6_k : rh_blocks<8, 192, 18, 4> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q, high; int32_t scales[2]; uint32_t d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *b = block(row, unit), *h = head(heads, unit);
        const int u = unit % 8, j = u / 4 * 8 + u % 4;
        return {rh_load16(b + 16 * u), rh_load16(b + 128 + u / 4 * 32 + u % 2 * 16), {(int8_t)h[j], (int8_t)h[j + 4]}, rh_load2(h + 16)};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int unit, int quad, Table &)
    {
        const uint32_t high = rh_word(r.high, quad % 4) >> (unit % 4 / 2 * 2 + quad / 4 * 4);
        return rh_bytes(rh_nibbles(r.q, quad) | (high & 0x03030303) << 4, 32);
    }
    RH_UNPACK float scale(const raw &r, int, int half) { return rh_half_bits(r.d) * (float)(half ? r.scales[1] : r.scales[0]); }
    RH_UNPACK float min(const raw &, int, int) { return 0; }
};

struct rh_unpack_q2_k : rh_blocks<8, 64, 20, 4> {
    static constexpr bool MIN = true, LARGE = true;
    struct raw { uint4 q; uint32_t scales[2], d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *h = head(heads, unit);
        const int u = unit % 8, j = u / 4 * 8 + u % 4;
        return {rh_load16(block(row, unit) + u / 4 * 32 + u % 2 * 16), {h[j], h[j + 4]}, rh_load4(h + 16)};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int unit, int quad, Table &)
    {
        return rh_bytes(rh_word(r.q, quad % 4) >> (unit % 4 / 2 * 2 + quad / 4 * 4) & 0x03030303, 0);
    }
    RH_UNPACK float scale(const raw &r, int, int half) { return rh_half_bits(r.d & 0xffff) * (float)((half ? r.scales[1] : r.scales[0]) & 15); }
    RH_UNPACK float min(const raw &r, int, int half) { return rh_half_bits(r.d >> 16) * (float)((half ? r.scales[1] : r.scales[0]) >> 4); }
};

struct rh_unpack_q3_k : rh_blocks<8, 96, 14, 4> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q, high; uint32_t low[2], top, d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *b = block(row, unit), *h = head(heads, unit);
        const int u = unit % 8, from = u % 2 * 16;
        return {rh_load16(b + 32 + u / 4 * 32 + from), rh_load16(b + from), {h[u % 4], h[u % 4 + 4]}, h[8 + u % 4], rh_load2(h + 12)};
    }
    template <class Table> RH_UNPACK float4 codes(const raw &r, int unit, int quad, Table &)
    {
        const int pair = unit % 4 / 2 + quad / 4 * 2;
        const uint32_t low = rh_word(r.q, quad % 4) >> 2 * pair, high = rh_word(r.high, quad % 4) >> (unit % 8 / 4 * 4 + pair);
        return rh_bytes((low & 0x03030303) | (high & 0x01010101) << 2, 4);
    }
    RH_UNPACK float scale(const raw &r, int unit, int half)
    {
        const int eight = unit % 8 / 4;
        const uint32_t s = ((half ? r.low[1] : r.low[0]) >> 4 * eight & 15) | (r.top >> (4 * eight + 2 * half) & 3) << 4;
        return rh_half_bits(r.d) * (float)((int)s - 32);
    }
    RH_UNPACK float min(const raw &, int, int) { return 0; }
};

/* ---- codes that are numbers of values ------------------------------------------------------- */

template <class Blocks> struct rh_looking_up : Blocks {
    static constexpr bool TABLE = true;
    template <class Raw, class Table> RH_UNPACK float4 codes(const Raw &r, int, int quad, Table &table)
    {
        return rh_looked_up(rh_nibbles(r.q, quad), table);
    }
    template <class Raw> RH_UNPACK float min(const Raw &, int, int) { return 0; }
};

RH_UNPACK float rh_iq4_entry(int i)
{
    static constexpr signed char values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    return (float)values[i];
}

struct rh_unpack_iq4_nl : rh_looking_up<rh_blocks<1, 16, 2, 1>> {
    struct raw { uint4 q; uint32_t d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit) { return {rh_load16(row + 16 * unit), rh_load2(heads + 2 * unit)}; }
    RH_UNPACK float scale(const raw &r, int, int) { return rh_half_bits(r.d); }
    RH_UNPACK float entry(int i) { return rh_iq4_entry(i); }
};

struct rh_unpack_iq4_xs : rh_looking_up<rh_blocks<8, 128, 8, 1>> {
    static constexpr bool LARGE = true;
    struct raw { uint4 q; uint32_t d, low; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit)
    {
        const uint8_t *h = head(heads, unit);
        return {rh_load16(row + 16 * unit), rh_load4(h), rh_load4(h + 4)};
    }
    RH_UNPACK float scale(const raw &r, int unit, int)
    {
        const int u = unit % 8;
        const uint32_t s = (r.low >> 4 * u & 15) | (r.d >> (16 + 2 * u) & 3) << 4;
        return rh_half_bits(r.d & 0xffff) * (float)((int)s - 32);
    }
    RH_UNPACK float entry(int i) { return rh_iq4_entry(i); }
};

struct rh_unpack_mxfp4 : rh_looking_up<rh_blocks<1, 16, 1, 1>> {
    struct raw { uint4 q; uint32_t e; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit) { return {rh_load16(row + 16 * unit), heads[unit]}; }
    RH_UNPACK float scale(const raw &r, int, int) { return __uint_as_float(r.e < 2 ? 0x00200000u << r.e : (r.e - 1) << 23); }
    RH_UNPACK float entry(int i)
    {
        static constexpr signed char values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
        return (float)values[i];
    }
};

struct rh_unpack_nf4 : rh_looking_up<rh_blocks<2, 32, 4, 2>> {
    struct raw { uint4 q; uint32_t d; };
    RH_UNPACK raw load(const uint8_t *row, const uint8_t *heads, int unit) { return {rh_load16(row + 16 * unit), rh_load4(head(heads, unit))}; }
    RH_UNPACK float scale(const raw &r, int, int) { return __uint_as_float(r.d); }
    RH_UNPACK float entry(int i)
    {
        static constexpr float values[16] = {
            -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
            -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
            0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
        };
        return values[i];
    }
};

/* ---- uses ------------------------------------------------------------------------------------- */

/* The quad's values, bit for bit those of rh_dequantize_row. */
template <class T, class Raw, class Table> RH_UNPACK float4 rh_exact(const Raw &r, int unit, int quad, Table &table)
{
    float4 v = T::codes(r, unit, quad, table);
    if (!T::SCALED) return v;
    const float s = T::scale(r, unit, quad / 4);
    v = make_float4(__fmul_rn(v.x, s), __fmul_rn(v.y, s), __fmul_rn(v.z, s), __fmul_rn(v.w, s));
    if (!T::MIN) return v;
    const float m = T::min(r, unit, quad / 4);
    return make_float4(__fsub_rn(v.x, m), __fsub_rn(v.y, m), __fsub_rn(v.z, m), __fsub_rn(v.w, m));
}

/* Before the block's first barrier, by all its threads. */
template <class T, class Table> RH_UNPACK void rh_fill_table(Table &table)
{
    if (T::TABLE && threadIdx.x < 16) table[threadIdx.x] = T::entry((int)threadIdx.x);
}

/* The launcher's way from a type's number to a template: WITH(rh_unpack_q4_0); … */
#define RH_UNPACK_SWITCH(type, WITH)                                                                                   \
    switch (type) {                                                                                                    \
    case RH_F32: WITH(rh_unpack_f32);                                                                                  \
    case RH_F16: WITH(rh_unpack_f16);                                                                                  \
    case RH_BF16: WITH(rh_unpack_bf16);                                                                                \
    case RH_Q4_0: WITH(rh_unpack_q4_0);                                                                                \
    case RH_Q4_1: WITH(rh_unpack_q4_1);                                                                                \
    case RH_Q5_0: WITH(rh_unpack_q5_0);                                                                                \
    case RH_Q5_1: WITH(rh_unpack_q5_1);                                                                                \
    case RH_Q8_0: WITH(rh_unpack_q8_0);                                                                                \
    case RH_Q4_K: WITH(rh_unpack_q4_k);                                                                                \
    case RH_Q5_K: WITH(rh_unpack_q5_k);                                                                                \
    case RH_Q6_K: WITH(rh_unpack_q6_k);                                                                                \
    case RH_NF4: WITH(rh_unpack_nf4);                                                                                  \
    case RH_Q2_K: WITH(rh_unpack_q2_k);                                                                                \
    case RH_Q3_K: WITH(rh_unpack_q3_k);                                                                                \
    case RH_IQ4_NL: WITH(rh_unpack_iq4_nl);                                                                            \
    case RH_IQ4_XS: WITH(rh_unpack_iq4_xs);                                                                            \
    case RH_MXFP4: WITH(rh_unpack_mxfp4);                                                                              \
    default: return cudaErrorInvalidValue;                                                                             \
    }

#endif

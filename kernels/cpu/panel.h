/* panel.h - the one layout of repacked quantised weights, read by every instruction set.
 *
 * A panel is 16 rows. For each block of 32 columns its record holds, for the 16 rows,
 *   codes   unsigned. 8-bit: vectors v = 0..7 of 64 bytes, byte 4 r + k = column 4 v + k of row
 *           r, so that a 32-bit lane is a row. 4 bits and more: 4 such vectors of nibbles, low
 *           nibbles vector v, high ones vector v + 4 (columns 16 on). NF4's bytes k are columns
 *           4 v + (0 2 1 3), as q of 16 bits has them;
 *   bits    Q5: a 64-bit mask for each vector, bit 4 r + k: the fifth bit. Q6: two vectors of
 *           64 bytes; bits 2 i, 2 i + 1 of vector h are the top bits of vector 4 h + i;
 *   scales  as many bytes as in the file: d [16] f16 (and m [16] f16), or the K types'
 *           sub-block scales as bytes: Q4_K, Q5_K sc [16], mn [16]; Q6_K i8 [2][16].
 * K types have before every 8 blocks a header of d [16] (and dmin [16]) f16; NF4 before every 2 one
 * of d [16] f32.
 *
 *   w = scale * (code - offset) + min,   scale = d (sc),  min = m or -dmin mn
 *   NF4: w = d / 1722.1 * value[code], whole numbers in place of its 16 values
 *
 * NF4's whole numbers times 16-bit q, summed over 32 columns, stay below 2^31, and 1722.1 is where
 * they are nearest to its values: 2e-4 of a weight's mean size, a third of what bf16 would lose.
 *
 * Rows beyond the last are zero. Bytes a row and block are those of the file, except that
 * Q4_K and Q5_K keep their 6-bit scales in 8 bits (2.8 and 2.3 % more). */
#ifndef RH_KERNELS_CPU_PANEL_H
#define RH_KERNELS_CPU_PANEL_H

#include "kernels/cpu/cpu.h"

typedef struct rh_panel_layout {
    int codes, bits, scales; /* bytes a block record, in this order */
    int header, per_header;  /* bytes before every so many blocks */
    int offset;              /* subtracted from codes */
    bool min;
} rh_panel_layout;

#define RH_PANEL_LAYOUTS                                                                           \
    {                                                                                              \
        [RH_Q4_0] = { 256, 0, 32, 0, 1, 8, false }, [RH_Q4_1] = { 256, 0, 64, 0, 1, 0, true },     \
        [RH_Q5_0] = { 256, 64, 32, 0, 1, 16, false }, [RH_Q5_1] = { 256, 64, 64, 0, 1, 0, true },  \
        [RH_Q8_0] = { 512, 0, 32, 0, 1, 128, false }, [RH_Q4_K] = { 256, 0, 32, 64, 8, 0, true },  \
        [RH_Q5_K] = { 256, 64, 32, 64, 8, 0, true }, [RH_Q6_K] = { 256, 128, 32, 32, 8, 32, false }, \
        [RH_NF4] = { 256, 0, 0, 64, 2, 0, false }                                                  \
    }

#define RH_NF4_UNIT 1722.1f
#define RH_NF4_WHOLE                                                                               \
    { -1722, -1199, -904, -680, -490, -318, -157, 0, 137, 277, 424, 582, 759, 969, 1245, 1722 }

/* Their low bytes and their high ones: what a lookup of bytes needs. */
static inline void rh_nf4_bytes(int8_t low[16], int8_t high[16])
{
    static const int16_t whole[16] = RH_NF4_WHOLE;
    for (int i = 0; i < 16; i++) {
        low[i] = (int8_t)(whole[i] & 255);
        high[i] = (int8_t)(whole[i] >> 8);
    }
}

static inline bool rh_panel_type(rh_dtype t) { return t >= RH_Q4_0 && t <= RH_NF4; }
const rh_panel_layout *rh_panel_layout_of(rh_dtype t);
size_t rh_panel_bytes(rh_dtype t, int32_t cols); /* of one panel */

#endif

/* limits.h - loops that reach a processor's own limits, for rh_measure_machine. */
#ifndef RH_KERNELS_CPU_LIMITS_H
#define RH_KERNELS_CPU_LIMITS_H

#include "kernels/cpu/cpu.h"

/* Each runs `rounds` rounds and returns the operations of one (a multiply-add is two), or 0
 * where there is no such instruction. *sink keeps the compiler honest. */
typedef struct rh_cpu_peaks {
    double (*f32)(int64_t rounds, float *sink);
    double (*bf16)(int64_t rounds, float *sink);
    double (*int8)(int64_t rounds, float *sink);
    uint64_t (*read)(const uint64_t *p, size_t n); /* the sum of [n]; n a multiple of 64 */
} rh_cpu_peaks;

extern const rh_cpu_peaks rh_peaks_generic, rh_peaks_avx2, rh_peaks_avx512;

#endif

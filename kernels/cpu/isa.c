#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
static bool has_f16c(void) /* a name __builtin_cpu_supports knows in gcc only */
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

/* What CPUID (and the operating system, by XGETBV) offers; __builtin_cpu_supports asks both. */
rh_isa rh_cpu_best_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return RH_ISA_GENERIC;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
        __builtin_cpu_supports("avx512vbmi"))
        return RH_ISA_AVX512;
    return RH_ISA_AVX2;
#else
    return RH_ISA_GENERIC;
#endif
}

const rh_cpu_kernels *rh_cpu_kernels_of(rh_isa isa)
{
    switch (isa) {
#if defined(__x86_64__)
    case RH_ISA_AVX512: return &rh_cpu_avx512;
    case RH_ISA_AVX2: return &rh_cpu_avx2;
#endif
    default: return &rh_cpu_generic;
    }
}

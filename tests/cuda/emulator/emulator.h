/* emulator.h - CUDA C++ for one host thread, as far as kernels/cuda uses it: what kernels/cuda/launch.h includes when
 * RH_CUDA_EMULATED is defined. A warp has 32 lanes; a block's threads are fibers that run, in an order drawn from a
 * seed, until they meet others; blocks run one after the other. What a kernel does wrong is reported with the kernel,
 * block and thread, and ends the program. tests/cuda/README.md says what is caught. */
#ifndef RH_EMULATOR_H
#define RH_EMULATOR_H

#include <assert.h>
#include <cuda_runtime_api.h>

#include "tests/cuda/emulator/warp.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ __attribute__((always_inline)) inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

/* Byte i of the result is that of y:x (8 bytes) which nibble i of s names; its sign bit, all over, if the nibble's fourth bit is set. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    const uint64_t both = (uint64_t)y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned byte = (unsigned)(both >> (s >> 4 * i & 7) * 8) & 255;
        r |= (s >> 4 * i & 8 ? (byte >> 7) * 255 : byte) << 8 * i;
    }
    return r;
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline void sincospif(float x, float *s, float *c)
{
    *s = (float)sin(3.14159265358979324 * (double)x);
    *c = (float)cos(3.14159265358979324 * (double)x);
}
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

#define EMU_MIN_MAX(T)                                                                             \
    static inline T min(T a, T b) { return b < a ? b : a; }                                        \
    static inline T max(T a, T b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

namespace emu {

/* Checks what a device would refuse, then puts the grid on the stream. */
cudaError_t launch(const char *kernel, dim3 grid, dim3 block, size_t shared, void *stream, std::function<void()> body);
/* A kernel's argument: fails if a pointer of the host is in it. */
void check_argument(const char *kernel, int i, const void *p, size_t bytes);

template <class Kernel, class... Arguments>
static inline cudaError_t launch_all(const char *name, Kernel kernel, dim3 grid, dim3 block, size_t shared, void *stream,
                                     Arguments... arguments)
{
    int i = 0;
    (check_argument(name, i++, &arguments, sizeof arguments), ...);
    return launch(name, grid, block, shared, stream, [=] { kernel(arguments...); });
}

} // namespace emu

#define RH_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    emu::launch_all(#kernel, kernel, dim3 grid, dim3 block, shared, stream, __VA_ARGS__)

#endif

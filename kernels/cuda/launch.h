/* launch.h - the CUDA C++ that kernels are written in, under nvcc and under the tests' emulator alike.
 * Included by .cu files only. What differs between the two is spelled with the macros below:
 *
 *   RH_SHARED(float, tile, 32 * 33);      a shared array, indexed only: no pointer into it is formed, so that the
 *                                         emulator sees every access. Functions take one as a template parameter.
 *   RH_SHARED_DYNAMIC(float, rows);       the launch's dynamic shared memory (at most one a kernel)
 *   RH_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)   what <<<>>> says; gives cudaError_t.
 *                                         A kernel that is a template with commas stands in parentheses.
 *
 * Warps have 32 lanes; shuffles and votes name all lanes of theirs (RH_WARP), and every lane of the warp takes part. */
#ifndef RH_KERNELS_CUDA_LAUNCH_H
#define RH_KERNELS_CUDA_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef RH_CUDA_EMULATED
#include <emulator.h> /* defines the macros, threadIdx and the like */
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define RH_SHARED(type, name, n) __shared__ type name[n]
#define RH_SHARED_DYNAMIC(type, name)                                                              \
    extern __shared__ __align__(16) unsigned char rh_dynamic_[];                                   \
    type *const name = (type *)rh_dynamic_

template <class Kernel, class... Arguments>
static inline cudaError_t rh_launch_(Kernel kernel, dim3 grid, dim3 block, size_t shared, void *stream, Arguments... arguments)
{
    if (shared > 48 * 1024) {
        cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        if (e != cudaSuccess) return e;
    }
    kernel<<<grid, block, shared, (cudaStream_t)stream>>>(arguments...);
    return cudaGetLastError();
}
#define RH_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    rh_launch_(kernel, dim3 grid, dim3 block, shared, stream, __VA_ARGS__)
#endif

#define RH_WARP 0xffffffffu

/* Sums and maxima of a warp, in every lane; the same order of additions whatever the lane. */
template <class T> static __device__ inline T rh_warp_sum(T x)
{
    for (int lane = 16; lane; lane >>= 1) x += __shfl_xor_sync(RH_WARP, x, lane);
    return x;
}
template <class T> static __device__ inline T rh_warp_max(T x)
{
    for (int lane = 16; lane; lane >>= 1) {
        const T y = __shfl_xor_sync(RH_WARP, x, lane);
        x = y > x ? y : x;
    }
    return x;
}

#endif

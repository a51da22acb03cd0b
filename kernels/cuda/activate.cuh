/* activate.cuh - rh_activation on a device, for the product that ends in one and for the operation by itself. */
#ifndef RH_KERNELS_CUDA_ACTIVATE_CUH
#define RH_KERNELS_CUDA_ACTIVATE_CUH

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

/* g / (1 + exp(-a)), of which silu has a = g and gelu a = 2 sqrt(2/pi) (g + 0.044715 g^3): g/2 (1 + tanh(a/2)). As on a
 * CPU exp's argument is bounded, so that -inf comes out, not NaN; a NaN passes. */
static __device__ inline float rh_activate(float g, int32_t act)
{
    float a = act == RH_ACT_SILU ? g : 2 * 0.7978845608f * (g + 0.044715f * g * g * g);
    a = a < -88.3f ? -88.3f : a;
    return g / (1 + expf(-a));
}

#endif

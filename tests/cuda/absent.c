/* Kernels that are not written yet, so that tests of the others link; a real one takes its place. */
#include "kernels/cuda/kernels.h"

#define ABSENT(name)                                                                               \
    __attribute__((weak)) int name(void *stream, const void *args)                                 \
    {                                                                                              \
        (void)stream;                                                                              \
        (void)args;                                                                                \
        return 999;                                                                                \
    }
ABSENT(rh_cuda_matmul)
ABSENT(rh_cuda_expand)
ABSENT(rh_cuda_round)
ABSENT(rh_cuda_bias)
ABSENT(rh_cuda_embed)
ABSENT(rh_cuda_rows)
ABSENT(rh_cuda_gather)
ABSENT(rh_cuda_glu)
ABSENT(rh_cuda_add)
ABSENT(rh_cuda_softcap)
ABSENT(rh_cuda_rope)
ABSENT(rh_cuda_scatter)
ABSENT(rh_cuda_attention)
ABSENT(rh_cuda_sample)
ABSENT(rh_cuda_screen)
ABSENT(rh_cuda_cosines)
__attribute__((weak)) size_t rh_cuda_sample_scratch(int32_t n) { return (size_t)n; }
__attribute__((weak)) int32_t rh_cuda_attention_parts(const rh_attention_params *p, int32_t n, int32_t longest, bool few)
{
    (void)p;
    (void)n;
    (void)longest;
    (void)few;
    return 1;
}

/* fuse.h - fewer launches that leave the same memory: a function of the list alone.
 *
 *   steps on the same rows, one after the other            one rh_cuda_rows
 *   a norm, and a product of few rows that reads it        the norm inside rh_cuda_matmul, its result still kept
 *   gate and up, and the gated activation of the two       inside rh_cuda_matmul; up's memory is not written then,
 *                                                          which ops.h's glu allows
 *   norms of heads, rotations of q and k, both scatters    one rh_cuda_rope
 *
 * Commands are joined only where no block of the one launch can see what another block of it writes: arrays that are
 * written are the same, row by row, or apart. */
#ifndef RH_KERNELS_CUDA_FUSE_H
#define RH_KERNELS_CUDA_FUSE_H

#include "kernels/cuda/commands.h"

/* to is emptied first. False: no memory; the list from is as good, only longer. */
bool rh_cuda_fuse(rh_cuda_commands *to, const rh_cuda_commands *from);

#endif

#include "kernels/cuda/launch.h"
#include "tests/cuda/wrong_kernels.h"

/* ---- right */

static __global__ void reverse(float *x)
{
    RH_SHARED(float, tile, 64);
    float *mine = x + blockIdx.x * 64;
    tile[threadIdx.x] = mine[threadIdx.x];
    __syncthreads();
    mine[threadIdx.x] = tile[63 - threadIdx.x];
}
int launch_reverse(void *stream, float *x) { return RH_LAUNCH(reverse, (2), (64), 0, stream, x); }

static __global__ void reverse_warps(float *x)
{
    RH_SHARED(float, tile, 64);
    const int warp = (int)threadIdx.x & ~31, lane = (int)threadIdx.x & 31;
    float *mine = x + blockIdx.x * 64 + warp;
    for (int round = 0; round < 3; round++) {
        tile[warp + lane] = mine[lane];
        __syncwarp();
        mine[lane] = tile[warp + 31 - lane];
        __syncwarp();
    }
}
int launch_reverse_warps(void *stream, float *x) { return RH_LAUNCH(reverse_warps, (2), (64), 0, stream, x); }

static __global__ void sums(const float *x, float *out)
{
    RH_SHARED_DYNAMIC(float, total);
    if (threadIdx.x == 0) total[0] = 0;
    __syncthreads();
    const float sum = rh_warp_sum(x[blockIdx.x * 64 + threadIdx.x]);
    if (threadIdx.x % 32 == 0) atomicAdd(&total[0], sum);
    __syncthreads();
    if (threadIdx.x == 0) out[blockIdx.x] = total[0];
}
int launch_sums(void *stream, const float *x, float *out) { return RH_LAUNCH(sums, (2), (64), sizeof(float), stream, x, out); }

static __global__ void order(unsigned *count, unsigned *out)
{
    out[blockIdx.x * 64 + threadIdx.x] = atomicAdd(count, 1u);
    __syncthreads();
}
int launch_order(void *stream, unsigned *count, unsigned *out) { return RH_LAUNCH(order, (2), (64), 0, stream, count, out); }

static __global__ void collectives(unsigned *out)
{
    const int t = (int)threadIdx.x, lane = t & 31;
    unsigned wrong = 0;
    wrong |= (__shfl_sync(RH_WARP, t, 5) != (t & 32) + 5) << 0;
    wrong |= (__shfl_sync(RH_WARP, t, 3, 8) != (t & ~7) + 3) << 1;
    wrong |= (__shfl_up_sync(RH_WARP, t, 4) != (lane < 4 ? t : t - 4)) << 2;
    wrong |= (__shfl_down_sync(RH_WARP, t, 4, 16) != (lane % 16 >= 12 ? t : t + 4)) << 3;
    wrong |= (__shfl_xor_sync(RH_WARP, (double)t, 9) != (double)(t ^ 9)) << 4;
    wrong |= (__ballot_sync(RH_WARP, lane % 3 == 0) != 0x49249249u) << 5;
    wrong |= (__any_sync(RH_WARP, t == 40) != (t >= 32)) << 6;
    wrong |= (__all_sync(RH_WARP, t < 32) != (t < 32)) << 7;
    wrong |= (__syncthreads_count(t % 2) != 32) << 8;
    wrong |= (__syncthreads_or(t == 7) != 1) << 9;
    wrong |= (__syncthreads_or(t == 70) != 0) << 10;
    wrong |= (rh_warp_max((float)t) != (float)(t | 31)) << 11;
    out[blockIdx.x * 64 + threadIdx.x] = wrong;
}
int launch_collectives(void *stream, unsigned *out) { return RH_LAUNCH(collectives, (2), (64), 0, stream, out); }

/* ---- wrong: x [127] ends one float before a multiple of 16 bytes, which is where the guard begins */

#define WRONG(name, ...)                                                                           \
    static __global__ void name(float *x)                                                          \
    {                                                                                              \
        const int t = (int)threadIdx.x;                                                            \
        (void)t, (void)x;                                                                          \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    static int launch_##name(float *x, float *freed)                                               \
    {                                                                                              \
        (void)freed;                                                                               \
        return RH_LAUNCH(name, (2), (64), 0, NULL, x);                                             \
    }

WRONG(reads_past_end, if (t == 3) x[0] = x[128];)
WRONG(writes_past_end, if (t == 3) x[127] = 1;)
WRONG(reads_before, if (t == 3) x[0] = x[-900];)
WRONG(writes_before, if (t == 3) x[-1] = 1;)
WRONG(reads_far_away, if (t == 3) x[0] = x[(size_t)1 << 40];)
WRONG(reads_misaligned, if (t == 3) x[0] = ((const float4 *)(x + 1))[0].y;)
WRONG(index_out_of_bounds, RH_SHARED(float, tile, 64); tile[t + 1] = x[t];)
WRONG(negative_index, RH_SHARED(float, tile, 64); tile[t - 1] = x[t];)
WRONG(reads_unwritten, RH_SHARED(float, tile, 64); if (t < 63) tile[t] = x[t]; __syncthreads(); x[t] = tile[t];)
WRONG(adds_to_unwritten, RH_SHARED(float, tile, 1); atomicAdd(&tile[0], x[t]);)
WRONG(no_barrier_after_write, RH_SHARED(float, tile, 64); tile[t] = 0; __syncthreads(); tile[t] = 1; x[t] = tile[63 - t];)
WRONG(no_barrier_after_read, RH_SHARED(float, tile, 64); tile[t] = x[t]; __syncthreads(); const float y = tile[63 - t];
      tile[t] = y;)
WRONG(two_write, RH_SHARED(float, tile, 1); tile[0] = x[t];)
WRONG(shuffle_is_no_barrier, RH_SHARED(float, tile, 64); tile[t] = x[t]; x[t] = rh_warp_sum(1.0f); x[t] = tile[t ^ 1];)
WRONG(syncwarp_is_no_barrier, RH_SHARED(float, tile, 64); tile[t] = 0; __syncthreads(); tile[t] = 1; __syncwarp();
      x[t] = tile[t ^ 32];)
WRONG(ended_before_barrier, if (t < 40) return; __syncthreads();)
WRONG(two_barriers,
      if (t < 32) {
          __syncthreads();
      } else {
          __syncthreads_or(1);
      })
WRONG(half_a_warp_shuffles, if (t % 32 < 16) x[t] = __shfl_sync(RH_WARP, x[t], 0);)
WRONG(two_shuffles, x[t] = t % 2 ? __shfl_sync(RH_WARP, x[t], 0) : __shfl_xor_sync(RH_WARP, x[t], 1);)
WRONG(vote_and_barrier, if (t % 32 == 9) __syncthreads(); x[t] = (float)__any_sync(RH_WARP, t);)
WRONG(part_of_a_mask, x[t] = __shfl_sync(0xffffu, x[t], 0);)

static __global__ void plain(float *x) { x[threadIdx.x] = 1; }
static int launch_freed(float *x, float *freed)
{
    (void)x;
    return RH_LAUNCH(plain, (2), (64), 0, NULL, freed);
}
static int launch_ragged(float *x, float *freed)
{
    (void)freed;
    return RH_LAUNCH(plain, (2), (48), 0, NULL, x);
}
static int launch_host_pointer(float *x, float *freed)
{
    (void)x;
    (void)freed;
    float *host = new float[64];
    return RH_LAUNCH(plain, (2), (64), 0, NULL, host);
}

#define ROW(name, report) {#name, report, launch_##name}
const wrong_kernel wrong_kernels[] = {
    ROW(reads_past_end, "reads or writes 4 bytes after the end of an allocation of 508 bytes"),
    ROW(writes_past_end, "wrote 0 bytes after the end of an allocation of 508 bytes"),
    ROW(reads_before, "reads or writes 3600 bytes before an allocation of 508 bytes"),
    ROW(writes_before, "wrote 4 bytes before an allocation of 508 bytes"),
    ROW(reads_far_away, "which is not memory of the device"),
    ROW(reads_misaligned, "misaligned"),
    ROW(index_out_of_bounds, "shared tile[64] is out of bounds: it has 64 elements"),
    ROW(negative_index, "shared tile[-1] is out of bounds"),
    ROW(reads_unwritten, "shared tile[63]: reads what nobody has written"),
    ROW(adds_to_unwritten, "shared tile[0]: changes what nobody has written"),
    ROW(no_barrier_after_write, "no barrier after"),
    ROW(no_barrier_after_read, "no barrier after"),
    ROW(two_write, "shared tile[0]: writes, with no barrier after the write of thread"),
    ROW(shuffle_is_no_barrier, "no barrier after"),
    ROW(syncwarp_is_no_barrier, "no barrier after"),
    ROW(ended_before_barrier, "divergent barrier: thread"),
    ROW(two_barriers, "divergent barrier: others wait at __syncthreads"),
    ROW(half_a_warp_shuffles, "divergent warp: thread"),
    ROW(two_shuffles, "divergent warp: other lanes wait at __shfl_"),
    ROW(vote_and_barrier, "divergent warp: thread"),
    ROW(part_of_a_mask, "the mask is 0000ffff"),
    {"plain", "reads or writes byte", launch_freed},
    {"plain", "a block of 48 threads is not made of whole warps", launch_ragged},
    {"plain", "memory of the host", launch_host_pointer},
};
const int n_wrong_kernels = sizeof wrong_kernels / sizeof wrong_kernels[0];

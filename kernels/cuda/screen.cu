/* screen.cu - which of many products exceed their levels: the few features of an SAE that are active. */
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

enum { THREADS = 256, WARPS = THREADS / 32, EACH = 16, AT_ONCE = THREADS * EACH };

/* Not below base + gain * floor, the level in double as on a CPU; so NaN is found, and seen. */
static __device__ inline bool passes(const rh_cuda_screen_args &a, int row, float p, float floor)
{
    if (!a.gain) return !(p < a.base[row]);
    return !((double)p < (double)a.base[row] + (double)a.gain[row] * (double)floor);
}

/* count [n], and row and value from start[t] on where they are wanted. A block takes a token's p [rows] and 4096 of them at
 * a time, a warp 512 that follow each other, a lane 16, every 32nd: votes then count those before any one in order, and
 * what comes out does not depend on who was first. Read: 4 bytes of p a product (base and gain stay in L2). */
static __global__ void __launch_bounds__(THREADS) screen_kernel(const rh_cuda_screen_args a)
{
    RH_SHARED(int, hits, WARPS);
    const int t = (int)blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float *p = a.p + (int64_t)t * a.rows;
    const float floor = a.gain ? a.floor[t] : 0;
    int64_t to = a.row ? a.start[t] : 0;
    int all = 0;
    for (int first = warp * 32 * EACH; first - warp * 32 * EACH < a.rows; first += AT_ONCE) {
        float value[EACH];
        unsigned votes[EACH];
        int mine = 0;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int row = first + 32 * i + lane;
            value[i] = row < a.rows ? p[row] : 0;
            votes[i] = row < a.rows && passes(a, row, value[i], floor);
        }
#pragma unroll
        for (int i = 0; i < EACH; i++) mine += __popc(votes[i] = __ballot_sync(RH_WARP, (int)votes[i]));
        __syncthreads();
        if (lane == 0) hits[warp] = mine;
        __syncthreads();
        int64_t at = to + all;
        for (int w = 0; w < WARPS; w++) {
            const int n = hits[w];
            all += n;
            at += w < warp ? n : 0;
        }
        if (!a.row) continue;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int64_t here = at + __popc(votes[i] & ((1u << lane) - 1));
            if (votes[i] >> lane & 1) a.row[here] = first + 32 * i + lane, a.value[here] = value[i];
            at += __popc(votes[i]);
        }
    }
    if (threadIdx.x == 0 && a.count) a.count[t] = all;
}

int rh_cuda_screen(void *stream, const void *args)
{
    const rh_cuda_screen_args *a = (const rh_cuda_screen_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(screen_kernel, ((unsigned)a->n), (THREADS), 0, stream, *a);
}

/* warp.h - what threads do together: shuffles, votes, barriers; and atomics, which are plain here, for one thread
 * runs at a time. */
#ifndef RH_EMULATOR_WARP_H
#define RH_EMULATOR_WARP_H

#include "tests/cuda/emulator/shared.h"

#define EMU_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMU_SITE(what) emu::site { what, file, line }

template <class T> static inline T emu_shuffle(T v, unsigned mask, emu::site at, int from)
{
    static_assert(sizeof(T) <= 8, "values of up to 8 bytes are shuffled");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = emu::meet_warp(bits, mask, at, false)[from];
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T> static inline T __shfl_sync(unsigned mask, T v, int from, int width = 32, EMU_AT)
{
    const int lane = (int)emu::now.lane;
    return emu_shuffle(v, mask, EMU_SITE("__shfl_sync"), (lane & ~(width - 1)) | (from & (width - 1)));
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, EMU_AT)
{
    const int lane = (int)emu::now.lane, from = lane - (int)by;
    return emu_shuffle(v, mask, EMU_SITE("__shfl_up_sync"), from < (lane & ~(width - 1)) ? lane : from);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, EMU_AT)
{
    const int lane = (int)emu::now.lane, from = lane + (int)by;
    return emu_shuffle(v, mask, EMU_SITE("__shfl_down_sync"), from > (lane | (width - 1)) ? lane : from);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32, EMU_AT)
{
    const int lane = (int)emu::now.lane, from = lane ^ with;
    return emu_shuffle(v, mask, EMU_SITE("__shfl_xor_sync"), from > (lane | (width - 1)) ? lane : from);
}

static inline unsigned emu_ballot(int p, unsigned mask, emu::site at)
{
    const uint64_t *all = emu::meet_warp(p != 0, mask, at, false);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) bits |= (unsigned)all[i] << i;
    return bits;
}
static inline unsigned __ballot_sync(unsigned mask, int p, EMU_AT) { return emu_ballot(p, mask, EMU_SITE("__ballot_sync")); }
static inline int __any_sync(unsigned mask, int p, EMU_AT) { return emu_ballot(p, mask, EMU_SITE("__any_sync")) != 0; }
static inline int __all_sync(unsigned mask, int p, EMU_AT) { return emu_ballot(p, mask, EMU_SITE("__all_sync")) == ~0u; }
static inline void __syncwarp(unsigned mask = ~0u, EMU_AT) { emu::meet_warp(0, mask, EMU_SITE("__syncwarp"), true); }

static inline void __syncthreads(EMU_AT) { emu::meet_block(0, EMU_SITE("__syncthreads")); }
static inline int __syncthreads_count(int p, EMU_AT) { return emu::meet_block(p, EMU_SITE("__syncthreads_count")); }
static inline int __syncthreads_or(int p, EMU_AT) { return emu::meet_block(p, EMU_SITE("__syncthreads_or")) != 0; }
static inline int __syncthreads_and(int p, EMU_AT)
{
    return emu::meet_block(!p, EMU_SITE("__syncthreads_and")) == 0;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

/* T is the element's type; the value is converted to it, as the overloads of CUDA do. */
template <class T> struct emu_same { typedef T type; };
#define EMU_ATOMIC(name, allowed, what)                                                            \
    template <class T> static inline T name(T *p, typename emu_same<T>::type v)                    \
    {                                                                                              \
        static_assert(allowed, #name " has no such type");                                         \
        const T old = *p;                                                                          \
        *p = what;                                                                                 \
        return old;                                                                                \
    }                                                                                              \
    template <class T> static inline T name(emu::shared_place<T> p, typename emu_same<T>::type v)  \
    {                                                                                              \
        return name(&p.view->atomic(p.i), v);                                                      \
    }
template <class T> constexpr bool emu_int = std::is_same<T, int>::value || std::is_same<T, unsigned>::value;
template <class T> constexpr bool emu_long = std::is_same<T, unsigned long long>::value;
template <class T> constexpr bool emu_float = std::is_same<T, float>::value;
EMU_ATOMIC(atomicAdd, emu_int<T> || emu_long<T> || emu_float<T>, (T)(old + v))
EMU_ATOMIC(atomicMax, emu_int<T> || emu_long<T>, v > old ? v : old)
EMU_ATOMIC(atomicMin, emu_int<T> || emu_long<T>, v < old ? v : old)
EMU_ATOMIC(atomicOr, emu_int<T> || emu_long<T>, old | v)
EMU_ATOMIC(atomicExch, emu_int<T> || emu_long<T> || emu_float<T>, v)

template <class T> static inline T atomicCAS(T *p, typename emu_same<T>::type expected, typename emu_same<T>::type v)
{
    static_assert(emu_int<T> || emu_long<T>, "atomicCAS has no such type");
    const T old = *p;
    if (old == expected) *p = v;
    return old;
}
template <class T>
static inline T atomicCAS(emu::shared_place<T> p, typename emu_same<T>::type expected, typename emu_same<T>::type v)
{
    return atomicCAS(&p.view->atomic(p.i), expected, v);
}

#endif

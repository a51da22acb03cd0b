/* shared.h - shared arrays that see every access. An element keeps who wrote and who read it last and when, so that
 * these are reported: an index out of bounds, a read of what nobody in this block has written, and two accesses by
 * different threads, one of them a write, with neither a barrier nor (within a warp) a __syncwarp between them.
 * Shuffles and votes do not order memory on a device, and so they do not here. */
#ifndef RH_EMULATOR_SHARED_H
#define RH_EMULATOR_SHARED_H

#include <type_traits>

#include "tests/cuda/emulator/block.h"

namespace emu {

struct touches { /* of one element; epoch 0: never */
    uint32_t write_epoch, write_warp_epoch, read_epoch, read_warp_epoch;
    uint16_t writer, reader;
    bool atomic;               /* the last write was */
    bool lanes_read, warps_read; /* others than `reader` have since read_epoch */
};

[[noreturn]] void fail_shared(const char *array, size_t i, size_t n, const char *what, int other);

static inline bool ordered(uint32_t epoch, uint32_t warp_epoch, uint32_t thread)
{
    return epoch < now.epoch || thread == now.thread || (thread / 32 == now.thread / 32 && warp_epoch < now.warp_epoch);
}

static inline void note_read(touches &t, const char *array, size_t i, size_t n)
{
    if (__builtin_expect(t.write_epoch < now.first_epoch, 0)) fail_shared(array, i, n, "reads what nobody has written", -1);
    if (__builtin_expect(!ordered(t.write_epoch, t.write_warp_epoch, t.writer), 0))
        fail_shared(array, i, n, "reads, with no barrier after the write of", t.writer);
    if (t.read_epoch == now.epoch) {
        if (t.reader / 32 != now.thread / 32) {
            t.warps_read = true;
            return;
        }
        if (t.read_warp_epoch == now.warp_epoch) {
            t.lanes_read |= t.reader != now.thread;
            return;
        }
    } else {
        t.warps_read = false;
    }
    t.read_epoch = now.epoch;
    t.read_warp_epoch = now.warp_epoch;
    t.reader = (uint16_t)now.thread;
    t.lanes_read = false;
}

static inline void note_write(touches &t, const char *array, size_t i, size_t n, bool atomic)
{
    if (t.write_epoch >= now.first_epoch && !(atomic && t.atomic) && !ordered(t.write_epoch, t.write_warp_epoch, t.writer))
        fail_shared(array, i, n, "writes, with no barrier after the write of", t.writer);
    if (t.read_epoch == now.epoch &&
        (t.warps_read || !ordered(t.read_epoch, t.read_warp_epoch, t.reader) ||
         (t.lanes_read && t.read_warp_epoch == now.warp_epoch)))
        fail_shared(array, i, n, "writes, with no barrier after a read of it by others, one of them", t.reader);
    t.write_epoch = now.epoch;
    t.write_warp_epoch = now.warp_epoch;
    t.writer = (uint16_t)now.thread;
    t.atomic = atomic;
}

template <class T> struct shared_view;

/* What &array[i] is: good for atomics only. */
template <class T> struct shared_place {
    const shared_view<T> *view;
    size_t i;
};

/* What array[i] is: to be read or written at once, never kept. */
template <class T> struct shared_element {
    const shared_view<T> *view;
    size_t i;

    operator T() && { return view->get(i); }
    void operator=(T v) && { view->put(i, v); }
    void operator=(shared_element &&o) && { view->put(i, o.view->get(o.i)); }
    void operator+=(T v) && { view->put(i, (T)(view->get(i) + v)); }
    void operator-=(T v) && { view->put(i, (T)(view->get(i) - v)); }
    void operator*=(T v) && { view->put(i, (T)(view->get(i) * v)); }
    void operator/=(T v) && { view->put(i, (T)(view->get(i) / v)); }
    void operator|=(T v) && { view->put(i, (T)(view->get(i) | v)); }
    void operator&=(T v) && { view->put(i, (T)(view->get(i) & v)); }
    void operator^=(T v) && { view->put(i, (T)(view->get(i) ^ v)); }
    void operator++() && { view->put(i, (T)(view->get(i) + 1)); }
    void operator++(int) && { view->put(i, (T)(view->get(i) + 1)); }
    shared_place<T> operator&() && { return {view, i}; }
};

template <class T> struct shared_view {
    T *data;
    touches *touched;
    size_t n;
    const char *name;

    void within(size_t i) const
    {
        if (__builtin_expect(i >= n, 0)) fail_shared(name, i, n, "is out of bounds", -1);
    }
    T get(size_t i) const
    {
        within(i);
        note_read(touched[i], name, i, n);
        return data[i];
    }
    void put(size_t i, T v) const
    {
        within(i);
        note_write(touched[i], name, i, n, false);
        data[i] = v;
    }
    T &atomic(size_t i) const
    {
        within(i);
        if (touched[i].write_epoch < now.first_epoch) fail_shared(name, i, n, "changes what nobody has written", -1);
        note_write(touched[i], name, i, n, true);
        return data[i];
    }
    template <class Index> shared_element<T> operator[](Index i) const
    {
        static_assert(std::is_integral<Index>::value, "an index is a whole number");
        return {this, (size_t)i};
    }
};

template <class T, size_t n> struct shared_store {
    static_assert(sizeof(T) * n <= STATIC_MOST, "more static shared memory than a block may have");
    alignas(16) T data[n];
    touches touched[n];
};

template <class T> static inline shared_view<T> dynamic_view(const char *name)
{
    static touches touched[DYNAMIC_MOST / sizeof(T)];
    size_t bytes;
    T *data = (T *)dynamic_shared(&bytes);
    return {data, touched, bytes / sizeof(T), name};
}

} // namespace emu

#define RH_SHARED(type, name, n)                                                                   \
    static emu::shared_store<type, (n)> name##_store_;                                             \
    const emu::shared_view<type> name = {name##_store_.data, name##_store_.touched, (n), #name}
#define RH_SHARED_DYNAMIC(type, name) const emu::shared_view<type> name = emu::dynamic_view<type>(#name)

#endif

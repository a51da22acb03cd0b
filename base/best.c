#include "base/best.h"

void rh_best_sink(rh_best *heap, int32_t n, int32_t at)
{
    for (;;) {
        int32_t least = at, l = 2 * at + 1;
        if (l < n && rh_worse(heap[l], heap[least])) least = l;
        if (l + 1 < n && rh_worse(heap[l + 1], heap[least])) least = l + 1;
        if (least == at) return;
        rh_best t = heap[at];
        heap[at] = heap[least];
        heap[least] = t;
        at = least;
    }
}

void rh_best_heap(rh_best *heap, int32_t n)
{
    for (int32_t j = n / 2; j-- > 0;) rh_best_sink(heap, n, j);
}

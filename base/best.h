/* best.h - the k best of many: a heap of them with the worst on top, which gives way to what is better. Of equal
 * values the one with the smaller index is better. */
#ifndef RH_BASE_BEST_H
#define RH_BASE_BEST_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rh_best { float p; int32_t i; } rh_best;

static inline bool rh_worse(rh_best a, rh_best b) { return a.p != b.p ? a.p < b.p : a.i > b.i; }

/* heap [n] but for heap[at], which may be better than what is below it. */
void rh_best_sink(rh_best *heap, int32_t n, int32_t at);
/* Any order -> a heap. */
void rh_best_heap(rh_best *heap, int32_t n);

#endif

/* help.h - what the tests of the kernels share: random data, weights, backends. */
#ifndef RH_TESTS_KERNELS_HELP_H
#define RH_TESTS_KERNELS_HELP_H

#include "kernels/ops.h"

/* Open a backend, or skip() the running test, saying why, if the processor lacks the isa. */
rh_backend *open_or_skip(rh_isa isa, int threads, bool exact);

uint32_t random_u32(uint64_t *state);
double random_unit(uint64_t *state);                       /* [0, 1) */
int random_between(uint64_t *state, int from, int to);     /* both included */
void random_floats(uint64_t *state, float *x, size_t n);   /* about normal, some tiny */
/* [rows] rows of random blocks whose scales are finite and of ordinary size. */
uint8_t *random_rows(uint64_t *state, rh_dtype t, int32_t rows, int32_t cols);

void *must_malloc(size_t bytes);
rh_buf *buf_of(rh_backend *be, const float *x, size_t n);
void read_buf(rh_backend *be, float *x, const rh_buf *b, size_t n);

#endif

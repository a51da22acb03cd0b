/* help.h - what the tests of the kernels share: random data, weights, backends. tests/cuda builds the same tests with
 * RH_TEST_CUDA: they then run on the CUDA backend, in place of a CPU's instruction sets. */
#ifndef RH_TESTS_KERNELS_HELP_H
#define RH_TESTS_KERNELS_HELP_H

#include "kernels/ops.h"

#ifdef RH_TEST_CUDA
enum { ON_CUDA = 1 };
#else
enum { ON_CUDA = 0 };
#endif

/* Open a backend, or skip() the running test, saying why, if the processor lacks the isa. */
rh_backend *open_or_skip(rh_isa isa, int threads, bool exact);

/* A check of every instruction set (or of the CUDA backend), each a test of its own. */
typedef struct check_on {
    const char *name;
    void (*run)(rh_isa isa, bool exact);
    bool exact, once; /* once: only on the best there is */
} check_on;
int run_on_all(const char *group, const check_on *checks, size_t n); /* what main returns */

uint32_t random_u32(uint64_t *state);
double random_unit(uint64_t *state);                       /* [0, 1) */
int random_between(uint64_t *state, int from, int to);     /* both included */
void random_floats(uint64_t *state, float *x, size_t n);   /* about normal, some tiny */
/* [rows] rows of random blocks whose scales are finite and of ordinary size. */
uint8_t *random_rows(uint64_t *state, rh_dtype t, int32_t rows, int32_t cols);

/* w.v/|w|, 0 where w is zero, in double; *length: |v|. */
double plain_cosine(double *length, const float *w, const float *v, int32_t n);

void *must_malloc(size_t bytes);
rh_buf *buf_of(rh_backend *be, const float *x, size_t n);
void read_buf(rh_backend *be, float *x, const rh_buf *b, size_t n);

#endif

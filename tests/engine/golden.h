/* golden.h - helpers of the tests that hold the engine against transformers' answers: typed
 * reads from a safetensors file of answers, and running one prompt in several ways. */
#ifndef RH_TESTS_GOLDEN_H
#define RH_TESTS_GOLDEN_H

#include "engine/session.h"

/* Fails the running test if status is not RH_OK. */
void golden_ok(rh_status status, const rh_error *err);

/* The tensor `format`, checked to have 4-byte elements of the raw type and n of them (n < 0:
 * any number), copied; *count, if not NULL, its elements. Caller frees. */
void *golden_read(const rh_safetensors *file, const char *raw_type, int64_t n, int64_t *count,
                  const char *format, ...) RH_PRINTF(5, 6);

rh_model *golden_open(const char *path, bool exact);
rh_model *golden_open_tiny(const char *name, bool exact); /* a folder of tests/data/models */

/* Logits [n, n_vocab] of the prompt, fed `chunk` tokens a step (0: all at once). */
float *golden_logits(const rh_model *m, const int32_t *ids, int32_t n, int32_t chunk);

/* The first `find` behind the first `after` becomes `put`, which is as long; false if there is none. */
bool golden_change(char *bytes, size_t n, const char *after, const char *find, const char *put);

/* Upper ends of a comparison: max |a-b|, and that over max |b|. NaN counts as infinite. */
double golden_max_diff(const float *a, const float *b, int64_t n);
double golden_rel_diff(const float *a, const float *b, int64_t n);

/* KL(p || q) in nats, both coarsened to the K tokens `top` and one lump for all others; a
 * lower bound of the whole KL and close to it when the lump is light.
 *   logprob [K] and rest describe p; logits [n_vocab] give q. */
double golden_kl(const float *logits, int32_t n_vocab, const int32_t *top, const float *logprob,
                 double rest, int32_t k);

/* Zeroed; the test fails if there is no memory. */
float *golden_floats(size_t n);

#endif

/* sample.h - one token from one row of logits in host memory: the reference for the op `sample`, and what the CPU does.
 *
 * In this order: penalties of the tokens seen, the largest logit (temperature 0, top_k 1, or nothing finite: that
 * one; ties: the lowest id), softmax of what is left at this temperature, top-k, top-p, min-p, and the first candidate,
 * from the likeliest on, at which the probabilities add up to more than u of what is kept. All in double. */
#ifndef RH_KERNELS_SAMPLE_H
#define RH_KERNELS_SAMPLE_H

#include "kernels/ops.h"

typedef struct rh_candidate { float logit; int32_t id; double p; } rh_candidate;

/* logits [n_vocab] are changed by penalties; scratch [n_vocab]. Tokens seen outside of the vocabulary are nobody's. */
int32_t rh_sample_row(float *logits, int32_t n_vocab, const rh_sample_spec *spec, rh_candidate *scratch);

#endif

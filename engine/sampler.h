/* sampler.h - from logits to a token. Deterministic in (seed, draw number). */
#ifndef RH_ENGINE_SAMPLER_H
#define RH_ENGINE_SAMPLER_H

#include "kernels/ops.h"

/* Order: repetition, frequency and presence penalties over the last `penalty_last` tokens
 * (prompt included; -1: all), temperature, top-k, top-p, min-p, draw. temperature 0: greedy
 * (ties: lowest id).
 *   repetition r: logit>0 ? logit/r : logit*r for tokens seen
 *   frequency f, presence p: logit -= count*f + (count>0)*p */
typedef struct rh_sampling {
    double temperature;  /* default 0 (greedy) */
    int32_t top_k;       /* 0: off */
    double top_p;        /* 1: off */
    double min_p;        /* 0: off */
    double repetition;   /* 1: off */
    double frequency, presence; /* 0: off */
    int32_t penalty_last;
    uint64_t seed;
} rh_sampling;

rh_sampling rh_sampling_default(void); /* greedy, nothing else, seed 0, penalty_last -1 */
rh_status rh_sampling_check(const rh_sampling *s, rh_error *err);

bool rh_sampling_penalizes(const rh_sampling *s);

/* The tokens of a growing text that the penalties look at: distinct, ascending, and how often each. */
typedef struct rh_seen {
    int32_t *id, *count; /* [n] */
    int32_t n, end;      /* end: tokens of the text so far */
    int32_t last, n_vocab;
} rh_seen; /* owner: rh_seen_free */
/* For a text of up to `room` tokens; settings without penalties look at nothing. */
rh_status rh_seen_new(rh_seen *out, const rh_sampling *s, int32_t n_vocab, int32_t room, rh_error *err);
void rh_seen_free(rh_seen *s);
void rh_seen_upto(rh_seen *s, const int32_t *history, int32_t n); /* the text is history [n] now, longer than before */

/* What the backend has to draw: 0, 1, 2… for the nth token of a sequence. Borrows from seen. */
void rh_sampling_spec(rh_sample_spec *out, const rh_sampling *s, const rh_seen *seen, uint64_t draw);

/* The same from logits in host memory. */
typedef struct rh_sampler rh_sampler; /* scratch for one vocabulary; owner: rh_sampler_free */
rh_status rh_sampler_new(rh_sampler **out, const rh_sampling *s, int32_t n_vocab, rh_error *err);
void rh_sampler_free(rh_sampler *s);
/* logits [n_vocab], not changed; history: all tokens so far. */
int32_t rh_sampler_pick(rh_sampler *s, const float *logits, const int32_t *history, int32_t n_history,
                        uint64_t draw);

/* Helpers on logits (host, [n]): log-softmax normaliser, KL(p||q) in nats, in double. */
double rh_log_sum_exp(const float *logits, int32_t n);
double rh_kl(const float *p_logits, const float *q_logits, int32_t n);

#endif

/* generation_config.h - what a model's folder says about generating: the tokens that end a text, and
 * how its makers sample. Knows JSON; neither a tokenizer nor the decoding loop. */
#ifndef RH_ENGINE_GENERATION_CONFIG_H
#define RH_ENGINE_GENERATION_CONFIG_H

#include "base/error.h"

enum { RH_MAX_CONFIG_STOPS = 16 };

typedef struct rh_generation_config {
    int32_t stops[RH_MAX_CONFIG_STOPS]; /* [n_stops] eos_token_id, one or a list */
    int n_stops;
    bool samples;                       /* do_sample; the rest is then meant */
    double temperature, top_p, min_p, repetition; /* < 0: it says nothing */
    int32_t top_k;                      /* -1: nothing */
} rh_generation_config;

/* generation_config.json; where there is none, eos_token_id of config.json, as transformers has it.
 * Tokens outside the vocabulary are left out: they cannot occur. */
rh_status rh_generation_config_read(rh_generation_config *out, const char *dir, int32_t n_vocab, rh_error *err);

#endif

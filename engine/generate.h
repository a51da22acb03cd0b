/* generate.h - the decoding loop over a batch: step, pick, stop. */
#ifndef RH_ENGINE_GENERATE_H
#define RH_ENGINE_GENERATE_H

#include "engine/sampler.h"
#include "engine/session.h"

enum { RH_AIM_EVERY = 4 };

typedef struct rh_generation {
    /* in */
    const int32_t *prompt;    /* [n_prompt] */
    int32_t n_prompt;
    const rh_action *actions;
    int32_t n_actions;
    const rh_capture *captures; /* taken while the prompt is read */
    int32_t n_captures;
    rh_logits_mode want;      /* logits over the prompt to keep; NONE keeps none */
    float *logits;            /* as in rh_step_input */
    const int32_t *aim;       /* [n_aim] tokens whose probability on the way is asked for; NULL: none */
    int32_t n_aim;
    /* out; owned, rh_generation_free */
    int32_t *ids;             /* [n_ids] generated, without the stop token */
    int32_t n_ids;
    double aim_p;             /* mean of p(aim | prompt and text so far), under the actions, behind
                                 token 3, 7, 11, … of the text */
    int32_t n_aimed;          /* over so many of them */
    rh_str text;              /* decoded, cut at a stop string */
    enum { RH_STOP_LENGTH = 0, RH_STOP_TOKEN, RH_STOP_STRING } stop;
} rh_generation;

typedef struct rh_generate_options {
    rh_sampling sampling;     /* every generation i draws with seed; equal settings give equal text */
    int32_t max_tokens;
    const int32_t *stop_ids;  int32_t n_stop_ids;   /* empty: never stop on a token */
    const char *const *stop_strings; int32_t n_stop_strings;
    /* Called after every step, may be NULL; false ends the loop with RH_ECANCELLED, texts so
     * far kept. */
    bool (*on_step)(void *data, const rh_generation *g, int32_t n);
    void *on_step_data;
} rh_generate_options;

/* All generations in one batch, prompts prefilled together (prefix sharing applies).
 * Sequences that stopped no longer take part. */
rh_status rh_generate(const rh_model *m, rh_generation *g, int32_t n, const rh_generate_options *o,
                      rh_error *err);
void rh_generation_free(rh_generation *g); /* the out part */

#endif

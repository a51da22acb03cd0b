/* fit_ways.h - the ways to use an SAE on a model that fit_check compares, and how well each fits. Private to fit_*.c. */
#ifndef RH_PROBES_FIT_WAYS_H
#define RH_PROBES_FIT_WAYS_H

#include "concepts/feature_notes.h"
#include "concepts/prompt.h"
#include "probes/sae_fit.h"

enum { RH_FIT_MAX_WAYS = 24 };

/* One way to use the SAE. */
typedef enum rh_fit_scale { RH_FIT_AS_IT_SAYS = 0, RH_FIT_TO_ROOT_D, RH_FIT_AVERAGE_TO_ROOT_D, RH_FIT_STANDARDISED } rh_fit_scale;
typedef struct rh_fit_way {
    int32_t layer;
    rh_hook in, out;
    bool other_bos;         /* BOS left out where the tokenizer puts one, or put where it does not */
    rh_fit_scale scale;
    rh_feature_fit fit;
    bool known;
} rh_fit_way;

typedef struct rh_fit_ways {
    const rh_model *m;
    const rh_sae *s, *encoder;
    rh_sae *own;            /* opened here */
    rh_sae_fitter *fitter;  /* one for all ways: laying out a wide encoder takes longer than what they read */
    rh_prompt *prompts;
    int32_t n_prompts;
    int64_t tokens;
    rh_fit_way list[RH_FIT_MAX_WAYS]; /* the first is the one in use */
    int32_t n;
    rh_progress_fn progress;
    void *data;
} rh_fit_ways;

/* All ways first .. of the same BOS that are not known yet, in one pass to the deepest of their sites, with c->encoder. One that cannot be
 * measured stays unknown. */
rh_status rh_fit_ways_measure(rh_fit_ways *c, int32_t first, bool other_bos, rh_error *err);
void rh_fit_ways_forget_prompts(rh_fit_ways *c);

#endif

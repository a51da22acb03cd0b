/* experiment.h - one steering experiment while it runs: what its passes over the model share.
 * For probes/ alone.
 *
 *   generate   all runs in one batch: texts, logits at the last prompt token, states of the prompt
 *   shifts     logits at the first changed position, where that is another one
 *   surprisal  all texts through the unsteered model
 *   read       prompt and text again with the same actions: states at every token (watches, projections
 *              of actions that act on generated tokens only, and features switched: these without, too)
 * A pass after the first feeds prompt + generated tokens with the same n_prompt, so that masks cover
 * the positions they covered while decoding. */
#ifndef RH_PROBES_EXPERIMENT_H
#define RH_PROBES_EXPERIMENT_H

#include "probes/steer.h"

typedef struct rh_experiment {
    const rh_model *m;
    const rh_evaluation *e;
    const rh_steer_options *o;
    rh_prompt prompt;
    int32_t n_runs;             /* run 0 is unsteered */
    double *strengths;          /* [n_runs] */
    rh_actions *actions;        /* [n_runs] */
    rh_generation *generations; /* [n_runs] */
    float *next_logits;         /* [n_runs, n_vocab] at the last prompt token */
    int32_t **tokens;           /* [n_runs][n_tokens]: prompt, then generated */
    int32_t *n_tokens;          /* [n_runs] */
} rh_experiment;

/* steer.c: the bound actions of an evaluation's action i, one a layer, are items [*first, *first + n) of
 * x->actions[run]; returns n. */
int32_t rh_bound_items(int32_t *first, const rh_experiment *x, int32_t run, int32_t action);

/* Where the states of the texts are projected while they are read unsteered: h·u over a text's tokens. */
typedef struct rh_along {
    int32_t layer;              /* its resid_post */
    const float *u;             /* [d_model], length 1 */
    double *mean, *squares;     /* [n_runs] means of h·u and (h·u)²; NaN for an empty text */
    bool (*go_on)(void *data);  /* asked now and then; false: RH_ECANCELLED. May be NULL */
    void *data;
} rh_along;

/* score.c: fills `first` and `next`, `surprisal` of all runs; along may be NULL. */
rh_status rh_score_shifts(rh_steer_run *runs, const rh_experiment *x, rh_error *err);
rh_status rh_score_surprisal(rh_steer_run *runs, const rh_experiment *x, const rh_along *along, rh_error *err);

/* One sequence read for its states alone, in one step without logits. */
typedef struct rh_reading {
    const int32_t *ids;
    int32_t n, n_prompt;
    const rh_action *actions;
    int32_t n_actions;
    const rh_capture *captures;
    int32_t n_captures;
} rh_reading;
rh_status rh_read(const rh_model *m, const rh_reading *readings, int32_t n, rh_error *err);

/* watch.c: fills `watches` of all runs. */
rh_status rh_watch_runs(rh_steer_run *runs, const rh_experiment *x, rh_error *err);

/* features.c: fills `switches` of the steered runs. */
rh_status rh_switched_features(rh_steer_run *runs, const rh_experiment *x, rh_error *err);

/* projection.c */
typedef struct rh_projector rh_projector;
rh_status rh_projector_new(rh_projector **out, const rh_experiment *x, rh_error *err);
void rh_projector_free(rh_projector *p);
/* What generation must capture over run's prompt; borrowed. */
const rh_capture *rh_projector_captures(const rh_projector *p, int32_t run, int32_t *n);
/* After generation: fills `projections` of all runs. */
rh_status rh_projector_finish(rh_steer_run *runs, rh_projector *p, rh_error *err);

#endif

/* auto.h - finding where and how strongly to steer: a sweep over layers and strengths, each
 * setting scored by how much of the concept its texts hold and how well they are, and a test of the
 * setting picked on prompts that had no part in picking, beside random directions of equal norm.
 * Knows models and evaluations; no format. */
#ifndef RH_PROBES_AUTO_H
#define RH_PROBES_AUTO_H

#include "concepts/concepts.h"
#include "engine/generate.h"
#include "probes/auto_pick.h"
#include "probes/units.h"

typedef struct rh_auto_options {
    rh_prompt_options prompt;
    rh_generate_options generate;                /* max_tokens: of every text */
    const char *const *prompts; int32_t n_prompts; /* of the sweep; none: built in */
    const char *const *held_out; int32_t n_held_out; /* of the test; none: built in */
    const rh_strength *strengths; int32_t n_strengths; /* none: fractions of median ‖h‖, then closer ones */
    const int32_t *also;                         /* a layer to have among the candidates, or NULL */
    bool together;                               /* all layers of the vector at once, as a book pins them */
    const char *target;                          /* NULL: presence is projection alone */
    const char *versus;                          /* system text to compare with, or NULL */
    const char *metadata;                        /* of rh_concepts_metadata, for sigma; NULL: no sigma */
    int32_t n_random;                            /* random directions; 0: 3 */
    uint64_t seed;
    rh_progress_fn progress; void *progress_data;
} rh_auto_options;

/* One way to run, over all prompts. */
typedef struct rh_auto_score {
    int32_t n;            /* texts */
    int32_t hits;         /* unbroken texts that hold the target; without one, unbroken texts that
                             project further than 19 of 20 unsteered ones (only in the test) */
    int32_t broken;       /* texts that loop or are garbled; limits in diagnose.h */
    double presence;      /* mean projection of the texts, read unsteered, on the direction at `read_layer`: how
                             many deviations of the unsteered texts' tokens above the unsteered texts */
    double held;          /* mean over texts of: 0 if broken; 1 if it holds the target; else the chance that a text
                             drawn along this one would hold it, 1 - exp(-n·p), p the mean of p(target | text so
                             far) over its n tokens. NaN without a target */
    double gain;          /* mean of ln p less the unsteered text's; NaN without a target */
    double surprisal;     /* mean nats a token under the unsteered model */
    double repeated;      /* mean share of repeated 3-grams */
    double kl;            /* mean KL(steered‖unsteered) of the first new token */
} rh_auto_score;

typedef struct rh_auto_setting {
    int32_t round;        /* 1: only screened; 2: compared, on prompts of its own */
    int32_t layer;        /* -1: several together */
    double strength;      /* times the vector */
    double resid;         /* ‖strength·v‖ / median ‖h‖ at the site */
    rh_auto_score score;
    rh_knee_point knee;
    char *sample;         /* its text for the first prompt */
} rh_auto_setting;

typedef struct rh_auto_test { /* on held-out prompts */
    char *label;          /* "unsteered", "steered", "random 1", "system prompt" */
    rh_auto_score score;
    double lo, hi;        /* Wilson's 95 % interval of hits/n */
    char **texts;         /* [score.n] */
} rh_auto_test;

typedef enum rh_auto_verdict {
    RH_AUTO_WORKS,        /* more hits than each control, and by luck alone only once in forty (`luck`) */
    RH_AUTO_NOT_SHOWN,    /* a setting was picked, and the test does not tell it from random */
    RH_AUTO_NOTHING       /* no setting gives more of the concept and leaves the texts whole */
} rh_auto_verdict;

typedef struct rh_auto_report {
    char *model, *expression, *target, *versus;
    rh_hook hook;
    int32_t read_layer, n_layers; bool together;
    int32_t max_tokens;
    char **prompts; int32_t n_prompts;
    char **held_out; int32_t n_held_out;
    rh_auto_score unsteered;                     /* on the prompts of round 2, if there was one */
    char *unsteered_sample;
    rh_auto_setting *settings; int32_t n_settings; /* by layer, then strength */
    int32_t picked;                              /* -1: nothing works */
    rh_auto_test *tests; int32_t n_tests;        /* empty if nothing was picked */
    int32_t random_hits, random_n; double random_lo, random_hi; /* all random directions together */
    double luck;                                 /* Fisher's exact test, one-sided: steered against those */
    rh_auto_verdict verdict;
    int64_t tokens; double seconds;
} rh_auto_report;

/* e: one steer action, of a vector in the residual stream (RH_EUNSUPPORTED else). Its layers are the
 * candidates, or one setting if `together`. All settings of a prompt run as one batch. */
rh_status rh_probe_auto(rh_auto_report **out, const rh_model *m, const rh_evaluation *e, const char *expression,
                        const rh_auto_options *o, rh_diags *diags, rh_error *err);
void rh_auto_report_free(rh_auto_report *r);

/* auto_prompts.c: neutral prompts, for chats or to be continued; they name nothing. */
const char *const *rh_auto_prompts(int32_t *n, bool chat);
const char *const *rh_auto_held_out(int32_t *n, bool chat);

#endif

/* report.h - what an experiment returns: plain values that notebooks-export turns into text,
 * JSON or pictures. Knows no format and no terminal.
 *
 * A number that does not exist (surprisal of an empty text, share of a zero vector) is NaN.
 * Strings are NUL-terminated and hold no NUL; `text` of a run or a token may be invalid UTF-8
 * (a model can stop in the middle of a code point): writers repair it. */
#ifndef RH_PROBES_REPORT_H
#define RH_PROBES_REPORT_H

#include "base/mem.h"
#include "dsl/program.h"
#include "engine/generate.h"

/* One token with a number behind it: shading. text: its bytes, control tokens spelled. */
typedef struct rh_shaded { int32_t id; char *text; double value; bool generated; } rh_shaded;

/* One --watch EXPR over one run's tokens, prompt included: h·û (the length of h's part inside,
 * for a span) at the watch's site, after the site's actions. Of a feature alone: its activation. */
typedef struct rh_watch_track {
    char *label;
    int32_t layer; rh_hook hook;
    rh_shaded *tokens; int32_t n;
    double lo, hi;               /* over all runs, for one scale; position 0 left out */
    bool activation;
} rh_watch_track;
void rh_watch_track_free(rh_watch_track *t); /* what it holds */

/* Of h on û at (layer, hook), over the prompt's tokens where the action acts (position 0 left out unless
 * it is the only one) and at the last prompt token. An action that leaves the prompt alone is measured
 * over the generated tokens it acts on, against the unsteered model reading the same text. For a span:
 * the length of h's part inside it. */
typedef struct rh_projection {
    int32_t action;              /* in rh_steer_report.actions */
    int32_t layer; rh_hook hook;
    bool acts;                   /* the action's own site: before and after are h entering and leaving it.
                                    Else a later layer: unsteered and steered */
    bool generated; int32_t n_tokens; /* what the mean is taken over */
    double before_mean, after_mean;
    double before_last, after_last;
} rh_projection;

typedef struct rh_token_change { int32_t id; char *piece; double before, after; } rh_token_change; /* logits */
void rh_token_changes_free(rh_token_change *c, int32_t n); /* NULL is fine */

/* How the distribution of the token after `position` moved. */
typedef struct rh_shift {
    int32_t position;            /* -1: no position's logits can change */
    double kl;                   /* nats, steered‖unsteered; 0 where position is -1 */
    rh_token_change *up, *down; int32_t n_up, n_down;
} rh_shift;

/* `when …`: positions that the action's mask covered, and those where the guard held; over all of its
 * layers, while the text was generated. */
typedef struct rh_guard_count { int32_t action; int64_t tested, fired; } rh_guard_count;

/* A feature that steering switched: tokens at which it is active only with it (or only without), the largest of its
 * activations there and their sum. label NULL: it has none. */
typedef struct rh_feature_switch { int32_t feature; char *label; int32_t tokens; double most, sum; } rh_feature_switch;

/* One SAE, over a run's tokens but the first: the run's own text, read with its actions and without. */
typedef struct rh_sae_switches {
    char *name, *path;           /* as the book calls it */
    int32_t layer; rh_hook hook; /* what the SAE reads */
    int32_t n_tokens;
    double active_before, active_after;        /* features a token */
    rh_feature_switch *on, *off; int32_t n_on, n_off; /* by sum, the largest first */
    int32_t total_on, total_off;               /* of which these are the first */
} rh_sae_switches;

typedef struct rh_steer_run {
    bool unsteered;              /* no actions at all. Strength 0 with an `ablate` is a run of its own */
    double strength;             /* 0: unsteered */
    char *text; int32_t *ids; int32_t n_ids;
    const char *stop;            /* "length", "token", "string" */
    rh_shift first;              /* at the first position whose logits an action can change */
    rh_shift next;               /* at the first such position that chose a generated token: the same, or
                                    the last prompt token if `first` lies before it */
    double surprisal;            /* mean, nats a token, of the text under the unsteered model */
    double repeated;             /* share of 3-grams seen before in the text, 0..1 */
    bool loops, garbled;         /* the two ways to collapse; limits in diagnose.h */
    bool collapsed;              /* either */
    double relative_norm;        /* |strength|*‖v‖ / median ‖h‖ at the (first) site over the unsteered prompt */
    rh_guard_count *guards; int32_t n_guards;  /* of the actions that have one */
    rh_projection *projections; int32_t n_projections;
    rh_watch_track *watches; int32_t n_watches;
    rh_sae_switches *switches; int32_t n_switches; /* SAEs that an action can reach; none in the unsteered run */
} rh_steer_run;

/* Cosines between the named parts and the result, the last row; parts' shares of the result. */
typedef struct rh_geometry {
    char *label;                 /* the action or expression it belongs to */
    int32_t layer; rh_hook hook; /* layer -1: constant */
    int32_t n;                   /* parts + 1 */
    char **labels;               /* [n] */
    double *coefficient, *norm, *share; /* [n]; c_i, ‖a_i‖, c_i a_i·v/‖v‖²; the result's are 1, ‖v‖, 1 */
    double *cosine;              /* [n, n] */
} rh_geometry;

typedef struct rh_steer_report {
    char *model, *expression, *prompt, *site; /* site: "16.resid_post", "14..18.resid_post" */
    char **actions; int32_t n_actions;        /* as written */
    int32_t n_prompt_tokens, n_vocab;
    double norm, median_h;       /* ‖v‖ of the first steer and median ‖h‖ at its first site */
    int32_t norm_layer; rh_hook norm_hook; /* that site; -1 without a steer */
    rh_geometry *geometry; int32_t n_geometry; /* one a steer action of a linear form (its first layer) */
    rh_steer_run *runs; int32_t n_runs;        /* runs[0] unsteered */
    char *notes;                 /* one a line, "" if none */
    double seconds_extract, seconds_run; int64_t tokens_generated; /* seconds_extract: set by the caller */
} rh_steer_report;
void rh_steer_report_free(rh_steer_report *r);

typedef struct rh_name_cosine { char *name; int32_t layer; double cosine, norm; } rh_name_cosine;
typedef struct rh_nearest {      /* W_U·(γ⊙v), a projection; `after` holds it, before is 0 */
    int32_t layer;
    rh_token_change *up, *down; int32_t n_up, n_down;
} rh_nearest;

typedef struct rh_vec_report {
    char *expression;
    rh_value_kind kind;
    double *scalar; int32_t n_scalar; int32_t *scalar_layers;    /* scalar; layers NULL: no place */
    int32_t span_rank, span_given;                               /* span: the smallest rank over layers */
    int32_t *ranks;                                              /* span: [n_layers] */
    rh_hook hook; int32_t d;
    int32_t n_layers; int32_t *layers; double *norm;             /* [n_layers]; layer -1: constant; norm: vectors */
    rh_name_cosine *cosines; int32_t n_cosines;
    rh_nearest *nearest; int32_t n_nearest;
    rh_geometry *geometry; int32_t n_geometry;                   /* one a layer */
    char *notes;
} rh_vec_report;
void rh_vec_report_free(rh_vec_report *r);

#endif

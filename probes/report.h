/* report.h - what an experiment returns: plain values that notebooks-export turns into text,
 * JSON or pictures. Knows no format and no terminal. */
#ifndef RH_PROBES_REPORT_H
#define RH_PROBES_REPORT_H

#include "base/mem.h"
#include "dsl/program.h"
#include "engine/generate.h"

/* One span of output text with a number behind it: shading. */
typedef struct rh_shaded { int32_t id; char *text; double value; bool generated; } rh_shaded;

typedef struct rh_watch_track {  /* one --watch EXPR over one run's tokens */
    const char *label;
    rh_shaded *tokens; int32_t n;
    double lo, hi;               /* over all runs, for one scale */
} rh_watch_track;

typedef struct rh_projection {   /* of h on û at (layer, hook), averaged over the prompt's tokens where
                                    the action acts (position 0 left out), and at the last prompt token */
    int32_t layer; rh_hook hook;
    double before_mean, after_mean;   /* at the site: entering and leaving it; later: unsteered, steered */
    double before_last, after_last;
} rh_projection;

typedef struct rh_token_change { int32_t id; char *piece; double before, after; } rh_token_change; /* logits */

typedef struct rh_steer_run {
    double strength;             /* 0: unsteered */
    char *text; int32_t *ids; int32_t n_ids;
    const char *stop;            /* "length", "token", "string" */
    double kl;                   /* nats, steered‖unsteered, next token at kl_position; 0 for unsteered */
    int32_t kl_position;         /* -1: the actions change no prompt logits before the first token differs */
    double surprisal;            /* mean, nats a token, of the text under the unsteered model */
    double repeated;             /* share of 3-grams seen before in the text, 0..1 */
    bool collapsed;              /* repeated or surprisal says so; thresholds in steer.c */
    double relative_norm;        /* strength*‖v‖ / median ‖h‖ at the (first) site over the unsteered prompt */
    rh_projection *projections; int32_t n_projections;
    rh_token_change *up, *down; int32_t n_up, n_down; /* at kl_position */
    rh_watch_track *watches; int32_t n_watches;
} rh_steer_run;

/* Cosines between the named parts and the result, the last row; parts' shares of the result. */
typedef struct rh_geometry {
    int32_t layer; rh_hook hook; /* layer -1: constant */
    int32_t n;                   /* parts + 1 */
    char **labels;               /* [n] */
    double *coefficient, *norm, *share; /* [n]; share NaN for the result itself if there is one part only */
    double *cosine;              /* [n, n] */
} rh_geometry;

typedef struct rh_steer_report {
    char *model, *expression, *prompt, *site; /* site: "16.resid_post", "14..18" */
    int32_t n_prompt_tokens;
    double norm, median_h;       /* ‖v‖ and median ‖h‖ at the first site */
    rh_geometry *geometry; int32_t n_geometry; /* one a steer action of a linear form and layer (first layer) */
    rh_steer_run *runs; int32_t n_runs;        /* runs[0] unsteered */
    char *notes;                 /* one a line */
    double seconds_extract, seconds_run; int64_t tokens_generated;
} rh_steer_report;
void rh_steer_report_free(rh_steer_report *r);

typedef struct rh_vec_report {
    char *expression;
    rh_value_kind kind; 
    double *scalar; int32_t n_scalar; int32_t *scalar_layers;    /* scalar */
    int32_t span_rank, span_given;
    rh_hook hook; int32_t d;
    int32_t n_layers; int32_t *layers; double *norm;             /* [n_layers] */
    struct { char *name; int32_t layer; double cosine, norm; } *cosines; int32_t n_cosines;
    struct { int32_t layer; rh_token_change *up, *down; int32_t n_up, n_down; } *nearest; int32_t n_nearest; /* W_U·(γ⊙v), `after` holds it */
    rh_geometry *geometry; int32_t n_geometry;
    char *notes;
} rh_vec_report;
void rh_vec_report_free(rh_vec_report *r);

#endif

/* compare.h - vectors beside each other by what they do to a running model: the change of later hidden
 * states on the same prompts, whether two changes add up, and how much one moves along the other.
 *
 * h_l(x) is the state at layer l (resid_post), x what is steered with; D_l(x) = h_l(x) - h_l(0), its mean
 * over prompts and positions (every position but the first, unless it is alone; or the last prompt token).
 * All figures are of these means. */
#ifndef RH_PROBES_COMPARE_H
#define RH_PROBES_COMPARE_H

#include "concepts/concepts.h"
#include "probes/report.h"

enum { RH_COMPARE_MAX = 12 }; /* vectors: pairs grow with the square */

typedef struct rh_compare_options {
    const char *const *prompts; int32_t n_prompts; /* none: rh_auto_prompts */
    rh_prompt_options prompt;
    double strength;              /* multiplies every vector */
    bool last;                    /* the last prompt token alone, not the mean */
    rh_progress_fn progress;      /* may be NULL; asked between batches of about a thousand tokens */
    void *progress_data;
} rh_compare_options;

/* A pair a < b: D(a+b) against D(a) + D(b), at each layer of the report. */
typedef struct rh_compare_pair {
    int32_t a, b;
    double *cosine, *ratio;       /* [n_layers]; ratio: ‖D(a+b)‖ / ‖D(a) + D(b)‖ */
} rh_compare_pair;

typedef struct rh_compare_report {
    char *model;
    double strength;
    bool last;
    int32_t n;                    /* vectors */
    char **expressions, **sites;  /* [n] */
    double *norm;                 /* [n]; at its first layer, strength left out */
    double *cosine;               /* [n, n] of the vectors at the first layer both have; NaN: none */
    char **prompts; int32_t n_prompts;
    int32_t n_tokens;             /* positions averaged over */
    int32_t n_layers, *layers;    /* above the last layer that is steered */
    double *median_h;             /* [n_layers] of ‖h‖ unsteered, over the same positions */
    double *effect_norm;          /* [n_layers, n] */
    double *effect_cosine;        /* [n_layers, n, n] */
    double *moved;                /* [n_layers, n, n]: D(a)·b̂ in row a, column b; b̂ = b/‖b‖ at the layer
                                     itself or the nearest one that b has. NaN: b is zero, or not in the residual stream */
    rh_compare_pair *pairs; int32_t n_pairs;
    char *notes;
    double seconds;
} rh_compare_report;
void rh_compare_report_free(rh_compare_report *r);

/* vectors [n], 2 <= n <= RH_COMPARE_MAX, each with a place; labels [n].
 * RH_EKIND: a value that is no vector. RH_ESITE: without a place, or nothing lies above. RH_EVALUE: a
 * prompt without tokens. RH_ECANCELLED: progress said so. */
rh_status rh_probe_compare(rh_compare_report **out, const rh_model *m, const rh_value *const *vectors, const char *const *labels,
                           int32_t n, const rh_compare_options *o, rh_error *err);

#endif

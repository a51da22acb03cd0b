/* auto_batch.h - many settings over many prompts: texts, and the figures of each. For probes/ alone. */
#ifndef RH_PROBES_AUTO_BATCH_H
#define RH_PROBES_AUTO_BATCH_H

#include "probes/auto.h"
#include "probes/report.h"

/* One way to run. The evaluation's bound actions [first, first + n) at a strength; n 0: unsteered. */
typedef struct rh_auto_arm {
    int32_t first, n;
    double strength;
    const float *instead;    /* [n, d]: these vectors in place of the evaluation's; NULL: its own */
    const char *system;      /* a system text, for a run without actions; else NULL */
} rh_auto_arm;

/* One arm on one prompt. */
typedef struct rh_auto_cell {
    rh_steer_run run;        /* text, ids, surprisal, repeated, loops, garbled, collapsed */
    double kl;
    double chance;           /* mean of p(target | text so far) on the way; 0 without a target */
    double gain;             /* ln of it, less the unsteered text's; NaN where there is none */
    double projection;       /* mean of h·u over the text's tokens, read unsteered; NaN for an empty text */
    double squares;          /* mean of (h·u)² over them */
    bool named;              /* the text holds the target, in whatever case */
} rh_auto_cell;

typedef struct rh_auto_batch {
    const rh_model *m;
    const rh_evaluation *e;
    const rh_auto_options *o;
    rh_diags *diags;
    int32_t read_layer;
    const float *u;          /* [d_model], length 1 */
    const char *label;       /* of the progress */
    int64_t done, total;     /* tokens, for the progress */
    int64_t tokens;          /* generated */
} rh_auto_batch;

/* arms[0] must be unsteered. cells [n_prompts, n_arms], zeroed; released by rh_auto_cells_free also after
 * a failure. */
rh_status rh_auto_batch_run(rh_auto_cell *cells, rh_auto_batch *b, const char *const *prompts, int32_t n_prompts,
                            const rh_auto_arm *arms, int32_t n_arms, rh_error *err);
void rh_auto_cells_free(rh_auto_cell *cells, size_t n);

/* Does text hold word, ASCII letters alike in both cases? An empty word: no. */
bool rh_holds_word(const char *text, const char *word);

#endif

/* diff.h - a direction from contrastive texts, and how far to trust it: the difference of the classes'
 * means at every layer and position, with what shows whether it means anything.
 *
 *   texts    read, sampled, tokenized; put in groups, folds and order            diff_texts.c
 *   states   one pass over the model; rows go to a temporary file                diff_states.c
 *   sites    at each (position, layer): separation.c (folds, permuted labels),
 *            stability.c (bootstrap, halves, the direction itself)
 *   choice   the recommended site, and figures from folds that did not choose    diff_choose.c
 *   doubts   warnings in plain words                                             diff_doubts.c
 */
#ifndef RH_PROBES_DIFF_H
#define RH_PROBES_DIFF_H

#include "base/comm.h"
#include "concepts/concepts.h"

enum { RH_DIFF_LAST = 0, RH_DIFF_MEAN, RH_DIFF_MARKED, RH_DIFF_POSITIONS };
extern const char *const RH_DIFF_POSITION_NAMES[RH_DIFF_POSITIONS];

/* One direction's figures: of the real labels, or the typical ones of permuted labels. */
typedef struct rh_diff_figures {
    double norm;              /* ‖difference of means‖ */
    double effect;            /* Cohen's d of texts on directions that did not see them */
    double auc;               /* of the same scores, within folds */
    double low, high;         /* 95 % of the cosines of resampled directions to the full one */
    double split_half;        /* cosine of the directions of two halves of the groups; mean of several */
} rh_diff_figures;

typedef struct rh_diff_site {
    int32_t position, layer;
    rh_diff_figures real, control; /* control: means over permutations; low and high: 95 % over them */
    double median_norm, ratio;     /* of hidden states there; norm / median_norm */
    double effect_in_sample;       /* d on the direction made of the same texts: always too high */
    double auc_control_95;         /* 95 % of permuted labels stay below */
    double p, p_max;               /* of the AUC: against this site's permutations; against the largest of all sites */
    double length, length_within;  /* correlation of held-out scores with token counts; within classes */
    double outlier;                /* share of ‖v‖² in its largest coordinate */
    int32_t coordinate;            /* which one */
} rh_diff_site;

/* The chosen site, measured by nested folds: each outer fold is scored at the site that the other
 * folds chose. */
typedef struct rh_diff_choice {
    int32_t site;             /* index into sites; -1: none */
    double auc, effect, p;    /* NaN with fewer than three folds */
    int32_t agree, folds;     /* outer folds that chose the same site; all */
    int32_t first_layer, last_layer; /* of what the outer folds chose */
    char *reason;             /* one sentence */
} rh_diff_choice;

typedef struct rh_diff_report {
    char *model, *path;
    char sha256[65];          /* of the CSV */
    bool paired;
    int64_t n_rows, n_texts;  /* pairs (or rows) in the file; texts used */
    int64_t n_class[2];       /* positive, negative */
    int64_t n_tokens;         /* of all prompts */
    int32_t n_groups, n_folds, n_bootstrap, n_permutations, d;
    bool sampled;
    uint64_t seed;
    double tokens_mean[2], tokens_auc;  /* does the token count alone tell the classes apart? Within groups */
    int64_t file_bytes;       /* of the states on disk */
    int32_t model_layers, n_layers, n_positions;
    int32_t *layers;                    /* [n_layers] */
    rh_diff_site *sites;                /* [n_positions][n_layers] */
    double *cosine;                     /* [n_positions][n_layers][n_layers] */
    float *directions;                  /* [n_positions][n_layers][d] */
    rh_diff_choice choice;
    char *notes;              /* warnings, one a line; "" */
    double seconds_read, seconds_run, seconds_measure;
} rh_diff_report;
void rh_diff_report_free(rh_diff_report *r);

typedef struct rh_diff_options {
    const char *path, *positive, *negative; /* columns NULL: the defaults */
    const char *prefix;       /* NULL: none */
    bool chat, special;
    const int32_t *layers;    /* ascending; n_layers 0: all */
    int32_t n_layers;
    int64_t sample;           /* pairs (rows, if unpaired) to take; 0: all */
    int32_t folds, bootstrap, permutations; /* >= 2, >= 0, >= 0 */
    uint64_t seed;
    const char *dir;          /* for the temporary file */
    const rh_comm *comm;      /* NULL: alone */
    rh_progress_fn progress;
    void *progress_data;
    void (*note)(void *data, const char *line); /* said before long work; may be NULL */
    void *note_data;
} rh_diff_options;

/* With several processes every one calls this and reads its share of the texts; *out is set on rank
 * 0 and NULL elsewhere. */
rh_status rh_probe_diff(rh_diff_report **out, const rh_model *m, const rh_diff_options *o, rh_error *err);

/* The recommended direction as a vector, and what its file says of it. */
rh_status rh_diff_vector(rh_vector **out, const rh_diff_report *r, rh_error *err);
rh_status rh_diff_metadata(char **json, const rh_model *m, const rh_diff_options *o, const rh_diff_report *r,
                           const rh_vector *v, const char *created, rh_error *err);

#endif

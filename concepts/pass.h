/* pass.h - one pass over the model: prompts of any number of atoms, read at positions, summed
 * or kept per atom, class and layer. Knows ids, positions and sites; nothing of texts and
 * expressions.
 *
 *     for every class c of every atom that wants sums, at every of its layers:
 *         sum_c = Σ weight · h[position],  n_c = Σ weight
 *
 * Prompts are put in lexicographic order of their ids, so that common prefixes stand together
 * and equal prompts fall into one; they are packed into batches of about `batch_tokens` rows
 * computed. Order and packing depend on the set of prompts alone, so a pass that is stopped and
 * taken up again sums the same numbers in the same order. */
#ifndef RH_CONCEPTS_PASS_H
#define RH_CONCEPTS_PASS_H

#include "algebra/scatter.h"
#include "base/file.h"
#include "engine/session.h"

enum { RH_CLASSES = 2 }; /* 0: positive, or the only one; 1: negative */

/* What is kept of an atom's samples. */
typedef enum rh_keep {
    RH_KEEP_SUMS,            /* sums of each class */
    RH_KEEP_SCATTER,         /* means of each class and the scatter within: [d, d] a layer */
    RH_KEEP_ROWS,            /* every sample, in the order given */
    RH_KEEP_NORMS,           /* the length of every sample, in the order given */
} rh_keep;
#define RH_KEEP_MAX ((int64_t)2 << 30) /* bytes that all but the sums may take; more: RH_ELIMIT */

typedef struct rh_pass_atom {
    char key[65];            /* what is read, with which options: names the sums in a partial file */
    rh_hook hook;
    rh_keep keep;
    int32_t d, n_layers;
    int32_t *layers;         /* [n_layers] ascending */
    double n[RH_CLASSES];    /* samples */
    double *sum;             /* [RH_CLASSES, n_layers, d], RH_KEEP_SUMS */
    rh_scatter *scatter;     /* [n_layers], RH_KEEP_SCATTER; from the run on */
    size_t n_rows;           /* samples given, RH_KEEP_ROWS and _NORMS */
    float *rows;             /* [n_layers, n_rows, d], or [n_layers, n_rows] norms; from the run on */
} rh_pass_atom;

/* Some positions of one prompt are samples of a class. */
typedef struct rh_reading {
    int32_t atom;
    int32_t cls;             /* with a sink: a number of the caller's, handed back */
    bool each;               /* every position is a sample; else their mean is one */
    int32_t count;           /* how often the same reading was asked for */
    int32_t n_positions;
    size_t row;              /* where its samples go, if the atom keeps them: no two are one then */
    size_t positions;        /* offset into pool */
    size_t ids;              /* offset into pool */
    int32_t n_ids;
    const int32_t *pool;     /* set by planning, for comparing */
} rh_reading;

typedef struct rh_pass_prompt { size_t first; int32_t n; } rh_pass_prompt; /* readings, equal ids */
typedef struct rh_pass_batch {
    size_t first;            /* prompt */
    int32_t n, longest;
    int64_t rows;            /* after sharing */
} rh_pass_batch;

typedef struct rh_pass {     /* zero to start; rh_pass_free */
    rh_pass_atom *atoms;     size_t n_atoms, cap_atoms;
    int32_t *pool;           size_t n_pool, cap_pool;
    rh_reading *readings;    size_t n_readings, cap_readings;
    rh_pass_prompt *prompts; size_t n_prompts, cap_prompts;
    rh_pass_batch *batches;  size_t n_batches, cap_batches;
    int64_t asked, asked_tokens;   /* prompts as given */
    int64_t tokens, rows;          /* of distinct prompts; computed after sharing */
    int32_t deepest;               /* layer, -1: nothing to do */
    char key[65];                  /* of the whole pass, set by planning */
} rh_pass;

rh_status rh_pass_atom_add(rh_pass *p, int32_t *atom, const char *key, rh_hook hook, int32_t d,
                           const int32_t *layers, int32_t n_layers, rh_error *err);
/* Keep something else than sums: before the atom's first prompt. */
void rh_pass_atom_keep(rh_pass *p, int32_t atom, rh_keep keep);
/* ids [n], positions [n_positions] ascending; both are copied. */
rh_status rh_pass_prompt_add(rh_pass *p, int32_t atom, int32_t cls, bool each, const int32_t *ids,
                             int32_t n, const int32_t *positions, int32_t n_positions, rh_error *err);

/* Instead of summing: called for every reading and layer of its atom with the mean of the states at
 * its positions, mean [d], and the mean of their norms. Readings come in the pass's own order. */
typedef rh_status (*rh_pass_sink)(void *data, const rh_reading *q, int32_t layer, const double *mean,
                                  double mean_norm, rh_error *err);

typedef struct rh_pass_options {
    rh_pass_sink sink;       /* NULL: sums. With one, nothing is kept in cache_dir: leave that NULL */
    void *sink_data;
    int32_t batch_tokens;    /* 0: 1024 */
    bool no_share;
    const char *cache_dir;   /* where partial sums are kept; NULL: nowhere */
    double save_seconds;     /* between two savings */
    rh_progress_fn progress;
    void *progress_data;
} rh_pass_options;

/* Order, merge and pack. No prompts may be added after it. */
rh_status rh_pass_plan(rh_pass *p, const rh_pass_options *o, rh_error *err);

/* Run it. *resumed: prompts whose sums were found in a partial file. On RH_ECANCELLED (and
 * any other failure) the sums so far are kept in the cache, if there is one. */
rh_status rh_pass_run(rh_pass *p, const rh_model *m, const rh_pass_options *o, int64_t *resumed,
                      rh_error *err);

/* mean [d] of a class at the i-th layer of an atom. */
void rh_pass_mean(double *mean, const rh_pass *p, int32_t atom, int32_t cls, int32_t i);
void rh_pass_free(rh_pass *p);

/* ---- keep.c: all but the order of the samples ---------------------------------------------- */

double rh_keep_bytes(const rh_pass *p);               /* that a planned pass will keep, sums left out */
rh_status rh_keep_alloc(rh_pass *p, rh_error *err);   /* RH_ELIMIT: over RH_KEEP_MAX */
void rh_keep_free(rh_pass_atom *a);
/* x [d] is sample `row` of the atom at its layer-th layer; not for sums. */
void rh_keep_sample(rh_pass_atom *a, int32_t layer, int32_t cls, size_t row, const double *x, double weight);
void rh_keep_settle(rh_pass *p);                      /* at the end of a batch: nothing is held back */
/* The i-th array that an atom's state is made of; false: there are no more. */
bool rh_keep_part(const rh_pass_atom *a, size_t i, void **bytes, size_t *size);

/* ---- partial.c: sums of a pass that was stopped -------------------------------------------- */

/* Batches done, 0 if there is no such file or it cannot be trusted; sums are set only if it
 * can. */
rh_status rh_partial_load(size_t *batches, rh_pass *p, const char *cache_dir, rh_error *err);
rh_status rh_partial_save(const rh_pass *p, size_t batches, const char *cache_dir, rh_error *err);
void rh_partial_remove(const rh_pass *p, const char *cache_dir);

#endif

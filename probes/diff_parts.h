/* diff_parts.h - what the files of diff share. For probes/ alone. */
#ifndef RH_PROBES_DIFF_PARTS_H
#define RH_PROBES_DIFF_PARTS_H

#include "algebra/statistics.h"
#include "base/spill.h"
#include "probes/diff.h"

/* ---- the design: who is in which class, group and fold; no text, no state ------------------------ */

/* Texts stand in slots: by fold, then by text, so that a fold is a run of rows in the file. About
 * ten bytes a slot and a bit a (group, labelling): the only memory that grows with the texts. */
typedef struct rh_diff_design {
    int32_t n, n_groups, n_folds;
    uint8_t *cls;             /* [n] 0 positive, 1 negative */
    int32_t *group, *tokens;  /* [n] */
    int32_t *marked;          /* [n] tokens of the text that are marked, or NULL */
    int32_t *fold_start;      /* [n_folds + 1] slots */
    uint8_t *mixed;           /* [n_groups] has texts of both classes */
    /* Labelling 0 is the real one, v > 0 permutation v: a mixed group is turned round as a whole or
     * not; the labels of the other groups are shuffled among them. */
    int32_t n_labellings;
    int32_t n_splits;
    size_t row_bytes;         /* of one labelling's bits, a bit a group */
    uint8_t *turned;          /* [n_labellings][row_bytes] */
    uint8_t *half;            /* [n_splits][row_bytes] */
    double *count;            /* [2][n_labellings][n_folds][2] weight of each class: texts, and marked tokens */
    int32_t n_bootstrap;
    uint64_t seed;
} rh_diff_design;

/* From cls, group and fold_start, which are set: the rest. */
rh_status rh_diff_design_finish(rh_diff_design *g, int32_t permutations, rh_error *err);
void rh_diff_design_free(rh_diff_design *g);

/* The class of slot i under labelling v. */
static inline int rh_diff_label(const rh_diff_design *g, int32_t v, int32_t i)
{
    int32_t group = g->group[i];
    int bit = v ? rh_bit(g->turned + (size_t)v * g->row_bytes, group) : 0;
    return !v ? g->cls[i] : g->mixed[group] ? g->cls[i] ^ bit : bit;
}

/* In means, and nowhere else: as dim has it, a text weighs one, but at its marks each token does. */
static inline double rh_diff_weight(const rh_diff_design *g, bool by_token, int32_t i)
{
    return by_token ? g->marked[i] : 1;
}
static inline const double *rh_diff_count(const rh_diff_design *g, bool by_token, int32_t v, int32_t fold)
{
    return g->count + (((size_t)by_token * (size_t)g->n_labellings + (size_t)v) * (size_t)g->n_folds + (size_t)fold) * 2;
}

/* Streams of chance. */
enum { RH_DIFF_SAMPLE = 1 << 20, RH_DIFF_TURN = 2 << 20, RH_DIFF_SHUFFLE = 3 << 20, RH_DIFF_HALF = 4 << 20,
       RH_DIFF_BOOTSTRAP = 5 << 20, RH_DIFF_CONTROLS = 40, RH_DIFF_SPLITS = 20 };

/* ---- the states on disk --------------------------------------------------------------------------- */

/* float32 rows [n_sites][n][stride], site = position * n_layers + layer; a row is a state [d] and the
 * mean norm of what it is the mean of. */
typedef struct rh_diff_store {
    rh_spill file;
    int32_t n, d, n_sites;
    int64_t done;             /* slots from 0 on that are filled, and that the file says so of */
} rh_diff_store;
static inline int64_t rh_diff_stride(const rh_diff_store *s) { return (int64_t)s->d + 1; }
/* name: of what would fill it; a run that is stopped leaves it, for the next with that name. NULL: nothing is left. */
rh_status rh_diff_store_open(rh_diff_store *out, const char *dir, const char *name, int32_t n, int32_t d, int32_t n_sites,
                             rh_error *err);
void rh_diff_store_close(rh_diff_store *s);
/* rows [count][stride] of a site from slot `first` on */
rh_status rh_diff_store_put(rh_diff_store *s, int32_t site, int32_t first, int32_t count, const float *rows,
                            rh_error *err);

/* A site's rows, a block at a time, as doubles; a block never reaches into another fold. */
typedef struct rh_diff_block {
    const rh_diff_store *store;
    const rh_diff_design *design;
    int32_t site, rows;       /* at most */
    bool by_token;            /* how texts weigh at this site (rh_diff_weight) */
    int32_t first, count, fold;
    double *x;                /* [rows, d] */
    float *norm;              /* [rows] */
} rh_diff_block;
rh_status rh_diff_block_new(rh_diff_block *out, const rh_diff_store *s, const rh_diff_design *g, rh_error *err);
void rh_diff_block_rewind(rh_diff_block *b, int32_t site, int32_t fold); /* fold -1: all of them */
/* The next block; *more false at the end. */
rh_status rh_diff_block_next(bool *more, rh_diff_block *b, bool one_fold, rh_error *err);
void rh_diff_block_free(rh_diff_block *b);

/* ---- one site ------------------------------------------------------------------------------------- */

/* What choosing needs of a site, by outer fold. */
typedef struct rh_diff_fold {
    double inner_auc, inner_effect, inner_sd; /* measured inside the other folds */
    double wins, pairs;                       /* the fold's own, on the direction of all others */
    rh_class_moments moments;
} rh_diff_fold;

/* AUC of every permutation [n_labellings - 1] into null_auc; folds [n_folds]. Fills the site's real
 * and control AUC and effect, p, length. */
rh_status rh_diff_separation(rh_diff_site *out, rh_diff_fold *folds, double *null_auc, rh_diff_block *b, int32_t site,
                             rh_error *err);

/* Norms, bootstrap, halves, outlier; direction [d]. The columns are the same at every site. */
typedef struct rh_diff_columns rh_diff_columns;
rh_status rh_diff_columns_new(rh_diff_columns **out, const rh_diff_design *g, int32_t d, rh_error *err);
void rh_diff_columns_free(rh_diff_columns *c);
rh_status rh_diff_stability(rh_diff_site *out, float *direction, rh_diff_columns *c, rh_diff_block *b, int32_t site,
                            rh_error *err);

/* All sites of a report whose positions, layers and d are set. */
rh_status rh_diff_measure(rh_diff_report *r, const rh_diff_design *g, const rh_diff_store *s, rh_progress_fn progress,
                          void *progress_data, rh_error *err);

/* Fills r->choice and p_max. folds [n_sites][n_folds], null_auc [n_sites][permutations]. */
rh_status rh_diff_choose(rh_diff_report *r, const rh_diff_fold *folds, const double *null_auc, rh_error *err);
void rh_diff_doubts(rh_str *notes, const rh_diff_report *r);

/* ---- texts and states ------------------------------------------------------------------------------ */

typedef struct rh_diff_texts {
    rh_diff_design design;
    rh_spill ids;             /* prompts: ids, then each position's list */
    int64_t *record;          /* [n] of slot i, offset into ids */
    int32_t n_positions;
    int32_t longest;          /* a record's int32s, at most */
} rh_diff_texts;
/* A prompt as it lies in the spill. */
typedef struct rh_diff_record { int32_t n_ids, n_positions[RH_DIFF_POSITIONS]; } rh_diff_record;

/* Fills the report's counts, too, and notes. */
rh_status rh_diff_texts_read(rh_diff_texts *out, rh_diff_report *r, rh_str *notes, const rh_model *m,
                             const rh_diff_options *o, rh_error *err);
void rh_diff_texts_free(rh_diff_texts *t);

/* The same for the same texts on the same model and processor, and else for none. */
rh_status rh_diff_states_name(char out[65], const rh_diff_texts *t, const rh_diff_report *r, const rh_model *m, rh_error *err);
/* The pass. store is filled on rank 0, where it is open, from slot `done` on. */
rh_status rh_diff_states(rh_diff_store *store, const rh_diff_texts *t, const rh_diff_report *r, const rh_model *m,
                         const rh_diff_options *o, const rh_comm *comm, rh_error *err);

#endif

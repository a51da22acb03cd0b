/* statistics.h - how far two classes of texts are apart, and how sure that is. Knows numbers and
 * classes; nothing of texts, layers or models. All chance is a function of (seed, stream, item).
 *
 * Class 0 is the positive one. */
#ifndef RH_STATISTICS_H
#define RH_STATISTICS_H

#include "base/error.h"

/* ---- effect.c: two classes of scores ------------------------------------------------------------ */

/* Count, mean and sum of squared deviations of each class (Welford). Zero to start. */
typedef struct rh_class_moments { double n[2], mean[2], ss[2]; } rh_class_moments;
void rh_class_moments_add(rh_class_moments *m, double x, int cls);

/* Cohen's d, over strata (folds) whose scores may have different origins:
 *     Δ = Σ w Δ_s / Σ w,  w = n0 n1 / (n0 + n1)
 *     s² = Σ ss / Σ (n - 1), sums over strata and classes
 * One stratum: the textbook's (mean0 - mean1) / pooled deviation. *sd (may be NULL) is s. NaN where no
 * stratum has both classes, or nothing varies within them. */
double rh_cohen_d(const rh_class_moments *m, int32_t n, double *sd);

/* Area under the ROC curve: the share of (positive, negative) pairs in which the positive scores
 * higher, ties counting half. wins and pairs are added to, so that AUC = wins / pairs over several
 * folds. score [n] float: what is equal to 24 bits is a tie. scratch [2 n]. */
void rh_auc_add(double *wins, double *pairs, const float *score, const uint8_t *cls, int32_t n,
                uint64_t *scratch);

/* The q-quantile of x [n], which is sorted; linear between neighbours; NaN for n 0. NaN are last. */
double rh_quantile(double *x, int32_t n, double q);

/* (1 + #{null >= observed}) / (n + 1); NaN if observed is. */
double rh_p_value(double observed, const double *null, int32_t n);

/* Two variables together, one pair of values at a time; zero to start. */
typedef struct rh_comoments { double n, mean_x, mean_y, xx, yy, xy; } rh_comoments;
void rh_comoments_add(rh_comoments *m, double x, double y);
/* `within` keeps each part's own means: what is left of the correlation inside the parts. */
void rh_comoments_merge(rh_comoments *m, const rh_comoments *other, bool within);
double rh_correlation(const rh_comoments *m); /* Pearson's r; NaN if one of them does not vary */

/* ---- groups.c: what hangs together ------------------------------------------------------------- */

/* Items with an equal a or an equal b are in one group, and so on: connected components, by
 * union-find. a, b [n] are ids in [0, n); b may be NULL. group [n] numbered by first appearance. */
rh_status rh_groups(int32_t *group, int32_t *n_groups, const int32_t *a, const int32_t *b, int32_t n, rh_error *err);

/* Groups to folds, none torn, classes and sizes as even as a greedy choice makes them: the largest
 * first, each to the fold that has least of its classes; equal ones in random order. counts
 * [n_groups][2]. fold [n_groups] in [0, k). */
rh_status rh_folds(int32_t *fold, int32_t k, const int32_t (*counts)[2], int32_t n_groups, uint64_t seed,
                   rh_error *err);

/* ---- resample.c -------------------------------------------------------------------------------- */

/* Algorithm R: `keep` of n items, all subsets equally likely; picked [keep] ascending. keep >= n: all;
 * returns how many. */
int64_t rh_reservoir(int64_t *picked, int64_t keep, int64_t n, uint64_t seed, uint64_t stream);

/* Set exactly m of the items' bits (the others are left alone), each subset equally likely. */
rh_status rh_choose_bits(uint8_t *bits, const int32_t *items, int32_t n, int32_t m, uint64_t seed,
                         uint64_t stream, rh_error *err);
static inline bool rh_bit(const uint8_t *bits, int32_t i) { return bits[i >> 3] >> (i & 7) & 1; }

/* How often an item is drawn in a bootstrap: Poisson with mean 1, which needs no other item. */
int32_t rh_bootstrap_count(uint64_t seed, uint64_t stream, uint64_t item);

/* ---- products.c -------------------------------------------------------------------------------- */

/* out [k, d] += wᵀ x;  w [n, k], x [n, d]. */
void rh_weighted_sums(double *out, const double *w, const double *x, int32_t n, int32_t k, int32_t d);
/* out [n, k] = x vᵀ;  v [k, d]. */
void rh_scores(double *out, const double *x, const double *v, int32_t n, int32_t k, int32_t d);

#endif

/* fit.h - directions fitted to samples: principal component of differences, Fisher's
 * discriminant, logistic regression. Samples are float32, the work is float64 and
 * LAPACK's. Every direction has unit length; RH_EVALUE says why there is none. */
#ifndef RH_ALGEBRA_FIT_H
#define RH_ALGEBRA_FIT_H

#include "algebra/scatter.h"

/* rows [2n, d]: positive, negative, positive, … With δ_i = positive_i - negative_i, the first
 * principal component of the δ_i after subtracting their mean (center false: of the δ_i as they
 * are, uncentred), turned so that not in most pairs the positive projects lower: repeng's
 * `pca_diff`. As many pairs one way as the other: the mean difference projects above 0. */
rh_status rh_fit_pca(float *out, const float *rows, size_t n, int32_t d, bool center, rh_error *err);

/* ((1-s)Σ + s tr(Σ)/d I)⁻¹ (mean_0 - mean_1), with Σ the scatter within classes over the number
 * of samples: scikit-learn's LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s). The scatter
 * is flushed and has two classes. */
rh_status rh_fit_lda(float *out, const rh_scatter *s, double shrink, rh_error *err);

/* The w of min_{w,b} Σ_i log(1 + exp(-y_i (w·x_i + b))) + l2/2 ‖w‖², y_i = +1 where positive[i],
 * else -1: scikit-learn's LogisticRegression(C=1/l2). The intercept b is not penalised, and the
 * features are taken as they are. Newton's method, until a step changes w by less than 1e-9. */
rh_status rh_fit_logreg(float *out, const float *rows, const uint8_t *positive, size_t n, int32_t d, double l2,
                        rh_error *err);

#endif

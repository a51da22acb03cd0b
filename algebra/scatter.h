/* scatter.h - means of classes and the scatter within them, sample by sample. Data is float32,
 * sums are float64; knows nothing of where samples come from.
 *
 *     S = Σ_c Σ_i w_i (x_i - mean_c)(x_i - mean_c)ᵀ
 *
 * One matrix [d, d] whatever the number of samples and classes: 8 d² bytes. */
#ifndef RH_ALGEBRA_SCATTER_H
#define RH_ALGEBRA_SCATTER_H

#include "base/error.h"

typedef struct rh_scatter {
    int32_t d, n_classes;
    double *n;         /* [n_classes] sums of weights */
    double *mean;      /* [n_classes, d] */
    double *s;         /* [d, d] row-major, upper triangle */
    double *rows;      /* [n_classes, RH_SCATTER_BLOCK, d] samples not yet in the sums */
    double *weights;   /* [n_classes, RH_SCATTER_BLOCK] */
    int32_t *held;     /* [n_classes] */
    double *delta;     /* [d] scratch */
} rh_scatter;

enum { RH_SCATTER_BLOCK = 64 };

rh_status rh_scatter_new(rh_scatter *out, int32_t d, int32_t n_classes, rh_error *err);
void rh_scatter_free(rh_scatter *s);
/* x [d] is copied; a weight that is not above 0 adds nothing. */
void rh_scatter_add(rh_scatter *s, int32_t cls, const float *x, double weight);
void rh_scatter_add_double(rh_scatter *s, int32_t cls, const double *x, double weight);
/* Samples held back go into the sums: before n, mean and s are read. */
void rh_scatter_flush(rh_scatter *s);
/* Add what another one of the same shape has seen; both flushed. */
void rh_scatter_merge(rh_scatter *s, const rh_scatter *other);

#endif

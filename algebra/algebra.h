/* algebra.h - vectors without models: float32 data, float64 sums. Knows nothing of sites,
 * files or languages. Linear algebra is LAPACKE's. */
#ifndef RH_ALGEBRA_H
#define RH_ALGEBRA_H

#include "base/error.h"

double rh_dot(const float *a, const float *b, int32_t d);
double rh_norm(const float *a, int32_t d);
double rh_cosine(const float *a, const float *b, int32_t d); /* 0 if either is zero */

/* out [d] = sum_i c[i] * v[i], accumulated in double, rounded once. */
rh_status rh_linear_combination(float *out, const double *c, const float *const *v, int32_t n,
                                int32_t d, rh_error *err);

enum { RH_SPAN_MAX = 4096 }; /* vectors given to a span; more: RH_ELIMIT */

/* A subspace as an orthonormal basis. Owner of basis; rh_span_free. */
typedef struct rh_span {
    int32_t d, rank;
    float *basis; /* [rank, d] */
} rh_span;
/* Of v [n][d], by QR with column pivoting; directions below 1e-6 of the largest are dropped,
 * so dependent vectors lower the rank. Zero vectors give rank 0. */
rh_status rh_span_new(rh_span *out, const float *const *v, int32_t n, int32_t d, rh_error *err);
void rh_span_free(rh_span *s);
void rh_span_project(float *out, const float *v, const rh_span *s); /* component inside; out may be v */

/* Spherical interpolation: unit directions of a and b turned by t, length interpolated
 * linearly. RH_EVALUE: a zero vector, or opposite directions. */
rh_status rh_slerp(float *out, const float *a, const float *b, double t, int32_t d, rh_error *err);

/* out [n, n] = cosines. */
void rh_cosine_matrix(double *out, const float *const *v, int32_t n, int32_t d);

/* Running mean and sum of squared deviations per coordinate (Welford), merged by Chan's
 * formula: the same result in any split, to rounding. Owner: rh_moments_free. */
typedef struct rh_moments { int32_t d; double n; double *mean, *m2; /* [d] each */ } rh_moments;
rh_status rh_moments_new(rh_moments *out, int32_t d, rh_error *err);
void rh_moments_add(rh_moments *m, const float *x, double weight);
void rh_moments_merge(rh_moments *m, const rh_moments *other);
void rh_moments_free(rh_moments *m);

#endif

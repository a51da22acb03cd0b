/* pursuit.h - a vector as a sum of few others, chosen one after the other (orthogonal matching pursuit): after
 * each choice all coefficients are fitted again by least squares. Who chooses, and from what, is the caller's
 * affair. Source: Pati, Rezaiifar and Krishnaprasad 1993; not negative: Lawson and Hanson's inner loop. */
#ifndef RH_ALGEBRA_PURSUIT_H
#define RH_ALGEBRA_PURSUIT_H

#include "base/error.h"

typedef struct rh_pursuit rh_pursuit; /* owner: rh_pursuit_free */

/* v [d] is borrowed; room for max parts. nonnegative: coefficients are 0 or above. */
rh_status rh_pursuit_new(rh_pursuit **out, const float *v, int32_t d, int32_t max, bool nonnegative, rh_error *err);
/* One more part, copied. RH_EVALUE: it depends on those that are there (nothing changes). */
rh_status rh_pursuit_add(rh_pursuit *p, const float *part, rh_error *err);
double rh_pursuit_coefficient(const rh_pursuit *p, int32_t i); /* of the part added ith */
const float *rh_pursuit_residual(const rh_pursuit *p);         /* [d] v minus the sum */
double rh_pursuit_residual_norm(const rh_pursuit *p);
void rh_pursuit_free(rh_pursuit *p);

#endif

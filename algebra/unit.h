/* unit.h - what fit.c and logreg.c share. Not for other rooms. */
#ifndef RH_ALGEBRA_UNIT_H
#define RH_ALGEBRA_UNIT_H

#include <lapacke.h>

#include "base/error.h"

/* out = v/‖v‖ [d]; RH_EVALUE if v is zero or not finite. */
rh_status rh_unit_out(float *out, const double *v, int32_t d, rh_error *err);
/* "WHAT has no solution in numbers", or no memory. */
rh_status rh_lapack_status(lapack_int info, const char *what, rh_error *err);

#endif

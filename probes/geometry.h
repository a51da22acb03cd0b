/* geometry.h - how a linear result lies among its named parts. Knows vectors; no model. */
#ifndef RH_PROBES_GEOMETRY_H
#define RH_PROBES_GEOMETRY_H

#include "probes/report.h"

/* v = sum_i c_i a_i at one layer: cosines between the a_i and v (the last row), norms, and the
 * share of part i, c_i a_i·v/‖v‖². Shares sum to 1 to rounding; they are NaN if v is zero. `out` is
 * released by its report, also after a failure. RH_ESITE: a part that is not there at that layer. */
rh_status rh_geometry_make(rh_geometry *out, const char *label, const rh_part *parts, int32_t n_parts,
                           const rh_vector *v, int32_t layer, rh_error *err);

#endif

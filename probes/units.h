/* units.h - strengths as people mean them: times the vector, a part of ‖h‖, or deviations. Knows
 * numbers and, for the median ‖h‖, a model.
 *
 *   "1", "1x"     the vector as computed, times 1
 *   "0.2resid"    ‖strength·v‖ = 0.2 median ‖h‖ at the site
 *   "1.5maxact"   strength·v = 1.5 times the largest activation of a feature, times its decoder row
 *   "4sigma"      ‖strength·v‖ = 4 pooled deviations of the pairs' projections on v/‖v‖ */
#ifndef RH_PROBES_UNITS_H
#define RH_PROBES_UNITS_H

#include "concepts/concepts.h"

typedef enum rh_unit { RH_UNIT_X = 0, RH_UNIT_RESID, RH_UNIT_SIGMA, RH_UNIT_MAXACT } rh_unit;
typedef struct rh_unit_figures { double resid, sigma, maxact; } rh_unit_figures;
typedef struct rh_strength { double value; rh_unit unit; } rh_strength;
const char *rh_unit_name(rh_unit unit); /* "x", "resid", "sigma", "maxact" */

/* text[0..n): a decimal number and a unit, blanks around them dropped. RH_EVALUE. */
rh_status rh_strength_parse(rh_strength *out, const char *text, size_t n, rh_error *err);
/* A comma list, appended to items [*n]; free(*items). RH_EVALUE, RH_ENOMEM. */
rh_status rh_strength_list(rh_strength **items, size_t *n, size_t *cap, const char *text, rh_error *err);

/* What v is multiplied by. norm = ‖v‖; figures says how long strength·v is for one of a unit: the median ‖h‖, a
 * deviation, max_act·‖W_dec[i]‖; looked at only where the unit needs one.
 * RH_EVALUE: the vector is zero, or the figure needed is not a positive number. */
rh_status rh_strength_factor(double *out, rh_strength s, double norm, const rh_unit_figures *figures, rh_error *err);

/* Median ‖h‖ at each site over the tokens of all prompts, run unsteered; the first token of a prompt is
 * left out unless it is alone. out [n_sites]. */
rh_status rh_median_norms(double *out, const rh_model *m, const int32_t *layers, int32_t n_sites, rh_hook hook,
                          const char *const *prompts, int32_t n_prompts, const rh_prompt_options *o, rh_error *err);

/* The pooled deviation, within positives and within negatives, of h·u at (layer, hook) over the texts of the
 * one file of pairs that a vector was made of. metadata: JSON of rh_concepts_metadata. u [d] has length 1.
 * RH_EVALUE: made of no pairs, or of several files: the hint says what to use. */
rh_status rh_pairs_sigma(double *out, const rh_model *m, const char *metadata, int32_t layer, rh_hook hook,
                         const float *u, rh_error *err);

#endif

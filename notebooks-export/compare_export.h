/* compare_export.h - a comparison as terminal text and as JSON; as in export.h. */
#ifndef RH_EXPORT_COMPARE_H
#define RH_EXPORT_COMPARE_H

#include "notebooks-export/export.h"
#include "probes/compare.h"

rh_status rh_export_compare_text(rh_str *out, const rh_compare_report *r, const rh_terminal *t, rh_error *err);
/* {model, strength, over, expressions [{expression, site, norm}], cosine [[]], prompts, n_tokens, layers
 * [{layer, median_h, norm [], cosine [[]], moved [[]]}], additivity [{a, b, layers [{layer, cosine, ratio}]}],
 * notes, seconds}; a figure that does not exist is null. */
rh_status rh_export_compare_json(rh_str *out, const rh_compare_report *r, rh_error *err);

#endif

/* search_export.h - features that a text switches on, as terminal text and as JSON; as in export.h. */
#ifndef RH_EXPORT_SEARCH_H
#define RH_EXPORT_SEARCH_H

#include "notebooks-export/export.h"
#include "probes/search.h"

rh_status rh_export_search_text(rh_str *out, const rh_search_report *r, const rh_terminal *t, rh_error *err);
/* {model, text, by, tokens [{position, id, text, ranked}], saes [{path, layer, hook, features, active}], hits [{sae,
 * feature, score, max, position, label, label_source, max_act, density, activations []}]}. */
rh_status rh_export_search_json(rh_str *out, const rh_search_report *r, rh_error *err);

#endif

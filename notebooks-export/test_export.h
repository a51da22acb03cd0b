/* test_export.h - features on texts and in a corpus, as terminal text, JSON and a web page; as in export.h. */
#ifndef RH_EXPORT_TEST_H
#define RH_EXPORT_TEST_H

#include "notebooks-export/export.h"
#include "probes/feature_test.h"

/* top: lines of the table of features to show. */
rh_status rh_export_test_text(rh_str *out, const rh_test_report *r, int32_t top, const rh_terminal *t, rh_error *err);
/* {model, sae, layer, hook, features, tokens, documents, context, dead, texts [[{feature, label, tokens [{id, text, activation}]}]],
 * pages [{feature, label, label_source, active, density, max, mean, histogram [{lo, hi, n}], top and samples [{value, quantile, peak,
 * tokens [{id, text, activation}]}], raises and lowers [{id, piece, logit}]}], table [{feature, label, label_source, density, max,
 * words}]}; what was not asked for is left out. */
rh_status rh_export_test_json(rh_str *out, const rh_test_report *r, rh_error *err);
/* A whole document without anything from elsewhere. */
rh_status rh_export_test_html(rh_str *out, const rh_test_report *r, rh_error *err);

#endif

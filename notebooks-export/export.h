/* export.h - reports as terminal text and as JSON. Knows reports and formats; computes nothing.
 *
 * Text from a model or a file never reaches the terminal raw: controls and escape sequences are spelled
 * out, bytes that are no UTF-8 become U+FFFD. Output is always valid UTF-8. Each function appends to
 * *out, which starts zeroed; on failure it is freed. RH_ENOMEM is the only error. */
#ifndef RH_EXPORT_H
#define RH_EXPORT_H

#include "probes/diff.h"
#include "probes/report.h"

/* unicode false: ASCII only, other code points as \u{1f600}. */
typedef struct rh_terminal { int width; bool colour; bool unicode; } rh_terminal; /* width 0: 80 */

rh_status rh_export_steer_text(rh_str *out, const rh_steer_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_steer_json(rh_str *out, const rh_steer_report *r, rh_error *err);
rh_status rh_export_vec_text(rh_str *out, const rh_vec_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_vec_json(rh_str *out, const rh_vec_report *r, rh_error *err);
rh_status rh_export_diff_text(rh_str *out, const rh_diff_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_diff_json(rh_str *out, const rh_diff_report *r, rh_error *err);
rh_status rh_export_diff_svg(rh_str *out, const rh_diff_report *r, rh_error *err); /* a whole document */

#endif

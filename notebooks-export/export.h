/* export.h - reports as terminal text and as JSON. Knows reports and formats; computes nothing. */
#ifndef RH_EXPORT_H
#define RH_EXPORT_H

#include "probes/report.h"

typedef struct rh_terminal { int width; bool colour; bool unicode; } rh_terminal; /* width 0: 80 */

rh_status rh_export_steer_text(rh_str *out, const rh_steer_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_steer_json(rh_str *out, const rh_steer_report *r, rh_error *err);
rh_status rh_export_vec_text(rh_str *out, const rh_vec_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_vec_json(rh_str *out, const rh_vec_report *r, rh_error *err);

#endif

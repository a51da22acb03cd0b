/* auto_export.h - the report of a search: text for a terminal, one JSON object, a table for other programs,
 * a picture of the frontier. As export.h. */
#ifndef RH_AUTO_EXPORT_H
#define RH_AUTO_EXPORT_H

#include "notebooks-export/export.h"
#include "probes/auto.h"

rh_status rh_export_auto_text(rh_str *out, const rh_auto_report *r, const rh_terminal *t, rh_error *err);
rh_status rh_export_auto_json(rh_str *out, const rh_auto_report *r, rh_error *err);
/* One line a setting, the unsteered run first; RFC 4180. */
rh_status rh_export_auto_csv(rh_str *out, const rh_auto_report *r, rh_error *err);
/* Cost against presence (or hits), the frontier and the knee; a stand-alone picture. */
rh_status rh_export_auto_svg(rh_str *out, const rh_auto_report *r, rh_error *err);

#endif

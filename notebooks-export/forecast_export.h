/* forecast_export.h - a forecast of features and its fact as terminal text and as JSON; as in export.h. */
#ifndef RH_EXPORT_FORECAST_H
#define RH_EXPORT_FORECAST_H

#include "notebooks-export/export.h"
#include "probes/forecast.h"

rh_status rh_export_forecast_text(rh_str *out, const rh_forecast *f, const rh_terminal *t, rh_error *err);
/* {model, expression, prompt, text, layer, hook, strength, norm, n_prompt, n_generated, share, on, off, seconds}; on and
 * off: {forecast, fact, both, precision, recall, features [{feature, label, push, forecast, fact}], missed [the same]};
 * a figure that does not exist is null. */
rh_status rh_export_forecast_json(rh_str *out, const rh_forecast *f, rh_error *err);

#endif

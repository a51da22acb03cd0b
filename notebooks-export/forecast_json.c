/* forecast_json.c - a forecast as one JSON object. */
#include <math.h>

#include "notebooks-export/forecast_export.h"
#include "notebooks-export/json.h"

static json_t *features(rh_json *j, const rh_forecast_feature *list, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *o = rh_json_feature(j, list[i].feature, list[i].label);
        rh_json_number(j, o, "push", list[i].push);
        rh_json_number(j, o, "forecast", list[i].forecast);
        rh_json_number(j, o, "fact", list[i].fact);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *direction(rh_json *j, const rh_forecast *f, const rh_forecast_list *l)
{
    json_t *o = rh_json_object(j);
    rh_json_integer(j, o, "forecast", l->forecast);
    rh_json_set(j, o, "fact", f->n_generated ? json_integer(l->fact) : json_null());
    rh_json_set(j, o, "both", f->n_generated ? json_integer(l->both) : json_null());
    rh_json_number(j, o, "precision", f->n_generated ? rh_forecast_precision(l) : NAN);
    rh_json_number(j, o, "recall", rh_forecast_recall(l));
    rh_json_set(j, o, "features", features(j, l->said, l->n_said));
    rh_json_set(j, o, "missed", features(j, l->missed, l->n_missed));
    return o;
}

rh_status rh_export_forecast_json(rh_str *out, const rh_forecast *f, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j);
    rh_json_text(&j, o, "model", f->model);
    rh_json_text(&j, o, "expression", f->expression);
    rh_json_text(&j, o, "prompt", f->prompt);
    rh_json_text(&j, o, "text", f->text);
    rh_json_place(&j, o, f->layer, f->hook);
    rh_json_number(&j, o, "strength", f->strength);
    rh_json_number(&j, o, "norm", f->norm);
    rh_json_integer(&j, o, "n_prompt", f->n_prompt);
    rh_json_integer(&j, o, "n_generated", f->n_generated);
    rh_json_number(&j, o, "share", RH_FORECAST_SHARE);
    rh_json_set(&j, o, "on", direction(&j, f, &f->on));
    rh_json_set(&j, o, "off", direction(&j, f, &f->off));
    rh_json_number(&j, o, "seconds", f->seconds);
    return rh_json_finish(out, o, &j, err);
}

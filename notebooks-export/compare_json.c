#include <string.h>

#include "notebooks-export/clean.h"
#include "notebooks-export/compare_export.h"
#include "notebooks-export/json.h"

static json_t *row(rh_json *j, const double *x, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) rh_json_push(j, a, x[i] - x[i] == 0 ? json_real(x[i]) : json_null());
    return a;
}

static json_t *matrix(rh_json *j, const double *x, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) rh_json_push(j, a, row(j, x + (size_t)i * (size_t)n, n));
    return a;
}

static void set_expressions(rh_json *j, json_t *o, const rh_compare_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n; i++) {
        json_t *one = rh_json_object(j);
        rh_json_text(j, one, "expression", r->expressions[i]);
        rh_json_text(j, one, "site", r->sites[i]);
        rh_json_number(j, one, "norm", r->norm[i]);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "expressions", a);
}

static void set_layers(rh_json *j, json_t *o, const rh_compare_report *r)
{
    json_t *a = rh_json_array(j);
    size_t n = (size_t)r->n;
    for (int32_t l = 0; l < r->n_layers; l++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "layer", r->layers[l]);
        rh_json_number(j, one, "median_h", r->median_h[l]);
        rh_json_set(j, one, "norm", row(j, r->effect_norm + (size_t)l * n, r->n));
        rh_json_set(j, one, "cosine", matrix(j, r->effect_cosine + (size_t)l * n * n, r->n));
        rh_json_set(j, one, "moved", matrix(j, r->moved + (size_t)l * n * n, r->n));
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "layers", a);
}

static void set_pairs(rh_json *j, json_t *o, const rh_compare_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_pairs; i++) {
        const rh_compare_pair *p = &r->pairs[i];
        json_t *one = rh_json_object(j), *layers = rh_json_array(j);
        rh_json_text(j, one, "a", r->expressions[p->a]);
        rh_json_text(j, one, "b", r->expressions[p->b]);
        for (int32_t l = 0; l < r->n_layers; l++) {
            json_t *at = rh_json_object(j);
            rh_json_integer(j, at, "layer", r->layers[l]);
            rh_json_number(j, at, "cosine", p->cosine[l]);
            rh_json_number(j, at, "ratio", p->ratio[l]);
            rh_json_push(j, layers, at);
        }
        rh_json_set(j, one, "layers", layers);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "additivity", a);
}

rh_status rh_export_compare_json(rh_str *out, const rh_compare_report *r, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j), *prompts = rh_json_array(&j);
    rh_json_text(&j, o, "model", r->model);
    rh_json_number(&j, o, "strength", r->strength);
    rh_json_text(&j, o, "over", r->last ? "last" : "mean");
    set_expressions(&j, o, r);
    rh_json_set(&j, o, "cosine", matrix(&j, r->cosine, r->n));
    for (int32_t i = 0; i < r->n_prompts; i++) {
        rh_str clean = {0};
        rh_repair_utf8(&clean, r->prompts[i], strlen(r->prompts[i]));
        rh_json_push(&j, prompts, json_string(clean.data ? clean.data : ""));
        j.failed = j.failed || clean.failed;
        rh_str_free(&clean);
    }
    rh_json_set(&j, o, "prompts", prompts);
    rh_json_integer(&j, o, "n_tokens", r->n_tokens);
    set_layers(&j, o, r);
    set_pairs(&j, o, r);
    rh_json_notes(&j, o, r->notes);
    rh_json_number(&j, o, "seconds", r->seconds);
    return rh_json_finish(out, o, &j, err);
}

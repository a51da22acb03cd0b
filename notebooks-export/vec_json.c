/* vec_json.c - an expression's value as one JSON object; keys in README.md. */
#include "notebooks-export/export.h"
#include "notebooks-export/json.h"

static void set_scalar(rh_json *j, json_t *o, const rh_vec_report *r)
{
    if (r->n_scalar == 1)
        rh_json_number(j, o, "value", r->scalar[0]);
    else
        rh_json_set(j, o, "value", json_null());
    if (!r->scalar_layers) return;
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_scalar; i++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "layer", r->scalar_layers[i]);
        rh_json_number(j, one, "value", r->scalar[i]);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "values", a);
}

/* One object a layer with its rank or its norm. */
static void set_layers(rh_json *j, json_t *o, const rh_vec_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_layers; i++) {
        json_t *one = rh_json_object(j);
        rh_json_place(j, one, r->layers[i], r->hook);
        if (r->kind == RH_VALUE_SPAN)
            rh_json_integer(j, one, "rank", r->ranks[i]);
        else
            rh_json_number(j, one, "norm", r->norm[i]);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "layers", a);
}

static void set_cosines(rh_json *j, json_t *o, const rh_vec_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_cosines; i++) {
        json_t *one = rh_json_object(j);
        rh_json_text(j, one, "name", r->cosines[i].name);
        rh_json_place(j, one, r->cosines[i].layer, r->hook);
        rh_json_number(j, one, "cosine", r->cosines[i].cosine);
        rh_json_number(j, one, "norm", r->cosines[i].norm);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "cosines", a);
}

static void set_nearest(rh_json *j, json_t *o, const rh_vec_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_nearest; i++) {
        json_t *one = rh_json_object(j);
        rh_json_place(j, one, r->nearest[i].layer, r->hook);
        rh_json_set(j, one, "up", rh_json_scored(j, r->nearest[i].up, r->nearest[i].n_up, "projection"));
        rh_json_set(j, one, "down", rh_json_scored(j, r->nearest[i].down, r->nearest[i].n_down, "projection"));
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "nearest", a);
}

rh_status rh_export_vec_json(rh_str *out, const rh_vec_report *r, rh_error *err)
{
    static const char *const kinds[] = {
        [RH_VALUE_SCALAR] = "scalar", [RH_VALUE_VECTOR] = "vector", [RH_VALUE_SPAN] = "span"};
    rh_json j = {0};
    json_t *o = rh_json_object(&j);
    rh_json_text(&j, o, "expression", r->expression);
    rh_json_text(&j, o, "kind", kinds[r->kind]);
    if (r->kind == RH_VALUE_SCALAR) {
        set_scalar(&j, o, r);
    } else {
        rh_json_integer(&j, o, "d", r->d);
        if (r->kind == RH_VALUE_SPAN) {
            rh_json_integer(&j, o, "rank", r->span_rank);
            rh_json_integer(&j, o, "given", r->span_given);
        } else if (r->n_layers == 1) {
            rh_json_number(&j, o, "norm", r->norm[0]);
        }
        set_layers(&j, o, r);
    }
    if (r->kind == RH_VALUE_VECTOR) {
        set_cosines(&j, o, r);
        rh_json_geometry(&j, o, r->geometry, r->n_geometry);
        set_nearest(&j, o, r);
    }
    rh_json_notes(&j, o, r->notes);
    return rh_json_finish(out, o, &j, err);
}

/* diff_json.c - diff's report as one JSON object; keys in README.md. */
#include <math.h>

#include "notebooks-export/export.h"
#include "notebooks-export/json.h"

static void set_figures(rh_json *j, json_t *o, const rh_diff_figures *f)
{
    json_t *interval = rh_json_array(j);
    rh_json_number(j, o, "norm", f->norm);
    rh_json_number(j, o, "effect", f->effect);
    rh_json_number(j, o, "auc", f->auc);
    rh_json_push(j, interval, isfinite(f->low) ? json_real(f->low) : json_null());
    rh_json_push(j, interval, isfinite(f->high) ? json_real(f->high) : json_null());
    rh_json_set(j, o, "bootstrap", interval);
    rh_json_number(j, o, "split_half", f->split_half);
}

static void set_place(rh_json *j, json_t *o, const rh_diff_site *x)
{
    rh_json_text(j, o, "position", RH_DIFF_POSITION_NAMES[x->position]);
    rh_json_place(j, o, x->layer, RH_RESID_POST);
}

static json_t *site_value(rh_json *j, const rh_diff_site *x)
{
    json_t *o = rh_json_object(j), *control = rh_json_object(j);
    set_place(j, o, x);
    set_figures(j, o, &x->real);
    rh_json_number(j, o, "median_h", x->median_norm);
    rh_json_number(j, o, "relative_norm", x->ratio);
    rh_json_number(j, o, "effect_in_sample", x->effect_in_sample);
    rh_json_number(j, o, "p", x->p);
    rh_json_number(j, o, "p_max", x->p_max);
    set_figures(j, control, &x->control);
    rh_json_number(j, control, "auc_95", x->auc_control_95);
    rh_json_set(j, o, "control", control);
    rh_json_number(j, o, "length_correlation", x->length);
    rh_json_number(j, o, "length_correlation_within", x->length_within);
    rh_json_number(j, o, "outlier_share", x->outlier);
    rh_json_integer(j, o, "outlier_coordinate", x->coordinate);
    return o;
}

static json_t *choice_value(rh_json *j, const rh_diff_report *r)
{
    const rh_diff_choice *c = &r->choice;
    if (c->site < 0) return json_null();
    json_t *o = rh_json_object(j);
    set_place(j, o, &r->sites[c->site]);
    rh_json_text(j, o, "reason", c->reason);
    rh_json_number(j, o, "auc", c->auc);
    rh_json_number(j, o, "effect", c->effect);
    rh_json_number(j, o, "p", c->p);
    rh_json_integer(j, o, "folds_agree", c->agree);
    rh_json_integer(j, o, "folds", c->folds);
    rh_json_set(j, o, "first_layer", c->last_layer < 0 ? json_null() : json_integer(c->first_layer));
    rh_json_set(j, o, "last_layer", c->last_layer < 0 ? json_null() : json_integer(c->last_layer));
    return o;
}

/* {position: [[cosine, …], …]} in the order of `layers` */
static json_t *cosines_value(rh_json *j, const rh_diff_report *r)
{
    json_t *o = rh_json_object(j);
    size_t n = (size_t)r->n_layers;
    for (int32_t p = 0; p < r->n_positions; p++) {
        json_t *rows = rh_json_array(j);
        for (size_t a = 0; a < n; a++) {
            json_t *row = rh_json_array(j);
            for (size_t b = 0; b < n; b++) rh_json_push(j, row, json_real(r->cosine[((size_t)p * n + a) * n + b]));
            rh_json_push(j, rows, row);
        }
        rh_json_set(j, o, RH_DIFF_POSITION_NAMES[p], rows);
    }
    return o;
}

static void set_texts(rh_json *j, json_t *o, const rh_diff_report *r)
{
    rh_json_bool(j, o, "paired", r->paired);
    rh_json_integer(j, o, "rows", r->n_rows);
    rh_json_bool(j, o, "sampled", r->sampled);
    rh_json_integer(j, o, "texts", r->n_texts);
    rh_json_integer(j, o, "positives", r->n_class[0]);
    rh_json_integer(j, o, "negatives", r->n_class[1]);
    rh_json_integer(j, o, "groups", r->n_groups);
    rh_json_integer(j, o, "folds", r->n_folds);
    rh_json_integer(j, o, "permutations", r->n_permutations);
    rh_json_integer(j, o, "bootstrap_samples", r->n_bootstrap);
    rh_json_integer(j, o, "seed", (int64_t)r->seed);
    rh_json_integer(j, o, "tokens", r->n_tokens);
    rh_json_number(j, o, "tokens_positive", r->tokens_mean[0]);
    rh_json_number(j, o, "tokens_negative", r->tokens_mean[1]);
    rh_json_number(j, o, "tokens_auc", r->tokens_auc);
    rh_json_integer(j, o, "file_bytes", r->file_bytes);
}

rh_status rh_export_diff_json(rh_str *out, const rh_diff_report *r, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j), *sites = rh_json_array(&j), *layers = rh_json_array(&j);
    rh_json_text(&j, o, "model", r->model);
    rh_json_text(&j, o, "path", r->path);
    rh_json_text(&j, o, "sha256", r->sha256);
    set_texts(&j, o, r);
    rh_json_set(&j, o, "recommended", choice_value(&j, r));
    for (int32_t l = 0; l < r->n_layers; l++) rh_json_push(&j, layers, json_integer(r->layers[l]));
    rh_json_set(&j, o, "layers", layers);
    for (int32_t s = 0; s < r->n_layers * r->n_positions; s++) rh_json_push(&j, sites, site_value(&j, &r->sites[s]));
    rh_json_set(&j, o, "sites", sites);
    rh_json_set(&j, o, "cosine", cosines_value(&j, r));
    rh_json_notes(&j, o, r->notes);
    rh_json_number(&j, o, "seconds_read", r->seconds_read);
    rh_json_number(&j, o, "seconds_run", r->seconds_run);
    rh_json_number(&j, o, "seconds_measure", r->seconds_measure);
    return rh_json_finish(out, o, &j, err);
}

/* test_json.c - features on texts and in a corpus as one JSON object; keys in test_export.h. */
#include <math.h>

#include "notebooks-export/json.h"
#include "notebooks-export/test_export.h"

static json_t *tokens(rh_json *j, const rh_watch_track *t)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < t->n; i++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "id", t->tokens[i].id);
        rh_json_text(j, one, "text", t->tokens[i].text);
        rh_json_number(j, one, "activation", t->tokens[i].value);
        rh_json_push(j, a, one);
    }
    return a;
}

static void set_label(rh_json *j, json_t *o, const char *label, rh_label_source source)
{
    rh_json_text(j, o, "label", label);
    rh_json_text(j, o, "label_source", label ? rh_label_source_name(source) : NULL);
}

static void set_texts(rh_json *j, json_t *o, const rh_test_report *r)
{
    const int32_t n = r->n_tracks / r->n_texts;
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_texts; i++) {
        json_t *text = rh_json_array(j);
        for (int32_t k = 0; k < n; k++) {
            const rh_watch_track *t = &r->tracks[(size_t)i * (size_t)n + (size_t)k];
            json_t *one = rh_json_object(j);
            rh_json_text(j, one, "feature", t->label);
            rh_json_set(j, one, "tokens", tokens(j, t));
            rh_json_push(j, text, one);
        }
        rh_json_push(j, a, text);
    }
    rh_json_set(j, o, "texts", a);
}

static json_t *contexts(rh_json *j, const rh_page_context *c, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *one = rh_json_object(j);
        rh_json_number(j, one, "value", c[i].value);
        if (!isnan(c[i].quantile)) rh_json_number(j, one, "quantile", c[i].quantile);
        rh_json_integer(j, one, "peak", c[i].peak);
        rh_json_set(j, one, "tokens", tokens(j, &c[i].track));
        rh_json_push(j, a, one);
    }
    return a;
}

static json_t *page(rh_json *j, const rh_feature_page *p)
{
    json_t *o = rh_json_object(j), *bins = rh_json_array(j);
    rh_json_integer(j, o, "feature", p->feature);
    set_label(j, o, p->label, p->source);
    rh_json_integer(j, o, "active", p->active);
    rh_json_number(j, o, "density", p->density);
    rh_json_number(j, o, "max", p->max);
    rh_json_number(j, o, "mean", p->mean);
    for (int32_t i = 0; i < p->n_bins; i++) {
        json_t *one = rh_json_object(j);
        rh_json_number(j, one, "lo", p->bins[i].lo);
        rh_json_number(j, one, "hi", p->bins[i].hi);
        rh_json_integer(j, one, "n", p->bins[i].n);
        rh_json_push(j, bins, one);
    }
    rh_json_set(j, o, "histogram", bins);
    rh_json_set(j, o, "top", contexts(j, p->top, p->n_top));
    rh_json_set(j, o, "samples", contexts(j, p->samples, p->n_samples));
    if (p->has_logits) {
        rh_json_set(j, o, "raises", rh_json_scored(j, p->logits.up, p->logits.n_up, "logit"));
        rh_json_set(j, o, "lowers", rh_json_scored(j, p->logits.down, p->logits.n_down, "logit"));
    }
    return o;
}

static void set_table(rh_json *j, json_t *o, const rh_test_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_lines; i++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "feature", r->lines[i].feature);
        set_label(j, one, r->lines[i].label, r->lines[i].source);
        rh_json_number(j, one, "density", r->lines[i].density);
        rh_json_number(j, one, "max", r->lines[i].max);
        rh_json_text(j, one, "words", r->lines[i].words);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "table", a);
}

rh_status rh_export_test_json(rh_str *out, const rh_test_report *r, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j);
    rh_json_text(&j, o, "model", r->model);
    rh_json_text(&j, o, "sae", r->sae);
    rh_json_place(&j, o, r->seat.layer, r->seat.in);
    rh_json_integer(&j, o, "features", r->n_features);
    if (r->n_texts) set_texts(&j, o, r);
    if (r->tokens) {
        rh_json_integer(&j, o, "tokens", r->tokens);
        rh_json_integer(&j, o, "documents", r->documents);
        rh_json_integer(&j, o, "context", r->context);
        rh_json_integer(&j, o, "dead", r->dead);
    }
    if (r->pages) {
        json_t *a = rh_json_array(&j);
        for (int32_t i = 0; i < r->n_pages; i++) rh_json_push(&j, a, page(&j, &r->pages[i]));
        rh_json_set(&j, o, "pages", a);
    }
    if (r->lines) set_table(&j, o, r);
    return rh_json_finish(out, o, &j, err);
}

/* search_text.c - one line a feature: where, how strong, a cell for each token, how often it is active, its label. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"
#include "notebooks-export/json.h"
#include "notebooks-export/search_export.h"

enum { MAX_CELLS = 32 };

static void put_text_tokens(const rh_pen *p, const rh_search_report *r)
{
    rh_str line = {0};
    rh_str_puts(&line, "tokens ");
    for (int32_t i = 0; i < r->n_tokens; i++) {
        char *text = rh_clean_line(p, r->tokens[i].text);
        rh_str_printf(&line, r->tokens[i].value != 0 ? " %d \"%s\"" : " (%d \"%s\")", (int)i, text);
        rh_line_free(text);
    }
    rh_str_puts(&line, "; in brackets: not ranked");
    if (line.data) rh_paragraph(p, RH_PLAIN, 0, 7, line.data);
    rh_drop(p, &line);
}

static void put_saes(const rh_pen *p, const rh_search_report *r)
{
    for (int32_t i = 0; i < r->n_saes; i++) {
        rh_str line = {0};
        char number[RH_NUMBER];
        char *path = rh_clean_line(p, r->saes[i].path);
        rh_str_printf(&line, "%s: %d.%s, %d features, %s active a token", path, (int)r->saes[i].seat.layer, rh_hook_name(r->saes[i].seat.in),
                      (int)r->saes[i].n_features, rh_number(number, p, r->saes[i].active));
        if (line.data) rh_paragraph(p, RH_DIM, 0, 0, line.data);
        rh_drop(p, &line);
        rh_line_free(path);
    }
}

/* A cell a token, as high as its share of the feature's largest. */
static void put_cells(const rh_pen *p, const rh_search_report *r, const rh_search_hit *h)
{
    static const char *const cells[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double most = 0;
    for (int32_t i = 1; i < r->n_tokens; i++) most = h->act[i] > most ? h->act[i] : most;
    for (int32_t i = 1; i < r->n_tokens; i++) {
        int k = h->act[i] > 0 ? 1 + (int)(h->act[i] / most * 7.999) : 0;
        if (p->unicode) rh_str_puts(p->out, cells[k]);
        else rh_str_add(p->out, &".123456789"[k], 1);
    }
}

static void put_hit(const rh_pen *p, const rh_search_report *r, const rh_search_hit *h)
{
    char number[RH_NUMBER], column[64];
    const rh_seat *seat = &r->saes[h->sae].seat;
    snprintf(column, sizeof column, "%d.%s", (int)seat->layer, rh_hook_name(seat->in));
    rh_put(p, RH_PLAIN, 15, column);
    snprintf(column, sizeof column, "%d", (int)h->feature);
    rh_put(p, RH_BOLD, -7, column);
    rh_put(p, RH_PLAIN, -9, rh_number(number, p, h->score));
    rh_put(p, RH_DIM, -9, h->measured ? rh_percent(number, p, h->score / h->max_act) : p->unicode ? "–" : "-");
    snprintf(number, sizeof number, h->density < 0.001 ? "%.2f%%" : "%.1f%%", 100 * h->density);
    rh_put(p, RH_DIM, -8, h->measured ? number : p->unicode ? "–" : "-");
    rh_spaces(p, 2);
    if (r->n_tokens - 1 <= MAX_CELLS) {
        put_cells(p, r, h);
        rh_spaces(p, 2);
    }
    int used = 50 + (r->n_tokens - 1 <= MAX_CELLS ? r->n_tokens + 1 : 0);
    char *text = rh_clean_line(p, r->tokens[h->at].text), *label = rh_clean_line(p, h->label ? h->label : "");
    rh_str words = {0}, fitted = {0};
    rh_str_printf(&words, "\"%s\"%s%s%s", text, *label ? "  " : "", label, h->source == RH_LABEL_AUTO ? " (auto)" : "");
    if (words.data) rh_fit(&fitted, p, words.data, p->width - used > 20 ? p->width - used : 20);
    if (fitted.data) rh_str_puts(p->out, fitted.data);
    rh_drop(p, &words);
    rh_drop(p, &fitted);
    rh_line_free(text);
    rh_line_free(label);
    rh_end_line(p);
}

rh_status rh_export_search_text(rh_str *out, const rh_search_report *r, const rh_terminal *t, rh_error *err)
{
    rh_pen pen = rh_pen_make(out, t);
    bool measured = true;
    put_saes(&pen, r);
    put_text_tokens(&pen, r);
    rh_str_puts(out, "\n");
    rh_put(&pen, RH_DIM, 0, r->by_sum ? "site           feature      sum   of max  density  " : "site           feature      max   of max  density  ");
    if (r->n_tokens - 1 <= MAX_CELLS) rh_put(&pen, RH_DIM, r->n_tokens + 1 > 9 ? r->n_tokens + 1 : 0, r->n_tokens + 1 > 9 ? "tokens" : "");
    if (r->n_tokens - 1 <= MAX_CELLS && r->n_tokens + 1 <= 9) rh_spaces(&pen, r->n_tokens + 1);
    rh_put(&pen, RH_DIM, 0, "strongest at");
    rh_end_line(&pen);
    for (int32_t i = 0; i < r->n_hits && !out->failed; i++) {
        put_hit(&pen, r, &r->hits[i]);
        measured = measured && r->hits[i].measured;
    }
    if (!r->n_hits) rh_str_puts(out, "no feature is active\n");
    if (!measured)
        rh_paragraph(&pen, RH_DIM, 0, 0, "of max and density: share of the largest activation seen in a corpus, and of its tokens at which the feature is "
                                         "active; `rhumb test MODEL SAE --corpus FILE` measures them");
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void set_tokens(rh_json *j, json_t *o, const rh_search_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_tokens; i++) {
        json_t *one = rh_json_object(j);
        rh_json_integer(j, one, "position", i);
        rh_json_integer(j, one, "id", r->tokens[i].id);
        rh_json_text(j, one, "text", r->tokens[i].text);
        rh_json_bool(j, one, "ranked", r->tokens[i].value != 0);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "tokens", a);
}

static void set_saes(rh_json *j, json_t *o, const rh_search_report *r)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < r->n_saes; i++) {
        json_t *one = rh_json_object(j);
        rh_json_text(j, one, "path", r->saes[i].path);
        rh_json_place(j, one, r->saes[i].seat.layer, r->saes[i].seat.in);
        rh_json_integer(j, one, "features", r->saes[i].n_features);
        rh_json_number(j, one, "active", r->saes[i].active);
        rh_json_push(j, a, one);
    }
    rh_json_set(j, o, "saes", a);
}

static json_t *hit(rh_json *j, const rh_search_report *r, const rh_search_hit *h)
{
    json_t *one = rh_json_object(j), *act = rh_json_array(j);
    rh_json_integer(j, one, "sae", h->sae);
    rh_json_integer(j, one, "feature", h->feature);
    rh_json_number(j, one, "score", h->score);
    rh_json_number(j, one, "max", h->max);
    rh_json_integer(j, one, "position", h->at);
    rh_json_text(j, one, "label", h->label);
    rh_json_text(j, one, "label_source", h->label ? rh_label_source_name(h->source) : NULL);
    rh_json_number(j, one, "max_act", h->max_act);
    rh_json_number(j, one, "density", h->density);
    for (int32_t i = 0; i < r->n_tokens; i++) rh_json_push(j, act, json_real(h->act[i]));
    rh_json_set(j, one, "activations", act);
    return one;
}

rh_status rh_export_search_json(rh_str *out, const rh_search_report *r, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j), *hits = rh_json_array(&j);
    rh_json_text(&j, o, "model", r->model);
    rh_json_text(&j, o, "text", r->text);
    rh_json_text(&j, o, "by", r->by_sum ? "sum" : "max");
    set_tokens(&j, o, r);
    set_saes(&j, o, r);
    for (int32_t i = 0; i < r->n_hits; i++) rh_json_push(&j, hits, hit(&j, r, &r->hits[i]));
    rh_json_set(&j, o, "hits", hits);
    return rh_json_finish(out, o, &j, err);
}

/* vec_text.c - an expression's value for a terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"

static const char *layer_text(char out[64], int32_t layer, rh_hook hook)
{
    if (layer < 0)
        snprintf(out, 64, "constant");
    else
        snprintf(out, 64, "%d.%s", (int)layer, rh_hook_name(hook));
    return out;
}

static void put_scalar(const rh_pen *p, const rh_vec_report *r)
{
    for (int32_t i = 0; i < r->n_scalar; i++) {
        if (r->scalar_layers) rh_str_printf(p->out, "layer %-4d", (int)r->scalar_layers[i]);
        rh_str_printf(p->out, "value %.10g\n", r->scalar[i]);
    }
}

static void put_span(const rh_pen *p, const rh_vec_report *r)
{
    char site[64];
    for (int32_t i = 0; i < r->n_layers; i++)
        rh_str_printf(p->out, "  %-15s rank %d of %d vectors, width %d\n", layer_text(site, r->layers[i], r->hook),
                      (int)r->ranks[i], (int)r->span_given, (int)r->d);
}

static void put_norms(const rh_pen *p, const rh_vec_report *r)
{
    char number[RH_NUMBER], site[64];
    for (int32_t i = 0; i < r->n_layers; i++) {
        rh_spaces(p, 2);
        rh_put(p, RH_PLAIN, 16, layer_text(site, r->layers[i], r->hook));
        rh_str_printf(p->out, "norm %s, width %d\n", rh_number(number, p, r->norm[i]), (int)r->d);
    }
}

static void put_cosines(const rh_pen *p, const rh_vec_report *r)
{
    char number[RH_NUMBER], site[64];
    int room = p->width - 2 - 24 - 16 - 9 - 9 - 2;
    if (!r->n_cosines) return;
    rh_heading(p, "cosine with every named vector");
    rh_spaces(p, 2 + 24 + 16);
    rh_put(p, RH_BOLD, -9, "cosine");
    rh_put(p, RH_BOLD, -9, "norm");
    rh_str_puts(p->out, "\n");
    for (int32_t i = 0; i < r->n_cosines && !p->out->failed; i++) {
        const rh_name_cosine *c = &r->cosines[i];
        char *name = rh_clean_line(p, c->name);
        rh_str fitted = {0}, bar = {0};
        rh_fit(&fitted, p, name, 23);
        rh_spaces(p, 2);
        rh_put(p, RH_PLAIN, 24, fitted.data ? fitted.data : "");
        rh_put(p, RH_DIM, 16, layer_text(site, c->layer, r->hook));
        snprintf(number, sizeof number, "%.3f", c->cosine);
        rh_put(p, RH_PLAIN, -9, number);
        rh_put(p, RH_PLAIN, -9, rh_number(number, p, c->norm));
        if (room >= 9) rh_bar(&bar, p, c->cosine, -1, 1, room > 21 ? 21 : room);
        if (bar.data) {
            rh_spaces(p, 2);
            rh_put(p, RH_PLAIN, 0, bar.data);
        }
        rh_str_puts(p->out, "\n");
        rh_drop(p, &fitted);
        rh_drop(p, &bar);
        rh_line_free(name);
    }
}

static void put_nearest(const rh_pen *p, const rh_vec_report *r)
{
    char site[64];
    if (!r->n_nearest) return;
    rh_heading(p, p->unicode ? "nearest tokens, a projection: W_U·(γ⊙v), γ the final norm's gain"
                             : "nearest tokens, a projection: W_U (g * v), g the final norm's gain");
    for (int32_t i = 0; i < r->n_nearest; i++) {
        const rh_nearest *n = &r->nearest[i];
        rh_spaces(p, 2);
        rh_put(p, RH_PLAIN, 16, layer_text(site, n->layer, r->hook));
        rh_put(p, RH_PLAIN, 3, p->unicode ? "↑" : "up");
        rh_put_tokens(p, n->up, n->n_up, true, 21, 21);
        rh_spaces(p, 18);
        rh_put(p, RH_PLAIN, 3, p->unicode ? "↓" : "dn");
        rh_put_tokens(p, n->down, n->n_down, true, 21, 21);
    }
}

rh_status rh_export_vec_text(rh_str *out, const rh_vec_report *r, const rh_terminal *t, rh_error *err)
{
    static const char *const kinds[] = {
        [RH_VALUE_SCALAR] = "scalar", [RH_VALUE_VECTOR] = "vector", [RH_VALUE_SPAN] = "span"};
    rh_pen pen = rh_pen_make(out, t);
    if (r->kind == RH_VALUE_SCALAR) {
        put_scalar(&pen, r);
    } else {
        char *expression = rh_clean_line(&pen, r->expression);
        rh_str title = {0};
        rh_str_printf(&title, "%s: a %s", expression, kinds[r->kind]);
        if (title.data) rh_paragraph(&pen, RH_BOLD, 0, 0, title.data);
        rh_drop(&pen, &title);
        rh_line_free(expression);
        if (r->kind == RH_VALUE_SPAN)
            put_span(&pen, r);
        else
            put_norms(&pen, r);
    }
    put_cosines(&pen, r);
    for (int32_t i = 0; i < r->n_geometry && !out->failed; i++) rh_put_geometry(&pen, &r->geometry[i]);
    put_nearest(&pen, r);
    rh_put_notes(&pen, r->notes);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

/* compare_text.c - a comparison for a terminal: the vectors, what they do, whether that adds up, what
 * moves along with what. Of the later layers the first, the middle and the last are shown in full. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"
#include "notebooks-export/compare_export.h"

enum { CELL = 8, MAX_LABEL = 30, PAIR = 17 };

static int label_width(const rh_pen *p, const rh_compare_report *r)
{
    int widest = 6, most = p->width / 3 < MAX_LABEL ? p->width / 3 : MAX_LABEL;
    for (int32_t i = 0; i < r->n; i++) {
        char *label = rh_clean_line(p, r->expressions[i]);
        int w = rh_utf8_width(label, strlen(label));
        if (w > widest) widest = w;
        rh_line_free(label);
    }
    return widest < most ? widest : most;
}

static void put_fitted(const rh_pen *p, const char *text, int width)
{
    char *clean = rh_clean_line(p, text);
    rh_str fitted = {0};
    rh_fit(&fitted, p, clean, width);
    rh_put(p, RH_PLAIN, width, fitted.data ? fitted.data : "");
    rh_drop(p, &fitted);
    rh_line_free(clean);
}

/* "  1 sf" */
static void put_label(const rh_pen *p, const rh_compare_report *r, int32_t i, int width)
{
    char index[RH_NUMBER];
    snprintf(index, sizeof index, "%d", (int)i + 1);
    rh_put(p, RH_DIM, -4, index);
    rh_spaces(p, 1);
    put_fitted(p, r->expressions[i], width);
}

static const char *two_digits(char out[RH_NUMBER], const rh_pen *p, double x)
{
    if (x - x != 0) return rh_number(out, p, x);
    snprintf(out, RH_NUMBER, "%.2f", x);
    return out;
}

/* A matrix [n, n] beside one column of norms; columns that have no room come below. */
static void put_matrix(const rh_pen *p, const rh_compare_report *r, const char *beside, const double *norm, const char *of,
                       const double *x, bool cosines)
{
    char text[RH_NUMBER];
    int width = label_width(p, r);
    for (int32_t from = 0, to; from < r->n && !p->out->failed; from = to) {
        int room = (p->width - 5 - width - 10) / CELL;
        to = from + (room < 1 ? 1 : room);
        if (to > r->n) to = r->n;
        rh_spaces(p, 5 + width);
        rh_put(p, RH_BOLD, -10, beside);
        for (int32_t j = from; j < to; j++) {
            snprintf(text, sizeof text, "%s%d", j == from ? of : "", (int)j + 1);
            rh_put(p, RH_BOLD, -CELL, text);
        }
        rh_str_puts(p->out, "\n");
        for (int32_t i = 0; i < r->n; i++) {
            put_label(p, r, i, width);
            rh_put(p, RH_PLAIN, -10, rh_number(text, p, norm[i]));
            for (int32_t j = from; j < to; j++) {
                double value = x[(size_t)i * (size_t)r->n + (size_t)j];
                rh_put(p, i == j ? RH_DIM : RH_PLAIN, -CELL, cosines ? two_digits(text, p, value) : rh_number(text, p, value));
            }
            rh_str_puts(p->out, "\n");
        }
    }
}

static void put_title(const rh_pen *p, const rh_compare_report *r)
{
    char *model = rh_clean_line(p, r->model);
    rh_str line = {0};
    rh_str_printf(&line, "%s: %d vectors on %d prompts, %s", model, (int)r->n, (int)r->n_prompts,
                  r->last ? "the last token of each" : "the mean over");
    if (!r->last) rh_str_printf(&line, " %d tokens", (int)r->n_tokens);
    if (r->strength != 1) rh_str_printf(&line, ", strength %g", r->strength);
    if (line.data) rh_paragraph(p, RH_BOLD, 0, 0, line.data);
    rh_drop(p, &line);
    rh_line_free(model);
    int width = label_width(p, r);
    for (int32_t i = 0; i < r->n; i++) {
        put_label(p, r, i, width);
        rh_str_puts(p->out, "  at ");
        rh_str_puts(p->out, r->sites[i]);
        rh_str_puts(p->out, "\n");
    }
}

/* The layers shown in full. */
static int32_t shown(int32_t out[3], const rh_compare_report *r)
{
    int32_t n = 0, at[3] = {0, (r->n_layers - 1) / 2, r->n_layers - 1};
    for (int i = 0; i < 3; i++)
        if (!n || at[i] != out[n - 1]) out[n++] = at[i];
    return n;
}

static void put_effects(const rh_pen *p, const rh_compare_report *r)
{
    int32_t at[3], n = shown(at, r);
    size_t size = (size_t)r->n;
    for (int32_t i = 0; i < n; i++) {
        char head[96], number[RH_NUMBER];
        size_t l = (size_t)at[i];
        snprintf(head, sizeof head, "effects at layer %d, where the median norm of h is %s", (int)r->layers[l],
                 rh_number(number, p, r->median_h[l]));
        rh_heading(p, head);
        put_matrix(p, r, "norm", r->effect_norm + l * size, "cos ", r->effect_cosine + l * size * size, true);
    }
    rh_spaces(p, 2);
    rh_paragraph(p, RH_DIM, 2, 2, "effect: how far steering with it moves the mean hidden state of a later layer");
}

/* "1+2" and its two columns; as many pairs as have room. */
static void put_additivity(const rh_pen *p, const rh_compare_report *r)
{
    char text[RH_NUMBER];
    rh_heading(p, "do effects add up? effect of a + b against effect of a plus effect of b");
    for (int32_t from = 0, to; from < r->n_pairs && !p->out->failed; from = to) {
        int room = (p->width - 8) / PAIR;
        to = from + (room < 1 ? 1 : room);
        if (to > r->n_pairs) to = r->n_pairs;
        rh_put(p, RH_BOLD, 8, "  layer");
        for (int32_t k = from; k < to; k++) {
            snprintf(text, sizeof text, "%d+%d cos", (int)r->pairs[k].a + 1, (int)r->pairs[k].b + 1);
            rh_put(p, RH_BOLD, -(PAIR - 7), text);
            rh_put(p, RH_BOLD, -7, "size");
        }
        rh_str_puts(p->out, "\n");
        for (int32_t l = 0; l < r->n_layers; l++) {
            snprintf(text, sizeof text, "  %d", (int)r->layers[l]);
            rh_put(p, RH_PLAIN, 8, text);
            for (int32_t k = from; k < to; k++) {
                rh_put(p, RH_PLAIN, -(PAIR - 7), two_digits(text, p, r->pairs[k].cosine[l]));
                rh_put(p, RH_PLAIN, -7, two_digits(text, p, r->pairs[k].ratio[l]));
            }
            rh_str_puts(p->out, "\n");
        }
    }
    rh_spaces(p, 2);
    rh_paragraph(p, RH_DIM, 2, 2, "1.00 and 1.00: the two do together what each does alone. size: norm of the effect of both over "
                                  "the norm of the sum; below 1 they take from each other");
}

static void put_crosstalk(const rh_pen *p, const rh_compare_report *r)
{
    int32_t at[3], n = shown(at, r);
    size_t size = (size_t)r->n;
    for (int32_t i = 0; i < n; i++) {
        char head[96];
        size_t l = (size_t)at[i];
        snprintf(head, sizeof head, "crosstalk at layer %d: steered with the row, h moves along the column", (int)r->layers[l]);
        rh_heading(p, head);
        put_matrix(p, r, "effect", r->effect_norm + l * size, "along ", r->moved + l * size * size, false);
    }
    rh_spaces(p, 2);
    rh_paragraph(p, RH_DIM, 2, 2, "in units of h; a column is the unit vector of that expression as it was given, effect the norm of the whole change");
}

rh_status rh_export_compare_text(rh_str *out, const rh_compare_report *r, const rh_terminal *t, rh_error *err)
{
    rh_pen pen = rh_pen_make(out, t);
    rh_str footer = {0};
    put_title(&pen, r);
    rh_heading(&pen, "the vectors");
    put_matrix(&pen, r, "norm", r->norm, "cos ", r->cosine, true);
    put_effects(&pen, r);
    put_additivity(&pen, r);
    put_crosstalk(&pen, r);
    rh_put_notes(&pen, r->notes);
    rh_str_printf(&footer, "%d runs a prompt in %.1f s", 1 + (int)r->n + (int)r->n_pairs, r->seconds);
    rh_str_puts(out, "\n");
    if (footer.data) rh_paragraph(&pen, RH_DIM, 0, 0, footer.data);
    rh_drop(&pen, &footer);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

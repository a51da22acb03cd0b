/* parts.c - how an expression's value is made of its parts: coefficient, norm, share, cosines.
 * And lists of tokens, and notes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"

enum { COSINE = 7, MAX_LABEL = 28 };

static int label_width(const rh_pen *p, const rh_geometry *g)
{
    int widest = 6, most = p->width / 3 < MAX_LABEL ? p->width / 3 : MAX_LABEL;
    for (int32_t i = 0; i < g->n; i++) {
        char *label = rh_clean_line(p, g->labels[i]);
        int w = rh_utf8_width(label, strlen(label));
        if (w > widest) widest = w;
        rh_line_free(label);
    }
    return widest < most ? widest : most;
}

/* "2 rain" */
static void put_label(const rh_pen *p, const rh_geometry *g, int32_t i, int width)
{
    char index[RH_NUMBER];
    char *clean = rh_clean_line(p, g->labels[i]);
    rh_str label = {0};
    rh_fit(&label, p, clean, width);
    snprintf(index, sizeof index, "%d", (int)i + 1);
    rh_put(p, RH_DIM, -4, i + 1 < g->n ? index : "=");
    rh_spaces(p, 1);
    rh_put(p, RH_PLAIN, width, label.data ? label.data : "");
    rh_drop(p, &label);
    rh_line_free(clean);
}

static void put_row(const rh_pen *p, const rh_geometry *g, int32_t i, int32_t from, int32_t to, int width)
{
    char number[RH_NUMBER];
    put_label(p, g, i, width);
    if (from == 0) {
        rh_put(p, RH_PLAIN, -9, i + 1 < g->n ? rh_number(number, p, g->coefficient[i]) : "");
        rh_put(p, RH_PLAIN, -9, rh_number(number, p, g->norm[i]));
        rh_put(p, RH_PLAIN, -7, rh_percent(number, p, g->share[i]));
    }
    rh_spaces(p, 2);
    for (int32_t j = from; j < to; j++) {
        snprintf(number, sizeof number, "%.2f", g->cosine[(size_t)i * (size_t)g->n + (size_t)j]);
        rh_put(p, i == j ? RH_DIM : RH_PLAIN, -COSINE, number);
    }
    rh_str_puts(p->out, "\n");
}

/* Columns from..to-1 of the matrix, with the figures of each part beside the first of them. */
static void put_columns(const rh_pen *p, const rh_geometry *g, int32_t from, int32_t to, int width)
{
    char index[RH_NUMBER];
    rh_spaces(p, 5 + width);
    if (from == 0) {
        rh_put(p, RH_BOLD, -9, "times");
        rh_put(p, RH_BOLD, -9, "norm");
        rh_put(p, RH_BOLD, -7, "share");
    }
    rh_spaces(p, 2);
    for (int32_t j = from; j < to; j++) {
        snprintf(index, sizeof index, "%s%d", j == from ? "cos " : "", (int)j + 1);
        rh_put(p, RH_BOLD, -COSINE, j + 1 < g->n ? index : "result");
    }
    rh_str_puts(p->out, "\n");
    for (int32_t i = 0; i < g->n; i++) put_row(p, g, i, from, to, width);
}

void rh_put_geometry(const rh_pen *p, const rh_geometry *g)
{
    if (g->n < 3) return; /* one part is the result */
    char *label = rh_clean_line(p, g->label);
    rh_str head = {0};
    int width = label_width(p, g);
    rh_str_printf(&head, "parts of %s", label);
    if (g->layer >= 0) rh_str_printf(&head, " at %d.%s", (int)g->layer, rh_hook_name(g->hook));
    if (head.data) rh_heading(p, head.data);
    for (int32_t from = 0, to; from < g->n && !p->out->failed; from = to) {
        int room = p->width - 5 - width - 2 - (from == 0 ? 25 : 0);
        to = from + (room / COSINE < 1 ? 1 : room / COSINE);
        if (to > g->n) to = g->n;
        put_columns(p, g, from, to, width);
    }
    rh_spaces(p, 2);
    rh_paragraph(p, RH_DIM, 2, 2, "share: how much of the result's squared length a part brings; shares sum to 100%, one below 0 pulls "
                 "the other way");
    rh_drop(p, &head);
    rh_line_free(label);
}

/* ---- tokens ------------------------------------------------------------------------------------ */

void rh_put_tokens(const rh_pen *p, const rh_token_change *t, int32_t n, bool scores, int used, int indent)
{
    rh_spaces(p, indent - used);
    int column = indent;
    for (int32_t i = 0; i < n; i++) {
        char number[RH_NUMBER];
        double x = scores ? t[i].after : t[i].after - t[i].before;
        rh_str one = {0};
        rh_str_puts(&one, "\"");
        rh_clean(&one, t[i].piece, strlen(t[i].piece), RH_CLEAN_LINE, p->unicode);
        rh_str_printf(&one, "\" %s%s", x > 0 ? "+" : "", rh_number(number, p, x));
        int w = one.data ? rh_utf8_width(one.data, one.len) : 0;
        if (column > indent && column + 2 + w > p->width) {
            rh_str_puts(p->out, "\n");
            rh_spaces(p, column = indent);
        }
        if (column > indent) {
            rh_spaces(p, 2);
            column += 2;
        }
        if (one.data) rh_put(p, RH_PLAIN, 0, one.data);
        column += w;
        rh_drop(p, &one);
    }
    if (!n) rh_put(p, RH_DIM, 0, "none");
    rh_str_puts(p->out, "\n");
}

/* ---- notes ------------------------------------------------------------------------------------- */

void rh_put_notes(const rh_pen *p, const char *notes)
{
    if (!notes || !*notes) return;
    rh_str_puts(p->out, "\n");
    for (const char *at = notes; *at;) {
        size_t n = strcspn(at, "\n");
        rh_str line = {0};
        rh_str_puts(&line, "note: ");
        rh_clean(&line, at, n, RH_CLEAN_LINE, p->unicode);
        if (line.data) rh_paragraph(p, RH_PLAIN, 0, 0, line.data);
        rh_drop(p, &line);
        at += n;
        if (*at) at++;
    }
}

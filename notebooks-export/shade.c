/* shade.c - watches: every token with its number behind it. With colour as background from blue (low)
 * over white to red (high); without, the number follows its token in brackets. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"

/* xterm's 256 colours: background, foreground. */
static const struct { int back, front; } shades[] = {
    {20, 231}, {26, 231}, {68, 231}, {110, 16}, {153, 16}, {255, 16},
    {224, 16}, {217, 16}, {209, 16}, {203, 231}, {160, 231}};
enum { N_SHADES = sizeof shades / sizeof *shades };

static int shade_of(double x, double lo, double hi)
{
    if (!isfinite(x)) return N_SHADES / 2;
    if (!(hi > lo)) return N_SHADES / 2;
    double at = (x - lo) / (hi - lo);
    return at <= 0 ? 0 : at >= 1 ? N_SHADES - 1 : (int)(at * N_SHADES);
}

/* Where nothing is below 0, white is 0: the blue half means less than nothing. */
static int shade_in(const rh_watch_track *t, double x)
{
    return t->activation && isfinite(x) ? shade_of(x, -t->hi, t->hi) : shade_of(x, t->lo, t->hi);
}

/* A track as clean text: token i ends at ends[i]. Bytes of a code point that several tokens share
 * belong to the first of them. */
typedef struct shaded_text { rh_str text; size_t *ends; } shaded_text;

static void add_value(shaded_text *s, const rh_pen *p, double value)
{
    char number[RH_NUMBER];
    rh_str_printf(&s->text, "[%s]", rh_number(number, p, value));
}

static bool make_text(shaded_text *s, const rh_pen *p, const rh_watch_track *t, rh_clean_mode mode)
{
    rh_str raw = {0};
    size_t *raw_ends = rh_calloc((size_t)t->n, sizeof *raw_ends);
    s->ends = rh_calloc((size_t)t->n, sizeof *s->ends);
    rh_str_puts(&raw, "");
    rh_str_puts(&s->text, "");
    bool ok = raw_ends && s->ends;
    for (int32_t i = 0; ok && i < t->n; i++) {
        rh_str_puts(&raw, t->tokens[i].text);
        raw_ends[i] = raw.len;
    }
    ok = ok && !raw.failed;
    size_t at = 0;
    for (int32_t i = 0; ok && i < t->n; i++) {
        while (at < raw_ends[i]) at += rh_clean_next(&s->text, raw.data + at, raw.len - at, mode, p->unicode);
        if (!p->colour && !(t->activation && t->tokens[i].value == 0)) add_value(s, p, t->tokens[i].value);
        s->ends[i] = s->text.len;
        if (i + 1 < t->n && !t->tokens[i].generated && t->tokens[i + 1].generated) {
            rh_str_puts(&s->text, p->unicode ? " ▶ " : " >> ");
        }
    }
    free(raw_ends);
    rh_str_free(&raw);
    return ok && !s->text.failed;
}

/* Bytes [start, end) with the backgrounds of their tokens. */
static void put_shaded(const rh_pen *p, const shaded_text *s, const rh_watch_track *t, size_t start, size_t end)
{
    size_t token_start = 0;
    for (int32_t i = 0; i < t->n && token_start < end; i++) {
        size_t from = token_start > start ? token_start : start, to = s->ends[i] < end ? s->ends[i] : end;
        /* The mark in front of the generated text belongs to no token. */
        size_t next = i + 1 < t->n && !t->tokens[i].generated && t->tokens[i + 1].generated
                          ? s->ends[i] + strlen(p->unicode ? " ▶ " : " >> ")
                          : s->ends[i];
        if (to > from) {
            int k = shade_in(t, t->tokens[i].value);
            rh_str_printf(p->out, "\x1b[48;5;%d;38;5;%dm", shades[k].back, shades[k].front);
            rh_str_add(p->out, s->text.data + from, to - from);
            rh_str_puts(p->out, "\x1b[0m");
        }
        from = s->ends[i] > start ? s->ends[i] : start;
        to = next < end ? next : end;
        if (to > from) rh_str_add(p->out, s->text.data + from, to - from);
        token_start = next;
    }
}

void rh_put_track(const rh_pen *p, const rh_watch_track *t, int used, int indent, rh_clean_mode mode)
{
    shaded_text s = {0};
    rh_lines lines = {0};
    if (!make_text(&s, p, t, mode) || !rh_wrap(&lines, s.text.data, s.text.len, p->width - indent)) p->out->failed = true;
    for (size_t i = 0; i < lines.n && !p->out->failed; i++) {
        const rh_line *l = &lines.items[i];
        rh_spaces(p, i ? indent : indent - used);
        if (p->colour)
            put_shaded(p, &s, t, l->start, l->end);
        else
            rh_str_add(p->out, s.text.data + l->start, l->end - l->start);
        rh_end_line(p);
    }
    free(lines.items);
    free(s.ends);
    rh_str_free(&s.text);
}

void rh_put_scale(const rh_pen *p, const rh_watch_track *t, bool generated)
{
    char lo[RH_NUMBER], hi[RH_NUMBER];
    rh_spaces(p, 2);
    rh_put(p, RH_DIM, 0, rh_number(lo, p, t->lo));
    rh_str_puts(p->out, " ");
    for (int k = t->activation ? N_SHADES / 2 : 0; p->colour && k < N_SHADES; k++) rh_str_printf(p->out, "\x1b[48;5;%dm \x1b[0m", shades[k].back);
    if (!p->colour) rh_put(p, RH_DIM, 0, "to");
    rh_str_puts(p->out, " ");
    rh_put(p, RH_DIM, 0, rh_number(hi, p, t->hi));
    if (t->activation && !p->colour) rh_put(p, RH_DIM, 0, "; no number: 0");
    rh_put(p, RH_DIM, 0, !generated ? "\n" : p->unicode ? "; generated text follows ▶\n" : "; generated text follows >>\n");
}

void rh_put_watches(const rh_pen *p, const rh_steer_report *r)
{
    for (int32_t k = 0; r->n_runs && k < r->runs[0].n_watches && !p->out->failed; k++) {
        const rh_watch_track *first = &r->runs[0].watches[k];
        char *label = rh_clean_line(p, first->label);
        rh_str head = {0};
        rh_str_printf(&head, "%s %s, read at %d.%s", first->activation ? "activation at each token of" : "projection of each token on",
                      label, (int)first->layer, rh_hook_name(first->hook));
        if (head.data) rh_heading(p, head.data);
        rh_put_scale(p, first, true);
        for (int32_t i = 0; i < r->n_runs; i++) {
            char name[RH_NUMBER];
            if (k >= r->runs[i].n_watches) continue;
            rh_run_label(name, r, &r->runs[i]);
            rh_put(p, RH_BOLD, 0, name);
            rh_str_puts(p->out, "\n");
            rh_put_track(p, &r->runs[i].watches[k], 0, 2, RH_CLEAN_TEXT);
        }
        rh_drop(p, &head);
        rh_line_free(label);
    }
}

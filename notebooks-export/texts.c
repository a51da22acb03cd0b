/* texts.c - the runs' texts: side by side where the terminal is wide enough, else stacked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"

enum { MIN_COLUMN = 24, GAP = 3 };

static const char NOTHING[] = ""; /* what there is without memory */

char *rh_clean_line(const rh_pen *p, const char *s)
{
    rh_str line = {0};
    rh_clean(&line, s ? s : "", s ? strlen(s) : 0, RH_CLEAN_LINE, p->unicode);
    if (line.failed) rh_drop(p, &line);
    if (!line.data) line.data = rh_strdup("");
    if (!line.data) p->out->failed = true;
    return line.data ? line.data : (char *)NOTHING;
}

void rh_line_free(char *s)
{
    if (s != NOTHING) free(s);
}

#define STRENGTH "strength "

void rh_run_label(char out[RH_NUMBER], const rh_steer_report *r, const rh_steer_run *run)
{
    if (run->unsteered)
        snprintf(out, RH_NUMBER, "unsteered");
    else if (!isfinite(r->norm)) /* no steer among the actions */
        snprintf(out, RH_NUMBER, "steered");
    else
        snprintf(out, RH_NUMBER, STRENGTH "%.6g", run->strength);
}

const char *rh_collapse_words(const rh_steer_run *run)
{
    if (run->loops && run->garbled) return "collapsed: repeats itself; no text the model would write";
    if (run->loops) return "collapsed: repeats itself";
    if (run->garbled) return "collapsed: no text the unsteered model would write";
    return run->collapsed ? "collapsed" : "";
}

/* A run's text, clean and wrapped. */
typedef struct column { rh_str text; rh_lines lines; } column;

static void wrap_run(column *c, const rh_pen *p, const char *text, int width)
{
    size_t n = strlen(text);
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' ' || text[n - 1] == '\r')) n--;
    while (n && (*text == '\n' || *text == '\r')) {
        text++;
        n--;
    }
    rh_str_puts(&c->text, "");
    rh_clean(&c->text, text, n, RH_CLEAN_TEXT, p->unicode);
    if (!n) rh_str_puts(&c->text, "(no text)");
    if (c->text.failed || !c->text.data || !rh_wrap(&c->lines, c->text.data, c->text.len, width)) p->out->failed = true;
}

static void column_free(column *c)
{
    rh_str_free(&c->text);
    free(c->lines.items);
}

static void put_slice(const rh_pen *p, const column *c, size_t i, int width)
{
    if (i >= c->lines.n) {
        rh_spaces(p, width);
        return;
    }
    const rh_line *l = &c->lines.items[i];
    rh_str_add(p->out, c->text.data + l->start, l->end - l->start);
    rh_spaces(p, width - rh_utf8_width(c->text.data + l->start, l->end - l->start));
}

static void put_header(const rh_pen *p, const rh_steer_report *r, const rh_steer_run *run, int width)
{
    char label[RH_NUMBER];
    const char *mark = run->collapsed ? " (collapsed)" : "";
    rh_run_label(label, r, run);
    const char *shown = label;
    if (width && (int)(strlen(label) + strlen(mark)) > width && !strncmp(label, STRENGTH, strlen(STRENGTH))) shown += strlen(STRENGTH);
    rh_put(p, RH_BOLD, 0, shown);
    rh_put(p, RH_BAD, 0, mark);
    if (width) rh_spaces(p, width - (int)strlen(shown) - (int)strlen(mark));
}

static void put_rule(const rh_pen *p, int32_t n, int width)
{
    for (int32_t k = 0; k < n; k++) {
        if (k) rh_str_puts(p->out, p->unicode ? "─┼─" : "-+-");
        for (int i = 0; i < width; i++) rh_str_puts(p->out, p->unicode ? "─" : "-");
    }
    rh_str_puts(p->out, "\n");
}

static void side_by_side(const rh_pen *p, const rh_steer_report *r, int width)
{
    const char *bar = p->unicode ? " │ " : " | ";
    size_t height = 0;
    column *columns = rh_calloc((size_t)r->n_runs, sizeof *columns);
    if (!columns) {
        p->out->failed = true;
        return;
    }
    for (int32_t k = 0; k < r->n_runs; k++) {
        wrap_run(&columns[k], p, r->runs[k].text, width);
        if (columns[k].lines.n > height) height = columns[k].lines.n;
    }
    for (int32_t k = 0; k < r->n_runs; k++) {
        if (k) rh_str_puts(p->out, bar);
        put_header(p, r, &r->runs[k], width);
    }
    rh_end_line(p);
    put_rule(p, r->n_runs, width);
    for (size_t i = 0; i < height && !p->out->failed; i++) {
        for (int32_t k = 0; k < r->n_runs; k++) {
            if (k) rh_str_puts(p->out, bar);
            put_slice(p, &columns[k], i, width);
        }
        rh_end_line(p);
    }
    for (int32_t k = 0; k < r->n_runs; k++) column_free(&columns[k]);
    free(columns);
}

static void stacked(const rh_pen *p, const rh_steer_report *r)
{
    for (int32_t k = 0; k < r->n_runs && !p->out->failed; k++) {
        column c = {0};
        if (k) rh_str_puts(p->out, "\n");
        put_header(p, r, &r->runs[k], 0);
        rh_str_puts(p->out, "\n");
        wrap_run(&c, p, r->runs[k].text, p->width - 2);
        for (size_t i = 0; i < c.lines.n && !p->out->failed; i++) {
            rh_spaces(p, 2);
            put_slice(p, &c, i, 0);
            rh_end_line(p);
        }
        column_free(&c);
    }
}

void rh_put_texts(const rh_pen *p, const rh_steer_report *r)
{
    int width = (p->width - GAP * (r->n_runs - 1)) / r->n_runs;
    if (r->n_runs > 1 && width >= MIN_COLUMN)
        side_by_side(p, r, width);
    else
        stacked(p, r);
}

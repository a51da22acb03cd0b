/* excerpt.c - the picture under an error message.
 *
 *     6 | let trip = sf + 0.5*rain20 - tokyo        the line, cut to a window if it is long
 *       |            ^^       ^^^^^^                carets by display width
 *       |            layer 31 layer 20              label texts, as many rows as it takes
 *
 * A line is first taken apart into cells, one a code point, so that every row below it can copy
 * its tabs and count its widths. */
#include "dsl/excerpt.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum {
    WINDOW = 140,      /* columns of a long line that are shown */
    LEAD = 40,         /* of these, in front of the first label */
    TAB_WIDTH = 8,     /* a guess, for the window only: rows copy tabs */
    MAX_CELLS = 2 * WINDOW + 2 /* combining marks have no width, so there may be more than WINDOW */
};

typedef struct cell {
    uint32_t offset; /* in the source */
    uint8_t len, width;
    bool tab, shown; /* not shown: a control or a broken byte, drawn as U+FFFD */
} cell;

typedef struct line_view {
    uint32_t start, end;     /* bytes of the line, without its end */
    cell cells[MAX_CELLS];
    int n;
    bool cut_left, cut_right;
} line_view;

typedef struct sheet { /* rows go here, whole or not at all */
    char *text;
    size_t len, size, row;
    bool full;
} sheet;

static void put(sheet *s, const char *bytes, size_t n)
{
    if (s->full || n + 1 > s->size - s->len) {
        s->full = true;
        return;
    }
    memcpy(s->text + s->len, bytes, n);
    s->len += n;
    s->text[s->len] = '\0';
}

static void puts_to(sheet *s, const char *text) { put(s, text, strlen(text)); }

static void end_row(sheet *s)
{
    while (!s->full && s->len > s->row && s->text[s->len - 1] == ' ') s->len--;
    puts_to(s, "\n");
    if (s->full) {
        s->len = s->row;
        s->text[s->len] = '\0';
    }
    s->row = s->len;
}

void rh_source_position(const rh_source *s, uint32_t offset, int *line, int *column)
{
    size_t at = offset < s->len ? offset : s->len, start = 0;
    *line = 1;
    for (size_t i = 0; i < at; i++)
        if (s->text[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *column = (int)rh_utf8_count(s->text + start, at - start) + 1;
}

/* First byte of the line an offset is on; an offset at a line's end belongs to that line. */
static uint32_t line_start(const rh_source *s, uint32_t offset)
{
    uint32_t at = offset < s->len ? offset : (uint32_t)s->len;
    while (at > 0 && s->text[at - 1] != '\n') at--;
    return at;
}

static uint32_t line_end(const rh_source *s, uint32_t start)
{
    uint32_t end = start;
    while (end < s->len && s->text[end] != '\n') end++;
    if (end > start && s->text[end - 1] == '\r') end--;
    return end;
}

static cell next_cell(const rh_source *s, uint32_t at, uint32_t end)
{
    uint32_t cp;
    size_t len = rh_utf8_next(&cp, s->text + at, end - at);
    cell c = {.offset = at, .len = (uint8_t)(len ? len : 1), .width = 1, .shown = len > 0};
    c.tab = cp == '\t';
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) c.shown = c.tab;
    if (c.shown && !c.tab) c.width = (uint8_t)rh_utf8_width(s->text + at, len);
    return c;
}

static int columns(const cell *c) { return c->tab ? TAB_WIDTH : c->width; }

/* Where the window begins: at the line's start, or LEAD columns before `focus`. */
static uint32_t window_start(const rh_source *s, uint32_t start, uint32_t end, uint32_t focus)
{
    int total = 0, before = 0;
    for (uint32_t at = start; at < end;) {
        cell c = next_cell(s, at, end);
        if (at < focus) before += columns(&c);
        total += columns(&c);
        at += c.len;
    }
    if (total <= WINDOW || before <= LEAD) return start;
    uint32_t at = start;
    for (int skip = before - LEAD; at < end && skip > 0;) {
        cell c = next_cell(s, at, end);
        skip -= columns(&c);
        at += c.len;
    }
    return at;
}

static void view_line(line_view *v, const rh_source *s, uint32_t start, uint32_t focus)
{
    v->start = start;
    v->end = line_end(s, start);
    uint32_t at = window_start(s, start, v->end, focus);
    v->cut_left = at > start;
    v->n = 0;
    for (int width = 0; at < v->end && v->n < MAX_CELLS - 1;) {
        cell c = next_cell(s, at, v->end);
        width += columns(&c);
        if (width > WINDOW) break;
        v->cells[v->n++] = c;
        at += c.len;
    }
    v->cut_right = at < v->end;
    v->cells[v->n++] = (cell){.offset = at, .len = 1, .width = 1}; /* the line's end can carry a caret */
}

/* "  12 | "; line 0: blank, as wide. */
static void gutter(sheet *s, int digits, int line)
{
    char text[16] = "";
    if (line > 0) snprintf(text, sizeof text, "%d", line);
    puts_to(s, "  ");
    for (int i = (int)strlen(text); i < digits; i++) puts_to(s, " ");
    puts_to(s, text);
    puts_to(s, " | ");
}

static void draw_source(sheet *s, const rh_source *source, const line_view *v)
{
    if (v->cut_left) puts_to(s, "…");
    for (int i = 0; i + 1 < v->n; i++)
        if (v->cells[i].shown)
            put(s, source->text + v->cells[i].offset, v->cells[i].len);
        else
            puts_to(s, "\xef\xbf\xbd");
    if (v->cut_right) puts_to(s, "…");
    end_row(s);
}

/* Does the label put carets under this cell? An empty range has one, where it starts. */
static bool covers(const rh_range *r, const cell *c)
{
    if (r->end <= r->start) return c->offset == r->start;
    return c->offset >= r->start && c->offset < r->end;
}

/* The line's end carries a caret only for a range that begins there, or behind a CR that is not shown; a
 * cell without width (a combining mark by itself) only if its range has no other. */
static bool has_caret(const rh_diag *d, const line_view *v, const int *labels, int n, int at)
{
    const cell *c = &v->cells[at];
    for (int k = 0; k < n; k++) {
        const rh_range *r = &d->labels[labels[k]].range;
        bool end = at + 1 == v->n;
        if (end && !v->cut_right && r->start >= c->offset) return true;
        if (!covers(r, c) || (end && r->start < c->offset)) continue;
        if (c->width > 0) return true;
        bool wide = false;
        for (int i = 0; i < v->n; i++) wide |= i != at && covers(r, &v->cells[i]);
        if (!wide) return true;
    }
    return false;
}

static void draw_carets(sheet *s, const rh_diag *d, const line_view *v, const int *labels, int n)
{
    if (v->cut_left) puts_to(s, " ");
    for (int i = 0; i < v->n; i++) {
        const cell *c = &v->cells[i];
        bool caret = has_caret(d, v, labels, n, i);
        if (c->tab) /* inside a range the tab is copied, so that the rest stays in line */
            puts_to(s, !caret || has_caret(d, v, labels, n, i + 1) ? "\t" : "^");
        else if (c->width == 0 && caret)
            puts_to(s, "^");
        else
            for (int w = 0; w < c->width; w++) puts_to(s, caret ? "^" : " ");
    }
    end_row(s);
}

/* First cell of a label in view, or -1. */
static int first_cell(const line_view *v, const rh_range *r)
{
    for (int i = 0; i < v->n; i++)
        if (covers(r, &v->cells[i])) return i;
    return -1;
}

/* Rows of label texts, left to right; a text that would touch the one before it, or has a tab of
 * unknown width in between, waits for the next row. `labels` is sorted by start. */
static void draw_texts(sheet *s, const rh_diag *d, const line_view *v, const int *labels, int n, int digits)
{
    bool drawn[RH_DIAG_LABELS] = {false};
    for (int round = 0; round < n; round++) {
        int at = 0, column = 0, used = 0;
        bool open = false, tabbed = false; /* a row has begun; a tab was passed under a text */
        for (int i = 0; i < n; i++) {
            const char *text = d->labels[labels[i]].text;
            int cell_at = first_cell(v, &d->labels[labels[i]].range);
            if (drawn[i] || !text[0] || cell_at < 0) continue;
            int target = column; /* display column of the label, counted from `at` */
            for (int k = at; k < cell_at; k++) {
                target += v->cells[k].width;
                if (open && v->cells[k].tab) tabbed = true;
            }
            if (open && (tabbed || target <= used)) continue;
            if (!open) {
                gutter(s, digits, 0);
                if (v->cut_left) puts_to(s, " ");
                for (int k = 0; k < cell_at; k++) {
                    if (v->cells[k].tab) puts_to(s, "\t");
                    for (int w = 0; !v->cells[k].tab && w < v->cells[k].width; w++) puts_to(s, " ");
                }
            } else {
                for (int w = used; w < target; w++) puts_to(s, " ");
            }
            puts_to(s, text);
            open = drawn[i] = true;
            column = target;
            at = cell_at;
            used = target + rh_utf8_width(text, strlen(text));
        }
        if (!open) return;
        end_row(s);
    }
}

/* Labels in the order they are drawn: by source as first met, then line, then start. */
static int compare_labels(const rh_diag *d, const uint32_t *lines, int a, int b)
{
    const rh_range *x = &d->labels[a].range, *y = &d->labels[b].range;
    if (x->source != y->source) return x->source == d->labels[0].range.source ? -1 : y->source == d->labels[0].range.source ? 1 : a - b;
    if (lines[a] != lines[b]) return lines[a] < lines[b] ? -1 : 1;
    return x->start < y->start ? -1 : x->start > y->start ? 1 : a - b;
}

void rh_excerpt(char *out, size_t size, const rh_diag *d)
{
    sheet s = {.text = out, .size = size};
    uint32_t lines[RH_DIAG_LABELS] = {0};
    int order[RH_DIAG_LABELS], digits = 1, line, column;
    line_view v;
    out[0] = '\0';

    for (int i = 0; i < d->n_labels; i++) {
        lines[i] = line_start(d->labels[i].range.source, d->labels[i].range.start);
        rh_source_position(d->labels[i].range.source, d->labels[i].range.start, &line, &column);
        char text[16];
        int n = snprintf(text, sizeof text, "%d", line);
        if (n > digits) digits = n;
        int k = i; /* insertion sort: there are at most four */
        for (; k > 0 && compare_labels(d, lines, order[k - 1], i) > 0; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    for (int i = 0; i < d->n_labels;) {
        const rh_source *source = d->labels[order[i]].range.source;
        int n = 1;
        while (i + n < d->n_labels && d->labels[order[i + n]].range.source == source && lines[order[i + n]] == lines[order[i]]) n++;
        rh_source_position(source, d->labels[order[i]].range.start, &line, &column);
        if (source != d->labels[0].range.source) {
            puts_to(&s, "in ");
            char name[512];
            snprintf(name, sizeof name, "%s", source->name);
            rh_text_tidy(name);
            puts_to(&s, name);
            puts_to(&s, ":");
            end_row(&s);
        }
        view_line(&v, source, lines[order[i]], d->labels[order[i]].range.start);
        gutter(&s, digits, line);
        draw_source(&s, source, &v);
        gutter(&s, digits, 0);
        draw_carets(&s, d, &v, order + i, n);
        draw_texts(&s, d, &v, order + i, n, digits);
        i += n;
    }
}

/* layout.c - see layout.h. */
#include "notebooks-export/layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unilbrk.h>

#include "base/utf8.h"

/* ---- wrapping --------------------------------------------------------------------------------- */

static bool add_line(rh_lines *l, const char *text, size_t start, size_t end)
{
    while (end > start && text[end - 1] == ' ') end--;
    if (!RH_GROW(l->items, l->cap, l->n)) return false;
    l->items[l->n++] = (rh_line){start, end};
    return true;
}

/* Between "16." and "resid_post": a break that UAX #14 allows and no reader wants. */
static bool inside_name(const char *text, size_t i)
{
    return i > 0 && text[i - 1] == '.' && text[i] >= 'a' && text[i] <= 'z';
}

bool rh_wrap(rh_lines *out, const char *text, size_t n, int width)
{
    size_t start = 0, brk = 0; /* brk > start: a break seen on this line */
    int column = 0;
    bool ok = true;
    char *breaks = rh_calloc(n + 1, 1);
    if (!breaks) return false;
    u8_possible_linebreaks((const uint8_t *)text, n, "UTF-8", breaks);
    for (size_t i = 0; ok && i < n;) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, text + i, n - i);
        if (!len) len = 1;
        if (cp == '\n') {
            ok = add_line(out, text, start, i);
            start = i += len;
            column = 0;
            continue;
        }
        int w = rh_utf8_width(text + i, len);
        if (breaks[i] == UC_BREAK_POSSIBLE && !inside_name(text, i)) brk = i;
        /* A space may hang over the edge: it is cut off. */
        while (ok && cp != ' ' && column + w > width && i > start) {
            size_t end = brk > start ? brk : i;
            ok = add_line(out, text, start, end);
            start = end;
            column = rh_utf8_width(text + start, i - start);
        }
        column += w;
        i += len;
    }
    if (ok && (start < n || n == 0 || text[n - 1] == '\n')) ok = add_line(out, text, start, n);
    free(breaks);
    return ok;
}

/* ---- the pen ---------------------------------------------------------------------------------- */

rh_pen rh_pen_make(rh_str *out, const rh_terminal *t)
{
    int width = t->width <= 0 ? 80 : t->width < 20 ? 20 : t->width;
    return (rh_pen){.out = out, .width = width, .colour = t->colour, .unicode = t->unicode};
}

void rh_drop(const rh_pen *p, rh_str *s)
{
    if (s->failed) p->out->failed = true;
    rh_str_free(s);
}

void rh_spaces(const rh_pen *p, int n)
{
    for (int i = 0; i < n; i++) rh_str_add(p->out, " ", 1);
}

void rh_put(const rh_pen *p, rh_style style, int width, const char *text)
{
    static const char *const codes[] = {
        [RH_PLAIN] = "", [RH_BOLD] = "\x1b[1m", [RH_DIM] = "\x1b[2m", [RH_BAD] = "\x1b[31m"};
    bool styled = p->colour && style != RH_PLAIN && *text;
    int w = width ? rh_utf8_width(text, strlen(text)) : 0;
    if (width < 0) rh_spaces(p, -width - w);
    if (styled) rh_str_puts(p->out, codes[style]);
    rh_str_puts(p->out, text);
    if (styled) rh_str_puts(p->out, "\x1b[0m");
    if (width > 0) rh_spaces(p, width - w);
}

void rh_end_line(const rh_pen *p)
{
    while (p->out->len && p->out->data[p->out->len - 1] == ' ') p->out->data[--p->out->len] = 0;
    rh_str_puts(p->out, "\n");
}

void rh_fit(rh_str *s, const rh_pen *p, const char *text, int width)
{
    const char *dots = p->unicode ? "…" : "..";
    size_t n = strlen(text);
    if (rh_utf8_width(text, n) <= width) {
        rh_str_puts(s, text);
        return;
    }
    int room = width - rh_utf8_width(dots, strlen(dots)), column = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, text + i, n - i);
        if (!len) len = 1;
        column += rh_utf8_width(text + i, len);
        if (column > room) break;
        rh_str_add(s, text + i, len);
        i += len;
    }
    rh_str_puts(s, dots);
}

void rh_paragraph(const rh_pen *p, rh_style style, int used, int indent, const char *text)
{
    int width = p->width - indent > 20 ? p->width - indent : 20;
    rh_lines lines = {0};
    if (!rh_wrap(&lines, text, strlen(text), width)) p->out->failed = true;
    for (size_t i = 0; i < lines.n; i++) {
        rh_str one = {0};
        rh_str_puts(&one, "");
        rh_str_add(&one, text + lines.items[i].start, lines.items[i].end - lines.items[i].start);
        rh_spaces(p, i ? indent : indent - used);
        if (one.data) rh_put(p, style, 0, one.data);
        rh_drop(p, &one);
        rh_str_puts(p->out, "\n");
    }
    free(lines.items);
}

void rh_heading(const rh_pen *p, const char *text)
{
    rh_str_puts(p->out, "\n");
    rh_paragraph(p, RH_BOLD, 0, 0, text);
}

/* ---- numbers ----------------------------------------------------------------------------------- */

const char *rh_number(char out[RH_NUMBER], const rh_pen *p, double x)
{
    double a = fabs(x);
    if (!isfinite(x))
        snprintf(out, RH_NUMBER, "%s", p->unicode ? "–" : "-");
    else if (a != 0 && (a < 0.001 || a >= 1e7))
        snprintf(out, RH_NUMBER, "%.1e", x);
    else
        snprintf(out, RH_NUMBER, "%.*f", a < 0.1 && a != 0 ? 3 : a < 10 ? 2 : a < 1000 ? 1 : 0, x);
    return out;
}

const char *rh_percent(char out[RH_NUMBER], const rh_pen *p, double x)
{
    if (!isfinite(x) || fabs(x) >= 1e6) return rh_number(out, p, x);
    snprintf(out, RH_NUMBER, "%.0f%%", x * 100);
    return out;
}

/* Full cells, then one of eighths on the positive side. */
void rh_bar(rh_str *out, const rh_pen *p, double x, double lo, double hi, int width)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double span = hi - lo;
    if (!isfinite(x) || !(span > 0) || width < 2) return;
    int left = (int)ceil(-lo / span * (width - 1)), right = width - 1 - left; /* one column for the zero */
    double cells = fabs(x) / span * (width - 1);
    int full = (int)(p->unicode ? cells : cells + 0.5), most = x < 0 ? left : right;
    if (full > most) full = most;
    int rest = p->unicode && x > 0 && full < right ? (int)((cells - full) * 8) : 0;
    if (p->unicode && x < 0 && cells - full >= 0.5 && full < left) full++;
    for (int i = 0; i < left; i++) rh_str_puts(out, x < 0 && i >= left - full ? (p->unicode ? "█" : "#") : " ");
    rh_str_puts(out, p->unicode ? "│" : "|");
    for (int i = 0; x > 0 && i < full; i++) rh_str_puts(out, p->unicode ? "█" : "#");
    rh_str_puts(out, eighths[rest]);
}

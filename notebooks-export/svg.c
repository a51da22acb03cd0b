/* svg.c - see svg.h. */
#include "notebooks-export/svg.h"

#include <math.h>
#include <string.h>

#include "notebooks-export/clean.h"

void rh_svg_escape(rh_str *out, const char *s)
{
    rh_str fixed = {0};
    rh_str_puts(&fixed, "");
    rh_repair_utf8(&fixed, s, strlen(s));
    for (size_t i = 0; fixed.data && i < fixed.len; i++) {
        unsigned char b = (unsigned char)fixed.data[i];
        const char *entity = b == '&' ? "&amp;" : b == '<' ? "&lt;" : b == '>' ? "&gt;" : b == '"' ? "&quot;" : b == '\'' ? "&#39;" : NULL;
        if (entity) rh_str_puts(out, entity);
        else if (b < 0x20 || b == 0x7f) rh_str_puts(out, " ");
        else rh_str_add(out, fixed.data + i, 1);
    }
    if (fixed.failed) out->failed = true;
    rh_str_free(&fixed);
}

void rh_svg_open(rh_str *out, int width, int height, const char *title)
{
    rh_str_printf(out, "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' font-family='sans-serif' "
                  "font-size='12' fill='#222'>\n<title>", width, height, width, height);
    rh_svg_escape(out, title);
    rh_str_puts(out, "</title>\n<rect width='100%' height='100%' fill='#fff'/>\n");
}

void rh_svg_close(rh_str *out) { rh_str_puts(out, "</svg>\n"); }

void rh_svg_text(rh_str *out, double x, double y, const char *anchor, const char *style, const char *text)
{
    rh_str_printf(out, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>", x, y, anchor, style);
    rh_svg_escape(out, text);
    rh_str_puts(out, "</text>\n");
}

void rh_svg_line(rh_str *out, double x1, double y1, double x2, double y2, const char *style)
{
    rh_str_printf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' %s/>\n", x1, y1, x2, y2, style);
}

void rh_svg_rect(rh_str *out, double x, double y, double width, double height, const char *style)
{
    rh_str_printf(out, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' %s/>\n", x, y, width, height, style);
}

void rh_svg_circle(rh_str *out, double x, double y, double r, const char *style, const char *title)
{
    rh_str_printf(out, "<circle cx='%.1f' cy='%.1f' r='%.1f' %s>", x, y, r, style);
    if (title) {
        rh_str_puts(out, "<title>");
        rh_svg_escape(out, title);
        rh_str_puts(out, "</title>");
    }
    rh_str_puts(out, "</circle>\n");
}

double rh_svg_step(double span, int n)
{
    if (!(span > 0) || !isfinite(span) || n <= 0) return 1;
    double raw = span / n, base = pow(10, floor(log10(raw))), ratio = raw / base;
    return ratio < 1.5 ? base : ratio < 3.5 ? 2 * base : ratio < 7.5 ? 5 * base : 10 * base;
}

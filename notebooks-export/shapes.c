#include "notebooks-export/shapes.h"

#include <math.h>
#include <string.h>

#include "notebooks-export/clean.h"

/* s as XML text: & < > " ' escaped; controls, which XML 1.0 has not, and bytes that are not UTF-8 replaced. */
static void put_escaped(rh_str *out, const char *s)
{
    rh_str clean = {0};
    rh_str_puts(&clean, "");
    rh_repair_utf8(&clean, s, strlen(s));
    for (size_t i = 0; clean.data && i < clean.len; i++) {
        unsigned char c = (unsigned char)clean.data[i];
        const char *name = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : c == '\'' ? "&#39;" : NULL;
        if (name)
            rh_str_puts(out, name);
        else if (c < 0x20 || c == 0x7f)
            rh_str_puts(out, " ");
        else
            rh_str_add(out, clean.data + i, 1);
    }
    if (clean.failed) out->failed = true;
    rh_str_free(&clean);
}

void rh_shape_begin(rh_str *out, int width, int height, const char *title)
{
    rh_str_printf(out,
                  "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
                  "font-family='sans-serif' font-size='12' fill='#222'>\n<title>",
                  width, height, width, height);
    put_escaped(out, title);
    rh_str_puts(out, "</title>\n<rect width='100%' height='100%' fill='#fff'/>\n");
}

void rh_shape_end(rh_str *out) { rh_str_puts(out, "</svg>\n"); }

void rh_shape_text(rh_str *out, double x, double y, const char *anchor, const char *style, const char *text)
{
    rh_str_printf(out, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>", x, y, anchor, style);
    put_escaped(out, text);
    rh_str_puts(out, "</text>\n");
}

void rh_shape_line(rh_str *out, double x1, double y1, double x2, double y2, const char *style)
{
    rh_str_printf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' %s/>\n", x1, y1, x2, y2, style);
}

void rh_shape_circle(rh_str *out, double x, double y, double radius, const char *style, const char *title)
{
    rh_str_printf(out, "<circle cx='%.1f' cy='%.1f' r='%.1f' %s>", x, y, radius, style);
    if (title) {
        rh_str_puts(out, "<title>");
        put_escaped(out, title);
        rh_str_puts(out, "</title>");
    }
    rh_str_puts(out, "</circle>\n");
}

double rh_round_step(double range, int n)
{
    if (!(range > 0) || !isfinite(range) || n < 1) return 1;
    double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;
    return (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10) * power;
}

/* chart.c - see chart.h. */
#include "notebooks-export/chart.h"

#include <math.h>
#include <stdio.h>

#include "notebooks-export/shapes.h"

enum { WIDTH = 720, HEIGHT = 360, LEFT = 60, RIGHT = 150, TOP = 44, BOTTOM = 46, STYLE = 96 };

/* Told apart also by those who do not see red and green as different (Okabe and Ito). */
static const char *colour(int i)
{
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
    return colours[(size_t)i % (sizeof colours / sizeof *colours)];
}

/* The plot's ranges: zero is always in sight. */
typedef struct frame { double x0, x1, y0, y1; } frame;

static frame frame_of(const rh_chart *c)
{
    frame f = {.x0 = c->n ? c->x[0] : 0, .x1 = c->n ? c->x[c->n - 1] : 1};
    for (int32_t k = 0; k < c->n_curves; k++)
        for (int32_t i = 0; i < c->n; i++) {
            double y = c->curves[k].y[i];
            if (!isfinite(y)) continue;
            f.y0 = fmin(f.y0, y);
            f.y1 = fmax(f.y1, y);
        }
    if (!(f.y1 > f.y0)) f.y1 = f.y0 + 1;
    if (!(f.x1 > f.x0)) {
        f.x0 -= 0.5;
        f.x1 += 0.5;
    }
    return f;
}

static double at_x(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT); }
static double at_y(const frame *f, double y) { return HEIGHT - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM); }

static void put_axes(rh_str *out, const rh_chart *c, const frame *f)
{
    char label[32], turned[64];
    double step = rh_round_step(f->y1 - f->y0, 6), x_step = fmax(1, rh_round_step(f->x1 - f->x0, 10));
    for (double i = ceil(f->y0 / step); i * step <= f->y1; i++) {
        double y = at_y(f, i * step);
        rh_shape_line(out, LEFT, y, WIDTH - RIGHT, y, i == 0 ? "stroke='#888'" : "stroke='#eee'");
        snprintf(label, sizeof label, "%.6g", i == 0 ? 0 : i * step);
        rh_shape_text(out, LEFT - 8, y + 4, "end", "", label);
    }
    for (double i = ceil(f->x0 / x_step); i * x_step <= f->x1; i++) {
        snprintf(label, sizeof label, "%.6g", i * x_step);
        rh_shape_text(out, at_x(f, i * x_step), HEIGHT - BOTTOM + 18, "middle", "", label);
    }
    rh_shape_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10, "middle", "", c->x_label);
    double middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    snprintf(turned, sizeof turned, "transform='rotate(-90 16 %.1f)'", middle);
    rh_shape_text(out, 16, middle, "middle", turned, c->y_label);
}

static void put_curve(rh_str *out, const rh_chart *c, const frame *f, const rh_curve *curve)
{
    char style[STYLE];
    bool drawing = false;
    rh_str_puts(out, "<path d='");
    for (int32_t i = 0; i < c->n; i++) {
        bool there = isfinite(curve->y[i]);
        if (there) rh_str_printf(out, "%s%.1f %.1f", drawing ? "L" : "M", at_x(f, c->x[i]), at_y(f, curve->y[i]));
        drawing = there;
    }
    rh_str_printf(out, "' fill='none' stroke='%s' stroke-width='2'%s/>\n", colour(curve->colour),
                  curve->dashed ? " stroke-dasharray='4 4'" : "");
    snprintf(style, sizeof style, "fill='%s'", colour(curve->colour));
    for (int32_t i = 0; i < c->n && !curve->dashed; i++)
        if (isfinite(curve->y[i])) rh_shape_circle(out, at_x(f, c->x[i]), at_y(f, curve->y[i]), 2.5, style, NULL);
}

static void put_legend(rh_str *out, const rh_chart *c)
{
    char style[STYLE];
    for (int32_t k = 0; k < c->n_curves; k++) {
        double y = TOP + 10 + 20.0 * k;
        snprintf(style, sizeof style, "stroke='%s' stroke-width='2'%s", colour(c->curves[k].colour),
                 c->curves[k].dashed ? " stroke-dasharray='4 4'" : "");
        rh_shape_line(out, WIDTH - RIGHT + 12, y, WIDTH - RIGHT + 36, y, style);
        rh_shape_text(out, WIDTH - RIGHT + 42, y + 4, "start", "", c->curves[k].label);
    }
}

void rh_chart_svg(rh_str *out, const rh_chart *c)
{
    frame f = frame_of(c);
    rh_shape_begin(out, WIDTH, HEIGHT, c->title);
    rh_shape_text(out, LEFT, 22, "start", "font-size='14' font-weight='bold'", c->title);
    if (isfinite(c->marked))
        rh_shape_line(out, at_x(&f, c->marked), TOP, at_x(&f, c->marked), HEIGHT - BOTTOM, "stroke='#ddd' stroke-width='6'");
    put_axes(out, c, &f);
    for (int32_t k = 0; k < c->n_curves; k++) put_curve(out, c, &f, &c->curves[k]);
    put_legend(out, c);
    rh_shape_end(out);
}

/* auto_svg.c - the frontier as a picture: what a setting costs against how much of the concept it brings. */
#include <math.h>
#include <stdio.h>

#include "notebooks-export/auto_export.h"
#include "notebooks-export/shapes.h"

enum { WIDTH = 720, HEIGHT = 460, LEFT = 70, RIGHT = 20, TOP = 50, BOTTOM = 60 };

typedef struct frame { double x_max, y_min, y_max; } frame;

static double x_of(const frame *f, double cost) { return LEFT + cost / f->x_max * (WIDTH - LEFT - RIGHT); }
static double y_of(const frame *f, double value)
{
    return HEIGHT - BOTTOM - (value - f->y_min) / (f->y_max - f->y_min) * (HEIGHT - TOP - BOTTOM);
}

static frame frame_of(const rh_auto_report *r)
{
    frame f = {.x_max = 0};
    for (int32_t i = 0; i < r->n_settings; i++) {
        const rh_knee_point *k = &r->settings[i].knee;
        if (!isfinite(k->value) || !isfinite(k->cost)) continue;
        f.x_max = fmax(f.x_max, k->cost);
        f.y_min = fmin(f.y_min, k->value);
        f.y_max = fmax(f.y_max, k->value);
    }
    f.x_max = f.x_max > 0 ? f.x_max * 1.05 : 1;
    if (!(f.y_max > f.y_min)) f.y_max = f.y_min + 1;
    f.y_max += 0.05 * (f.y_max - f.y_min);
    return f;
}

static void put_axes(rh_str *out, const frame *f, const char *y_label)
{
    char number[32];
    double bottom = HEIGHT - BOTTOM, step = rh_round_step(f->x_max, 6);
    for (int i = 0; i * step <= f->x_max; i++) {
        double x = x_of(f, i * step);
        rh_shape_line(out, x, TOP, x, bottom, "stroke='#eee'");
        snprintf(number, sizeof number, "%g", i * step);
        rh_shape_text(out, x, bottom + 18, "middle", "", number);
    }
    step = rh_round_step(f->y_max - f->y_min, 6);
    for (int i = (int)ceil(f->y_min / step); i * step <= f->y_max; i++) {
        double y = y_of(f, i * step);
        rh_shape_line(out, LEFT, y, WIDTH - RIGHT, y, i ? "stroke='#eee'" : "stroke='#888'");
        snprintf(number, sizeof number, "%g", i * step);
        rh_shape_text(out, LEFT - 8, y + 4, "end", "", number);
    }
    rh_shape_line(out, LEFT, TOP, LEFT, bottom, "stroke='#888'");
    rh_shape_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, "middle", "", "cost: surprisal, repetition and broken texts, above unsteered");
    rh_shape_text(out, LEFT, TOP - 10, "start", "", y_label);
}

static void put_point(rh_str *out, const frame *f, const rh_auto_report *r, int32_t i)
{
    const rh_auto_setting *s = &r->settings[i];
    char title[120], layer[24] = "all layers";
    if (!isfinite(s->knee.value) || !isfinite(s->knee.cost)) return;
    if (s->layer >= 0) snprintf(layer, sizeof layer, "layer %d", (int)s->layer);
    snprintf(title, sizeof title, "%s, strength %.3g (%.2g of median norm)", layer, s->strength, s->resid);
    const char *style = i == r->picked       ? "fill='#c0392b' stroke='#222'"
                        : s->knee.frontier ? "fill='#2471a3'"
                        : s->knee.healthy  ? "fill='#aab7b8'"
                                           : "fill='none' stroke='#aab7b8'";
    double x = x_of(f, s->knee.cost), y = y_of(f, s->knee.value);
    rh_shape_circle(out, x, y, i == r->picked ? 7 : s->knee.frontier ? 5 : 4, style, title);
    if (i != r->picked) return;
    bool right = x < WIDTH * 0.6;
    rh_shape_text(out, right ? x + 11 : x - 11, y + 4, right ? "start" : "end", "font-weight='bold'", title);
}

/* The frontier's points by cost: each is the next dearer one. */
static void put_frontier(rh_str *out, const frame *f, const rh_auto_report *r)
{
    const rh_knee_point *last = NULL;
    for (;;) {
        const rh_knee_point *next = NULL;
        for (int32_t i = 0; i < r->n_settings; i++) {
            const rh_knee_point *k = &r->settings[i].knee;
            if (k->frontier && (!last || k->cost > last->cost) && (!next || k->cost < next->cost)) next = k;
        }
        if (!next) return;
        if (last)
            rh_shape_line(out, x_of(f, last->cost), y_of(f, last->value), x_of(f, next->cost), y_of(f, next->value), "stroke='#2471a3'");
        last = next;
    }
}

rh_status rh_export_auto_svg(rh_str *out, const rh_auto_report *r, rh_error *err)
{
    frame f = frame_of(r);
    rh_str title = {0};
    rh_str_printf(&title, "%s: steering with %s, %d settings", r->model, r->expression, (int)r->n_settings);
    if (title.failed) {
        rh_str_free(&title);
        return rh_fail_nomem(err);
    }
    rh_shape_begin(out, WIDTH, HEIGHT, title.data);
    rh_shape_text(out, LEFT, 22, "start", "font-size='15' font-weight='bold'", title.data);
    put_axes(out, &f, r->target ? "share of texts that hold the target, and gain / 20" : "presence: deviations above the unsteered texts");
    put_frontier(out, &f, r);
    for (int32_t i = 0; i < r->n_settings; i++)
        if (i != r->picked) put_point(out, &f, r, i);
    if (r->picked >= 0) put_point(out, &f, r, r->picked);
    rh_shape_end(out);
    rh_str_free(&title);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

/* diff_svg.c - held-out effect by layer and position, beside permuted labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notebooks-export/chart.h"
#include "notebooks-export/export.h"

rh_status rh_export_diff_svg(rh_str *out, const rh_diff_report *r, rh_error *err)
{
    size_t n = (size_t)r->n_layers, positions = (size_t)r->n_positions;
    double *x = rh_calloc(n, sizeof *x), *y = rh_calloc(2 * n * positions, sizeof *y);
    rh_curve curves[2 * RH_DIFF_POSITIONS] = {0};
    char labels[RH_DIFF_POSITIONS][40];
    rh_str title = {0};
    bool ok = x && y;
    for (size_t l = 0; ok && l < n; l++) x[l] = r->layers[l];
    for (size_t p = 0; ok && p < positions; p++) {
        double *real = y + 2 * p * n, *control = real + n;
        for (size_t l = 0; l < n; l++) {
            real[l] = r->sites[p * n + l].real.effect;
            control[l] = r->sites[p * n + l].control.effect;
        }
        snprintf(labels[p], sizeof labels[p], "%s, permuted", RH_DIFF_POSITION_NAMES[p]);
        curves[2 * p] = (rh_curve){RH_DIFF_POSITION_NAMES[p], real, (int)p, false};
        curves[2 * p + 1] = (rh_curve){labels[p], control, (int)p, true};
    }
    const char *name = strrchr(r->path, '/');
    rh_str_printf(&title, "%s on %s: effect on held-out texts", name ? name + 1 : r->path, r->model);
    if (ok && !title.failed) {
        rh_chart c = {.title = title.data, .x_label = "layer (resid_post)", .y_label = "Cohen's d", .x = x, .n = r->n_layers,
                      .curves = curves, .n_curves = 2 * r->n_positions,
                      .marked = r->choice.site >= 0 ? r->sites[r->choice.site].layer : NAN};
        rh_chart_svg(out, &c);
    }
    ok = ok && !title.failed && !out->failed;
    rh_str_free(&title);
    free(x);
    free(y);
    if (ok) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

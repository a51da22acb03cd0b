/* diff_stability.c - the direction itself: its size, and how much of it another sample would give.
 *
 * Every direction here is a weighted sum of all texts, weight +m/N0 for positives and -m/N1 for
 * negatives: m is 1 (the direction), how often a bootstrap drew the text's group, or whether the group
 * is in a half; times the text's own weight (rh_diff_weight). All columns are summed in one reading of the site. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "probes/diagnose.h"
#include "probes/diff_parts.h"

typedef enum column_kind { FULL, DRAWN, HALF, OTHER_HALF } column_kind;

typedef struct column {
    column_kind kind;
    int32_t labelling, index; /* of the draw or the half */
    double n[2][2];           /* weight of each class, drawn texts as often as drawn; in texts, in tokens */
} column;

struct rh_diff_columns {
    const rh_diff_design *g;
    int32_t d, n, n_controls;
    column *items;            /* [n] FULL of labellings 0..n_controls first */
    double *sum;              /* [n, d] */
    double *weight;           /* [rows, n], of the block at hand */
    size_t cap_weight;
    double *norms, *cosines;  /* [texts], [the larger of bootstrap and splits and controls] */
};

static double multiplicity(const rh_diff_design *g, const column *c, int32_t group)
{
    switch (c->kind) {
    case DRAWN: return rh_bootstrap_count(g->seed, RH_DIFF_BOOTSTRAP + (uint64_t)c->index, (uint64_t)group);
    case HALF: return rh_bit(g->half + (size_t)c->index * g->row_bytes, group);
    case OTHER_HALF: return !rh_bit(g->half + (size_t)c->index * g->row_bytes, group);
    default: return 1;
    }
}

void rh_diff_columns_free(rh_diff_columns *c)
{
    if (!c) return;
    free(c->items);
    free(c->sum);
    free(c->weight);
    free(c->norms);
    free(c->cosines);
    free(c);
}

static void add(rh_diff_columns *c, column_kind kind, int32_t labelling, int32_t index)
{
    c->items[c->n++] = (column){.kind = kind, .labelling = labelling, .index = index};
}

static void list_columns(rh_diff_columns *c)
{
    const rh_diff_design *g = c->g;
    for (int32_t v = 0; v <= c->n_controls; v++) add(c, FULL, v, 0);
    for (int32_t b = 0; b < g->n_bootstrap; b++) add(c, DRAWN, 0, b);
    for (int32_t r = 0; r < g->n_splits; r++) {
        add(c, HALF, 0, r);
        add(c, OTHER_HALF, 0, r);
    }
    for (int32_t v = 1; v <= c->n_controls; v++) {
        if (g->n_bootstrap) add(c, DRAWN, v, (v - 1) % g->n_bootstrap);
        add(c, HALF, v, (v - 1) % g->n_splits);
        add(c, OTHER_HALF, v, (v - 1) % g->n_splits);
    }
    for (int32_t i = 0; i < c->n; i++)
        for (int32_t t = 0; t < g->n; t++) {
            int cls = rh_diff_label(g, c->items[i].labelling, t);
            double m = multiplicity(g, &c->items[i], g->group[t]);
            c->items[i].n[0][cls] += m;
            if (g->marked) c->items[i].n[1][cls] += m * rh_diff_weight(g, true, t);
        }
}

rh_status rh_diff_columns_new(rh_diff_columns **out, const rh_diff_design *g, int32_t d, rh_error *err)
{
    rh_diff_columns *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->g = g;
    c->d = d;
    c->n_controls = g->n_labellings - 1 < RH_DIFF_CONTROLS ? g->n_labellings - 1 : RH_DIFF_CONTROLS;
    size_t n = 1 + (size_t)c->n_controls * 4 + (size_t)g->n_bootstrap + 2 * (size_t)g->n_splits;
    size_t cosines = (size_t)g->n_bootstrap + (size_t)g->n_splits + (size_t)c->n_controls;
    c->items = rh_calloc(n, sizeof *c->items);
    c->sum = rh_calloc(n, (size_t)d * sizeof *c->sum);
    c->norms = rh_calloc((size_t)g->n, sizeof *c->norms);
    c->cosines = rh_calloc(cosines, sizeof *c->cosines);
    if (!c->items || !c->sum || !c->norms || !c->cosines) {
        rh_diff_columns_free(c);
        return rh_fail_nomem(err);
    }
    list_columns(c);
    *out = c;
    return RH_OK;
}

/* ---- sums ------------------------------------------------------------------------------------------ */

static rh_status fit_weights(rh_diff_columns *c, const rh_diff_block *b, rh_error *err)
{
    size_t n = (size_t)b->rows * (size_t)c->n;
    if (n <= c->cap_weight) return RH_OK;
    free(c->weight);
    c->cap_weight = 0;
    c->weight = rh_calloc(n, sizeof *c->weight);
    if (!c->weight) return rh_fail_nomem(err);
    c->cap_weight = n;
    return RH_OK;
}

static void set_weights(rh_diff_columns *c, const rh_diff_block *b)
{
    for (int32_t i = 0; i < b->count; i++) {
        double weight = rh_diff_weight(c->g, b->by_token, b->first + i);
        for (int32_t k = 0; k < c->n; k++) {
            const column *one = &c->items[k];
            const double *n = one->n[b->by_token];
            int cls = rh_diff_label(c->g, one->labelling, b->first + i);
            double m = weight * multiplicity(c->g, one, c->g->group[b->first + i]);
            c->weight[(size_t)i * (size_t)c->n + (size_t)k] = m == 0 ? 0 : cls ? -m / n[1] : m / n[0];
        }
    }
}

static rh_status sum_columns(rh_diff_columns *c, rh_diff_block *b, int32_t site, rh_error *err)
{
    bool more = true;
    memset(c->sum, 0, (size_t)c->n * (size_t)c->d * sizeof *c->sum);
    RH_TRY(fit_weights(c, b, err));
    for (rh_diff_block_rewind(b, site, -1);;) {
        RH_TRY(rh_diff_block_next(&more, b, false, err));
        if (!more) return RH_OK;
        set_weights(c, b);
        rh_weighted_sums(c->sum, c->weight, b->x, b->count, c->n, c->d);
        for (int32_t i = 0; i < b->count; i++) c->norms[b->first + i] = (double)b->norm[i];
    }
}

/* ---- figures --------------------------------------------------------------------------------------- */

static const double *sum_of(const rh_diff_columns *c, int32_t at) { return c->sum + (size_t)at * (size_t)c->d; }

static double dot(const double *a, const double *b, int32_t d)
{
    double sum = 0;
    for (int32_t j = 0; j < d; j++) sum += a[j] * b[j];
    return sum;
}

/* NaN where a column has an empty class or is zero: it has no direction. */
static double cosine(const rh_diff_columns *c, int32_t i, int32_t k)
{
    const double *n_i = c->items[i].n[0], *n_k = c->items[k].n[0];
    if (n_i[0] == 0 || n_i[1] == 0 || n_k[0] == 0 || n_k[1] == 0) return NAN;
    const double *a = sum_of(c, i), *b = sum_of(c, k);
    double aa = dot(a, a, c->d), bb = dot(b, b, c->d);
    if (!(aa > 0) || !(bb > 0)) return NAN;
    double cos = dot(a, b, c->d) / sqrt(aa) / sqrt(bb);
    return cos > 1 ? 1 : cos < -1 ? -1 : cos;
}

/* Cosines of columns first, first + step, … to column `to` (or, -1, to the next one): those that exist. */
static int32_t cosines(rh_diff_columns *c, int32_t first, int32_t step, int32_t n, int32_t to, bool own)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t at = first + i * step;
        double x = cosine(c, at, to < 0 ? at + 1 : own ? to + i : to);
        if (!isnan(x)) c->cosines[count++] = x;
    }
    return count;
}

static double mean(const double *x, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += x[i];
    return n ? sum / n : NAN;
}

static void resampled(rh_diff_site *out, rh_diff_columns *c)
{
    int32_t controls = c->n_controls, boot = c->g->n_bootstrap, splits = c->g->n_splits;
    int32_t drawn = 1 + controls, halves = drawn + boot, control = halves + 2 * splits, step = boot ? 3 : 2;
    int32_t n = cosines(c, drawn, 1, boot, 0, false);
    out->real.low = rh_quantile(c->cosines, n, 0.025);
    out->real.high = rh_quantile(c->cosines, n, 0.975);
    n = cosines(c, halves, 2, splits, -1, false);
    out->real.split_half = mean(c->cosines, n);
    n = boot ? cosines(c, control, step, controls, 1, true) : 0;
    out->control.low = rh_quantile(c->cosines, n, 0.025);
    out->control.high = rh_quantile(c->cosines, n, 0.975);
    n = cosines(c, control + (boot ? 1 : 0), step, controls, -1, false);
    out->control.split_half = mean(c->cosines, n);
}

static void sizes(rh_diff_site *out, float *direction, rh_diff_columns *c)
{
    const double *v = sum_of(c, 0);
    double square = dot(v, v, c->d), norms = 0;
    out->real.norm = sqrt(square);
    out->median_norm = rh_median(c->norms, c->g->n);
    out->ratio = out->median_norm > 0 ? out->real.norm / out->median_norm : NAN;
    for (int32_t i = 1; i <= c->n_controls; i++) norms += sqrt(dot(sum_of(c, i), sum_of(c, i), c->d));
    out->control.norm = c->n_controls ? norms / c->n_controls : NAN;
    out->coordinate = 0;
    for (int32_t j = 0; j < c->d; j++) {
        direction[j] = (float)v[j];
        if (fabs(v[j]) > fabs(v[out->coordinate])) out->coordinate = j;
    }
    out->outlier = square > 0 ? v[out->coordinate] * v[out->coordinate] / square : NAN;
}

static rh_status in_sample(rh_diff_site *out, rh_diff_columns *c, rh_diff_block *b, int32_t site, rh_error *err)
{
    rh_class_moments m = {0};
    bool more = true;
    for (rh_diff_block_rewind(b, site, -1);;) {
        RH_TRY(rh_diff_block_next(&more, b, false, err));
        if (!more) break;
        rh_scores(c->weight, b->x, c->sum, b->count, 1, c->d);
        for (int32_t i = 0; i < b->count; i++) rh_class_moments_add(&m, c->weight[i], c->g->cls[b->first + i]);
    }
    out->effect_in_sample = rh_cohen_d(&m, 1, NULL);
    return RH_OK;
}

rh_status rh_diff_stability(rh_diff_site *out, float *direction, rh_diff_columns *c, rh_diff_block *b, int32_t site,
                            rh_error *err)
{
    RH_TRY(sum_columns(c, b, site, err));
    resampled(out, c);
    sizes(out, direction, c);
    return in_sample(out, c, b, site, err);
}

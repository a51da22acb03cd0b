/* auto_score.c - from the texts of one arm to its figures, and from figures to value and cost. */
#include <math.h>

#include "probes/auto_search.h"

/* One text in five may break beyond what breaks unsteered. */
static const double MOST_BROKEN = 0.2001;

void rh_search_base(rh_search *s, const rh_auto_cell *cells, int32_t n, int32_t stride)
{
    double sum = 0, squares = 0, tokens = 0;
    for (int32_t i = 0; i < n; i++) {
        const rh_auto_cell *c = &cells[(size_t)i * (size_t)stride];
        if (!isfinite(c->projection)) continue;
        sum += c->projection * c->run.n_ids;
        squares += c->squares * c->run.n_ids;
        tokens += c->run.n_ids;
    }
    s->base = sum / tokens;
    s->spread = sqrt(fmax(0, squares / tokens - s->base * s->base));
}

static void add_mean(double *sum, double *n, double x)
{
    if (!isfinite(x)) return;
    *sum += x;
    *n += 1;
}

/* How much one text holds the target: wholly, or with the chance that it would have been drawn somewhere on the way. */
static double holding(const rh_auto_cell *c)
{
    if (c->run.collapsed) return 0;
    return c->named ? 1 : 1 - exp(-c->chance * c->run.n_ids);
}

rh_auto_score rh_search_score(const rh_search *s, const rh_auto_cell *cells, int32_t n, int32_t stride, int32_t arm,
                              double threshold)
{
    rh_auto_score out = {.n = n};
    double sums[6] = {0}, counts[6] = {0};
    bool target = s->batch.o->target != NULL;
    for (int32_t i = 0; i < n; i++) {
        const rh_auto_cell *c = &cells[(size_t)i * (size_t)stride + (size_t)arm];
        out.broken += c->run.collapsed;
        out.hits += !c->run.collapsed && (target ? c->named : c->projection > threshold);
        double values[6] = {(c->projection - s->base) / s->spread, c->gain, c->run.surprisal, c->run.repeated, c->kl,
                            target ? holding(c) : NAN};
        for (int k = 0; k < 6; k++) add_mean(&sums[k], &counts[k], values[k]);
    }
    double *means[6] = {&out.presence, &out.gain, &out.surprisal, &out.repeated, &out.kl, &out.held};
    for (int k = 0; k < 6; k++) *means[k] = counts[k] > 0 ? sums[k] / counts[k] : NAN;
    return out;
}

rh_knee_point rh_search_judge(const rh_search *s, const rh_auto_score *c, const rh_auto_score *u)
{
    double more_broken = fmax(0, (double)c->broken / c->n - (double)u->broken / u->n);
    return (rh_knee_point){
        .value = s->batch.o->target ? c->held - u->held : c->presence,
        .cost = fmax(0, c->surprisal - u->surprisal) + fmax(0, c->repeated - u->repeated) + 2 * more_broken,
        .healthy = more_broken <= MOST_BROKEN,
    };
}

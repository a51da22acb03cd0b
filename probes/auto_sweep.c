/* auto_sweep.c - the sweep. Many settings are screened on a third of the prompts, all of them one batch a prompt. The
 * leaders, and settings close to them, are run on the others: what is picked is picked from texts that had no part
 * in making it a leader. Few settings skip the screening and take all prompts. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probes/auto_search.h"

enum { FEW = 10, LEADERS = 2, FEWEST_TO_SPLIT = 6 };

/* Below these a setting is no better than none: a quarter of a deviation; one text in fifty. */
static const double LEAST_PRESENCE = 0.25, LEAST_HELD = 0.02;

static const double CLOSER[] = {1, 0.75, 1.3};

/* ---- settings --------------------------------------------------------------------------------- */

/* What is found is typed again by people. */
static double three_digits(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.3g", x);
    return strtod(text, NULL);
}

/* A setting to run; if it is there already, it is marked for this round. */
static rh_status add_setting(rh_search *s, int32_t site, double exact, int32_t round, rh_error *err)
{
    rh_auto_report *r = s->report;
    double strength = three_digits(exact);
    double norm = rh_search_norm(s, site), resid = fabs(strength) * norm / s->median[site];
    int32_t layer = s->batch.o->together && s->v->n_layers > 1 ? -1 : s->v->layers[site];
    if (!(norm > 0) || !isfinite(strength) || fabs(strength) > FLT_MAX) return RH_OK;
    for (int32_t i = 0; i < r->n_settings; i++)
        if (r->settings[i].layer == layer && fabs(r->settings[i].strength - strength) <= 1e-6 * fabs(strength)) {
            r->settings[i].round = round;
            return RH_OK;
        }
    if (!RH_GROW(r->settings, s->cap_settings, (size_t)r->n_settings)) return rh_fail_nomem(err);
    r->settings[r->n_settings++] = (rh_auto_setting){.layer = layer, .strength = strength, .resid = resid, .round = round};
    return RH_OK;
}

static rh_status add_all(rh_search *s, int32_t round, rh_error *err)
{
    for (int32_t k = 0; k < s->n_sites; k++)
        for (int32_t i = 0; i < s->n_strengths; i++) {
            int32_t site = s->sites[k];
            double strength;
            RH_TRY(rh_strength_factor(&strength, s->strengths[i], rh_search_norm(s, site),
                                      &(rh_unit_figures){s->median[site], s->sigma[site], NAN}, err));
            RH_TRY(add_setting(s, site, strength, round, err));
        }
    return RH_OK;
}

/* ---- running a round -------------------------------------------------------------------------- */

static void take_scores(rh_search *s, rh_auto_cell *cells, int32_t n, int32_t n_arms, int32_t round)
{
    rh_auto_report *r = s->report;
    int32_t arm = 0;
    rh_search_base(s, cells, n, n_arms);
    r->unsteered = rh_search_score(s, cells, n, n_arms, 0, NAN);
    free(r->unsteered_sample);
    r->unsteered_sample = cells[0].run.text;
    cells[0].run.text = NULL;
    for (int32_t i = 0; i < r->n_settings; i++) {
        rh_auto_setting *t = &r->settings[i];
        if (t->round != round) continue;
        t->score = rh_search_score(s, cells, n, n_arms, ++arm, NAN);
        t->knee = rh_search_judge(s, &t->score, &r->unsteered);
        free(t->sample);
        t->sample = cells[arm].run.text;
        cells[arm].run.text = NULL;
    }
}

/* Run this round's settings on prompts [n]. */
static rh_status run_round(rh_search *s, int32_t round, const char *const *prompts, int32_t n, rh_error *err)
{
    rh_auto_report *r = s->report;
    int32_t n_arms = 1;
    for (int32_t i = 0; i < r->n_settings; i++) n_arms += r->settings[i].round == round;
    size_t n_cells = (size_t)n_arms * (size_t)n;
    rh_auto_arm *arms = rh_calloc((size_t)n_arms, sizeof *arms);
    rh_auto_cell *cells = rh_calloc(n_cells, sizeof *cells);
    rh_status status = arms && cells ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0, arm = 0; !status && i < r->n_settings; i++) {
        const rh_auto_setting *t = &r->settings[i];
        if (t->round != round) continue;
        arms[++arm] = (rh_auto_arm){.first = rh_search_site(s, t->layer), .n = rh_search_count(s), .strength = t->strength};
    }
    s->batch.label = round == 1 ? "screening" : "sweeping";
    s->batch.done = 0;
    s->batch.total = (int64_t)n_cells * s->batch.o->generate.max_tokens;
    if (!status) status = rh_auto_batch_run(cells, &s->batch, prompts, n, arms, n_arms, err);
    if (!status) take_scores(s, cells, n, n_arms, round);
    rh_auto_cells_free(cells, cells ? n_cells : 0);
    free(arms);
    return status;
}

/* ---- leaders ---------------------------------------------------------------------------------- */

/* A setting's value, half of it its neighbours': one lucky text does not make a leader. Settings stand by layer, then
 * strength, as they were added; a broken one holds nothing. */
static double smoothed(const rh_search *s, int32_t i)
{
    const rh_auto_report *r = s->report;
    double sum = 0, weights = 0;
    for (int32_t k = i - 1; k <= i + 1; k++) {
        if (k < 0 || k >= r->n_settings || r->settings[k].layer != r->settings[i].layer) continue;
        double weight = k == i ? 1 : 0.5;
        const rh_knee_point *p = &r->settings[k].knee;
        weights += weight;
        sum += p->healthy && isfinite(p->value) ? weight * p->value : 0;
    }
    return sum / weights;
}

/* The knees of what was screened, each at a layer of its own: leaders [LEADERS], fewer if fewer hold anything. */
static rh_status find_leaders(int32_t *leaders, int32_t *n_leaders, const rh_search *s, rh_error *err)
{
    const rh_auto_report *r = s->report;
    size_t n = (size_t)r->n_settings;
    rh_knee_point *points = rh_calloc(n, sizeof *points), **list = rh_calloc(n, sizeof *list);
    rh_status status = points && list ? RH_OK : rh_fail_nomem(err);
    *n_leaders = 0;
    for (size_t i = 0; !status && i < n; i++) {
        points[i] = (rh_knee_point){.value = smoothed(s, (int32_t)i), .cost = r->settings[i].knee.cost, .healthy = r->settings[i].knee.healthy};
        list[i] = &points[i];
    }
    while (!status && *n_leaders < LEADERS) {
        int32_t k = rh_knee(list, (int32_t)n, 0);
        if (k < 0) break;
        leaders[(*n_leaders)++] = k;
        for (size_t i = 0; i < n; i++)
            if (r->settings[i].layer == r->settings[k].layer) points[i].healthy = false;
    }
    free(list);
    free(points);
    return status;
}

/* The setting itself, closer strengths unless they are the user's, and the layers halfway to the next candidates. */
static rh_status add_around(rh_search *s, rh_auto_setting lead, rh_error *err)
{
    int32_t site = rh_search_site(s, lead.layer), below = -1, above = s->v->n_layers;
    for (int32_t k = 0; k < s->n_sites; k++) {
        if (s->sites[k] < site && s->sites[k] > below) below = s->sites[k];
        if (s->sites[k] > site && s->sites[k] < above) above = s->sites[k];
    }
    for (size_t i = 0; i < sizeof CLOSER / sizeof *CLOSER; i++)
        if (!s->batch.o->n_strengths || CLOSER[i] == 1) RH_TRY(add_setting(s, site, lead.strength * CLOSER[i], 2, err));
    const int32_t halfway[] = {below < 0 ? site : (below + site) / 2, above == s->v->n_layers ? site : (above + site + 1) / 2};
    for (int k = 0; k < 2; k++) {
        int32_t other = halfway[k];
        double norm = rh_search_norm(s, other);
        if (other == site || !(norm > 0)) continue;
        /* the same share of ‖h‖ */
        double same = lead.strength * rh_search_norm(s, site) / s->median[site] * s->median[other] / norm;
        RH_TRY(add_setting(s, other, same, 2, err));
    }
    return RH_OK;
}

/* ---- the sweep -------------------------------------------------------------------------------- */

static int by_layer(const void *a, const void *b)
{
    const rh_auto_setting *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->strength > y->strength) - (x->strength < y->strength);
}

/* Every third prompt screens, the others decide; too few serve both. */
static int32_t split_prompts(const char **out, const rh_auto_options *o, bool screening)
{
    int32_t n = 0;
    for (int32_t i = 0; i < o->n_prompts; i++)
        if (o->n_prompts < FEWEST_TO_SPLIT || (i % 3 == 0) == screening) out[n++] = o->prompts[i];
    return n;
}

/* Only the last round's settings are compared: those before had other prompts. */
static rh_status pick(rh_search *s, rh_error *err)
{
    rh_auto_report *r = s->report;
    int32_t *index = rh_calloc((size_t)r->n_settings, sizeof *index), n = 0;
    rh_knee_point **points = rh_calloc((size_t)r->n_settings, sizeof *points);
    rh_status status = points && index ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < r->n_settings; i++) {
        if (r->settings[i].round != 2) continue;
        index[n] = i;
        points[n++] = &r->settings[i].knee;
    }
    if (!status) {
        int32_t k = rh_knee(points, n, s->batch.o->target ? LEAST_HELD : LEAST_PRESENCE);
        r->picked = k < 0 ? -1 : index[k];
    }
    free(points);
    free(index);
    return status;
}

static rh_status screen(rh_search *s, const char **prompts, rh_error *err)
{
    int32_t leaders[LEADERS], n_leaders;
    rh_auto_setting lead[LEADERS];
    RH_TRY(run_round(s, 1, prompts, split_prompts(prompts, s->batch.o, true), err));
    RH_TRY(find_leaders(leaders, &n_leaders, s, err));
    for (int32_t i = 0; i < n_leaders; i++) lead[i] = s->report->settings[leaders[i]];
    for (int32_t i = 0; i < n_leaders; i++) RH_TRY(add_around(s, lead[i], err));
    if (!n_leaders) return RH_OK;
    return run_round(s, 2, prompts, split_prompts(prompts, s->batch.o, false), err);
}

rh_status rh_search_sweep(rh_search *s, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    bool few = s->n_sites * s->n_strengths <= FEW;
    RH_TRY(add_all(s, few ? 2 : 1, err));
    if (!r->n_settings) return rh_fail(err, RH_EVALUE, "the vector is zero: there is nothing to steer with");
    const char **prompts = rh_calloc((size_t)o->n_prompts, sizeof *prompts);
    if (!prompts) return rh_fail_nomem(err);
    rh_status status = few ? run_round(s, 2, o->prompts, o->n_prompts, err) : screen(s, prompts, err);
    free(prompts);
    if (status) return status;
    qsort(r->settings, (size_t)r->n_settings, sizeof *r->settings, by_layer);
    return pick(s, err);
}

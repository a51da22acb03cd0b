/* auto.c - the search: a coarse sweep over layers and strengths, a finer one around its knee, and the test of
 * the knee on held-out prompts beside random directions of equal norm and a system text.
 *
 * Presence is read at one later layer for all settings, so that they compare: four fifths up, or above the
 * vector's own layer. */
#include "probes/auto.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "algebra/algebra.h"
#include "base/rng.h"
#include "probes/auto_batch.h"

enum { COARSE_LAYERS = 6, MAX_FINE = 24, RANDOM = 3 };

/* One text in five may break beyond what breaks unsteered. Below these a setting is no better than none: a
 * quarter of a deviation; one nat. */
static const double MOST_BROKEN = 0.2001, LEAST_PRESENCE = 0.25, LEAST_VALUE = 0.05;

/* Steps of ‖strength·v‖ / median ‖h‖: below the first nothing shows, above the last nothing is left. */
static const double COARSE[] = {0.2, 0.35, 0.5, 0.7};
static const double ONE_SITE[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1};
static const double CLOSER[] = {0.75, 1, 1.25};

typedef struct search {
    rh_auto_batch batch;
    rh_auto_report *report;
    const rh_vector *v;
    rh_strength *strengths;   /* of the first round */
    int32_t n_strengths;
    int32_t *sites;           /* [n_sites] candidate indices into v's layers; `together`: one, for all */
    int32_t n_sites;
    double *median;           /* [v->n_layers] ‖h‖ */
    double *sigma;            /* [v->n_layers], or NULL */
    double base, spread;      /* of the unsteered texts' projections */
    size_t cap_settings;
} search;

/* ---- preparing -------------------------------------------------------------------------------- */

static rh_status check(const rh_evaluation *e, rh_error *err)
{
    if (e->n_actions != 1 || e->actions[0].verb != RH_VERB_STEER || e->actions[0].value.kind != RH_VALUE_VECTOR) {
        rh_fail(err, RH_EUNSUPPORTED, "the search is for one direction that is added, and this is %s",
                e->n_actions == 1 ? "an action of another kind" : e->n_actions ? "several actions" : "nothing");
        rh_hint(err, "give one expression, such as sf + 0.5*rain");
        return RH_EUNSUPPORTED;
    }
    const rh_vector *v = e->actions[0].value.vector;
    if (v->layers[0] < 0) return rh_fail(err, RH_ESITE, "the vector has no layer");
    if (v->hook == RH_ATTN_Z || v->hook == RH_MLP_IN) {
        rh_fail(err, RH_EUNSUPPORTED, "a direction of %s cannot be read in the residual stream", rh_hook_name(v->hook));
        rh_hint(err, "give --strength and --layer by hand");
        return RH_EUNSUPPORTED;
    }
    return RH_OK;
}

/* û where presence is read: the family's own there, else its deepest below. */
static rh_status choose_reader(search *s, float *u, rh_error *err)
{
    const rh_vector *v = s->v;
    int32_t n = s->batch.m->config.n_layers, layer = n * 4 / 5, k = 0;
    bool pinned = s->batch.o->together || v->n_layers == 1;
    if (pinned && layer <= v->layers[v->n_layers - 1]) layer = v->layers[v->n_layers - 1] + 1;
    if (layer > n - 1) layer = n - 1;
    for (int32_t i = 0; i < v->n_layers; i++)
        if (v->layers[i] <= layer) k = i;
    const float *row = v->data + (size_t)k * (size_t)v->d;
    double norm = rh_norm(row, v->d);
    if (!(norm > 0)) return rh_fail(err, RH_EVALUE, "the vector is zero at layer %d", (int)v->layers[k]);
    for (int32_t j = 0; j < v->d; j++) u[j] = (float)(row[j] / norm);
    s->batch.u = u;
    s->batch.read_layer = s->report->read_layer = layer;
    return RH_OK;
}

/* Candidates of the first round: evenly spread, between a sixth of the model and the layer read; all those
 * that were asked for, if they are few. */
static rh_status choose_sites(search *s, rh_error *err)
{
    const rh_vector *v = s->v;
    int32_t lo = 0, hi = v->n_layers, n_layers = s->batch.m->config.n_layers;
    s->sites = rh_calloc((size_t)v->n_layers, sizeof *s->sites);
    if (!s->sites) return rh_fail_nomem(err);
    if (s->batch.o->together) {
        s->n_sites = 1;
        return RH_OK;
    }
    if (v->n_layers > COARSE_LAYERS) {
        while (lo < hi && v->layers[lo] < n_layers / 6) lo++;
        while (hi > lo && v->layers[hi - 1] >= s->batch.read_layer) hi--;
        if (hi - lo < 1) lo = 0, hi = v->n_layers;
    }
    int32_t n = hi - lo < COARSE_LAYERS ? hi - lo : COARSE_LAYERS;
    for (int32_t i = 0; i < n; i++) s->sites[s->n_sites++] = lo + (n > 1 ? i * (hi - lo - 1) / (n - 1) : 0);
    return RH_OK;
}

static rh_status choose_strengths(search *s, rh_error *err)
{
    const rh_auto_options *o = s->batch.o;
    const double *list = s->n_sites > 1 ? COARSE : ONE_SITE;
    int32_t n = s->n_sites > 1 ? (int32_t)(sizeof COARSE / sizeof *COARSE) : (int32_t)(sizeof ONE_SITE / sizeof *ONE_SITE);
    if (o->n_strengths) n = o->n_strengths;
    s->strengths = rh_calloc((size_t)n, sizeof *s->strengths);
    if (!s->strengths) return rh_fail_nomem(err);
    s->n_strengths = n;
    for (int32_t i = 0; i < n; i++)
        s->strengths[i] = o->n_strengths ? o->strengths[i] : (rh_strength){list[i], RH_UNIT_RESID};
    return RH_OK;
}

/* The figures behind the units. */
static rh_status measure_units(search *s, rh_error *err)
{
    const rh_auto_options *o = s->batch.o;
    const rh_vector *v = s->v;
    bool sigma = false;
    s->median = rh_calloc((size_t)v->n_layers, sizeof *s->median);
    s->sigma = rh_calloc((size_t)v->n_layers, sizeof *s->sigma);
    float *u = rh_calloc((size_t)v->d, sizeof *u);
    rh_status status = s->median && s->sigma && u ? RH_OK : rh_fail_nomem(err);
    if (!status)
        status = rh_median_norms(s->median, s->batch.m, v->layers, v->n_layers, v->hook, o->prompts, o->n_prompts,
                                 &o->prompt, err);
    for (int32_t i = 0; i < s->n_strengths; i++) sigma = sigma || s->strengths[i].unit == RH_UNIT_SIGMA;
    if (!status && sigma && !o->metadata) status = rh_fail(err, RH_EVALUE, "sigma needs the pairs the vector was made of");
    for (int32_t k = 0; !status && sigma && k < s->n_sites; k++) {
        int32_t i = s->sites[k];
        double norm = rh_norm(v->data + (size_t)i * (size_t)v->d, v->d);
        for (int32_t j = 0; norm > 0 && j < v->d; j++) u[j] = (float)(v->data[(size_t)i * (size_t)v->d + (size_t)j] / norm);
        status = rh_pairs_sigma(&s->sigma[i], s->batch.m, o->metadata, v->layers[i], v->hook, u, err);
    }
    free(u);
    return status;
}

/* ---- scores ----------------------------------------------------------------------------------- */

/* Mean and deviation of h·u over the unsteered texts: cells [n, stride], arm 0. */
static void measure_base(search *s, const rh_auto_cell *cells, int32_t n, int32_t stride)
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

/* Arm `arm` of cells [n, stride]. threshold: what counts as a hit where there is no target; NaN: nothing. */
static rh_auto_score summarise(const search *s, const rh_auto_cell *cells, int32_t n, int32_t stride, int32_t arm,
                               double threshold)
{
    rh_auto_score out = {.n = n};
    double sums[5] = {0}, counts[5] = {0};
    bool target = s->batch.o->target != NULL;
    for (int32_t i = 0; i < n; i++) {
        const rh_auto_cell *c = &cells[(size_t)i * (size_t)stride + (size_t)arm];
        out.broken += c->run.collapsed;
        out.hits += !c->run.collapsed && (target ? c->named : c->projection > threshold);
        double values[5] = {(c->projection - s->base) / s->spread, c->gain, c->run.surprisal, c->run.repeated, c->kl};
        for (int k = 0; k < 5; k++) add_mean(&sums[k], &counts[k], values[k]);
    }
    double *means[5] = {&out.presence, &out.gain, &out.surprisal, &out.repeated, &out.kl};
    for (int k = 0; k < 5; k++) *means[k] = counts[k] > 0 ? sums[k] / counts[k] : NAN;
    return out;
}

/* ---- rounds ----------------------------------------------------------------------------------- */

/* Of a setting's layer in v; all together begin at the first. */
static int32_t site_of_layer(const search *s, int32_t layer)
{
    for (int32_t i = 0; i < s->v->n_layers; i++)
        if (s->v->layers[i] == layer) return i;
    return 0;
}

static int32_t count_of(const search *s) { return s->batch.o->together ? s->v->n_layers : 1; }

static double norm_at(const search *s, int32_t i)
{
    return rh_norm(s->v->data + (size_t)i * (size_t)s->v->d, s->v->d);
}

/* A setting to run, unless it is there already. */
static rh_status add_setting(search *s, int32_t site, double strength, rh_error *err)
{
    rh_auto_report *r = s->report;
    double norm = norm_at(s, site), resid = fabs(strength) * norm / s->median[site];
    int32_t layer = s->batch.o->together && s->v->n_layers > 1 ? -1 : s->v->layers[site];
    if (!(norm > 0) || !isfinite(strength) || fabs(strength) > FLT_MAX) return RH_OK;
    for (int32_t i = 0; i < r->n_settings; i++)
        if (r->settings[i].layer == layer && fabs(r->settings[i].strength - strength) <= 1e-6 * fabs(strength)) return RH_OK;
    if (!RH_GROW(r->settings, s->cap_settings, (size_t)r->n_settings)) return rh_fail_nomem(err);
    r->settings[r->n_settings++] = (rh_auto_setting){.layer = layer, .strength = strength, .resid = resid};
    return RH_OK;
}

/* Value and cost of a setting. With a target the share of hits counts, and a twentieth of the gain: it tells settings
 * apart where no text holds the target yet. */
static void judge(search *s)
{
    rh_auto_report *r = s->report;
    const rh_auto_score *u = &r->unsteered;
    for (int32_t i = 0; i < r->n_settings; i++) {
        const rh_auto_score *c = &r->settings[i].score;
        rh_knee_point *p = &r->settings[i].knee;
        double more_broken = fmax(0, c->broken - u->broken) / c->n;
        p->value = s->batch.o->target ? (double)(c->hits - u->hits) / c->n + c->gain / 20 : c->presence;
        p->cost = fmax(0, c->surprisal - u->surprisal) + fmax(0, c->repeated - u->repeated) + 2 * more_broken;
        p->healthy = more_broken <= MOST_BROKEN;
    }
}

static int32_t pick(search *s, rh_error *err, rh_status *status)
{
    rh_auto_report *r = s->report;
    rh_knee_point **points = rh_calloc((size_t)r->n_settings, sizeof *points);
    *status = points ? RH_OK : rh_fail_nomem(err);
    if (!points) return -1;
    judge(s);
    for (int32_t i = 0; i < r->n_settings; i++) points[i] = &r->settings[i].knee;
    int32_t k = rh_knee(points, r->n_settings, s->batch.o->target ? LEAST_VALUE : LEAST_PRESENCE);
    free(points);
    return k;
}

/* Run settings [first, n_settings) on the sweep's prompts. */
static rh_status run_round(search *s, int32_t first, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    int32_t n_arms = 1 + r->n_settings - first, n = o->n_prompts;
    if (n_arms < 2) return RH_OK;
    rh_auto_arm *arms = rh_calloc((size_t)n_arms, sizeof *arms);
    size_t n_cells = (size_t)n_arms * (size_t)n;
    rh_auto_cell *cells = rh_calloc(n_cells, sizeof *cells);
    rh_status status = arms && cells ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 1; !status && i < n_arms; i++) {
        const rh_auto_setting *t = &r->settings[first + i - 1];
        arms[i] = (rh_auto_arm){.first = site_of_layer(s, t->layer), .n = count_of(s), .strength = t->strength};
    }
    if (!status) s->batch.total = s->batch.done + (int64_t)n_cells * o->generate.max_tokens;
    if (!status) status = rh_auto_batch_run(cells, &s->batch, o->prompts, n, arms, n_arms, err);
    if (!status && first == 0) {
        measure_base(s, cells, n, n_arms);
        r->unsteered = summarise(s, cells, n, n_arms, 0, NAN);
        r->unsteered_sample = cells[0].run.text;
        cells[0].run.text = NULL;
    }
    for (int32_t i = 1; !status && i < n_arms; i++) {
        rh_auto_setting *t = &r->settings[first + i - 1];
        t->score = summarise(s, cells, n, n_arms, i, NAN);
        t->sample = cells[i].run.text;
        cells[i].run.text = NULL;
    }
    rh_auto_cells_free(cells, cells ? n_cells : 0);
    free(arms);
    return status;
}

static rh_status coarse(search *s, rh_error *err)
{
    for (int32_t k = 0; k < s->n_sites; k++)
        for (int32_t i = 0; i < s->n_strengths; i++) {
            int32_t site = s->sites[k];
            double strength;
            RH_TRY(rh_strength_factor(&strength, s->strengths[i], norm_at(s, site), s->median[site], s->sigma[site], err));
            RH_TRY(add_setting(s, site, strength, err));
        }
    return run_round(s, 0, err);
}

/* Between the neighbours of the coarse knee: the layers halfway to them, and closer strengths. */
static rh_status fine(search *s, int32_t knee, rh_error *err)
{
    rh_auto_report *r = s->report;
    int32_t first = r->n_settings, site = site_of_layer(s, r->settings[knee].layer), n = 0;
    double strength = r->settings[knee].strength;
    int32_t step = s->n_sites > 1 ? (s->sites[s->n_sites - 1] - s->sites[0]) / (s->n_sites - 1) : 0, sites[3] = {site};
    for (int32_t sign = -1; step > 1 && sign <= 1; sign += 2) {
        int32_t other = site + sign * ((step + 1) / 2);
        if (other >= 0 && other < s->v->n_layers && s->v->layers[other] < s->batch.read_layer) sites[++n] = other;
    }
    for (int32_t k = 0; k <= n; k++) {
        /* the same share of ‖h‖ at the other layer */
        double same = strength * norm_at(s, site) / s->median[site] * s->median[sites[k]] / norm_at(s, sites[k]);
        for (size_t i = 0; i < sizeof CLOSER / sizeof *CLOSER && r->n_settings - first < MAX_FINE; i++)
            if (!s->batch.o->n_strengths || CLOSER[i] == 1) RH_TRY(add_setting(s, sites[k], same * CLOSER[i], err));
    }
    return run_round(s, first, err);
}

/* ---- the test --------------------------------------------------------------------------------- */

/* n directions of the norm of the vector's rows [first, first + count): out [n, count, d]. */
static void draw_random(float *out, const search *s, int32_t n, int32_t first, int32_t count)
{
    int32_t d = s->v->d;
    for (int32_t k = 0; k < n * count; k++) {
        float *row = out + (size_t)k * (size_t)d;
        for (int32_t j = 0; j < d; j++)
            row[j] = (float)rh_random_normal(s->batch.o->seed, 0x6175746fu + (uint64_t)k, (uint64_t)j);
        double scale = norm_at(s, first + k % count) / rh_norm(row, d);
        for (int32_t j = 0; j < d; j++) row[j] = (float)(row[j] * scale);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The 95 % quantile of the unsteered texts' projections: what fewer than one in twenty of them pass. */
static rh_status hit_threshold(double *out, const rh_auto_cell *cells, int32_t n, int32_t stride, rh_error *err)
{
    double *x = rh_calloc((size_t)n, sizeof *x);
    int32_t k = 0;
    if (!x) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        double p = cells[(size_t)i * (size_t)stride].projection;
        if (isfinite(p)) x[k++] = p;
    }
    if (k) qsort(x, (size_t)k, sizeof *x, compare_doubles);
    *out = k ? x[(k * 19 + 19) / 20 - 1] : INFINITY;
    free(x);
    return RH_OK;
}

static rh_status fill_test(rh_auto_test *t, const char *label, int32_t number, const search *s, rh_auto_cell *cells, int32_t n,
                           int32_t stride, int32_t arm, double threshold, rh_error *err)
{
    rh_str name = {0};
    rh_str_puts(&name, label);
    if (number) rh_str_printf(&name, " %d", (int)number);
    t->label = name.data;
    t->texts = rh_calloc((size_t)n, sizeof *t->texts);
    if (name.failed || !t->label || !t->texts) return rh_fail_nomem(err);
    t->score = summarise(s, cells, n, stride, arm, threshold);
    rh_wilson(&t->lo, &t->hi, t->score.hits, t->score.n);
    for (int32_t i = 0; i < n; i++) {
        rh_auto_cell *c = &cells[(size_t)i * (size_t)stride + (size_t)arm];
        t->texts[i] = c->run.text;
        c->run.text = NULL;
    }
    return RH_OK;
}

static rh_status fill_tests(search *s, rh_auto_cell *cells, int32_t n_arms, int32_t n_random, rh_error *err)
{
    rh_auto_report *r = s->report;
    int32_t n = s->batch.o->n_held_out;
    double threshold = INFINITY;
    measure_base(s, cells, n, n_arms);
    RH_TRY(hit_threshold(&threshold, cells, n, n_arms, err));
    r->tests = rh_calloc((size_t)n_arms, sizeof *r->tests);
    if (!r->tests) return rh_fail_nomem(err);
    r->n_tests = n_arms;
    for (int32_t i = 0; i < n_arms; i++) {
        bool random = i >= 2 && i < 2 + n_random;
        const char *label = i == 0 ? "unsteered" : i == 1 ? "steered" : random ? "random" : "system prompt";
        RH_TRY(fill_test(&r->tests[i], label, random ? i - 1 : 0, s, cells, n, n_arms, i, threshold, err));
        if (random) {
            r->random_hits += r->tests[i].score.hits;
            r->random_n += n;
        }
    }
    rh_wilson(&r->random_lo, &r->random_hi, r->random_hits, r->random_n);
    bool above = r->tests[1].lo > r->random_hi && r->tests[1].score.hits > r->tests[0].score.hits;
    r->verdict = above ? RH_AUTO_WORKS : RH_AUTO_NOT_SHOWN;
    return RH_OK;
}

static rh_status test(search *s, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    const rh_auto_setting *t = &r->settings[r->picked];
    int32_t n_random = o->n_random > 0 ? o->n_random : RANDOM, n_arms = 2 + n_random + (o->versus != NULL);
    int32_t first = site_of_layer(s, t->layer), count = count_of(s);
    size_t n_cells = (size_t)n_arms * (size_t)o->n_held_out;
    float *random = rh_calloc((size_t)n_random * (size_t)count, (size_t)s->v->d * sizeof *random);
    rh_auto_arm *arms = rh_calloc((size_t)n_arms, sizeof *arms);
    rh_auto_cell *cells = rh_calloc(n_cells, sizeof *cells);
    rh_status status = random && arms && cells ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        draw_random(random, s, n_random, first, count);
        arms[1] = (rh_auto_arm){.first = first, .n = count, .strength = t->strength};
        for (int32_t k = 0; k < n_random; k++) {
            arms[2 + k] = arms[1];
            arms[2 + k].instead = random + (size_t)k * (size_t)count * (size_t)s->v->d;
        }
        if (o->versus) arms[n_arms - 1] = (rh_auto_arm){.system = o->versus};
        s->batch.total = s->batch.done + (int64_t)n_cells * o->generate.max_tokens;
        status = rh_auto_batch_run(cells, &s->batch, o->held_out, o->n_held_out, arms, n_arms, err);
    }
    if (!status) status = fill_tests(s, cells, n_arms, n_random, err);
    rh_auto_cells_free(cells, cells ? n_cells : 0);
    free(arms);
    free(random);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------- */

static rh_status copy_texts(char ***out, int32_t *n_out, const char *const *texts, int32_t n, rh_error *err)
{
    *out = rh_calloc((size_t)n, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    *n_out = n;
    for (int32_t i = 0; i < n; i++)
        if (!((*out)[i] = rh_strdup(texts[i]))) return rh_fail_nomem(err);
    return RH_OK;
}

static rh_status describe(search *s, const char *expression, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    r->model = rh_strdup(s->batch.m->name);
    r->expression = rh_strdup(expression ? expression : "");
    r->target = o->target ? rh_strdup(o->target) : NULL;
    r->versus = o->versus ? rh_strdup(o->versus) : NULL;
    if (!r->model || !r->expression || (o->target && !r->target) || (o->versus && !r->versus)) return rh_fail_nomem(err);
    r->hook = s->v->hook;
    r->n_layers = s->batch.m->config.n_layers;
    r->together = o->together;
    r->max_tokens = o->generate.max_tokens;
    RH_TRY(copy_texts(&r->prompts, &r->n_prompts, o->prompts, o->n_prompts, err));
    return copy_texts(&r->held_out, &r->n_held_out, o->held_out, o->n_held_out, err);
}

static int by_layer(const void *a, const void *b)
{
    const rh_auto_setting *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->strength > y->strength) - (x->strength < y->strength);
}

static rh_status run_search(search *s, rh_error *err)
{
    rh_auto_report *r = s->report;
    rh_status status = RH_OK;
    RH_TRY(coarse(s, err));
    if (!r->n_settings) return rh_fail(err, RH_EVALUE, "the vector is zero: there is nothing to steer with");
    int32_t knee = pick(s, err, &status);
    if (!status && knee >= 0) status = fine(s, knee, err);
    if (status) return status;
    qsort(r->settings, (size_t)r->n_settings, sizeof *r->settings, by_layer);
    r->picked = pick(s, err, &status);
    r->verdict = RH_AUTO_NOTHING;
    return status || r->picked < 0 ? status : test(s, err);
}

rh_status rh_probe_auto(rh_auto_report **out, const rh_model *m, const rh_evaluation *e, const char *expression,
                        const rh_auto_options *options, rh_diags *diags, rh_error *err)
{
    struct timespec begun, ended;
    rh_auto_options o = *options;
    float *u = NULL;
    RH_TRY(check(e, err));
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (!o.n_prompts) o.prompts = rh_auto_prompts(&o.n_prompts, o.prompt.chat);
    if (!o.n_held_out) o.held_out = rh_auto_held_out(&o.n_held_out, o.prompt.chat);
    search s = {.batch = {.m = m, .e = e, .o = &o, .diags = diags, .label = "sweeping"}, .v = e->actions[0].value.vector};
    if (s.v->n_layers == 1) o.together = true;
    s.report = rh_calloc(1, sizeof *s.report);
    u = rh_calloc((size_t)s.v->d, sizeof *u);
    rh_status status = s.report && u ? RH_OK : rh_fail_nomem(err);
    if (s.report) s.report->picked = -1;
    if (!status) status = describe(&s, expression, err);
    if (!status) status = choose_reader(&s, u, err);
    if (!status) status = choose_sites(&s, err);
    if (!status) status = choose_strengths(&s, err);
    if (!status) status = measure_units(&s, err);
    if (!status) status = run_search(&s, err);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (!status) {
        s.report->tokens = s.batch.tokens;
        s.report->seconds = (double)(ended.tv_sec - begun.tv_sec) + 1e-9 * (double)(ended.tv_nsec - begun.tv_nsec);
        *out = s.report;
    } else {
        rh_auto_report_free(s.report);
    }
    free(s.strengths);
    free(s.sites);
    free(s.median);
    free(s.sigma);
    free(u);
    return status;
}

static void free_texts(char **texts, int32_t n)
{
    for (int32_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

void rh_auto_report_free(rh_auto_report *r)
{
    if (!r) return;
    for (int32_t i = 0; i < r->n_settings; i++) free(r->settings[i].sample);
    for (int32_t i = 0; r->tests && i < r->n_tests; i++) {
        free(r->tests[i].label);
        free_texts(r->tests[i].texts, r->tests[i].score.n);
    }
    free(r->settings);
    free(r->tests);
    free_texts(r->prompts, r->n_prompts);
    free_texts(r->held_out, r->n_held_out);
    free(r->unsteered_sample);
    free(r->model);
    free(r->expression);
    free(r->target);
    free(r->versus);
    free(r);
}

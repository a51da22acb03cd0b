/* auto_test.c - what the sweep picked, on prompts that had no part in picking it: beside no steering, random
 * directions of equal norm at the same place, and a system text. */
#include <math.h>
#include <stdlib.h>

#include "algebra/algebra.h"
#include "base/rng.h"
#include "probes/auto_search.h"

enum { RANDOM = 3 };

/* A claim needs its hits to be so unlikely if steering and random directions hit equally often. */
static const double MOST_LUCK = 0.025;

/* n directions of the norm of the vector's rows [first, first + count): out [n, count, d]. */
static void draw_random(float *out, const rh_search *s, int32_t n, int32_t first, int32_t count)
{
    int32_t d = s->v->d;
    for (int32_t k = 0; k < n * count; k++) {
        float *row = out + (size_t)k * (size_t)d;
        for (int32_t j = 0; j < d; j++)
            row[j] = (float)rh_random_normal(s->batch.o->seed, 0x6175746fu + (uint64_t)k, (uint64_t)j);
        double scale = rh_search_norm(s, first + k % count) / rh_norm(row, d);
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

static rh_status fill_test(rh_auto_test *t, const char *label, int32_t number, const rh_search *s, rh_auto_cell *cells, int32_t n,
                           int32_t stride, int32_t arm, double threshold, rh_error *err)
{
    rh_str name = {0};
    rh_str_puts(&name, label);
    if (number) rh_str_printf(&name, " %d", (int)number);
    t->label = name.data;
    t->texts = rh_calloc((size_t)n, sizeof *t->texts);
    if (name.failed || !t->label || !t->texts) return rh_fail_nomem(err);
    t->score = rh_search_score(s, cells, n, stride, arm, threshold);
    rh_wilson(&t->lo, &t->hi, t->score.hits, t->score.n);
    for (int32_t i = 0; i < n; i++) {
        rh_auto_cell *c = &cells[(size_t)i * (size_t)stride + (size_t)arm];
        t->texts[i] = c->run.text;
        c->run.text = NULL;
    }
    return RH_OK;
}

static rh_status fill_tests(rh_search *s, rh_auto_cell *cells, int32_t n_arms, int32_t n_random, rh_error *err)
{
    rh_auto_report *r = s->report;
    int32_t n = s->batch.o->n_held_out;
    double threshold = INFINITY;
    rh_search_base(s, cells, n, n_arms);
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
    const rh_auto_test *t = &r->tests[1];
    bool above = true;
    for (int32_t i = 0; i < 2 + n_random; i++)
        if (i != 1) above = above && t->score.hits > r->tests[i].score.hits;
    r->luck = rh_luck(t->score.hits, t->score.n, r->random_hits, r->random_n);
    r->verdict = above && r->luck < MOST_LUCK ? RH_AUTO_WORKS : RH_AUTO_NOT_SHOWN;
    return RH_OK;
}

rh_status rh_search_test(rh_search *s, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    const rh_auto_setting *t = &r->settings[r->picked];
    int32_t n_random = o->n_random > 0 ? o->n_random : RANDOM, n_arms = 2 + n_random + (o->versus != NULL);
    int32_t first = rh_search_site(s, t->layer), count = rh_search_count(s);
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

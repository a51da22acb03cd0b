/* diff_choose.c - which site to recommend, how sure that is, and what it is worth on texts that had no
 * part in choosing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "probes/diff_parts.h"

/* The rule, a convention that docs/diff.md argues for:
 *   1  AUCs closer than CLOSE_AUC to the best are as good: AUC alone cannot decide, it is 1 at most
 *      layers of an easy concept;
 *   2  of these, the middle half of the model, if it has any: in the first layers a state is little
 *      more than its token, in the last ones it turns into the next;
 *   3  of these, the place with the largest effect, and the layers around it whose effect is at least
 *      CLOSE_EFFECT of that: smaller gaps are noise;
 *   4  the middle one of these layers, so that one text more or less does not move the choice far. */
#define CLOSE_AUC 0.01
#define CLOSE_EFFECT 0.9

typedef struct figures { double auc, effect; } figures;

typedef struct chooser {
    const rh_diff_report *r;
    int32_t n_sites;
    figures *x;              /* [n_sites] */
    bool *candidate;         /* [n_sites] */
    /* what the last choice rested on */
    int32_t close, first_layer, last_layer, strongest; /* strongest: the site with the largest effect */
    bool middle;             /* step 2 left something out */
} chooser;

static bool in_middle(const chooser *c, int32_t site)
{
    int32_t l = c->r->sites[site].layer, n = c->r->model_layers;
    return 4 * l >= n && 4 * (l + 1) <= 3 * n;
}

/* Step 1 and 2. */
static void list_candidates(chooser *c)
{
    double top = -1;
    int32_t in = 0;
    c->close = 0;
    for (int32_t i = 0; i < c->n_sites; i++)
        if (c->x[i].auc > top) top = c->x[i].auc;
    for (int32_t i = 0; i < c->n_sites; i++) {
        c->candidate[i] = c->x[i].auc >= top - CLOSE_AUC;
        c->close += c->candidate[i];
        in += c->candidate[i] && in_middle(c, i);
    }
    c->middle = in > 0 && in < c->close;
    for (int32_t i = 0; i < c->n_sites && c->middle; i++) c->candidate[i] = c->candidate[i] && in_middle(c, i);
}

/* Is site i a candidate of the strongest's position and about as strong? */
static bool as_strong(const chooser *c, int32_t i)
{
    const rh_diff_site *sites = c->r->sites;
    if (i < 0 || i >= c->n_sites || !c->candidate[i] || sites[i].position != sites[c->strongest].position) return false;
    double most = c->x[c->strongest].effect;
    return isnan(most) ? isnan(c->x[i].effect) : c->x[i].effect >= CLOSE_EFFECT * most;
}

/* -1: no site has an AUC. Without effects (nothing varies within the classes) AUC decides alone. */
static int32_t choose(chooser *c)
{
    int32_t best = -1;
    list_candidates(c);
    for (int32_t i = 0; i < c->n_sites; i++)
        if (c->candidate[i] && (best < 0 || (isfinite(c->x[i].effect) && !(c->x[best].effect >= c->x[i].effect)))) best = i;
    if (best < 0) return -1;
    int32_t first = best, last = best;
    c->strongest = best;
    while (as_strong(c, first - 1)) first--;
    while (as_strong(c, last + 1)) last++;
    c->first_layer = c->r->sites[first].layer;
    c->last_layer = c->r->sites[last].layer;
    return first + (last - first) / 2;
}

static void adjust_p(rh_diff_report *r, const double *null_auc, double *highest)
{
    int32_t n = r->n_permutations, n_sites = r->n_layers * r->n_positions;
    for (int32_t v = 0; v < n; v++) {
        highest[v] = 0;
        for (int32_t s = 0; s < n_sites; s++)
            if (null_auc[(size_t)s * (size_t)n + (size_t)v] > highest[v]) highest[v] = null_auc[(size_t)s * (size_t)n + (size_t)v];
    }
    for (int32_t s = 0; s < n_sites; s++) r->sites[s].p_max = n ? rh_p_value(r->sites[s].real.auc, highest, n) : NAN;
}

/* A fold's scores in units of the deviation seen inside the other folds, so that folds whose choices
 * lie at different layers can be pooled. */
static rh_class_moments scaled(const rh_diff_fold *f)
{
    rh_class_moments m = f->moments;
    for (int c = 0; c < 2; c++) {
        m.mean[c] /= f->inner_sd;
        m.ss[c] /= f->inner_sd * f->inner_sd;
    }
    return m;
}

static rh_status nested(rh_diff_report *r, const rh_diff_fold *folds, chooser *ch, rh_error *err)
{
    int32_t k = r->n_folds, used = 0;
    rh_diff_choice *c = &r->choice;
    double wins = 0, pairs = 0;
    c->folds = k;
    c->first_layer = INT32_MAX;
    c->last_layer = -1;
    c->auc = c->effect = NAN;
    if (k < 3) return RH_OK;
    rh_class_moments *moments = rh_calloc((size_t)k, sizeof *moments);
    if (!moments) return rh_fail_nomem(err);
    for (int32_t f = 0; f < k; f++) {
        for (int32_t s = 0; s < ch->n_sites; s++) {
            const rh_diff_fold *one = &folds[(size_t)s * (size_t)k + (size_t)f];
            ch->x[s] = (figures){one->inner_auc, one->inner_effect};
        }
        int32_t s = choose(ch);
        if (s < 0) continue;
        const rh_diff_fold *one = &folds[(size_t)s * (size_t)k + (size_t)f];
        wins += one->wins;
        pairs += one->pairs;
        if (one->inner_sd > 0) moments[used++] = scaled(one);
        c->agree += s == c->site;
        if (r->sites[s].layer < c->first_layer) c->first_layer = r->sites[s].layer;
        if (r->sites[s].layer > c->last_layer) c->last_layer = r->sites[s].layer;
    }
    c->auc = pairs > 0 ? wins / pairs : NAN;
    c->effect = rh_cohen_d(moments, used, NULL);
    free(moments);
    return RH_OK;
}

static rh_status give_reason(rh_diff_report *r, const chooser *c, rh_error *err)
{
    rh_str s = {0};
    const rh_diff_site *x = &r->sites[r->choice.site];
    rh_str_printf(&s, "layer %d, read at %s: ", (int)x->layer, RH_DIFF_POSITION_NAMES[x->position]);
    if (c->n_sites == 1)
        rh_str_printf(&s, "the only place looked at (held-out AUC %.2f)", x->real.auc);
    else if (c->close == 1)
        rh_str_printf(&s, "no other of the %d places has a held-out AUC within %.2f of its %.2f", (int)c->n_sites, CLOSE_AUC, x->real.auc);
    else if (c->first_layer == c->last_layer)
        rh_str_printf(&s, "its held-out effect (d = %.1f) is the largest of %s whose held-out AUC lies within %.2f of the best",
                      x->real.effect, c->middle ? "the places in the middle half of the model" : "all places", CLOSE_AUC);
    else
        rh_str_printf(&s, "the middle of the layers %d to %d, where the held-out effect (d = %.1f) comes within 10%% of the largest of "
                      "%s (%.1f at layer %d), all with a held-out AUC within %.2f of the best", (int)c->first_layer, (int)c->last_layer,
                      x->real.effect, c->middle ? "the middle half of the model" : "all layers", r->sites[c->strongest].real.effect,
                      (int)r->sites[c->strongest].layer, CLOSE_AUC);
    if (s.failed) {
        rh_str_free(&s);
        return rh_fail_nomem(err);
    }
    r->choice.reason = s.data;
    return RH_OK;
}

rh_status rh_diff_choose(rh_diff_report *r, const rh_diff_fold *folds, const double *null_auc, rh_error *err)
{
    chooser c = {.r = r, .n_sites = r->n_layers * r->n_positions};
    double *highest = rh_calloc((size_t)r->n_permutations, sizeof *highest);
    c.x = rh_calloc((size_t)c.n_sites, sizeof *c.x);
    c.candidate = rh_calloc((size_t)c.n_sites, sizeof *c.candidate);
    rh_status status = c.x && c.candidate && highest ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    adjust_p(r, null_auc, highest);
    for (int32_t s = 0; s < c.n_sites; s++) c.x[s] = (figures){r->sites[s].real.auc, r->sites[s].real.effect};
    r->choice.site = choose(&c);
    r->choice.p = r->choice.site >= 0 ? r->sites[r->choice.site].p_max : NAN;
    if (r->choice.site >= 0) status = give_reason(r, &c, err);
    if (!status) status = nested(r, folds, &c, err);
done:
    free(c.x);
    free(c.candidate);
    free(highest);
    return status;
}

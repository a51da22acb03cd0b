/* diff_choose.c - which site to recommend, how sure that is, and what it is worth on texts that had no
 * part in choosing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "probes/diff_parts.h"

/* AUCs closer than this to the best are as good: then the larger effect decides. AUC alone cannot, for
 * it is 1 at most layers of an easy concept. */
#define CLOSE_AUC 0.01

typedef struct figures { double auc, effect; } figures;

/* -1: no site has an AUC. *tied: how many were as good. */
static int32_t choose(const figures *x, int32_t n, int32_t *tied)
{
    int32_t best = -1;
    double top = -1;
    *tied = 0;
    for (int32_t i = 0; i < n; i++)
        if (x[i].auc > top) top = x[i].auc;
    for (int32_t i = 0; i < n; i++) {
        if (!(x[i].auc >= top - CLOSE_AUC)) continue;
        ++*tied;
        if (best < 0 || (isfinite(x[i].effect) && !(x[best].effect >= x[i].effect))) best = i;
    }
    return best;
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

static rh_status nested(rh_diff_report *r, const rh_diff_fold *folds, figures *x, rh_error *err)
{
    int32_t n_sites = r->n_layers * r->n_positions, k = r->n_folds, tied, used = 0;
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
        for (int32_t s = 0; s < n_sites; s++) {
            const rh_diff_fold *one = &folds[(size_t)s * (size_t)k + (size_t)f];
            x[s] = (figures){one->inner_auc, one->inner_effect};
        }
        int32_t s = choose(x, n_sites, &tied);
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

static rh_status give_reason(rh_diff_report *r, int32_t tied, rh_error *err)
{
    rh_str s = {0};
    const rh_diff_site *x = &r->sites[r->choice.site];
    int32_t n = r->n_layers * r->n_positions;
    rh_str_printf(&s, "layer %d, read at %s: ", (int)x->layer, RH_DIFF_POSITION_NAMES[x->position]);
    if (n == 1)
        rh_str_printf(&s, "the only place looked at (held-out AUC %.3f)", x->real.auc);
    else if (tied == 1)
        rh_str_printf(&s, "no other of the %d places has a held-out AUC within %.2f of its %.3f", (int)n, CLOSE_AUC, x->real.auc);
    else
        rh_str_printf(&s, "its held-out effect (d = %.2f) is the largest among the %d of %d places whose held-out AUC lies "
                      "within %.2f of the best", x->real.effect, (int)tied, (int)n, CLOSE_AUC);
    if (s.failed) {
        rh_str_free(&s);
        return rh_fail_nomem(err);
    }
    r->choice.reason = s.data;
    return RH_OK;
}

rh_status rh_diff_choose(rh_diff_report *r, const rh_diff_fold *folds, const double *null_auc, rh_error *err)
{
    int32_t n_sites = r->n_layers * r->n_positions, tied = 0;
    figures *x = rh_calloc((size_t)n_sites, sizeof *x);
    double *highest = rh_calloc((size_t)r->n_permutations, sizeof *highest);
    rh_status status = x && highest ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    adjust_p(r, null_auc, highest);
    for (int32_t s = 0; s < n_sites; s++) x[s] = (figures){r->sites[s].real.auc, r->sites[s].real.effect};
    r->choice.site = choose(x, n_sites, &tied);
    status = nested(r, folds, x, err);
    if (status) goto done;
    r->choice.p = r->choice.site >= 0 ? r->sites[r->choice.site].p_max : NAN;
    if (r->choice.site >= 0) status = give_reason(r, tied, err);
done:
    free(x);
    free(highest);
    return status;
}

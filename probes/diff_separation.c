/* diff_separation.c - how well a direction tells texts apart that it was not made of.
 *
 * For every labelling v (0 the real one, else a permutation) and fold f:
 *     u = unit(mean of the positives outside f - mean of the negatives outside f)
 *     a text h of f scores h·u - u·(sum of the two means)/2
 * AUC and d compare scores within a fold alone. The direction of "outside f" comes from sums by fold,
 * so a site is read twice a batch of labellings: once for sums, once for scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/mem.h"
#include "probes/diff_parts.h"

enum { SUM_BYTES = 32 << 20, SCORE_BYTES = 8 << 20, FEWEST = 8 };

typedef struct bench {
    rh_diff_block *block;
    const rh_diff_design *g;
    int32_t d, k, site, most, largest; /* folds; labellings a batch; texts of the largest fold */
    int32_t v0, nv;           /* the batch: labellings [v0, v0 + nv) */
    double *total;            /* [k, d] sums of the folds */
    double *positive;         /* [k, most, d] */
    double *weight, *product; /* [rows, columns] */
    double *direction;        /* [columns, d], columns = most + k */
    double *centre;           /* [columns] */
    float *score;             /* [columns, largest] */
    uint8_t *cls;             /* [largest] */
    uint64_t *scratch;        /* [2 largest] */
    double *wins, *pairs;     /* [n_labellings] */
    rh_class_moments *moments;/* [most, k] */
    rh_class_moments *inner;  /* [k outer, k] */
    double *inner_wins, *inner_pairs; /* [k outer] */
    rh_comoments length[2];
} bench;

static void bench_free(bench *s)
{
    free(s->total);
    free(s->positive);
    free(s->weight);
    free(s->product);
    free(s->direction);
    free(s->centre);
    free(s->score);
    free(s->cls);
    free(s->scratch);
    free(s->wins);
    free(s->pairs);
    free(s->moments);
    free(s->inner);
    free(s->inner_wins);
    free(s->inner_pairs);
}

static rh_status bench_new(bench *s, rh_diff_block *b, int32_t site, rh_error *err)
{
    const rh_diff_design *g = b->design;
    *s = (bench){.block = b, .g = g, .d = b->store->d, .k = g->n_folds, .site = site};
    for (int32_t f = 0; f < s->k; f++)
        if (g->fold_start[f + 1] - g->fold_start[f] > s->largest) s->largest = g->fold_start[f + 1] - g->fold_start[f];
    int64_t sums = SUM_BYTES / ((int64_t)s->k * s->d * (int64_t)sizeof(double));
    int64_t scores = SCORE_BYTES / ((int64_t)s->largest * (int64_t)sizeof(float));
    int64_t most = sums < scores ? sums : scores;
    if (most < FEWEST) most = FEWEST;
    s->most = most < g->n_labellings ? (int32_t)most : g->n_labellings;
    size_t columns = (size_t)s->most + (size_t)s->k, k = (size_t)s->k, d = (size_t)s->d;
    s->total = rh_calloc(k * d, sizeof *s->total);
    s->positive = rh_calloc(k * (size_t)s->most, d * sizeof *s->positive);
    s->weight = rh_calloc((size_t)b->rows * columns, sizeof *s->weight);
    s->product = rh_calloc((size_t)b->rows * columns, sizeof *s->product);
    s->direction = rh_calloc(columns * d, sizeof *s->direction);
    s->centre = rh_calloc(columns, sizeof *s->centre);
    s->score = rh_calloc(columns * (size_t)s->largest, sizeof *s->score);
    s->cls = rh_calloc((size_t)s->largest, 1);
    s->scratch = rh_calloc(2 * (size_t)s->largest, sizeof *s->scratch);
    s->wins = rh_calloc((size_t)g->n_labellings, sizeof *s->wins);
    s->pairs = rh_calloc((size_t)g->n_labellings, sizeof *s->pairs);
    s->moments = rh_calloc((size_t)s->most * k, sizeof *s->moments);
    s->inner = rh_calloc(k * k, sizeof *s->inner);
    s->inner_wins = rh_calloc(k, sizeof *s->inner_wins);
    s->inner_pairs = rh_calloc(k, sizeof *s->inner_pairs);
    if (s->total && s->positive && s->weight && s->product && s->direction && s->centre && s->score && s->cls &&
        s->scratch && s->wins && s->pairs && s->moments && s->inner && s->inner_wins && s->inner_pairs)
        return RH_OK;
    bench_free(s);
    return rh_fail_nomem(err);
}

/* ---- sums ------------------------------------------------------------------------------------------ */

static double *positive_sum(const bench *s, int32_t fold, int32_t v)
{
    return s->positive + ((size_t)fold * (size_t)s->nv + (size_t)(v - s->v0)) * (size_t)s->d;
}

static rh_status add_sums(bench *s, rh_error *err)
{
    rh_diff_block *b = s->block;
    bool more = true;
    memset(s->positive, 0, (size_t)s->k * (size_t)s->nv * (size_t)s->d * sizeof *s->positive);
    for (rh_diff_block_rewind(b, s->site, -1);;) {
        RH_TRY(rh_diff_block_next(&more, b, false, err));
        if (!more) return RH_OK;
        for (int32_t i = 0; i < b->count; i++) {
            double weight = rh_diff_weight(s->g, b->by_token, b->first + i);
            for (int32_t c = 0; c < s->nv; c++)
                s->weight[(size_t)i * (size_t)s->nv + (size_t)c] = rh_diff_label(s->g, s->v0 + c, b->first + i) == 0 ? weight : 0;
        }
        rh_weighted_sums(positive_sum(s, b->fold, s->v0), s->weight, b->x, b->count, s->nv, s->d);
        if (s->v0) continue;
        for (int32_t i = 0; i < b->count; i++) s->weight[i] = rh_diff_weight(s->g, b->by_token, b->first + i);
        rh_weighted_sums(s->total + (size_t)b->fold * (size_t)s->d, s->weight, b->x, b->count, 1, s->d);
    }
}

/* ---- directions ------------------------------------------------------------------------------------ */

/* Column c: of labelling v, from all folds but two (which may be the same). Zero if a class is empty. */
static void make_direction(bench *s, int32_t c, int32_t v, int32_t without, int32_t and_without)
{
    double *u = s->direction + (size_t)c * (size_t)s->d, n[2] = {0, 0}, square = 0, centre = 0;
    memset(u, 0, (size_t)s->d * sizeof *u);
    s->centre[c] = 0;
    for (int32_t f = 0; f < s->k; f++) {
        if (f == without || f == and_without) continue;
        const double *count = rh_diff_count(s->g, s->block->by_token, v, f);
        n[0] += count[0];
        n[1] += count[1];
    }
    if (n[0] == 0 || n[1] == 0) return;
    /* With p the positives' sum and t all: p/n0 - (t-p)/n1, and the two means' sum p/n0 + (t-p)/n1. */
    double *both = s->direction + ((size_t)s->most + (size_t)s->k - 1) * (size_t)s->d; /* scratch: the last column */
    memset(both, 0, (size_t)s->d * sizeof *both);
    for (int32_t f = 0; f < s->k; f++) {
        if (f == without || f == and_without) continue;
        const double *p = positive_sum(s, f, v), *t = s->total + (size_t)f * (size_t)s->d;
        for (int32_t j = 0; j < s->d; j++) {
            u[j] += p[j] / n[0] - (t[j] - p[j]) / n[1];
            both[j] += p[j] / n[0] + (t[j] - p[j]) / n[1];
        }
    }
    for (int32_t j = 0; j < s->d; j++) {
        square += u[j] * u[j];
        centre += u[j] * both[j] / 2;
    }
    if (!(square > 0)) return;
    double length = sqrt(square);
    for (int32_t j = 0; j < s->d; j++) u[j] /= length;
    s->centre[c] = centre / length;
}

/* Columns for the texts of fold f: the batch's labellings, then (first batch) the real one without
 * f and without each other fold g. Returns how many. */
static int32_t make_directions(bench *s, int32_t f)
{
    int32_t c = 0;
    for (; c < s->nv; c++) make_direction(s, c, s->v0 + c, f, f);
    if (s->v0 || s->k < 3) return c;
    for (int32_t g = 0; g < s->k; g++)
        if (g != f) make_direction(s, c++, 0, f, g);
    return c;
}

/* ---- scores ---------------------------------------------------------------------------------------- */

static rh_status score_fold(bench *s, int32_t f, int32_t columns, rh_error *err)
{
    rh_diff_block *b = s->block;
    bool more = true;
    for (rh_diff_block_rewind(b, s->site, f);;) {
        RH_TRY(rh_diff_block_next(&more, b, true, err));
        if (!more) return RH_OK;
        int32_t at = b->first - s->g->fold_start[f];
        rh_scores(s->product, b->x, s->direction, b->count, columns, s->d);
        for (int32_t c = 0; c < columns; c++)
            for (int32_t i = 0; i < b->count; i++)
                s->score[(size_t)c * (size_t)s->largest + (size_t)(at + i)] =
                    (float)(s->product[(size_t)i * (size_t)columns + (size_t)c] - s->centre[c]);
    }
}

static void judge(bench *s, int32_t column, int32_t n, double *wins, double *pairs, rh_class_moments *moments)
{
    const float *score = s->score + (size_t)column * (size_t)s->largest;
    rh_auc_add(wins, pairs, score, s->cls, n, s->scratch);
    for (int32_t i = 0; i < n; i++) rh_class_moments_add(moments, (double)score[i], s->cls[i]);
}

static void set_labels(bench *s, int32_t v, int32_t f, int32_t n)
{
    for (int32_t i = 0; i < n; i++) s->cls[i] = (uint8_t)rh_diff_label(s->g, v, s->g->fold_start[f] + i);
}

static void judge_fold(bench *s, rh_diff_fold *folds, int32_t f, int32_t columns)
{
    int32_t n = s->g->fold_start[f + 1] - s->g->fold_start[f], c = 0;
    for (; c < s->nv; c++) {
        int32_t v = s->v0 + c;
        double wins = 0, pairs = 0;
        rh_class_moments *m = &s->moments[(size_t)c * (size_t)s->k + (size_t)f];
        set_labels(s, v, f, n);
        judge(s, c, n, &wins, &pairs, m);
        s->wins[v] += wins;
        s->pairs[v] += pairs;
        if (v) continue;
        folds[f].wins = wins;
        folds[f].pairs = pairs;
        folds[f].moments = *m;
        for (int32_t i = 0; i < n; i++)
            rh_comoments_add(&s->length[s->cls[i]], (double)s->score[i], s->g->tokens[s->g->fold_start[f] + i]);
    }
    set_labels(s, 0, f, n);
    for (int32_t g = 0; c < columns; g++)
        if (g != f) {
            judge(s, c, n, &s->inner_wins[g], &s->inner_pairs[g], &s->inner[(size_t)g * (size_t)s->k + (size_t)f]);
            c++;
        }
}

static rh_status run_batch(bench *s, rh_diff_fold *folds, rh_error *err)
{
    memset(s->moments, 0, (size_t)s->most * (size_t)s->k * sizeof *s->moments);
    RH_TRY(add_sums(s, err));
    for (int32_t f = 0; f < s->k; f++) {
        int32_t columns = make_directions(s, f);
        RH_TRY(score_fold(s, f, columns, err));
        judge_fold(s, folds, f, columns);
    }
    return RH_OK;
}

/* ---- the site --------------------------------------------------------------------------------------- */

static double ratio(double wins, double pairs) { return pairs > 0 ? wins / pairs : NAN; }

static void finish(rh_diff_site *out, rh_diff_fold *folds, double *null_auc, const bench *s, double null_effect)
{
    int32_t n = s->g->n_labellings - 1;
    double sum = 0;
    out->real.auc = ratio(s->wins[0], s->pairs[0]);
    for (int32_t v = 0; v < n; v++) {
        double auc = ratio(s->wins[v + 1], s->pairs[v + 1]);
        null_auc[v] = isnan(auc) ? 0.5 : auc; /* no fold kept both classes: nothing is told apart */
        sum += null_auc[v];
    }
    out->control.auc = n ? sum / n : NAN;
    out->control.effect = n ? null_effect / n : NAN;
    out->p = n ? rh_p_value(out->real.auc, null_auc, n) : NAN;
    for (int32_t f = 0; f < s->k; f++) {
        folds[f].inner_auc = ratio(s->inner_wins[f], s->inner_pairs[f]);
        folds[f].inner_effect = rh_cohen_d(s->inner + (size_t)f * (size_t)s->k, s->k, &folds[f].inner_sd);
    }
    rh_comoments all = {0}, within = {0};
    for (int cls = 0; cls < 2; cls++) {
        rh_comoments_merge(&all, &s->length[cls], false);
        rh_comoments_merge(&within, &s->length[cls], true);
    }
    out->length = rh_correlation(&all);
    out->length_within = rh_correlation(&within);
}

rh_status rh_diff_separation(rh_diff_site *out, rh_diff_fold *folds, double *null_auc, rh_diff_block *b, int32_t site,
                             rh_error *err)
{
    bench s;
    double null_effect = 0;
    RH_TRY(bench_new(&s, b, site, err));
    rh_status status = RH_OK;
    int32_t n = s.g->n_labellings;
    for (s.v0 = 0; s.v0 < n && !status; s.v0 += s.nv) {
        s.nv = n - s.v0 < s.most ? n - s.v0 : s.most;
        status = run_batch(&s, folds, err);
        for (int32_t c = 0; c < s.nv && !status; c++) {
            double effect = rh_cohen_d(s.moments + (size_t)c * (size_t)s.k, s.k, NULL);
            if (s.v0 + c == 0) out->real.effect = effect;
            else if (isfinite(effect)) null_effect += effect;
        }
    }
    if (!status) finish(out, folds, null_auc, &s, null_effect);
    bench_free(&s);
    return status;
}

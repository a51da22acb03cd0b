/* diff_doubts.c - what a reader of the figures should be told in words. The thresholds are rules of
 * thumb, and each warning says the number it rests on. */
#include <math.h>

#include "probes/diff_parts.h"

enum { FEW_GROUPS = 16, FEW_TEXTS = 64 };
#define CHANCE_P 0.05
#define LENGTH_R 0.7
#define LENGTH_AUC 0.2   /* away from 0.5 */
#define OUTLIER_SHARE 0.25
#define UNSTEADY 0.8

static void doubt_amount(rh_str *s, const rh_diff_report *r)
{
    if (r->n_groups < FEW_GROUPS)
        rh_str_printf(s, "too few pairs: the texts form only %d independent group%s, so every figure may be far off; %d or more "
                      "are wanted\n", (int)r->n_groups, r->n_groups == 1 ? "" : "s", FEW_GROUPS);
    else if (r->n_texts < FEW_TEXTS)
        rh_str_printf(s, "too few pairs: %lld texts; the figures are steadier from %d on\n", (long long)r->n_texts, FEW_TEXTS);
    if (r->n_permutations > 0 && r->n_groups < 6)
        rh_str_printf(s, "with %d groups hardly any permutations differ: p cannot become small\n", (int)r->n_groups);
    if (r->n_folds < 3)
        rh_str_puts(s, "fewer than three folds: there are no figures from folds that did not choose the layer\n");
}

static void doubt_signal(rh_str *s, const rh_diff_report *r, const rh_diff_site *x)
{
    if (isfinite(x->p_max) && x->p_max > CHANCE_P)
        rh_str_printf(s, "AUC at chance: permuted labels reach an AUC of %.2f somewhere in %.0f%% of the trials; there may be no such "
                      "direction\n", x->real.auc, 100 * x->p_max);
    else if (r->choice.auc < 0.6)
        rh_str_printf(s, "AUC at chance: %.2f on texts that had no part in choosing the layer\n", r->choice.auc);
    if (x->real.split_half < UNSTEADY)
        rh_str_printf(s, "unsteady: directions of two halves of the texts have a cosine of only %.2f; more pairs would change the "
                      "direction\n", x->real.split_half);
}

static void doubt_length(rh_str *s, const rh_diff_report *r, const rh_diff_site *x)
{
    bool apart = fabs(r->tokens_auc - 0.5) > LENGTH_AUC;
    if (apart)
        rh_str_printf(s, "the classes differ in token count (%.1f positive, %.1f negative; the count alone gives an AUC of %.2f%s): "
                      "part of the direction may be length\n", r->tokens_mean[0], r->tokens_mean[1],
                      r->tokens_auc < 0.5 ? 1 - r->tokens_auc : r->tokens_auc, r->paired ? " within pairs" : "");
    if (fabs(x->length) > LENGTH_R || fabs(x->length_within) > LENGTH_R)
        rh_str_printf(s, "mostly sentence length: scores along the direction follow the token count (correlation %.2f; %.2f within the "
                      "classes)\n", x->length, isfinite(x->length_within) ? x->length_within : 0.0);
}

void rh_diff_doubts(rh_str *s, const rh_diff_report *r)
{
    doubt_amount(s, r);
    if (r->choice.site < 0) return;
    const rh_diff_site *x = &r->sites[r->choice.site];
    doubt_signal(s, r, x);
    doubt_length(s, r, x);
    if (x->outlier > OUTLIER_SHARE)
        rh_str_printf(s, "one outlier coordinate: %.0f%% of the direction's square is coordinate %d\n", 100 * x->outlier,
                      (int)x->coordinate);
}

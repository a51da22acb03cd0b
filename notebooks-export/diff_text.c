/* diff_text.c - a direction and how far to trust it, for a terminal. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "notebooks-export/blocks.h"

static const char *two(char out[RH_NUMBER], const rh_pen *p, double x)
{
    if (!isfinite(x)) return rh_number(out, p, x);
    snprintf(out, RH_NUMBER, "%.2f", x);
    return out;
}

static const char *three(char out[RH_NUMBER], const rh_pen *p, double x)
{
    if (!isfinite(x)) return rh_number(out, p, x);
    snprintf(out, RH_NUMBER, "%.3f", x);
    return out;
}

static const char *small(char out[RH_NUMBER], const rh_pen *p, double x)
{
    if (!isfinite(x)) return rh_number(out, p, x);
    snprintf(out, RH_NUMBER, x < 0.0095 ? "%.3f" : "%.2f", x);
    return out;
}

static void put_title(const rh_pen *p, const rh_diff_report *r)
{
    rh_str s = {0};
    char *path = rh_clean_line(p, r->path), *model = rh_clean_line(p, r->model);
    int64_t rows = r->paired ? r->n_texts / 2 : r->n_texts;
    rh_str_printf(&s, "%s on %s: %lld %s", path, model, (long long)rows, r->paired ? "pairs" : "texts");
    if (r->sampled) rh_str_printf(&s, " sampled from %lld", (long long)r->n_rows);
    rh_str_printf(&s, ", %d independent groups, %d folds", (int)r->n_groups, (int)r->n_folds);
    if (s.data) rh_paragraph(p, RH_BOLD, 0, 0, s.data);
    rh_drop(p, &s);
    rh_line_free(path);
    rh_line_free(model);
}

static void put_sentence(const rh_pen *p, rh_str *s)
{
    rh_spaces(p, 2);
    if (s->data) rh_paragraph(p, RH_PLAIN, 2, 2, s->data);
    rh_drop(p, s);
}

static void put_choice(const rh_pen *p, const rh_diff_report *r)
{
    const rh_diff_choice *c = &r->choice;
    char a[RH_NUMBER], b[RH_NUMBER], d[RH_NUMBER];
    rh_str s = {0};
    if (c->site < 0) {
        rh_heading(p, "no layer can be recommended");
        return;
    }
    bool shown = !(c->p > 0.05) && !(c->auc < 0.6);
    rh_heading(p, shown ? "recommended" : "no layer stands out; the best found");
    rh_str_puts(&s, c->reason);
    put_sentence(p, &s);
    if (isfinite(c->auc)) {
        rh_str_printf(&s, "on texts that had no part in choosing it: AUC %s, d = %s; %d of %d folds choose it too",
                      two(a, p, c->auc), two(b, p, c->effect), (int)c->agree, (int)c->folds);
        if (c->agree < c->folds && c->last_layer >= c->first_layer)
            rh_str_printf(&s, ", all of them one from %d to %d", (int)c->first_layer, (int)c->last_layer);
        put_sentence(p, &s);
    }
    if (isfinite(c->p)) {
        rh_str_printf(&s, "permuted labels do as well at the best of all places with p = %s (%d permutations)", small(d, p, c->p),
                      (int)r->n_permutations);
        put_sentence(p, &s);
    }
}

static double largest_effect(const rh_diff_report *r)
{
    double most = 0.1;
    for (int32_t s = 0; s < r->n_layers * r->n_positions; s++)
        if (isfinite(r->sites[s].real.effect) && r->sites[s].real.effect > most) most = r->sites[s].real.effect;
    return most;
}

static void put_row(const rh_pen *p, const rh_diff_site *x, bool chosen, double most)
{
    char n[RH_NUMBER], between[2 * RH_NUMBER + 4], low[RH_NUMBER];
    rh_style style = chosen ? RH_BOLD : RH_PLAIN;
    rh_str bar = {0};
    int room = p->width - 70;
    rh_put(p, style, 2, chosen ? (p->unicode ? "▸" : ">") : "");
    snprintf(n, sizeof n, "%d", (int)x->layer);
    rh_put(p, style, -4, n);
    rh_put(p, style, -8, rh_number(n, p, x->real.norm));
    rh_put(p, style, -7, rh_percent(n, p, x->ratio));
    rh_put(p, style, -6, two(n, p, x->real.auc));
    rh_put(p, RH_DIM, -7, two(n, p, x->auc_control_95));
    rh_put(p, style, -7, two(n, p, x->real.effect));
    snprintf(between, sizeof between, "%s..%s", three(low, p, x->real.low), three(n, p, x->real.high));
    rh_put(p, style, -14, between);
    rh_put(p, style, -7, two(n, p, x->real.split_half));
    rh_put(p, style, -7, small(n, p, x->p_max));
    if (room >= 4) rh_bar(&bar, p, x->real.effect > 0 ? x->real.effect : 0, 0, most, room > 24 ? 24 : room);
    rh_spaces(p, 1);
    if (bar.data) rh_put(p, style, 0, bar.data);
    rh_drop(p, &bar);
    rh_end_line(p);
}

static void put_position(const rh_pen *p, const rh_diff_report *r, int32_t position)
{
    static const char *const names[RH_DIFF_POSITIONS] = {"read at the last token", "read as the mean over the text",
                                                         "read as the mean over the marked tokens"};
    rh_heading(p, names[position]);
    rh_put(p, RH_DIM, -6, "layer");
    rh_put(p, RH_DIM, -8, "norm");
    rh_put(p, RH_DIM, -7, "of h");
    rh_put(p, RH_DIM, -6, "AUC");
    rh_put(p, RH_DIM, -7, "chance");
    rh_put(p, RH_DIM, -7, "d");
    rh_put(p, RH_DIM, -14, "bootstrap");
    rh_put(p, RH_DIM, -7, "halves");
    rh_put(p, RH_DIM, -7, "p");
    if (p->width >= 74) rh_put(p, RH_DIM, 0, "  d");
    rh_end_line(p);
    for (int32_t l = 0; l < r->n_layers && !p->out->failed; l++) {
        int32_t s = position * r->n_layers + l;
        put_row(p, &r->sites[s], s == r->choice.site, largest_effect(r));
    }
}

static void put_key(const rh_pen *p, const rh_diff_report *r)
{
    rh_str s = {0};
    char n[RH_NUMBER];
    rh_str_puts(p->out, "\n");
    rh_str_puts(&s, "norm: length of the difference of the means, and as a share of the median length of h there; AUC and d: how well "
                    "it tells held-out texts apart (0.5 and 0: not at all)");
    if (r->n_permutations) rh_str_puts(&s, "; chance: the AUC that 95% of permuted labelings stay below; p: share of permutations whose best "
                                           "place reaches this AUC");
    rh_str_puts(&s, "; bootstrap: 95% of the cosines of resampled directions to this one; halves: cosine of the directions of "
                    "two halves of the texts");
    if (s.data) rh_paragraph(p, RH_DIM, 0, 0, s.data);
    rh_drop(p, &s);
    const rh_diff_site *x = r->choice.site >= 0 ? &r->sites[r->choice.site] : NULL;
    if (x && r->n_permutations) {
        rh_str_printf(&s, "with permuted labels at the recommended place: norm %s", rh_number(n, p, x->control.norm));
        rh_str_printf(&s, ", AUC %s", two(n, p, x->control.auc));
        rh_str_printf(&s, ", d = %s", two(n, p, x->control.effect));
        if (isfinite(x->control.low)) rh_str_printf(&s, ", bootstrap %s", two(n, p, x->control.low));
        if (isfinite(x->control.high)) rh_str_printf(&s, "..%s", two(n, p, x->control.high));
        rh_str_printf(&s, ", halves %s", two(n, p, x->control.split_half));
        if (s.data) rh_paragraph(p, RH_DIM, 0, 0, s.data);
        rh_drop(p, &s);
    }
}

rh_status rh_export_diff_text(rh_str *out, const rh_diff_report *r, const rh_terminal *t, rh_error *err)
{
    rh_pen pen = rh_pen_make(out, t);
    put_title(&pen, r);
    put_choice(&pen, r);
    for (int32_t k = 0; k < r->n_positions; k++) put_position(&pen, r, k);
    put_key(&pen, r);
    rh_put_notes(&pen, r->notes);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

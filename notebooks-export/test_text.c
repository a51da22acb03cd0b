/* test_text.c - a feature's page, its tokens on texts, and the table of all features, for a terminal. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"
#include "notebooks-export/test_export.h"

static void density_text(char out[RH_NUMBER], double share)
{
    snprintf(out, RH_NUMBER, share >= 0.0995 ? "%.0f%%" : share >= 0.00995 ? "%.1f%%" : share >= 0.0000995 ? "%.2f%%" : "%.4f%%", 100 * share);
}

static void put_label(const rh_pen *p, const char *label, rh_label_source source, rh_str *out)
{
    char *clean = rh_clean_line(p, label ? label : "");
    if (label) rh_str_printf(out, "%s%s", clean, source == RH_LABEL_AUTO ? " (auto)" : "");
    rh_line_free(clean);
}

/* ---- texts --------------------------------------------------------------------------------------- */

static void put_texts(const rh_pen *p, const rh_test_report *r)
{
    const int32_t n = r->n_texts ? r->n_tracks / r->n_texts : 0;
    for (int32_t k = 0; k < n && !p->out->failed; k++) {
        const rh_watch_track *first = &r->tracks[k];
        char *label = rh_clean_line(p, first->label);
        rh_str head = {0};
        rh_str_printf(&head, "%s, read at %d.%s", label, (int)first->layer, rh_hook_name(first->hook));
        if (k) rh_str_puts(p->out, "\n");
        if (head.data) rh_paragraph(p, RH_BOLD, 0, 0, head.data);
        rh_put_scale(p, first, false);
        for (int32_t i = 0; i < r->n_texts; i++) rh_put_track(p, &r->tracks[(size_t)i * (size_t)n + (size_t)k], 0, 2, RH_CLEAN_TEXT);
        rh_drop(p, &head);
        rh_line_free(label);
    }
}

/* ---- pages --------------------------------------------------------------------------------------- */

static void put_bins(const rh_pen *p, const rh_feature_page *page)
{
    double most = 0;
    int room = p->width - 40 < 40 ? p->width - 40 : 40;
    for (int32_t i = 0; i < page->n_bins; i++) most = fmax(most, (double)page->bins[i].n);
    rh_heading(p, "how strong, where it is active");
    for (int32_t i = 0; i < page->n_bins; i++) {
        char lo[RH_NUMBER], hi[RH_NUMBER], count[RH_NUMBER], range[2 * RH_NUMBER + 4];
        snprintf(range, sizeof range, "%s to %s", rh_number(lo, p, page->bins[i].lo), rh_number(hi, p, page->bins[i].hi));
        rh_put(p, RH_DIM, -18, range);
        snprintf(count, sizeof count, "%lld", (long long)page->bins[i].n);
        rh_put(p, RH_PLAIN, -10, count);
        rh_spaces(p, 1);
        if (page->bins[i].n) rh_bar(p->out, p, (double)page->bins[i].n, 0, most, room > 4 ? room : 4);
        rh_end_line(p);
    }
}

static void put_contexts(const rh_pen *p, const char *title, const rh_page_context *c, int32_t n)
{
    rh_heading(p, title);
    for (int32_t i = 0; i < n && !p->out->failed; i++) {
        char number[RH_NUMBER];
        int used = 8;
        rh_put(p, RH_BOLD, -8, rh_number(number, p, c[i].value));
        if (!isnan(c[i].quantile)) {
            rh_put(p, RH_DIM, -5, rh_percent(number, p, c[i].quantile));
            used += 5;
        }
        rh_put_track(p, &c[i].track, used, used + 2, RH_CLEAN_LINE);
    }
}

static void put_page(const rh_pen *p, const rh_test_report *r, const rh_feature_page *page)
{
    rh_str head = {0}, line = {0};
    char share[RH_NUMBER], max[RH_NUMBER], mean[RH_NUMBER];
    rh_str_printf(&head, "feature %d%s", (int)page->feature, page->label ? ": " : "");
    put_label(p, page->label, page->source, &head);
    if (head.data) rh_paragraph(p, RH_BOLD, 0, 0, head.data);
    density_text(share, page->density);
    if (page->active)
        rh_str_printf(&line, "active at %lld of %lld tokens (%s); largest %s, mean where active %s", (long long)page->active, (long long)r->tokens, share,
                      rh_number(max, p, page->max), rh_number(mean, p, page->mean));
    else
        rh_str_printf(&line, "active nowhere in %lld tokens", (long long)r->tokens);
    if (line.data) rh_paragraph(p, RH_PLAIN, 0, 0, line.data);
    if (page->has_logits) {
        rh_str_puts(p->out, "raises");
        rh_put_tokens(p, page->logits.up, page->logits.n_up, true, 6, 8);
        rh_str_puts(p->out, "lowers");
        rh_put_tokens(p, page->logits.down, page->logits.n_down, true, 6, 8);
    }
    if (page->active) {
        put_bins(p, page);
        put_contexts(p, "where it is strongest", page->top, page->n_top);
        put_contexts(p, "an even sample of where it is active (with the share of places that are weaker)", page->samples, page->n_samples);
    }
    rh_drop(p, &head);
    rh_drop(p, &line);
}

/* ---- the table ----------------------------------------------------------------------------------- */

static void put_line(const rh_pen *p, const rh_feature_line *x)
{
    char number[RH_NUMBER];
    rh_str words = {0}, fitted = {0};
    snprintf(number, sizeof number, "%d", (int)x->feature);
    rh_put(p, RH_BOLD, -8, number);
    density_text(number, x->density);
    rh_put(p, RH_PLAIN, -10, number);
    rh_put(p, RH_PLAIN, -10, rh_number(number, p, x->max));
    rh_spaces(p, 2);
    if (x->label && x->source != RH_LABEL_AUTO) put_label(p, x->label, x->source, &words);
    if (words.len) rh_str_puts(&words, "  ");
    char *clean = rh_clean_line(p, x->words ? x->words : "");
    rh_str_puts(&words, clean);
    if (words.data) rh_fit(&fitted, p, words.data, p->width > 50 ? p->width - 30 : 20);
    if (fitted.data) rh_str_puts(p->out, fitted.data);
    rh_line_free(clean);
    rh_drop(p, &words);
    rh_drop(p, &fitted);
    rh_end_line(p);
}

static void put_table(const rh_pen *p, const rh_test_report *r, int32_t top)
{
    rh_put(p, RH_DIM, 0, " feature   density   largest  label, and the tokens where it is strongest\n");
    for (int32_t i = 0; i < r->n_lines && i < top && !p->out->failed; i++) put_line(p, &r->lines[i]);
    if (r->n_lines > top) {
        char line[100];
        snprintf(line, sizeof line, "%d more, less frequent: --top shows more, --json all of them", (int)(r->n_lines - top));
        rh_paragraph(p, RH_DIM, 0, 0, line);
    }
}

rh_status rh_export_test_text(rh_str *out, const rh_test_report *r, int32_t top, const rh_terminal *t, rh_error *err)
{
    rh_pen pen = rh_pen_make(out, t);
    put_texts(&pen, r);
    if (r->tokens) {
        rh_str line = {0};
        char *sae = rh_clean_line(&pen, r->sae), *model = rh_clean_line(&pen, r->model);
        rh_str_printf(&line, "%s at %d.%s of %s: %d features, %d of them active nowhere in %lld tokens of %lld documents, read in windows of %d", sae,
                      (int)r->seat.layer, rh_hook_name(r->seat.in), model, (int)r->n_features, (int)r->dead, (long long)r->tokens, (long long)r->documents,
                      (int)r->context);
        if (r->n_tracks) rh_str_puts(out, "\n");
        if (line.data) rh_paragraph(&pen, RH_DIM, 0, 0, line.data);
        rh_drop(&pen, &line);
        rh_line_free(sae);
        rh_line_free(model);
    }
    for (int32_t i = 0; i < r->n_pages && !out->failed; i++) {
        rh_str_puts(out, "\n");
        put_page(&pen, r, &r->pages[i]);
    }
    if (r->lines) {
        rh_str_puts(out, "\n");
        put_table(&pen, r, top);
    }
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

/* test_html.c - the same as a web page: one file, no script, nothing from elsewhere. Every string that a model, a file
 * or a user gave goes through put_text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "notebooks-export/clean.h"
#include "notebooks-export/test_export.h"

static const char STYLE[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.3em}h2{font-size:1.1em;margin-top:2.5em;border-top:1px solid #ccc;padding-top:1em}h3{font-size:1em;margin-bottom:.3em}"
    "p{margin:.3em 0}.dim{color:#666}.c{font-family:ui-monospace,monospace;font-size:13px;margin:.25em 0 .25em 5.5em;text-indent:-5.5em;"
    "overflow-wrap:anywhere}.v{display:inline-block;width:5.5em;text-indent:0;color:#666}.p{font-weight:bold}table{border-collapse:collapse}"
    "td,th{padding:.1em .8em;text-align:right;vertical-align:top}td.l,th.l{text-align:left}.b{display:inline-block;height:.8em;background:#c33}";

/* Spelled so that it is text wherever it stands, also between quotes. */
static void put_text(rh_str *out, const char *s)
{
    rh_str fixed = {0};
    rh_str_puts(&fixed, "");
    rh_repair_utf8(&fixed, s, strlen(s));
    if (fixed.failed) out->failed = true;
    for (const char *c = fixed.data; c && *c; c++) {
        switch (*c) {
        case '&': rh_str_puts(out, "&amp;"); break;
        case '<': rh_str_puts(out, "&lt;"); break;
        case '>': rh_str_puts(out, "&gt;"); break;
        case '"': rh_str_puts(out, "&quot;"); break;
        case '\'': rh_str_puts(out, "&#39;"); break;
        case '\n': rh_str_puts(out, "\xe2\x86\xb5"); break;
        default: rh_str_add(out, (unsigned char)*c < ' ' ? " " : c, 1);
        }
    }
    rh_str_free(&fixed);
}

/* Bytes of a code point that several tokens share would be repaired one by one: a token takes what completes it from those
 * that follow, which are then empty. */
static size_t join(rh_str *out, const rh_watch_track *t, int32_t i)
{
    int32_t k = i;
    const unsigned char *s = (const unsigned char *)t->tokens[i].text;
    size_t n = strlen((const char *)s), tail = 0;
    rh_str_puts(out, t->tokens[i].text);
    while (tail < n && tail < 3 && (s[n - 1 - tail] & 0xc0) == 0x80) tail++;
    const unsigned char lead = tail < n ? s[n - 1 - tail] : 0;
    size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    while (tail < want && k + 1 < t->n && (t->tokens[k + 1].text[0] & 0xc0) == 0x80) {
        k++;
        rh_str_puts(out, t->tokens[k].text);
        tail += strlen(t->tokens[k].text);
    }
    return (size_t)(k - i);
}

static void put_tokens(rh_str *out, const rh_watch_track *t, int32_t peak)
{
    for (int32_t i = 0; i < t->n; i++) {
        const double v = t->tokens[i].value, share = t->hi > 0 && v > 0 ? fmin(v / t->hi, 1) : 0;
        rh_str text = {0};
        const size_t more = join(&text, t, i);
        if (share > 0 || i == peak) rh_str_printf(out, "<span%s title=\"%.4g\" style=\"background:rgba(220,40,40,%.2f)\">", i == peak ? " class=\"p\"" : "", v, share * 0.8);
        if (text.failed) out->failed = true;
        else put_text(out, text.data);
        if (share > 0 || i == peak) rh_str_puts(out, "</span>");
        rh_str_free(&text);
        i += (int32_t)more;
    }
}

static void put_contexts(rh_str *out, const char *title, const rh_page_context *c, int32_t n)
{
    rh_str_printf(out, "<h3>%s</h3>\n", title);
    for (int32_t i = 0; i < n; i++) {
        rh_str_printf(out, "<p class=\"c\"><span class=\"v\">%.4g", c[i].value);
        if (!isnan(c[i].quantile)) rh_str_printf(out, " (%.0f%%)", 100 * c[i].quantile);
        rh_str_puts(out, "</span>");
        put_tokens(out, &c[i].track, c[i].peak);
        rh_str_puts(out, "</p>\n");
    }
}

static void put_logits(rh_str *out, const char *what, const rh_token_change *t, int32_t n)
{
    rh_str_printf(out, "<p>%s", what);
    for (int32_t i = 0; i < n; i++) {
        rh_str_puts(out, " <code>");
        put_text(out, t[i].piece);
        rh_str_printf(out, "</code>&nbsp;<span class=\"dim\">%+.3g</span>", t[i].after);
    }
    rh_str_puts(out, "</p>\n");
}

static void put_label(rh_str *out, const char *label, rh_label_source source)
{
    if (!label) return;
    put_text(out, label);
    if (source == RH_LABEL_AUTO) rh_str_puts(out, " <span class=\"dim\">(auto)</span>");
}

static void put_page(rh_str *out, const rh_test_report *r, const rh_feature_page *p)
{
    double most = 0;
    rh_str_printf(out, "<h2 id=\"f%d\">feature %d%s", (int)p->feature, (int)p->feature, p->label ? ": " : "");
    put_label(out, p->label, p->source);
    rh_str_printf(out, "</h2>\n<p>active at %lld of %lld tokens (%.4g%%); largest %.4g, mean where active %.4g</p>\n", (long long)p->active,
                  (long long)r->tokens, 100 * p->density, p->max, p->mean);
    if (p->has_logits) {
        put_logits(out, "raises", p->logits.up, p->logits.n_up);
        put_logits(out, "lowers", p->logits.down, p->logits.n_down);
    }
    if (!p->active) return;
    rh_str_puts(out, "<h3>how strong, where it is active</h3>\n<table>\n");
    for (int32_t i = 0; i < p->n_bins; i++) most = fmax(most, (double)p->bins[i].n);
    for (int32_t i = 0; i < p->n_bins; i++)
        rh_str_printf(out, "<tr><td>%.3g to %.3g</td><td>%lld</td><td class=\"l\"><span class=\"b\" style=\"width:%.1fem\"></span></td></tr>\n", p->bins[i].lo,
                      p->bins[i].hi, (long long)p->bins[i].n, 20 * (double)p->bins[i].n / most);
    rh_str_puts(out, "</table>\n");
    put_contexts(out, "where it is strongest", p->top, p->n_top);
    put_contexts(out, "an even sample of where it is active (with the share of places that are weaker)", p->samples, p->n_samples);
}

static void put_table(rh_str *out, const rh_test_report *r)
{
    rh_str_puts(out, "<table>\n<tr><th>feature</th><th>density</th><th>largest</th><th class=\"l\">label</th><th class=\"l\">strongest at</th></tr>\n");
    for (int32_t i = 0; i < r->n_lines && !out->failed; i++) {
        const rh_feature_line *x = &r->lines[i];
        rh_str_printf(out, "<tr><td>%d</td><td>%.3g%%</td><td>%.4g</td><td class=\"l\">", (int)x->feature, 100 * x->density, x->max);
        if (x->source != RH_LABEL_AUTO) put_label(out, x->label, x->source);
        rh_str_puts(out, "</td><td class=\"l\">");
        put_text(out, x->words);
        rh_str_puts(out, "</td></tr>\n");
    }
    rh_str_puts(out, "</table>\n");
}

static void put_texts(rh_str *out, const rh_test_report *r)
{
    const int32_t n = r->n_texts ? r->n_tracks / r->n_texts : 0;
    for (int32_t k = 0; k < n && !out->failed; k++) {
        rh_str_puts(out, "<h2>");
        put_text(out, r->tracks[k].label);
        rh_str_puts(out, "</h2>\n");
        for (int32_t i = 0; i < r->n_texts; i++) {
            rh_str_puts(out, "<p class=\"c\"><span class=\"v\"></span>");
            put_tokens(out, &r->tracks[(size_t)i * (size_t)n + (size_t)k], -1);
            rh_str_puts(out, "</p>\n");
        }
    }
}

rh_status rh_export_test_html(rh_str *out, const rh_test_report *r, rh_error *err)
{
    rh_str_printf(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    put_text(out, r->sae);
    rh_str_printf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n<h1>", STYLE);
    put_text(out, r->sae);
    rh_str_printf(out, "</h1>\n<p class=\"dim\">%d features at %d.%s of ", (int)r->n_features, (int)r->seat.layer, rh_hook_name(r->seat.in));
    put_text(out, r->model);
    if (r->tokens)
        rh_str_printf(out, "; %d of them active nowhere in %lld tokens of %lld documents, read in windows of %d", (int)r->dead, (long long)r->tokens,
                      (long long)r->documents, (int)r->context);
    rh_str_puts(out, "</p>\n");
    put_texts(out, r);
    for (int32_t i = 0; i < r->n_pages && !out->failed; i++) put_page(out, r, &r->pages[i]);
    if (r->lines) put_table(out, r);
    rh_str_puts(out, "</body>\n</html>\n");
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

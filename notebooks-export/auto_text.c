/* auto_text.c - a search for a terminal: the frontier, what was picked, and how it did on prompts that had no
 * part in picking it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "notebooks-export/auto_export.h"
#include "notebooks-export/blocks.h"

enum { MOST_ROWS = 14, SAMPLE = 3 };

static void put_columns(const rh_pen *p, const rh_auto_report *r, const char *first, int width)
{
    rh_put(p, RH_BOLD, width, first);
    rh_put(p, RH_BOLD, -9, "presence");
    if (r->target) {
        rh_put(p, RH_BOLD, -8, "hits");
        rh_put(p, RH_BOLD, -8, "gain");
    }
    rh_put(p, RH_BOLD, -8, "broken");
    rh_put(p, RH_BOLD, -10, "surprisal");
    rh_put(p, RH_BOLD, -9, "repeated");
    rh_put(p, RH_BOLD, -7, "KL");
    rh_str_puts(p->out, "\n");
}

static void put_score(const rh_pen *p, const rh_auto_report *r, const rh_auto_score *s)
{
    char number[RH_NUMBER];
    if (isfinite(s->presence))
        snprintf(number, sizeof number, "%+.2f", s->presence);
    else
        snprintf(number, sizeof number, "-");
    rh_put(p, RH_PLAIN, -9, number);
    if (r->target) {
        snprintf(number, sizeof number, "%d/%d", (int)s->hits, (int)s->n);
        rh_put(p, RH_PLAIN, -8, number);
        snprintf(number, sizeof number, isfinite(s->gain) ? "%+.1f" : "-", s->gain);
        rh_put(p, RH_PLAIN, -8, number);
    }
    snprintf(number, sizeof number, "%d/%d", (int)s->broken, (int)s->n);
    rh_put(p, s->broken ? RH_BAD : RH_PLAIN, -8, number);
    rh_put(p, RH_PLAIN, -10, rh_number(number, p, s->surprisal));
    rh_put(p, RH_PLAIN, -9, rh_percent(number, p, s->repeated));
    rh_put(p, RH_PLAIN, -7, rh_number(number, p, s->kl));
}

static void label_of(char *out, size_t size, const rh_auto_setting *s)
{
    char layer[24] = "all layers";
    if (s->layer >= 0) snprintf(layer, sizeof layer, "layer %d", (int)s->layer);
    snprintf(out, size, "%s, %.3gx (%.2g resid)", layer, s->strength, s->resid);
}

/* What decides which rows are worth a line: the frontier, then those off it that hold most. */
static bool shown(const rh_auto_report *r, int32_t i)
{
    const rh_auto_setting *s = &r->settings[i];
    int32_t frontier = 0, better = 0;
    for (int32_t k = 0; k < r->n_settings; k++) {
        const rh_auto_setting *t = &r->settings[k];
        frontier += t->knee.frontier;
        better += !t->knee.frontier && (t->knee.value > s->knee.value || (t->knee.value == s->knee.value && k < i));
    }
    return s->knee.frontier || better < MOST_ROWS - frontier;
}

static void put_sweep(const rh_pen *p, const rh_auto_report *r)
{
    char label[80], line[160];
    int32_t hidden = 0;
    snprintf(line, sizeof line, "sweep: %d settings on %d neutral prompts, %d tokens each", (int)r->n_settings, (int)r->n_prompts,
             (int)r->max_tokens);
    rh_heading(p, line);
    put_columns(p, r, "", 30);
    rh_put(p, RH_PLAIN, 30, "  unsteered");
    put_score(p, r, &r->unsteered);
    rh_end_line(p);
    for (int32_t i = 0; i < r->n_settings && !p->out->failed; i++) {
        if (!shown(r, i)) {
            hidden++;
            continue;
        }
        const rh_auto_setting *s = &r->settings[i];
        rh_put(p, RH_BOLD, 2, i == r->picked ? ">" : s->knee.frontier ? "*" : s->knee.healthy ? "" : "x");
        label_of(label, sizeof label, s);
        rh_put(p, i == r->picked ? RH_BOLD : RH_PLAIN, 28, label);
        put_score(p, r, &s->score);
        rh_end_line(p);
    }
    snprintf(line, sizeof line, "%d weaker settings are left out here; --json, or --report DIR for a table, has all", (int)hidden);
    if (hidden) rh_paragraph(p, RH_DIM, 0, 2, line);
    rh_paragraph(p, RH_DIM, 0, 2, "> picked, * on the frontier (no other whole setting holds more for less), x too many broken texts");
    snprintf(line, sizeof line, "%d.resid_post", (int)r->read_layer);
    rh_str words = {0};
    rh_str_printf(&words, "presence: projection of the text, read again unsteered, on the direction at %s, in deviations above the "
                          "unsteered texts;%s broken: texts that loop or are garbled; surprisal: nats a token for the "
                          "unsteered model", line,
                  r->target ? " hits: whole texts that hold the target; gain: ln of the target's mean probability along the "
                              "text, less that of the unsteered text;" : "");
    if (words.data) rh_paragraph(p, RH_DIM, 0, 2, words.data);
    rh_drop(p, &words);
}

static void put_tests(const rh_pen *p, const rh_auto_report *r)
{
    char line[200], number[48];
    snprintf(line, sizeof line, "test: %d other prompts, random directions of the same norm", (int)r->n_held_out);
    rh_heading(p, line);
    rh_put(p, RH_BOLD, 16, "");
    rh_put(p, RH_BOLD, -7, "hits");
    rh_put(p, RH_BOLD, -14, "95 %");
    rh_put(p, RH_BOLD, -10, "presence");
    rh_put(p, RH_BOLD, -8, "broken");
    rh_put(p, RH_BOLD, -11, "surprisal");
    rh_put(p, RH_BOLD, -9, "KL");
    rh_str_puts(p->out, "\n");
    for (int32_t i = 0; i < r->n_tests; i++) {
        const rh_auto_test *t = &r->tests[i];
        rh_put(p, i == 1 ? RH_BOLD : RH_PLAIN, 16, t->label);
        snprintf(number, sizeof number, "%d/%d", (int)t->score.hits, (int)t->score.n);
        rh_put(p, RH_PLAIN, -7, number);
        snprintf(number, sizeof number, "%.0f..%.0f%%", 100 * t->lo, 100 * t->hi);
        rh_put(p, RH_PLAIN, -14, number);
        snprintf(number, sizeof number, isfinite(t->score.presence) ? "%+.2f" : "-", t->score.presence);
        rh_put(p, RH_PLAIN, -10, number);
        snprintf(number, sizeof number, "%d/%d", (int)t->score.broken, (int)t->score.n);
        rh_put(p, t->score.broken ? RH_BAD : RH_PLAIN, -8, number);
        rh_put(p, RH_PLAIN, -11, rh_number(number, p, t->score.surprisal));
        rh_put(p, RH_PLAIN, -9, rh_number(number, p, t->score.kl));
        rh_end_line(p);
    }
    snprintf(line, sizeof line, "all random      %d/%d, 95 %% interval %.0f..%.0f%%", (int)r->random_hits, (int)r->random_n,
             100 * r->random_lo, 100 * r->random_hi);
    rh_paragraph(p, RH_PLAIN, 0, 0, line);
    rh_paragraph(p, RH_DIM, 0, 2,
                 r->target ? "hits: whole texts that hold the target; the interval is Wilson's"
                           : "hits: whole texts that lie further along the direction than 19 of 20 unsteered ones; the "
                             "interval is Wilson's");
}

static void put_samples(const rh_pen *p, const rh_auto_report *r)
{
    rh_heading(p, "what it wrote there");
    for (int32_t i = 0; i < SAMPLE && i < r->n_held_out; i++) {
        rh_str line = {0};
        char *prompt = rh_clean_line(p, r->held_out[i]), *text = rh_clean_line(p, r->tests[1].texts[i]);
        rh_str_printf(&line, "%s %s %s", prompt, p->unicode ? "→" : "->", text);
        if (line.data) rh_paragraph(p, RH_PLAIN, 0, 2, line.data);
        rh_drop(p, &line);
        rh_line_free(prompt);
        rh_line_free(text);
    }
}

static void put_verdict(const rh_pen *p, const rh_auto_report *r)
{
    char label[80];
    rh_str line = {0};
    if (r->picked < 0) {
        rh_str_puts(&line, "Nothing works: no setting holds more of the concept than the unsteered model and leaves the texts "
                           "whole. Other pairs, or at=mean or at=marked, may give a better direction.");
    } else {
        const rh_auto_setting *s = &r->settings[r->picked];
        label_of(label, sizeof label, s);
        rh_str_printf(&line, "Picked: %s. ", label);
        if (r->verdict == RH_AUTO_WORKS)
            rh_str_puts(&line, "It beats random directions of equal norm on prompts that had no part in picking it.");
        else
            rh_str_puts(&line, "It is NOT shown to beat random directions of equal norm: do not claim that it steers.");
        if (r->target && !r->tests[1].score.hits) rh_str_puts(&line, " The target appears in no text.");
    }
    if (line.data) rh_paragraph(p, r->verdict == RH_AUTO_WORKS ? RH_BOLD : RH_BAD, 0, 0, line.data);
    rh_drop(p, &line);
}

rh_status rh_export_auto_text(rh_str *out, const rh_auto_report *r, const rh_terminal *t, rh_error *err)
{
    rh_pen p = rh_pen_make(out, t);
    put_sweep(&p, r);
    if (r->n_tests > 1) {
        put_tests(&p, r);
        put_samples(&p, r);
    }
    rh_str_puts(out, "\n");
    put_verdict(&p, r);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

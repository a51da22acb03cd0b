/* figures.c - the diagnostics of a steering run: one line a run, then what each figure means;
 * projections with bars. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "notebooks-export/blocks.h"

/* ---- the table --------------------------------------------------------------------------------- */

/* Positions where KL was measured, over the steered runs; -2: they differ between runs. */
typedef struct kl_places { int32_t first, next; bool any; } kl_places;

static kl_places find_places(const rh_steer_report *r)
{
    kl_places at = {-1, -1, false};
    for (int32_t k = 0; k < r->n_runs; k++) {
        const rh_steer_run *run = &r->runs[k];
        if (run->unsteered || run->first.position < 0) continue;
        at.first = !at.any || at.first == run->first.position ? run->first.position : -2;
        at.next = !at.any || at.next == run->next.position ? run->next.position : -2;
        at.any = true;
    }
    return at;
}

static void put_kl(const rh_pen *p, const rh_steer_run *run, const rh_shift *s, int width)
{
    char number[RH_NUMBER];
    rh_put(p, RH_PLAIN, -width, rh_number(number, p, run->unsteered ? NAN : s->kl));
}

static void put_run(const rh_pen *p, const rh_steer_report *r, const rh_steer_run *run, const kl_places *at)
{
    char label[RH_NUMBER], number[RH_NUMBER];
    bool two = at->first != at->next;
    rh_run_label(label, r, run);
    rh_put(p, RH_PLAIN, 15, label);
    if (r->n_runs > 1) put_kl(p, run, &run->next, 8);
    if (r->n_runs > 1 && two) put_kl(p, run, &run->first, 9);
    rh_put(p, RH_PLAIN, -11, rh_number(number, p, run->surprisal));
    rh_put(p, RH_PLAIN, -10, rh_percent(number, p, run->repeated));
    if (r->n_runs > 1) rh_put(p, RH_PLAIN, -7, rh_percent(number, p, run->unsteered ? NAN : run->relative_norm));
    const char *words = rh_collapse_words(run);
    if (*words) {
        int used = 15 + 8 + (two ? 9 : 0) + 11 + 10 + 7;
        if (used + 2 + (int)strlen(words) > p->width) rh_str_puts(p->out, "\n ");
        rh_spaces(p, 2);
        rh_put(p, RH_BAD, 0, words);
    }
    rh_str_puts(p->out, "\n");
}

/* One line of the key: the figure's name and what it means. */
static void key(const rh_pen *p, const char *name, const char *format, ...) RH_PRINTF(3, 4);
static void key(const rh_pen *p, const char *name, const char *format, ...)
{
    rh_str text = {0};
    va_list args;
    va_start(args, format);
    rh_str_vprintf(&text, format, args);
    va_end(args);
    rh_put(p, RH_DIM, 0, "  ");
    rh_put(p, RH_DIM, 10, name);
    if (text.data) rh_paragraph(p, RH_DIM, 12, 12, text.data);
    rh_drop(p, &text);
}

static void put_kl_key(const rh_pen *p, const rh_steer_report *r, const kl_places *at)
{
    const char *scale = "0 is no change, above about 5 little is left in common";
    const char *last = at->next == r->n_prompt_tokens - 1 ? "the prompt's last, which chooses the first new one" :
                       "the first whose logits the actions can change";
    if (!at->any)
        key(p, "KL", "nats of the next token, steered from unsteered; the actions change no token's logits");
    else if (at->next == -2 || at->first == -2)
        key(p, "KL", "nats of the next token, steered from unsteered, at the first token that the actions can change "
                     "(KL first: prompt included); %s", scale);
    else
        key(p, "KL", "nats, steered from unsteered, of the token after token %d, %s; %s", (int)at->next, last, scale);
    if (at->any && at->next >= 0 && at->first >= 0 && at->first != at->next)
        key(p, "KL first", "the same after token %d, the first whose logits the actions can change", (int)at->first);
}

static void put_keys(const rh_pen *p, const rh_steer_report *r, const kl_places *at)
{
    char norm[RH_NUMBER], median[RH_NUMBER], blind[RH_NUMBER];
    if (r->n_runs > 1) put_kl_key(p, r, at);
    key(p, "surprisal", "mean nats a token of the text for the unsteered model; tokens drawn blindly have %s",
        rh_number(blind, p, log((double)r->n_vocab)));
    key(p, "repeated", "3-grams that had occurred before; above 50%% the text goes in circles");
    if (r->n_runs > 1 && isfinite(r->norm))
        key(p, "size", "strength x norm %s of the vector, of the median norm %s of h over the prompt at %d.%s",
            rh_number(norm, p, r->norm), rh_number(median, p, r->median_h), (int)r->norm_layer,
            rh_hook_name(r->norm_hook));
}

void rh_put_figures(const rh_pen *p, const rh_steer_report *r)
{
    kl_places at = find_places(r);
    rh_str_puts(p->out, "\n");
    rh_spaces(p, 15);
    if (r->n_runs > 1) rh_put(p, RH_BOLD, -8, "KL");
    if (r->n_runs > 1 && at.first != at.next) rh_put(p, RH_BOLD, -9, "KL first");
    rh_put(p, RH_BOLD, -11, "surprisal");
    rh_put(p, RH_BOLD, -10, "repeated");
    if (r->n_runs > 1) rh_put(p, RH_BOLD, -7, "size");
    rh_str_puts(p->out, "\n");
    for (int32_t k = 0; k < r->n_runs; k++) put_run(p, r, &r->runs[k], &at);
    put_keys(p, r, &at);
}

/* ---- guards ------------------------------------------------------------------------------------ */

void rh_put_guards(const rh_pen *p, const rh_steer_report *r)
{
    bool any = false;
    for (int32_t k = 0; k < r->n_runs; k++)
        for (int32_t i = 0; i < r->runs[k].n_guards; i++) {
            const rh_guard_count *g = &r->runs[k].guards[i];
            char label[RH_NUMBER], share[RH_NUMBER];
            char *action = rh_clean_line(p, g->action < r->n_actions ? r->actions[g->action] : "");
            rh_str text = {0};
            if (!any) rh_heading(p, "guards");
            any = true;
            rh_run_label(label, r, &r->runs[k]);
            rh_spaces(p, 2);
            rh_put(p, RH_PLAIN, 15, label);
            rh_str_printf(&text, "held at %lld of %lld positions (%s): %s", (long long)g->fired, (long long)g->tested,
                          rh_percent(share, p, g->tested ? (double)g->fired / (double)g->tested : NAN), action);
            if (text.data) rh_paragraph(p, RH_PLAIN, 17, 17, text.data);
            rh_drop(p, &text);
            rh_line_free(action);
        }
}

/* ---- projections ------------------------------------------------------------------------------- */

/* One action's block: the scale of its bars, and what is shown. */
typedef struct block { const rh_steer_report *r; int32_t action; double lo, hi; bool last; } block;

static block block_make(const rh_pen *p, const rh_steer_report *r, int32_t action)
{
    block b = {.r = r, .action = action, .last = p->width >= 100};
    for (int32_t k = 0; k < r->n_runs; k++)
        for (int32_t i = 0; i < r->runs[k].n_projections; i++) {
            const rh_projection *x = &r->runs[k].projections[i];
            if (x->action != action || r->runs[k].unsteered) continue;
            if (x->after_mean < b.lo) b.lo = x->after_mean;
            if (x->after_mean > b.hi) b.hi = x->after_mean;
        }
    return b;
}

/* before → after; what is nothing on the block's scale is 0. */
static void put_pair(const rh_pen *p, const block *b, double before, double after)
{
    char number[RH_NUMBER];
    double nothing = 1e-5 * (b->hi - b->lo);
    rh_put(p, RH_PLAIN, -9, rh_number(number, p, fabs(before) < nothing ? 0 : before));
    rh_str_puts(p->out, p->unicode ? " → " : " > ");
    rh_put(p, RH_PLAIN, -8, rh_number(number, p, fabs(after) < nothing ? 0 : after));
}

static void put_projection(const rh_pen *p, const block *b, const rh_steer_run *run, const rh_projection *x,
                           bool first)
{
    char label[RH_NUMBER], site[64];
    rh_str bar = {0};
    int used = 2 + 15 + 15 + 20 + (b->last ? 20 : 0) + 2, room = p->width - used;
    snprintf(site, sizeof site, "%d.%s", (int)x->layer, rh_hook_name(x->hook));
    rh_run_label(label, b->r, run);
    rh_spaces(p, 2);
    rh_put(p, RH_PLAIN, 15, first ? site : "");
    rh_put(p, RH_PLAIN, 15, label);
    put_pair(p, b, x->before_mean, x->after_mean);
    if (b->last) put_pair(p, b, x->before_last, x->after_last);
    if (room >= 6) rh_bar(&bar, p, x->after_mean, b->lo, b->hi, room > 30 ? 30 : room);
    if (bar.data) {
        rh_spaces(p, 2);
        rh_put(p, RH_PLAIN, 0, bar.data);
    }
    rh_drop(p, &bar);
    rh_str_puts(p->out, "\n");
}

static void put_block_head(const rh_pen *p, const block *b, const rh_projection *x)
{
    rh_str head = {0};
    if (b->r->n_actions > 1 && b->action < b->r->n_actions) {
        char *text = rh_clean_line(p, b->r->actions[b->action]);
        rh_str_printf(&head, "projection of h on the direction of `%s`", text);
        rh_line_free(text);
    } else {
        rh_str_puts(&head, "projection of h on the direction");
    }
    if (head.data) rh_heading(p, head.data);
    rh_drop(p, &head);
    rh_spaces(p, 32);
    rh_put(p, RH_DIM, -20, x->generated ? "mean, generated" : "mean, prompt");
    if (b->last) rh_put(p, RH_DIM, -20, "last prompt token");
    rh_str_puts(p->out, "\n");
}

static void put_block_key(const rh_pen *p, const block *b, const rh_projection *x)
{
    char median[RH_NUMBER];
    const char *arrow = p->unicode ? "→" : ">";
    rh_str text = {0};
    rh_str_printf(&text, "mean over the %d %s token%s acted on%s; at the action's own site h entering %s leaving it, "
                  "above it unsteered %s steered", (int)x->n_tokens, x->generated ? "generated" : "prompt",
                  x->n_tokens == 1 ? "" : "s", x->n_tokens + 1 == b->r->n_prompt_tokens ? ", the first left out" : "",
                  arrow, arrow);
    if (isfinite(b->r->median_h))
        rh_str_printf(&text, "; in units of h, whose median norm is %s at %d.%s", rh_number(median, p, b->r->median_h),
                      (int)b->r->norm_layer, rh_hook_name(b->r->norm_hook));
    rh_spaces(p, 2);
    if (text.data) rh_paragraph(p, RH_DIM, 2, 2, text.data);
    rh_drop(p, &text);
}

/* The steered run that shows most sites: a run too short for an action on generated tokens has none. */
static const rh_steer_run *longest_run(const rh_steer_report *r)
{
    const rh_steer_run *longest = NULL;
    for (int32_t k = 0; k < r->n_runs; k++)
        if (!r->runs[k].unsteered && (!longest || r->runs[k].n_projections > longest->n_projections)) longest = &r->runs[k];
    return longest;
}

/* Rows by site, then by strength, so that a site's bars stand together. */
static void put_site(const rh_pen *p, const block *b, const rh_projection *site)
{
    bool first = true;
    for (int32_t k = 0; k < b->r->n_runs; k++) {
        const rh_steer_run *run = &b->r->runs[k];
        for (int32_t i = 0; !run->unsteered && i < run->n_projections; i++) {
            const rh_projection *x = &run->projections[i];
            if (x->action != b->action || x->layer != site->layer || x->hook != site->hook) continue;
            put_projection(p, b, run, x, first);
            first = false;
        }
    }
}

static void put_action(const rh_pen *p, const rh_steer_report *r, int32_t action)
{
    block b = block_make(p, r, action);
    const rh_steer_run *run = longest_run(r);
    const rh_projection *shown = NULL;
    for (int32_t i = 0; run && i < run->n_projections; i++) {
        const rh_projection *site = &run->projections[i];
        if (site->action != action) continue;
        if (!shown) put_block_head(p, &b, site);
        shown = site;
        put_site(p, &b, site);
    }
    if (shown) put_block_key(p, &b, shown);
}

void rh_put_projections(const rh_pen *p, const rh_steer_report *r)
{
    int32_t most = -1;
    for (int32_t k = 0; k < r->n_runs; k++)
        for (int32_t i = 0; i < r->runs[k].n_projections; i++)
            if (r->runs[k].projections[i].action > most) most = r->runs[k].projections[i].action;
    for (int32_t a = 0; a <= most && !p->out->failed; a++) put_action(p, r, a);
}

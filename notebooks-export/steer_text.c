/* steer_text.c - a steering report for a terminal, in the order in which one asks: what was asked,
 * what came out, how strong that was, where it acted, what it is made of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notebooks-export/blocks.h"

static void put_title(const rh_pen *p, const rh_steer_report *r)
{
    char *model = rh_clean_line(p, r->model), *expression = rh_clean_line(p, r->expression);
    char *prompt = rh_clean_line(p, r->prompt);
    rh_str line = {0};
    rh_str_puts(&line, model);
    if (r->n_actions) rh_str_printf(&line, ": %s at %s", expression, r->site);
    if (line.data) rh_paragraph(p, RH_BOLD, 0, 0, line.data);
    rh_drop(p, &line);
    rh_str_printf(&line, "prompt (%d tokens): %s", (int)r->n_prompt_tokens, prompt);
    if (line.data) rh_paragraph(p, RH_PLAIN, 0, 2, line.data);
    rh_drop(p, &line);
    rh_str_puts(p->out, "\n");
    rh_line_free(model);
    rh_line_free(expression);
    rh_line_free(prompt);
}

static void put_shift(const rh_pen *p, const rh_steer_report *r, const rh_steer_run *run)
{
    char label[RH_NUMBER];
    int indent = 20;
    const char *up = p->unicode ? "↑ " : "up ", *down = p->unicode ? "↓ " : "dn ";
    rh_run_label(label, r, run);
    rh_spaces(p, 2);
    rh_put(p, RH_PLAIN, 15, label);
    rh_put(p, RH_PLAIN, 3, up);
    rh_put_tokens(p, run->next.up, run->next.n_up, false, 20, indent);
    rh_spaces(p, 17);
    rh_put(p, RH_PLAIN, 3, down);
    rh_put_tokens(p, run->next.down, run->next.n_down, false, 20, indent);
}

static void put_shifts(const rh_pen *p, const rh_steer_report *r)
{
    bool any = false;
    for (int32_t k = 0; k < r->n_runs; k++) {
        const rh_shift *s = &r->runs[k].next;
        if (r->runs[k].unsteered || s->position < 0 || (!s->n_up && !s->n_down)) continue;
        if (!any) {
            char head[96];
            snprintf(head, sizeof head, "tokens whose logit rises and falls most after token %d", (int)s->position);
            rh_heading(p, head);
        }
        any = true;
        put_shift(p, r, &r->runs[k]);
    }
}

static void put_footer(const rh_pen *p, const rh_steer_report *r)
{
    rh_str line = {0};
    rh_str_printf(&line, "%d run%s, %lld tokens in %.1f s", (int)r->n_runs, r->n_runs == 1 ? "" : "s",
                  (long long)r->tokens_generated, r->seconds_run);
    if (r->seconds_extract >= 0.05) rh_str_printf(&line, "; vectors in %.1f s", r->seconds_extract);
    rh_str_puts(p->out, "\n");
    if (line.data) rh_paragraph(p, RH_DIM, 0, 0, line.data);
    rh_drop(p, &line);
}

rh_status rh_export_steer_text(rh_str *out, const rh_steer_report *r, const rh_terminal *t, rh_error *err)
{
    rh_pen pen = rh_pen_make(out, t);
    put_title(&pen, r);
    if (r->n_runs > 0) rh_put_texts(&pen, r);
    if (r->n_runs > 0) rh_put_figures(&pen, r);
    rh_put_guards(&pen, r);
    rh_put_projections(&pen, r);
    put_shifts(&pen, r);
    for (int32_t i = 0; i < r->n_geometry && !out->failed; i++) rh_put_geometry(&pen, &r->geometry[i]);
    rh_put_watches(&pen, r);
    rh_put_switches(&pen, r);
    rh_put_notes(&pen, r->notes);
    put_footer(&pen, r);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

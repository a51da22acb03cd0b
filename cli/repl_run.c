/* repl_run.c - an expression looked at as `rhumb vec` does, a prompt steered as `rhumb steer` does, with
 * the model and the concepts of the session. */
#include <stdlib.h>
#include <string.h>

#include "cli/repl.h"
#include "notebooks-export/clean.h"
#include "probes/steer.h"

static rh_status evaluate(rh_evaluation **out, repl *r, const rh_program *p, rh_error *err)
{
    rh_status status = rh_program_eval(out, p, &r->c->diags, err);
    const char *warnings = rh_concepts_warnings(r->concepts);
    cli_clear_bar(r->c);
    if (strlen(warnings) > r->warned) cli_notes(r->c, warnings + r->warned); /* each is said once */
    r->warned = strlen(warnings);
    if (status == RH_ECANCELLED && !r->f->expression.no_cache && r->c->cache_dir)
        rh_hint(err, "what is computed so far is kept; the same line goes on from there");
    return status;
}

static rh_status print(repl *r, rh_str *out, rh_error *err)
{
    if (out->len && out->data[out->len - 1] != '\n') rh_str_puts(out, "\n");
    return cli_print_str(r->c, out, err);
}

rh_status repl_show(repl *r, const char *text, rh_error *err)
{
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_vec_report *report = NULL;
    rh_str out = {0};
    rh_terminal t = cli_terminal(r->c);
    char *placed = repl_placed(r, text, 0);
    rh_status status = placed ? RH_OK : rh_fail_nomem(err);
    if (!status) status = repl_compile(&p, r, &(repl_ask){.expr = placed, .value = true, .names = true}, err);
    if (!status) status = evaluate(&e, r, p, err);
    if (!status) status = rh_probe_vec(&report, r->m, e, text, r->f->top_tokens, err);
    if (!status) status = r->c->common.json ? rh_export_vec_json(&out, report, err) : rh_export_vec_text(&out, report, &t, err);
    if (!status) status = print(r, &out, err);
    rh_vec_report_free(report);
    rh_evaluation_free(e);
    rh_program_free(p);
    free(placed);
    return status;
}

/* ---- steer --------------------------------------------------------------------------------------------- */

/* What was generated when Ctrl-C came is shown: the report is not made of halves. */
typedef struct stepping { repl *r; rh_str partial; bool taken; } stepping;

static void keep_partial(stepping *s, const rh_generation *g, int32_t n)
{
    s->taken = true;
    for (int32_t i = 0; i < n; i++) {
        rh_str_puts(&s->partial, i ? "steered:   " : "unsteered: ");
        if (g[i].text.data) rh_clean(&s->partial, g[i].text.data, g[i].text.len, RH_CLEAN_LINE, s->r->c->unicode);
        rh_str_puts(&s->partial, "\n");
    }
}

static bool on_step(void *data, const rh_generation *g, int32_t n)
{
    stepping *s = data;
    int64_t longest = 0;
    for (int32_t i = 0; i < n; i++)
        if (g[i].n_ids > longest) longest = g[i].n_ids;
    bool go_on = cli_progress(s->r->c, "generating", longest, s->r->f->max_tokens);
    if (!go_on && !s->taken) keep_partial(s, g, n);
    return go_on;
}

static void steer_options(rh_steer_options *o, repl *r, stepping *s, int32_t stops[8])
{
    const repl_flags *f = r->f;
    *o = (rh_steer_options){.strengths = f->strengths.items, .n_strengths = (int32_t)f->strengths.n, .top_tokens = f->top_tokens};
    cli_prompt_options(&o->prompt, &f->prompt);
    o->generate.sampling = (rh_sampling){.temperature = f->temperature, .top_p = 1, .repetition = f->repetition, .penalty_last = -1,
                                         .seed = r->c->common.seed};
    o->generate.max_tokens = f->max_tokens;
    o->generate.on_step = on_step;
    o->generate.on_step_data = s;
    rh_chat chat = o->prompt.template_ != RH_CHAT_NONE ? o->prompt.template_ : rh_tokenizer_chat(r->m->tokenizer);
    o->generate.stop_ids = stops;
    o->generate.n_stop_ids = rh_chat_stops(r->m->tokenizer, chat, stops);
}

static rh_status needs_tokenizer(const repl *r, rh_error *err)
{
    if (r->m && r->m->tokenizer) return RH_OK;
    if (r->m) return rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a prompt", r->m->name);
    rh_fail(err, RH_EMODEL, "no model is open, and steering needs one");
    return rh_hint(err, "start with `rhumb repl MODEL`, or with a book that names one");
}

static rh_status print_steered(repl *r, rh_steer_report *report, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(r->c);
    RH_TRY(r->c->common.json ? rh_export_steer_json(&out, report, err) : rh_export_steer_text(&out, report, &t, err));
    return print(r, &out, err);
}

rh_status repl_steer(repl *r, const char *prompt, const char *expr, const char *label, rh_error *err)
{
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_steer_report *report = NULL;
    stepping s = {.r = r};
    rh_steer_options o;
    int32_t stops[8];
    RH_TRY(needs_tokenizer(r, err));
    double begun = cli_seconds();
    rh_status status = repl_compile(&p, r, &(repl_ask){.expr = expr}, err);
    if (!status) status = evaluate(&e, r, p, err);
    if (!status) {
        double evaluated = cli_seconds();
        if (!e->n_actions) cli_note(r->c, "no action is stated yet: steer sf states one, steer \"…\" with sf tries one");
        steer_options(&o, r, &s, stops);
        status = rh_probe_steer(&report, r->m, e, label, prompt, &o, &r->c->diags, err);
        cli_clear_bar(r->c);
        if (!status) report->seconds_extract = evaluated - begun;
    }
    if (!status) status = print_steered(r, report, err);
    else if (s.taken && !r->c->common.json && !s.partial.failed) cli_print(r->c, s.partial.data, s.partial.len, NULL);
    rh_steer_report_free(report);
    rh_evaluation_free(e);
    rh_program_free(p);
    rh_str_free(&s.partial);
    return status;
}

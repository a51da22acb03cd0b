/* repl_run.c - an expression looked at as `rhumb vec` does, a prompt steered as `rhumb steer` does, with
 * the model and the concepts of the session. */
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/fit.h"
#include "cli/repl.h"
#include "cli/repl_scan.h"
#include "notebooks-export/clean.h"

rh_status repl_evaluate(rh_evaluation **out, repl *r, const rh_program *p, rh_error *err)
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
    if (!status) status = repl_evaluate(&e, r, p, err);
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

static void steer_options(rh_steer_options *o, repl *r, const repl_watches *w, stepping *s, int32_t stops[RH_MAX_STOPS])
{
    const repl_flags *f = r->f;
    *o = (rh_steer_options){.top_tokens = f->top_tokens, .concepts = r->concepts, .top_features = f->top_tokens, .n_watches = (int32_t)w->n,
                            .watches = (const rh_evaluation *const *)w->values, .watch_labels = w->labels};
    cli_prompt_options(&o->prompt, &f->prompt);
    o->generate.sampling = (rh_sampling){.temperature = f->temperature, .top_p = 1, .repetition = f->repetition, .penalty_last = -1,
                                         .seed = r->c->common.seed};
    o->generate.max_tokens = f->max_tokens;
    o->generate.on_step = on_step;
    o->generate.on_step_data = s;
    rh_chat chat = o->prompt.template_ != RH_CHAT_NONE ? o->prompt.template_ : rh_tokenizer_chat(r->m->tokenizer);
    o->generate.stop_ids = stops;
    o->generate.n_stop_ids = rh_model_stops(r->m, chat, stops);
}

static rh_status needs_tokenizer(const repl *r, rh_error *err)
{
    if (r->m && r->m->tokenizer) return RH_OK;
    if (r->m) return rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a prompt", r->m->name);
    return rh_hinted(rh_fail(err, RH_EMODEL, "no model is open, and steering needs one"),
                     err, "start with `rhumb repl MODEL`, or with a book that names one");
}

static rh_status print_steered(repl *r, rh_steer_report *report, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(r->c);
    RH_TRY(r->c->common.json ? rh_export_steer_json(&out, report, err) : rh_export_steer_text(&out, report, &t, err));
    return print(r, &out, err);
}

/* The figures that only some units need are measured on this prompt. */
static rh_status set_strengths(rh_steer_options *o, double **memory, repl *r, rh_evaluation *e, const char *label, const char *prompt, rh_error *err)
{
    const cli_strengths *s = &r->strengths;
    const cli_expression of = {.model = r->m, .concepts = r->concepts, .evaluation = e};
    if (!s->n) return RH_OK; /* 1 */
    *memory = rh_calloc(s->n, sizeof **memory);
    if (!*memory) return rh_fail_nomem(err);
    o->strengths = *memory;
    o->n_strengths = (int32_t)s->n;
    return e->n_actions ? cli_strength_factors(*memory, s, &of, r->m, label, prompt, &o->prompt, err) : RH_OK;
}

rh_status repl_steer(repl *r, const char *prompt, const char *expr, const char *label, rh_error *err)
{
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_steer_report *report = NULL;
    stepping s = {.r = r};
    rh_steer_options o;
    repl_watches w = {0};
    double *factors = NULL;
    int32_t stops[RH_MAX_STOPS];
    RH_TRY(needs_tokenizer(r, err));
    double begun = rh_seconds();
    rh_status status = repl_compile(&p, r, &(repl_ask){.expr = expr}, err);
    if (!status) status = repl_evaluate(&e, r, p, err);
    if (!status) status = repl_watches_eval(&w, r, err);
    if (!status && !r->f->expression.no_cache) status = cli_check_fits(r->c, r->m, r->concepts, &r->checked, err);
    if (!status) {
        double evaluated = rh_seconds();
        if (!e->n_actions) cli_note(r->c, "no action is stated yet: steer sf states one, steer \"…\" with sf tries one");
        steer_options(&o, r, &w, &s, stops);
        status = set_strengths(&o, &factors, r, e, label, prompt, err);
        if (!status) status = rh_probe_steer(&report, r->m, e, label, prompt, &o, &r->c->diags, err);
        cli_clear_bar(r->c);
        if (!status) report->seconds_extract = evaluated - begun;
    }
    if (!status) status = print_steered(r, report, err);
    else if (s.taken && !r->c->common.json && !s.partial.failed) cli_print(r->c, s.partial.data, s.partial.len, NULL);
    rh_steer_report_free(report);
    repl_watches_free(&w);
    free(factors);
    rh_evaluation_free(e);
    rh_program_free(p);
    rh_str_free(&s.partial);
    return status;
}

/* ---- compare ---------------------------------------------------------------------------------------------- */

typedef struct compared {
    int32_t n;
    char *labels[RH_COMPARE_MAX];
    rh_program *programs[RH_COMPARE_MAX];
    rh_evaluation *evaluations[RH_COMPARE_MAX];
} compared;

static void compared_free(compared *c)
{
    for (int32_t i = 0; i < c->n; i++) {
        rh_evaluation_free(c->evaluations[i]);
        rh_program_free(c->programs[i]);
        free(c->labels[i]);
    }
}

/* The end of the expression that begins at `from`: a comma outside brackets, or the end of the text. */
static size_t end_of(const char *text, size_t from)
{
    int open = 0;
    for (repl_piece p = repl_piece_at(text, from);; p = repl_piece_at(text, p.end)) {
        if (p.kind == REPL_END || (open <= 0 && repl_piece_is(text, &p, ","))) return p.kind == REPL_END ? strlen(text) : p.start;
        if (repl_piece_is(text, &p, "(") || repl_piece_is(text, &p, "[")) open++;
        if (repl_piece_is(text, &p, ")") || repl_piece_is(text, &p, "]")) open--;
    }
}

/* text[from..end) at its place in the line. */
static rh_status add_compared(compared *c, repl *r, const char *text, size_t from, size_t end, rh_error *err)
{
    if (c->n == RH_COMPARE_MAX) return rh_fail(err, RH_ELIMIT, "compare takes at most %d expressions", (int)RH_COMPARE_MAX);
    int32_t i = c->n++;
    char *until = rh_strndup(text, end), *placed = until ? repl_placed(r, until, from) : NULL;
    while (end > from && strchr(" \t", text[from])) from++;
    while (end > from && strchr(" \t", text[end - 1])) end--;
    c->labels[i] = rh_strndup(text + from, end - from);
    rh_status status = placed && c->labels[i] ? RH_OK : rh_fail_nomem(err);
    if (!status) status = repl_compile(&c->programs[i], r, &(repl_ask){.expr = placed, .value = true}, err);
    if (!status) status = repl_evaluate(&c->evaluations[i], r, c->programs[i], err);
    if (!status && !c->evaluations[i]->value) status = rh_fail(err, RH_EKIND, "'%s' is an action, and vectors are compared", c->labels[i]);
    free(placed);
    free(until);
    return status;
}

rh_status repl_compare(repl *r, const char *text, size_t from, rh_error *err)
{
    compared c = {0};
    const rh_value *vectors[RH_COMPARE_MAX];
    const char *labels[RH_COMPARE_MAX];
    rh_compare_options o = {.strength = r->strengths.n ? r->strengths.items[0].value : 1};
    rh_status status = needs_tokenizer(r, err);
    if (!status && r->strengths.n && r->strengths.items[0].unit != RH_UNIT_X)
        status = rh_hinted(rh_fail(err, RH_EVALUE, "compare multiplies all vectors by one number, and --strength is in %s",
                                   rh_unit_name(r->strengths.items[0].unit)), err, "multiply each: compare 2*a, 3*b");
    cli_prompt_options(&o.prompt, &r->f->prompt);
    for (size_t at = from, end; !status; at = end + 1) {
        end = end_of(text, at);
        status = add_compared(&c, r, text, at, end, err);
        if (!text[end]) break;
    }
    for (int32_t i = 0; !status && i < c.n; i++) {
        vectors[i] = c.evaluations[i]->value;
        labels[i] = c.labels[i];
    }
    if (!status) status = cli_compare(r->c, r->m, vectors, labels, c.n, &o, err);
    compared_free(&c);
    return status;
}

/* steer.c - `rhumb steer MODEL [EXPR] -p PROMPT`: unsteered and steered, side by side. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/auto.h"
#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/fit.h"
#include "cli/messages.h"
#include "cli/models.h"
#include "cli/prompt.h"
#include "cli/strength.h"
#include "probes/steer.h"

typedef struct steer_flags {
    cli_expression_flags expression;
    cli_prompt_flags prompt;
    const char *text, *file;
    cli_texts strengths, stops, watches;
    cli_auto_flags auto_;
    double temperature, top_p, min_p, repetition, frequency, presence;
    int32_t top_k, penalty_last, max_tokens, top_tokens, features;
    bool ignore_eos;
} steer_flags;

/* Greedy with a light repetition penalty: a small model loops without one, steered or not, and
 * then every difference is drowned. */
static const steer_flags DEFAULTS = {
    .top_p = 1, .repetition = 1.1, .penalty_last = -1, .max_tokens = 64, .top_tokens = 8, .features = 8};

/* ---- the parts of a run ------------------------------------------------------------------- */

static rh_status read_messages(char **out, cli_messages *messages, cli *c, steer_flags *f, rh_error *err)
{
    if (f->text || f->file) return cli_wrong(c, err, "--messages stands for the prompt: leave --prompt and --prompt-file out");
    if (f->auto_.on) return cli_wrong(c, err, "--auto searches on prompts of one turn, so --messages does not go with it");
    RH_TRY(cli_messages_read(messages, &f->prompt, err));
    *out = rh_strdup(messages->text);
    return *out ? RH_OK : rh_fail_nomem(err);
}

/* f is a copy; what is read from --messages is put there. */
static rh_status read_prompt(char **out, cli_messages *messages, cli *c, steer_flags *f, rh_error *err)
{
    size_t len = 0;
    if (f->prompt.messages) return read_messages(out, messages, c, f, err);
    if (f->text && f->file) return cli_wrong(c, err, "give --prompt or --prompt-file, not both");
    if (!f->text && !f->file) {
        return rh_hinted(cli_wrong(c, err, "steer needs a prompt"), err,
                         "-p 'Name a city.', --prompt-file FILE, --messages FILE, or -p - for stdin");
    }
    if (f->text && strcmp(f->text, "-")) {
        *out = rh_strdup(f->text);
        return *out ? RH_OK : rh_fail_nomem(err);
    }
    RH_TRY(cli_read_text(out, &len, f->text ? "-" : f->file, true, err));
    if (strlen(*out) == len) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "the prompt holds a NUL byte");
}

/* The --watch expressions, evaluated. */
typedef struct watches {
    rh_program **programs;
    rh_evaluation **values;
    size_t n;
} watches;

static void watches_free(watches *w)
{
    for (size_t i = 0; i < w->n; i++) {
        rh_evaluation_free(w->values[i]);
        rh_program_free(w->programs[i]);
    }
    free(w->values);
    free(w->programs);
    *w = (watches){0};
}

static rh_status watches_eval(watches *w, cli_expression *e, cli *c, const steer_flags *f, rh_error *err)
{
    w->programs = rh_calloc(f->watches.n, sizeof *w->programs);
    w->values = rh_calloc(f->watches.n, sizeof *w->values);
    if (!w->programs || !w->values) return rh_fail_nomem(err);
    w->n = f->watches.n;
    for (size_t i = 0; i < w->n; i++)
        RH_TRY(cli_expression_beside(&w->programs[i], &w->values[i], e, c, &f->expression, f->watches.items[i], err));
    return RH_OK;
}

typedef struct stepping { cli *c; int32_t max_tokens; } stepping;

static bool on_step(void *data, const rh_generation *g, int32_t n)
{
    const stepping *s = data;
    int64_t longest = 0;
    for (int32_t i = 0; i < n; i++)
        if (g[i].n_ids > longest) longest = g[i].n_ids;
    return cli_progress(s->c, "generating", longest, s->max_tokens);
}

static void steer_options(rh_steer_options *o, const cli *c, const steer_flags *f, const watches *w, stepping *s)
{
    *o = (rh_steer_options){0};
    cli_prompt_options(&o->prompt, &f->prompt);
    o->generate.sampling = (rh_sampling){.temperature = f->temperature, .top_k = f->top_k, .top_p = f->top_p,
                                         .min_p = f->min_p, .repetition = f->repetition, .frequency = f->frequency,
                                         .presence = f->presence, .penalty_last = f->penalty_last,
                                         .seed = c->common.seed};
    o->generate.max_tokens = f->max_tokens;
    o->generate.stop_strings = f->stops.items;
    o->generate.n_stop_strings = (int32_t)f->stops.n;
    o->generate.on_step = on_step;
    o->generate.on_step_data = s;
    o->watches = (const rh_evaluation *const *)w->values;
    o->watch_labels = f->watches.items;
    o->n_watches = (int32_t)w->n;
    o->top_tokens = f->top_tokens;
    o->top_features = f->features;
}

static rh_status print_report(cli *c, const rh_steer_report *r, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    rh_status status = c->common.json ? rh_export_steer_json(&out, r, err) : rh_export_steer_text(&out, r, &t, err);
    if (status) {
        rh_str_free(&out);
        return status;
    }
    if (out.len && out.data[out.len - 1] != '\n') rh_str_puts(&out, "\n");
    return cli_print_str(c, &out, err);
}

/* ---- the verb ----------------------------------------------------------------------------- */

static void stop_at_end_of_turn(rh_steer_options *o, const rh_model *m, const steer_flags *f, int32_t stops[RH_MAX_STOPS])
{
    if (f->ignore_eos || !m->tokenizer) return;
    rh_chat chat = o->prompt.template_ != RH_CHAT_NONE ? o->prompt.template_ : rh_tokenizer_chat(m->tokenizer);
    o->generate.stop_ids = stops;
    o->generate.n_stop_ids = rh_model_stops(m, chat, stops);
}

/* The figures that only some units need are measured on this prompt. */
static rh_status set_strengths(rh_steer_options *o, double **memory, const cli_strengths *s, const cli_expression *e,
                               const rh_model *m, const char *expr, const char *prompt, rh_error *err)
{
    if (!s->n) return RH_OK; /* 1 */
    *memory = rh_calloc(s->n, sizeof **memory);
    if (!*memory) return rh_fail_nomem(err);
    o->strengths = *memory;
    o->n_strengths = (int32_t)s->n;
    return cli_strength_factors(*memory, s, e, m, expr, prompt, &o->prompt, err);
}

static rh_status steer(cli *c, const rh_model *m, const char *expr, const char *prompt, const steer_flags *f,
                       const cli_strengths *strengths, rh_error *err)
{
    static const rh_evaluation nothing = {0};
    cli_expression e = {0};
    watches w = {0};
    rh_steer_report *report = NULL;
    rh_steer_options o;
    stepping s = {c, f->max_tokens};
    int32_t stops[RH_MAX_STOPS], checked = 0;
    rh_status status = RH_OK;
    double *factors = NULL, begun = rh_seconds();
    bool any = expr || f->expression.book || f->watches.n;

    steer_options(&o, c, f, &w, &s);
    status = rh_sampling_check(&o.generate.sampling, err);
    if (status) goto done;
    /* Without an expression and a book there is nothing to compile, but watches need concepts. */
    if (any) status = cli_expression_open(&e, c, m, &f->expression, expr || f->expression.book ? expr : "0",
                                          !expr && !f->expression.book, false, f->prompt.special, err);
    if (!status && any && (expr || f->expression.book)) status = cli_expression_eval(&e, c, &f->expression, err);
    if (!status && f->watches.n) status = watches_eval(&w, &e, c, f, err);
    if (status) goto done;

    double extracted = rh_seconds();
    steer_options(&o, c, f, &w, &s);
    o.concepts = e.concepts;
    stop_at_end_of_turn(&o, m, f, stops);
    status = set_strengths(&o, &factors, strengths, &e, m, expr, prompt, err);
    if (!status && any && f->features > 0) status = cli_note_unused(c, e.program, e.concepts, err);
    if (!status && !f->expression.no_cache) status = cli_check_fits(c, m, e.concepts, &checked, err);
    if (!status)
        status = rh_probe_steer(&report, m, e.evaluation ? e.evaluation : &nothing, expr ? expr : f->expression.book, prompt,
                                &o, &c->diags, err);
    cli_clear_bar(c);
    if (status) goto done;
    report->seconds_extract = extracted - begun;
    status = print_report(c, report, err);
done:
    free(factors);
    rh_steer_report_free(report);
    watches_free(&w);
    cli_expression_close(&e);
    return status;
}

static rh_status steer_auto(cli *c, const rh_model *m, const char *expr, const char *prompt, const steer_flags *f,
                            const cli_strengths *strengths, rh_error *err)
{
    static const watches none = {0};
    int32_t stops[RH_MAX_STOPS];
    stepping s = {c, f->max_tokens};
    rh_steer_options o;
    steer_options(&o, c, f, &none, &s);
    RH_TRY(rh_sampling_check(&o.generate.sampling, err));
    stop_at_end_of_turn(&o, m, f, stops);
    cli_auto_job job = {.flags = &f->auto_, .expression = &f->expression, .expr = expr, .prompt = prompt, .steer = &o,
                        .strengths = strengths, .special = f->prompt.special};
    return cli_auto(c, m, &job, err);
}

static rh_status check_auto(cli *c, const char *expr, const steer_flags *f, rh_error *err)
{
    const cli_auto_flags *a = &f->auto_;
    if (!a->on && (a->target || a->prompts || a->versus || a->report))
        return cli_wrong(c, err, "--target, --prompts, --versus-prompt and --report belong to --auto");
    if (a->on && !expr && !f->expression.book) return cli_wrong(c, err, "--auto needs an expression to steer with");
    if (a->on && f->watches.n) return cli_wrong(c, err, "--auto and --watch do not go together: watch what it found with --layer and --strength");
    if (a->target && !*a->target) return cli_wrong(c, err, "--target is empty");
    return RH_OK;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    steer_flags own = *(const steer_flags *)flags;
    const steer_flags *f = &own;
    cli_messages messages = {0};
    rh_model *m = NULL;
    char *prompt = NULL;
    cli_strengths strengths = {0};
    const char *expr = args->n > 1 ? args->items[1] : NULL;
    rh_status status = check_auto(c, expr, f, err);
    if (!status) status = cli_strengths_read(&strengths, c, &f->strengths, err);
    if (!status) status = read_prompt(&prompt, &messages, c, &own, err);
    if (!status) status = cli_open_model(&m, c, args->items[0], false, err);
    if (!status && !m->tokenizer) {
        status = rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a prompt", m->name);
        rh_hint(err, "`rhumb trace` works with --tokens");
    }
    if (!status)
        status = f->auto_.on ? steer_auto(c, m, expr, prompt, f, &strengths, err) : steer(c, m, expr, prompt, f, &strengths, err);
    cli_messages_free(&messages);
    free(strengths.items);
    free(prompt);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(steer_flags, field)
static const cli_option OPTIONS[] = {
    {"prompt", 'p', CLI_TEXT, AT(text), "TEXT", "the prompt; - is stdin, whose final newline is dropped", 0, 0, NULL},
    {"prompt-file", 0, CLI_TEXT, AT(file), "FILE", "the prompt from a file, final newline dropped", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(steer_flags, expression),
    {"strength", 0, CLI_TEXTS, AT(strengths), "S,…",
     "multiplies the vectors of `steer`; several make a sweep in one batch (default 1). 0.2resid: 0.2 times the median norm "
     "of h at the site; 4sigma: 4 deviations of the pairs along the direction; 1.5maxact: 1.5 times what the feature "
     "writes at the largest activation measured", 0, 0, NULL},
    {"watch", 0, CLI_TEXTS, AT(watches), "EXPR", "shade every token by its projection on EXPR, or, if EXPR is a feature such as s[3], by "
     "its activation; repeatable", 0, 0, NULL},
    CLI_PROMPT_OPTIONS(steer_flags, prompt),
    CLI_MESSAGES_OPTION(steer_flags, prompt),
    CLI_BOS_OPTIONS(steer_flags, prompt),
    {"max-tokens", 'n', CLI_INT, AT(max_tokens), "N", "tokens to generate (default 64)", 1, 1000000, NULL},
    {"temperature", 0, CLI_NUMBER, AT(temperature), "T", "0 takes the likeliest token (default)", 0, 1000, NULL},
    {"top-k", 0, CLI_INT, AT(top_k), "N", "draw from the N likeliest; 0: off (default)", 0, 1e9, NULL},
    {"top-p", 0, CLI_NUMBER, AT(top_p), "P", "draw from the likeliest that hold P together; 1: off (default)", 0, 1, NULL},
    {"min-p", 0, CLI_NUMBER, AT(min_p), "P", "leave out what is P times less likely than the likeliest; 0: off (default)",
     0, 1, NULL},
    {"repetition-penalty", 0, CLI_NUMBER, AT(repetition), "R",
     "logits of tokens seen are divided (if positive) or multiplied by R (default 1.1; 1: off)", 0, 100, NULL},
    {"frequency-penalty", 0, CLI_NUMBER, AT(frequency), "F", "taken off a token's logit each time it was seen (default 0)",
     -100, 100, NULL},
    {"presence-penalty", 0, CLI_NUMBER, AT(presence), "P", "taken off the logit of a token seen at all (default 0)", -100,
     100, NULL},
    {"penalty-last", 0, CLI_INT, AT(penalty_last), "N", "penalties look at the last N tokens, prompt included (default -1: all)",
     -1, 1e9, NULL},
    {"stop", 0, CLI_TEXTS, AT(stops), "TEXT", "end at this text; repeatable", 0, 0, NULL},
    {"ignore-eos", 0, CLI_FLAG, AT(ignore_eos), NULL, "go on behind the end of a turn", 0, 0, NULL},
    {"top-tokens", 0, CLI_INT, AT(top_tokens), "N", "how many rising and falling tokens to show (default 8)", 0, 1000, NULL},
    {"features", 0, CLI_INT, AT(features), "N", "how many features switched on and off to show, of each SAE that the expression or the "
     "book uses (default 8; 0: none, and nothing is encoded)", 0, 1000, NULL},
    {"auto", 0, CLI_FLAG, AT(auto_.on), NULL,
     "find layer and strength on neutral prompts, test them beside random directions, then run PROMPT", 0, 0, NULL},
    {"target", 0, CLI_TEXT, AT(auto_.target), "TEXT", "with --auto: what steered texts should hold", 0, 0, NULL},
    {"prompts", 0, CLI_TEXT, AT(auto_.prompts), "FILE", "with --auto: the prompts to search on, one a line (default: built in)",
     0, 0, NULL},
    {"versus-prompt", 0, CLI_TEXT, AT(auto_.versus), "TEXT", "with --auto: compare with this system text", 0, 0, NULL},
    {"report", 0, CLI_TEXT, AT(auto_.report), "DIR", "with --auto: leave text, JSON, CSV, picture and vector here", 0, 0, NULL},
};

const cli_verb CLI_STEER = {
    .name = "steer", .brief = "run a model unsteered and steered, side by side", .arguments = "MODEL [EXPR] -p PROMPT",
    .about = "Generates from PROMPT unsteered and with EXPR added to the hidden states, and shows what it did: both texts, "
             "KL of the next token, surprisal and repetition of the steered text, projections, cosines of the parts. EXPR "
             "is an expression (which means `steer EXPR`, at every position) or an action such as 'ablate rain on prompt'. "
             "Without EXPR the book's actions run; with neither, only the unsteered run.\n\n"
             "Decoding is greedy with a repetition penalty of 1.1, unless told otherwise. Equal seeds give equal texts.",
    .examples = "  rhumb steer smollm2 'sf + 0.5*rain - tokyo' -b examples/city.rhumb --chat -p 'Name a city.'\n"
                "  rhumb steer smollm2 sf -b examples/city.rhumb --strength 0.5,1,2 --chat -p 'Name a city.'\n"
                "  rhumb steer smollm2 sf -b examples/city.rhumb --auto --target 'San Francisco' --chat -p 'Name a city.'\n"
                "  rhumb steer smollm2 'ablate act(\"rain\") @ 16' -p 'The weather is' --temperature 0.7 --seed 3\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(steer_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 2, .run = run};

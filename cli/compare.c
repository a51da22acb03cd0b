/* compare.c - `rhumb compare MODEL EXPR EXPR…`: effects side by side on the same prompts. */
#include "cli/compare.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/expression.h"
#include "cli/models.h"
#include "cli/prompt.h"
#include "cli/prompt_file.h"
#include "notebooks-export/compare_export.h"

typedef struct compare_flags {
    cli_expression_flags expression;
    cli_prompt_flags prompt;
    cli_texts texts;
    const char *file;
    double strength;
    bool last;
} compare_flags;

static const compare_flags DEFAULTS = {.strength = 1};

rh_status cli_compare(cli *c, const rh_model *m, const rh_value *const *vectors, const char *const *labels, int32_t n,
                      const rh_compare_options *o, rh_error *err)
{
    rh_compare_report *r = NULL;
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    rh_compare_options shown = *o;
    shown.progress = cli_progress;
    shown.progress_data = c;
    rh_status status = rh_probe_compare(&r, m, vectors, labels, n, &shown, err);
    cli_clear_bar(c);
    if (status) return status;
    status = c->common.json ? rh_export_compare_json(&out, r, err) : rh_export_compare_text(&out, r, &t, err);
    rh_compare_report_free(r);
    if (status) return status;
    if (out.len && out.data[out.len - 1] != '\n') rh_str_puts(&out, "\n");
    return cli_print_str(c, &out, err);
}

/* The prompts: -p, or the lines of --prompts, or none. Those of a file are in *text. */
static rh_status read_prompts(cli_texts *out, char **text, cli *c, const compare_flags *f, rh_error *err)
{
    if (f->texts.n && f->file) return cli_wrong(c, err, "give --prompt or --prompts, not both");
    for (size_t i = 0; i < f->texts.n; i++) {
        if (!RH_GROW(out->items, out->cap, out->n)) return rh_fail_nomem(err);
        out->items[out->n++] = f->texts.items[i];
    }
    if (!f->file) return RH_OK;
    return cli_prompt_file(out, text, f->file, err);
}

/* All expressions, evaluated with one set of concepts; the first one's is e's own. */
typedef struct values { rh_program **programs; rh_evaluation **items; size_t n; } values;

static void values_free(values *v)
{
    for (size_t i = 0; i < v->n; i++) {
        rh_evaluation_free(v->items[i]);
        rh_program_free(v->programs[i]);
    }
    free(v->items);
    free(v->programs);
}

static rh_status evaluate(values *v, cli_expression *e, cli *c, const compare_flags *f, const char *const *exprs, size_t n, rh_error *err)
{
    v->programs = rh_calloc(n, sizeof *v->programs);
    v->items = rh_calloc(n, sizeof *v->items);
    if (!v->programs || !v->items) return rh_fail_nomem(err);
    v->n = n;
    for (size_t i = 0; i < n; i++) {
        memset(&c->diags, 0, sizeof c->diags);
        RH_TRY(cli_expression_beside(&v->programs[i], &v->items[i], e, c, &f->expression, exprs[i], err));
        if (v->items[i]->value) continue;
        return rh_hinted(rh_fail(err, RH_EKIND, "'%s' is an action, and vectors are compared", exprs[i]),
                         err, "leave out the action word and its mask: every vector is added at every position");
    }
    cli_clear_bar(c);
    cli_notes(c, rh_concepts_warnings(e->concepts));
    return RH_OK;
}

static rh_status compare(cli *c, const rh_model *m, const compare_flags *f, const cli_texts *prompts, const char *const *exprs, size_t n,
                         rh_error *err)
{
    cli_expression e = {0};
    values v = {0};
    const rh_value *vectors[RH_COMPARE_MAX];
    rh_compare_options o = {.prompts = prompts->items, .n_prompts = (int32_t)prompts->n, .strength = f->strength, .last = f->last};
    cli_prompt_options(&o.prompt, &f->prompt);
    rh_status status = cli_expression_open(&e, c, m, &f->expression, "0", true, false, f->prompt.special, err);
    if (!status) status = evaluate(&v, &e, c, f, exprs, n, err);
    for (size_t i = 0; !status && i < n; i++) vectors[i] = v.items[i]->value;
    if (!status) status = cli_compare(c, m, vectors, exprs, (int32_t)n, &o, err);
    values_free(&v);
    cli_expression_close(&e);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const compare_flags *f = flags;
    rh_model *m = NULL;
    cli_texts prompts = {0};
    char *text = NULL;
    rh_status status = read_prompts(&prompts, &text, c, f, err);
    if (!status) status = cli_open_model(&m, c, args->items[0], false, err);
    if (!status && !m->tokenizer)
        status = rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a prompt", m->name);
    if (!status) status = compare(c, m, f, &prompts, args->items + 1, args->n - 1, err);
    free(prompts.items);
    free(text);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(compare_flags, field)
static const cli_option OPTIONS[] = {
    {"prompt", 'p', CLI_TEXTS, AT(texts), "TEXT", "a prompt; repeatable (default: the neutral ones of steer --auto)", 0, 0, NULL},
    {"prompts", 0, CLI_TEXT, AT(file), "FILE", "prompts from a file, one a line; - is stdin", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(compare_flags, expression),
    {"strength", 0, CLI_NUMBER, AT(strength), "S", "multiplies every vector (default 1)", -1e9, 1e9, NULL},
    {"last", 0, CLI_FLAG, AT(last), NULL, "look at the last token of each prompt, not at the mean over its tokens", 0, 0, NULL},
    CLI_PROMPT_OPTIONS(compare_flags, prompt),
    CLI_BOS_OPTIONS(compare_flags, prompt),
};

const cli_verb CLI_COMPARE = {
    .name = "compare", .brief = "effects side by side: do they add up, do they mix", .arguments = "MODEL EXPR EXPR…",
    .about = "Steers the same prompts with each vector alone and with each pair, and measures how the hidden states of all later "
             "layers change: cosines of the vectors and of their effects; whether the effect of a + b is the effect of a plus "
             "that of b; and how far h moves along b when a is steered. Nothing is generated.",
    .examples = "  rhumb compare smollm2 sf tokyo rain -b examples/city.rhumb --chat\n"
                "  rhumb compare smollm2 sf 'random(1) @ 15' -b examples/city.rhumb --layer 15 -p 'Name a city.' --last\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(compare_flags), .defaults = &DEFAULTS,
    .min_args = 3, .max_args = 1 + RH_COMPARE_MAX, .run = run};

/* vec.c - `rhumb vec EXPR`: an expression's value, looked at and saved. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/models.h"
#include "cli/when.h"
#include "engine/files/vectorfile.h"
#include "probes/steer.h"

typedef struct vec_flags {
    cli_expression_flags expression;
    const char *model, *out;
    int32_t top_tokens;
    bool special;
} vec_flags;

static const vec_flags DEFAULTS = {.top_tokens = 8};

static rh_status save(cli *c, const cli_expression *e, const char *expr, const char *path, rh_error *err)
{
    const rh_value *value = e->evaluation->value;
    char *metadata = NULL, created[CLI_WHEN];
    if (!value || value->kind != RH_VALUE_VECTOR) {
        return rh_hinted(rh_fail(err, RH_EKIND, "only a vector can be saved, and this is %s",
                !value ? "an action" : value->kind == RH_VALUE_SCALAR ? "a scalar" : "a span"),
                         err, "leave out --output");
    }
    cli_when(created);
    RH_TRY(rh_concepts_metadata(&metadata, e->concepts, expr, value->vector, created, err));
    rh_status status = rh_vectorfile_write(path, value->vector, metadata, e->model ? e->model->name : NULL,
                                           e->model ? e->model->config.n_layers : 0, err);
    free(metadata);
    if (!status && !c->common.json) cli_note(c, "%s written", path);
    return status;
}

static rh_status print_report(cli *c, const rh_vec_report *r, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    rh_status status = c->common.json ? rh_export_vec_json(&out, r, err) : rh_export_vec_text(&out, r, &t, err);
    if (status) {
        rh_str_free(&out);
        return status;
    }
    if (out.len && out.data[out.len - 1] != '\n') rh_str_puts(&out, "\n");
    return cli_print_str(c, &out, err);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const vec_flags *f = flags;
    const char *expr = args->items[0];
    rh_model *m = NULL;
    cli_expression e = {0};
    rh_vec_report *report = NULL;
    rh_status status = RH_OK;
    if (f->model) status = cli_open_model(&m, c, f->model, false, err);
    if (!status) status = cli_expression_open(&e, c, m, &f->expression, expr, true, true, f->special, err);
    if (!status) status = cli_expression_eval(&e, c, &f->expression, err);
    if (!status && !e.evaluation->value) {
        status = rh_fail(err, RH_EKIND, "this is an action, and vec takes a value");
        rh_hint(err, "leave out the action word and its mask, or run it with `rhumb steer`");
    }
    if (!status && f->out) status = save(c, &e, expr, f->out, err);
    if (!status) status = rh_probe_vec(&report, e.model, e.evaluation, expr, f->top_tokens, err);
    if (!status) status = print_report(c, report, err);
    rh_vec_report_free(report);
    cli_expression_close(&e);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(vec_flags, field)
static const cli_option OPTIONS[] = {
    {"model", 'm', CLI_TEXT, AT(model), "MODEL", "needed only if EXPR is computed from one; the book may name it", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(vec_flags, expression),
    {"output", 'o', CLI_TEXT, AT(out), "FILE", "save the vector: .safetensors, .gguf (for llama.cpp) or .npy", 0, 0, NULL},
    {"special", 0, CLI_FLAG, AT(special), NULL, "control tokens spelled in texts become tokens", 0, 0, NULL},
    {"top-tokens", 0, CLI_INT, AT(top_tokens), "N", "how many nearest tokens to show (default 8)", 0, 1000, NULL},
};

const cli_verb CLI_VEC = {
    .name = "vec", .brief = "evaluate an expression; look at the vector, save it", .arguments = "EXPR",
    .about = "Evaluates EXPR and shows its norm, its cosine with every concept of the book, what its parts contribute, and "
             "the tokens it points to and away from. A scalar prints as a value. No model is opened if the expression "
             "needs none.",
    .examples = "  rhumb vec 'sf + 0.5*rain - tokyo' -b examples/city.rhumb -m smollm2 -o trip.safetensors\n"
                "  rhumb vec 'cos(load(\"a.safetensors\"), load(\"b.npy\"))'\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(vec_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 1, .run = run};

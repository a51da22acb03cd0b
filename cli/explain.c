/* explain.c - `rhumb explain EXPR`: the plan, without running it. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/models.h"

typedef struct explain_flags {
    cli_expression_flags expression;
    const char *model;
    bool special;
} explain_flags;

static rh_status print_plan(cli *c, const cli_expression *e, rh_error *err)
{
    rh_str out = {0};
    rh_status status = c->common.json ? rh_program_explain_json(&out, e->program, err)
                                      : rh_program_explain(&out, e->program, err);
    if (status) {
        rh_str_free(&out);
        return status;
    }
    if (out.len && out.data[out.len - 1] != '\n') rh_str_puts(&out, "\n");
    return cli_print_str(c, &out, err);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const explain_flags *f = flags;
    const char *expr = args->n ? args->items[0] : NULL;
    rh_model *m = NULL;
    cli_expression e = {0};
    rh_status status = RH_OK;
    if (!expr && !f->expression.book) return cli_wrong(c, err, "explain needs an EXPR, or a book with actions (-b)");
    if (f->model) status = cli_open_model(&m, c, f->model, false, err);
    if (!status) status = cli_expression_open(&e, c, m, &f->expression, expr, true, false, f->special, err);
    if (!status) status = print_plan(c, &e, err);
    if (!status) cli_notes(c, rh_concepts_warnings(e.concepts));
    cli_expression_close(&e);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(explain_flags, field)
static const cli_option OPTIONS[] = {
    {"model", 'm', CLI_TEXT, AT(model), "MODEL", "needed only if EXPR is computed from one; the book may name it", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(explain_flags, expression),
    {"special", 0, CLI_FLAG, AT(special), NULL, "control tokens spelled in texts become tokens", 0, 0, NULL},
};

const cli_verb CLI_EXPLAIN = {
    .name = "explain", .brief = "the plan of an expression: what would be computed, and what is cached",
    .arguments = "[EXPR]",
    .about = "Prints the plan of EXPR, or of the book's actions, as a database prints a query plan: atoms, coefficients, "
             "sites, prompts and tokens before and after sharing, which tokens are read, what the cache holds, and an "
             "estimate of the time. Nothing is computed.",
    .examples = "  rhumb explain 'sf + 0.5*rain - tokyo' -b examples/city.rhumb -m smollm2\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(explain_flags), .max_args = 1, .run = run};

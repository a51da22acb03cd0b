/* expression.h - a book and an expression on their way to values, as steer, vec, explain and trace
 * share it: flags, the model that a book names, compiling, evaluating, warnings. */
#ifndef RH_CLI_EXPRESSION_H
#define RH_CLI_EXPRESSION_H

#include "cli/cli.h"
#include "concepts/concepts.h"

typedef struct cli_expression_flags {
    const char *book, *layer;
    bool force_model, no_cache;
    int32_t width; /* no flag: rh_concepts_options.width */
} cli_expression_flags;

#define CLI_EXPRESSION_OPTIONS(type, field)                                                                           \
    {"book", 'b', CLI_TEXT, offsetof(type, field.book), "BOOK", "a concept book whose names the expression may use",  \
     0, 0, NULL},                                                                                                     \
    {"layer", 0, CLI_TEXT, offsetof(type, field.layer), "L",                                                          \
     "where what has no place of its own acts or is taken: 16, 14..18, [3,7] or all", 0, 0, NULL},                    \
    {"force-model", 0, CLI_FLAG, offsetof(type, field.force_model), NULL,                                             \
     "a vector file made on another model is a warning, not an error", 0, 0, NULL},                                   \
    {"no-cache", 0, CLI_FLAG, offsetof(type, field.no_cache), NULL,                                                   \
     "compute concepts again, and do not keep them", 0, 0, NULL}

typedef struct cli_expression {
    rh_model *own_model;     /* the book's, if it was opened here; owned */
    const rh_model *model;   /* NULL: none needed or none given */
    rh_concepts *concepts;
    rh_program *program;
    rh_evaluation *evaluation; /* NULL before cli_expression_eval */
} cli_expression;

/* Compile `expr` (NULL: the book's actions) with the model given. model NULL: without one, if
 * that is possible, else with the one that the book names. Errors of the language go to
 * c->diags. cli_expression_close also after a failure. */
rh_status cli_expression_open(cli_expression *e, cli *c, const rh_model *model, const cli_expression_flags *f,
                              const char *expr, bool bare_value, bool all_names, bool special, rh_error *err);
/* Evaluate; notes of what was warned about. Interrupted: the hint says what is kept. */
rh_status cli_expression_eval(cli_expression *e, cli *c, const cli_expression_flags *f, rh_error *err);
/* One more expression beside, with the same concepts: a --watch. */
rh_status cli_expression_beside(rh_program **program, rh_evaluation **value, cli_expression *e, cli *c,
                                const cli_expression_flags *f, const char *expr, rh_error *err);
/* The model that a book names, opened; *out NULL if it names none. */
rh_status cli_open_book_model(rh_model **out, cli *c, const cli_expression_flags *f, rh_error *err);
void cli_expression_close(cli_expression *e);

#endif

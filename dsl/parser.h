/* parser.h - text to tree; knows nothing of names, kinds or models. */
#ifndef RH_DSL_PARSER_H
#define RH_DSL_PARSER_H

#include "dsl/ast.h"
#include "dsl/program.h"

enum { RH_MAX_NESTING = 200 };

typedef struct rh_tree {
    rh_statement *items;
    int32_t n;
} rh_tree;

/* All of these put errors into diags and return RH_OK or RH_ENOMEM; the tree has what parsed.
 * Memory is the arena's. */
rh_status rh_parse_book(rh_tree *out, rh_arena *a, const rh_source *source, rh_diags *diags);
/* One expression or action: a statement of kind RH_ST_ACTION; n 0 after an error. */
rh_status rh_parse_expression(rh_tree *out, rh_arena *a, const rh_source *source, rh_diags *diags);
/* `layers` alone, as --layer gives it; *ok false after an error. */
rh_status rh_parse_layers(rh_site_ast *out, bool *ok, rh_arena *a, const rh_source *source, rh_diags *diags);

#endif

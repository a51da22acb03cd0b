/* checker.h - trees to graph: names, kinds and places (LANGUAGE.md §2, §5). Asks the resolver
 * where atoms live; computes nothing. */
#ifndef RH_DSL_CHECKER_H
#define RH_DSL_CHECKER_H

#include "dsl/graph.h"
#include "dsl/names.h"

typedef struct rh_checker {
    rh_arena *arena;
    rh_graph *graph;
    rh_scope *scope;
    const rh_resolver *resolver;
    rh_diags *diags;
    bool quiet;      /* a name nobody needs: an atom that cannot be described is no error */
    bool no_memory;
} rh_checker;

/* A checked expression on its way up. */
typedef struct rh_operand {
    int32_t node;
    rh_range range;  /* all of it */
    rh_range origin; /* the part that says where it lives: carets go here */
} rh_operand;

/* Functions return false after an error, or with no_memory set. */
bool rh_check_expr(rh_checker *c, rh_expr *e, rh_operand *out);
bool rh_check_call(rh_checker *c, rh_expr *e, rh_operand *out); /* calls.c, sources.c */
bool rh_check_features(rh_checker *c, rh_expr *e, rh_operand *out); /* features.c: s[3], s[3, 17] */
/* Is it one feature, unscaled? */
bool rh_is_feature(const rh_checker *c, const rh_operand *o);

/* ---- shared by the checker's files ------------------------------------------------------------ */

const rh_node *rh_operand_node(const rh_checker *c, const rh_operand *o); /* until the graph grows */
bool rh_kind_error(rh_checker *c, const rh_operand *ops, int32_t n, const char *message, const char *hint);
const char *rh_kind_text(rh_value_kind kind); /* "a vector" */

/* Add a node over operands whose place joins theirs; kind, op, coef, number are given. The
 * origin is that of the operand that gives the place. */
bool rh_make(rh_checker *c, rh_operand *out, rh_op op, rh_value_kind kind, const rh_operand *ops, int32_t n, const double *coef,
             rh_range range);
bool rh_make_number(rh_checker *c, rh_operand *out, double x, rh_range range); /* not finite: an error */

/* ---- places.c ----------------------------------------------------------------------------------- */

typedef struct rh_joined {
    rh_place_kind place;
    int32_t site;    /* -1 */
    int32_t d;       /* as a node over these operands has it, for a vector */
    int32_t inner_d; /* for a scalar computed from these */
    int32_t float_d; /* what a floating scalar demands of its site */
    const rh_atom_model *model;
    rh_range origin;
} rh_joined;
bool rh_join(rh_checker *c, const rh_operand *ops, int32_t n, rh_joined *out);
bool rh_check_at(rh_checker *c, const rh_operand *of, const rh_site_ast *site, rh_range range, rh_operand *out);
bool rh_check_free(rh_checker *c, const rh_operand *of, rh_range range, rh_operand *out);
/* A site as written (--layer, layer, @), checked against the model; -1 after an error. */
int32_t rh_check_site(rh_checker *c, const rh_site_ast *site);
/* Width of a hook, 0 if there is no model. */
int32_t rh_hook_width(const rh_resolver *r, rh_hook hook);
/* "the model has layers 0..29", or "" */
void rh_model_layers(char out[64], const rh_resolver *r);
/* A layer for an example in a hint: the usual one, if the model has it or nobody knows. */
int rh_example_layer(const rh_resolver *r, int usual);

#endif

/* names.h - what is bound: lookup, suggestions, the order in which bindings can be checked,
 * cycles. Knows trees and names; nothing of kinds. */
#ifndef RH_DSL_NAMES_H
#define RH_DSL_NAMES_H

#include "dsl/ast.h"

typedef struct rh_binding {
    rh_slice name;
    rh_range range;          /* where it is bound */
    rh_statement *statement; /* LET or SAE */
    int32_t first_ref, n_refs;
    bool in_cycle;           /* reported; has no value */
    bool reached;            /* an action or the expression needs it */
    bool reported;           /* SAE: the fault in its own statement was said */
    int32_t node;            /* its value in the graph; -1: not checked yet, or wrong */
} rh_binding;

typedef struct rh_scope {
    rh_binding *items;       /* in order of the text */
    size_t n, capacity;
    int32_t *buckets;        /* [n_buckets] index + 1 */
    size_t n_buckets;
    int32_t *refs;           /* of all bindings, one after the other */
    size_t n_refs, refs_capacity;
} rh_scope;

/* Bind the statement's name. Bound already: an error in diags, RH_OK. Bindings move when the
 * scope grows: keep indices. */
rh_status rh_scope_bind(rh_scope *s, rh_statement *statement, rh_diags *diags);
int32_t rh_scope_find(const rh_scope *s, rh_slice name); /* -1: not bound */
void rh_scope_free(rh_scope *s);

/* "unknown name 'x'", of a name or an SAE's features, with the nearest bound one. */
void rh_unknown_name(const rh_scope *s, const rh_expr *e, rh_diags *diags);

/* order [s->n]: each binding after those it mentions, in an array the caller frees. Cycles are
 * printed, and their members marked. */
rh_status rh_scope_order(int32_t **order, rh_scope *s, rh_diags *diags);
/* Mark what an expression needs, directly or through other names. After rh_scope_order. */
rh_status rh_scope_reach(rh_scope *s, const rh_expr *e);

#endif

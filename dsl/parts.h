/* parts.h - the terms of a linear expression as the user sees them: c * name. Knows trees and
 * their nodes; what they are worth is eval.h's. */
#ifndef RH_DSL_PARTS_H
#define RH_DSL_PARTS_H

#include "dsl/checker.h"

typedef struct rh_term { const char *label; double c; int32_t node; } rh_term;
typedef struct rh_terms { rh_term *items; size_t n, capacity; } rh_terms; /* items: free() */

/* Append the terms of e, which is a checked vector: equal ones merged, those with coefficient 0
 * left out. A lone name is opened once; a lone function call has no parts. */
rh_status rh_terms_of(rh_terms *out, rh_arena *arena, const rh_graph *g, const rh_scope *scope, const rh_expr *e);

#endif

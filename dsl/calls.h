/* calls.h - what the two files that check calls share. */
#ifndef RH_DSL_CALLS_H
#define RH_DSL_CALLS_H

#include "dsl/checker.h"
#include "dsl/functions.h"

/* sources.c: dim, act, … resid_norm. */
bool rh_check_source(rh_checker *c, rh_expr *e, const rh_function *f, rh_operand *out);
/* "dot takes 2 arguments: dot(a, b)"; false if the number is wrong. Options do not count. */
bool rh_check_count(rh_checker *c, const rh_expr *e, const rh_function *f);

/* sources.c: a source's number in the graph. The resolver is asked once; what is wrong with it is said once, at
 * its text_range. -1: that, or no memory. */
int32_t rh_check_atom(rh_checker *c, const rh_atom_spec *spec);
bool rh_make_atom(rh_checker *c, int32_t id, rh_range range, rh_operand *out);

#endif

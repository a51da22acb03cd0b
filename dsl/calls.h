/* calls.h - what the two files that check calls share. */
#ifndef RH_DSL_CALLS_H
#define RH_DSL_CALLS_H

#include "dsl/checker.h"
#include "dsl/functions.h"

/* sources.c: dim, act, … resid_norm. */
bool rh_check_source(rh_checker *c, rh_expr *e, const rh_function *f, rh_operand *out);
/* "dot takes 2 arguments: dot(a, b)"; false if the number is wrong. Options do not count. */
bool rh_check_count(rh_checker *c, const rh_expr *e, const rh_function *f);

#endif

/* compiled.h - what rh_program is made of. Inside dsl/ only; others have program.h. */
#ifndef RH_DSL_COMPILED_H
#define RH_DSL_COMPILED_H

#include "dsl/book.h"
#include "dsl/parts.h"
#include "dsl/plan.h"

/* The values of one action: what it acts with; the number after `at` or `by`; the guard's vector
 * and number. */
typedef enum rh_part_of_action { RH_ACTS_WITH = 0, RH_AMOUNT, RH_GUARD_VECTOR, RH_THRESHOLD, RH_N_OF_ACTION } rh_part_of_action;

typedef struct rh_compiled_value {   /* an action, or the bare value */
    const rh_statement *statement;
    const char *text;                /* as written */
    int32_t roots[RH_N_OF_ACTION];   /* -1: it has none */
    int32_t first_part, n_parts;     /* in parts; each has a root of its own */
} rh_compiled_value;

typedef struct rh_compiled_part { const char *label; double c; int32_t root; } rh_compiled_part;
typedef struct rh_compiled_name { const char *name; int32_t root; } rh_compiled_name;

struct rh_program {
    rh_arena *arena;
    const rh_resolver *resolver;
    rh_book book;
    rh_graph graph;
    rh_plan plan;
    rh_root *roots;
    size_t n_roots, roots_capacity;
    rh_compiled_value *actions;
    size_t n_actions, actions_capacity;
    bool has_value;
    rh_compiled_value value;         /* bare_value */
    rh_compiled_part *parts;
    size_t n_parts, parts_capacity;
    rh_compiled_name *names;         /* all_names */
    size_t n_names, names_capacity;
    const char **bound, **sae_paths; /* [scope.n] names as strings; of `sae` statements, where they are; else NULL */
    int left_out;
};

#endif

/* functions.h - the table of sources and functions: names, arguments, options. A name counts as
 * a function's only in front of "(". */
#ifndef RH_DSL_FUNCTIONS_H
#define RH_DSL_FUNCTIONS_H

#include "dsl/ast.h"

typedef enum rh_function_id {
    /* sources, in the order of rh_atom_kind */
    RH_FN_DIM, RH_FN_ACT, RH_FN_TOKEN, RH_FN_UNEMBED, RH_FN_LOAD, RH_FN_RANDOM,
    RH_FN_PCA, RH_FN_LDA, RH_FN_LOGREG, RH_FN_NEUTRAL, RH_FN_RESID_NORM,
    RH_FN_UNIT, RH_FN_NORM, RH_FN_RESCALE, RH_FN_DOT, RH_FN_COS, RH_FN_ANGLE, RH_FN_PROJ, RH_FN_REJECT,
    RH_FN_SPAN, RH_FN_MEAN, RH_FN_LERP, RH_FN_SLERP, RH_FN_FREE,
    RH_FN_MAX_ACT
} rh_function_id;

typedef enum rh_option {
    RH_OPT_AT = 1, RH_OPT_CHAT = 2, RH_OPT_PREFIX = 4, RH_OPT_POSITIVE = 8, RH_OPT_NEGATIVE = 16, RH_OPT_NAME = 32,
    RH_OPT_CENTER = 64, RH_OPT_SHRINK = 128, RH_OPT_L2 = 256
} rh_option;

typedef struct rh_function {
    const char *name, *usage; /* usage: "dot(a, b)" */
    rh_function_id id;
    const char *args;         /* one letter an argument: v vector, f feature, n scalar, o vector or span, p these or
                                 a scalar that has a place, e vectors or
                                 scalars alike, s string, i whole number, q number; + repeats the last, at
                                 least once; ? says that it may be left out */
    unsigned options;         /* rh_option bits */
} rh_function;

/* NULL if there is none. */
const rh_function *rh_function_find(rh_slice name);
const rh_function *rh_function_at(int i); /* NULL past the end */
const char *rh_function_nearest(rh_slice name); /* NULL */

typedef struct rh_option_type { const char *name; rh_option option; rh_option_kind kind; } rh_option_type;
const rh_option_type *rh_option_find(rh_slice name);
const rh_option_type *rh_option_at(int i); /* NULL past the end */
const char *rh_option_nearest(rh_slice name, unsigned among);
/* "at, chat, prefix" */
enum { RH_OPTIONS_TEXT = 96 };
void rh_options_text(char out[RH_OPTIONS_TEXT], unsigned among);

#endif

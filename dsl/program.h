/* program.h - a book and an expression compiled and evaluated:
 * lexer -> parser -> names -> kinds and places -> plan -> values. The door of this room;
 * callers need nothing else here but diag.h and resolver.h.
 * Knows vectors, and models only through resolver.h. */
#ifndef RH_DSL_PROGRAM_H
#define RH_DSL_PROGRAM_H

#include "algebra/algebra.h"
#include "dsl/resolver.h"

typedef struct rh_program_input {
    const char *book_path;  /* NULL: none. Read and its includes with it */
    const char *book_text;  /* not NULL: the text of book_path, which is then only a name */
    const char *session;    /* NULL, or statements typed after the book, as if they ended it: a source
                               named "<repl>", its paths taken against the working folder */
    const char *expr;       /* NULL: the book's own actions; else these are left out */
    const char *layers;     /* --layer as written: "16", "14..18", "[3,7]", "all", or NULL */
    bool all_names;         /* evaluate every `let` too (vec's cosines) */
    bool bare_value;        /* a bare expression is a value (vec), not `steer EXPR` */
} rh_program_input;

/* On failure diags holds up to ten errors, and err the first. resolver must live as long as
 * the program. */
rh_status rh_program_compile(rh_program **out, const rh_program_input *in, const rh_resolver *resolver,
                             rh_diags *diags, rh_error *err);
void rh_program_free(rh_program *p);

const char *rh_program_model(const rh_program *p);     /* `model "…"`, or NULL */
int rh_program_actions_left_out(const rh_program *p);  /* the book's, because of expr */
bool rh_program_needs_model(const rh_program *p);      /* some atom floats, or is a token's row */
/* Names bound with let and sae, in order of the text; NULL past the end. */
const char *rh_program_name(const rh_program *p, int i);
const char *rh_program_sae(const rh_program *p, int i); /* the path that name i is bound to by sae; NULL: let binds it */

/* ---- values ------------------------------------------------------------------------------ */

typedef enum rh_value_kind { RH_VALUE_SCALAR, RH_VALUE_VECTOR, RH_VALUE_SPAN } rh_value_kind;

/* A scalar, vector or span, maybe one a layer. */
typedef struct rh_value {
    rh_value_kind kind;
    int32_t n_layers;      /* of scalars and spans; 1 with layers NULL: no place */
    int32_t *layers;       /* [n_layers] or NULL */
    rh_hook hook;
    double *scalar;        /* [n_layers] */
    rh_vector *vector;
    rh_span *span;         /* [n_layers] */
    int32_t span_given;    /* how many vectors the span was made of: more than its rank: dependent */
} rh_value;

/* One term of a linear expression: v = sum c * part. A part is a name the expression mentions
 * (a lone name is opened once into its own terms), or an atom written in place. */
typedef struct rh_part {
    const char *label;     /* "rain", "dim(\"x.csv\")" */
    double c;
    rh_vector *v;          /* at the result's layers; a constant's is repeated */
} rh_part;

typedef enum rh_selector_kind {
    RH_SEL_ALL, RH_SEL_PROMPT, RH_SEL_LAST, RH_SEL_SPECIAL, RH_SEL_GENERATED, RH_SEL_TOKENS, RH_SEL_TEXT
} rh_selector_kind;
typedef struct rh_selector {
    rh_selector_kind kind;
    bool negated;
    int32_t lo, hi;        /* both ends; hi INT32_MAX: open; a lone i is i..i */
    const char *text;      /* RH_SEL_TEXT, unescaped */
    size_t text_len;
    rh_range range;
} rh_selector;

typedef enum rh_verb {
    RH_VERB_STEER = 0, RH_VERB_ABLATE, RH_VERB_SCALE, RH_VERB_CAP, RH_VERB_CLAMP
} rh_verb;

/* `when dot(h, w) > x` or `when cos(h, w) <= x`; vector and threshold at the action's layers
 * (a threshold without a place is repeated). */
typedef struct rh_eval_guard {
    bool cosine;
    enum { RH_WHEN_GT = 0, RH_WHEN_GE, RH_WHEN_LT, RH_WHEN_LE } compare;
    rh_value vector, threshold;   /* a cosine's vector is never zero; the threshold fits float32 */
} rh_eval_guard;

/* A vector that is one feature's decoder row times a number, whatever names it went through. */
typedef struct rh_eval_feature {
    const rh_atom_spec *spec;     /* NULL: it is not. Borrowed from the program */
    double scale;
    bool stored;                  /* the row as the SAE stores it, with nothing done to it */
} rh_eval_feature;

typedef struct rh_eval_action {
    rh_verb verb;
    rh_value value;               /* steer: vector. ablate: vector (never zero) or span. others: vector,
                                     never zero, as written (û is made where it is bound) */
    rh_value amount;              /* scale, cap, clamp: the scalar after `by` or `at`, one for each layer of value
                                     and in the range of float32 */
    rh_eval_guard *guard;         /* NULL: none */
    const struct rh_sae *sae;     /* clamp of one feature, unscaled: the amount is its activation, value its decoder row.
                                     Lives as long as the resolver. Else NULL */
    int32_t feature;
    rh_eval_feature of_feature;   /* what value is */
    const rh_selector *mask;      /* borrowed from the program */
    int32_t n_mask;
    const char *text;             /* as written, for reports */
    rh_range range;
    rh_part *parts;               /* steer of a linear form; else none */
    int32_t n_parts;
} rh_eval_action;

typedef struct rh_evaluation {
    rh_eval_action *actions;      /* in order */
    int32_t n_actions;
    rh_value *value;              /* bare_value: the expression's, else NULL */
    rh_eval_feature of_feature;   /* what value is */
    rh_part *parts;               /* of the value, where it is linear */
    int32_t n_parts;
    struct { const char *name; rh_value value; } *names; /* all_names: those that could be placed */
    int32_t n_names;
} rh_evaluation;

/* Everything in one resolver->compute call. A run-time error (unit of a zero vector, opposite
 * slerp, division by zero) has its place and carets too. The evaluation borrows from p. */
rh_status rh_program_eval(rh_evaluation **out, const rh_program *p, rh_diags *diags, rh_error *err);
void rh_evaluation_free(rh_evaluation *e);

/* ---- explain ------------------------------------------------------------------------------- */

/* The plan as a database prints one; text with a final newline, or one JSON object (same
 * facts). Uses resolver->survey. */
rh_status rh_program_explain(rh_str *text, const rh_program *p, rh_error *err);
rh_status rh_program_explain_json(rh_str *json, const rh_program *p, rh_error *err);

#endif

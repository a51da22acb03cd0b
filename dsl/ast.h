/* ast.h - the tree that the parser makes (LANGUAGE.md §3). Everything lives in one arena, and
 * keeps its range in the source. Knows syntax only: no name has a meaning yet. */
#ifndef RH_DSL_AST_H
#define RH_DSL_AST_H

#include "dsl/diag.h"

typedef struct rh_slice { const char *text; size_t len; } rh_slice; /* borrowed, not terminated */

/* layers [ "." hook ] */
enum { RH_MAX_LAYER = 9999 };
typedef struct rh_site_ast {
    rh_range range;
    bool all;
    int32_t n, *layers;   /* ascending, distinct; a range is written out. 0 if all */
    bool has_hook;
    rh_hook hook;         /* resid_post unless written */
} rh_site_ast;

typedef enum rh_expr_kind {
    RH_EXPR_NUMBER, RH_EXPR_NAME, RH_EXPR_INDEX, RH_EXPR_CALL,
    RH_EXPR_SUM,     /* items with signs: a + b - c is one node, so that depth is nesting */
    RH_EXPR_PRODUCT, /* items with * or / */
    RH_EXPR_NEGATE, RH_EXPR_AT
} rh_expr_kind;

typedef struct rh_expr rh_expr;

typedef struct rh_item { /* of a sum or product */
    rh_expr *expr;
    char op;             /* + - * /; the first item has + or * */
    rh_range op_range;
} rh_item;

typedef enum rh_option_kind { RH_OPTION_WORD, RH_OPTION_STRING, RH_OPTION_NUMBER } rh_option_kind;

typedef struct rh_arg {
    rh_range range;
    rh_expr *expr;        /* NULL: a string or an option */
    rh_slice option;      /* text NULL: positional */
    rh_range option_range;
    rh_option_kind kind;  /* of the option's value */
    rh_range value_range;
    rh_slice text;        /* string (unescaped, NUL-terminated) or word */
    double number;
} rh_arg;

struct rh_expr {
    rh_expr_kind kind;
    rh_range range;       /* with its parentheses */
    int32_t node;         /* set by the checker: its node in the graph, -1 if it has an error */
    /* NUMBER */
    double number;
    bool integer, integer_fits;
    uint64_t whole;
    /* NAME, INDEX, CALL */
    rh_slice name;
    rh_range name_range;
    int32_t n_args;       /* CALL; INDEX: integers and strings */
    rh_arg *args;
    /* SUM, PRODUCT; NEGATE and AT have one */
    int32_t n_items;
    rh_item *items;
    rh_site_ast site;     /* AT */
};

typedef enum rh_action_word { RH_STEER_WORD, RH_ABLATE_WORD, RH_CAP_WORD, RH_CLAMP_WORD, RH_SCALE_WORD } rh_action_word;

typedef enum rh_statement_kind {
    RH_ST_LET, RH_ST_SAE, RH_ST_MODEL, RH_ST_LAYER, RH_ST_INCLUDE, RH_ST_ACTION
} rh_statement_kind;

struct rh_selector; /* dsl/program.h */

typedef struct rh_statement {
    rh_statement_kind kind;
    rh_range range, word;    /* whole; its first word */
    rh_slice name;           /* LET, SAE */
    rh_range name_range;
    rh_slice text;           /* SAE, MODEL, INCLUDE */
    rh_range text_range;
    rh_site_ast site;        /* LAYER; SAE if has_site */
    bool has_site;
    rh_expr *expr;           /* LET, ACTION */
    rh_action_word action;
    bool bare;               /* an expression without an action word: steer, or a value */
    rh_expr *amount;         /* cap … at, clamp … at, scale … by */
    struct rh_selector *mask;
    int32_t n_mask;
    rh_range mask_range;     /* source NULL: none */
    rh_range guard;          /* source NULL: none */
    bool guard_cosine, guard_less, guard_equal; /* cos, else dot; < or <=, else > or >=; one of the = ones */
    rh_expr *guard_vector, *guard_threshold;
} rh_statement;

#endif

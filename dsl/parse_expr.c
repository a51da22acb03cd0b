/* parse_expr.c - expressions and sites, one function a rule of the grammar. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/number.h"
#include "dsl/parse.h"
#include "dsl/words.h"

static rh_expr *new_expr(rh_parser *p, rh_expr_kind kind, uint32_t start)
{
    rh_expr *e = rh_arena_alloc(p->arena, 1, sizeof *e);
    if (!e) {
        rh_parser_nomem(p);
        return NULL;
    }
    e->kind = kind;
    e->range = (rh_range){p->source, start, start};
    e->node = -1;
    return e;
}

static rh_expr *end_expr(rh_parser *p, rh_expr *e)
{
    e->range.end = p->last_end;
    return e;
}

/* ---- site = layers [ "." hook ] ----------------------------------------------------------- */

static int compare_int32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool parse_layer(rh_parser *p, int32_t *out)
{
    uint64_t layer;
    if (p->tok.kind == RH_TOK_MINUS) return rh_complain(p, RH_EVALUE, rh_lexeme_range(p), "layers count from 0", NULL);
    if (!rh_parse_int(p, &layer, RH_MAX_LAYER, "a layer")) return false;
    *out = (int32_t)layer;
    return true;
}

/* int [ ".." int ] */
static bool parse_layer_range(rh_parser *p, rh_site_ast *out)
{
    uint32_t start = p->tok.start;
    int32_t lo = 0, hi = 0;
    if (!parse_layer(p, &lo)) return false;
    hi = lo;
    if (rh_accept(p, RH_TOK_DOTDOT) && !parse_layer(p, &hi)) return false;
    if (hi < lo)
        return rh_complain(p, RH_EVALUE, rh_range_from(p, start), "this range is empty", "write the lower layer first");
    out->n = hi - lo + 1;
    out->layers = rh_arena_alloc(p->arena, (size_t)out->n, sizeof *out->layers);
    if (!out->layers) return rh_parser_nomem(p);
    for (int32_t i = 0; i < out->n; i++) out->layers[i] = lo + i;
    return true;
}

/* "[" int { "," int } "]" */
static bool parse_layer_list(rh_parser *p, rh_site_ast *out)
{
    uint32_t start = p->tok.start;
    int32_t capacity = 0;
    rh_next(p);
    do {
        int32_t layer;
        if (!parse_layer(p, &layer)) return false;
        if (!rh_push(p, &out->layers, &out->n, &capacity, sizeof layer, &layer)) return false;
    } while (rh_accept(p, RH_TOK_COMMA));
    if (!rh_accept(p, RH_TOK_RBRACKET)) return rh_expected(p, "',' or ']'");
    qsort(out->layers, (size_t)out->n, sizeof *out->layers, compare_int32);
    for (int32_t i = 1; i < out->n; i++)
        if (out->layers[i] == out->layers[i - 1])
            return rh_complain(p, RH_EVALUE, rh_range_from(p, start), "a layer stands twice in this list", NULL);
    return true;
}

static bool parse_hook(rh_parser *p, rh_site_ast *out)
{
    rh_slice name = rh_lexeme_slice(p);
    if (p->tok.kind != RH_TOK_NAME) return rh_expected(p, "a hook such as resid_post");
    if (!rh_hook_parse(&out->hook, name.text, name.len)) {
        rh_nearest near = rh_nearest_to(name.text, name.len);
        for (int h = 0; h < RH_N_HOOKS; h++) rh_nearest_try(&near, rh_hook_name((rh_hook)h), strlen(rh_hook_name((rh_hook)h)));
        rh_diag *d = rh_diag_add(p->diags, RH_ENAME, rh_lexeme_range(p), "unknown hook '%.*s'", (int)name.len, name.text);
        if (near.best)
            rh_diag_hint(d, "did you mean %s?", near.best);
        else
            rh_diag_hint(d, "the hooks are resid_pre, attn_z, attn_out, mlp_in, mlp_out, resid_post");
        return false;
    }
    out->has_hook = true;
    rh_next(p);
    return true;
}

bool rh_parse_site(rh_parser *p, rh_site_ast *out, bool hook_allowed)
{
    uint32_t start = p->tok.start;
    *out = (rh_site_ast){.hook = RH_RESID_POST};
    if (rh_at_word(p, "all")) {
        out->all = true;
        rh_next(p);
    } else if (p->tok.kind == RH_TOK_LBRACKET) {
        if (!parse_layer_list(p, out)) return false;
    } else if (p->tok.kind == RH_TOK_NUMBER || p->tok.kind == RH_TOK_MINUS) {
        if (!parse_layer_range(p, out)) return false;
    } else {
        return rh_expected(p, "layers: 16, 14..18, [3, 7] or all");
    }
    if (hook_allowed && rh_accept(p, RH_TOK_DOT) && !parse_hook(p, out)) return false;
    out->range = rh_range_from(p, start);
    return true;
}

/* ---- call, index ---------------------------------------------------------------------------- */

/* name "=" value: a word, a string or a number, which the option's type will judge */
static bool parse_option(rh_parser *p, rh_arg *arg)
{
    arg->option = rh_lexeme_slice(p);
    arg->option_range = rh_lexeme_range(p);
    rh_next(p);
    rh_next(p);
    uint32_t start = p->tok.start;
    bool minus = rh_accept(p, RH_TOK_MINUS);
    if (p->tok.kind == RH_TOK_NUMBER) {
        char *digits = rh_arena_strndup(p->arena, p->source->text + p->tok.start, p->tok.end - p->tok.start);
        if (!digits) return rh_parser_nomem(p);
        rh_status status = rh_number_parse(&arg->number, digits);
        if (status == RH_ENOMEM) return rh_parser_nomem(p);
        if (status) return rh_complain(p, RH_EVALUE, rh_lexeme_range(p), "this number is out of range", NULL);
        if (minus) arg->number = -arg->number;
        arg->kind = RH_OPTION_NUMBER;
        rh_next(p);
    } else if (!minus && p->tok.kind == RH_TOK_STRING) {
        arg->kind = RH_OPTION_STRING;
        if (!rh_parse_string(p, &arg->text, &arg->value_range, "a string")) return false;
    } else if (!minus && p->tok.kind == RH_TOK_NAME) {
        arg->kind = RH_OPTION_WORD;
        arg->text = rh_lexeme_slice(p);
        rh_next(p);
    } else {
        return rh_expected(p, "the option's value");
    }
    arg->value_range = rh_range_from(p, start);
    return true;
}

/* arg = name "=" value | expr | string */
static bool parse_arg(rh_parser *p, rh_arg *arg)
{
    uint32_t start = p->tok.start;
    *arg = (rh_arg){0};
    if (p->tok.kind == RH_TOK_STRING) {
        if (!rh_parse_string(p, &arg->text, &arg->range, "a string")) return false;
    } else if (p->tok.kind == RH_TOK_NAME && rh_peek(p).kind == RH_TOK_EQUALS) {
        if (!parse_option(p, arg)) return false;
    } else {
        arg->expr = rh_parse_expr(p);
        if (!arg->expr) return false;
    }
    arg->range = rh_range_from(p, start);
    return true;
}

static bool parse_args(rh_parser *p, rh_expr *e)
{
    int32_t capacity = 0;
    if (!rh_enter(p)) return false;
    rh_next(p); /* ( */
    while (p->tok.kind != RH_TOK_CLOSE || e->n_args > 0) {
        rh_arg arg;
        if (!parse_arg(p, &arg) || !rh_push(p, &e->args, &e->n_args, &capacity, sizeof arg, &arg)) return false;
        if (!rh_accept(p, RH_TOK_COMMA)) break;
    }
    rh_leave(p);
    return rh_accept(p, RH_TOK_CLOSE) || rh_expected(p, "',' or ')'");
}

/* "[" index { "," index } "]" */
static bool parse_indices(rh_parser *p, rh_expr *e)
{
    int32_t capacity = 0;
    rh_next(p); /* [ */
    do {
        rh_arg arg = {0};
        uint64_t index;
        uint32_t start = p->tok.start;
        if (p->tok.kind == RH_TOK_STRING) {
            if (!rh_parse_string(p, &arg.text, &arg.range, "a string")) return false;
        } else if (!rh_parse_int(p, &index, INT32_MAX, "a feature's number or its label in quotes")) {
            return false;
        } else {
            arg.number = (double)index;
        }
        arg.range = rh_range_from(p, start);
        if (!rh_push(p, &e->args, &e->n_args, &capacity, sizeof arg, &arg)) return false;
    } while (rh_accept(p, RH_TOK_COMMA));
    return rh_accept(p, RH_TOK_RBRACKET) || rh_expected(p, "',' or ']'");
}

/* ---- primary --------------------------------------------------------------------------------- */

static rh_expr *parse_number(rh_parser *p)
{
    rh_expr *e = new_expr(p, RH_EXPR_NUMBER, p->tok.start);
    char *digits = rh_arena_strndup(p->arena, p->source->text + p->tok.start, p->tok.end - p->tok.start);
    if (!e || !digits) {
        rh_parser_nomem(p);
        return NULL;
    }
    rh_status status = rh_number_parse(&e->number, digits);
    if (status == RH_ENOMEM) {
        rh_parser_nomem(p);
        return NULL;
    }
    if (status) {
        rh_complain(p, RH_EVALUE, rh_lexeme_range(p), "this number is out of range", "a scalar is a float64");
        return NULL;
    }
    e->integer = p->tok.integer;
    if (e->integer) e->integer_fits = rh_lexeme_integer(&e->whole, p->source, &p->tok, UINT64_MAX);
    rh_next(p);
    return end_expr(p, e);
}

static rh_expr *parse_name(rh_parser *p)
{
    rh_expr *e = new_expr(p, RH_EXPR_NAME, p->tok.start);
    if (!e) return NULL;
    e->name = rh_lexeme_slice(p);
    e->name_range = rh_lexeme_range(p);
    rh_next(p);
    if (p->tok.kind == RH_TOK_OPEN) {
        e->kind = RH_EXPR_CALL;
        if (!parse_args(p, e)) return NULL;
    } else if (p->tok.kind == RH_TOK_LBRACKET) {
        e->kind = RH_EXPR_INDEX;
        if (!parse_indices(p, e)) return NULL;
    }
    return end_expr(p, e);
}

static rh_expr *parse_parentheses(rh_parser *p)
{
    uint32_t start = p->tok.start;
    if (!rh_enter(p)) return NULL;
    rh_next(p);
    rh_expr *e = rh_parse_expr(p);
    if (!e) return NULL;
    rh_leave(p);
    if (!rh_accept(p, RH_TOK_CLOSE)) {
        rh_expected(p, "an operator or ')'");
        return NULL;
    }
    e->range.start = start;
    return end_expr(p, e);
}

static rh_expr *parse_primary(rh_parser *p)
{
    switch (p->tok.kind) {
    case RH_TOK_NUMBER: return parse_number(p);
    case RH_TOK_OPEN: return parse_parentheses(p);
    case RH_TOK_NAME:
        if (rh_is_statement_word(p->source->text + p->tok.start, p->tok.end - p->tok.start)) break;
        return parse_name(p);
    case RH_TOK_STRING:
        rh_complain(p, RH_EKIND, rh_lexeme_range(p), "a string is not a value",
                    "a text's direction is act(\"…\"), a file's dim(\"…\") or load(\"…\")");
        return NULL;
    default: break;
    }
    rh_expected(p, "a value");
    return NULL;
}

/* pinned = primary [ "@" site ] */
static rh_expr *parse_pinned(rh_parser *p)
{
    uint32_t start = p->tok.start;
    rh_expr *inner = parse_primary(p);
    if (!inner || p->tok.kind != RH_TOK_AT) return inner;
    rh_expr *e = new_expr(p, RH_EXPR_AT, start);
    rh_item *item = rh_arena_alloc(p->arena, 1, sizeof *item);
    if (!e || !item) {
        rh_parser_nomem(p);
        return NULL;
    }
    rh_next(p);
    if (!rh_parse_site(p, &e->site, true)) return NULL;
    item->expr = inner;
    e->items = item;
    e->n_items = 1;
    if (p->tok.kind == RH_TOK_AT) {
        rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "a second @", "to select from a family, write (v @ 14..18) @ 16");
        return NULL;
    }
    return end_expr(p, e);
}

/* unary = "-" unary | pinned */
static rh_expr *parse_unary(rh_parser *p)
{
    if (p->tok.kind != RH_TOK_MINUS) return parse_pinned(p);
    if (!rh_enter(p)) return NULL;
    rh_item *item = rh_arena_alloc(p->arena, 1, sizeof *item);
    rh_expr *e = new_expr(p, RH_EXPR_NEGATE, p->tok.start);
    if (!e || !item) {
        rh_parser_nomem(p);
        return NULL;
    }
    rh_next(p);
    item->expr = parse_unary(p);
    if (!item->expr) return NULL;
    rh_leave(p);
    e->items = item;
    e->n_items = 1;
    return end_expr(p, e);
}

/* One level of left-associative operators: the items of a + b - c side by side. */
static rh_expr *parse_items(rh_parser *p, rh_expr_kind kind, rh_expr *(*operand)(rh_parser *), rh_lexeme_kind op1,
                            rh_lexeme_kind op2)
{
    uint32_t start = p->tok.start;
    rh_item item = {.expr = operand(p), .op = kind == RH_EXPR_SUM ? '+' : '*'};
    if (!item.expr || (p->tok.kind != op1 && p->tok.kind != op2)) return item.expr;
    rh_expr *e = new_expr(p, kind, start);
    int32_t capacity = 0;
    if (!e || !rh_push(p, &e->items, &e->n_items, &capacity, sizeof item, &item)) return NULL;
    while (p->tok.kind == op1 || p->tok.kind == op2) {
        item.op = p->source->text[p->tok.start];
        item.op_range = rh_lexeme_range(p);
        rh_next(p);
        item.expr = operand(p);
        if (!item.expr || !rh_push(p, &e->items, &e->n_items, &capacity, sizeof item, &item)) return NULL;
    }
    return end_expr(p, e);
}

static rh_expr *parse_term(rh_parser *p) { return parse_items(p, RH_EXPR_PRODUCT, parse_unary, RH_TOK_STAR, RH_TOK_SLASH); }

rh_expr *rh_parse_expr(rh_parser *p)
{
    return parse_items(p, RH_EXPR_SUM, parse_term, RH_TOK_PLUS, RH_TOK_MINUS);
}

/* parts.c - 1.5*(sf + 0.5*rain) has the parts sf: 1.5 and rain: 0.75. The tree is walked, not the
 * graph, since it is the user's names that make sense to them. Depth is the parser's nesting. */
#include "dsl/parts.h"

#include <math.h>
#include <string.h>

#include "dsl/words.h"

typedef struct collector {
    rh_terms *out;
    size_t first;           /* terms before it belong to other expressions */
    rh_arena *arena;
    const rh_graph *g;
    const rh_expr *last;    /* the only leaf, as long as `leaves` is 1 */
    size_t leaves;
} collector;

static const char *label_of(collector *c, const rh_expr *e)
{
    rh_range r = e->kind == RH_EXPR_NAME ? e->name_range : e->range;
    char *text = rh_arena_strndup(c->arena, r.source->text + r.start, r.end - r.start);
    for (char *t = text; t && *t; t++)
        if (*t == '\n' || *t == '\r') *t = ' ';
    return text;
}

static rh_status add_leaf(collector *c, const rh_expr *e, double coef)
{
    for (size_t i = c->first; i < c->out->n; i++)
        if (c->out->items[i].node == e->node) {
            c->out->items[i].c += coef;
            return RH_OK;
        }
    const char *label = label_of(c, e);
    if (!label || !RH_GROW(c->out->items, c->out->capacity, c->out->n)) return RH_ENOMEM;
    c->out->items[c->out->n++] = (rh_term){label, coef, e->node};
    c->last = e;
    c->leaves++;
    return RH_OK;
}

static bool number(const collector *c, const rh_expr *e, double *x)
{
    const rh_node *n = &c->g->nodes[e->node];
    if (n->op != RH_OP_NUMBER) return false;
    *x = n->number;
    return true;
}

static rh_status walk(collector *c, const rh_expr *e, double coef);

/* Numbers times (or over) one vector: the numbers go into the coefficient. */
static rh_status walk_product(collector *c, const rh_expr *e, double coef)
{
    const rh_expr *vector = NULL;
    double x;
    for (int32_t i = 0; i < e->n_items; i++) {
        if (number(c, e->items[i].expr, &x))
            coef = e->items[i].op == '*' ? coef * x : coef / x;
        else if (vector)
            return RH_EKIND;
        else
            vector = e->items[i].expr;
    }
    return vector && c->g->nodes[vector->node].kind == RH_VALUE_VECTOR ? walk(c, vector, coef) : RH_EKIND;
}

static bool product_is_linear(const collector *c, const rh_expr *e)
{
    int vectors = 0;
    double x;
    for (int32_t i = 0; i < e->n_items; i++)
        if (!number(c, e->items[i].expr, &x)) {
            vectors++;
            if (c->g->nodes[e->items[i].expr->node].kind != RH_VALUE_VECTOR) return false;
        }
    return vectors == 1;
}

static bool is_mean(const rh_expr *e) { return e->kind == RH_EXPR_CALL && rh_is_word(e->name.text, e->name.len, "mean"); }

static bool is_leaf(const rh_expr *e)
{
    return e->kind == RH_EXPR_NAME || e->kind == RH_EXPR_INDEX || e->kind == RH_EXPR_NUMBER || (e->kind == RH_EXPR_CALL && !is_mean(e));
}

/* The name in `trip` or `trip @ 14`, else NULL. */
static const rh_expr *lone_name(const rh_expr *e)
{
    while (e->kind == RH_EXPR_AT) e = e->items[0].expr;
    return e->kind == RH_EXPR_NAME ? e : NULL;
}

static rh_status walk(collector *c, const rh_expr *e, double coef)
{
    switch (e->kind) {
    case RH_EXPR_SUM:
        for (int32_t i = 0; i < e->n_items; i++)
            RH_TRY(walk(c, e->items[i].expr, e->items[i].op == '-' ? -coef : coef));
        return RH_OK;
    case RH_EXPR_PRODUCT: return product_is_linear(c, e) ? walk_product(c, e, coef) : add_leaf(c, e, coef);
    case RH_EXPR_NEGATE: return walk(c, e->items[0].expr, -coef);
    case RH_EXPR_AT: /* the parts of (a - b) @ 14 are taken where it is; a @ 14 is one of its own */
        return is_leaf(e->items[0].expr) ? add_leaf(c, e, coef) : walk(c, e->items[0].expr, coef);
    case RH_EXPR_CALL:
        if (!is_mean(e)) return add_leaf(c, e, coef);
        for (int32_t i = 0; i < e->n_args; i++) RH_TRY(walk(c, e->args[i].expr, coef / e->n_args));
        return RH_OK;
    default: return add_leaf(c, e, coef);
    }
}

static void drop_zeros(collector *c)
{
    size_t kept = c->first;
    for (size_t i = c->first; i < c->out->n; i++)
        if (c->out->items[i].c != 0 && isfinite(c->out->items[i].c)) c->out->items[kept++] = c->out->items[i];
    c->out->n = kept;
}

rh_status rh_terms_of(rh_terms *out, rh_arena *arena, const rh_graph *g, const rh_scope *scope, const rh_expr *e)
{
    collector c = {.out = out, .first = out->n, .arena = arena, .g = g};
    RH_TRY(walk(&c, e, 1));
    const rh_expr *name = c.leaves == 1 ? lone_name(c.last) : NULL;
    if (name) {
        double coef = out->items[c.first].c;
        const rh_expr *inner = scope->items[rh_scope_find(scope, name->name)].statement->expr;
        out->n = c.first;
        c.leaves = 0;
        RH_TRY(walk(&c, inner, coef));
    }
    if (c.leaves == 1 && g->nodes[c.last->node].op != RH_OP_ATOM && c.last->kind != RH_EXPR_NAME) out->n = c.first;
    drop_zeros(&c);
    return RH_OK;
}

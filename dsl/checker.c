/* checker.c - operators and names. Numbers fold here, so that a linear form has numbers as
 * coefficients; what depends on vectors waits for evaluation. */
#include "dsl/checker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/functions.h"

const rh_node *rh_operand_node(const rh_checker *c, const rh_operand *o) { return &c->graph->nodes[o->node]; }

const char *rh_kind_text(rh_value_kind kind)
{
    return kind == RH_VALUE_SCALAR ? "a scalar" : kind == RH_VALUE_VECTOR ? "a vector" : "a span";
}

bool rh_kind_error(rh_checker *c, const rh_operand *ops, int32_t n, const char *message, const char *hint)
{
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, ops[0].range, "%s", message);
    for (int32_t i = 0; i < n; i++) rh_diag_label(d, ops[i].range, "%s", rh_kind_text(rh_operand_node(c, &ops[i])->kind) + 2);
    if (hint) rh_diag_hint(d, "%s", hint);
    return false;
}

bool rh_make_number(rh_checker *c, rh_operand *out, double x, rh_range range)
{
    if (!isfinite(x)) {
        rh_diag *d = rh_diag_add(c->diags, RH_EVALUE, range, "this leaves the range of float64");
        rh_diag_hint(d, "a scalar is at most 1.8e308");
        return false;
    }
    rh_node node = {.op = RH_OP_NUMBER, .kind = RH_VALUE_SCALAR, .place = RH_PLACE_CONSTANT, .site = -1, .atom = -1,
                    .number = x, .range = range};
    *out = (rh_operand){rh_graph_node(c->graph, &node), range, range};
    if (out->node < 0) c->no_memory = true;
    return out->node >= 0;
}

bool rh_make(rh_checker *c, rh_operand *out, rh_op op, rh_value_kind kind, const rh_operand *ops, int32_t n, const double *coef,
             rh_range range)
{
    rh_joined joined;
    int32_t few[4], *in = few;
    if (!rh_join(c, ops, n, &joined)) return false;
    if (n > 4) in = rh_calloc((size_t)n, sizeof *in);
    if (!in) {
        c->no_memory = true;
        return false;
    }
    for (int32_t i = 0; i < n; i++) in[i] = ops[i].node;
    rh_node node = {.op = op, .kind = kind, .place = joined.place, .site = joined.site,
                    .d = kind == RH_VALUE_SCALAR || !joined.d ? joined.float_d : joined.d, .inner_d = joined.inner_d,
                    .model = joined.model, .n_in = n, .in = in, .coef = coef, .atom = -1, .range = range};
    *out = (rh_operand){rh_graph_node(c->graph, &node), range, joined.origin};
    if (in != few) free(in);
    if (out->node < 0) c->no_memory = true;
    return out->node >= 0;
}

static bool is_number(const rh_checker *c, const rh_operand *o) { return rh_operand_node(c, o)->op == RH_OP_NUMBER; }
static double number_of(const rh_checker *c, const rh_operand *o) { return rh_operand_node(c, o)->number; }
static rh_value_kind kind_of(const rh_checker *c, const rh_operand *o) { return rh_operand_node(c, o)->kind; }

/* x * o, for a number x */
static bool multiply_by(rh_checker *c, rh_operand *out, double x, const rh_operand *o, rh_range range)
{
    if (is_number(c, o)) return rh_make_number(c, out, x * number_of(c, o), range);
    rh_operand of = *o;
    if (!rh_make(c, out, RH_OP_SUM, kind_of(c, &of), &of, 1, &x, range)) return false;
    out->origin = of.origin;
    return true;
}

/* ---- sums ------------------------------------------------------------------------------------------ */

static bool check_sum_kinds(rh_checker *c, const rh_operand *ops, int32_t n)
{
    bool scalar = false, vector = false;
    int32_t odd = 1; /* first operand of another kind than the one before it */
    for (int32_t i = 0; i < n; i++) {
        if (kind_of(c, &ops[i]) == RH_VALUE_SPAN)
            return rh_kind_error(c, &ops[i], 1, "a span is no vector and cannot be added",
                                 "proj(v, span) and reject(v, span) are vectors");
        scalar |= kind_of(c, &ops[i]) == RH_VALUE_SCALAR;
        vector |= kind_of(c, &ops[i]) == RH_VALUE_VECTOR;
    }
    if (!scalar || !vector) return true;
    while (kind_of(c, &ops[odd]) == kind_of(c, &ops[odd - 1])) odd++;
    return rh_kind_error(c, ops + odd - 1, 2, "a scalar and a vector cannot be added",
                         "multiply the vector by the scalar, or add the scalar to norm(v)");
}

static bool add_numbers(rh_checker *c, const rh_operand *ops, const double *coef, int32_t n, rh_range range, rh_operand *out)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += coef[i] * number_of(c, &ops[i]);
    return rh_make_number(c, out, sum, range);
}

static bool check_sum(rh_checker *c, rh_expr *e, rh_operand *out)
{
    bool ok = true, numbers = true;
    rh_operand *ops = rh_calloc((size_t)e->n_items, sizeof *ops);
    double *coef = rh_calloc((size_t)e->n_items, sizeof *coef);
    if (!ops || !coef) {
        c->no_memory = true;
        ok = false;
    }
    for (int32_t i = 0; i < e->n_items && !c->no_memory; i++) {
        coef[i] = e->items[i].op == '-' ? -1 : 1;
        if (!rh_check_expr(c, e->items[i].expr, &ops[i]))
            ok = false;
        else
            numbers &= is_number(c, &ops[i]);
    }
    if (ok) ok = check_sum_kinds(c, ops, e->n_items);
    if (ok)
        ok = numbers ? add_numbers(c, ops, coef, e->n_items, e->range, out)
                     : rh_make(c, out, RH_OP_SUM, kind_of(c, &ops[0]), ops, e->n_items, coef, e->range);
    free(ops);
    free(coef);
    return ok;
}

/* ---- products ---------------------------------------------------------------------------------------- */

static bool multiply(rh_checker *c, const rh_operand ab[2], rh_range range, rh_operand *out)
{
    const rh_operand *a = &ab[0], *b = &ab[1];
    rh_value_kind ka = kind_of(c, a), kb = kind_of(c, b);
    if (ka == RH_VALUE_SPAN || kb == RH_VALUE_SPAN)
        return rh_kind_error(c, ab, 2, "a span cannot be multiplied", "proj(v, span) and reject(v, span) are vectors");
    if (ka == RH_VALUE_VECTOR && kb == RH_VALUE_VECTOR)
        return rh_kind_error(c, ab, 2, "vector * vector is not defined",
                             "dot(a, b) is the scalar product; proj(a, b) is the component of a along b");
    if (is_number(c, a)) return multiply_by(c, out, number_of(c, a), b, range);
    if (is_number(c, b)) return multiply_by(c, out, number_of(c, b), a, range);
    if (ka == RH_VALUE_SCALAR && kb == RH_VALUE_SCALAR) return rh_make(c, out, RH_OP_TIMES, RH_VALUE_SCALAR, ab, 2, NULL, range);
    rh_operand scaled[2] = {ka == RH_VALUE_SCALAR ? *a : *b, ka == RH_VALUE_SCALAR ? *b : *a};
    return rh_make(c, out, RH_OP_SCALE, RH_VALUE_VECTOR, scaled, 2, NULL, range);
}

static bool divide(rh_checker *c, const rh_operand ab[2], rh_range range, rh_operand *out)
{
    rh_value_kind ka = kind_of(c, &ab[0]), kb = kind_of(c, &ab[1]);
    if (ka == RH_VALUE_SPAN || kb == RH_VALUE_SPAN) return rh_kind_error(c, ab, 2, "a span cannot be divided", NULL);
    if (kb == RH_VALUE_VECTOR)
        return rh_kind_error(c, ab, 2, ka == RH_VALUE_VECTOR ? "vector / vector is not defined" : "a scalar cannot be divided by a vector",
                             "divide by its length: v / norm(w)");
    if (!is_number(c, &ab[1])) return rh_make(c, out, RH_OP_DIVIDE, ka, ab, 2, NULL, range);
    double by = number_of(c, &ab[1]);
    if (by == 0) {
        rh_diag_add(c->diags, RH_EVALUE, ab[1].range, "division by zero");
        return false;
    }
    if (is_number(c, &ab[0])) return rh_make_number(c, out, number_of(c, &ab[0]) / by, range);
    if (!isfinite(1 / by)) return rh_make_number(c, out, 1 / by, ab[1].range); /* its error */
    return multiply_by(c, out, 1 / by, &ab[0], range);
}

/* b/4 @ 1: the @ takes the 4 alone. true: said so. */
static bool number_at(rh_checker *c, const rh_expr *product, const rh_expr *item)
{
    if (item->kind != RH_EXPR_AT || item->items[0].expr->kind != RH_EXPR_NUMBER) return false;
    rh_range number = item->items[0].expr->range;
    const char *text = number.source->text;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, number, "a number has no place");
    rh_diag_label(d, item->site.range, "%s", "");
    uint32_t start = product->items[0].expr->range.start;
    if (number.end - start <= 120)
        rh_diag_hint(d, "@ binds tighter than * and /: write (%.*s) @ %.*s", (int)(number.end - start), text + start,
                     (int)(item->site.range.end - item->site.range.start), text + item->site.range.start);
    else
        rh_diag_hint(d, "@ binds tighter than * and /: put the product in parentheses");
    return true;
}

static bool check_product(rh_checker *c, rh_expr *e, rh_operand *out)
{
    rh_operand ab[2];
    bool ok = rh_check_expr(c, e->items[0].expr, &ab[0]);
    for (int32_t i = 1; i < e->n_items; i++) {
        /* checked even after an error on the left */
        bool right = !number_at(c, e, e->items[i].expr) && rh_check_expr(c, e->items[i].expr, &ab[1]);
        if (!ok || !right) {
            ok = false;
            if (c->no_memory) return false;
            continue;
        }
        rh_range range = e->range;
        rh_operand made;
        range.end = i + 1 == e->n_items ? e->range.end : e->items[i].expr->range.end;
        ok = e->items[i].op == '*' ? multiply(c, ab, range, &made) : divide(c, ab, range, &made);
        if (ok) ab[0] = made;
    }
    if (ok) *out = ab[0];
    return ok;
}

/* ---- names, signs, places ------------------------------------------------------------------------------ */

static int name_length(const rh_expr *e) { return e->name.len > 60 ? 60 : (int)e->name.len; }

static bool check_name(rh_checker *c, rh_expr *e, rh_operand *out)
{
    int32_t found = rh_scope_find(c->scope, e->name);
    if (found < 0) {
        const rh_function *f = rh_function_find(e->name);
        rh_diag *d = f ? rh_diag_add(c->diags, RH_ENAME, e->name_range, "'%s' is a function, and no concept has that name", f->name) : NULL;
        if (d)
            rh_diag_hint(d, "%s", f->usage);
        else
            rh_unknown_name(c->scope, e, c->diags);
        return false;
    }
    const rh_binding *b = &c->scope->items[found];
    if (b->statement->kind == RH_ST_SAE) {
        rh_diag *d = rh_diag_add(c->diags, RH_EKIND, e->name_range, "'%.*s' is an SAE, and no vector", name_length(e), e->name.text);
        rh_diag_label(d, b->range, "bound here");
        rh_diag_hint(d, "one of its features is: %.*s[3]", name_length(e), e->name.text);
        return false;
    }
    if (b->node < 0) return false; /* its own error was reported */
    *out = (rh_operand){b->node, e->range, e->name_range};
    return true;
}

static bool check_negate(rh_checker *c, rh_expr *e, rh_operand *out)
{
    rh_operand of;
    if (!rh_check_expr(c, e->items[0].expr, &of)) return false;
    if (kind_of(c, &of) == RH_VALUE_SPAN) return rh_kind_error(c, &of, 1, "a span has no sign", NULL);
    return multiply_by(c, out, -1, &of, e->range);
}

static bool check_at(rh_checker *c, rh_expr *e, rh_operand *out)
{
    rh_operand of;
    return rh_check_expr(c, e->items[0].expr, &of) && rh_check_at(c, &of, &e->site, e->range, out);
}

bool rh_check_expr(rh_checker *c, rh_expr *e, rh_operand *out)
{
    bool ok = false;
    switch (e->kind) {
    case RH_EXPR_NUMBER: ok = rh_make_number(c, out, e->number, e->range); break;
    case RH_EXPR_NAME: ok = check_name(c, e, out); break;
    case RH_EXPR_INDEX: ok = rh_check_features(c, e, out); break;
    case RH_EXPR_CALL: ok = rh_check_call(c, e, out); break;
    case RH_EXPR_SUM: ok = check_sum(c, e, out); break;
    case RH_EXPR_PRODUCT: ok = check_product(c, e, out); break;
    case RH_EXPR_NEGATE: ok = check_negate(c, e, out); break;
    case RH_EXPR_AT: ok = check_at(c, e, out); break;
    }
    if (ok) e->node = out->node;
    return ok;
}

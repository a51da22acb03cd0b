/* calls.c - functions of vectors and scalars (LANGUAGE.md §5). */
#include "dsl/calls.h"

#include <stdlib.h>
#include <string.h>

static bool unknown_function(rh_checker *c, const rh_expr *e)
{
    const char *near = rh_function_nearest(e->name);
    int len = e->name.len > 60 ? 60 : (int)e->name.len;
    rh_diag *d = rh_diag_add(c->diags, RH_ENAME, e->name_range, "unknown function '%.*s'", len, e->name.text);
    if (rh_scope_find(c->scope, e->name) >= 0)
        rh_diag_hint(d, "'%.*s' is a concept; for a product, write %.*s*(…)", len, e->name.text, len, e->name.text);
    else if (near)
        rh_diag_hint(d, "did you mean %s?", near);
    else
        rh_diag_hint(d, "the functions are unit, norm, rescale, dot, cos, angle, proj, reject, span, mean, lerp, slerp, free, "
                        "resid_norm; sources are dim, pca, lda, logreg, act, neutral, token, unembed, load, random");
    return false;
}

bool rh_check_count(rh_checker *c, const rh_expr *e, const rh_function *f)
{
    int32_t given = 0, want = (int32_t)strlen(f->args);
    bool more = want > 0 && f->args[want - 1] == '+', optional = want > 0 && f->args[want - 1] == '?';
    if (more || optional) want--;
    for (int32_t i = 0; i < e->n_args; i++) given += !e->args[i].option.text;
    if (more ? given >= want : given == want || (optional && given == want - 1)) return true;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, e->range, "%s takes %s%d argument%s, not %d", f->name,
                             more ? "at least " : optional ? "at most " : "", (int)want, want == 1 ? "" : "s", (int)given);
    rh_diag_hint(d, "%s", f->usage);
    return false;
}

static bool not_an_option(rh_checker *c, const rh_arg *arg, const rh_function *f)
{
    rh_diag *d = rh_diag_add(c->diags, RH_ENAME, arg->option_range, "%s has no option '%.*s'", f->name,
                             arg->option.len > 60 ? 60 : (int)arg->option.len, arg->option.text);
    rh_diag_hint(d, "%s", f->usage);
    return false;
}

/* Does an argument of this kind fit the letter? Says what would, if not. */
static bool check_arg_kind(rh_checker *c, const rh_operand *op, char letter, const rh_function *f)
{
    rh_value_kind kind = rh_operand_node(c, op)->kind;
    bool vector = kind == RH_VALUE_VECTOR, span = kind == RH_VALUE_SPAN, scalar = kind == RH_VALUE_SCALAR;
    bool moves = scalar && letter == 'p' && rh_operand_node(c, op)->place != RH_PLACE_CONSTANT;
    bool feature = letter == 'f' && rh_is_feature(c, op);
    bool fits = letter == 'f' ? feature : letter == 'v' ? vector : letter == 'n' ? scalar : letter == 'o' || letter == 'p' ? vector || span || moves : vector || scalar;
    if (fits) return true;
    const char *want = letter == 'f' ? "one feature of an SAE" : letter == 'v' ? "a vector" : letter == 'n' ? "a scalar" : letter == 'e' ? "vectors or scalars" : "a vector or a span";
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, op->range, "%s takes %s here, and this is %s", f->name, want, rh_kind_text(kind));
    rh_diag_label(d, op->range, "%s", rh_kind_text(kind) + 2);
    if (letter == 'n' && vector)
        rh_diag_hint(d, "norm(v) is a scalar; usage: %s", f->usage);
    else
        rh_diag_hint(d, "%s", f->usage);
    return false;
}

/* Arguments as operands; all are checked before the first error ends the call. */
static bool check_args(rh_checker *c, rh_expr *e, const rh_function *f, rh_operand *ops)
{
    bool ok = true;
    size_t letters = strlen(f->args);
    for (int32_t i = 0, k = 0; i < e->n_args && !c->no_memory; i++) {
        rh_arg *arg = &e->args[i];
        if (arg->option.text) {
            ok = not_an_option(c, arg, f);
        } else if (!arg->expr) {
            rh_diag *d = rh_diag_add(c->diags, RH_EKIND, arg->range, "%s takes no string", f->name);
            rh_diag_hint(d, "a text's direction is act(\"…\"), a file's dim(\"…\") or load(\"…\")");
            ok = false;
        } else {
            size_t at = (size_t)k < letters ? (size_t)k : letters - 1;
            char letter = f->args[at] == '+' ? f->args[at - 1] : f->args[at];
            bool fits = rh_check_expr(c, arg->expr, &ops[k]) && check_arg_kind(c, &ops[k], letter, f);
            ok &= fits;
            k++;
        }
    }
    return ok && !c->no_memory;
}

/* mean and lerp: all vectors or all scalars. */
static bool check_alike(rh_checker *c, const rh_operand *ops, int32_t n, const rh_function *f)
{
    for (int32_t i = 1; i < n; i++)
        if (rh_operand_node(c, &ops[i])->kind != rh_operand_node(c, &ops[i - 1])->kind) {
            rh_operand two[2] = {ops[i - 1], ops[i]};
            return rh_kind_error(c, two, 2, "a scalar and a vector have no mean", f->usage);
        }
    return true;
}

/* Numbers fold, like the operators. */
static bool make_sum(rh_checker *c, rh_operand *out, const rh_operand *ops, int32_t n, const double *coef, rh_range range)
{
    double sum = 0;
    int32_t i = 0;
    for (; i < n && rh_operand_node(c, &ops[i])->op == RH_OP_NUMBER; i++) sum += coef[i] * rh_operand_node(c, &ops[i])->number;
    if (i == n) return rh_make_number(c, out, sum, range);
    return rh_make(c, out, RH_OP_SUM, rh_operand_node(c, &ops[0])->kind, ops, n, coef, range);
}

static bool make_mean(rh_checker *c, rh_operand *out, const rh_operand *ops, int32_t n, rh_range range)
{
    double *coef = rh_calloc((size_t)n, sizeof *coef);
    if (!coef) {
        c->no_memory = true;
        return false;
    }
    for (int32_t i = 0; i < n; i++) coef[i] = 1.0 / n;
    bool ok = make_sum(c, out, ops, n, coef, range);
    free(coef);
    return ok;
}

/* (1-t) a + t b: linear if t is a number. */
static bool make_lerp(rh_checker *c, rh_operand *out, const rh_operand ops[3], rh_range range)
{
    const rh_node *t = rh_operand_node(c, &ops[2]);
    if (t->op == RH_OP_NUMBER) {
        double coef[2] = {1 - t->number, t->number};
        return make_sum(c, out, ops, 2, coef, range);
    }
    rh_operand one, rest, weighted[2];
    rh_value_kind kind = rh_operand_node(c, &ops[0])->kind;
    rh_op op = kind == RH_VALUE_SCALAR ? RH_OP_TIMES : RH_OP_SCALE;
    static const double minus[2] = {1, -1}, plus[2] = {1, 1};
    if (!rh_make_number(c, &one, 1, ops[2].range)) return false;
    rh_operand difference[2] = {one, ops[2]};
    if (!rh_make(c, &rest, RH_OP_SUM, RH_VALUE_SCALAR, difference, 2, minus, ops[2].range)) return false;
    rh_operand first[2] = {rest, ops[0]}, second[2] = {ops[2], ops[1]};
    return rh_make(c, &weighted[0], op, kind, first, 2, NULL, range) && rh_make(c, &weighted[1], op, kind, second, 2, NULL, range) &&
           rh_make(c, out, RH_OP_SUM, kind, weighted, 2, plus, range);
}

/* Its number lives where the feature does; the resolver knows it, or says how to measure it. */
static bool make_max_act(rh_checker *c, rh_operand *out, const rh_operand *of, rh_range range)
{
    rh_atom_spec spec = c->graph->atoms[rh_operand_node(c, of)->atom].spec;
    spec.kind = RH_ATOM_MAX_ACT;
    spec.range = range;
    spec.text_range = of->range;
    int32_t id = rh_check_atom(c, &spec);
    return id >= 0 && rh_make_atom(c, id, range, out);
}

static bool make_call(rh_checker *c, const rh_expr *e, const rh_function *f, const rh_operand *ops, int32_t n, rh_operand *out)
{
    const rh_value_kind scalar = RH_VALUE_SCALAR, vector = RH_VALUE_VECTOR;
    switch (f->id) {
    case RH_FN_UNIT: return rh_make(c, out, RH_OP_UNIT, vector, ops, n, NULL, e->range);
    case RH_FN_NORM: return rh_make(c, out, RH_OP_NORM, scalar, ops, n, NULL, e->range);
    case RH_FN_RESCALE: return rh_make(c, out, RH_OP_RESCALE, vector, ops, n, NULL, e->range);
    case RH_FN_DOT: return rh_make(c, out, RH_OP_DOT, scalar, ops, n, NULL, e->range);
    case RH_FN_COS: return rh_make(c, out, RH_OP_COS, scalar, ops, n, NULL, e->range);
    case RH_FN_ANGLE: return rh_make(c, out, RH_OP_ANGLE, scalar, ops, n, NULL, e->range);
    case RH_FN_PROJ: return rh_make(c, out, RH_OP_PROJ, vector, ops, n, NULL, e->range);
    case RH_FN_REJECT: return rh_make(c, out, RH_OP_REJECT, vector, ops, n, NULL, e->range);
    case RH_FN_SPAN: return rh_make(c, out, RH_OP_SPAN, RH_VALUE_SPAN, ops, n, NULL, e->range);
    case RH_FN_SLERP: return rh_make(c, out, RH_OP_SLERP, vector, ops, n, NULL, e->range);
    case RH_FN_MEAN: return check_alike(c, ops, n, f) && make_mean(c, out, ops, n, e->range);
    case RH_FN_LERP: return check_alike(c, ops, 2, f) && make_lerp(c, out, ops, e->range);
    case RH_FN_MAX_ACT: return make_max_act(c, out, &ops[0], e->range);
    case RH_FN_FREE: return rh_check_free(c, &ops[0], e->range, out);
    default: return false;
    }
}

static bool check_function(rh_checker *c, rh_expr *e, const rh_function *f, rh_operand *out)
{
    if (!rh_check_count(c, e, f)) return false;
    if (f->id == RH_FN_SPAN && e->n_args > RH_SPAN_MAX) {
        rh_diag_add(c->diags, RH_ELIMIT, e->range, "a span of %d vectors; at most %d", (int)e->n_args, RH_SPAN_MAX);
        return false;
    }
    rh_operand *ops = rh_calloc((size_t)e->n_args + 1, sizeof *ops);
    if (!ops) {
        c->no_memory = true;
        return false;
    }
    bool ok = check_args(c, e, f, ops) && make_call(c, e, f, ops, e->n_args, out);
    free(ops);
    return ok;
}

bool rh_check_call(rh_checker *c, rh_expr *e, rh_operand *out)
{
    const rh_function *f = rh_function_find(e->name);
    if (!f) return unknown_function(c, e);
    return f->id <= RH_FN_RESID_NORM ? rh_check_source(c, e, f, out) : check_function(c, e, f, out);
}

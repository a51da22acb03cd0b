/* program.c - a compiled program's door: what it says of itself, and its evaluation. */
#include "dsl/program.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/compiled.h"
#include "dsl/eval.h"

void rh_program_free(rh_program *p)
{
    if (!p) return;
    rh_book_free(&p->book);
    rh_graph_free(&p->graph);
    free(p->roots);
    free(p->actions);
    free(p->parts);
    free(p->names);
    rh_arena_free(p->arena);
    free(p);
}

const char *rh_program_model(const rh_program *p) { return p->book.model ? p->book.model->text.text : NULL; }
int rh_program_actions_left_out(const rh_program *p) { return p->left_out; }

bool rh_program_needs_model(const rh_program *p)
{
    for (int32_t i = 0; i < p->plan.n_requests; i++) {
        rh_atom_kind kind = p->graph.atoms[p->plan.steps[p->plan.requests[i]].atom].spec.kind;
        if (kind != RH_ATOM_LOAD && kind != RH_ATOM_RANDOM && kind != RH_ATOM_SAE && kind != RH_ATOM_MAX_ACT) return true;
    }
    return false;
}

const char *rh_program_name(const rh_program *p, int i)
{
    return i >= 0 && (size_t)i < p->book.scope.n ? p->bound[i] : NULL;
}

const char *rh_program_sae(const rh_program *p, int i)
{
    return i >= 0 && (size_t)i < p->book.scope.n ? p->sae_paths[i] : NULL;
}

/* ---- evaluation ------------------------------------------------------------------------------------------ */

static rh_status take_parts(rh_part **out, int32_t *n, const rh_program *p, const rh_run *run, const rh_compiled_value *v, rh_error *err)
{
    if (v->n_parts == 0) return RH_OK;
    *out = rh_calloc((size_t)v->n_parts, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    for (int32_t i = 0; i < v->n_parts; i++) {
        const rh_compiled_part *part = &p->parts[v->first_part + i];
        const rh_root *root = &p->roots[part->root];
        (*out)[i] = (rh_part){.label = part->label, .c = part->c};
        *n = i + 1;
        RH_TRY(rh_run_vector(&(*out)[i].v, run, root->step, root->site, err));
    }
    return RH_OK;
}

/* What all actions but steer take, and what cos(h, v) compares, must have a direction at every layer. */
static rh_status check_direction(const rh_value *v, const char *verb, rh_range at, rh_diags *diags)
{
    for (int32_t i = 0; i < v->n_layers; i++) {
        bool zero = v->kind == RH_VALUE_SPAN ? v->span[i].rank == 0
                                             : rh_norm(v->vector->data + (size_t)i * v->vector->d, v->vector->d) == 0;
        if (!zero) continue;
        rh_diag *d = rh_diag_add(diags, RH_EVALUE, at, "a zero vector has no direction to %s", verb);
        if (v->layers && v->n_layers > 1) rh_diag_label(d, at, "zero at layer %d", (int)v->layers[i]);
        rh_diag_hint(d, "its parts cancel, or it was zero from the start");
        return RH_EVALUE;
    }
    return RH_OK;
}

/* The engine works in float32. */
static rh_status check_float32(const rh_value *v, rh_range at, rh_diags *diags)
{
    for (int32_t i = 0; i < v->n_layers; i++) {
        if (fabs(v->scalar[i]) <= FLT_MAX) continue;
        rh_diag *d = rh_diag_add(diags, RH_EVALUE, at, "this leaves the range of float32");
        if (v->layers && v->n_layers > 1) rh_diag_label(d, at, "at layer %d", (int)v->layers[i]);
        rh_diag_hint(d, "hidden states are float32, at most 3.4e38");
        return RH_EVALUE;
    }
    return RH_OK;
}

/* Where the action has none, *out stays as it is. */
static rh_status take_part_of(rh_value *out, const rh_program *p, const rh_run *run, const rh_compiled_value *from, rh_part_of_action which,
                              const char *direction, rh_diags *diags, rh_error *err)
{
    if (from->roots[which] < 0) return RH_OK;
    const rh_root *root = &p->roots[from->roots[which]];
    RH_TRY(rh_run_value(out, run, root->step, root->site, err));
    if (direction) return check_direction(out, direction, root->range, diags);
    return out->kind == RH_VALUE_SCALAR ? check_float32(out, root->range, diags) : RH_OK;
}

static rh_status take_guard(rh_eval_guard **out, const rh_program *p, const rh_run *run, const rh_compiled_value *from, rh_diags *diags,
                            rh_error *err)
{
    const rh_statement *s = from->statement;
    if (!s->guard_vector) return RH_OK;
    rh_eval_guard *g = *out = rh_calloc(1, sizeof *g);
    if (!g) return rh_fail_nomem(err);
    g->cosine = s->guard_cosine;
    g->compare = s->guard_less ? (s->guard_equal ? RH_WHEN_LE : RH_WHEN_LT) : (s->guard_equal ? RH_WHEN_GE : RH_WHEN_GT);
    RH_TRY(take_part_of(&g->vector, p, run, from, RH_GUARD_VECTOR, g->cosine ? "compare with" : NULL, diags, err));
    return take_part_of(&g->threshold, p, run, from, RH_THRESHOLD, NULL, diags, err);
}

/* The step of the vector that this one is a multiple of; -1: it is a vector of its own. */
static int32_t multiple_of(const rh_step *s)
{
    switch (s->op) {
    case RH_OP_SUM: return s->n_in == 1 ? s->in[0] : -1;
    case RH_OP_SCALE: return s->in[1];
    case RH_OP_DIVIDE:
    case RH_OP_UNIT:
    case RH_OP_RESCALE: return s->in[0];
    default: return -1;
    }
}

/* Down to the decoder row, if it is one; the scale from the numbers: v = scale·row. */
static void find_feature(rh_eval_feature *out, const rh_program *p, const rh_run *run, int32_t step)
{
    const int32_t of = step;
    if (p->plan.steps[step].kind != RH_VALUE_VECTOR) return;
    for (int32_t next; (next = multiple_of(&p->plan.steps[step])) >= 0; step = next) {}
    const rh_step *row = &p->plan.steps[step];
    if (row->op != RH_OP_ATOM || p->graph.atoms[row->atom].spec.kind != RH_ATOM_SAE || p->plan.steps[of].n != 1) return;
    const float *v = run->values[of].vector, *w = run->values[step].vector;
    const double ww = rh_dot(w, w, row->d);
    out->spec = &p->graph.atoms[row->atom].spec;
    out->stored = of == step;
    out->scale = of == step ? 1 : ww > 0 ? rh_dot(v, w, row->d) / ww : 0;
}

/* clamp f at x: f's activation becomes x, and what it takes to change it is the resolver's. */
static rh_status take_feature(rh_eval_action *a, const rh_program *p, const rh_run *run, const rh_compiled_value *from, rh_diags *diags,
                              rh_error *err)
{
    const int32_t step = p->roots[from->roots[RH_ACTS_WITH]].step;
    rh_error why = {0};
    find_feature(&a->of_feature, p, run, step);
    if (a->verb != RH_VERB_CLAMP || !a->of_feature.stored) return RH_OK;
    const rh_atom_spec *spec = a->of_feature.spec;
    a->feature = spec->feature;
    rh_status status = p->resolver->acting_sae(p->resolver->self, spec, &a->sae, &why);
    if (status && err) *err = why;
    if (status && status != RH_ENOMEM) {
        rh_diag *d = rh_diag_add(diags, status, p->roots[from->roots[RH_ACTS_WITH]].range, "%s", why.message);
        if (why.hint[0]) rh_diag_hint(d, "%s", why.hint);
    }
    return status;
}

static rh_status take_actions(rh_evaluation *e, const rh_program *p, const rh_run *run, rh_diags *diags, rh_error *err)
{
    static const struct { rh_verb verb; const char *direction; } VERBS[] = {
        [RH_STEER_WORD] = {RH_VERB_STEER, NULL},   [RH_ABLATE_WORD] = {RH_VERB_ABLATE, "ablate"}, [RH_CAP_WORD] = {RH_VERB_CAP, "cap"},
        [RH_CLAMP_WORD] = {RH_VERB_CLAMP, "clamp"}, [RH_SCALE_WORD] = {RH_VERB_SCALE, "scale"},
    };
    e->actions = rh_calloc(p->n_actions + 1, sizeof *e->actions);
    if (!e->actions) return rh_fail_nomem(err);
    for (size_t i = 0; i < p->n_actions; i++) {
        const rh_compiled_value *from = &p->actions[i];
        rh_eval_action *a = &e->actions[e->n_actions++];
        const char *direction = VERBS[from->statement->action].direction;
        *a = (rh_eval_action){.verb = VERBS[from->statement->action].verb,
                              .mask = from->statement->mask, .n_mask = from->statement->n_mask, .text = from->text,
                              .range = from->statement->range};
        RH_TRY(take_part_of(&a->value, p, run, from, RH_ACTS_WITH, direction, diags, err));
        RH_TRY(take_part_of(&a->amount, p, run, from, RH_AMOUNT, NULL, diags, err));
        RH_TRY(take_feature(a, p, run, from, diags, err));
        RH_TRY(take_guard(&a->guard, p, run, from, diags, err));
        RH_TRY(take_parts(&a->parts, &a->n_parts, p, run, from, err));
    }
    return RH_OK;
}

static rh_status take_value(rh_evaluation *e, const rh_program *p, const rh_run *run, rh_error *err)
{
    if (!p->has_value) return RH_OK;
    const rh_root *root = &p->roots[p->value.roots[RH_ACTS_WITH]];
    e->value = rh_calloc(1, sizeof *e->value);
    if (!e->value) return rh_fail_nomem(err);
    RH_TRY(rh_run_value(e->value, run, root->step, root->site, err));
    find_feature(&e->of_feature, p, run, root->step);
    return take_parts(&e->parts, &e->n_parts, p, run, &p->value, err);
}

static rh_status take_names(rh_evaluation *e, const rh_program *p, const rh_run *run, rh_error *err)
{
    e->names = rh_calloc(p->n_names + 1, sizeof *e->names);
    if (!e->names) return rh_fail_nomem(err);
    for (size_t i = 0; i < p->n_names; i++) {
        const rh_root *root = &p->roots[p->names[i].root];
        if (run->values[root->step].failed) continue;
        RH_TRY(rh_run_value(&e->names[e->n_names].value, run, root->step, root->site, err));
        e->names[e->n_names++].name = p->names[i].name;
    }
    return RH_OK;
}

rh_status rh_program_eval(rh_evaluation **out, const rh_program *p, rh_diags *diags, rh_error *err)
{
    rh_run run = {0};
    rh_diags *own = NULL;
    rh_status status;
    rh_evaluation *e = rh_calloc(1, sizeof *e);
    if (!diags) diags = own = rh_calloc(1, sizeof *own);
    if (!e || !diags) {
        status = rh_fail_nomem(err);
        goto done;
    }
    memset(diags, 0, sizeof *diags);
    status = rh_run_plan(&run, &p->plan, &p->graph, p->resolver, diags, err);
    if (!status) status = take_actions(e, p, &run, diags, err);
    if (!status) status = take_value(e, p, &run, err);
    if (!status) status = take_names(e, p, &run, err);
    if (status && diags->n) rh_diags_error(diags, err);
    if (status) {
        rh_diags_settle(diags);
        goto done;
    }
    *out = e;
    e = NULL;
done:
    rh_run_free(&run);
    rh_evaluation_free(e);
    free(own);
    return status;
}

static void free_parts(rh_part *parts, int32_t n)
{
    for (int32_t i = 0; i < n; i++) rh_vector_free(parts[i].v);
    free(parts);
}

static void free_guard(rh_eval_guard *g)
{
    if (!g) return;
    rh_value_clear(&g->vector);
    rh_value_clear(&g->threshold);
    free(g);
}

void rh_evaluation_free(rh_evaluation *e)
{
    if (!e) return;
    for (int32_t i = 0; i < e->n_actions; i++) {
        rh_value_clear(&e->actions[i].value);
        rh_value_clear(&e->actions[i].amount);
        free_guard(e->actions[i].guard);
        free_parts(e->actions[i].parts, e->actions[i].n_parts);
    }
    for (int32_t i = 0; i < e->n_names; i++) rh_value_clear(&e->names[i].value);
    if (e->value) rh_value_clear(e->value);
    free_parts(e->parts, e->n_parts);
    free(e->actions);
    free(e->names);
    free(e->value);
    free(e);
}

/* program.c - a compiled program's door: what it says of itself, and its evaluation. */
#include "dsl/program.h"

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
        if (kind != RH_ATOM_LOAD && kind != RH_ATOM_RANDOM) return true;
    }
    return false;
}

const char *rh_program_name(const rh_program *p, int i)
{
    return i >= 0 && (size_t)i < p->book.scope.n ? p->bound[i] : NULL;
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

/* What is ablated must have a direction at every layer. */
static rh_status check_direction(const rh_value *v, rh_range at, rh_diags *diags)
{
    for (int32_t i = 0; i < v->n_layers; i++) {
        bool zero = v->kind == RH_VALUE_SPAN ? v->span[i].rank == 0
                                             : rh_norm(v->vector->data + (size_t)i * v->vector->d, v->vector->d) == 0;
        if (!zero) continue;
        rh_diag *d = rh_diag_add(diags, RH_EVALUE, at, "a zero vector has no direction to ablate");
        if (v->layers && v->n_layers > 1) rh_diag_label(d, at, "zero at layer %d", (int)v->layers[i]);
        rh_diag_hint(d, "its parts cancel, or it was zero from the start");
        return RH_EVALUE;
    }
    return RH_OK;
}

static rh_status take_actions(rh_evaluation *e, const rh_program *p, const rh_run *run, rh_diags *diags, rh_error *err)
{
    e->actions = rh_calloc(p->n_actions + 1, sizeof *e->actions);
    if (!e->actions) return rh_fail_nomem(err);
    for (size_t i = 0; i < p->n_actions; i++) {
        const rh_compiled_value *from = &p->actions[i];
        const rh_root *root = &p->roots[from->root];
        rh_eval_action *a = &e->actions[e->n_actions++];
        *a = (rh_eval_action){.verb = from->statement->action == RH_ABLATE_WORD ? RH_VERB_ABLATE : RH_VERB_STEER,
                              .mask = from->statement->mask, .n_mask = from->statement->n_mask, .text = from->text,
                              .range = from->statement->range};
        RH_TRY(rh_run_value(&a->value, run, root->step, root->site, err));
        if (a->verb == RH_VERB_ABLATE) RH_TRY(check_direction(&a->value, root->range, diags));
        RH_TRY(take_parts(&a->parts, &a->n_parts, p, run, from, err));
    }
    return RH_OK;
}

static rh_status take_value(rh_evaluation *e, const rh_program *p, const rh_run *run, rh_error *err)
{
    if (!p->has_value) return RH_OK;
    const rh_root *root = &p->roots[p->value.root];
    e->value = rh_calloc(1, sizeof *e->value);
    if (!e->value) return rh_fail_nomem(err);
    RH_TRY(rh_run_value(e->value, run, root->step, root->site, err));
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

void rh_evaluation_free(rh_evaluation *e)
{
    if (!e) return;
    for (int32_t i = 0; i < e->n_actions; i++) {
        rh_value_clear(&e->actions[i].value);
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

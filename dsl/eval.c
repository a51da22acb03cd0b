/* eval.c - the steps of a plan, one function an operation. A step of n layers takes inputs of n
 * layers, or of one, which serves for all. Nothing leaves a step that is not finite. */
#include "dsl/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluator {
    rh_run *run;
    const rh_step *step;  /* the current one */
    rh_step_value *value;
    int32_t layer;        /* index in the step's layers */
    rh_diags *diags;
    rh_error *err;
    rh_status status;
} evaluator;

/* ---- errors ------------------------------------------------------------------------------------------ */

/* An error at the current step; if only names shown beside need it, they do without. */
static bool fail(evaluator *ev, rh_status code, const char *message, const char *hint)
{
    const rh_step *s = ev->step;
    ev->value->failed = true;
    if (code == RH_ENOMEM) {
        ev->status = rh_fail_nomem(ev->err);
        return false;
    }
    if (!s->hard) return false;
    const rh_place_at *site = s->site < 0 ? NULL : &ev->run->graph->sites[s->site];
    rh_diag *d = site && site->n > 1 ? rh_diag_add(ev->diags, code, s->range, "%s, at layer %d", message, (int)site->layers[ev->layer])
                                     : rh_diag_add(ev->diags, code, s->range, "%s", message);
    if (hint) rh_diag_hint(d, "%s", hint);
    ev->status = code;
    return false;
}

static bool too_large(evaluator *ev)
{
    return fail(ev, RH_EVALUE, "this leaves the range of float32", "scale it down: a float32 is at most 3.4e38");
}

/* ---- inputs ------------------------------------------------------------------------------------------ */

static int32_t row_of(const evaluator *ev, int32_t k)
{
    return ev->run->plan->steps[ev->step->in[k]].n == 1 ? 0 : ev->layer;
}

static const float *vector_in(const evaluator *ev, int32_t k)
{
    int32_t from = ev->step->in[k];
    return ev->run->values[from].vector + (size_t)row_of(ev, k) * (size_t)ev->run->plan->steps[from].d;
}

static double scalar_in(const evaluator *ev, int32_t k) { return ev->run->values[ev->step->in[k]].scalar[row_of(ev, k)]; }
static const rh_span *span_in(const evaluator *ev, int32_t k) { return &ev->run->values[ev->step->in[k]].span[row_of(ev, k)]; }
static rh_value_kind kind_in(const evaluator *ev, int32_t k) { return ev->run->plan->steps[ev->step->in[k]].kind; }
static float *vector_out(const evaluator *ev) { return ev->value->vector + (size_t)ev->layer * (size_t)ev->step->d; }

static bool put_scalar(evaluator *ev, double x)
{
    ev->value->scalar[ev->layer] = x;
    return isfinite(x) || fail(ev, RH_EVALUE, "this leaves the range of float64", "a scalar is at most 1.8e308");
}

/* out = c * v */
static bool put_scaled(evaluator *ev, const float *v, double c)
{
    float *out = vector_out(ev);
    for (int32_t j = 0; j < ev->step->d; j++) {
        out[j] = (float)(c * v[j]);
        if (!isfinite(out[j])) return too_large(ev);
    }
    return true;
}

/* ---- operations, one layer each ------------------------------------------------------------------------ */

/* sum_i c_i v_i, in float64, rounded once */
static bool do_sum(evaluator *ev, const float **rows)
{
    const rh_step *s = ev->step;
    if (s->kind == RH_VALUE_SCALAR) {
        double sum = 0;
        for (int32_t k = 0; k < s->n_in; k++) sum += s->coef[k] * scalar_in(ev, k);
        return put_scalar(ev, sum);
    }
    for (int32_t k = 0; k < s->n_in; k++) rows[k] = vector_in(ev, k);
    return rh_linear_combination(vector_out(ev), s->coef, rows, s->n_in, s->d, NULL) == RH_OK || too_large(ev);
}

static bool do_divide(evaluator *ev)
{
    double by = scalar_in(ev, 1);
    if (by == 0) return fail(ev, RH_EVALUE, "division by zero", NULL);
    if (ev->step->kind == RH_VALUE_SCALAR) return put_scalar(ev, scalar_in(ev, 0) / by);
    const float *v = vector_in(ev, 0);
    float *out = vector_out(ev);
    for (int32_t j = 0; j < ev->step->d; j++) {
        out[j] = (float)(v[j] / by);
        if (!isfinite(out[j])) return too_large(ev);
    }
    return true;
}

static bool do_rescale(evaluator *ev, double to)
{
    double norm = rh_norm(vector_in(ev, 0), ev->step->d);
    if (norm == 0) return fail(ev, RH_EVALUE, "a zero vector has no direction", "its parts cancel, or it was zero from the start");
    if (to < 0) return fail(ev, RH_EVALUE, "a norm cannot be negative", "to turn a vector round, write -v");
    return put_scaled(ev, vector_in(ev, 0), to / norm);
}

/* θ = 2 atan2(‖â-b̂‖, ‖â+b̂‖), exact near 0 and 180 degrees */
static double angle_between(const float *a, const float *b, int32_t d, double norm_a, double norm_b)
{
    double minus = 0, plus = 0;
    for (int32_t j = 0; j < d; j++) {
        double x = a[j] / norm_a, y = b[j] / norm_b;
        minus += (x - y) * (x - y);
        plus += (x + y) * (x + y);
    }
    return 2 * atan2(sqrt(minus), sqrt(plus));
}

static bool do_angle(evaluator *ev)
{
    const float *a = vector_in(ev, 0), *b = vector_in(ev, 1);
    int32_t d = ev->step->d;
    double norm_a = rh_norm(a, d), norm_b = rh_norm(b, d);
    if (norm_a == 0 || norm_b == 0) return fail(ev, RH_EVALUE, "a zero vector has no direction to compare", NULL);
    if (ev->step->op == RH_OP_COS) return put_scalar(ev, rh_cosine(a, b, d));
    return put_scalar(ev, angle_between(a, b, d, norm_a, norm_b) * (180 / 3.14159265358979323846));
}

/* (v·b / b·b) b, or the component in a span; reject: v minus that */
static bool do_project(evaluator *ev)
{
    const float *v = vector_in(ev, 0);
    float *out = vector_out(ev);
    int32_t d = ev->step->d;
    bool reject = ev->step->op == RH_OP_REJECT;
    if (kind_in(ev, 1) == RH_VALUE_SPAN) {
        rh_span_project(out, v, span_in(ev, 1));
        for (int32_t j = 0; reject && j < d; j++) out[j] = (float)((double)v[j] - out[j]);
    } else {
        const float *b = vector_in(ev, 1);
        double bb = rh_dot(b, b, d);
        if (bb == 0) return fail(ev, RH_EVALUE, "a zero vector has no direction to project on", NULL);
        double c = rh_dot(v, b, d) / bb;
        for (int32_t j = 0; j < d; j++) out[j] = (float)(reject ? v[j] - c * b[j] : c * b[j]);
    }
    for (int32_t j = 0; j < d; j++)
        if (!isfinite(out[j])) return too_large(ev);
    return true;
}

static bool do_span(evaluator *ev, const float **rows)
{
    rh_error err = {0};
    for (int32_t k = 0; k < ev->step->n_in; k++) rows[k] = vector_in(ev, k);
    rh_status status = rh_span_new(&ev->value->span[ev->layer], rows, ev->step->n_in, ev->step->d, &err);
    return status == RH_OK || fail(ev, status, err.message, NULL);
}

static bool do_slerp(evaluator *ev)
{
    rh_error err = {0};
    rh_status status = rh_slerp(vector_out(ev), vector_in(ev, 0), vector_in(ev, 1), scalar_in(ev, 2), ev->step->d, &err);
    return status == RH_OK || fail(ev, status, err.message, NULL);
}

/* An atom's memory was filled by the resolver. */
static bool do_atom(evaluator *ev)
{
    const float *v = vector_out(ev);
    bool scalar = ev->step->kind == RH_VALUE_SCALAR;
    for (int32_t j = 0; j < ev->step->d; j++)
        if (!isfinite(v[j]))
            return fail(ev, RH_EVALUE, scalar ? "this number is not finite" : "this vector is not finite",
                        scalar ? "the model's states overflow" : "its file is damaged, or the model's states overflow");
    if (scalar) ev->value->scalar[ev->layer] = v[0];
    return true;
}

static bool do_layer(evaluator *ev, const float **rows)
{
    const rh_step *s = ev->step;
    switch (s->op) {
    case RH_OP_NUMBER: return put_scalar(ev, s->number);
    case RH_OP_ATOM: return do_atom(ev);
    case RH_OP_SUM: return do_sum(ev, rows);
    case RH_OP_SCALE: return put_scaled(ev, vector_in(ev, 1), scalar_in(ev, 0));
    case RH_OP_TIMES: return put_scalar(ev, scalar_in(ev, 0) * scalar_in(ev, 1));
    case RH_OP_DIVIDE: return do_divide(ev);
    case RH_OP_UNIT: return do_rescale(ev, 1);
    case RH_OP_NORM: return put_scalar(ev, rh_norm(vector_in(ev, 0), s->d));
    case RH_OP_RESCALE: return do_rescale(ev, scalar_in(ev, 1));
    case RH_OP_DOT: return put_scalar(ev, rh_dot(vector_in(ev, 0), vector_in(ev, 1), s->d));
    case RH_OP_COS:
    case RH_OP_ANGLE: return do_angle(ev);
    case RH_OP_PROJ:
    case RH_OP_REJECT: return do_project(ev);
    case RH_OP_SPAN: return do_span(ev, rows);
    case RH_OP_SLERP: return do_slerp(ev);
    case RH_OP_AT:
    case RH_OP_FREE: break; /* dissolved by the plan */
    }
    return true;
}

/* ---- the run -------------------------------------------------------------------------------------------- */

static bool allocate(rh_step_value *v, const rh_step *s)
{
    if (s->kind == RH_VALUE_SCALAR) v->scalar = rh_calloc((size_t)s->n, sizeof *v->scalar);
    if (s->kind == RH_VALUE_SCALAR && (!v->scalar || s->op != RH_OP_ATOM)) return v->scalar != NULL;
    if (s->kind == RH_VALUE_SPAN) return (v->span = rh_calloc((size_t)s->n, sizeof *v->span)) != NULL;
    if (s->d > 0 && (size_t)s->n > SIZE_MAX / sizeof(float) / (size_t)s->d) return false;
    return (v->vector = rh_calloc((size_t)s->n * (size_t)s->d, sizeof *v->vector)) != NULL;
}

static void release(rh_step_value *v, const rh_step *s)
{
    free(v->scalar);
    free(v->vector);
    for (int32_t i = 0; v->span && i < s->n; i++) rh_span_free(&v->span[i]);
    free(v->span);
    *v = (rh_step_value){0};
}

static rh_atom_request request_of(const rh_step *s, const rh_graph *g)
{
    static const int32_t nowhere[1] = {-1};
    const rh_place_at *site = s->site < 0 ? NULL : &g->sites[s->site];
    return (rh_atom_request){.spec = &g->atoms[s->atom].spec, .hook = site ? site->hook : RH_RESID_POST,
                             .n_layers = s->n, .layers = site ? site->layers : nowhere, .d = s->d};
}

rh_atom_request *rh_plan_requests(const rh_plan *plan, const rh_graph *g)
{
    rh_atom_request *requests = rh_calloc((size_t)plan->n_requests + 1, sizeof *requests);
    for (int32_t i = 0; requests && i < plan->n_requests; i++) requests[i] = request_of(&plan->steps[plan->requests[i]], g);
    return requests;
}

/* A failed request's error, with the source that asked for it. */
static rh_status place_error(evaluator *ev, rh_status status, int32_t culprit, const rh_error *why)
{
    const rh_plan *plan = ev->run->plan;
    if (ev->err) *ev->err = *why;
    if (status == RH_ENOMEM || status == RH_ECANCELLED) return status;
    rh_range at = {0};
    if (culprit >= 0 && culprit < plan->n_requests)
        at = ev->run->graph->atoms[plan->steps[plan->requests[culprit]].atom].spec.text_range;
    rh_diag *d = why->file[0] && why->line > 0
                     ? rh_diag_add(ev->diags, status, at, "%s:%d: %s", why->file, why->line, why->message)
                     : rh_diag_add(ev->diags, status, at, "%s", why->message);
    if (why->hint[0]) rh_diag_hint(d, "%s", why->hint);
    return status;
}

/* All atoms, in the one call that lets the resolver do it in one pass. */
static rh_status compute_atoms(evaluator *ev, const rh_resolver *resolver)
{
    const rh_plan *plan = ev->run->plan;
    rh_status status = RH_OK;
    if (plan->n_requests == 0) return RH_OK;
    rh_atom_request *requests = rh_plan_requests(plan, ev->run->graph);
    if (!requests) return rh_fail_nomem(ev->err);
    for (int32_t i = 0; i < plan->n_requests && !status; i++) {
        rh_step_value *v = &ev->run->values[plan->requests[i]];
        if (!allocate(v, &plan->steps[plan->requests[i]])) status = rh_fail_nomem(ev->err);
        requests[i].out = v->vector;
    }
    if (!status) {
        int32_t culprit = -1;
        rh_error why = {0};
        status = resolver->compute(resolver->self, requests, plan->n_requests, &culprit, &why);
        if (status) place_error(ev, status, culprit, &why);
    }
    free(requests);
    return status;
}

static bool inputs_failed(const evaluator *ev)
{
    for (int32_t k = 0; k < ev->step->n_in; k++)
        if (ev->run->values[ev->step->in[k]].failed) return true;
    return false;
}

static rh_status run_steps(evaluator *ev)
{
    const rh_plan *plan = ev->run->plan;
    int32_t widest = 1;
    for (int32_t i = 0; i < plan->n; i++)
        if (plan->steps[i].n_in > widest) widest = plan->steps[i].n_in;
    const float **rows = rh_calloc((size_t)widest, sizeof *rows);
    if (!rows) return rh_fail_nomem(ev->err);
    for (int32_t i = 0; i < plan->n && !ev->status; i++) {
        ev->step = &plan->steps[i];
        ev->value = &ev->run->values[i];
        ev->value->failed = inputs_failed(ev);
        if (ev->value->failed) continue;
        if (ev->step->op != RH_OP_ATOM && !allocate(ev->value, ev->step)) {
            ev->status = rh_fail_nomem(ev->err);
            break;
        }
        for (ev->layer = 0; ev->layer < ev->step->n && !ev->value->failed; ev->layer++)
            if (!do_layer(ev, rows)) break;
    }
    free(rows);
    return ev->status;
}

rh_status rh_run_plan(rh_run *out, const rh_plan *plan, const rh_graph *g, const rh_resolver *resolver, rh_diags *diags,
                      rh_error *err)
{
    evaluator ev = {.run = out, .diags = diags, .err = err};
    *out = (rh_run){.plan = plan, .graph = g};
    out->values = rh_calloc((size_t)plan->n + 1, sizeof *out->values);
    if (!out->values) return rh_fail_nomem(err);
    RH_TRY(compute_atoms(&ev, resolver));
    return run_steps(&ev);
}

void rh_run_free(rh_run *r)
{
    for (int32_t i = 0; r->values && i < r->plan->n; i++) release(&r->values[i], &r->plan->steps[i]);
    free(r->values);
    *r = (rh_run){0};
}

/* ---- values ---------------------------------------------------------------------------------------------- */

rh_status rh_run_vector(rh_vector **out, const rh_run *r, int32_t step, int32_t site, rh_error *err)
{
    static const int32_t nowhere[1] = {-1};
    const rh_step *s = &r->plan->steps[step];
    const rh_place_at *at = site < 0 ? NULL : &r->graph->sites[site];
    int32_t n = at ? at->n : 1;
    RH_TRY(rh_vector_new(out, s->d, at ? at->hook : RH_RESID_POST, at ? at->layers : nowhere, n, err));
    for (int32_t i = 0; i < n; i++)
        memcpy((*out)->data + (size_t)i * s->d, r->values[step].vector + (size_t)(s->n == 1 ? 0 : i) * s->d, (size_t)s->d * sizeof(float));
    return RH_OK;
}

static bool copy_span(rh_span *to, const rh_span *from)
{
    size_t n = (size_t)from->rank * (size_t)from->d;
    *to = *from;
    to->basis = rh_calloc(n, sizeof *to->basis);
    if (!to->basis) return false;
    if (n) memcpy(to->basis, from->basis, n * sizeof *to->basis);
    return true;
}

rh_status rh_run_value(rh_value *out, const rh_run *r, int32_t step, int32_t site, rh_error *err)
{
    const rh_step *s = &r->plan->steps[step];
    const rh_place_at *at = site < 0 ? NULL : &r->graph->sites[site];
    rh_value v = {.kind = s->kind, .n_layers = at ? at->n : 1, .hook = at ? at->hook : RH_RESID_POST};
    bool ok = true;
    if (s->kind == RH_VALUE_VECTOR) {
        RH_TRY(rh_run_vector(&v.vector, r, step, site, err));
    } else if (s->kind == RH_VALUE_SCALAR) {
        v.scalar = rh_calloc((size_t)v.n_layers, sizeof *v.scalar);
        ok = v.scalar != NULL;
        for (int32_t i = 0; ok && i < v.n_layers; i++) v.scalar[i] = r->values[step].scalar[s->n == 1 ? 0 : i];
    } else {
        v.span_given = s->n_in;
        v.span = rh_calloc((size_t)v.n_layers, sizeof *v.span);
        ok = v.span != NULL;
        for (int32_t i = 0; ok && i < v.n_layers; i++) ok = copy_span(&v.span[i], &r->values[step].span[s->n == 1 ? 0 : i]);
    }
    if (ok && at) {
        v.layers = rh_calloc((size_t)at->n, sizeof *v.layers);
        ok = v.layers != NULL;
        if (ok) memcpy(v.layers, at->layers, (size_t)at->n * sizeof *v.layers);
    }
    if (!ok) {
        rh_value_clear(&v);
        return rh_fail_nomem(err);
    }
    *out = v;
    return RH_OK;
}

void rh_value_clear(rh_value *v)
{
    for (int32_t i = 0; v->span && i < v->n_layers; i++) rh_span_free(&v->span[i]);
    free(v->span);
    free(v->scalar);
    free(v->layers);
    rh_vector_free(v->vector);
    *v = (rh_value){0};
}

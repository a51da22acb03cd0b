/* plan.c - from graph to steps, in four sweeps over the nodes, none of them recursive:
 *
 *   expand   downwards: which nodes at which sites ("instances"); a family selected by @ asks
 *            below for the selected layers only, free() for its own site
 *   want     downwards: which instances get a value of their own. Sums, @ and free() in between
 *            do not: they dissolve into the linear form of the instance above
 *   form     of one instance: coefficients pushed down, 1 at the top, sums at the leaves;
 *            a leaf that gets 0 is not wanted
 *   emit     upwards: one step for each wanted instance
 */
#include "dsl/checker.h"
#include "dsl/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INSTANCES = 2000000, MAX_TERMS = 20000000 };

typedef struct instance {
    int32_t node, site, d; /* d: width from context; 0 where the node knows its own */
    int32_t next;          /* instance of the same node, -1 */
    int32_t kids;          /* first of node.n_in in the pool */
    int32_t first_term, n_terms;
    int32_t step;
    bool wanted, hard;
} instance;

typedef struct planner {
    const rh_graph *g;
    const rh_resolver *resolver;
    rh_diags *diags;
    rh_arena *arena;
    bool *open;            /* [nodes] needs a width from its context (random) */
    int32_t *heads;        /* [nodes] first instance, -1 */
    instance *items;
    size_t n, capacity;
    int32_t *kids;
    size_t n_kids, kids_capacity;
    int32_t *term_of;      /* pools of all forms' terms */
    double *term_coef;
    size_t n_terms, term_of_capacity, term_coef_capacity;
    /* scratch of form() */
    double *sum;           /* [instances] */
    int32_t *stamp, *members;
    int32_t now;
    bool failed;           /* an error is in diags */
} planner;

static const rh_node *node_of(const planner *p, const instance *i) { return &p->g->nodes[i->node]; }

static int32_t site_width(const planner *p, int32_t site)
{
    return site < 0 ? 0 : p->resolver->width[p->g->sites[site].hook];
}

/* Width of an instance's vectors: its own, its site's, or the context's. */
static int32_t width_of(const planner *p, const instance *i)
{
    const rh_node *n = node_of(p, i);
    int32_t own = n->kind == RH_VALUE_SCALAR ? n->inner_d : n->d;
    int32_t at_site = site_width(p, i->site);
    return own ? own : at_site ? at_site : i->d;
}

/* ---- expand -------------------------------------------------------------------------------------- */

/* The instance of a node in a context; -1: no memory, or too many. */
static int32_t instance_at(planner *p, int32_t node, int32_t site, int32_t d)
{
    const rh_node *n = &p->g->nodes[node];
    if (n->place == RH_PLACE_CONSTANT) site = -1;
    if (!p->open[node]) d = 0;
    for (int32_t i = p->heads[node]; i >= 0; i = p->items[i].next)
        if (p->items[i].site == site && p->items[i].d == d) return i;
    if (p->n >= MAX_INSTANCES) {
        if (!p->failed) rh_diag_add(p->diags, RH_ELIMIT, n->range, "this needs more than %d steps", MAX_INSTANCES);
        p->failed = true;
        return -1;
    }
    if (!RH_GROW(p->items, p->capacity, p->n)) return -1;
    p->items[p->n] = (instance){.node = node, .site = site, .d = d, .next = p->heads[node], .step = -1};
    return p->heads[node] = (int32_t)p->n++;
}

static void fail_width(planner *p, rh_range range, int32_t width, int32_t site)
{
    rh_diag *d = rh_diag_add(p->diags, RH_ESITE, range, "this has width %d, and its site %d", (int)width, (int)site_width(p, site));
    rh_diag_label(d, range, "width %d", (int)width);
    rh_diag_hint(d, "place it with @ at a hook of its own width");
    p->failed = true;
}

/* Is the instance's width known, and its site's? */
static void check_width(planner *p, const instance *i)
{
    const rh_node *n = node_of(p, i);
    int32_t at_site = site_width(p, i->site);
    if (at_site > 0 && n->place == RH_PLACE_FLOATING && n->d > 0 && n->d != at_site) {
        fail_width(p, n->range, n->d, i->site);
        return;
    }
    if (n->op != RH_OP_ATOM || width_of(p, i) > 0) return;
    p->failed = true;
    if (n->place == RH_PLACE_FLOATING) {
        rh_diag *d = rh_diag_add(p->diags, RH_EMODEL, n->range, "this is computed from a model, and none is given");
        rh_diag_hint(d, "name one with -m, or write model \"…\" in the book");
        return;
    }
    rh_diag *d = rh_diag_add(p->diags, RH_ESITE, n->range, "nothing here says how wide this vector is");
    rh_diag_hint(d, "combine it with another vector, or place it: %.*s @ %d",
                 n->range.end - n->range.start > 60 ? 60 : (int)(n->range.end - n->range.start), n->range.source->text + n->range.start,
                 rh_example_layer(p->resolver, 14));
}

static rh_status expand_one(planner *p, int32_t at)
{
    instance i = p->items[at];
    const rh_node *n = node_of(p, &i);
    int32_t first = (int32_t)p->n_kids;
    check_width(p, &i);
    for (int32_t k = 0; k < n->n_in; k++) {
        int32_t site = n->op == RH_OP_FREE ? p->g->nodes[n->in[k]].site : i.site;
        int32_t kid = instance_at(p, n->in[k], site, width_of(p, &i));
        if (kid < 0) return p->failed ? RH_OK : RH_ENOMEM;
        if (!RH_GROW(p->kids, p->kids_capacity, p->n_kids)) return RH_ENOMEM;
        p->kids[p->n_kids++] = kid;
    }
    p->items[at].kids = first;
    return RH_OK;
}

static rh_status expand(planner *p, rh_root *roots, size_t n_roots)
{
    for (size_t r = 0; r < n_roots; r++) {
        const rh_node *n = &p->g->nodes[roots[r].node];
        int32_t width = site_width(p, roots[r].site);
        if (!roots[r].part && n->place == RH_PLACE_CONSTANT && n->kind != RH_VALUE_SCALAR && width > 0 && n->d > 0 && n->d != width)
            fail_width(p, roots[r].range, n->d, roots[r].site);
        roots[r].step = instance_at(p, roots[r].node, roots[r].site, width ? width : roots[r].d);
        if (roots[r].step < 0) return p->failed ? RH_OK : RH_ENOMEM;
    }
    for (size_t node = p->g->n; node-- > 0;)
        for (int32_t i = p->heads[node]; i >= 0 && !p->failed; i = p->items[i].next) RH_TRY(expand_one(p, i));
    return RH_OK;
}

/* ---- form ------------------------------------------------------------------------------------------ */

static bool is_linear(const planner *p, int32_t i) { return rh_op_is_linear(node_of(p, &p->items[i])->op); }

/* Everything below `top` down to the leaves, each once; parents before children after sorting by
 * node, as a node's inputs have smaller numbers. */
static int32_t gather(planner *p, int32_t top)
{
    int32_t n = 0;
    p->now++;
    p->members[n++] = top;
    p->stamp[top] = p->now;
    p->sum[top] = 1;
    for (int32_t at = 0; at < n; at++) {
        int32_t i = p->members[at];
        if (!is_linear(p, i)) continue;
        for (int32_t k = 0; k < node_of(p, &p->items[i])->n_in; k++) {
            int32_t kid = p->kids[p->items[i].kids + k];
            if (p->stamp[kid] == p->now) continue;
            p->stamp[kid] = p->now;
            p->sum[kid] = 0;
            p->members[n++] = kid;
        }
    }
    return n;
}

/* Order of members by node number, largest first: a heap sort, since qsort has no context. */
static bool before(const planner *p, int32_t a, int32_t b)
{
    if (p->items[a].node != p->items[b].node) return p->items[a].node > p->items[b].node;
    return a > b;
}

static void sift(const planner *p, int32_t *m, int32_t root, int32_t n)
{
    for (int32_t kid; (kid = 2 * root + 1) < n; root = kid) {
        if (kid + 1 < n && before(p, m[kid], m[kid + 1])) kid++;
        if (!before(p, m[root], m[kid])) return;
        int32_t swap = m[root];
        m[root] = m[kid];
        m[kid] = swap;
    }
}

static void sort_members(planner *p, int32_t n)
{
    int32_t *m = p->members;
    for (int32_t i = n / 2; i-- > 0;) sift(p, m, i, n);
    for (int32_t end = n - 1; end > 0; end--) {
        int32_t swap = m[0];
        m[0] = m[end];
        m[end] = swap;
        sift(p, m, 0, end);
    }
}

static rh_status add_term(planner *p, int32_t leaf, double coef)
{
    if (p->n_terms >= MAX_TERMS) {
        if (!p->failed) rh_diag_add(p->diags, RH_ELIMIT, node_of(p, &p->items[leaf])->range, "more than %d terms", MAX_TERMS);
        p->failed = true;
        return RH_OK;
    }
    if (!RH_GROW(p->term_of, p->term_of_capacity, p->n_terms) || !RH_GROW(p->term_coef, p->term_coef_capacity, p->n_terms))
        return RH_ENOMEM;
    p->term_of[p->n_terms] = leaf;
    p->term_coef[p->n_terms++] = coef;
    return RH_OK;
}

/* c_leaf = sum over paths of the product of coefficients, by pushing down in order of nodes. */
static rh_status form(planner *p, int32_t top)
{
    int32_t n = gather(p, top);
    sort_members(p, n);
    p->items[top].first_term = (int32_t)p->n_terms;
    for (int32_t at = 0; at < n; at++) { /* sorted ascending by `before`: largest node first */
        int32_t i = p->members[at];
        const rh_node *node = node_of(p, &p->items[i]);
        if (!isfinite(p->sum[i])) {
            rh_diag *d = rh_diag_add(p->diags, RH_EVALUE, node_of(p, &p->items[top])->range, "a coefficient leaves the range of float64");
            rh_diag_hint(d, "a scalar is at most 1.8e308");
            p->failed = true;
            return RH_OK;
        }
        for (int32_t k = 0; is_linear(p, i) && k < node->n_in; k++)
            p->sum[p->kids[p->items[i].kids + k]] += p->sum[i] * (node->coef ? node->coef[k] : 1);
    }
    for (int32_t at = n; at-- > 0;) {
        int32_t i = p->members[at];
        if (!is_linear(p, i) && p->sum[i] != 0) RH_TRY(add_term(p, i, p->sum[i]));
    }
    p->items[top].n_terms = (int32_t)p->n_terms - p->items[top].first_term;
    return RH_OK;
}

/* ---- want ------------------------------------------------------------------------------------------- */

static void want_from(planner *p, int32_t below, int32_t above)
{
    p->items[below].wanted = true;
    p->items[below].hard |= p->items[above].hard;
}

static rh_status want(planner *p, const rh_root *roots, size_t n_roots)
{
    for (size_t r = 0; r < n_roots; r++) {
        p->items[roots[r].step].wanted = true;
        p->items[roots[r].step].hard |= roots[r].hard;
    }
    for (size_t node = p->g->n; node-- > 0;)
        for (int32_t i = p->heads[node]; i >= 0 && !p->failed; i = p->items[i].next) {
            if (!p->items[i].wanted) continue;
            if (is_linear(p, i)) {
                RH_TRY(form(p, i));
                for (int32_t t = 0; t < p->items[i].n_terms; t++) want_from(p, p->term_of[p->items[i].first_term + t], i);
            } else {
                for (int32_t k = 0; k < p->g->nodes[node].n_in; k++) want_from(p, p->kids[p->items[i].kids + k], i);
            }
        }
    return RH_OK;
}

/* ---- emit ------------------------------------------------------------------------------------------- */

static rh_status emit_one(planner *p, rh_plan *plan, int32_t at)
{
    instance *i = &p->items[at];
    const rh_node *n = node_of(p, i);
    bool linear = is_linear(p, at);
    if (linear && i->n_terms == 1 && p->term_coef[i->first_term] == 1) { /* v @ 14, free(v): the leaf itself */
        i->step = p->items[p->term_of[i->first_term]].step;
        return RH_OK;
    }
    rh_step *s = &plan->steps[plan->n];
    bool one_number = n->op == RH_OP_ATOM && n->kind == RH_VALUE_SCALAR;
    *s = (rh_step){.op = linear ? RH_OP_SUM : n->op, .kind = n->kind, .site = i->site, .d = one_number ? 1 : width_of(p, i), .number = n->number,
                   .atom = n->atom, .range = n->range, .hard = i->hard, .n_in = linear ? i->n_terms : n->n_in};
    s->n = i->site < 0 ? 1 : p->g->sites[i->site].n;
    if (s->n_in) {
        s->in = rh_arena_alloc(p->arena, (size_t)s->n_in, sizeof *s->in);
        if (linear) s->coef = rh_arena_alloc(p->arena, (size_t)s->n_in, sizeof *s->coef);
        if (!s->in || (linear && !s->coef)) return RH_ENOMEM;
    }
    for (int32_t k = 0; k < s->n_in; k++) {
        s->in[k] = p->items[linear ? p->term_of[i->first_term + k] : p->kids[i->kids + k]].step;
        if (linear) s->coef[k] = p->term_coef[i->first_term + k];
    }
    if (n->op == RH_OP_ATOM) plan->requests[plan->n_requests++] = plan->n;
    i->step = plan->n++;
    return RH_OK;
}

static rh_status emit(planner *p, rh_plan *plan)
{
    size_t atoms = 0;
    for (size_t i = 0; i < p->n; i++) atoms += p->items[i].wanted && node_of(p, &p->items[i])->op == RH_OP_ATOM;
    plan->steps = rh_arena_alloc(p->arena, p->n + 1, sizeof *plan->steps);
    plan->requests = rh_arena_alloc(p->arena, atoms + 1, sizeof *plan->requests);
    if (!plan->steps || !plan->requests) return RH_ENOMEM;
    for (size_t node = 0; node < p->g->n; node++)
        for (int32_t i = p->heads[node]; i >= 0; i = p->items[i].next)
            if (p->items[i].wanted) RH_TRY(emit_one(p, plan, i));
    return RH_OK;
}

static bool allocate_scratch(planner *p)
{
    p->sum = rh_calloc(p->n + 1, sizeof *p->sum);
    p->stamp = rh_calloc(p->n + 1, sizeof *p->stamp);
    p->members = rh_calloc(p->n + 1, sizeof *p->members);
    return p->sum && p->stamp && p->members;
}

rh_status rh_plan_make(rh_plan *out, rh_arena *arena, const rh_graph *g, const rh_resolver *resolver, rh_root *roots,
                       size_t n_roots, rh_diags *diags)
{
    planner p = {.g = g, .resolver = resolver, .diags = diags, .arena = arena};
    rh_status status = RH_OK;
    *out = (rh_plan){0};
    p.open = rh_calloc(g->n + 1, sizeof *p.open);
    p.heads = rh_calloc(g->n + 1, sizeof *p.heads);
    if (!p.open || !p.heads) status = RH_ENOMEM;
    if (!status) {
        rh_graph_find_open(g, p.open);
        for (size_t i = 0; i < g->n; i++) p.heads[i] = -1;
    }
    if (!status) status = expand(&p, roots, n_roots);
    if (!status && !p.failed && !allocate_scratch(&p)) status = RH_ENOMEM;
    if (!status && !p.failed) status = want(&p, roots, n_roots);
    if (!status && !p.failed) status = emit(&p, out);
    for (size_t r = 0; !status && !p.failed && r < n_roots; r++) roots[r].step = p.items[roots[r].step].step;
    free(p.open);
    free(p.heads);
    free(p.items);
    free(p.kids);
    free(p.term_of);
    free(p.term_coef);
    free(p.sum);
    free(p.stamp);
    free(p.members);
    return status;
}

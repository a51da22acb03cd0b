/* compile.c - from texts to a program: read, order, check, place, plan. Each stage runs only if
 * those before it found no error, so that one mistake is not reported twice. */
#include <stdlib.h>
#include <string.h>

#include "dsl/compiled.h"

typedef struct compiler {
    rh_program *p;
    const rh_program_input *in;
    rh_diags *diags;
    rh_tree expression;     /* of in->expr */
    rh_site_ast layers;     /* of in->layers */
    bool has_layers;
    int32_t layer_site;     /* where floating results go; -1: not said */
    rh_checker checker;
    int32_t context;        /* site of the first result, for names beside; -1 */
} compiler;

static bool wrong(const compiler *c) { return c->diags->n > 0; }

/* ---- read ------------------------------------------------------------------------------------------------ */

static rh_status read_texts(compiler *c)
{
    rh_program *p = c->p;
    const rh_program_input *in = c->in;
    if (in->book_path || in->book_text)
        RH_TRY(rh_book_read(&p->book, in->book_path ? in->book_path : "<book>", in->book_text, c->diags));
    if (in->session) RH_TRY(rh_book_read(&p->book, "<repl>", in->session, c->diags));
    if (in->expr) {
        const rh_source *s = rh_source_new(p->arena, "<expression>", in->expr, strlen(in->expr));
        if (!s) return RH_ENOMEM;
        if (s->len > RH_MAX_BOOK) {
            rh_diag_add(c->diags, RH_ELIMIT, (rh_range){0}, "an expression may have 4 MiB");
            return RH_OK;
        }
        RH_TRY(rh_parse_expression(&c->expression, p->arena, s, c->diags));
    }
    if (in->layers) {
        const rh_source *s = rh_source_new(p->arena, "--layer", in->layers, strlen(in->layers));
        if (!s) return RH_ENOMEM;
        RH_TRY(rh_parse_layers(&c->layers, &c->has_layers, p->arena, s, c->diags));
    }
    return RH_OK;
}

/* ---- names ------------------------------------------------------------------------------------------------- */

/* Actions to run: the expression, else the book's own. */
static size_t n_actions(const compiler *c) { return c->in->expr ? (size_t)c->expression.n : c->p->book.n_actions; }
static rh_statement *action_at(const compiler *c, size_t i)
{
    return c->in->expr ? &c->expression.items[i] : c->p->book.actions[i];
}

static rh_status check_names(compiler *c)
{
    rh_scope *scope = &c->p->book.scope;
    int32_t *order = NULL;
    rh_status status = rh_scope_order(&order, scope, c->diags);
    for (size_t i = 0; !status && i < n_actions(c); i++) {
        const rh_statement *s = action_at(c, i);
        rh_expr *const exprs[RH_N_OF_ACTION] = {s->expr, s->amount, s->guard_vector, s->guard_threshold};
        for (int k = 0; !status && k < RH_N_OF_ACTION; k++) status = rh_scope_reach(scope, exprs[k]);
    }
    for (size_t i = 0; !status && i < scope->n && !c->diags->more; i++) {
        rh_binding *b = &scope->items[order[i]];
        rh_operand value;
        if (b->in_cycle || b->statement->kind != RH_ST_LET) continue;
        c->checker.quiet = !b->reached;
        if (rh_check_expr(&c->checker, b->statement->expr, &value)) b->node = value.node;
        if (c->checker.no_memory) status = RH_ENOMEM;
    }
    c->checker.quiet = false;
    free(order);
    return status;
}

/* ---- places of results ---------------------------------------------------------------------------------------- */

static rh_status choose_layer(compiler *c)
{
    const rh_statement *layer = c->p->book.layer;
    c->layer_site = -1;
    if (!c->has_layers && !layer) return RH_OK;
    c->layer_site = rh_check_site(&c->checker, c->has_layers ? &c->layers : &layer->site);
    return c->checker.no_memory ? RH_ENOMEM : RH_OK;
}

static bool needs_layer(compiler *c, const rh_operand *o)
{
    const rh_node *n = rh_operand_node(&c->checker, o);
    char layers[64];
    rh_model_layers(layers, c->p->resolver);
    rh_diag *d = rh_diag_add(c->diags, RH_ESITE, o->range, "%s",
                             n->place == RH_PLACE_FLOATING ? "this exists at every layer, and none is chosen"
                                                           : "this is the same at every layer, and none is chosen");
    const int l = rh_example_layer(c->p->resolver, 16);
    rh_diag_hint(d, "give --layer %d, write layer %d in the book, or place it with @ %d%s%s", l, l, l, layers[0] ? "; " : "", layers);
    return false;
}

/* Where an action acts: its value, its amount and its guard live together, as if added up. */
static bool place_action(compiler *c, const rh_operand *ops, int32_t n, rh_joined *at)
{
    if (!rh_join(&c->checker, ops, n, at)) return false;
    if (at->site < 0) at->site = c->layer_site;
    if (at->site >= 0) return true;
    int32_t i = 0;
    while (rh_operand_node(&c->checker, &ops[i])->place != at->place) i++;
    return needs_layer(c, &ops[i]);
}

static bool width_differs(const compiler *c, const rh_node *n, int32_t site)
{
    int32_t width = site < 0 ? 0 : rh_hook_width(c->p->resolver, c->p->graph.sites[site].hook);
    return n->kind != RH_VALUE_SCALAR && n->d > 0 && width > 0 && n->d != width;
}

/* A value that is only shown: a constant may stay without a place. */
static bool place_value(compiler *c, const rh_operand *o, int32_t *site)
{
    const rh_node *n = rh_operand_node(&c->checker, o);
    *site = n->site;
    if (*site >= 0) return true;
    if (n->place == RH_PLACE_FLOATING || (n->kind != RH_VALUE_SCALAR && !width_differs(c, n, c->layer_site))) *site = c->layer_site;
    return *site >= 0 || n->place == RH_PLACE_CONSTANT || needs_layer(c, o);
}

static rh_status add_root(compiler *c, rh_root made, int32_t *root)
{
    rh_program *p = c->p;
    if (!RH_GROW(p->roots, p->roots_capacity, p->n_roots)) return RH_ENOMEM;
    p->roots[p->n_roots] = made;
    *root = (int32_t)p->n_roots++;
    return RH_OK;
}

/* ---- actions and the value --------------------------------------------------------------------------------------- */

static rh_status add_parts(compiler *c, rh_compiled_value *v, const rh_expr *e, int32_t site)
{
    rh_program *p = c->p;
    int32_t d = p->graph.nodes[e->node].d;
    rh_terms terms = {0};
    rh_status status = rh_terms_of(&terms, p->arena, &p->graph, &p->book.scope, e);
    v->first_part = (int32_t)p->n_parts;
    for (size_t i = 0; !status && i < terms.n; i++) {
        rh_compiled_part part = {.label = terms.items[i].label, .c = terms.items[i].c};
        status = add_root(c, (rh_root){.node = terms.items[i].node, .site = site, .d = d, .hard = true, .part = true, .range = e->range},
                              &part.root);
        if (!status && !RH_GROW(p->parts, p->parts_capacity, p->n_parts)) status = RH_ENOMEM;
        if (!status) p->parts[p->n_parts++] = part;
    }
    v->n_parts = (int32_t)p->n_parts - v->first_part;
    free(terms.items);
    return status;
}

static const char *const ACTION_WORDS[] = {"steer", "ablate", "cap", "clamp", "scale"};

static bool fits_action(compiler *c, const rh_statement *s, const rh_operand *o)
{
    rh_value_kind kind = rh_operand_node(&c->checker, o)->kind;
    bool ablate = s->action == RH_ABLATE_WORD;
    if (kind == RH_VALUE_VECTOR || (kind == RH_VALUE_SPAN && ablate)) return true;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, o->range, "%s takes %s, and this is %s", ACTION_WORDS[s->action],
                             ablate ? "a vector or a span" : "a vector", rh_kind_text(kind));
    rh_diag_label(d, o->range, "%s", rh_kind_text(kind) + 2);
    rh_diag_hint(d, "%s", kind == RH_VALUE_SPAN ? "a span can be ablated"
                          : ablate ? "ablate v removes the direction of v"
                          : s->action == RH_CAP_WORD   ? "cap v at 3 keeps the component along v at 3 or below"
                          : s->action == RH_CLAMP_WORD ? "clamp v at 3 makes the component along v 3"
                          : s->action == RH_SCALE_WORD ? "scale v by 2 doubles the component along v"
                                                       : "multiply a vector by it");
    return false;
}

static bool fits_amount(compiler *c, const rh_statement *s, const rh_operand *o)
{
    rh_value_kind kind = rh_operand_node(&c->checker, o)->kind;
    const char *word = ACTION_WORDS[s->action], *between = s->action == RH_SCALE_WORD ? "by" : "at";
    if (kind == RH_VALUE_SCALAR) return true;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, o->range, "%s takes a scalar after %s, and this is %s", word, between, rh_kind_text(kind));
    rh_diag_label(d, o->range, "%s", rh_kind_text(kind) + 2);
    rh_diag_hint(d, "norm(v) and dot(a, b) are scalars: %s v %s %s", word, between, s->action == RH_SCALE_WORD ? "0.5" : "norm(v)");
    return false;
}

static bool fits_guard(compiler *c, const rh_operand *o, bool vector)
{
    rh_value_kind kind = rh_operand_node(&c->checker, o)->kind;
    if (kind == (vector ? RH_VALUE_VECTOR : RH_VALUE_SCALAR)) return true;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, o->range, vector ? "a guard compares h with a vector, and this is %s"
                                                                  : "a guard's limit is a scalar, and this is %s", rh_kind_text(kind));
    rh_diag_label(d, o->range, "%s", rh_kind_text(kind) + 2);
    rh_diag_hint(d, "when cos(h, v) > 0.2");
    return false;
}

/* As written, on one line: a bracket may hold newlines. */
static const char *text_of(compiler *c, rh_range r)
{
    char *text = rh_arena_strndup(c->p->arena, r.source->text + r.start, r.end - r.start);
    for (char *t = text; t && *t; t++)
        if (*t == '\n' || *t == '\r') *t = ' ';
    return text;
}

/* The action's values, checked; all of them before the first error ends it. which[k]: what ops[k] is. */
static int32_t check_action(compiler *c, const rh_statement *s, rh_operand ops[RH_N_OF_ACTION], rh_part_of_action which[RH_N_OF_ACTION])
{
    rh_expr *const exprs[RH_N_OF_ACTION] = {s->expr, s->amount, s->guard_vector, s->guard_threshold};
    int32_t n = 0;
    bool ok = true;
    for (int k = 0; k < RH_N_OF_ACTION && !c->checker.no_memory; k++) {
        if (!exprs[k]) continue;
        bool fits = rh_check_expr(&c->checker, exprs[k], &ops[n]);
        if (fits)
            fits = k == RH_ACTS_WITH ? fits_action(c, s, &ops[n]) : k == RH_AMOUNT ? fits_amount(c, s, &ops[n])
                                                                                 : fits_guard(c, &ops[n], k == RH_GUARD_VECTOR);
        ok &= fits;
        which[n++] = (rh_part_of_action)k;
    }
    return ok && !c->checker.no_memory ? n : 0;
}

static rh_status add_action(compiler *c, const rh_statement *s)
{
    rh_program *p = c->p;
    rh_operand ops[RH_N_OF_ACTION];
    rh_part_of_action which[RH_N_OF_ACTION];
    rh_joined at;
    int32_t n = check_action(c, s, ops, which);
    if (n == 0 || !place_action(c, ops, n, &at)) return c->checker.no_memory ? RH_ENOMEM : RH_OK;
    rh_compiled_value a = {.statement = s, .text = text_of(c, s->range), .roots = {-1, -1, -1, -1}};
    for (int32_t k = 0; k < n; k++)
        RH_TRY(add_root(c, (rh_root){.node = ops[k].node, .site = at.site, .d = at.d, .hard = true, .range = ops[k].range}, &a.roots[which[k]]));
    if (s->action == RH_STEER_WORD && !wrong(c)) RH_TRY(add_parts(c, &a, s->expr, at.site));
    if (!a.text || !RH_GROW(p->actions, p->actions_capacity, p->n_actions)) return RH_ENOMEM;
    p->actions[p->n_actions++] = a;
    if (c->context < 0) c->context = at.site;
    return RH_OK;
}

/* A mask or a guard behind a bare value. */
static bool only_a_value(compiler *c, const rh_statement *s)
{
    if (!s->mask_range.source && !s->guard.source) return true;
    rh_diag *d = s->mask_range.source ? rh_diag_add(c->diags, RH_EKIND, s->mask_range, "a value has no positions")
                                      : rh_diag_add(c->diags, RH_EKIND, s->guard, "a value has no guard");
    rh_diag_hint(d, "only actions have: steer v %s", s->mask_range.source ? "on last" : "when cos(h, v) > 0.2");
    return false;
}

static rh_status add_value(compiler *c, const rh_statement *s)
{
    rh_program *p = c->p;
    rh_operand o;
    int32_t site;
    if (!only_a_value(c, s)) return RH_OK;
    if (!rh_check_expr(&c->checker, s->expr, &o)) return c->checker.no_memory ? RH_ENOMEM : RH_OK;
    if (!place_value(c, &o, &site)) return RH_OK;
    rh_value_kind kind = rh_operand_node(&c->checker, &o)->kind;
    p->value = (rh_compiled_value){.statement = s, .text = text_of(c, s->range), .roots = {-1, -1, -1, -1}};
    RH_TRY(add_root(c, (rh_root){.node = o.node, .site = site, .hard = true, .range = o.range}, &p->value.roots[RH_ACTS_WITH]));
    if (kind == RH_VALUE_VECTOR && !wrong(c)) RH_TRY(add_parts(c, &p->value, s->expr, site));
    p->has_value = true;
    c->context = site;
    return p->value.text ? RH_OK : RH_ENOMEM;
}

static rh_status check_results(compiler *c)
{
    if (c->in->expr) c->p->left_out = (int)c->p->book.n_actions;
    for (size_t i = 0; i < n_actions(c) && !c->diags->more; i++) {
        const rh_statement *s = action_at(c, i);
        RH_TRY(s->bare && c->in->bare_value ? add_value(c, s) : add_action(c, s));
    }
    return RH_OK;
}

/* ---- names beside ---------------------------------------------------------------------------------------------------- */

/* Where a name is shown: its own site, else that of the result. false: nowhere. */
static bool place_name(const compiler *c, const rh_node *n, bool open, int32_t *site)
{
    int32_t context = c->context >= 0 ? c->context : c->layer_site;
    int32_t width = context < 0 ? 0 : rh_hook_width(c->p->resolver, c->p->graph.sites[context].hook);
    *site = n->site;
    if (*site >= 0) return true;
    if (n->place == RH_PLACE_FLOATING) {
        *site = context;
        return width > 0 && (n->d == 0 || n->d == width);
    }
    if (n->kind != RH_VALUE_SCALAR && !width_differs(c, n, context)) *site = context;
    return !open || (*site >= 0 && width > 0);
}

static rh_status add_names(compiler *c)
{
    rh_program *p = c->p;
    rh_status status = RH_OK;
    bool *open = rh_calloc(p->graph.n + 1, sizeof *open);
    if (!open) return RH_ENOMEM;
    rh_graph_find_open(&p->graph, open);
    for (size_t i = 0; i < p->book.scope.n && !status; i++) {
        const rh_binding *b = &p->book.scope.items[i];
        rh_compiled_name name = {.name = p->bound[i]};
        int32_t site;
        if (b->node < 0 || !place_name(c, &p->graph.nodes[b->node], open[b->node], &site)) continue;
        status = add_root(c, (rh_root){.node = b->node, .site = site, .range = b->range}, &name.root);
        if (!status && !RH_GROW(p->names, p->names_capacity, p->n_names)) status = RH_ENOMEM;
        if (!status) p->names[p->n_names++] = name;
    }
    free(open);
    return status;
}

static rh_status copy_bound_names(compiler *c)
{
    rh_program *p = c->p;
    p->bound = rh_arena_alloc(p->arena, p->book.scope.n + 1, sizeof *p->bound);
    p->sae_paths = rh_arena_alloc(p->arena, p->book.scope.n + 1, sizeof *p->sae_paths);
    if (!p->bound || !p->sae_paths) return RH_ENOMEM;
    for (size_t i = 0; i < p->book.scope.n; i++) {
        rh_slice name = p->book.scope.items[i].name;
        const rh_statement *s = p->book.scope.items[i].statement;
        p->bound[i] = rh_arena_strndup(p->arena, name.text, name.len);
        if (!p->bound[i]) return RH_ENOMEM;
        if (s->kind != RH_ST_SAE) continue;
        char *path = rh_path_beside(s->text_range.source, s->text);
        p->sae_paths[i] = path ? rh_arena_strndup(p->arena, path, strlen(path)) : NULL;
        free(path);
        if (!p->sae_paths[i]) return RH_ENOMEM;
    }
    return RH_OK;
}

/* ---- the stages in order ------------------------------------------------------------------------------------------------ */

static rh_status run_stages(compiler *c)
{
    rh_program *p = c->p;
    RH_TRY(read_texts(c));
    if (wrong(c)) return RH_OK;
    RH_TRY(copy_bound_names(c));
    RH_TRY(choose_layer(c));
    if (wrong(c)) return RH_OK;
    RH_TRY(check_names(c));
    RH_TRY(check_results(c));
    if (wrong(c)) return RH_OK;
    if (c->in->all_names) RH_TRY(add_names(c));
    return rh_plan_make(&p->plan, p->arena, &p->graph, p->resolver, p->roots, p->n_roots, c->diags);
}

rh_status rh_program_compile(rh_program **out, const rh_program_input *in, const rh_resolver *resolver, rh_diags *diags,
                             rh_error *err)
{
    rh_diags *own = NULL;
    rh_status status = RH_ENOMEM;
    rh_program *p = rh_calloc(1, sizeof *p);
    if (!diags) diags = own = rh_calloc(1, sizeof *own);
    if (!p || !diags) goto fail;
    memset(diags, 0, sizeof *diags);
    p->resolver = resolver;
    p->arena = rh_arena_new();
    if (!p->arena) goto fail;
    p->book.arena = p->graph.arena = p->arena;
    compiler c = {.p = p, .in = in, .diags = diags, .layer_site = -1, .context = -1,
                  .checker = {.arena = p->arena, .graph = &p->graph, .scope = &p->book.scope, .resolver = resolver, .diags = diags}};
    status = run_stages(&c);
    if (!status && diags->n) {
        status = rh_diags_error(diags, err);
        rh_diags_settle(diags);
        goto done;
    }
    if (status) goto fail;
    *out = p;
    p = NULL;
    goto done;
fail:
    rh_fail_nomem(err);
done:
    if (status && diags) rh_diags_settle(diags);
    rh_program_free(p);
    free(own);
    return status;
}

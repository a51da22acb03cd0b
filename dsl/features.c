/* features.c - s[3] and s[3, 17]: decoder rows of an SAE that the book names. What the SAE's own statement says is
 * asked once, so that a wrong path is one error however many features are used. */
#include <stdlib.h>
#include <string.h>

#include "dsl/book.h"
#include "dsl/calls.h"

static int shown(size_t len) { return len > 60 ? 60 : (int)len; }

/* ---- the statement ------------------------------------------------------------------------------------------ */

static bool bad_statement(rh_checker *c, rh_binding *b, rh_status code, rh_range at, const char *message, const char *hint)
{
    if (c->quiet || b->reported) return false;
    b->reported = true;
    rh_diag *d = rh_diag_add(c->diags, code, at, "%s", message);
    rh_diag_hint(d, "%s", hint);
    return false;
}

/* sae s = "path" @ 31 as a source without a feature yet. */
static bool read_statement(rh_checker *c, rh_binding *b, rh_atom_spec *spec)
{
    const rh_statement *s = b->statement;
    const rh_site_ast *site = s->has_site ? &s->site : NULL;
    if (s->text.len == 0) return bad_statement(c, b, RH_EVALUE, s->text_range, "an empty file name", "sae s = \"layer_20/width_16k/average_l0_91\" @ 20");
    if (site && (site->all || site->n != 1))
        return bad_statement(c, b, RH_ESITE, site->range, "an SAE lives at one layer", "name its own, or leave @ out where the file says it");
    char *path = rh_path_beside(s->text_range.source, s->text);
    char *text = path ? rh_arena_strndup(c->arena, path, strlen(path)) : NULL;
    char *name = rh_arena_strndup(c->arena, b->name.text, b->name.len);
    free(path);
    if (!text || !name) {
        c->no_memory = true;
        return false;
    }
    *spec = (rh_atom_spec){.kind = RH_ATOM_SAE, .text = text, .text_len = strlen(text), .prefix = "", .name = name, .feature = -1,
                           .layer = site ? site->layers[0] : -1, .range = s->range, .text_range = s->text_range};
    if (site) {
        spec->has_hook = site->has_hook;
        spec->hook = site->hook;
        spec->text_range.end = site->range.end;
    }
    return true;
}

/* ---- features ------------------------------------------------------------------------------------------------ */

static rh_binding *find_sae(rh_checker *c, const rh_expr *e)
{
    int32_t found = rh_scope_find(c->scope, e->name);
    rh_binding *b = found < 0 ? NULL : &c->scope->items[found];
    if (!b) {
        rh_unknown_name(c->scope, e, c->diags);
        return NULL;
    }
    if (b->statement->kind == RH_ST_SAE) return b;
    rh_diag *d = rh_diag_add(c->diags, RH_EKIND, e->name_range, "'%.*s' is no SAE and has no features", shown(e->name.len), e->name.text);
    rh_diag_label(d, b->range, "bound here");
    rh_diag_hint(d, "[…] picks a feature of an SAE; to pick a layer of a family, write v @ 14");
    return NULL;
}

/* Which feature has the label; none or several is an error that says what there is. */
static bool find_label(rh_checker *c, const rh_arg *arg, rh_atom_spec *spec)
{
    rh_error err = {0};
    spec->feature = -1;
    if (arg->text.len == 0) {
        rh_diag_hint(rh_diag_add(c->diags, RH_EVALUE, arg->range, "an empty label"), "write a feature's label, or its number: %s[3]", spec->name);
        return false;
    }
    rh_status status = c->resolver->find_feature(c->resolver->self, spec, arg->text.text, arg->text.len, &spec->feature, &err);
    if (status == RH_ENOMEM) c->no_memory = true;
    if (!status || status == RH_ENOMEM || c->quiet) return !status;
    rh_diag *d = rh_diag_add(c->diags, status, arg->range, "%s", err.message);
    if (err.hint[0]) rh_diag_hint(d, "%s", err.hint);
    return false;
}

static bool check_feature(rh_checker *c, const rh_expr *e, const rh_arg *arg, rh_atom_spec *spec, rh_operand *out)
{
    spec->feature = (int32_t)arg->number;
    if (arg->text.text && !find_label(c, arg, spec)) return false;
    spec->range = e->range;
    spec->text_range = arg->range;
    int32_t id = rh_check_atom(c, spec);
    return id >= 0 && rh_make_atom(c, id, e->range, out);
}

static bool sum_features(rh_checker *c, const rh_expr *e, const rh_operand *ops, rh_operand *out)
{
    double *ones = rh_calloc((size_t)e->n_args, sizeof *ones);
    if (!ones) {
        c->no_memory = true;
        return false;
    }
    for (int32_t i = 0; i < e->n_args; i++) ones[i] = 1;
    bool ok = rh_make(c, out, RH_OP_SUM, RH_VALUE_VECTOR, ops, e->n_args, ones, e->range);
    free(ones);
    return ok;
}

bool rh_check_features(rh_checker *c, rh_expr *e, rh_operand *out)
{
    rh_atom_spec spec;
    rh_binding *b = find_sae(c, e);
    if (!b || !read_statement(c, b, &spec) || rh_check_atom(c, &spec) < 0) return false;
    rh_operand *ops = rh_calloc((size_t)e->n_args, sizeof *ops);
    if (!ops) {
        c->no_memory = true;
        return false;
    }
    bool ok = true;
    for (int32_t i = 0; i < e->n_args && !c->no_memory; i++) ok &= check_feature(c, e, &e->args[i], &spec, &ops[i]);
    ok = ok && !c->no_memory;
    if (ok && e->n_args > 1) ok = sum_features(c, e, ops, out);
    else if (ok) *out = ops[0];
    free(ops);
    return ok;
}

bool rh_is_feature(const rh_checker *c, const rh_operand *o)
{
    const rh_node *n = rh_operand_node(c, o);
    return n->op == RH_OP_ATOM && c->graph->atoms[n->atom].spec.kind == RH_ATOM_SAE;
}

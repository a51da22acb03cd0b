/* places.c - where vectors live (LANGUAGE.md §2): constant, floating, pinned, family; and widths.
 *
 *     join        constant  floating  pinned      family
 *     constant    constant  floating  pinned      family
 *     floating              floating  pinned      family     (taken there)
 *     pinned                          same site   error
 *     family                                      same layers
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/checker.h"

int32_t rh_hook_width(const rh_resolver *r, rh_hook hook) { return r->width[hook]; }

void rh_model_layers(char out[64], const rh_resolver *r)
{
    out[0] = '\0';
    if (r->n_layers > 0) snprintf(out, 64, "the model has layers 0..%d", (int)r->n_layers - 1);
}

int rh_example_layer(const rh_resolver *r, int usual)
{
    return r->n_layers > 0 && r->n_layers <= usual ? (int)r->n_layers / 2 : usual;
}

static bool placed(const rh_node *n) { return n->place == RH_PLACE_PINNED || n->place == RH_PLACE_FAMILY; }

/* Width that this operand fixes: a vector's own, or what a floating scalar was computed with. */
static int32_t fixed_width(const rh_node *n)
{
    return n->kind != RH_VALUE_SCALAR || n->place == RH_PLACE_FLOATING ? n->d : 0;
}

/* ---- errors ------------------------------------------------------------------------------------- */

/* The atom or the @ that gave a node its site: down along the placed inputs. */
static const rh_node *root_of(const rh_graph *g, const rh_node *n)
{
    for (;;) {
        const rh_node *next = NULL;
        for (int32_t i = 0; i < n->n_in && !next; i++)
            if (placed(&g->nodes[n->in[i]])) next = &g->nodes[n->in[i]];
        if (!next) return n;
        n = next;
    }
}

static void label_site(rh_checker *c, rh_diag *d, const rh_operand *o, bool hooks)
{
    char text[RH_SITE_TEXT];
    const rh_node *n = rh_operand_node(c, o);
    rh_site_text(text, &c->graph->sites[n->site], hooks);
    if (hooks)
        rh_diag_label(d, o->origin, "%s", text);
    else
        rh_diag_label(d, o->origin, "layer%s %s", n->place == RH_PLACE_FAMILY ? "s" : "", text);
}

/* A way out that fits: a file can say that it has no other layer, an @ can be left out. */
static void hint_sites(rh_checker *c, rh_diag *d, const rh_operand *ops, int32_t n, bool hooks)
{
    char text[RH_SITE_TEXT];
    for (int32_t i = n - 1; i >= 0; i--) {
        const rh_node *node = rh_operand_node(c, &ops[i]);
        if (!placed(node)) continue;
        const rh_node *root = root_of(c->graph, node);
        rh_site_text(text, &c->graph->sites[root->site], hooks || c->graph->sites[root->site].hook != RH_RESID_POST);
        int len = (int)(ops[i].origin.end - ops[i].origin.start);
        if (len > 60) len = 60;
        const char *origin = ops[i].origin.source->text + ops[i].origin.start;
        if (root->op == RH_OP_ATOM) {
            const char *path = c->graph->atoms[root->atom].spec.text, *slash = strrchr(path, '/');
            rh_diag_hint(d, "pin both to one %s (%.*s comes from %s and exists only at %s)", hooks ? "site" : "layer", len, origin,
                         slash ? slash + 1 : path, text);
            return;
        }
        if (root->op == RH_OP_AT) {
            rh_diag_hint(d, "without @ %s it would be taken where the other is; free() forgets a place", text);
            return;
        }
    }
}

static bool site_conflict(rh_checker *c, const rh_operand *ops, int32_t n)
{
    const rh_node *first = NULL;
    rh_diag *d = NULL;
    bool hooks = false, pinned = false, family = false;
    for (int32_t i = 0; i < n; i++) {
        const rh_node *node = rh_operand_node(c, &ops[i]);
        if (!placed(node)) continue;
        pinned |= node->place == RH_PLACE_PINNED;
        family |= node->place == RH_PLACE_FAMILY;
        if (first) hooks |= c->graph->sites[node->site].hook != c->graph->sites[first->site].hook;
        if (!first) first = node;
    }
    for (int32_t i = 0; i < n; i++) {
        if (!placed(rh_operand_node(c, &ops[i]))) continue;
        if (!d)
            d = rh_diag_add(c->diags, RH_ESITE, ops[i].origin, "%s",
                            hooks               ? "these live at different sites"
                            : pinned && family  ? "one layer does not combine with a family of layers"
                            : family            ? "these families have different layers"
                                                : "these live at different layers");
        label_site(c, d, &ops[i], hooks);
    }
    if (pinned && family && !hooks)
        rh_diag_hint(d, "select one layer from the family with @, or forget the place with free()");
    else if (family && !hooks)
        rh_diag_hint(d, "select with @ the layers that both have");
    else
        hint_sites(c, d, ops, n, hooks);
    return false;
}

static bool width_conflict(rh_checker *c, const rh_operand *a, int32_t width_a, const rh_operand *b, int32_t width_b)
{
    rh_diag *d = rh_diag_add(c->diags, RH_ESITE, a->range, "these have different widths");
    rh_diag_label(d, a->range, "width %d", (int)width_a);
    rh_diag_label(d, b->range, "width %d", (int)width_b);
    rh_diag_hint(d, "vectors combine if they have the same number of coordinates: the same model, and hooks of one width");
    return false;
}

/* Two files from two models: coordinates of the one say nothing in the other. */
static bool join_models(rh_checker *c, const rh_operand *ops, int32_t n, rh_joined *out)
{
    int32_t first = -1;
    for (int32_t i = 0; i < n; i++) {
        const rh_atom_model *model = rh_operand_node(c, &ops[i])->model;
        if (!model) continue;
        if (first < 0) first = i;
        out->model = rh_operand_node(c, &ops[first])->model;
        if (!strcmp(out->model->fingerprint, model->fingerprint)) continue;
        rh_diag *d = rh_diag_add(c->diags, RH_EMODEL, ops[first].range, "these were made on different models");
        rh_diag_label(d, ops[first].range, "%.40s (%.12s…)", out->model->name, out->model->fingerprint);
        rh_diag_label(d, ops[i].range, "%.40s (%.12s…)", model->name, model->fingerprint);
        rh_diag_hint(d, "compute both on one model, or use --force-model");
        return false;
    }
    return true;
}

/* ---- joining --------------------------------------------------------------------------------------- */

/* One width for all: of the site if there is one, and of every vector. */
static bool join_widths(rh_checker *c, const rh_operand *ops, int32_t n, rh_joined *out)
{
    int32_t common = -1, vector = -1; /* operands that fix a width */
    for (int32_t i = 0; i < n; i++) {
        const rh_node *node = rh_operand_node(c, &ops[i]);
        int32_t width = fixed_width(node);
        if (node->kind != RH_VALUE_SCALAR && width > 0 && vector < 0) vector = i;
        if (width <= 0 || (node->kind == RH_VALUE_SCALAR && out->place == RH_PLACE_CONSTANT)) continue;
        if (common < 0) common = i;
        int32_t other = fixed_width(rh_operand_node(c, &ops[common]));
        if (other != width) return width_conflict(c, &ops[common], other, &ops[i], width);
    }
    int32_t at_site = out->site < 0 ? 0 : rh_hook_width(c->resolver, c->graph->sites[out->site].hook);
    if (at_site > 0 && common >= 0) {
        int32_t width = fixed_width(rh_operand_node(c, &ops[common]));
        if (width != at_site) {
            rh_diag *d = rh_diag_add(c->diags, RH_ESITE, ops[common].range, "this has width %d, and its site %d", (int)width, (int)at_site);
            rh_diag_label(d, ops[common].range, "width %d", (int)width);
            rh_diag_label(d, out->origin, "%s has width %d", rh_hook_name(c->graph->sites[out->site].hook), (int)at_site);
            rh_diag_hint(d, "place it at a hook of its own width");
            return false;
        }
    }
    out->d = out->inner_d = vector >= 0 ? rh_operand_node(c, &ops[vector])->d : 0;
    if (!out->d && at_site > 0) out->d = out->inner_d = at_site;
    out->float_d = out->place == RH_PLACE_FLOATING && common >= 0 ? fixed_width(rh_operand_node(c, &ops[common])) : 0;
    return true;
}

bool rh_join(rh_checker *c, const rh_operand *ops, int32_t n, rh_joined *out)
{
    *out = (rh_joined){.place = RH_PLACE_CONSTANT, .site = -1};
    if (n > 0) out->origin = ops[0].origin;
    for (int32_t i = 0; i < n; i++) {
        const rh_node *node = rh_operand_node(c, &ops[i]);
        if (node->place == RH_PLACE_CONSTANT) continue;
        if (placed(node) && out->site >= 0 && out->site != node->site) return site_conflict(c, ops, n);
        if (out->place == RH_PLACE_CONSTANT || (out->place == RH_PLACE_FLOATING && placed(node))) {
            out->place = node->place;
            out->site = node->site;
            out->origin = ops[i].origin;
        }
    }
    return join_models(c, ops, n, out) && join_widths(c, ops, n, out);
}

/* ---- @ and free -------------------------------------------------------------------------------------- */

/* The model's layers, or those written, interned. */
int32_t rh_check_site(rh_checker *c, const rh_site_ast *site)
{
    const rh_resolver *r = c->resolver;
    char layers[64];
    int32_t id = -1;
    rh_model_layers(layers, r);
    if (site->all) {
        if (r->n_layers <= 0) {
            rh_diag *d = rh_diag_add(c->diags, RH_EMODEL, site->range, "all layers of which model?");
            rh_diag_hint(d, "give a model, or write the layers: 14..18");
            return -1;
        }
        int32_t *all = rh_calloc((size_t)r->n_layers, sizeof *all);
        if (all)
            for (int32_t i = 0; i < r->n_layers; i++) all[i] = i;
        if (all) id = rh_graph_site(c->graph, site->hook, r->n_layers, all);
        free(all);
    } else {
        if (r->n_layers > 0 && site->layers[site->n - 1] >= r->n_layers) {
            rh_diag *d = rh_diag_add(c->diags, RH_ESITE, site->range, "there is no layer %d", (int)site->layers[site->n - 1]);
            rh_diag_hint(d, "%s", layers);
            return -1;
        }
        id = rh_graph_site(c->graph, site->hook, site->n, site->layers);
    }
    if (id < 0) c->no_memory = true;
    return id;
}

/* Layers of `of`'s family that `site` names; an error if one is not there. */
static int32_t select_layers(rh_checker *c, const rh_operand *of, const rh_site_ast *site)
{
    const rh_place_at have = c->graph->sites[rh_operand_node(c, of)->site];
    for (int32_t i = 0, k = 0; i < site->n; i++) {
        while (k < have.n && have.layers[k] < site->layers[i]) k++;
        if (k < have.n && have.layers[k] == site->layers[i]) continue;
        char text[RH_SITE_TEXT];
        rh_site_text(text, &have, false);
        rh_diag *d = rh_diag_add(c->diags, RH_ESITE, site->range, "the family has no layer %d", (int)site->layers[i]);
        rh_diag_label(d, of->origin, "layer%s %s", have.n > 1 ? "s" : "", text);
        rh_diag_hint(d, "choose among its layers: %s", text);
        return -1;
    }
    int32_t id = rh_graph_site(c->graph, have.hook, site->n, site->layers);
    if (id < 0) c->no_memory = true;
    return id;
}

/* @ on something that has a site: it must be there, or be part of the family. */
static bool at_placed(rh_checker *c, const rh_operand *of, const rh_site_ast *site, int32_t *id)
{
    const rh_node *node = rh_operand_node(c, of);
    const rh_place_at have = c->graph->sites[node->site];
    char text[RH_SITE_TEXT];
    bool one = !site->all && site->n == 1 && have.n == 1 && site->layers[0] == have.layers[0];
    if (have.hook == site->hook && (one || (node->place == RH_PLACE_FAMILY && site->all))) {
        *id = node->site;
        return true;
    }
    if (have.hook == site->hook && node->place == RH_PLACE_FAMILY) {
        *id = select_layers(c, of, site);
        return *id >= 0;
    }
    bool hooks = have.hook != site->hook;
    rh_diag *d = rh_diag_add(c->diags, RH_ESITE, of->origin, "this lives elsewhere, and @ does not move it");
    rh_site_text(text, &have, hooks);
    if (hooks)
        rh_diag_label(d, of->origin, "%s", text);
    else
        rh_diag_label(d, of->origin, "layer%s %s", have.n > 1 ? "s" : "", text);
    if (site->all) {
        rh_diag_label(d, site->range, "all layers");
    } else {
        rh_place_at want = {site->hook, site->n, site->layers};
        rh_site_text(text, &want, hooks);
        if (hooks)
            rh_diag_label(d, site->range, "%s", text);
        else
            rh_diag_label(d, site->range, "layer%s %s", want.n > 1 ? "s" : "", text);
    }
    rh_site_text(text, &have, have.hook != RH_RESID_POST);
    rh_diag_hint(d, "write @ %s%s%s, or forget the place with free()", have.n > 1 && strchr(text, ',') ? "[" : "", text,
                 have.n > 1 && strchr(text, ',') ? "]" : "");
    return false;
}

static bool fits_hook(rh_checker *c, const rh_operand *of, const rh_site_ast *site)
{
    int32_t width = rh_hook_width(c->resolver, site->hook), own = fixed_width(rh_operand_node(c, of));
    if (width <= 0 || own <= 0 || width == own) return true;
    rh_diag *d = rh_diag_add(c->diags, RH_ESITE, of->range, "this has width %d, and its site %d", (int)own, (int)width);
    rh_diag_label(d, of->range, "width %d", (int)own);
    rh_diag_label(d, site->range, "%s has width %d", rh_hook_name(site->hook), (int)width);
    rh_diag_hint(d, "place it at a hook of its own width");
    return false;
}

bool rh_check_at(rh_checker *c, const rh_operand *of, const rh_site_ast *site, rh_range range, rh_operand *out)
{
    const rh_node *node = rh_operand_node(c, of);
    int32_t id;
    if (node->op == RH_OP_NUMBER) {
        rh_diag *d = rh_diag_add(c->diags, RH_EKIND, of->range, "a number has no place");
        rh_diag_hint(d, "@ places vectors: 2*(rain @ 14)");
        return false;
    }
    *out = (rh_operand){of->node, range, range};
    if (placed(node)) {
        if (!at_placed(c, of, site, &id)) return false;
        if (id == node->site) return true;
    } else {
        if (!fits_hook(c, of, site)) return false;
        id = rh_check_site(c, site);
        if (id < 0) return false;
    }
    rh_node made = *node;
    int32_t width = rh_hook_width(c->resolver, site->hook);
    made.op = RH_OP_AT;
    made.place = c->graph->sites[id].n > 1 ? RH_PLACE_FAMILY : RH_PLACE_PINNED;
    made.site = id;
    made.n_in = 1;
    made.in = &of->node;
    made.coef = NULL;
    made.number = 0;
    made.atom = -1;
    made.range = range;
    if (made.kind == RH_VALUE_SCALAR)
        made.d = 0;
    else if (!made.d)
        made.d = width;
    out->node = rh_graph_node(c->graph, &made);
    if (out->node < 0) c->no_memory = true;
    return out->node >= 0;
}

bool rh_check_free(rh_checker *c, const rh_operand *of, rh_range range, rh_operand *out)
{
    const rh_node *node = rh_operand_node(c, of);
    *out = (rh_operand){of->node, range, range};
    if (node->place == RH_PLACE_CONSTANT) return true;
    if (node->place == RH_PLACE_FLOATING) {
        rh_diag *d = rh_diag_add(c->diags, RH_ESITE, of->range, "this has no layer yet that free() could forget");
        rh_diag_hint(d, "say which one to take: free(%.*s @ %d)",
                     of->range.end - of->range.start > 60 ? 60 : (int)(of->range.end - of->range.start),
                     of->range.source->text + of->range.start, rh_example_layer(c->resolver, 14));
        return false;
    }
    if (node->place == RH_PLACE_FAMILY) {
        char text[RH_SITE_TEXT];
        rh_site_text(text, &c->graph->sites[node->site], false);
        rh_diag *d = rh_diag_add(c->diags, RH_ESITE, of->origin, node->kind == RH_VALUE_SCALAR ? "these are several numbers, one a layer"
                                                                                           : "a family is not one direction");
        rh_diag_label(d, of->origin, "layers %s", text);
        rh_diag_hint(d, "select one of its layers: free(v @ %d)", (int)c->graph->sites[node->site].layers[0]);
        return false;
    }
    rh_node made = {.op = RH_OP_FREE, .kind = node->kind, .place = RH_PLACE_CONSTANT, .site = -1, .d = node->d,
                    .inner_d = node->inner_d, .model = node->model, .n_in = 1, .in = &of->node, .atom = -1, .range = range};
    out->node = rh_graph_node(c->graph, &made);
    if (out->node < 0) c->no_memory = true;
    return out->node >= 0;
}

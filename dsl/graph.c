/* graph.c - interning of nodes, sites and atoms. */
#include "dsl/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool rh_op_is_linear(rh_op op) { return op == RH_OP_SUM || op == RH_OP_AT || op == RH_OP_FREE; }

const char *rh_op_name(rh_op op)
{
    static const char *const names[] = {"number", "atom", "sum", "@", "free", "scalar * vector", "scalar * scalar", "divide", "unit",
                                        "norm",   "rescale", "dot", "cos", "angle", "proj", "reject", "span", "slerp"};
    return names[op];
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 1099511628211u; }

static uint64_t mix_bytes(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) h = mix(h, b[i]);
    return h;
}

static uint64_t mix_text(uint64_t h, const char *s) { return s ? mix_bytes(h, s, strlen(s) + 1) : mix(h, 7); }

static size_t finish(uint64_t h, size_t n_buckets) { return (size_t)(h ^ (h >> 29)) & (n_buckets - 1); }

/* ---- nodes ------------------------------------------------------------------------------------ */

static size_t node_bucket(const rh_graph *g, const rh_node *n)
{
    uint64_t h = mix(mix(mix(mix(14695981039346656037u, n->op), (uint64_t)n->site), (uint64_t)n->atom), (uint64_t)n->n_in);
    h = mix_bytes(h, &n->number, sizeof n->number);
    if (n->n_in) h = mix_bytes(h, n->in, (size_t)n->n_in * sizeof *n->in);
    if (n->coef) h = mix_bytes(h, n->coef, (size_t)n->n_in * sizeof *n->coef);
    return finish(h, g->n_buckets);
}

/* Kind, place and width follow from the rest. Numbers by bytes: -0.0 is not 0.0. */
static bool same_node(const rh_node *a, const rh_node *b)
{
    if (a->op != b->op || a->site != b->site || a->atom != b->atom || a->n_in != b->n_in || !a->coef != !b->coef) return false;
    if (memcmp(&a->number, &b->number, sizeof a->number) != 0) return false;
    if (a->n_in && memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) != 0) return false;
    return !a->coef || memcmp(a->coef, b->coef, (size_t)a->n_in * sizeof *a->coef) == 0;
}

static bool grow_node_buckets(rh_graph *g)
{
    if (g->n < g->n_buckets) return true;
    size_t n = g->n_buckets ? 2 * g->n_buckets : 64;
    int32_t *fresh = rh_calloc(n, sizeof *fresh);
    if (!fresh) return false;
    free(g->buckets);
    g->buckets = fresh;
    g->n_buckets = n;
    for (size_t i = 0; i < g->n; i++) {
        size_t b = node_bucket(g, &g->nodes[i]);
        g->nodes[i].next = fresh[b];
        fresh[b] = (int32_t)i + 1;
    }
    return true;
}

int32_t rh_graph_node(rh_graph *g, const rh_node *node)
{
    if (!grow_node_buckets(g)) return -1;
    size_t b = node_bucket(g, node);
    for (int32_t i = g->buckets[b]; i; i = g->nodes[i - 1].next)
        if (same_node(&g->nodes[i - 1], node)) return i - 1;
    if (g->n == INT32_MAX - 1 || !RH_GROW(g->nodes, g->capacity, g->n)) return -1;
    rh_node copy = *node;
    if (copy.n_in) {
        int32_t *in = rh_arena_alloc(g->arena, (size_t)copy.n_in, sizeof *in);
        if (!in) return -1;
        memcpy(in, node->in, (size_t)copy.n_in * sizeof *in);
        copy.in = in;
    }
    if (copy.coef) {
        double *coef = rh_arena_alloc(g->arena, (size_t)copy.n_in, sizeof *coef);
        if (!coef) return -1;
        memcpy(coef, node->coef, (size_t)copy.n_in * sizeof *coef);
        copy.coef = coef;
    }
    copy.next = g->buckets[b];
    g->nodes[g->n] = copy;
    g->buckets[b] = (int32_t)++g->n;
    return (int32_t)g->n - 1;
}

void rh_graph_find_open(const rh_graph *g, bool *open)
{
    for (size_t i = 0; i < g->n; i++) {
        const rh_node *n = &g->nodes[i];
        bool knows = n->kind == RH_VALUE_SCALAR ? n->inner_d > 0 : n->d > 0;
        open[i] = n->op == RH_OP_ATOM && n->place == RH_PLACE_CONSTANT && !knows;
        for (int32_t k = 0; k < n->n_in && !knows; k++) open[i] |= open[n->in[k]];
    }
}

/* ---- sites -------------------------------------------------------------------------------------- */

/* A book has few different sites: a search is enough. */
int32_t rh_graph_site(rh_graph *g, rh_hook hook, int32_t n, const int32_t *layers)
{
    for (size_t i = 0; i < g->n_sites; i++) {
        const rh_place_at *s = &g->sites[i];
        if (s->hook == hook && s->n == n && memcmp(s->layers, layers, (size_t)n * sizeof *layers) == 0) return (int32_t)i;
    }
    if (!RH_GROW(g->sites, g->sites_capacity, g->n_sites)) return -1;
    int32_t *copy = rh_arena_alloc(g->arena, (size_t)n, sizeof *copy);
    if (!copy) return -1;
    memcpy(copy, layers, (size_t)n * sizeof *copy);
    g->sites[g->n_sites] = (rh_place_at){hook, n, copy};
    return (int32_t)g->n_sites++;
}

void rh_site_text(char out[RH_SITE_TEXT], const rh_place_at *site, bool hook)
{
    size_t len = 0;
    int32_t n = site->n;
    if (n > 1 && site->layers[n - 1] - site->layers[0] == n - 1) {
        len = (size_t)snprintf(out, RH_SITE_TEXT, "%d..%d", (int)site->layers[0], (int)site->layers[n - 1]);
    } else {
        for (int32_t i = 0; i < n; i++) {
            bool cut = len > 56; /* room for the ellipsis and the hook */
            len += (size_t)snprintf(out + len, RH_SITE_TEXT - len, cut ? ", …" : i ? ", %d" : "%d", (int)site->layers[i]);
            if (cut) break;
        }
    }
    if (hook) snprintf(out + len, RH_SITE_TEXT - len, ".%s", rh_hook_name(site->hook));
}

/* ---- atoms --------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool same_atom(const rh_atom_spec *a, const rh_atom_spec *b)
{
    return a->kind == b->kind && a->seed == b->seed && a->at == b->at && a->chat == b->chat && same_text(a->text, b->text) &&
           same_text(a->prefix, b->prefix) && same_text(a->positive, b->positive) && same_text(a->negative, b->negative) &&
           same_text(a->name, b->name) && a->no_center == b->no_center && a->shrink == b->shrink && a->l2 == b->l2 &&
           a->quantile == b->quantile && a->feature == b->feature && a->layer == b->layer && a->has_hook == b->has_hook &&
           a->hook == b->hook;
}

static size_t atom_bucket(const rh_graph *g, const rh_atom_spec *s)
{
    uint64_t h = mix(mix(mix(14695981039346656037u, s->kind), s->seed), (uint64_t)s->at * 2 + s->chat);
    h = mix(h, (uint64_t)s->feature);
    return finish(mix_text(mix_text(h, s->text), s->prefix), g->n_atom_buckets);
}

static size_t atom_slot(const rh_graph *g, const rh_atom_spec *spec)
{
    size_t b = atom_bucket(g, spec);
    while (g->atom_buckets[b] && !same_atom(&g->atoms[g->atom_buckets[b] - 1].spec, spec)) b = (b + 1) & (g->n_atom_buckets - 1);
    return b;
}

static bool grow_atom_buckets(rh_graph *g)
{
    if (2 * (g->n_atoms + 1) <= g->n_atom_buckets) return true;
    size_t n = g->n_atom_buckets ? 2 * g->n_atom_buckets : 32;
    int32_t *fresh = rh_calloc(n, sizeof *fresh);
    if (!fresh) return false;
    free(g->atom_buckets);
    g->atom_buckets = fresh;
    g->n_atom_buckets = n;
    for (size_t i = 0; i < g->n_atoms; i++) fresh[atom_slot(g, &g->atoms[i].spec)] = (int32_t)i + 1;
    return true;
}

int32_t rh_graph_atom(rh_graph *g, const rh_atom_spec *spec)
{
    if (!grow_atom_buckets(g)) return -1;
    size_t b = atom_slot(g, spec);
    if (g->atom_buckets[b]) return g->atom_buckets[b] - 1;
    if (!RH_GROW(g->atoms, g->atoms_capacity, g->n_atoms)) return -1;
    g->atoms[g->n_atoms] = (rh_atom){.spec = *spec, .site = -1};
    g->atom_buckets[b] = (int32_t)++g->n_atoms;
    return (int32_t)g->n_atoms - 1;
}

void rh_graph_free(rh_graph *g)
{
    free(g->nodes);
    free(g->buckets);
    free(g->sites);
    free(g->atoms);
    free(g->atom_buckets);
    *g = (rh_graph){0};
}

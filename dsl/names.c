/* names.c - a hash table of bindings, and depth-first walks over who mentions whom. The walks
 * keep their own stack: a chain of names may be as long as a book. */
#include "dsl/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/words.h"

static uint64_t hash_of(rh_slice name) /* FNV-1a */
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < name.len; i++) h = (h ^ (unsigned char)name.text[i]) * 1099511628211u;
    return h;
}

static size_t bucket_of(const rh_scope *s, rh_slice name)
{
    size_t b = (size_t)hash_of(name) & (s->n_buckets - 1);
    while (s->buckets[b]) {
        const rh_slice other = s->items[s->buckets[b] - 1].name;
        if (other.len == name.len && memcmp(other.text, name.text, name.len) == 0) break;
        b = (b + 1) & (s->n_buckets - 1);
    }
    return b;
}

int32_t rh_scope_find(const rh_scope *s, rh_slice name)
{
    return s->n_buckets ? s->buckets[bucket_of(s, name)] - 1 : -1;
}

static bool grow_buckets(rh_scope *s)
{
    if (2 * (s->n + 1) <= s->n_buckets) return true;
    size_t n = s->n_buckets ? 2 * s->n_buckets : 64;
    int32_t *fresh = rh_calloc(n, sizeof *fresh);
    if (!fresh) return false;
    free(s->buckets);
    s->buckets = fresh;
    s->n_buckets = n;
    for (size_t i = 0; i < s->n; i++) s->buckets[bucket_of(s, s->items[i].name)] = (int32_t)i + 1;
    return true;
}

rh_status rh_scope_bind(rh_scope *s, rh_statement *statement, rh_diags *diags)
{
    if (!grow_buckets(s) || !RH_GROW(s->items, s->capacity, s->n)) return RH_ENOMEM;
    size_t b = bucket_of(s, statement->name);
    if (s->buckets[b]) {
        const rh_binding *first = &s->items[s->buckets[b] - 1];
        rh_diag *d = rh_diag_add(diags, RH_ENAME, statement->name_range, "'%.*s' is bound twice",
                                 statement->name.len > 60 ? 60 : (int)statement->name.len, statement->name.text);
        rh_diag_label(d, first->range, "first here");
        rh_diag_hint(d, "a name is bound once: choose another one");
        return RH_OK;
    }
    s->items[s->n] = (rh_binding){.name = statement->name, .range = statement->name_range, .statement = statement, .node = -1};
    s->buckets[b] = (int32_t)++s->n;
    return RH_OK;
}

void rh_scope_free(rh_scope *s)
{
    free(s->items);
    free(s->buckets);
    free(s->refs);
    *s = (rh_scope){0};
}

void rh_unknown_name(const rh_scope *s, const rh_expr *e, rh_diags *diags)
{
    const rh_slice name = e->name;
    const int shown = name.len > 60 ? 60 : (int)name.len;
    rh_nearest near = rh_nearest_to(name.text, name.len);
    for (size_t i = 0; i < s->n; i++) rh_nearest_try(&near, s->items[i].name.text, s->items[i].name.len);
    rh_diag *d = rh_diag_add(diags, RH_ENAME, e->name_range, "unknown name '%.*s'", shown, name.text);
    if (near.best)
        rh_diag_hint(d, "did you mean %.*s?", (int)near.best_len, near.best);
    else if (e->kind == RH_EXPR_INDEX)
        rh_diag_hint(d, "name an SAE in a book: sae %.*s = \"FOLDER\"", shown, name.text);
    else
        rh_diag_hint(d, "bind it in a book: let %.*s = dim(\"pairs.csv\")", shown, name.text);
}

/* ---- who mentions whom ---------------------------------------------------------------------- */

static rh_status add_refs(rh_scope *s, const rh_expr *e)
{
    if (!e) return RH_OK;
    if (e->kind == RH_EXPR_NAME || e->kind == RH_EXPR_INDEX) {
        int32_t found = rh_scope_find(s, e->name);
        if (found < 0) return RH_OK; /* the checker will say so */
        if (!RH_GROW(s->refs, s->refs_capacity, s->n_refs)) return RH_ENOMEM;
        s->refs[s->n_refs++] = found;
        return RH_OK;
    }
    for (int32_t i = 0; e->kind == RH_EXPR_CALL && i < e->n_args; i++) RH_TRY(add_refs(s, e->args[i].expr));
    for (int32_t i = 0; i < e->n_items; i++) RH_TRY(add_refs(s, e->items[i].expr));
    return RH_OK;
}

/* stack[from..n) is the cycle. */
static void report_cycle(rh_scope *s, const int32_t *stack, int32_t from, int32_t n, rh_diags *diags)
{
    char text[400];
    size_t len = 0;
    for (int32_t i = from; i <= n; i++) {
        const rh_binding *b = &s->items[stack[i == n ? from : i]];
        bool cut = len + b->name.len + 16 > sizeof text;
        int wrote = snprintf(text + len, sizeof text - len, "%s%.*s", i > from ? " → " : "", cut ? 0 : (int)b->name.len, b->name.text);
        if (wrote > 0) len += (size_t)wrote;
        if (!cut) continue;
        snprintf(text + len, sizeof text - len, "…");
        break;
    }
    rh_diag *d = rh_diag_add(diags, RH_ENAME, s->items[stack[from]].range, "a cycle among names: %s", text);
    for (int32_t i = from + 1; i < n; i++) rh_diag_label(d, s->items[stack[i]].range, "%s", "");
    rh_diag_hint(d, "a name may not need its own value");
    for (int32_t i = from; i < n; i++) s->items[stack[i]].in_cycle = true;
}

typedef enum { WHITE = 0, GREY, BLACK } colour;

/* Depth first from one binding: a grey one met again closes a cycle. */
static void visit(rh_scope *s, int32_t root, char *colours, int32_t *stack, int32_t *next, int32_t *order, size_t *n_order,
                  rh_diags *diags)
{
    int32_t depth = 0;
    stack[depth++] = root;
    colours[root] = GREY;
    next[root] = 0;
    while (depth > 0) {
        int32_t at = stack[depth - 1];
        if (next[at] == s->items[at].n_refs) {
            colours[at] = BLACK;
            order[(*n_order)++] = at;
            depth--;
            continue;
        }
        int32_t to = s->refs[s->items[at].first_ref + next[at]++];
        if (colours[to] == WHITE) {
            colours[to] = GREY;
            next[to] = 0;
            stack[depth++] = to;
        } else if (colours[to] == GREY && !s->items[to].in_cycle) {
            int32_t from = depth - 1;
            while (stack[from] != to) from--;
            report_cycle(s, stack, from, depth, diags);
        }
    }
}

rh_status rh_scope_order(int32_t **out, rh_scope *s, rh_diags *diags)
{
    rh_status status = RH_OK;
    int32_t *order = rh_calloc(s->n + 1, sizeof *order), *stack = rh_calloc(s->n + 1, sizeof *stack);
    int32_t *next = rh_calloc(s->n + 1, sizeof *next);
    char *colours = rh_calloc(s->n + 1, 1);
    size_t n_order = 0;
    if (!order || !stack || !next || !colours) status = RH_ENOMEM;
    for (size_t i = 0; !status && i < s->n; i++) {
        s->items[i].first_ref = (int32_t)s->n_refs;
        status = add_refs(s, s->items[i].statement->expr);
        s->items[i].n_refs = (int32_t)s->n_refs - s->items[i].first_ref;
    }
    for (size_t i = 0; !status && i < s->n; i++)
        if (colours[i] == WHITE) visit(s, (int32_t)i, colours, stack, next, order, &n_order, diags);
    free(stack);
    free(next);
    free(colours);
    if (status)
        free(order);
    else
        *out = order;
    return status;
}

rh_status rh_scope_reach(rh_scope *s, const rh_expr *e)
{
    size_t first = s->n_refs;
    RH_TRY(add_refs(s, e));
    /* refs[first..] is the work left; each binding enters it once. */
    size_t end = first;
    for (size_t i = first; i < s->n_refs; i++) {
        rh_binding *b = &s->items[s->refs[i]];
        if (b->reached) continue;
        b->reached = true;
        s->refs[end++] = s->refs[i];
    }
    s->n_refs = end;
    while (s->n_refs > first) {
        const rh_binding b = s->items[s->refs[--s->n_refs]];
        for (int32_t k = 0; k < b.n_refs; k++) {
            int32_t to = s->refs[b.first_ref + k];
            if (s->items[to].reached) continue;
            if (!RH_GROW(s->refs, s->refs_capacity, s->n_refs)) return RH_ENOMEM;
            s->items[to].reached = true;
            s->refs[s->n_refs++] = to;
        }
    }
    return RH_OK;
}

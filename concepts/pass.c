/* pass.c - what one pass will do: prompts ordered, merged and packed into batches. */
#include "concepts/pass.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "concepts/room.h"

enum {
    DEFAULT_BATCH = 1024,
    MAX_SEQS = 1024,             /* of one batch */
    MAX_SLOTS = 1 << 15,         /* sequences times the longest: what a session makes room for */
    MAX_CAPTURE = 1 << 24        /* floats read by one batch: 64 MiB */
};

/* ---- collecting --------------------------------------------------------------------------- */

rh_status rh_pass_atom_add(rh_pass *p, int32_t *atom, const char *key, rh_hook hook, int32_t d,
                           const int32_t *layers, int32_t n_layers, rh_error *err)
{
    if (!RH_GROW(p->atoms, p->cap_atoms, p->n_atoms)) return rh_fail_nomem(err);
    rh_pass_atom *a = &p->atoms[p->n_atoms];
    *a = (rh_pass_atom){.hook = hook, .d = d, .n_layers = n_layers};
    memcpy(a->key, key, sizeof a->key);
    a->layers = rh_calloc((size_t)n_layers, sizeof *a->layers);
    a->sum = rh_calloc((size_t)RH_CLASSES * (size_t)n_layers, sizeof *a->sum * (size_t)d);
    if (!a->layers || !a->sum) {
        free(a->layers);
        free(a->sum);
        return rh_fail_nomem(err);
    }
    memcpy(a->layers, layers, (size_t)n_layers * sizeof *layers);
    *atom = (int32_t)p->n_atoms++;
    return RH_OK;
}

void rh_pass_atom_keep(rh_pass *p, int32_t atom, rh_keep keep)
{
    rh_pass_atom *a = &p->atoms[atom];
    a->keep = keep;
    if (keep == RH_KEEP_SUMS) return;
    free(a->sum);
    a->sum = NULL;
}

/* Append to the pool; *offset is where. */
static bool pool_add(rh_pass *p, size_t *offset, const int32_t *items, int32_t n)
{
    *offset = p->n_pool;
    for (int32_t i = 0; i < n; i++) {
        if (!RH_GROW(p->pool, p->cap_pool, p->n_pool)) return false;
        p->pool[p->n_pool++] = items[i];
    }
    return true;
}

rh_status rh_pass_prompt_add(rh_pass *p, int32_t atom, int32_t cls, bool each, const int32_t *ids,
                             int32_t n, const int32_t *positions, int32_t n_positions, rh_error *err)
{
    rh_reading r = {.atom = atom, .cls = cls, .each = each, .count = 1, .n_ids = n, .n_positions = n_positions};
    rh_pass_atom *a = &p->atoms[atom];
    bool rows = a->keep == RH_KEEP_ROWS || a->keep == RH_KEEP_NORMS;
    if (rows) r.row = a->n_rows;
    if (!pool_add(p, &r.ids, ids, n) || !pool_add(p, &r.positions, positions, n_positions) ||
        !RH_GROW(p->readings, p->cap_readings, p->n_readings))
        return rh_fail_nomem(err);
    p->readings[p->n_readings++] = r;
    if (rows) a->n_rows += each ? (size_t)n_positions : 1;
    p->asked++;
    p->asked_tokens += n;
    return RH_OK;
}

/* ---- ordering ----------------------------------------------------------------------------- */

static int compare_ints(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
    for (int32_t i = 0; i < n_a && i < n_b; i++)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return (n_a > n_b) - (n_a < n_b);
}

static int compare_ids(const rh_reading *a, const rh_reading *b)
{
    return compare_ints(a->pool + a->ids, a->n_ids, b->pool + b->ids, b->n_ids);
}

static int compare_readings(const void *x, const void *y)
{
    const rh_reading *a = x, *b = y;
    int order = compare_ids(a, b);
    if (!order) order = (a->atom > b->atom) - (a->atom < b->atom);
    if (!order) order = (a->cls > b->cls) - (a->cls < b->cls);
    if (!order) order = (int)a->each - (int)b->each;
    if (!order) order = compare_ints(a->pool + a->positions, a->n_positions, b->pool + b->positions, b->n_positions);
    if (!order) order = (a->row > b->row) - (a->row < b->row);
    return order;
}

/* Sorted, equal readings merged. */
static void sort_readings(rh_pass *p)
{
    for (size_t i = 0; i < p->n_readings; i++) p->readings[i].pool = p->pool;
    if (p->n_readings) qsort(p->readings, p->n_readings, sizeof *p->readings, compare_readings);
    size_t kept = 0;
    for (size_t i = 0; i < p->n_readings; i++) {
        if (kept && compare_readings(&p->readings[kept - 1], &p->readings[i]) == 0)
            p->readings[kept - 1].count += p->readings[i].count;
        else
            p->readings[kept++] = p->readings[i];
    }
    p->n_readings = kept;
}

static rh_status group_prompts(rh_pass *p, rh_error *err)
{
    for (size_t i = 0; i < p->n_readings; i++) {
        if (i && compare_ids(&p->readings[i - 1], &p->readings[i]) == 0) {
            p->prompts[p->n_prompts - 1].n++;
            continue;
        }
        if (!RH_GROW(p->prompts, p->cap_prompts, p->n_prompts)) return rh_fail_nomem(err);
        p->prompts[p->n_prompts++] = (rh_pass_prompt){.first = i, .n = 1};
        p->tokens += p->readings[i].n_ids;
    }
    return RH_OK;
}

/* ---- packing ------------------------------------------------------------------------------ */

/* Tokens the prompt has in common with the one before it: in lexicographic order, no earlier
 * one has more. */
static int32_t common_prefix(const rh_pass *p, size_t prompt)
{
    const rh_reading *a = &p->readings[p->prompts[prompt - 1].first], *b = &p->readings[p->prompts[prompt].first];
    int32_t n = 0;
    while (n < a->n_ids && n < b->n_ids && p->pool[a->ids + (size_t)n] == p->pool[b->ids + (size_t)n]) n++;
    return n;
}

/* An upper bound of the floats that reading a prompt takes. */
static int64_t capture_size(const rh_pass *p, size_t prompt)
{
    int64_t size = 0;
    for (int32_t i = 0; i < p->prompts[prompt].n; i++) {
        const rh_reading *r = &p->readings[p->prompts[prompt].first + (size_t)i];
        const rh_pass_atom *a = &p->atoms[r->atom];
        size += (int64_t)r->n_positions * a->n_layers * a->d;
    }
    return size;
}

static rh_status pack(rh_pass *p, const rh_pass_options *o, rh_error *err)
{
    int64_t limit = o->batch_tokens > 0 ? o->batch_tokens : DEFAULT_BATCH, captured = 0;
    rh_pass_batch *b = NULL;
    for (size_t i = 0; i < p->n_prompts; i++) {
        int32_t n = p->readings[p->prompts[i].first].n_ids;
        int64_t size = capture_size(p, i);
        int32_t fresh = b && !o->no_share ? n - common_prefix(p, i) : n;
        int32_t longest = b && b->longest > n ? b->longest : n;
        if (!b || b->rows + fresh > limit || b->n == MAX_SEQS || (int64_t)(b->n + 1) * longest > MAX_SLOTS ||
            captured + size > MAX_CAPTURE) {
            if (!RH_GROW(p->batches, p->cap_batches, p->n_batches)) return rh_fail_nomem(err);
            b = &p->batches[p->n_batches++];
            *b = (rh_pass_batch){.first = i};
            captured = 0;
            fresh = longest = n;
        }
        b->n++;
        b->longest = longest;
        b->rows += fresh;
        captured += size;
        p->rows += fresh;
    }
    return RH_OK;
}

/* The key names everything that the sums and their order depend on. */
static rh_status make_key(rh_pass *p, const rh_pass_options *o, rh_error *err)
{
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    int64_t head[] = {RH_EXTRACT_VERSION, o->batch_tokens, o->no_share, (int64_t)p->n_atoms,
                      (int64_t)p->n_prompts, (int64_t)p->n_batches};
    rh_sha256_add(h, head, sizeof head);
    for (size_t i = 0; i < p->n_atoms; i++) {
        rh_pass_atom *a = &p->atoms[i];
        rh_sha256_add(h, a->key, sizeof a->key);
        rh_sha256_add(h, a->layers, (size_t)a->n_layers * sizeof *a->layers);
    }
    for (size_t i = 0; i < p->n_readings; i++) {
        const rh_reading *r = &p->readings[i];
        int32_t facts[] = {r->atom, r->cls, r->each, r->count, r->n_positions, r->n_ids};
        uint64_t row = r->row;
        rh_sha256_add(h, facts, sizeof facts);
        rh_sha256_add(h, &row, sizeof row);
        rh_sha256_add(h, p->pool + r->ids, (size_t)r->n_ids * sizeof *p->pool);
        rh_sha256_add(h, p->pool + r->positions, (size_t)r->n_positions * sizeof *p->pool);
    }
    rh_sha256_hex(h, p->key);
    rh_sha256_free(h);
    return RH_OK;
}

rh_status rh_pass_plan(rh_pass *p, const rh_pass_options *o, rh_error *err)
{
    sort_readings(p);
    RH_TRY(group_prompts(p, err));
    RH_TRY(pack(p, o, err));
    p->deepest = -1;
    for (size_t i = 0; p->n_prompts && i < p->n_atoms; i++)
        if (p->atoms[i].layers[p->atoms[i].n_layers - 1] > p->deepest)
            p->deepest = p->atoms[i].layers[p->atoms[i].n_layers - 1];
    return make_key(p, o, err);
}

/* ---- results ------------------------------------------------------------------------------ */

void rh_pass_mean(double *mean, const rh_pass *p, int32_t atom, int32_t cls, int32_t i)
{
    const rh_pass_atom *a = &p->atoms[atom];
    const double *sum = a->sum + ((size_t)cls * (size_t)a->n_layers + (size_t)i) * (size_t)a->d;
    for (int32_t j = 0; j < a->d; j++) mean[j] = a->n[cls] > 0 ? sum[j] / a->n[cls] : 0;
}

void rh_pass_free(rh_pass *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_atoms; i++) {
        free(p->atoms[i].layers);
        rh_keep_free(&p->atoms[i]);
    }
    free(p->atoms);
    free(p->pool);
    free(p->readings);
    free(p->prompts);
    free(p->batches);
    *p = (rh_pass){0};
}

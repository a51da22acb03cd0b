#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* softmax(scale q K^T) V with a running maximum over tiles of 64 keys.
 *
 * Queries that share a kv head also share its keys: an item is a tile of M = rows x heads
 * queries of one group and kv head, so that a tile of keys, transposed once, serves them all.
 * For a tile of keys with scores S [M, 64]:
 *     S = cap(scale Q K^T),  m' = max(m, max S),  P = exp(S - m'),  l' = l exp(m - m') + sum P,
 *     O' = O exp(m - m') + P V,  and in the end out = O / l.
 * Where there are fewer items than threads, as in decoding one sequence, an item's keys are
 * split, and the parts (O, m, l) are merged in the same way. */

enum { QUERIES = 64, MIN_SPLIT = 256 /* keys a part */ };

typedef struct item {
    int32_t group, kv_head, row, rows; /* rows of the group */
    int32_t from, to;                  /* keys (positions) */
    int32_t part, parts;
} item;

typedef struct job {
    const rh_cpu_kernels *k;
    const rh_attention_params *p;
    const rh_attention_group *groups;
    const float *q;
    const char *keys, *values;
    size_t element;         /* bytes of one of theirs */
    float *out;
    int32_t heads;          /* of a kv head */
    int32_t tile_rows;      /* rows of an item at most: tile_rows * heads queries */
    size_t width, d;        /* head_dim rounded up to 16; head_dim */
    size_t part_floats;     /* of one part's O, m, l */
    const item *items;
    float *partial;         /* [items] of part_floats: parts that are merged in the end */
    char *spaces;           /* [threads] of space_bytes */
    size_t space_bytes;
} job;

/* One thread's workspace; M = tile_rows * heads. */
typedef struct space {
    float *q;     /* [M, head_dim] */
    float *s;     /* [M, 64] scores, then weights */
    float *kt;    /* [width, 64] keys, transposed */
    float *v;     /* [64, width] values, where they cannot be read in place; before, float16 keys */
    float *o;     /* [M, width], then m [M] and l [M] */
} space;

static size_t space_floats(const job *j)
{
    size_t m = (size_t)j->tile_rows * (size_t)j->heads;
    return m * j->width + m * RH_KEYS + 2 * j->width * RH_KEYS + j->part_floats;
}

static space space_at(float *p, const job *j)
{
    size_t m = (size_t)j->tile_rows * (size_t)j->heads;
    space s = { .q = p };
    s.s = s.q + m * j->width;
    s.kt = s.s + m * RH_KEYS;
    s.v = s.kt + j->width * RH_KEYS;
    s.o = s.v + j->width * RH_KEYS;
    return s;
}

/* Query m of an item: row m / heads, head m % heads. */
static size_t query_offset(const job *j, const item *it, int32_t m)
{
    size_t row = (size_t)(j->groups[it->group].row + it->row + m / j->heads);
    size_t head = (size_t)(it->kv_head * j->heads + m % j->heads);
    return (row * (size_t)j->p->n_heads + head) * j->d;
}

static void load_queries(const job *j, const item *it, space *s)
{
    for (int32_t m = 0; m < it->rows * j->heads; m++)
        memcpy(s->q + (size_t)m * j->d, j->q + query_offset(j, it, m), j->d * sizeof(float));
}

/* Slots of positions from .. from + n - 1 of the group; true if they are consecutive. */
static bool slots_of(int32_t *slots, const rh_attention_group *g, int32_t from, int32_t n)
{
    int32_t i = 0;
    bool consecutive = true;
    for (int32_t s = 0; s < g->n_spans && i < n; s++) {
        const rh_kv_span *span = &g->spans[s];
        int32_t p = from + i - span->pos;
        if (p < 0 || p >= span->len) continue;
        if (i > 0 && span->slot + p != slots[i - 1] + 1) consecutive = false;
        for (; i < n && p < span->len; p++) slots[i++] = span->slot + p;
    }
    assert(i == n);
    return consecutive;
}

/* A head's key or value at a slot. */
static const void *at_slot(const job *j, const char *base, const item *it, int32_t slot)
{
    return base + ((size_t)slot * (size_t)j->p->n_kv_heads + (size_t)it->kv_head) * j->d * j->element;
}

static void load_keys(const job *j, const item *it, space *s, const int32_t *slots, int32_t n,
                      int32_t padded)
{
    const float *rows[RH_KEYS];
    for (int32_t i = 0; i < padded; i++) {
        const void *key = at_slot(j, j->keys, it, slots[i < n ? i : n - 1]);
        float *wide = s->v + (size_t)(i < n ? i : n - 1) * j->width;
        if (j->p->kv == RH_F16 && i < n) j->k->widen(wide, key, (int64_t)j->d);
        rows[i] = j->p->kv == RH_F16 ? wide : key;
    }
    j->k->transpose(s->kt, RH_KEYS, rows, padded, (int32_t)j->d);
}

/* Values in place if they are floats, evenly spaced and whole vectors; otherwise copied. */
static const float *load_values(const job *j, const item *it, space *s, const int32_t *slots,
                                int32_t n, bool consecutive, size_t *ld)
{
    if (consecutive && j->width == j->d && j->p->kv == RH_F32) {
        *ld = (size_t)j->p->n_kv_heads * j->d;
        return at_slot(j, j->values, it, slots[0]);
    }
    for (int32_t i = 0; i < n; i++) {
        const void *value = at_slot(j, j->values, it, slots[i]);
        if (j->p->kv == RH_F16) j->k->widen(s->v + (size_t)i * j->width, value, (int64_t)j->d);
        else memcpy(s->v + (size_t)i * j->width, value, j->d * sizeof(float));
        memset(s->v + (size_t)i * j->width + j->d, 0, (j->width - j->d) * sizeof(float));
    }
    *ld = j->width;
    return s->v;
}

/* Scores of query m -> weights; the row's maximum and sum, and O's scale, move along. */
static void soften(const job *j, const item *it, space *s, int32_t m, int32_t from, int32_t n,
                   float *max, float *sum)
{
    int32_t pos = j->groups[it->group].pos + it->row + m / j->heads;
    int32_t first = j->p->window ? pos - j->p->window + 1 - from : 0, last = pos + 1 - from;
    first = first < 0 ? 0 : first > n ? n : first;
    last = last < first ? first : last > n ? n : last;
    float shrink = j->k->soften(s->s + (size_t)m * RH_KEYS, (int)n, (int)first, (int)last, j->p->scale,
                                j->p->softcap, &max[m], &sum[m]);
    if (shrink != 1 && from > it->from) {
        float *o = s->o + (size_t)m * j->width;
        j->k->scale(o, shrink, o, (int64_t)j->width);
    }
}

static void attend(const job *j, const item *it, space *s)
{
    int32_t n_queries = it->rows * j->heads, slots[RH_KEYS];
    float *max = s->o + (size_t)n_queries * j->width, *sum = max + n_queries;
    for (int32_t m = 0; m < n_queries; m++) {
        max[m] = -FLT_MAX;
        sum[m] = 0;
    }
    load_queries(j, it, s);
    for (int32_t from = it->from; from < it->to; from += RH_KEYS) {
        int32_t n = it->to - from < RH_KEYS ? it->to - from : RH_KEYS, padded = (n + 15) / 16 * 16;
        size_t ldv;
        bool consecutive = slots_of(slots, &j->groups[it->group], from, n);
        load_keys(j, it, s, slots, n, padded);
        const float *v = load_values(j, it, s, slots, n, consecutive, &ldv);
        j->k->tile(s->s, RH_KEYS, false, s->q, j->d, s->kt, RH_KEYS, n_queries, (int)j->d,
                   padded / 16);
        for (int32_t m = 0; m < n_queries; m++) soften(j, it, s, m, from, n, max, sum);
        j->k->tile(s->o, j->width, from > it->from, s->s, RH_KEYS, v, ldv, n_queries, n, (int)(j->width / 16));
    }
}

/* out = O / l for every query of the item */
static void finish(const job *j, const item *it, const float *o)
{
    int32_t n_queries = it->rows * j->heads;
    const float *sum = o + (size_t)n_queries * (j->width + 1);
    for (int32_t m = 0; m < n_queries; m++) {
        float *to = j->out + query_offset(j, it, m);
        j->k->scale(to, 1 / sum[m], o + (size_t)m * j->width, (int64_t)j->d);
    }
}

/* Part b joins part a: both O weighted by exp(m - max). */
static void merge(const job *j, const item *it, float *a, const float *b)
{
    int32_t n_queries = it->rows * j->heads;
    float *max_a = a + (size_t)n_queries * j->width, *sum_a = max_a + n_queries;
    const float *max_b = b + (size_t)n_queries * j->width, *sum_b = max_b + n_queries;
    for (int32_t m = 0; m < n_queries; m++) {
        float top = max_a[m] > max_b[m] ? max_a[m] : max_b[m];
        float ca = expf(max_a[m] - top), cb = expf(max_b[m] - top);
        float *oa = a + (size_t)m * j->width;
        j->k->scale(oa, ca, oa, (int64_t)j->width);
        j->k->axpy(oa, cb, b + (size_t)m * j->width, (int64_t)j->width);
        sum_a[m] = sum_a[m] * ca + sum_b[m] * cb;
        max_a[m] = top;
    }
}

/* Items of all groups; with `items` NULL only counted. Keys run from the first that the first
 * row sees to the last row's own. */
static int32_t plan(const job *j, int32_t n_groups, int32_t parts, item *items)
{
    int32_t n = 0;
    for (int32_t g = 0; g < n_groups; g++) {
        const rh_attention_group *group = &j->groups[g];
        for (int32_t h = 0; h < j->p->n_kv_heads; h++) {
            for (int32_t row = 0; row < group->n; row += j->tile_rows) {
                item it = { .group = g, .kv_head = h, .row = row };
                it.rows = group->n - row < j->tile_rows ? group->n - row : j->tile_rows;
                int32_t first = j->p->window ? group->pos + row - j->p->window + 1 : 0;
                int32_t from = first > 0 ? first : 0, to = group->pos + row + it.rows;
                int32_t most = (to - from + MIN_SPLIT - 1) / MIN_SPLIT;
                it.parts = parts < most ? parts : most;
                int32_t step = ((to - from) / it.parts + RH_KEYS - 1) / RH_KEYS * RH_KEYS;
                for (it.part = 0; it.part < it.parts; it.part++, n++) {
                    it.from = from + it.part * step;
                    it.to = it.part + 1 < it.parts ? it.from + step : to;
                    if (items) items[n] = it;
                }
            }
        }
    }
    return n;
}

static void run_item(void *job_, int32_t i, int thread)
{
    const job *j = job_;
    const item *it = &j->items[i];
    space s = space_at((float *)(j->spaces + (size_t)thread * j->space_bytes), j);
    if (it->parts > 1) s.o = j->partial + (size_t)i * j->part_floats;
    attend(j, it, &s);
    if (it->parts == 1) finish(j, it, s.o);
}

static void merge_parts(const job *j, int32_t n_items)
{
    for (int32_t i = 0; i < n_items; i += j->items[i].parts) {
        const item *it = &j->items[i];
        float *o = j->partial + (size_t)i * j->part_floats;
        if (it->parts == 1) continue;
        for (int32_t b = 1; b < it->parts; b++) merge(j, it, o, o + (size_t)b * j->part_floats);
        finish(j, it, o);
    }
}

rh_status rh_cpu_attention(rh_backend *be, rh_buf *out, const rh_buf *q, const rh_buf *k,
                           const rh_buf *v, const rh_attention_group *groups, int32_t n_groups,
                           const rh_attention_params *p, rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    job j = { .k = c->k, .p = p, .groups = groups, .q = q->data, .keys = (const char *)k->data,
              .values = (const char *)v->data, .element = p->kv == RH_F16 ? 2 : sizeof(float), .out = out->data, .heads = p->n_heads / p->n_kv_heads,
              .d = (size_t)p->head_dim };
    j.width = (j.d + 15) / 16 * 16;
    j.tile_rows = j.heads >= QUERIES ? 1 : QUERIES / j.heads;
    j.part_floats = (size_t)j.tile_rows * (size_t)j.heads * (j.width + 2);
    j.part_floats = (j.part_floats + 15) / 16 * 16;

    int32_t n_items = plan(&j, n_groups, 1, NULL), parts = 1;
    if (n_items < be->threads && n_items > 0) {
        parts = (be->threads + n_items - 1) / n_items;
        n_items = plan(&j, n_groups, parts, NULL);
    }
    size_t list = ((size_t)n_items * sizeof(item) + 63) / 64 * 64;
    size_t saved = parts > 1 ? (size_t)n_items * j.part_floats * sizeof(float) : 0;
    j.space_bytes = space_floats(&j) * sizeof(float);
    char *scratch = rh_cpu_scratch(c, list + saved + j.space_bytes * (size_t)be->threads);
    if (!scratch) return rh_fail_nomem(err);
    item *items = (item *)scratch;
    j.items = items;
    j.partial = (float *)(scratch + list);
    j.spaces = scratch + list + saved;
    plan(&j, n_groups, parts, items);
    rh_cpu_run(c, n_items, run_item, &j);
    if (parts > 1) merge_parts(&j, n_items);
    return RH_OK;
}

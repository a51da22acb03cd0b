/* screen.c - the rows of a matrix whose products with inputs reach a level: codes leave few of them open
 * (screen_codes.c says why none is missed), and those are computed as matmul does it. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/screen.h"

enum {
    TOKENS = 128,         /* a tile, at most; fewer of wide inputs, so that they stay in L2 with their codes, */
    TILE_FLOATS = 81920,
    FEWEST_TOKENS = 64,   /* but not so few that a row is computed for one or two only */
    GROUP_FLOATS = 40960, /* of rows an item, so that they stay in L2 beside a tile */
    GROUP_PANELS = 4,     /* an item, at most */
    FEW = 8, FEW_PANELS = 16, /* inputs; panels an item for so few, for memory is the limit then */
    OPEN = RH_PANEL * TOKENS
};

typedef struct found { int32_t token, row; float p; } found;

/* Of one item, in the order of rows; a token's rows ascend. */
typedef struct found_list { found *items; size_t n, capacity, computed; bool failed; } found_list;

typedef struct job {
    const rh_cpu_kernels *k;
    const rh_screen *s;
    const rh_screen_level *level;
    int32_t n, per_item, per_tile; /* inputs; panels an item; inputs a tile */
    const float *x;         /* [n, ldx], columns from cols to ldx zero */
    size_t ldx, lds;
    uint8_t *u;             /* [n, wide] */
    rh_screen_x *facts;     /* [n] */
    float *floor;           /* [n], lowered */
    uint16_t *split;        /* [n][2][lds] for matmul's way with bf16, or NULL */
    float *own;             /* [threads][wide]: an input being mixed */
    found_list *found;      /* [items] */
} job;

static void code_input(void *job_, int32_t t, int thread)
{
    const job *j = job_;
    const rh_screen *s = j->s;
    float *x = j->own + (size_t)thread * (size_t)s->wide;
    uint8_t *u = j->u + (size_t)t * (size_t)s->wide;
    memset(x + s->cols, 0, (size_t)(s->wide - s->cols) * sizeof *x);
    memcpy(x, j->x + (size_t)t * j->ldx, (size_t)s->cols * sizeof *x);
    const rh_screen_coded c = rh_screen_code_input((int8_t *)u, x, s->wide);
    for (int32_t k = 0; k < s->wide; k++) u[k] = (uint8_t)(u[k] + 64);
    j->facts[t] = (rh_screen_x){ (float)c.scale, (float)(c.norm * RH_SCREEN_UP), (float)(c.error * RH_SCREEN_UP) };
    if (j->split) j->k->split_bf16(j->split + (size_t)t * 2 * j->lds, j->lds, j->x + (size_t)t * j->ldx, s->cols);
}

/* Below x by more than the kernel's arithmetic with it can err. */
static float lowered(float x) { return x - fabsf(x) * (1.0f / 1048576) - 1e-36f; }

static double level_of(const rh_screen_level *l, int32_t row, int32_t t)
{
    return l->gain ? l->base[row] + (double)l->gain[row] * l->floor[t] : l->base[row];
}

/* Products that the codes left open: one tile's, or with few inputs those of many panels, so that some rows
 * come from memory side by side. */
typedef struct open_products {
    int32_t row[OPEN], token[OPEN];
    const uint8_t *w[OPEN];
    const float *x[OPEN];
    float p[OPEN];
    int n;
} open_products;

typedef struct place { uint8_t row, token; } place; /* in a tile */

/* The bits of n masks, token after token; most masks have two at most, and those are written without asking. */
static int places_of(place *out, const uint16_t *masks, int32_t n)
{
    int many = 0;
    for (int32_t t = 0; t < n; t++) {
        const uint8_t token = (uint8_t)t;
        const unsigned first = masks[t], second = first & (first - 1);
        unsigned left = second & (second - 1);
        out[many] = (place){ (uint8_t)__builtin_ctz(first | 1u << RH_PANEL), token };
        out[many + 1] = (place){ (uint8_t)__builtin_ctz(second | 1u << RH_PANEL), token };
        many += (first != 0) + (second != 0);
        for (; left; left &= left - 1) out[many++] = (place){ (uint8_t)__builtin_ctz(left), token };
    }
    return many;
}

/* Row by row, for a row's inputs then find it in L1. */
static void list_open(open_products *o, const job *j, int32_t panel, int32_t t0, int32_t n, const uint16_t *masks)
{
    const rh_screen *s = j->s;
    place places[OPEN + 2];
    int next[RH_PANEL + 1] = { 0 };
    const int many = places_of(places, masks, n);
    for (int i = 0; i < many; i++) next[places[i].row + 1]++;
    for (int r = 0; r < RH_PANEL; r++) next[r + 1] += next[r];
    for (int i = 0; i < many; i++) {
        const int at = o->n + next[places[i].row]++;
        o->row[at] = panel * RH_PANEL + places[i].row;
        o->token[at] = t0 + places[i].token;
        o->w[at] = s->data + (size_t)o->row[at] * s->row_bytes;
        o->x[at] = j->x + (size_t)o->token[at] * j->ldx;
    }
    for (int i = o->n; i < o->n + many && j->n <= FEW; i++)
        for (size_t at = 0; at < s->row_bytes; at += 64) __builtin_prefetch(o->w[i] + at);
    o->n += many;
}

/* What matmul gives. */
static void close_open(open_products *o, const job *j)
{
    const rh_screen *s = j->s;
    if (!j->split && j->k->dots_at) {
        j->k->dots_at(o->p, o->w, s->type, o->x, o->n, s->cols);
        return;
    }
    for (int i = 0; i < o->n; i++) {
        if (j->split) j->k->bf16_dots(o->p + i, 1, o->w + i, 1, j->split + (size_t)o->token[i] * 2 * j->lds, j->lds, 1, s->cols);
        else j->k->dots(o->p + i, 1, o->w + i, s->type, 1, o->x[i], j->ldx, 1, s->cols);
    }
}

static void keep(found_list *list, const job *j, open_products *o)
{
    close_open(o, j);
    list->computed += (size_t)o->n;
    if (!RH_GROW(list->items, list->capacity, list->n + (size_t)o->n)) list->failed = true;
    for (int i = 0; i < o->n && !list->failed; i++) { /* nobody could foresee which: all are written, some again */
        list->items[list->n] = (found){ o->token[i], o->row[i], o->p[i] };
        list->n += !(o->p[i] < level_of(j->level, o->row[i], o->token[i]));
    }
    o->n = 0;
}

/* Inputs t0 .. t0 + n - 1 and one panel. */
static void tile(found_list *list, open_products *o, const job *j, int32_t panel, int32_t t0, int32_t n, const float *base,
                 const float *gain)
{
    const rh_screen *s = j->s;
    const int32_t rows = s->rows - panel * RH_PANEL; /* without those that fill the last panel */
    uint16_t masks[TOKENS];
    j->k->screen(masks, s->codes + (size_t)panel * RH_PANEL * (size_t)s->wide, &s->panels[panel], base, gain,
                 j->u + (size_t)t0 * (size_t)s->wide, j->facts + t0, j->floor + t0, n, s->wide);
    for (int32_t t = 0; t < n && rows < RH_PANEL; t++) masks[t] &= (uint16_t)((1u << rows) - 1);
    if (o->n + RH_PANEL * n > OPEN) keep(list, j, o);
    list_open(o, j, panel, t0, n, masks);
}

/* A few panels with all inputs: their rows are read from memory once. A token's rows are found in ascending order,
 * for it is in one tile. */
static void run_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    const rh_screen *s = j->s;
    const int32_t first = item * j->per_item;
    float base[FEW_PANELS][RH_PANEL] = { 0 }, gain[FEW_PANELS][RH_PANEL] = { 0 };
    open_products o;
    (void)thread;
    for (int32_t i = 0; i < j->per_item * RH_PANEL && first * RH_PANEL + i < s->rows; i++) {
        base[i / RH_PANEL][i % RH_PANEL] = lowered(j->level->base[first * RH_PANEL + i]);
        if (j->level->gain) gain[i / RH_PANEL][i % RH_PANEL] = j->level->gain[first * RH_PANEL + i];
    }
    o.n = 0;
    for (int32_t t0 = 0; t0 < j->n; t0 += j->per_tile)
        for (int32_t p = 0; p < j->per_item && first + p < s->n_panels; p++)
            tile(&j->found[item], &o, j, first + p, t0, j->n - t0 < j->per_tile ? j->n - t0 : j->per_tile, base[p], gain[p]);
    keep(&j->found[item], j, &o);
}

static rh_status gather(rh_hits *hits, const found_list *lists, int32_t items, int32_t n, rh_error *err)
{
    rh_hits h = { .start = rh_calloc((size_t)n + 2, sizeof *h.start) };
    size_t total = 0;
    bool failed = !h.start;
    for (int32_t i = 0; i < items && !failed; i++) {
        failed = lists[i].failed;
        total += lists[i].n;
        h.computed += lists[i].computed;
        for (size_t k = 0; k < lists[i].n; k++) h.start[lists[i].items[k].token + 2]++;
    }
    if (!failed) {
        h.row = rh_calloc(total, sizeof *h.row);
        h.p = rh_calloc(total, sizeof *h.p);
    }
    if (failed || !h.row || !h.p) {
        rh_hits_free(&h);
        return rh_fail_nomem(err);
    }
    for (int32_t t = 0; t < n; t++) h.start[t + 2] += h.start[t + 1];
    for (int32_t i = 0; i < items; i++) /* start[t + 1] goes from where t begins to where it ends */
        for (size_t k = 0; k < lists[i].n; k++) {
            const found one = lists[i].items[k];
            const size_t at = h.start[one.token + 1]++;
            h.row[at] = one.row;
            h.p[at] = one.p;
        }
    *hits = h;
    return RH_OK;
}

/* Scratch: inputs padded where they must be, their codes, and each thread's own. */
static rh_status lay_out(job *j, rh_cpu *c, const rh_buf *x, rh_error *err)
{
    const rh_screen *s = j->s;
    const size_t n = (size_t)j->n, cols = (size_t)s->cols, threads = (size_t)c->head.threads;
    j->ldx = (cols + 15) / 16 * 16;
    j->lds = (cols + 31) / 32 * 32;
    const int32_t fit = (int32_t)(GROUP_FLOATS / (RH_PANEL * j->ldx));
    const int32_t tile = (int32_t)(TILE_FLOATS / j->ldx) / 4 * 4; /* kernels take inputs by fours */
    j->per_tile = tile < FEWEST_TOKENS ? FEWEST_TOKENS : tile < TOKENS ? tile : TOKENS;
    j->per_item = j->n <= FEW ? FEW_PANELS : fit < 1 ? 1 : fit < GROUP_PANELS ? fit : GROUP_PANELS;
    const bool pad = j->ldx != cols, split = s->type == RH_BF16 && j->k->bf16_dots && !c->head.exact;
    const size_t sizes[] = { threads * (size_t)s->wide * sizeof(float), pad ? n * j->ldx * sizeof(float) : 0,
                             n * (size_t)s->wide, n * sizeof *j->facts, n * sizeof *j->floor,
                             split ? n * 2 * j->lds * sizeof *j->split : 0 };
    size_t at[7] = { 0 };
    for (int i = 0; i < 6; i++) at[i + 1] = at[i] + (sizes[i] + 63) / 64 * 64;
    char *p = rh_cpu_scratch(c, at[6]);
    if (!p) return rh_fail_nomem(err);
    j->own = (float *)p;
    j->x = x->data;
    if (pad) {
        float *padded = (float *)(p + at[1]);
        memset(padded, 0, sizes[1]);
        for (size_t t = 0; t < n; t++) memcpy(padded + t * j->ldx, x->data + t * cols, cols * sizeof(float));
        j->x = padded;
    }
    j->u = (uint8_t *)(p + at[2]);
    j->facts = (rh_screen_x *)(p + at[3]);
    j->floor = (float *)(p + at[4]);
    j->split = split ? (uint16_t *)(p + at[5]) : NULL;
    return RH_OK;
}

rh_status rh_cpu_screen(rh_backend *be, rh_hits *hits, const rh_screen *s, const rh_buf *x, int32_t n,
                        const rh_screen_level *level, rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    job j = { .k = c->k, .s = s, .level = level, .n = n };
    assert((size_t)n * (size_t)s->cols * sizeof(float) <= x->bytes && (!level->gain || level->floor));
    RH_TRY(lay_out(&j, c, x, err));
    const int32_t items = (s->n_panels + j.per_item - 1) / j.per_item;
    j.found = rh_calloc((size_t)items, sizeof *j.found);
    if (!j.found) return rh_fail_nomem(err);
    for (int32_t t = 0; t < n; t++) j.floor[t] = level->gain ? lowered(level->floor[t]) : 0;
    rh_cpu_run(c, n, code_input, &j);
    rh_cpu_run(c, items, run_item, &j);
    rh_status status = gather(hits, j.found, items, n, err);
    for (int32_t i = 0; i < items; i++) free(j.found[i].items);
    free(j.found);
    return status;
}

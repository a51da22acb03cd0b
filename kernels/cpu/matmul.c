#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/panel.h"

/* out_i [n, rows_i] = x [n, cols] @ w_i^T (+ bias_i) (+ out_i)
 *
 * Two ways, by how the weight is kept (weight.c):
 *   panels  x is quantised to 16 bits in blocks of 32, once for all targets, and multiplied
 *           with the integer codes of 16 rows at a time; a stream is packed just before;
 *   rows    a few rows are expanded to float32 in scratch and multiplied with x as it is; rows of
 *           floats are multiplied as they are where few tokens would not earn the expansion back, and
 *           bf16, where the processor multiplies pairs of them, stay as they are, and x is split
 *           into two bf16 whose sum is x to 2^-18.
 * The work of all targets is cut into items, (a tile of tokens) x (a group of rows of one
 * target), which threads take one after the other. A row of x gives the same result, bit for
 * bit, whatever else is in the batch: sums over columns always run in the same order. */

enum {
    TOKENS = 64,      /* a tile: its quantised rows stay in L2 while all panels pass */
    FLOAT_TOKENS = 128,
    FLOAT_ROWS = 8,   /* rows expanded at a time */
    FEW_TOKENS = 4,   /* for which half floats are widened anew, two tokens at a time */
    QUANTIZE_ROWS = 8, /* an item of quantising x */
    STREAM_PANELS = 2, /* packed at a time: they stay in L1 or L2 */
    TILE = 2048,      /* floats of one result tile */
    ITEM_BYTES = 1 << 16 /* of weights an item for few tokens, so that streams run long */
};

typedef struct job {
    const rh_cpu_kernels *k;
    const rh_matmul_target *targets;
    int32_t n_targets, n, cols, blocks;
    const float *x;         /* [n, ldx], columns from cols to ldx zero */
    size_t ldx;
    rh_xblock *xq;          /* [tile][blocks][tokens of the tile] */
    uint16_t *xs;           /* [n][2][lds] split into bf16, or NULL */
    size_t lds;             /* cols up to a multiple of 32 */
    bool exact;
    char *own;              /* [threads] of own_bytes: expanded rows, or packed panels */
    size_t own_bytes;
    int32_t n_panel_tiles, n_float_tiles;
} job;

static bool packed(const rh_matmul_target *t) { return t->w->kept != RH_AS_FLOATS; }

static int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }

/* Rows of the target an item covers: two panels with many tokens, so that there are enough
 * items to share out; with few, a long run of memory. */
static int32_t item_rows(const job *j, const rh_matmul_target *t)
{
    size_t row = packed(t) ? t->w->panel_bytes / RH_PANEL : t->w->row_bytes;
    int32_t tokens = min32(j->n, packed(t) ? TOKENS : FLOAT_TOKENS);
    size_t rows = ITEM_BYTES / (row * (size_t)tokens + 1);
    size_t step = packed(t) ? 2 * RH_PANEL : FLOAT_ROWS;
    rows = rows / step * step;
    return rows < step ? (int32_t)step : rows > 4096 ? 4096 : (int32_t)rows;
}

static int32_t n_items(const job *j, const rh_matmul_target *t)
{
    int32_t rows = item_rows(j, t), groups = (t->w->rows + rows - 1) / rows;
    return groups * (packed(t) ? j->n_panel_tiles : j->n_float_tiles);
}

/* tile [n, ld] -> out rows t0 .., columns r0 .. r0 + rows - 1 */
static void store(const rh_matmul_target *t, const float *tile, size_t ld, int32_t t0, int32_t n,
                  int32_t r0, int32_t rows)
{
    const float *bias = t->bias ? t->bias->data + r0 : NULL;
    for (int32_t i = 0; i < n; i++) {
        float *out = t->out->data + (size_t)(t0 + i) * (size_t)t->w->rows + r0;
        const float *v = tile + (size_t)i * ld;
        if (bias && t->add) for (int32_t r = 0; r < rows; r++) out[r] += v[r] + bias[r];
        else if (bias) for (int32_t r = 0; r < rows; r++) out[r] = v[r] + bias[r];
        else if (t->add) for (int32_t r = 0; r < rows; r++) out[r] += v[r];
        else memcpy(out, v, (size_t)rows * sizeof *out);
    }
}

/* Panels p .. p + n - 1 of a weight: where they are, or packed into own. */
static const uint8_t *panels_at(const job *j, const rh_weight *w, int32_t p, int32_t n, char *own)
{
    if (w->kept == RH_AS_PANELS) return w->panels + (size_t)p * w->panel_bytes;
    for (int32_t i = 0; i < n; i++)
        rh_cpu_pack(j->k, (uint8_t *)own + (size_t)i * w->panel_bytes, w, p + i, j->n == 1);
    return (const uint8_t *)own;
}

/* Where the bytes of panel p begin, for a stream whose rows lie in order; NULL if it ends. */
static const uint8_t *stream_at(const rh_weight *w, int32_t p)
{
    if (w->kept != RH_AS_STREAM || w->row_order || (p + STREAM_PANELS) * RH_PANEL > w->rows) return NULL;
    return w->data + (size_t)p * w->panel_bytes; /* a panel has the bytes of its rows */
}

static void panel_item(const job *j, const rh_matmul_target *t, int32_t t0, int32_t r0, int32_t r1,
                       char *own)
{
    float tile[TILE];
    const rh_weight *w = t->w;
    int32_t n = min32(j->n - t0, TOKENS);
    const rh_xblock *x = j->xq + (size_t)t0 * (size_t)j->blocks;
    int32_t step = w->kept == RH_AS_STREAM ? STREAM_PANELS * RH_PANEL : TILE / RH_PANEL / n * RH_PANEL;
    for (int32_t r = r0; r < r1; r += step) {
        int32_t rows = min32(r1 - r, step), n_panels = (rows + RH_PANEL - 1) / RH_PANEL;
        size_t ld = (size_t)n_panels * RH_PANEL;
        j->k->panels(tile, ld, panels_at(j, w, r / RH_PANEL, n_panels, own), w->panel_bytes, n_panels,
                     w->type, j->blocks, x, (int)n, stream_at(w, r / RH_PANEL + n_panels));
        store(t, tile, ld, t0, n, r, rows);
    }
}

/* Rows of bf16 that are multiplied as they are. */
static bool as_bf16(const job *j, const rh_weight *w)
{
    return w->kept == RH_AS_FLOATS && w->type == RH_BF16 && j->k->bf16_dots && !j->exact;
}

static void bf16_item(const job *j, const rh_matmul_target *t, int32_t t0, int32_t r0, int32_t r1)
{
    float tile[TILE];
    int32_t n = min32(j->n - t0, FLOAT_TOKENS);
    for (int32_t r = r0; r < r1; r += FLOAT_ROWS) {
        const uint8_t *rows[FLOAT_ROWS];
        int32_t n_rows = min32(r1 - r, FLOAT_ROWS);
        for (int32_t i = 0; i < n_rows; i++) rows[i] = rh_cpu_row(t->w, r + i);
        j->k->bf16_dots(tile, FLOAT_ROWS, rows, (int)n_rows, j->xs + (size_t)t0 * 2 * j->lds, j->lds, (int)n,
                        j->cols);
        store(t, tile, FLOAT_ROWS, t0, n, r, n_rows);
    }
}

/* Rows r .. r + n - 1 as dots takes them: as they are, or expanded into own. Returns their type. */
static rh_dtype rows_at(const uint8_t *rows[FLOAT_ROWS], const job *j, const rh_weight *w, int32_t r, int32_t n,
                        float *own)
{
    bool as_they_are = w->type == RH_F32 || ((w->type == RH_F16 || w->type == RH_BF16) && j->n <= FEW_TOKENS);
    for (int32_t i = 0; i < n; i++) {
        rows[i] = rh_cpu_row(w, r + i);
        if (as_they_are) continue;
        float *row = own + (size_t)i * j->ldx;
        j->k->dequantize(row, rows[i], w->type, j->cols);
        rows[i] = (const uint8_t *)row;
    }
    return as_they_are ? w->type : RH_F32;
}

static void float_item(const job *j, const rh_matmul_target *t, int32_t t0, int32_t r0, int32_t r1,
                       float *own)
{
    float tile[TILE];
    int32_t n = min32(j->n - t0, FLOAT_TOKENS);
    const float *x = j->x + (size_t)t0 * j->ldx;
    for (int32_t r = r0; r < r1; r += FLOAT_ROWS) {
        const uint8_t *rows[FLOAT_ROWS];
        int32_t n_rows = min32(r1 - r, FLOAT_ROWS);
        rh_dtype type = rows_at(rows, j, t->w, r, n_rows, own);
        j->k->dots(tile, FLOAT_ROWS, rows, type, (int)n_rows, x, j->ldx, (int)n, j->cols);
        store(t, tile, FLOAT_ROWS, t0, n, r, n_rows);
    }
}

/* Items are numbered target by target, and in a target tile by tile. */
static void run_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    char *own = j->own + (size_t)thread * j->own_bytes;
    const rh_matmul_target *t = j->targets;
    for (int32_t n; item >= (n = n_items(j, t)); t++) item -= n;
    int32_t rows = item_rows(j, t), groups = (t->w->rows + rows - 1) / rows;
    int32_t tile = item / groups, r0 = item % groups * rows, r1 = min32(r0 + rows, t->w->rows);
    if (packed(t)) panel_item(j, t, tile * TOKENS, r0, r1, own);
    else if (as_bf16(j, t->w)) bf16_item(j, t, tile * FLOAT_TOKENS, r0, r1);
    else float_item(j, t, tile * FLOAT_TOKENS, r0, r1, (float *)own);
}

static void quantize_row(const job *j, int32_t row)
{
    int32_t t0 = row / TOKENS * TOKENS, in_tile = min32(j->n - t0, TOKENS);
    rh_xblock *out = j->xq + (size_t)t0 * (size_t)j->blocks + (row - t0);
    j->k->quantize(out, (size_t)in_tile, j->x + (size_t)row * j->ldx, j->blocks);
}

static void quantize_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    (void)thread;
    for (int32_t i = item * QUANTIZE_ROWS; i < (item + 1) * QUANTIZE_ROWS && i < j->n; i++)
        quantize_row(j, i);
}

static void split_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    (void)thread;
    for (int32_t i = item * QUANTIZE_ROWS; i < (item + 1) * QUANTIZE_ROWS && i < j->n; i++)
        j->k->split_bf16(j->xs + (size_t)i * 2 * j->lds, j->lds, j->x + (size_t)i * j->ldx, j->cols);
}

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Lay out scratch: quantised and split x, padded x, each thread's own. */
static rh_status prepare(job *j, rh_cpu *c, const rh_buf *x, rh_error *err)
{
    size_t n = (size_t)j->n, threads = (size_t)c->head.threads, xq = 0, xs = 0, pad = 0;
    j->ldx = ((size_t)j->cols + 15) / 16 * 16;
    j->lds = ((size_t)j->cols + 31) / 32 * 32;
    for (int32_t i = 0; i < j->n_targets; i++) {
        const rh_weight *w = j->targets[i].w;
        if (w->kept == RH_AS_FLOATS) {
            j->own_bytes = max_size(j->own_bytes, (size_t)FLOAT_ROWS * j->ldx * sizeof(float));
            if (j->ldx != (size_t)j->cols) pad = n * j->ldx * sizeof(float);
            if (as_bf16(j, w)) xs = n * 2 * j->lds * sizeof(uint16_t);
        } else {
            xq = n * (size_t)j->blocks * sizeof(rh_xblock);
            if (w->kept == RH_AS_STREAM)
                j->own_bytes = max_size(j->own_bytes, STREAM_PANELS * w->panel_bytes);
        }
    }
    j->own_bytes = (j->own_bytes + 63) / 64 * 64;
    char *p = rh_cpu_scratch(c, threads * j->own_bytes + pad + xq + xs);
    if (!p) return rh_fail_nomem(err);
    j->own = p;
    j->x = x->data;
    p += threads * j->own_bytes;
    if (pad) {
        float *padded = (float *)p;
        memset(padded, 0, pad);
        for (size_t i = 0; i < n; i++)
            memcpy(padded + i * j->ldx, x->data + i * (size_t)j->cols, (size_t)j->cols * sizeof(float));
        j->x = padded;
    }
    j->xq = xq ? (rh_xblock *)(p + pad) : NULL;
    j->xs = xs ? (uint16_t *)(p + pad + xq) : NULL;
    j->n_panel_tiles = (j->n + TOKENS - 1) / TOKENS;
    j->n_float_tiles = (j->n + FLOAT_TOKENS - 1) / FLOAT_TOKENS;
    return RH_OK;
}

static rh_status multiply(rh_cpu *c, const rh_cpu_kernels *k, const rh_buf *x, int32_t n,
                          const rh_matmul_target *targets, int32_t n_targets, rh_error *err)
{
    int32_t cols = targets[0].w->cols, total = 0;
    job j = { .k = k, .targets = targets, .n_targets = n_targets, .n = n, .cols = cols,
              .blocks = cols / RH_BLOCK, .exact = c->head.exact };
    RH_TRY(prepare(&j, c, x, err));
    for (int32_t i = 0; i < n_targets; i++) {
        assert(targets[i].w->cols == cols);
        assert((size_t)n * (size_t)targets[i].w->rows * sizeof(float) <= targets[i].out->bytes);
        total += n_items(&j, &targets[i]);
    }
    if (j.xq) rh_cpu_run(c, (n + QUANTIZE_ROWS - 1) / QUANTIZE_ROWS, quantize_item, &j);
    if (j.xs) rh_cpu_run(c, (n + QUANTIZE_ROWS - 1) / QUANTIZE_ROWS, split_item, &j);
    rh_cpu_run(c, total, run_item, &j);
    return RH_OK;
}

static const rh_cpu_kernels *kernels_of(const rh_cpu *c, const rh_matmul_target *t)
{
    return t->w->type == RH_NF4 && packed(t) && c->k->nf4 ? c->k->nf4 : c->k;
}

/* Neighbours that the same kernels serve share one reading of x: as a rule, all of them. */
rh_status rh_cpu_matmul(rh_backend *be, const rh_buf *x, int32_t n,
                        const rh_matmul_target *targets, int32_t n_targets, rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    if (n < 1 || n_targets < 1) return RH_OK;
    for (int32_t i = 0; i < n_targets; i++) rh_cpu_stream_read(c, targets[i].w);
    for (int32_t i = 0, end; i < n_targets; i = end) {
        const rh_cpu_kernels *k = kernels_of(c, &targets[i]);
        for (end = i + 1; end < n_targets && kernels_of(c, &targets[end]) == k;) end++;
        RH_TRY(multiply(c, k, x, n, targets + i, end - i, err));
    }
    return RH_OK;
}

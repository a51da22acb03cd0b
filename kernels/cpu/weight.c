#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/panel.h"

/* Panels are streamed once a token: huge pages spare most faults at loading and most TLB
 * misses after it. Weights are smaller than that pays for, so they share chunks; the end of a large one lies in
 * small pages, for rounding up would take 1 to 2 % more memory. */
enum { HUGE_PAGE = 2 << 20, CHUNK = 8 * HUGE_PAGE };

static rh_chunk *chunk_new(size_t bytes)
{
    size_t size = bytes > CHUNK / 2 ? bytes : CHUNK;
    rh_chunk *c = calloc(1, sizeof *c);
    if (c && size >= bytes) c->base = aligned_alloc(HUGE_PAGE, size);
    if (!c || !c->base) {
        free(c);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    (void)madvise(c->base, size, MADV_HUGEPAGE); /* advice only */
#endif
    c->size = size;
    c->users = 1;
    return c;
}

void rh_cpu_chunk_drop(rh_chunk *chunk)
{
    if (!chunk || --chunk->users) return;
    free(chunk->base);
    free(chunk);
}

/* A large weight gets a chunk of its own and leaves the one being filled as it is. */
static uint8_t *take(rh_cpu *c, rh_chunk **chunk, size_t bytes)
{
    bytes = (bytes + 63) / 64 * 64;
    bool fits = c->chunk && bytes <= c->chunk->size - c->chunk->used;
    rh_chunk *from = fits ? c->chunk : chunk_new(bytes);
    if (!from) return NULL;
    if (bytes <= CHUNK / 2) {
        if (from != c->chunk) {
            rh_cpu_chunk_drop(c->chunk);
            c->chunk = from;
        }
        from->users++;
    }
    *chunk = from;
    from->used += bytes;
    return from->base + from->used - bytes;
}

void rh_cpu_pack(const rh_cpu_kernels *k, uint8_t *dst, const rh_weight *w, int32_t p, bool next)
{
    const uint8_t *rows[RH_PANEL];
    int32_t first = p * RH_PANEL, n = w->rows - first < RH_PANEL ? w->rows - first : RH_PANEL;
    for (int32_t r = 0; r < n; r++) rows[r] = rh_cpu_row(w, first + r);
    next = next && !w->row_order && first + 2 * RH_PANEL <= w->rows;
    k->pack(dst, rows, (int)n, w->type, w->cols, next ? rows[0] + RH_PANEL * w->row_bytes : NULL);
}

enum { PACK_PANELS = 8, EMBED_ROWS = 8 }; /* an item */

typedef struct pack_job {
    const rh_cpu_kernels *k;
    rh_weight *w;
    int32_t n_panels;
} pack_job;

static void pack_item(void *job, int32_t i, int thread)
{
    const pack_job *j = job;
    (void)thread;
    for (int32_t p = i * PACK_PANELS; p < (i + 1) * PACK_PANELS && p < j->n_panels; p++)
        rh_cpu_pack(j->k, j->w->panels + (size_t)p * j->w->panel_bytes, j->w, p, false);
}

static rh_status repack(rh_cpu *c, rh_weight *w, rh_error *err)
{
    int32_t n_panels = (w->rows + RH_PANEL - 1) / RH_PANEL;
    if (w->panel_bytes > (SIZE_MAX / 2) / (size_t)n_panels) return rh_fail_nomem(err);
    w->panels = take(c, &w->chunk, w->panel_bytes * (size_t)n_panels);
    if (!w->panels) return rh_fail_nomem(err);
    pack_job job = { c->k, w, n_panels };
    rh_cpu_run(c, (n_panels + PACK_PANELS - 1) / PACK_PANELS, pack_item, &job);
    return RH_OK;
}

/* In fast mode quantised weights become panels. Q8_0 does so in cache as it is read: its
 * bytes only change places, and the largest matrix of a small model, the embedding that is
 * also the output, is of this type; to copy it would be most of the time to the first token.
 * F32, F16 and BF16, and all types in exact mode, stay rows. */
static rh_status keep(rh_cpu *c, rh_weight *w, rh_error *err)
{
    if (c->head.exact || !rh_panel_type(w->type)) {
        w->kept = RH_AS_FLOATS;
        return RH_OK;
    }
    w->panel_bytes = rh_panel_bytes(w->type, w->cols);
    w->kept = w->type == RH_Q8_0 ? RH_AS_STREAM : RH_AS_PANELS;
    return w->kept == RH_AS_PANELS ? repack(c, w, err) : RH_OK;
}

rh_status rh_cpu_weight_new(rh_backend *be, rh_weight **out, const void *data, rh_dtype t,
                            int32_t rows, int32_t cols, const int32_t *row_order, rh_error *err)
{
    rh_status status = RH_OK;
    rh_weight *w = calloc(1, sizeof *w);
    if (!w) return rh_fail_nomem(err);
    assert(rh_dtype_get(t) && rows > 0 && cols > 0 && cols % rh_dtype_get(t)->block == 0);
    w->data = data;
    w->type = t;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = rh_row_bytes(t, cols);
    if (row_order) {
        w->row_order = malloc((size_t)rows * sizeof *row_order);
        if (!w->row_order) {
            status = rh_fail_nomem(err);
            goto fail;
        }
        memcpy(w->row_order, row_order, (size_t)rows * sizeof *row_order);
    }
    status = keep(rh_cpu_of(be), w, err);
    if (status) goto fail;
    *out = w;
    return RH_OK;
fail:
    rh_cpu_weight_free(be, w);
    return status;
}

bool rh_cpu_weight_owns(const rh_weight *w) { return w->kept == RH_AS_PANELS; }

void rh_cpu_weight_free(rh_backend *be, rh_weight *w)
{
    (void)be;
    if (!w) return;
    free(w->row_order);
    rh_cpu_chunk_drop(w->chunk);
    free(w);
}

/* Panels in huge pages are read half as fast again as rows in a mapped file, so a long run earns
 * the copy back; a short one never pays for it. Where there is no memory the stream goes on.
 * Changes a weight that is constant to everybody else: results are the same to the bit, and a
 * backend belongs to one thread at a time. */
void rh_cpu_stream_read(rh_cpu *c, const rh_weight *w)
{
    enum { WORTH_A_COPY = 16 };
    rh_weight *own = (rh_weight *)w;
    if (w->kept != RH_AS_STREAM || w->reads >= WORTH_A_COPY || ++own->reads < WORTH_A_COPY) return;
    if (repack(c, own, NULL) == RH_OK) own->kept = RH_AS_PANELS;
}

typedef struct embed_job {
    const rh_cpu_kernels *k;
    float *out;
    const rh_weight *w;
    const int32_t *ids;
    int32_t n;
    float scale;
} embed_job;

static void embed_item(void *job, int32_t item, int thread)
{
    const embed_job *j = job;
    (void)thread;
    for (int32_t i = item * EMBED_ROWS; i < (item + 1) * EMBED_ROWS && i < j->n; i++) {
        float *row = j->out + (size_t)i * (size_t)j->w->cols;
        assert(j->ids[i] >= 0 && j->ids[i] < j->w->rows);
        j->k->dequantize(row, rh_cpu_row(j->w, j->ids[i]), j->w->type, j->w->cols);
        if (j->scale != 1) j->k->scale(row, j->scale, row, j->w->cols);
    }
}

void rh_cpu_embed(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids, int32_t n,
                  float scale)
{
    rh_cpu *c = rh_cpu_of(be);
    embed_job job = { c->k, out->data, w, ids, n, scale };
    assert((size_t)n * (size_t)w->cols * sizeof(float) <= out->bytes);
    rh_cpu_run(c, (n + EMBED_ROWS - 1) / EMBED_ROWS, embed_item, &job);
}

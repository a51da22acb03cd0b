/* diff_states.c - one pass over the model for all layers and positions. Texts go through it in chunks
 * of consecutive slots: a chunk's states stay in memory until they are written, and chunks are what
 * processes share out. Where a chunk ends depends on the texts alone, so that however many processes
 * there are, each text is computed in the same company, and the numbers are the same. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "concepts/pass.h"
#include "probes/diff_parts.h"

enum { CHUNK_BYTES = 32 << 20, CHUNK_MOST = 128, CHUNK_LEAST = 16, CHUNKS = 8 };

typedef struct reader {
    const rh_diff_texts *t;
    const rh_diff_report *r;
    const rh_diff_options *o;
    const rh_model *m;
    int32_t *layer_index;     /* [model's layers] */
    int32_t *record;          /* [longest] */
    float *rows;              /* [n_sites][chunk][stride] of the chunk at hand */
    int32_t chunk, first, count;
    int64_t filled, marked;   /* slots that are in the store, and that it says so of */
    double mark_time;
} reader;

static size_t stride(const reader *x) { return (size_t)x->r->d + 1; }
static int32_t n_sites(const reader *x) { return x->r->n_layers * x->r->n_positions; }

/* A rh_pass_sink: the atom is the position, the class the text's place in the chunk. */
static rh_status take(void *data, const rh_reading *q, int32_t layer, const double *mean, double mean_norm, rh_error *err)
{
    reader *x = data;
    (void)err;
    size_t site = (size_t)q->atom * (size_t)x->r->n_layers + (size_t)x->layer_index[layer];
    float *row = x->rows + (site * (size_t)x->chunk + (size_t)q->cls) * stride(x);
    for (int32_t j = 0; j < x->r->d; j++) row[j] = (float)mean[j];
    row[x->r->d] = (float)mean_norm;
    return RH_OK;
}

static bool progress(void *data, const char *label, int64_t done, int64_t total)
{
    const reader *x = data;
    (void)label;
    if (!x->o->progress) return true;
    int64_t texts = x->first + (total ? (int64_t)((double)x->count * (double)done / (double)total) : x->count);
    if (texts >= x->t->design.n) texts = x->t->design.n - 1; /* the end is said once, by the caller */
    return x->o->progress(x->o->progress_data, "texts read", texts, x->t->design.n);
}

rh_status rh_diff_states_name(char out[65], const rh_diff_texts *t, const rh_diff_report *r, const rh_model *m, rh_error *err)
{
    enum { PIECE = 1 << 15 };
    char head[256], bytes[PIECE];
    rh_sha256 *h = rh_sha256_new();
    rh_status status = RH_OK;
    if (!h) return rh_fail_nomem(err);
    int n = snprintf(head, sizeof head, "diff 1 %s %s %d %d %d %d %d\n", m->fingerprint, m->backend->ops->name, m->backend->exact,
                     (int)t->design.n, (int)r->d, (int)r->n_layers, (int)r->n_positions);
    rh_sha256_add(h, head, (size_t)n);
    rh_sha256_add(h, r->layers, (size_t)r->n_layers * sizeof *r->layers);
    rh_sha256_add(h, t->record, (size_t)t->design.n * sizeof *t->record);
    for (int64_t at = 0; at < t->ids.size && !status; at += PIECE) {
        size_t some = t->ids.size - at < PIECE ? (size_t)(t->ids.size - at) : (size_t)PIECE;
        status = rh_spill_read(&t->ids, at, bytes, some, err);
        rh_sha256_add(h, bytes, some);
    }
    rh_sha256_hex(h, out);
    rh_sha256_free(h);
    return status;
}

/* ---- one chunk ------------------------------------------------------------------------------------- */

static rh_status add_text(rh_pass *pass, reader *x, int32_t slot, rh_error *err)
{
    rh_diff_record head;
    const rh_spill *ids = &x->t->ids;
    int64_t at = x->t->record[slot];
    int32_t size = 0;
    RH_TRY(rh_spill_read(ids, at, &head, sizeof head, err));
    size = head.n_ids;
    for (int32_t k = 0; k < x->t->n_positions; k++) size += head.n_positions[k];
    RH_TRY(rh_spill_read(ids, at + (int64_t)sizeof head, x->record, (size_t)size * sizeof *x->record, err));
    const int32_t *positions = x->record + head.n_ids;
    for (int32_t k = 0; k < x->t->n_positions; k++) {
        RH_TRY(rh_pass_prompt_add(pass, k, slot - x->first, false, x->record, head.n_ids, positions, head.n_positions[k],
                                  err));
        positions += head.n_positions[k];
    }
    return RH_OK;
}

static rh_status read_chunk(reader *x, rh_error *err)
{
    rh_pass pass = {0};
    rh_pass_options po = {.sink = take, .sink_data = x, .progress = progress, .progress_data = x};
    rh_status status = RH_OK;
    int32_t atom;
    int64_t resumed;
    for (int32_t k = 0; k < x->t->n_positions && !status; k++)
        status = rh_pass_atom_add(&pass, &atom, (char[65]){0}, RH_RESID_POST, x->r->d, x->r->layers, x->r->n_layers, err);
    for (int32_t i = 0; i < x->count && !status; i++) status = add_text(&pass, x, x->first + i, err);
    if (!status) status = rh_pass_plan(&pass, &po, err);
    if (!status) status = rh_pass_run(&pass, x->m, &po, &resumed, err);
    rh_pass_free(&pass);
    return status;
}

/* ---- all chunks ------------------------------------------------------------------------------------ */

static int32_t chunk_size(const reader *x)
{
    int64_t bytes = (int64_t)n_sites(x) * (int64_t)stride(x) * (int64_t)sizeof(float);
    int64_t n = (x->t->design.n + CHUNKS - 1) / CHUNKS, fits = CHUNK_BYTES / bytes;
    if (n > CHUNK_MOST) n = CHUNK_MOST;
    if (n < CHUNK_LEAST) n = CHUNK_LEAST;
    if (n > fits) n = fits < 1 ? 1 : fits;
    return (int32_t)n;
}

static rh_status store_chunk(rh_diff_store *store, const reader *x, const float *rows, int32_t first, rh_error *err)
{
    int32_t n = x->t->design.n, count = n - first < x->chunk ? n - first : x->chunk;
    for (int32_t s = 0; s < n_sites(x) && count > 0; s++)
        RH_TRY(rh_diff_store_put(store, s, first, count, rows + (size_t)s * (size_t)x->chunk * stride(x), err));
    return RH_OK;
}

/* Syncing a disk takes time, so not after every chunk. */
static rh_status mark(rh_diff_store *store, reader *x, bool at_once, rh_error *err)
{
    enum { SECONDS = 5 };
    if (x->filled == x->marked || (!at_once && rh_seconds() - x->mark_time < SECONDS)) return RH_OK;
    RH_TRY(rh_spill_mark(&store->file, x->filled, err));
    x->marked = x->filled;
    x->mark_time = rh_seconds();
    return RH_OK;
}

/* Of the chunks from slot `begin` on, the rank's is this process's. all [size][chunk's rows] on rank 0. */
static rh_status run_round(rh_diff_store *store, reader *x, float *all, int64_t begin, const rh_comm *comm, rh_error *err)
{
    int64_t first = begin + (int64_t)comm->rank * x->chunk;
    int32_t n = x->t->design.n;
    size_t floats = (size_t)n_sites(x) * (size_t)x->chunk * stride(x);
    rh_status status = RH_OK;
    x->first = first < n ? (int32_t)first : n;
    x->count = n - x->first < x->chunk ? n - x->first : x->chunk;
    if (x->count > 0) status = read_chunk(x, err);
    RH_TRY(rh_comm_agree(comm, status, err));
    status = comm->gather(comm->self, x->rows, floats * sizeof *x->rows, all, err);
    for (int32_t k = 0; k < comm->size && comm->rank == 0 && !status; k++) {
        int64_t from = begin + (int64_t)k * x->chunk;
        if (from < n) status = store_chunk(store, x, all + (size_t)k * floats, (int32_t)from, err);
    }
    if (comm->rank == 0 && !status) {
        x->filled = begin + (int64_t)comm->size * x->chunk < n ? begin + (int64_t)comm->size * x->chunk : n;
        status = mark(store, x, x->filled == n, err);
    }
    return rh_comm_agree(comm, status, err);
}

rh_status rh_diff_states(rh_diff_store *store, const rh_diff_texts *t, const rh_diff_report *r, const rh_model *m,
                         const rh_diff_options *o, const rh_comm *comm, rh_error *err)
{
    reader x = {.t = t, .r = r, .o = o, .m = m};
    float *all = NULL;
    rh_status status = RH_OK;
    x.chunk = chunk_size(&x);
    size_t floats = (size_t)n_sites(&x) * (size_t)x.chunk * stride(&x);
    x.layer_index = rh_calloc((size_t)m->config.n_layers, sizeof *x.layer_index);
    x.record = rh_calloc((size_t)t->longest, sizeof *x.record);
    x.rows = rh_calloc(floats, sizeof *x.rows);
    if (comm->rank == 0 && comm->size > 1) all = rh_calloc(floats * (size_t)comm->size, sizeof *all);
    if (!x.layer_index || !x.record || !x.rows || (comm->rank == 0 && comm->size > 1 && !all)) status = rh_fail_nomem(err);
    for (int32_t l = 0; !status && l < r->n_layers; l++) x.layer_index[r->layers[l]] = l;
    status = rh_comm_agree(comm, status, err);
    double done = comm->rank == 0 ? (double)store->done : 0;
    if (!status) status = comm->sum(comm->self, &done, 1, err);
    x.filled = x.marked = (int64_t)done;
    x.mark_time = rh_seconds();
    for (int64_t at = x.marked; at < t->design.n && !status; at += (int64_t)comm->size * x.chunk)
        status = run_round(store, &x, comm->size > 1 ? all : x.rows, at, comm, err);
    if (comm->rank == 0) {
        if (status) (void)mark(store, &x, true, NULL);
        store->done = x.marked;
    }
    if (!status && o->progress) (void)o->progress(o->progress_data, "texts read", t->design.n, t->design.n);
    free(x.layer_index);
    free(x.record);
    free(x.rows);
    free(all);
    return status;
}

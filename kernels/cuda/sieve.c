/* Of many rows the few that matter: screen, by all products and a look at each on the device, and cosines with a host
 * matrix that streams by. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

enum { SCRATCH_PART = 256 };

/* Parts of scratch, one after the other. */
static void *take(uint8_t **at, size_t bytes)
{
    void *part = *at;
    *at += rh_round_up(bytes, SCRATCH_PART);
    return part;
}

/* ---- screens --------------------------------------------------------------------------------------- */

/* Few bits would only spare memory traffic that cuBLAS hides: the matrix itself is kept. */
rh_status rh_cuda_screen_new(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             rh_error *err)
{
    rh_screen *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    const rh_status status = rh_cuda_matrix_new(rh_cuda_of(be), &s->m, data, t, rows, cols, NULL, err);
    if (status) free(s);
    else *out = s;
    return status;
}

void rh_cuda_screen_free(rh_backend *be, rh_screen *s)
{
    if (!s) return;
    rh_cuda_matrix_free(rh_cuda_of(be), &s->m);
    free(s);
}

typedef struct sieve {
    rh_cuda *c;
    const rh_screen *s;
    const float *x;
    const rh_screen_level *level;
    int32_t block;         /* inputs at a time */
    float *p;              /* [block, rows] */
    float *base, *gain;    /* [rows]; gain NULL as the level's */
    float *floor;          /* [block] */
    int32_t *count;        /* [block] */
    int64_t *start;        /* [block] */
    uint8_t *products;     /* scratch of theirs */
    int32_t *counted;      /* [block] host */
    int64_t *starts;       /* [block] host */
} sieve;

static rh_status lay_out(sieve *v, int32_t n, rh_error *err)
{
    const size_t rows = (size_t)v->s->m.rows, fit = RH_CUDA_TILE / (rows * sizeof(float));
    v->block = fit < 1 ? 1 : fit < (size_t)n ? (int32_t)fit : n;
    const size_t many = (size_t)v->block, row_bytes = rh_round_up(rows * sizeof(float), SCRATCH_PART);
    const rh_cuda_target target = {&v->s->m, NULL, NULL, false};
    const size_t products = rh_cuda_product_bytes(v->c, v->block, &target, 1);
    uint8_t *at;
    RH_TRY(rh_cuda_scratch(v->c, &at, rh_round_up(many * rows * sizeof(float), SCRATCH_PART) + 2 * row_bytes +
                                          3 * rh_round_up(many * sizeof(int64_t), SCRATCH_PART) + products, err));
    v->p = take(&at, many * rows * sizeof(float));
    v->base = take(&at, row_bytes);
    v->gain = take(&at, row_bytes);
    v->floor = take(&at, many * sizeof *v->floor);
    v->count = take(&at, many * sizeof *v->count);
    v->start = take(&at, many * sizeof *v->start);
    v->products = at;
    v->starts = rh_cuda_host(v->c, many * (sizeof *v->starts + sizeof *v->counted));
    if (!v->starts) return rh_fail_nomem(err);
    v->counted = (int32_t *)(v->starts + many);
    RH_TRY(rh_cuda_send(v->c, v->base, v->level->base, rows * sizeof(float), err));
    if (!v->level->gain) v->gain = NULL;
    return v->gain ? rh_cuda_send(v->c, v->gain, v->level->gain, rows * sizeof(float), err) : RH_OK;
}

/* row NULL: only counts */
static void look(const sieve *v, int32_t n, int32_t *row, float *value)
{
    rh_cuda_screen_args *a = RH_CUDA_APPEND(v->c, rh_cuda_screen);
    if (!a) return;
    a->p = v->p;
    a->base = v->base;
    a->gain = v->gain;
    a->floor = v->gain ? v->floor : NULL;
    a->count = v->count;
    a->start = v->start;
    a->row = row;
    a->value = value;
    a->n = n;
    a->rows = v->s->m.rows;
}

static rh_status count(sieve *v, int32_t first, int32_t n, rh_error *err)
{
    const rh_cuda_target target = {&v->s->m, NULL, v->p, false};
    if (v->gain) RH_TRY(rh_cuda_send(v->c, v->floor, v->level->floor + first, (size_t)n * sizeof(float), err));
    rh_cuda_products(v->c, v->x + (size_t)first * (size_t)v->s->m.cols, n, &target, 1, v->products);
    look(v, n, NULL, NULL);
    rh_cuda_bring(v->c, v->counted, v->count, (size_t)n * sizeof *v->counted);
    rh_cuda_drain(v->c);
    return rh_cuda_report(v->c, err);
}

/* What was counted, to h from `had` on. Nothing is in flight. */
static rh_status fill(sieve *v, rh_hits *h, size_t had, size_t found, int32_t n, rh_error *err)
{
    rh_cuda *c = v->c;
    int32_t *row = rh_realloc_array(h->row, had + found, sizeof *row);
    if (row) h->row = row;
    float *p = row ? rh_realloc_array(h->p, had + found, sizeof *p) : NULL;
    if (!p) return rh_fail_nomem(err);
    h->p = p;
    if (found * (sizeof *row + sizeof *p) > c->found_bytes) {
        const size_t bytes = found * (sizeof *row + sizeof *p) * 5 / 4;
        (void)cudaFree(c->found);
        c->found = NULL;
        c->found_bytes = 0;
        RH_TRY(rh_cuda_alloc(&c->found, bytes, err));
        c->found_bytes = bytes;
    }
    int32_t *rows = (int32_t *)(void *)c->found;
    float *values = (float *)(void *)(rows + found);
    RH_TRY(rh_cuda_send(c, v->start, v->starts, (size_t)n * sizeof *v->starts, err));
    look(v, n, rows, values);
    rh_cuda_bring(c, h->row + had, rows, found * sizeof *rows);
    rh_cuda_bring(c, h->p + had, values, found * sizeof *values);
    rh_cuda_drain(c);
    return rh_cuda_report(c, err);
}

static rh_status sift(sieve *v, rh_hits *h, int32_t n, rh_error *err)
{
    for (int32_t first = 0, many; first < n; first += many) {
        const size_t had = h->start[first];
        size_t found = 0;
        many = n - first < v->block ? n - first : v->block;
        RH_TRY(count(v, first, many, err));
        for (int32_t t = 0; t < many; t++) {
            v->starts[t] = (int64_t)found;
            found += (size_t)v->counted[t];
            h->start[first + t + 1] = had + found;
        }
        if (found) RH_TRY(fill(v, h, had, found, many, err));
        h->computed += (size_t)many * (size_t)v->s->m.rows;
    }
    return RH_OK;
}

rh_status rh_cuda_op_screen(rh_backend *be, rh_hits *hits, const rh_screen *s, const rh_buf *x, int32_t n,
                            const rh_screen_level *level, rh_error *err)
{
    sieve v = {.c = rh_cuda_of(be), .s = s, .x = rh_cuda_floats(x), .level = level};
    rh_hits h = {.start = rh_calloc((size_t)n + 1, sizeof *h.start)};
    assert((size_t)n * (size_t)s->m.cols * sizeof(float) <= x->bytes);
    rh_status status = h.start ? rh_cuda_report(v.c, err) : rh_fail_nomem(err);
    if (!status) status = lay_out(&v, n, err);
    if (!status) status = sift(&v, &h, n, err);
    if (status) rh_hits_free(&h);
    else *hits = h;
    return status;
}

/* ---- cosines --------------------------------------------------------------------------------------- */

typedef struct stream {
    rh_cuda *c;
    const uint8_t *data;
    size_t element;
    rh_dtype type;
    int32_t rows, cols, at_once; /* rows of a tile */
    bool turned;
    float *out, *v;              /* [rows], [cols] */
    uint8_t *tile;
} stream;

/* Rows first .. first + n - 1, which lie apart where the matrix is turned. */
static void fill_tile(const stream *s, uint8_t *half, int32_t first, int32_t n)
{
    const int32_t pieces = s->turned ? s->cols : n;
    const size_t piece = (size_t)(s->turned ? n : s->cols) * s->element, apart = (size_t)(s->turned ? s->rows : s->cols) * s->element;
    const uint8_t *from = s->data + (size_t)first * (s->turned ? s->element : apart);
#pragma omp parallel for schedule(static) num_threads(s->c->head.threads)
    for (int32_t i = 0; i < pieces; i++) memcpy(half + (size_t)i * piece, from + (size_t)i * apart, piece);
}

static rh_status stream_by(const stream *s, rh_error *err)
{
    for (int32_t first = 0, n; first < s->rows; first += n) {
        uint8_t *half;
        n = s->rows - first < s->at_once ? s->rows - first : s->at_once;
        const size_t bytes = (size_t)n * (size_t)s->cols * s->element;
        RH_TRY(rh_cuda_stage_next(s->c, &half, bytes, err));
        fill_tile(s, half, first, n);
        RH_TRY(rh_cuda_stage_send(s->c, s->tile, bytes, err));
        rh_cuda_cosines_args *a = RH_CUDA_APPEND(s->c, rh_cuda_cosines);
        if (!a) return rh_cuda_report(s->c, err);
        a->out = s->out + first;
        a->data = s->tile;
        a->v = s->v;
        a->type = (int32_t)s->type;
        a->rows = n;
        a->cols = s->cols;
        a->turned = s->turned;
    }
    return RH_OK;
}

rh_status rh_cuda_op_cosines(rh_backend *be, float *out, const void *data, rh_dtype t, int32_t rows, int32_t cols, bool turned,
                             const float *v, rh_error *err)
{
    stream s = {.c = rh_cuda_of(be), .data = data, .element = rh_row_bytes(t, 1), .type = t, .rows = rows, .cols = cols, .turned = turned};
    const size_t row = (size_t)cols * s.element, fit = RH_CUDA_STAGE / row;
    uint8_t *at;
    assert(t == RH_F32 || t == RH_F16 || t == RH_BF16);
    RH_TRY(rh_cuda_report(s.c, err));
    s.at_once = fit < 1 ? 1 : fit < (size_t)rows ? (int32_t)fit : rows;
    const size_t sizes[] = {(size_t)rows * sizeof(float), (size_t)cols * sizeof(float), (size_t)s.at_once * row};
    size_t all = 0;
    for (int i = 0; i < 3; i++) all += rh_round_up(sizes[i], SCRATCH_PART);
    RH_TRY(rh_cuda_scratch(s.c, &at, all, err));
    s.out = take(&at, sizes[0]);
    s.v = take(&at, sizes[1]);
    s.tile = take(&at, sizes[2]);
    RH_TRY(rh_cuda_send(s.c, s.v, v, sizes[1], err));
    RH_TRY(stream_by(&s, err));
    rh_cuda_bring(s.c, out, s.out, sizes[0]);
    rh_cuda_drain(s.c);
    return rh_cuda_report(s.c, err);
}

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Operations on rows and elements. An item is about ITEM floats: below that a parallel region
 * would cost more than the work, so the calling thread does it. */
enum { ITEM = 1 << 13 };

typedef struct job {
    const rh_cpu_kernels *k;
    float *out;
    const float *x, *y;
    int64_t n;        /* floats */
    int32_t d;        /* floats a row */
    float number;     /* eps or cap */
    rh_activation act;
    const int32_t *rows;
    const rh_gate *gate;
    int32_t n_rows, rank, per_item; /* rows an item */
} job;

static int32_t n_items(int64_t n) { return (int32_t)((n + ITEM - 1) / ITEM); }

static float *row_of(const rh_buf *b, int32_t row, int32_t d)
{
    assert(row >= 0 && ((size_t)row + 1) * (size_t)d * sizeof(float) <= b->bytes);
    return b->data + (size_t)row * (size_t)d;
}

static void rmsnorm_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    (void)thread;
    for (int32_t i = item * j->per_item; i < (item + 1) * j->per_item && i < j->n_rows; i++) {
        size_t at = (size_t)i * (size_t)j->d;
        j->k->rmsnorm(j->out + at, j->x + at, j->y, j->d, j->number);
    }
}

#define HOLDS(b, n) ((size_t)(n) <= (b)->bytes / sizeof(float))

void rh_cpu_rmsnorm(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n,
                    int32_t d, float eps)
{
    job j = { .k = rh_cpu_of(be)->k, .out = out->data, .x = x->data, .y = w->data, .d = d, .number = eps,
              .n_rows = n, .per_item = d < ITEM ? ITEM / d : 1 };
    assert(HOLDS(out, (int64_t)n * d) && HOLDS(x, (int64_t)n * d) && HOLDS(w, d));
    rh_cpu_run(rh_cpu_of(be), (n + j.per_item - 1) / j.per_item, rmsnorm_item, &j);
}

static int64_t item_floats(const job *j, int32_t item)
{
    int64_t left = j->n - (int64_t)item * ITEM;
    return left < ITEM ? left : ITEM;
}

static void glu_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    size_t at = (size_t)item * ITEM;
    (void)thread;
    j->k->glu(j->out + at, j->x + at, j->y + at, item_floats(j, item), j->act);
}

void rh_cpu_glu(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n,
                int32_t d, rh_activation act)
{
    job j = { .k = rh_cpu_of(be)->k, .out = out->data, .x = gate->data, .y = up->data,
              .n = (int64_t)n * d, .act = act };
    assert(HOLDS(out, j.n) && HOLDS(gate, j.n) && HOLDS(up, j.n));
    rh_cpu_run(rh_cpu_of(be), n_items(j.n), glu_item, &j);
}

static void add_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    size_t at = (size_t)item * ITEM;
    (void)thread;
    j->k->axpy(j->out + at, 1, j->x + at, item_floats(j, item));
}

void rh_cpu_add(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n)
{
    job j = { .k = rh_cpu_of(be)->k, .out = x->data, .x = y->data, .n = n };
    assert(HOLDS(x, n) && HOLDS(y, n));
    rh_cpu_run(rh_cpu_of(be), n_items(n), add_item, &j);
}

static void softcap_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    (void)thread;
    j->k->softcap(j->out + (size_t)item * ITEM, item_floats(j, item), j->number);
}

void rh_cpu_softcap(rh_backend *be, rh_buf *x, int64_t n, float cap)
{
    job j = { .k = rh_cpu_of(be)->k, .out = x->data, .n = n, .number = cap };
    assert(HOLDS(x, n));
    rh_cpu_run(rh_cpu_of(be), n_items(n), softcap_item, &j);
}

void rh_cpu_scatter_rows(rh_backend *be, rh_buf *dst, rh_dtype t, const int32_t *slots, const rh_buf *src,
                         int32_t n, int32_t width)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) {
        const float *row = row_of(src, i, width);
        if (t == RH_F16) k->narrow((uint16_t *)(void *)dst->data + (size_t)slots[i] * (size_t)width, row, width);
        else memcpy(row_of(dst, slots[i], width), row, (size_t)width * sizeof(float));
    }
}

void rh_cpu_gather_rows(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src,
                        const int32_t *rows, int32_t n, int32_t width)
{
    (void)be;
    for (int32_t i = 0; i < n; i++)
        memcpy(row_of(dst, dst_row + i, width), row_of(src, rows[i], width),
               (size_t)width * sizeof(float));
}

static int32_t *flag_of(const rh_buf *flags, int32_t i)
{
    assert(i >= 0 && ((size_t)i + 1) * sizeof(int32_t) <= flags->bytes);
    return (int32_t *)(void *)flags->data + i;
}

static bool passes(const rh_gate *g, int32_t row) { return !g || *flag_of(g->flags, g->first + row); }

void rh_cpu_steer_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                       const rh_buf *v, float c, const rh_gate *gate)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++)
        if (passes(gate, rows[i])) k->axpy(row_of(h, rows[i], d), c, v->data, d);
}

/* h -= B^T (B h): all products are with the h that came in, for B is orthonormal only up to
 * rounding and a subtraction in between would let its error in. Up to 64 directions at a time. */
static void ablate(const rh_cpu_kernels *k, float *h, int32_t d, const float *basis, int32_t rank)
{
    enum { MANY = 64 };
    float p[MANY];
    for (int32_t from = 0; from < rank; from += MANY) {
        int32_t n = rank - from < MANY ? rank - from : MANY;
        const float *b = basis + (size_t)from * (size_t)d;
        for (int32_t j = 0; j < n; j++) p[j] = k->dot(h, b + (size_t)j * (size_t)d, d);
        for (int32_t j = 0; j < n; j++) k->axpy(h, -p[j], b + (size_t)j * (size_t)d, d);
    }
}

static void ablate_item(void *job_, int32_t item, int thread)
{
    const job *j = job_;
    (void)thread;
    for (int32_t i = item * j->per_item; i < (item + 1) * j->per_item && i < j->n_rows; i++)
        if (passes(j->gate, j->rows[i])) ablate(j->k, j->out + (size_t)j->rows[i] * (size_t)j->d, j->d, j->x, j->rank);
}

void rh_cpu_ablate_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                        const rh_buf *basis, int32_t rank, const rh_gate *gate)
{
    int64_t work = (int64_t)d * (rank > 0 ? rank : 1);
    job j = { .k = rh_cpu_of(be)->k, .out = h->data, .x = basis->data, .d = d, .rows = rows, .gate = gate, .n_rows = n,
              .rank = rank, .per_item = work < ITEM ? (int32_t)(ITEM / work) : 1 };
    rh_cpu_run(rh_cpu_of(be), (n + j.per_item - 1) / j.per_item, ablate_item, &j);
}

/* How far along u the projection p has to go. */
static float move_by(rh_move move, float p, float x)
{
    switch (move) {
    case RH_MOVE_SCALE: return (x - 1) * p;
    case RH_MOVE_CAP: return p > x ? x - p : 0;
    case RH_MOVE_CLAMP: return x - p;
    }
    return 0;
}

void rh_cpu_move_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                      const rh_buf *u, rh_move move, float x, const rh_gate *gate)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) {
        if (!passes(gate, rows[i])) continue;
        float *row = row_of(h, rows[i], d);
        float by = move_by(move, k->dot(row, u->data, d), x);
        if (by != 0) k->axpy(row, by, u->data, d);
    }
}

static bool holds(const rh_guard_test *t, const rh_cpu_kernels *k, const float *h, const float *v, int32_t d)
{
    double x = k->dot(h, v, d);
    if (isnan(x)) return false;
    if (t->cosine) {
        const double norm = sqrtf(k->dot(h, h, d));
        x = norm > 0 && t->norm > 0 ? x / (norm * t->norm) : 0;
    }
    switch (t->compare) {
    case RH_COMPARE_GT: return x > t->threshold;
    case RH_COMPARE_GE: return x >= t->threshold;
    case RH_COMPARE_LT: return x < t->threshold;
    case RH_COMPARE_LE: return x <= t->threshold;
    }
    return false;
}

void rh_cpu_guard_rows(rh_backend *be, rh_buf *flags, int32_t first, const rh_buf *h, const int32_t *rows, int32_t n,
                       int32_t d, const rh_buf *v, const rh_guard_test *test)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) *flag_of(flags, first + rows[i]) = holds(test, k, row_of(h, rows[i], d), v->data, d);
}

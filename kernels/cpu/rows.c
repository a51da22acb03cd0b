#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Operations on rows and elements. Below SMALL floats a parallel region would cost more than
 * the work, so the calling thread does it. */
enum { SMALL = 1 << 14, CHUNK = 1 << 12 };

static float *row_of(const rh_buf *b, int32_t row, int32_t d)
{
    assert(row >= 0 && ((size_t)row + 1) * (size_t)d * sizeof(float) <= b->bytes);
    return b->data + (size_t)row * (size_t)d;
}

void rh_cpu_rmsnorm(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n,
                    int32_t d, float eps)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    if ((int64_t)n * d < SMALL) {
        for (int32_t i = 0; i < n; i++)
            k->rmsnorm(row_of(out, i, d), row_of(x, i, d), w->data, d, eps);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int32_t i = 0; i < n; i++)
        k->rmsnorm(row_of(out, i, d), row_of(x, i, d), w->data, d, eps);
}

void rh_cpu_glu(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n,
                int32_t d, rh_activation act)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    int64_t all = (int64_t)n * d;
    if (all < SMALL) {
        k->glu(out->data, gate->data, up->data, all, act);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int64_t i = 0; i < all; i += CHUNK)
        k->glu(out->data + i, gate->data + i, up->data + i, all - i < CHUNK ? all - i : CHUNK, act);
}

void rh_cpu_add(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    if (n < SMALL) {
        k->axpy(x->data, 1, y->data, n);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int64_t i = 0; i < n; i += CHUNK)
        k->axpy(x->data + i, 1, y->data + i, n - i < CHUNK ? n - i : CHUNK);
}

void rh_cpu_softcap(rh_backend *be, rh_buf *x, int64_t n, float cap)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    if (n < SMALL) {
        k->softcap(x->data, n, cap);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int64_t i = 0; i < n; i += CHUNK)
        k->softcap(x->data + i, n - i < CHUNK ? n - i : CHUNK, cap);
}

void rh_cpu_scatter_rows(rh_backend *be, rh_buf *dst, const int32_t *slots, const rh_buf *src,
                         int32_t n, int32_t width)
{
    (void)be;
    for (int32_t i = 0; i < n; i++)
        memcpy(row_of(dst, slots[i], width), row_of(src, i, width), (size_t)width * sizeof(float));
}

void rh_cpu_gather_rows(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src,
                        const int32_t *rows, int32_t n, int32_t width)
{
    (void)be;
    for (int32_t i = 0; i < n; i++)
        memcpy(row_of(dst, dst_row + i, width), row_of(src, rows[i], width),
               (size_t)width * sizeof(float));
}

void rh_cpu_steer_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                       const rh_buf *v, float c)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) k->axpy(row_of(h, rows[i], d), c, v->data, d);
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

void rh_cpu_ablate_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                        const rh_buf *basis, int32_t rank)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    if ((int64_t)n * d * rank < SMALL) {
        for (int32_t i = 0; i < n; i++) ablate(k, row_of(h, rows[i], d), d, basis->data, rank);
        return;
    }
#pragma omp parallel for num_threads(be->threads) schedule(static)
    for (int32_t i = 0; i < n; i++) ablate(k, row_of(h, rows[i], d), d, basis->data, rank);
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
                      const rh_buf *u, rh_move move, float x)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) {
        float *row = row_of(h, rows[i], d);
        float by = move_by(move, k->dot(row, u->data, d), x);
        if (by != 0) k->axpy(row, by, u->data, d);
    }
}

void rh_cpu_dot_rows(rh_backend *be, float *out, float *norms, const rh_buf *h, const int32_t *rows,
                     int32_t n, int32_t d, const rh_buf *v)
{
    const rh_cpu_kernels *k = rh_cpu_of(be)->k;
    for (int32_t i = 0; i < n; i++) {
        const float *row = row_of(h, rows[i], d);
        out[i] = k->dot(row, v->data, d);
        if (norms) norms[i] = sqrtf(k->dot(row, row, d));
    }
}

/* Ops whose rows do not see each other. Rows that an op names travel as a mask over the rows of the batch, so that its
 * arguments stay the same from token to token. */
#include <assert.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

static bool holds(const rh_buf *b, int64_t n, int64_t d) { return (uint64_t)(n * d) * sizeof(float) <= b->bytes; }

/* ---- one step on rows ---------------------------------------------------------------------------- */

static rh_cuda_row_step *append_step(rh_cuda *c, int32_t n, int32_t d, rh_cuda_row_kind kind)
{
    rh_cuda_rows_args *a = RH_CUDA_APPEND(c, rh_cuda_rows);
    if (!a) return NULL;
    a->n = n;
    a->d = d;
    a->n_steps = 1;
    a->step[0].kind = kind;
    return &a->step[0];
}

void rh_cuda_op_rmsnorm(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n, int32_t d, float eps)
{
    assert(holds(out, n, d) && holds(x, n, d) && holds(w, 1, d));
    rh_cuda_row_step *s = n ? append_step(rh_cuda_of(be), n, d, RH_CUDA_NORM) : NULL;
    if (!s) return;
    s->t = rh_cuda_floats(x);
    s->a = rh_cuda_floats(w);
    s->out = rh_cuda_floats(out);
    s->x = eps;
}

/* A step on named rows of h. As many rows as the batch has, where h has them, so that it stands beside its norms. */
static rh_cuda_row_step *append_action(rh_cuda *c, const rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                                       rh_cuda_row_kind kind, const rh_gate *gate)
{
    int32_t all = c->rows;
    void *mask;
    if (!n || c->failed.code) return NULL;
    if (!holds(h, all, d)) all = 0;
    for (int32_t i = 0; i < n; i++) all = rows[i] < all ? all : rows[i] + 1;
    assert(holds(h, all, d));
    if (!rh_cuda_begin(c, (size_t)all + 16)) return NULL;
    const uint8_t *on = rh_cuda_place(c, &mask, (size_t)all);
    for (int32_t i = 0; i < n; i++) ((uint8_t *)mask)[rows[i]] = 1;
    rh_cuda_row_step *s = append_step(c, all, d, kind);
    if (!s) return NULL;
    s->t = rh_cuda_floats(h);
    s->on = on;
    if (gate) s->gate = (const int32_t *)gate->flags->data + gate->first;
    return s;
}

void rh_cuda_op_steer_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *v, float x,
                           const rh_gate *gate)
{
    assert(holds(v, 1, d));
    rh_cuda_row_step *s = append_action(rh_cuda_of(be), h, rows, n, d, RH_CUDA_STEER, gate);
    if (!s) return;
    s->a = rh_cuda_floats(v);
    s->x = x;
}

void rh_cuda_op_ablate_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *basis,
                            int32_t rank, const rh_gate *gate)
{
    assert(holds(basis, rank, d));
    rh_cuda_row_step *s = append_action(rh_cuda_of(be), h, rows, n, d, RH_CUDA_ABLATE, gate);
    if (!s) return;
    s->a = rh_cuda_floats(basis);
    s->count = rank;
}

void rh_cuda_op_move_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *u, rh_move move,
                          float x, const rh_gate *gate)
{
    assert(holds(u, 1, d));
    rh_cuda_row_step *s = append_action(rh_cuda_of(be), h, rows, n, d, RH_CUDA_MOVE, gate);
    if (!s) return;
    s->a = rh_cuda_floats(u);
    s->mode = (int32_t)move;
    s->x = x;
}

void rh_cuda_op_guard_rows(rh_backend *be, rh_buf *flags, int32_t first, const rh_buf *h, const int32_t *rows, int32_t n,
                           int32_t d, const rh_buf *v, const rh_guard_test *test)
{
    assert(holds(v, 1, d));
    rh_cuda_row_step *s = append_action(rh_cuda_of(be), h, rows, n, d, RH_CUDA_GUARD, NULL);
    if (!s) return;
    s->a = rh_cuda_floats(v);
    s->flags = (int32_t *)flags->data + first;
    s->mode = (int32_t)test->compare;
    s->cosine = test->cosine;
    s->x = test->threshold;
    s->y = test->norm;
}

/* ---- elements, and rows that change places ------------------------------------------------------- */

void rh_cuda_op_glu(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n, int32_t d, rh_activation act)
{
    assert(holds(out, n, d) && holds(gate, n, d) && holds(up, n, d));
    rh_cuda_glu_args *a = n ? RH_CUDA_APPEND(rh_cuda_of(be), rh_cuda_glu) : NULL;
    if (!a) return;
    a->out = rh_cuda_floats(out);
    a->gate = rh_cuda_floats(gate);
    a->up = rh_cuda_floats(up);
    a->n = (int64_t)n * d;
    a->act = (int32_t)act;
}

void rh_cuda_op_add(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n)
{
    assert(holds(x, n, 1) && holds(y, n, 1));
    rh_cuda_add_args *a = n ? RH_CUDA_APPEND(rh_cuda_of(be), rh_cuda_add) : NULL;
    if (!a) return;
    a->x = rh_cuda_floats(x);
    a->y = rh_cuda_floats(y);
    a->n = n;
}

void rh_cuda_op_softcap(rh_backend *be, rh_buf *x, int64_t n, float cap)
{
    assert(holds(x, n, 1));
    rh_cuda_softcap_args *a = n ? RH_CUDA_APPEND(rh_cuda_of(be), rh_cuda_softcap) : NULL;
    if (!a) return;
    a->x = rh_cuda_floats(x);
    a->n = n;
    a->cap = cap;
}

void rh_cuda_op_gather_rows(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src, const int32_t *rows, int32_t n,
                            int32_t width)
{
    rh_cuda *c = rh_cuda_of(be);
    const size_t bytes = (size_t)n * sizeof *rows;
    assert(holds(dst, dst_row + (int64_t)n, width));
    if (!n || !rh_cuda_begin(c, bytes + 16)) return;
    const int32_t *on_device = rh_cuda_put(c, RH_CUDA_OWN, rows, bytes, 0);
    rh_cuda_gather_args *a = RH_CUDA_APPEND(c, rh_cuda_gather);
    if (!a) return;
    a->dst = rh_cuda_floats(dst);
    a->src = rh_cuda_floats(src);
    a->rows = on_device;
    a->dst_row = dst_row;
    a->n = n;
    a->width = width;
    if (dst == src) c->rows = dst_row + n; /* the batch grows by rows that split off */
}

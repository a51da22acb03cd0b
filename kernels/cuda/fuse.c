#include "kernels/cuda/fuse.h"

#include <string.h>

/* ---- memory that commands touch ------------------------------------------------------------------ */

typedef struct range { uintptr_t begin, end; } range;

static range range_of(const void *p, int64_t n, size_t element)
{
    return (range){(uintptr_t)p, (uintptr_t)p + (p ? (size_t)n * element : 0)};
}
static range floats(const float *p, int64_t n) { return range_of(p, n, sizeof(float)); }
static bool apart(range a, range b) { return a.begin >= b.end || b.begin >= a.end; }

/* One array of a step on rows: row r at begin + r * stride, or, stride 0, all of it read by every row. */
typedef struct access { range all; size_t stride; bool written; } access;
enum { ACCESSES = 5 };

static int accesses_of(access out[ACCESSES], const rh_cuda_row_step *s, int64_t n, int64_t d)
{
    const size_t row = (size_t)d * sizeof(float);
    const bool reads = s->kind == RH_CUDA_NORM || s->kind == RH_CUDA_GUARD || s->kind == RH_CUDA_COPY;
    int k = 0;
    out[k++] = (access){floats(s->t, n * d), row, !reads};
    if (s->kind == RH_CUDA_ADD) out[k++] = (access){floats(s->a, n * d), row, false};
    else if (s->a) out[k++] = (access){floats(s->a, d * (s->kind == RH_CUDA_ABLATE ? s->count : 1)), 0, false};
    if (s->out) out[k++] = (access){floats(s->out, n * d), row, true};
    if (s->gate) out[k++] = (access){range_of(s->gate, n, sizeof *s->gate), sizeof *s->gate, false};
    if (s->flags) out[k++] = (access){range_of(s->flags, n, sizeof *s->flags), sizeof *s->flags, true};
    return k;
}

static bool row_by_row(const access *a, const access *b)
{
    if ((!a->written && !b->written) || apart(a->all, b->all)) return true;
    return a->stride && a->stride == b->stride && a->all.begin == b->all.begin;
}

/* ---- steps on rows ------------------------------------------------------------------------------- */

static bool is(const rh_cuda_commands *l, size_t i, rh_cuda_launcher launch) { return l->items[i].launch == launch; }

static bool fits(const rh_cuda_rows_args *a, const rh_cuda_row_step *s)
{
    access mine[ACCESSES], theirs[ACCESSES];
    const int n = accesses_of(mine, s, a->n, a->d);
    if (a->n_steps == RH_CUDA_ROW_STEPS) return false;
    for (int32_t i = 0; i < a->n_steps; i++) {
        const int m = accesses_of(theirs, &a->step[i], a->n, a->d);
        for (int j = 0; j < n * m; j++)
            if (!row_by_row(&mine[j / m], &theirs[j % m])) return false;
    }
    return true;
}

static rh_cuda_row_step step_of_add(const rh_cuda_add_args *a)
{
    rh_cuda_row_step s;
    memset(&s, 0, sizeof s);
    s.kind = RH_CUDA_ADD;
    s.t = a->x;
    s.a = a->y;
    return s;
}

/* ---- what is being made -------------------------------------------------------------------------- */

typedef struct fusion { rh_cuda_commands *l; bool no_memory; } fusion;

static void *last(const fusion *f, rh_cuda_launcher launch) /* its arguments, if the last command is that */
{
    return f->l->n && is(f->l, f->l->n - 1, launch) ? rh_cuda_arguments(f->l, f->l->n - 1) : NULL;
}

/* A flat addition, the last command, becomes rows as wide as those that follow it. */
static rh_cuda_rows_args *widened(fusion *f, int32_t n, int32_t d)
{
    const rh_cuda_add_args *add = last(f, rh_cuda_add);
    if (!add || add->n != (int64_t)n * d) return NULL;
    const rh_cuda_row_step step = step_of_add(add);
    rh_cuda_commands_remove(f->l, f->l->n - 1);
    rh_cuda_rows_args *a = rh_cuda_commands_add(f->l, rh_cuda_rows, "rh_cuda_rows", sizeof *a);
    f->no_memory |= !a;
    if (!a) return NULL;
    a->n = n;
    a->d = d;
    a->n_steps = 1;
    a->step[0] = step;
    return a;
}

static bool join_rows(fusion *f, const rh_cuda_rows_args *a)
{
    rh_cuda_rows_args *to = last(f, rh_cuda_rows);
    if (!to) to = widened(f, a->n, a->d);
    if (!to || to->n != a->n || to->d != a->d || a->n_steps != 1 || !fits(to, &a->step[0])) return false;
    to->step[to->n_steps++] = a->step[0];
    return true;
}

static bool join_add(fusion *f, const rh_cuda_add_args *a)
{
    rh_cuda_rows_args *to = last(f, rh_cuda_rows);
    const rh_cuda_row_step s = step_of_add(a);
    if (!to || (int64_t)to->n * to->d != a->n || !fits(to, &s)) return false;
    to->step[to->n_steps++] = s;
    return true;
}

/* ---- products ------------------------------------------------------------------------------------ */

/* Is all that the product writes apart from this? */
static bool writes_apart(const rh_cuda_matmul_args *a, range r)
{
    for (int32_t i = 0; i < a->n_products; i++)
        if (!apart(r, floats(a->product[i].out, (int64_t)a->n * a->product[i].w.rows))) return false;
    return true;
}

/* Every block of the product norms x for itself, so x must stay as it is meanwhile. */
static bool takes_norm(const rh_cuda_matmul_args *a, const rh_cuda_rows_args *rows)
{
    const rh_cuda_row_step *s = &rows->step[0];
    const int64_t n = (int64_t)a->n * a->cols;
    if (rows->n_steps != 1 || s->kind != RH_CUDA_NORM || s->on || s->gate) return false;
    if (rows->n != a->n || rows->d != a->cols || s->out != a->x || a->gain) return false;
    const range in = floats(s->t, n), gain = floats(s->a, a->cols), out = floats(s->out, n);
    return apart(in, out) && apart(gain, out) && writes_apart(a, in) && writes_apart(a, gain) && writes_apart(a, out);
}

static bool join_product(fusion *f, const rh_cuda_matmul_args *product)
{
    const rh_cuda_rows_args *rows = last(f, rh_cuda_rows);
    if (!rows || !takes_norm(product, rows)) return false;
    const rh_cuda_row_step norm = rows->step[0];
    rh_cuda_commands_remove(f->l, f->l->n - 1);
    rh_cuda_matmul_args *a = rh_cuda_commands_add(f->l, rh_cuda_matmul, "rh_cuda_matmul", sizeof *a);
    f->no_memory |= !a;
    if (!a) return false;
    memcpy(a, product, sizeof *a);
    a->x = norm.t;
    a->gain = norm.a;
    a->normed = norm.out;
    a->eps = norm.x;
    return true;
}

static bool join_glu(fusion *f, const rh_cuda_glu_args *glu)
{
    rh_cuda_matmul_args *a = last(f, rh_cuda_matmul);
    if (!a || a->glu || a->n_products != 2) return false;
    const rh_cuda_product *gate = &a->product[0], *up = &a->product[1];
    if (gate->add || up->add || gate->w.rows != up->w.rows || glu->n != (int64_t)a->n * gate->w.rows) return false;
    if (glu->gate != gate->out || glu->up != up->out || glu->out != gate->out) return false;
    a->glu = 1;
    a->act = glu->act;
    return true;
}

/* ---- rotations ----------------------------------------------------------------------------------- */

static range heads_of(const rh_cuda_rope_args *a, const float *x, int32_t heads)
{
    return floats(x, (int64_t)a->n * heads * a->head_dim);
}

static bool all_norms_in_place(const rh_cuda_rows_args *a)
{
    for (int32_t i = 0; i < a->n_steps; i++)
        if (a->step[i].kind != RH_CUDA_NORM || a->step[i].out != a->step[i].t || a->step[i].on || a->step[i].gate) return false;
    return true;
}

/* Do these norms, but for step `own`, leave q alone? */
static bool norms_apart(const rh_cuda_rows_args *a, range q, int32_t own)
{
    for (int32_t i = 0; i < a->n_steps; i++)
        if (i != own && (!apart(q, floats(a->step[i].t, (int64_t)a->n * a->d)) || !apart(q, floats(a->step[i].a, a->d)))) return false;
    return true;
}

static void take_step(rh_cuda_commands *l, size_t i, int32_t k)
{
    rh_cuda_rows_args *a = rh_cuda_arguments(l, i);
    for (a->n_steps--; k < a->n_steps; k++) a->step[k] = a->step[k + 1];
    memset(&a->step[a->n_steps], 0, sizeof a->step[0]);
    if (!a->n_steps) rh_cuda_commands_remove(l, i);
}

static int32_t norm_of(const rh_cuda_rows_args *a, const rh_cuda_rope_args *rope)
{
    if (a->n != rope->n * rope->n_heads || a->d != rope->head_dim) return -1;
    for (int32_t k = a->n_steps - 1; k >= 0; k--)
        if (a->step[k].t == rope->q) return k;
    return -1;
}

static bool rope_apart(const rh_cuda_rope_args *rope, range q)
{
    return !rope->slots && apart(q, heads_of(rope, rope->q, rope->n_heads)) && apart(q, heads_of(rope, rope->k, rope->n_kv_heads));
}

/* The norm of rope's heads, if it is among the last commands, with only norms and rotations of other heads since:
 * it goes, and its gain and eps are rope's. */
static void take_norm(fusion *f, rh_cuda_rope_args *rope)
{
    const range q = heads_of(rope, rope->q, rope->n_heads);
    for (size_t back = 1; back <= 3 && back <= f->l->n; back++) {
        const size_t i = f->l->n - back;
        if (is(f->l, i, rh_cuda_rope) && rope_apart(rh_cuda_arguments(f->l, i), q)) continue;
        const rh_cuda_rows_args *a = is(f->l, i, rh_cuda_rows) ? rh_cuda_arguments(f->l, i) : NULL;
        if (!a || !all_norms_in_place(a)) return;
        const int32_t k = norm_of(a, rope);
        if (!norms_apart(a, q, k)) return;
        if (k < 0) continue;
        rope->q_gain = a->step[k].a;
        rope->eps = a->step[k].x;
        take_step(f->l, i, k);
        return;
    }
}

/* Rope turns one tensor only, as ops.h has it: that becomes k of the rotation before, or a command with its norm. */
static bool join_rope(fusion *f, const rh_cuda_rope_args *rope)
{
    rh_cuda_rope_args one = *rope;
    take_norm(f, &one);
    rh_cuda_rope_args *a = last(f, rh_cuda_rope);
    const bool alike = a && !a->k && !a->slots && a->positions == one.positions && a->inv_freq == one.inv_freq &&
                       a->n == one.n && a->head_dim == one.head_dim && (!a->q_gain || !one.q_gain || a->eps == one.eps) &&
                       apart(heads_of(a, a->q, a->n_heads), heads_of(&one, one.q, one.n_heads));
    if (!alike) {
        a = rh_cuda_commands_add(f->l, rh_cuda_rope, "rh_cuda_rope", sizeof *a);
        f->no_memory |= !a;
        if (a) memcpy(a, &one, sizeof one);
        return true;
    }
    a->k = one.q;
    a->k_gain = one.q_gain;
    a->n_kv_heads = one.n_heads;
    if (one.q_gain) a->eps = one.eps;
    return true;
}

/* Keys, which the kernel has just turned, then values. Caches are buffers of their own. */
static bool join_scatter(fusion *f, const rh_cuda_scatter_args *s)
{
    rh_cuda_rope_args *a = last(f, rh_cuda_rope);
    if (!a || !a->k || s->n != a->n || s->width != a->n_kv_heads * a->head_dim || s->dst == a->q || s->dst == a->k) return false;
    if (!a->slots && s->src == a->k) {
        a->slots = s->slots;
        a->k_cache = s->dst;
        a->kv = s->type;
        return true;
    }
    if (!a->slots || a->v || s->slots != a->slots || s->type != a->kv || s->dst == a->k_cache) return false;
    const range v = heads_of(a, s->src, a->n_kv_heads);
    if (s->src == s->dst || !apart(v, heads_of(a, a->q, a->n_heads)) || !apart(v, heads_of(a, a->k, a->n_kv_heads))) return false;
    a->v = s->src;
    a->v_cache = s->dst;
    return true;
}

bool rh_cuda_fuse(rh_cuda_commands *to, const rh_cuda_commands *from)
{
    fusion f = {to, false};
    rh_cuda_commands_clear(to);
    for (size_t i = 0; i < from->n && !f.no_memory; i++) {
        const rh_cuda_launcher launch = from->items[i].launch;
        const void *a = rh_cuda_arguments(from, i);
        const bool joined = launch == rh_cuda_rows     ? join_rows(&f, a)
                            : launch == rh_cuda_add    ? join_add(&f, a)
                            : launch == rh_cuda_matmul ? join_product(&f, a)
                            : launch == rh_cuda_glu    ? join_glu(&f, a)
                            : launch == rh_cuda_rope   ? join_rope(&f, a)
                            : launch == rh_cuda_scatter ? join_scatter(&f, a)
                                                       : false;
        if (!joined && !f.no_memory) f.no_memory = !rh_cuda_commands_add_copy(to, from, i);
    }
    return !f.no_memory;
}

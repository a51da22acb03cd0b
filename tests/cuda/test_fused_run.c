/* Lists drawn at random, as they are and fused: both leave the same memory. Sums may be made in another order, so values
 * are near, not equal; a command that ran before or beside another that it should have waited for is not near. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "cuda/matrices.h"
#include "kernels/cuda/fuse.h"
#include "kernels/help.h"

/* Every tensor is [N, D], which is [N, HEADS, E] too; keys take the first KV heads' floats of one. */
enum { N = 3, D = 32, HEADS = 4, KV = 2, E = 8, TENSORS = 6, VECTORS = 8, ROWS = N * D, FLAGS = 4 * N, MATRICES = 4,
       CACHE = 8 * D, LISTS = 250, LENGTH_MOST = 14, ALL = (TENSORS * ROWS + 2 * CACHE) };

typedef struct world {
    float *all;             /* tensors, then two caches */
    float *vectors;         /* [VECTORS, D] unit length */
    int32_t *flags, *slots, *positions;
    float *frequencies;
    uint8_t *on;
    rh_cuda_matrix w[MATRICES]; /* [D, D] */
    rh_cuda_commands list, fused;
    uint64_t seed;
} world;

static float *tensor(const world *w, int i) { return w->all + (size_t)i * ROWS; }
static float *cache(const world *w, int i) { return w->all + TENSORS * ROWS + (size_t)i * CACHE; }
static float *vector(const world *w, int i) { return w->vectors + (size_t)i * D; }
static int any(world *w, int n) { return random_between(&w->seed, 0, n - 1); }

#define ADD(w, what) ((what##_args *)rh_cuda_commands_add(&(w)->list, what, #what, sizeof(what##_args)))

static int other_than(world *w, int a)
{
    const int b = any(w, TENSORS - 1);
    return b < a ? b : b + 1;
}

/* ---- commands ------------------------------------------------------------------------------------ */

static rh_cuda_row_step *row_step(world *w, rh_cuda_row_kind kind, int t)
{
    rh_cuda_rows_args *a = ADD(w, rh_cuda_rows);
    a->n = N;
    a->d = D;
    a->n_steps = 1;
    a->step[0].kind = kind;
    a->step[0].t = tensor(w, t);
    a->step[0].a = vector(w, any(w, VECTORS));
    return &a->step[0];
}

static void norm(world *w)
{
    const int t = any(w, TENSORS);
    rh_cuda_row_step *s = row_step(w, RH_CUDA_NORM, t);
    s->out = any(w, 4) ? tensor(w, other_than(w, t)) : s->t;
    s->x = 1e-4f;
}

static void action(world *w)
{
    static const rh_cuda_row_kind kinds[] = {RH_CUDA_STEER, RH_CUDA_ABLATE, RH_CUDA_MOVE, RH_CUDA_GUARD, RH_CUDA_COPY};
    const int t = any(w, TENSORS);
    rh_cuda_row_step *s = row_step(w, kinds[any(w, 5)], t);
    s->x = 0.25f;
    if (any(w, 2)) s->on = w->on;
    if (any(w, 3) == 0) s->gate = w->flags + any(w, FLAGS - N + 1);
    if (s->kind == RH_CUDA_ABLATE) s->count = 1;
    if (s->kind == RH_CUDA_MOVE) s->mode = any(w, 3);
    if (s->kind == RH_CUDA_GUARD) s->flags = w->flags + any(w, FLAGS - N + 1), s->gate = NULL;
    if (s->kind == RH_CUDA_COPY) s->out = tensor(w, other_than(w, t));
}

static void add(world *w)
{
    const int t = any(w, TENSORS);
    rh_cuda_add_args *a = ADD(w, rh_cuda_add);
    a->x = tensor(w, t);
    a->y = tensor(w, other_than(w, t));
    a->n = ROWS;
}

/* x and what is written are different tensors. */
static rh_cuda_matmul_args *product(world *w, int x, int n, const int *out)
{
    rh_cuda_matmul_args *a = ADD(w, rh_cuda_matmul);
    a->x = tensor(w, x);
    a->n = N;
    a->cols = D;
    a->n_products = n;
    for (int i = 0; i < n; i++) {
        a->product[i].w = w->w[any(w, MATRICES)];
        a->product[i].out = tensor(w, out[i]);
    }
    return a;
}

static void products(world *w)
{
    const int x = any(w, TENSORS), n = 1 + any(w, 3);
    const int out[] = {(x + 1) % TENSORS, (x + 3) % TENSORS, (x + 4) % TENSORS};
    rh_cuda_matmul_args *a = product(w, x, n, out);
    for (int i = 0; i < n; i++) a->product[i].add = any(w, 3) == 0;
}

static void normed_products(world *w)
{
    const int h = any(w, TENSORS), x = other_than(w, h), out = other_than(w, x);
    rh_cuda_row_step *s = row_step(w, RH_CUDA_NORM, h);
    s->out = tensor(w, x);
    s->x = 1e-4f;
    product(w, x, 1, &out)->product[0].add = any(w, 2);
}

/* What glu takes is gone by ops.h, so up is written again at once. */
static void gated(world *w)
{
    const int x = any(w, TENSORS), out[] = {(x + 1) % TENSORS, (x + 2) % TENSORS};
    product(w, x, 2, out);
    rh_cuda_glu_args *a = ADD(w, rh_cuda_glu);
    a->gate = tensor(w, out[0]);
    a->up = tensor(w, out[1]);
    a->out = tensor(w, any(w, 4) ? out[0] : (x + 3) % TENSORS);
    a->n = ROWS;
    a->act = any(w, 2);
    row_step(w, RH_CUDA_COPY, x)->out = tensor(w, out[1]);
}

static void head_norm(world *w, int t, int heads)
{
    rh_cuda_rows_args *a = ADD(w, rh_cuda_rows);
    a->n = N * heads;
    a->d = E;
    a->n_steps = 1;
    a->step[0].kind = RH_CUDA_NORM;
    a->step[0].t = a->step[0].out = tensor(w, t);
    a->step[0].a = vector(w, any(w, VECTORS));
    a->step[0].x = any(w, 8) ? 1e-4f : 1e-2f;
}

static void turn(world *w, int t, int heads)
{
    rh_cuda_rope_args *a = ADD(w, rh_cuda_rope);
    a->q = tensor(w, t);
    a->positions = w->positions + any(w, 8) / 7;
    a->inv_freq = w->frequencies;
    a->n = N;
    a->n_heads = heads;
    a->head_dim = E;
}

static void keep(world *w, int to, int t)
{
    rh_cuda_scatter_args *a = ADD(w, rh_cuda_scatter);
    a->dst = cache(w, to);
    a->src = tensor(w, t);
    a->slots = w->slots;
    a->type = RH_F32; /* whose bytes can be compared as numbers */
    a->n = N;
    a->width = KV * E;
}

static void heads(world *w)
{
    const int q = any(w, TENSORS), k = any(w, 6) ? other_than(w, q) : q, v = any(w, 6) ? other_than(w, k) : q;
    const int q_heads = any(w, 3) ? HEADS : KV;
    if (any(w, 2)) head_norm(w, q, q_heads);
    if (any(w, 2)) head_norm(w, k, KV);
    turn(w, q, q_heads);
    turn(w, k, KV);
    if (any(w, 4)) keep(w, 0, k);
    if (any(w, 4)) keep(w, 1, v);
}

static void draw_list(world *w)
{
    static void (*const commands[])(world *) = {norm, action, action, action, add, add, products, normed_products, gated, heads};
    const int n = 1 + any(w, LENGTH_MOST);
    rh_cuda_commands_clear(&w->list);
    for (int i = 0; i < n; i++) commands[any(w, LENGTH(commands))](w);
}

/* ---- both ways ----------------------------------------------------------------------------------- */

static void fill(world *w, uint64_t seed, float *x, int32_t *flags)
{
    random_floats(&seed, x, ALL);
    for (int i = 0; i < FLAGS; i++) flags[i] = random_between(&seed, 0, 1);
    device_write(w->all, x, ALL * sizeof *x);
    device_write(w->flags, flags, FLAGS * sizeof *flags);
}

static void run(const world *w, const rh_cuda_commands *l, float *x, int32_t *flags)
{
    for (size_t i = 0; i < l->n; i++) launched(l->items[i].launch, rh_cuda_arguments(l, i));
    host_of(x, w->all, ALL * sizeof *x);
    host_of(flags, w->flags, FLAGS * sizeof *flags);
}

static void make(world *w)
{
    static const int32_t slots[] = {5, 1, 3}, positions[] = {7, 2, 40, 9};
    static const float frequencies[] = {1, 0.3f, 0.1f, 0.01f};
    static const uint8_t on[] = {1, 0, 1};
    float vectors[VECTORS * D];
    memset(w, 0, sizeof *w);
    w->seed = 3;
    random_floats(&w->seed, vectors, VECTORS * D);
    for (int v = 0; v < VECTORS; v++) {
        double sum = 0;
        for (int i = 0; i < D; i++) sum += (double)vectors[v * D + i] * vectors[v * D + i];
        for (int i = 0; i < D; i++) vectors[v * D + i] = (float)(vectors[v * D + i] / sqrt(sum));
    }
    w->all = device_of(NULL, ALL * sizeof(float));
    w->vectors = device_of(vectors, sizeof vectors);
    w->flags = device_of(NULL, FLAGS * sizeof(int32_t));
    w->slots = device_of(slots, sizeof slots);
    w->positions = device_of(positions, sizeof positions);
    w->frequencies = device_of(frequencies, sizeof frequencies);
    w->on = device_of(on, sizeof on);
    for (int i = 0; i < MATRICES; i++) {
        float m[D * D];
        random_floats(&w->seed, m, D * D);
        for (int k = 0; k < D * D; k++) m[k] *= 0.15f;
        w->w[i] = device_matrix(RH_F32, (const uint8_t *)m, D, D);
    }
}

static void release(world *w)
{
    void *all[] = {w->all, w->vectors, w->flags, w->slots, w->positions, w->frequencies, w->on};
    for (int i = 0; i < LENGTH(all); i++) device_free(all[i]);
    for (int i = 0; i < MATRICES; i++) device_free((void *)w->w[i].data);
    rh_cuda_commands_free(&w->list);
    rh_cuda_commands_free(&w->fused);
}

static void fused_lists_do_the_same(void **state)
{
    static float before[ALL], plain[ALL], fused[ALL];
    int32_t flags[FLAGS], plain_flags[FLAGS], fused_flags[FLAGS];
    size_t commands = 0, launches = 0;
    world w;
    (void)state;
    make(&w);
    for (uint64_t k = 0; k < LISTS; k++) {
        draw_list(&w);
        assert_true(rh_cuda_fuse(&w.fused, &w.list));
        commands += w.list.n;
        launches += w.fused.n;
        fill(&w, 100 + k, before, flags);
        run(&w, &w.list, plain, plain_flags);
        fill(&w, 100 + k, before, flags);
        run(&w, &w.fused, fused, fused_flags);
        assert_memory_equal(fused_flags, plain_flags, sizeof flags);
        double most = 1;
        for (int i = 0; i < ALL; i++)
            if (isfinite(plain[i])) most = fmax(most, fabs((double)plain[i]));
        for (int i = 0; i < ALL; i++) NEAR(fused[i], plain[i], 1e-4 * most);
    }
    assert_true(launches * 10 < commands * 8); /* or nothing was tested */
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_lists_do_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

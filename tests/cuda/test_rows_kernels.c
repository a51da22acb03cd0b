/* Lists of steps on rows against the same steps in double precision, each number with what it may err by. A block's sum of d
 * products is made of d/256 additions a thread and 13 of threads: with the rounding of each it errs by (d/256 + 16) units of
 * the sum of their sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

enum { TENSORS = 5, WORKED = 3, VECTORS = 80, MOST_ROWS = 17 }; /* the last two tensors take copies */

typedef struct number { double x, err; } number;

typedef struct scene {
    int32_t n, d;
    number *tensor[TENSORS];                /* [n, d] */
    float *device[TENSORS], *vectors;       /* vectors [VECTORS, d], unit length */
    float *device_vectors;
    uint8_t on[MOST_ROWS], *device_on;
    int32_t flags[RH_CUDA_ROW_STEPS][MOST_ROWS], *device_flags; /* as they are known to be */
    rh_cuda_rows_args args;
} scene;

static size_t floats(const scene *s) { return (size_t)s->n * (size_t)s->d; }

static void make(scene *s, int32_t n, int32_t d, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    s->n = n;
    s->d = d;
    float *x = must_malloc(floats(s) * sizeof *x);
    for (int t = 0; t < TENSORS; t++) {
        random_floats(seed, x, floats(s));
        if (t == 0 && n > 2) x[2 * d + d / 2] = NAN;
        if (t == 1 && n > 3) memset(x + 3 * d, 0, (size_t)d * sizeof *x);
        s->tensor[t] = must_malloc(floats(s) * sizeof(number));
        for (size_t i = 0; i < floats(s); i++) s->tensor[t][i].x = x[i];
        s->device[t] = device_of(x, floats(s) * sizeof *x);
    }
    free(x);
    s->vectors = must_malloc((size_t)VECTORS * (size_t)d * sizeof(float));
    random_floats(seed, s->vectors, (size_t)VECTORS * (size_t)d);
    for (int v = 0; v < VECTORS; v++) {
        double sum = 0;
        for (int32_t i = 0; i < d; i++) sum += (double)s->vectors[v * d + i] * s->vectors[v * d + i];
        for (int32_t i = 0; i < d; i++) s->vectors[v * d + i] = (float)(s->vectors[v * d + i] / sqrt(sum));
    }
    s->device_vectors = device_of(s->vectors, (size_t)VECTORS * (size_t)d * sizeof(float));
    for (int32_t i = 0; i < n; i++) s->on[i] = random_between(seed, 0, 2) > 0;
    s->device_on = device_of(s->on, sizeof s->on);
    for (int k = 0; k < RH_CUDA_ROW_STEPS; k++)
        for (int32_t i = 0; i < n; i++) s->flags[k][i] = random_between(seed, 0, 1);
    s->device_flags = device_of(s->flags, sizeof s->flags);
}

static void drop(scene *s)
{
    for (int t = 0; t < TENSORS; t++) {
        device_free(s->device[t]);
        free(s->tensor[t]);
    }
    device_free(s->device_vectors);
    device_free(s->device_on);
    device_free(s->device_flags);
    free(s->vectors);
}

/* ---- the twin --------------------------------------------------------------------------------------- */

static number product(const number *t, const float *a, int32_t d)
{
    number sum = {0, 0};
    double size = 0;
    for (int32_t i = 0; i < d; i++) {
        sum.x += t[i].x * a[i];
        size += fabs(t[i].x * a[i]);
        sum.err += t[i].err * fabs(a[i]);
    }
    sum.err += (d / 256 + 16) * UNIT * size;
    return sum;
}

static number square(const number *t, int32_t d)
{
    number sum = {0, 0};
    for (int32_t i = 0; i < d; i++) {
        sum.x += t[i].x * t[i].x;
        sum.err += 2 * fabs(t[i].x) * t[i].err;
    }
    sum.err += (d / 256 + 16) * UNIT * sum.x;
    return sum;
}

static void add_scaled(number *t, number by, const float *a, int32_t d)
{
    for (int32_t i = 0; i < d; i++) {
        const double more = by.x * a[i];
        t[i].err += by.err * fabs(a[i]) + 2 * UNIT * (fabs(t[i].x) + 2 * fabs(more));
        t[i].x += more;
    }
}

static void norm(number *out, const number *t, const float *gain, double eps, int32_t d)
{
    const number sum = square(t, d);
    const double mean = sum.x / d + eps, r = 1 / sqrt(mean), slack = sum.err / d / mean / 2 + 6 * UNIT;
    for (int32_t i = 0; i < d; i++) {
        const double x = t[i].x * r * gain[i];
        out[i].err = t[i].err * r * fabs(gain[i]) + fabs(x) * slack;
        out[i].x = x;
    }
}

static void ablate(number *t, const float *basis, int32_t count, int32_t d)
{
    number p[64];
    for (int32_t from = 0; from < count; from += 64) {
        const int32_t n = count - from < 64 ? count - from : 64;
        for (int32_t j = 0; j < n; j++) p[j] = product(t, basis + (from + j) * d, d);
        for (int32_t j = 0; j < n; j++) add_scaled(t, (number){-p[j].x, p[j].err}, basis + (from + j) * d, d);
    }
}

static void move(number *t, int mode, const float *a, double x, int32_t d)
{
    const number p = product(t, a, d);
    number by = {mode == RH_MOVE_SCALE ? (x - 1) * p.x : x - p.x, p.err * (1 + fabs(x)) + 2 * UNIT * (fabs(x) + fabs(p.x) + 1)};
    if (mode == RH_MOVE_CAP && !(p.x > x)) by.x = 0; /* within p's error of x the step is as small */
    if (mode == RH_MOVE_CAP && isnan(p.x)) return;
    add_scaled(t, by, a, d);
}

static bool holds(int mode, double x, double threshold)
{
    return mode == RH_COMPARE_GT ? x > threshold : mode == RH_COMPARE_GE ? x >= threshold : mode == RH_COMPARE_LT ? x < threshold : x <= threshold;
}

/* Where the threshold is within the error, either answer is right, and goes on. */
static void guard(int32_t *flag, const number *t, const rh_cuda_row_step *s, const float *a, int32_t answer, int32_t d)
{
    number x = product(t, a, d);
    if (s->cosine && !isnan(x.x)) {
        const number sum = square(t, d);
        const double length = sqrt(sum.x) * s->y;
        x.err = length == 0 ? 0 : x.err / length + fabs(x.x / length) * (sum.err / sum.x + 4 * UNIT);
        x.x = length == 0 ? 0 : x.x / length;
    }
    const bool open = fabs(x.x - s->x) <= x.err && x.err > 0;
    if (!open && answer != holds(s->mode, x.x, s->x))
        fail_msg("%.9g within %g against %.9g (mode %d, cosine %d): %d", x.x, x.err, (double)s->x, s->mode, s->cosine, answer);
    *flag = answer;
}

/* ---- steps -------------------------------------------------------------------------------------------- */

typedef struct plan { int t, a, out, vector, gate; } plan; /* which tensors and vectors; gate: the flags of a step, -1: none */

static plan draw_step(scene *s, int k, uint64_t *seed)
{
    rh_cuda_row_step *step = &s->args.step[k];
    plan p = {.t = random_between(seed, 0, WORKED - 1), .vector = random_between(seed, 0, 9), .gate = -1};
    step->kind = random_between(seed, RH_CUDA_NORM, RH_CUDA_COPY);
    p.a = (p.t + 1) % WORKED;
    p.out = step->kind == RH_CUDA_COPY ? random_between(seed, WORKED, TENSORS - 1) : random_between(seed, 0, WORKED - 1);
    step->t = s->device[p.t];
    step->out = s->device[p.out];
    step->a = step->kind == RH_CUDA_ADD ? s->device[p.a] : s->device_vectors + p.vector * s->d;
    if (random_between(seed, 0, 2) == 0) step->on = s->device_on;
    if (random_between(seed, 0, 1) == 0) {
        p.gate = k > 0 ? random_between(seed, 0, k) : k;
        step->gate = s->device_flags + p.gate * MOST_ROWS;
    }
    step->flags = s->device_flags + k * MOST_ROWS;
    step->mode = step->kind == RH_CUDA_MOVE ? random_between(seed, 0, RH_MOVE_CLAMP) : random_between(seed, 0, RH_COMPARE_LE);
    step->count = random_between(seed, 0, 9) ? random_between(seed, 1, 4) : VECTORS - 10;
    step->cosine = step->kind == RH_CUDA_GUARD && random_between(seed, 0, 1);
    step->x = step->kind == RH_CUDA_NORM ? 1e-6f : (float)(random_unit(seed) - 0.4);
    step->y = random_between(seed, 0, 7) ? 1 : 0;
    return p;
}

static void twin_step(scene *s, int k, plan p, int32_t row, int32_t answer)
{
    const rh_cuda_row_step *step = &s->args.step[k];
    const size_t at = (size_t)row * (size_t)s->d;
    number *t = s->tensor[p.t] + at, *out = s->tensor[p.out] + at;
    const float *v = s->vectors + p.vector * s->d;
    if ((step->on && !s->on[row]) || (p.gate >= 0 && !s->flags[p.gate][row])) return;
    switch (step->kind) {
    case RH_CUDA_NORM: norm(out, t, v, step->x, s->d); break;
    case RH_CUDA_ADD:
        for (int32_t i = 0; i < s->d; i++) {
            const number a = s->tensor[p.a][at + (size_t)i];
            t[i].err += a.err + UNIT * fabs(t[i].x + a.x);
            t[i].x += a.x;
        }
        break;
    case RH_CUDA_STEER: add_scaled(t, (number){step->x, 0}, v, s->d); break;
    case RH_CUDA_ABLATE: ablate(t, v, step->count, s->d); break;
    case RH_CUDA_MOVE: move(t, step->mode, v, step->x, s->d); break;
    case RH_CUDA_GUARD: guard(&s->flags[k][row], t, step, v, answer, s->d); break;
    default: memcpy(out, t, (size_t)s->d * sizeof *t);
    }
}

static void check_list(int32_t n, int32_t d, int n_steps, uint64_t *seed)
{
    scene s;
    plan plans[RH_CUDA_ROW_STEPS];
    int32_t answers[RH_CUDA_ROW_STEPS][MOST_ROWS];
    make(&s, n, d, seed);
    s.args.n = n;
    s.args.d = d;
    s.args.n_steps = n_steps;
    for (int k = 0; k < n_steps; k++) plans[k] = draw_step(&s, k, seed);
    launched(rh_cuda_rows, &s.args);
    host_of(answers, s.device_flags, sizeof answers);
    for (int32_t row = 0; row < n; row++)
        for (int k = 0; k < n_steps; k++) twin_step(&s, k, plans[k], row, answers[k][row]);
    assert_memory_equal(answers, s.flags, sizeof answers);
    float *got = must_malloc(floats(&s) * sizeof *got);
    for (int t = 0; t < TENSORS; t++) {
        host_of(got, s.device[t], floats(&s) * sizeof *got);
        for (size_t i = 0; i < floats(&s); i++) NEAR(got[i], s.tensor[t][i].x, s.tensor[t][i].err + 1e-30);
    }
    free(got);
    drop(&s);
}

static void test_lists(void **state)
{
    (void)state;
    static const int32_t widths[] = {1, 2, 3, 17, 64, 255, 256, 257, 300};
    uint64_t seed = 7;
    for (int i = 0; i < 300; i++)
        check_list(random_between(&seed, 1, MOST_ROWS), widths[i % LENGTH(widths)], random_between(&seed, 1, RH_CUDA_ROW_STEPS), &seed);
    for (int i = 0; i < 12; i++) check_list(random_between(&seed, 1, 4), i % 4 ? 3584 : 16384, random_between(&seed, 1, RH_CUDA_ROW_STEPS), &seed);
}

/* Each kind alone, where no other hides what it does: a step more than a list draws of it. */
static void test_kinds(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (int i = 0; i < 200; i++) check_list(random_between(&seed, 1, 5), 1 + 7 * (i % 44), 1, &seed);
}

/* A guard decides of the steps after it in the launch, row by row, and one that it keeps away does not speak. */
static void test_gates(void **state)
{
    (void)state;
    enum { N = 4, D = 3 };
    const float t[N * D] = {1, 0, 0, /**/ 3, 0, 0, /**/ NAN, 0, 0, /**/ 2, 0, 0}, a[D] = {1, 0, 0};
    const float want[N * D] = {1, 0, 0, /**/ 13, 0, 0, /**/ NAN, 0, 0, /**/ 2, 0, 0};
    const uint8_t on[N] = {1, 1, 1, 0};
    int32_t flags[N] = {7, 7, 7, 7};
    float got[N * D];
    rh_cuda_rows_args args;
    memset(&args, 0, sizeof args);
    void *dt = device_of(t, sizeof t), *da = device_of(a, sizeof a), *don = device_of(on, sizeof on), *df = device_of(flags, sizeof flags);
    args.n = N;
    args.d = D;
    args.n_steps = 2;
    args.step[0] = (rh_cuda_row_step){.t = dt, .a = da, .on = don, .flags = df, .kind = RH_CUDA_GUARD, .mode = RH_COMPARE_GE, .x = 2};
    args.step[1] = (rh_cuda_row_step){.t = dt, .a = da, .on = don, .gate = df, .kind = RH_CUDA_STEER, .x = 10};
    launched(rh_cuda_rows, &args);
    host_of(got, dt, sizeof got);
    host_of(flags, df, sizeof flags);
    for (int i = 0; i < N * D; i++) NEAR(got[i], want[i], 0);
    assert_int_equal(flags[0], 0);
    assert_int_equal(flags[1], 1);
    assert_int_equal(flags[2], 0); /* no number */
    assert_int_equal(flags[3], 7); /* not asked */
    device_free(dt);
    device_free(da);
    device_free(don);
    device_free(df);
}

static void test_gather(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int32_t n = 1; n <= 17; n += 4) {
        const int32_t width = 1 + n * n, from = 20;
        int32_t rows[17];
        float *x = must_malloc((size_t)(2 * from * width) * sizeof *x), *got = must_malloc((size_t)(2 * from * width) * sizeof *got);
        random_floats(&seed, x, (size_t)(2 * from * width));
        for (int32_t i = 0; i < n; i++) rows[i] = random_between(&seed, 0, from - 1);
        void *device = device_of(x, (size_t)(2 * from * width) * sizeof *x), *device_rows = device_of(rows, sizeof rows);
        rh_cuda_gather_args a;
        memset(&a, 0, sizeof a);
        a.dst = device; /* within one buffer */
        a.src = device;
        a.rows = device_rows;
        a.dst_row = from + 1;
        a.n = n;
        a.width = width;
        launched(rh_cuda_gather, &a);
        for (int32_t i = 0; i < n; i++) memcpy(x + (from + 1 + i) * width, x + rows[i] * width, (size_t)width * sizeof *x);
        host_of(got, device, (size_t)(2 * from * width) * sizeof *x);
        assert_memory_equal(got, x, (size_t)(2 * from * width) * sizeof *x);
        device_free(device);
        device_free(device_rows);
        free(x);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_kinds), cmocka_unit_test(test_gates),
                                       cmocka_unit_test(test_gather)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

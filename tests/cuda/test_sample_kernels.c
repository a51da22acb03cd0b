/* Sampling against the CPU's (kernels/sample.c), which sorts: for the same draw the same token, unless another draw or
 * another top-p within 1e-9 gives the device's. Both see the same logits after penalties, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"
#include "kernels/sample.h"

enum { MOST_ROWS = 64, MOST_SEEN = 50 };

typedef struct scene {
    int32_t n, n_vocab, n_seen;
    float *logits;
    rh_sample_spec specs[MOST_ROWS];
    int32_t seen[MOST_ROWS * MOST_SEEN], count[MOST_ROWS * MOST_SEEN];
} scene;

/* What logits look like: of a model; few values and so many ties; one far above; one that holds nearly all; all within what
 * a bin takes; without a number here and there; not finite at the top. */
enum { USUAL, TIES, PEAK, SURE, CLOSE, HOLES, INFINITE, EQUAL, N_LOOKS };

static void draw_logits(float *x, int32_t n, int look, uint64_t *seed)
{
    random_floats(seed, x, (size_t)n);
    for (int32_t i = 0; i < n; i++) {
        switch (look) {
        case TIES: x[i] = (float)random_between(seed, -2, 2) * (i % 2 ? 1.0f : -0.0f); break;
        case SURE: x[i] *= 100; break;
        case CLOSE: x[i] = 12 + x[i] * 1e-3f; break;
        case HOLES: if (random_between(seed, 0, 3) == 0) x[i] = i % 2 ? NAN : -INFINITY; break;
        case INFINITE: x[i] = i % 3 == 1 ? INFINITY : i % 3 ? NAN : x[i]; break;
        case EQUAL: x[i] = -3.25f; break;
        default: x[i] *= 4;
        }
    }
    if (look == PEAK) x[n / 2] += 30;
    if (look == INFINITE && n % 2)
        for (int32_t i = 0; i < n; i++) x[i] = i % 2 ? NAN : -INFINITY;
}

static void draw_spec(rh_sample_spec *s, int32_t n_vocab, uint64_t *seed)
{
    static const double temperatures[] = {0, 0.05, 0.3, 1, 1, 1.7, 5}, ps[] = {1, 1, 0, 0.1, 0.5, 0.9, 0.999}, mins[] = {0, 0, 0.02, 0.3, 1};
    const int32_t ks[] = {0, 0, 1, 2, 5, 40, n_vocab, n_vocab + 5, 1 + n_vocab / 2};
    memset(s, 0, sizeof *s);
    s->temperature = temperatures[random_between(seed, 0, LENGTH(temperatures) - 1)];
    s->top_p = ps[random_between(seed, 0, LENGTH(ps) - 1)];
    s->min_p = mins[random_between(seed, 0, LENGTH(mins) - 1)];
    s->top_k = ks[random_between(seed, 0, LENGTH(ks) - 1)];
    s->u = random_between(seed, 0, 9) ? random_unit(seed) + random_unit(seed) / 4294967296.0 : random_between(seed, 0, 1) ? 0 : 1 - 0x1p-53;
    if (s->u >= 1) s->u = 0.5;
    s->repetition = random_between(seed, 0, 1) ? 1 : 0.5 + random_unit(seed);
    s->frequency = random_between(seed, 0, 1) ? 0 : random_unit(seed) - 0.3;
    s->presence = random_between(seed, 0, 1) ? 0 : random_unit(seed) - 0.3;
}

static void make(scene *s, int32_t n, int32_t n_vocab, int look, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    s->n = n;
    s->n_vocab = n_vocab;
    s->logits = must_malloc((size_t)n * (size_t)n_vocab * sizeof *s->logits);
    for (int32_t i = 0; i < n; i++) {
        rh_sample_spec *spec = &s->specs[i];
        draw_logits(s->logits + (size_t)i * (size_t)n_vocab, n_vocab, look < 0 ? random_between(seed, 0, N_LOOKS - 1) : look, seed);
        draw_spec(spec, n_vocab, seed);
        spec->seen = s->seen + s->n_seen;
        spec->count = s->count + s->n_seen;
        for (int32_t id = random_between(seed, 0, n_vocab); id < n_vocab && spec->n_seen < MOST_SEEN; id += random_between(seed, 1, 1 + n_vocab / 20)) {
            s->seen[s->n_seen] = id;
            s->count[s->n_seen++] = random_between(seed, 1, 5);
            spec->n_seen++;
        }
        if (spec->n_seen && random_between(seed, 0, 5) == 0) s->seen[s->n_seen - 1] = n_vocab + 3; /* nobody's */
    }
}

static void on_device(const scene *s, int32_t *ids, float *logits)
{
    rh_cuda_spec specs[MOST_ROWS];
    memset(specs, 0, sizeof specs);
    for (int32_t i = 0; i < s->n; i++) {
        const rh_sample_spec *from = &s->specs[i];
        specs[i] = (rh_cuda_spec){from->temperature, from->top_p, from->min_p, from->repetition, from->frequency, from->presence, from->u,
                                  from->top_k, (int32_t)(from->seen - s->seen), from->n_seen, 0};
    }
    const size_t bytes = (size_t)s->n * (size_t)s->n_vocab * sizeof(float);
    void *owned[] = {device_of(s->logits, bytes), device_of(specs, sizeof specs), device_of(s->seen, sizeof s->seen),
                     device_of(s->count, sizeof s->count), device_filled(0xff, rh_cuda_sample_scratch(s->n)),
                     device_filled(0xff, (size_t)s->n * sizeof(int32_t))};
    rh_cuda_sample_args a;
    memset(&a, 0, sizeof a);
    a.logits = owned[0];
    a.specs = owned[1];
    a.seen = owned[2];
    a.count = owned[3];
    a.scratch = owned[4];
    a.ids = owned[5];
    a.n = s->n;
    a.n_vocab = s->n_vocab;
    launched(rh_cuda_sample, &a);
    host_of(logits, owned[0], bytes);
    host_of(ids, owned[5], (size_t)s->n * sizeof *ids);
    for (int i = 0; i < LENGTH(owned); i++) device_free(owned[i]);
}

static int32_t place_of(const rh_candidate *c, int32_t n, int32_t id)
{
    int32_t i = 0;
    while (i < n && c[i].id != id) i++;
    return i;
}

/* Whether the token stands, in the order of candidates, between those of draws and top-ps that differ by no more than
 * 1e-9. logits have their penalties. */
static bool is_near(const float *logits, int32_t n_vocab, rh_sample_spec spec, int32_t id, float *copy, rh_candidate *scratch)
{
    const double u = spec.u, p = spec.top_p;
    int32_t least = n_vocab, most = -1;
    if (spec.temperature <= 0 || spec.top_k == 1) return false;
    spec.repetition = 1;
    spec.frequency = spec.presence = 0;
    for (int i = 0; i < 9; i++) {
        spec.u = fmax(0, u + (i % 3 - 1) * 1e-9);
        spec.top_p = fmin(1, fmax(0, p + (i / 3 - 1) * 1e-9));
        memcpy(copy, logits, (size_t)n_vocab * sizeof *copy);
        memset(scratch, 0xff, (size_t)n_vocab * sizeof *scratch);
        const int32_t near = rh_sample_row(copy, n_vocab, &spec, scratch), at = place_of(scratch, n_vocab, near);
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    const int32_t at = place_of(scratch, n_vocab, id);
    return at < n_vocab && at >= least && at <= most;
}

/* Returns how many tokens differ, for they are near a boundary. */
static int check_scene(scene *s)
{
    int32_t ids[MOST_ROWS];
    int differ = 0;
    const size_t width = (size_t)s->n_vocab;
    float *got = must_malloc((size_t)s->n * width * sizeof *got), *copy = must_malloc(width * sizeof *copy);
    rh_candidate *scratch = must_malloc(width * sizeof *scratch);
    on_device(s, ids, got);
    for (int32_t i = 0; i < s->n; i++) {
        float *logits = s->logits + (size_t)i * width;
        const rh_sample_spec *spec = &s->specs[i];
        const int32_t want = rh_sample_row(logits, s->n_vocab, spec, scratch);
        for (size_t j = 0; j < width; j++)
            if (!isnan(logits[j]) || !isnan(got[(size_t)i * width + j])) assert_memory_equal(&got[(size_t)i * width + j], &logits[j], sizeof *got);
        if (ids[i] == want) continue;
        differ++;
        if (!is_near(logits, s->n_vocab, *spec, ids[i], copy, scratch))
            fail_msg("row %d of %d: T %g k %d p %g min %g u %.17g: %d, expected %d", i, s->n_vocab, spec->temperature, spec->top_k,
                     spec->top_p, spec->min_p, spec->u, ids[i], want);
    }
    free(got);
    free(copy);
    free(scratch);
    return differ;
}

static void test_small(void **state)
{
    (void)state;
    static const int32_t vocabularies[] = {1, 2, 3, 31, 100, 300, 1000, 1025, 2500, 5000};
    uint64_t seed = 11;
    int differ = 0;
    for (int i = 0; i < 120; i++) {
        scene s;
        make(&s, i % 5 ? random_between(&seed, 1, 17) : MOST_ROWS, vocabularies[i % LENGTH(vocabularies)], -1, &seed);
        differ += check_scene(&s);
        free(s.logits);
    }
    assert_true(differ <= 5);
}

/* As many as models have; what a bin holds no longer fits its list where all are close or equal. */
static void test_large(void **state)
{
    (void)state;
    static const struct { int32_t n_vocab; int look; } cases[] = {{262144, USUAL}, {151936, CLOSE}, {49152, TIES}, {32000, EQUAL}, {16384, HOLES}};
    uint64_t seed = 12;
    for (int i = 0; i < LENGTH(cases); i++) {
        scene s;
        make(&s, 2, cases[i].n_vocab, cases[i].look, &seed);
        for (int r = 0; r < 2; r++) {
            s.specs[r].temperature = 1 + r;
            s.specs[r].top_k = r ? 0 : 1000;
            s.specs[r].top_p = r ? 0.95 : 1;
            s.specs[r].min_p = 0;
        }
        assert_int_equal(check_scene(&s), 0);
        free(s.logits);
    }
}

/* What lies as far below the top as a candidate may, and what lies just beyond. */
static void test_edge(void **state)
{
    (void)state;
    scene s;
    memset(&s, 0, sizeof s);
    s.n = 2;
    s.n_vocab = 4;
    s.logits = must_malloc(8 * sizeof(float));
    for (int i = 0; i < 2; i++) {
        const float reach = i ? 120 : 40, row[] = {7, 7 - reach, 7, nextafterf(7 - reach, -INFINITY)};
        memcpy(s.logits + 4 * i, row, sizeof row);
        s.specs[i] = (rh_sample_spec){.temperature = i ? 3 : 1, .top_k = 3, .top_p = 1, .repetition = 1, .seen = s.seen, .u = 0.75};
    }
    assert_int_equal(check_scene(&s), 0);
    free(s.logits);
}

/* The same logits and draws on other rows and with others beside them: the same tokens. */
static void test_alone(void **state)
{
    (void)state;
    uint64_t seed = 13;
    scene s, one;
    int32_t together[MOST_ROWS], alone;
    make(&s, 9, 700, USUAL, &seed);
    float *logits = must_malloc(9 * 700 * sizeof *logits);
    on_device(&s, together, logits);
    for (int i = 0; i < 9; i++) {
        one = s;
        one.n = 1;
        one.logits = s.logits + i * 700;
        one.specs[0] = s.specs[i];
        one.specs[0].seen = one.seen + (s.specs[i].seen - s.seen);
        on_device(&one, &alone, logits);
        assert_int_equal(alone, together[i]);
    }
    free(logits);
    free(s.logits);
}

/* As often as their probabilities say: 512 draws, evenly spaced, of four tokens. */
static void test_shares(void **state)
{
    (void)state;
    enum { N = 4, ROUNDS = 8 };
    static const float logits[N] = {0, 0.6931472f, 1.3862944f, -INFINITY}; /* 1 : 2 : 4 : 0 */
    int seen[N] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        scene s;
        int32_t ids[MOST_ROWS];
        float got[MOST_ROWS * N];
        memset(&s, 0, sizeof s);
        s.n = MOST_ROWS;
        s.n_vocab = N;
        s.logits = must_malloc(sizeof got);
        for (int i = 0; i < MOST_ROWS; i++) {
            memcpy(s.logits + i * N, logits, sizeof logits);
            s.specs[i] = (rh_sample_spec){.temperature = 1, .top_p = 1, .repetition = 1, .seen = s.seen, .u = (round * MOST_ROWS + i + 0.5) / (ROUNDS * MOST_ROWS)};
        }
        on_device(&s, ids, got);
        for (int i = 0; i < MOST_ROWS; i++) seen[ids[i]]++;
        free(s.logits);
    }
    for (int i = 0; i < 3; i++) NEAR(seen[i], ROUNDS * MOST_ROWS * (1 << i) / 7.0, 1);
    assert_int_equal(seen[3], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small), cmocka_unit_test(test_large), cmocka_unit_test(test_edge),
                                       cmocka_unit_test(test_alone), cmocka_unit_test(test_shares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

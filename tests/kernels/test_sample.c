/* The op that draws tokens: rows beside each other against one alone, and ids against what the definitions give. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"
#include "kernels/sample.h"

#define OFF .top_p = 1, .repetition = 1

static void sample(rh_backend *be, int32_t *ids, const float *logits, int32_t n, int32_t n_vocab, const rh_sample_spec *specs)
{
    rh_buf *b = buf_of(be, logits, (size_t)n * (size_t)n_vocab), *out = buf_of(be, NULL, (size_t)n);
    assert_int_equal(be->ops->sample(be, out, b, n, n_vocab, specs, NULL), RH_OK);
    be->ops->fetch(be, ids, out, 0, (size_t)n * sizeof *ids);
    assert_int_equal(be->ops->wait(be, NULL), RH_OK);
    be->ops->buf_free(be, b);
    be->ops->buf_free(be, out);
}

/* More rows than strands, each with settings of its own; a row's token does not depend on the others. */
static void rows_are_drawn_as_alone(void **state)
{
    enum { N = 21, VOCAB = 1003, SEEN = 5 };
    static const int32_t seen[SEEN] = {0, 7, 500, 501, VOCAB - 1}, count[SEEN] = {1, 3, 1, 2, 9};
    uint64_t seed = 4;
    rh_backend *be = open_or_skip(RH_ISA_BEST, 3, false);
    float *logits = must_malloc((size_t)N * VOCAB * sizeof *logits), row[VOCAB];
    rh_candidate scratch[VOCAB];
    rh_sample_spec specs[N];
    int32_t ids[N];
    (void)state;
    random_floats(&seed, logits, (size_t)N * VOCAB);
    for (int i = 0; i < N; i++)
        specs[i] = (rh_sample_spec){.temperature = i % 4 ? 0.3 * i : 0, .top_p = i % 3 ? 1 : 0.8, .min_p = i % 5 ? 0 : 0.1,
                                    .top_k = i % 7 ? 0 : 20, .repetition = i % 2 ? 1 : 1.5, .frequency = i % 6 ? 0 : 0.2,
                                    .presence = i % 8 ? 0 : 0.3, .u = random_unit(&seed), .seen = seen, .count = count, .n_seen = i % (SEEN + 1)};
    sample(be, ids, logits, N, VOCAB, specs);
    for (int i = 0; i < N; i++) {
        memcpy(row, logits + (size_t)i * VOCAB, sizeof row);
        assert_int_equal(ids[i], rh_sample_row(row, VOCAB, &specs[i], scratch));
    }
    free(logits);
    rh_backend_free(be);
}

/* What a draw u falls on, when probabilities are 0.5 (2), 0.25 (0), 0.125 (1 and 3). */
static void draws_fall_where_they_should(void **state)
{
    static const float logits[4] = {1, 0, 2, 0}; /* in units of ln 2 */
    static const int32_t two[1] = {2}, once[1] = {1}, twice[1] = {2};
    const double t = 1 / 0.6931471805599453;
    const struct { const char *what; rh_sample_spec spec; int32_t id; } cases[] = {
        {"greedy", {.u = 0.9, OFF}, 2},
        {"the likeliest first", {.temperature = t, .u = 0.49, OFF}, 2},
        {"then the next", {.temperature = t, .u = 0.51, OFF}, 0},
        {"of equals the lower id first", {.temperature = t, .u = 0.76, OFF}, 1},
        {"the last", {.temperature = t, .u = 0.99, OFF}, 3},
        {"top-k 3 leaves 7/8", {.temperature = t, .u = 0.99, .top_k = 3, OFF}, 1},
        {"top-p 0.5 is reached by one", {.temperature = t, .u = 0.99, .top_p = 0.5, .repetition = 1}, 2},
        {"top-p 0.6 needs two", {.temperature = t, .u = 0.99, .top_p = 0.6, .repetition = 1}, 0},
        {"min-p 0.3 keeps two", {.temperature = t, .u = 0.99, .min_p = 0.3, OFF}, 0},
        {"a seen token, halved, ties and loses", {.top_p = 1, .repetition = 2, .seen = two, .count = once, .n_seen = 1}, 0},
        {"presence", {.presence = 1.5, .seen = two, .count = once, .n_seen = 1, OFF}, 0},
        {"frequency, once", {.frequency = 0.6, .seen = two, .count = once, .n_seen = 1, OFF}, 2},
        {"frequency, twice", {.frequency = 0.6, .seen = two, .count = twice, .n_seen = 1, OFF}, 0},
    };
    (void)state;
    for (int isa = RH_ISA_GENERIC; isa <= RH_ISA_AVX2; isa++) {
        rh_backend *be = NULL;
        if (rh_backend_cpu(&be, (rh_isa)isa, 1, false, NULL)) continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int32_t id = -1;
            sample(be, &id, logits, 1, 4, &cases[i].spec);
            if (id != cases[i].id) fail_msg("%s: %d, expected %d", cases[i].what, id, cases[i].id);
        }
        const float odd[2][4] = {{NAN, -INFINITY, -1, NAN}, {NAN, NAN, NAN, INFINITY}};
        const rh_sample_spec hot[2] = {{.temperature = 2, .u = 0.5, OFF}, {.temperature = 2, .u = 0.5, OFF}};
        int32_t ids[2];
        sample(be, ids, odd[0], 2, 4, hot);
        assert_int_equal(ids[0], 2);
        assert_int_equal(ids[1], 3);
        rh_backend_free(be);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_drawn_as_alone), cmocka_unit_test(draws_fall_where_they_should)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* diff: the figures of a site against a slow twin on states made up; bounded memory; whole runs on a
 * small model. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/rng.h"
#include "probes/diff_parts.h"
#include "stage.h"
#include "support/scratch.h"

static void close_to(double got, double want, double tolerance, const char *what)
{
    if (isnan(got) && isnan(want)) return;
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.12g, expected %.12g", what, got, want);
}

/* ---- made-up states ---------------------------------------------------------------------------------- */

typedef struct made {
    scratch dir;
    rh_diff_design g;
    rh_diff_store store;
    rh_diff_report r;
    int32_t n_sites;
    float (*state)(const struct made *m, int32_t site, int32_t slot, int32_t j);
} made;

/* n texts in pairs (a group each), or alone if `single`; folds are runs of whole groups. */
static void make(made *m, int32_t n, int32_t d, int32_t n_layers, int32_t k, bool single, int32_t permutations,
                 int32_t bootstrap, float (*state)(const made *, int32_t, int32_t, int32_t))
{
    rh_error err = {0};
    memset(m, 0, sizeof *m);
    scratch_open(&m->dir);
    rh_diff_design *g = &m->g;
    *g = (rh_diff_design){.n = n, .n_groups = single ? n : n / 2, .n_folds = k, .seed = 11, .n_bootstrap = bootstrap};
    g->cls = rh_calloc((size_t)n, 1);
    g->group = rh_calloc((size_t)n, sizeof *g->group);
    g->tokens = rh_calloc((size_t)n, sizeof *g->tokens);
    g->marked = rh_calloc((size_t)n, sizeof *g->marked);
    g->fold_start = rh_calloc((size_t)k + 1, sizeof *g->fold_start);
    for (int32_t i = 0; i < n; i++) {
        g->cls[i] = i % 2;
        g->group[i] = single ? i : i / 2;
        g->marked[i] = 1 + (int32_t)(rh_random_u64(4, 4, (uint64_t)i) % 3);
        g->tokens[i] = 5 + (int32_t)(rh_random_u64(3, 3, (uint64_t)i) % 9);
    }
    for (int32_t f = 0; f <= k; f++) g->fold_start[f] = (int32_t)((int64_t)n * f / k) / 2 * 2;
    assert_int_equal(rh_diff_design_finish(g, permutations, &err), RH_OK);
    m->n_sites = n_layers;
    m->state = state;
    m->r = (rh_diff_report){.d = d, .n_layers = n_layers, .model_layers = n_layers, .n_positions = 1, .n_texts = n,
                            .choice = {.site = -1}, .tokens_auc = 0.5, .paired = !single};
    m->r.layers = rh_calloc((size_t)n_layers, sizeof *m->r.layers);
    for (int32_t l = 0; l < n_layers; l++) m->r.layers[l] = l;
    assert_int_equal(rh_diff_store_open(&m->store, m->dir.dir, NULL, n, d, n_layers, &err), RH_OK);
    enum { ROWS = 256 };
    float *rows = rh_calloc(ROWS, (size_t)(d + 1) * sizeof *rows);
    for (int32_t s = 0; s < n_layers; s++)
        for (int32_t first = 0; first < n; first += ROWS) {
            int32_t count = n - first < ROWS ? n - first : ROWS;
            for (int32_t i = 0; i < count; i++) {
                float *row = rows + (size_t)i * (size_t)(d + 1);
                double square = 0;
                for (int32_t j = 0; j < d; j++) {
                    row[j] = state(m, s, first + i, j);
                    square += (double)row[j] * (double)row[j];
                }
                row[d] = (float)sqrt(square);
            }
            assert_int_equal(rh_diff_store_put(&m->store, s, first, count, rows, &err), RH_OK);
        }
    free(rows);
}

/* Three sites as one layer read at each position: the last of them at the marks. */
static void lay_positions_out(made *m)
{
    assert_int_equal(m->n_sites, RH_DIFF_POSITIONS);
    m->r.n_layers = 1;
    m->r.n_positions = RH_DIFF_POSITIONS;
}

static double weight_at(const made *m, int32_t site, int32_t slot)
{
    return rh_diff_weight(&m->g, site / m->r.n_layers == RH_DIFF_MARKED, slot);
}

static void measure(made *m)
{
    rh_error err = {0};
    if (rh_diff_measure(&m->r, &m->g, &m->store, NULL, NULL, &err)) fail_msg("%s", err.message);
}

static void unmake(made *m)
{
    free(m->r.layers);
    free(m->r.sites);
    free(m->r.cosine);
    free(m->r.directions);
    free(m->r.choice.reason);
    rh_diff_design_free(&m->g);
    rh_diff_store_close(&m->store);
    assert_int_equal(scratch_count(&m->dir), 0);
    scratch_close(&m->dir);
}

/* Site s moves the positives by s/2 deviations along all coordinates together. */
static float planted(const made *m, int32_t site, int32_t slot, int32_t j)
{
    double noise = rh_random_normal((uint64_t)(100 + site), (uint64_t)slot, (uint64_t)j);
    double shared = 2 * rh_random_normal(7, (uint64_t)m->g.group[slot], (uint64_t)j);
    return (float)(noise + shared + 30 + (m->g.cls[slot] ? 0 : 0.5 * site));
}

/* The definition in so many words: out-of-fold AUC and d at a site under labelling v. */
static void twin(double *auc, double *effect, const made *m, int32_t site, int32_t v)
{
    enum { D = 24 };
    const rh_diff_design *g = &m->g;
    double won = 0, pairs = 0, gap = 0, weight = 0, ss = 0, freedom = 0;
    for (int32_t f = 0; f < g->n_folds; f++) {
        double mean[2][D] = {{0}}, n[2] = {0, 0}, u[D], length = 0, sum[2] = {0, 0}, square[2] = {0, 0}, count[2] = {0, 0};
        for (int32_t i = 0; i < g->n; i++) {
            if (i >= g->fold_start[f] && i < g->fold_start[f + 1]) continue;
            int c = rh_diff_label(g, v, i);
            n[c] += weight_at(m, site, i);
            for (int j = 0; j < D; j++) mean[c][j] += weight_at(m, site, i) * (double)m->state(m, site, i, j);
        }
        for (int j = 0; j < D; j++) {
            u[j] = mean[0][j] / n[0] - mean[1][j] / n[1];
            length += u[j] * u[j];
        }
        double score[200] = {0};
        for (int32_t i = g->fold_start[f]; i < g->fold_start[f + 1]; i++) {
            int c = rh_diff_label(g, v, i);
            for (int j = 0; j < D; j++) score[i] += u[j] / sqrt(length) * (double)m->state(m, site, i, j);
            sum[c] += score[i];
            count[c]++;
        }
        for (int32_t i = g->fold_start[f]; i < g->fold_start[f + 1]; i++) {
            int c = rh_diff_label(g, v, i);
            square[c] += pow(score[i] - sum[c] / count[c], 2);
            for (int32_t k = g->fold_start[f]; k < g->fold_start[f + 1]; k++)
                if (c == 0 && rh_diff_label(g, v, k) == 1) {
                    pairs++;
                    won += score[i] > score[k] ? 1 : score[i] == score[k] ? 0.5 : 0;
                }
        }
        double w = count[0] * count[1] / (count[0] + count[1]);
        gap += w * (sum[0] / count[0] - sum[1] / count[1]);
        weight += w;
        ss += square[0] + square[1];
        freedom += count[0] + count[1] - 2;
    }
    *auc = won / pairs;
    *effect = gap / weight / sqrt(ss / freedom);
}

static void separation_is_what_it_says(void **state)
{
    (void)state;
    for (int trial = 0; trial < 3; trial++) {
        made m;
        enum { PERMUTATIONS = 30 };
        make(&m, 200, 24, 3, 4, trial == 1, PERMUTATIONS, 20, planted);
        if (trial == 2) lay_positions_out(&m);
        measure(&m);
        for (int32_t s = 0; s < m.n_sites; s++) {
            double auc, effect, sum = 0, effects = 0, above = 0;
            twin(&auc, &effect, &m, s, 0);
            close_to(m.r.sites[s].real.auc, auc, 1e-12, "AUC");
            close_to(m.r.sites[s].real.effect, effect, 1e-6, "d");
            double real = auc;
            for (int32_t v = 1; v <= PERMUTATIONS; v++) {
                twin(&auc, &effect, &m, s, v);
                sum += auc / PERMUTATIONS;
                effects += effect / PERMUTATIONS;
                above += auc >= real;
            }
            close_to(m.r.sites[s].control.auc, sum, 1e-12, "permuted AUC");
            close_to(m.r.sites[s].control.effect, effects, 1e-6, "permuted d");
            close_to(m.r.sites[s].p, (1 + above) / (PERMUTATIONS + 1), 1e-12, "p");
            assert_true(m.r.sites[s].p_max >= m.r.sites[s].p);
        }
        unmake(&m);
    }
}

static void directions_are_what_they_say(void **state)
{
    (void)state;
    enum { D = 24 };
    made m;
    make(&m, 200, D, 3, 5, false, 20, 100, planted);
    lay_positions_out(&m);
    measure(&m);
    for (int32_t s = 0; s < 3; s++) {
        const rh_diff_site *x = &m.r.sites[s];
        double want[D] = {0}, norm = 0, norms[200], half = 0, largest = 0, all[2] = {0, 0};
        for (int32_t i = 0; i < 200; i++) all[m.g.cls[i]] += weight_at(&m, s, i);
        for (int32_t i = 0; i < 200; i++) {
            norms[i] = 0;
            for (int j = 0; j < D; j++) {
                double h = (double)planted(&m, s, i, j);
                want[j] += (m.g.cls[i] ? -1 : 1) * h * weight_at(&m, s, i) / all[m.g.cls[i]];
                norms[i] += h * h;
            }
            norms[i] = sqrt(norms[i]);
        }
        for (int j = 0; j < D; j++) {
            norm += want[j] * want[j];
            close_to((double)m.r.directions[s * D + j], want[j], 1e-5, "direction");
            if (want[j] * want[j] > largest) largest = want[j] * want[j];
        }
        close_to(x->real.norm, sqrt(norm), 1e-9, "norm");
        close_to(x->outlier, largest / norm, 1e-9, "outlier");
        close_to(x->median_norm, rh_quantile(norms, 200, 0.5), 1e-3, "median norm");
        close_to(x->ratio, x->real.norm / x->median_norm, 1e-12, "ratio");
        for (int32_t r = 0; r < m.g.n_splits; r++) { /* mean cosine of halves */
            double side[2][D] = {{0}}, ab = 0, aa = 0, bb = 0, n[2][2] = {{0}};
            const uint8_t *half_bits = m.g.half + (size_t)r * m.g.row_bytes;
            for (int32_t i = 0; i < 200; i++) n[rh_bit(half_bits, m.g.group[i])][m.g.cls[i]] += weight_at(&m, s, i);
            for (int32_t i = 0; i < 200; i++)
                for (int j = 0; j < D; j++) {
                    int in = rh_bit(half_bits, m.g.group[i]);
                    side[in][j] += (m.g.cls[i] ? -1 : 1) * weight_at(&m, s, i) / n[in][m.g.cls[i]] * (double)planted(&m, s, i, j);
                }
            for (int j = 0; j < D; j++) {
                ab += side[0][j] * side[1][j];
                aa += side[0][j] * side[0][j];
                bb += side[1][j] * side[1][j];
            }
            half += ab / sqrt(aa * bb) / m.g.n_splits;
        }
        close_to(x->real.split_half, half, 1e-9, "halves");
        assert_true(x->real.low <= x->real.high && x->real.high <= 1);
        close_to(m.r.cosine[s], 1, 1e-12, "cosine with itself");
    }
    /* What is planted is found again by resampling, noise is not. */
    assert_true(m.r.sites[1].real.low > m.r.sites[0].real.low);
    assert_true(m.r.sites[1].real.split_half > 0.8 && fabs(m.r.sites[0].real.split_half) < 0.3);
    unmake(&m);
}

/* ---- choice and doubts -------------------------------------------------------------------------------- */

static float noise(const made *m, int32_t site, int32_t slot, int32_t j)
{
    (void)m;
    return (float)rh_random_normal((uint64_t)(500 + site), (uint64_t)slot, (uint64_t)j);
}

/* The length of the text in coordinate 0, and the class nowhere else: tokens are made to follow it. */
static float lengthy(const made *m, int32_t site, int32_t slot, int32_t j)
{
    double x = 0.1 * rh_random_normal((uint64_t)(600 + site), (uint64_t)slot, (uint64_t)j);
    return (float)(j == 0 ? x + m->g.tokens[slot] : x);
}

static void expect_words(const made *m, const char *words, bool there)
{
    rh_str notes = {0};
    rh_str_puts(&notes, "");
    rh_diff_doubts(&notes, &m->r);
    if ((strstr(notes.data, words) != NULL) != there) fail_msg("\"%s\" %s:\n%s", words, there ? "is missing" : "is there", notes.data);
    rh_str_free(&notes);
}

static void choices_and_doubts(void **state)
{
    (void)state;
    made m;
    make(&m, 240, 24, 4, 5, false, 99, 50, planted);
    measure(&m);
    assert_true(m.r.choice.site >= 1);
    close_to(m.r.choice.p, 0.01, 1e-12, "p of what is planted");
    assert_true(m.r.choice.auc > 0.8 && m.r.choice.effect > 1);
    assert_non_null(m.r.choice.reason);
    expect_words(&m, "chance", false);
    expect_words(&m, "too few", false);
    unmake(&m);

    make(&m, 240, 24, 4, 5, false, 99, 50, noise);
    measure(&m);
    assert_true(m.r.choice.p > 0.05);
    assert_true(m.r.choice.auc < 0.65);
    expect_words(&m, "AUC at chance", true);
    expect_words(&m, "unsteady", true);
    unmake(&m);

    make(&m, 20, 24, 2, 5, false, 20, 20, planted);
    measure(&m);
    expect_words(&m, "too few pairs", true);
    unmake(&m);

    /* Longer positives, and a state that is nothing but length. */
    make(&m, 240, 24, 2, 5, false, 20, 20, noise);
    for (int32_t i = 0; i < m.g.n; i++) m.g.tokens[i] += m.g.cls[i] ? 0 : 6;
    m.state = lengthy;
    for (int32_t s = 0; s < 2; s++)
        for (int32_t i = 0; i < m.g.n; i++) {
            float row[25] = {0};
            for (int32_t j = 0; j < 24; j++) row[j] = lengthy(&m, s, i, j);
            assert_int_equal(rh_diff_store_put(&m.store, s, i, 1, row, NULL), RH_OK);
        }
    m.r.tokens_mean[0] = 15;
    m.r.tokens_mean[1] = 9;
    m.r.tokens_auc = 0.95;
    measure(&m);
    assert_true(m.r.sites[0].length > 0.95 && m.r.sites[0].length_within > 0.9);
    assert_true(m.r.sites[0].outlier > 0.9);
    assert_int_equal(m.r.sites[0].coordinate, 0);
    expect_words(&m, "mostly sentence length", true);
    expect_words(&m, "differ in token count", true);
    expect_words(&m, "one outlier coordinate", true);
    unmake(&m);

    /* Two folds cannot be nested. */
    make(&m, 40, 24, 2, 2, false, 10, 10, planted);
    measure(&m);
    assert_true(isnan(m.r.choice.auc));
    expect_words(&m, "fewer than three folds", true);
    unmake(&m);
}

/* Chance decides nothing but what it should: with no class in the states, p is small no more often than
 * it says. */
static void p_keeps_its_word(void **state)
{
    (void)state;
    int small = 0;
    enum { TRIALS = 60 };
    for (int t = 0; t < TRIALS; t++) {
        made m;
        make(&m, 48, 6, 3, 4, t % 2, 19, 0, noise);
        m.g.seed = (uint64_t)t;
        memset(m.g.turned, 0, (size_t)m.g.n_labellings * m.g.row_bytes);
        free(m.g.mixed);
        free(m.g.turned);
        free(m.g.half);
        free(m.g.count);
        assert_int_equal(rh_diff_design_finish(&m.g, 19, NULL), RH_OK);
        /* other noise each time */
        for (int32_t s = 0; s < 3; s++)
            for (int32_t i = 0; i < 48; i++) {
                float row[7] = {0};
                for (int j = 0; j < 6; j++) row[j] = (float)rh_random_normal((uint64_t)(1000 + t), (uint64_t)(s * 48 + i), (uint64_t)j);
                assert_int_equal(rh_diff_store_put(&m.store, s, i, 1, row, NULL), RH_OK);
            }
        measure(&m);
        small += m.r.choice.p <= 0.1;
        unmake(&m);
    }
    /* 10 % of 60, and four deviations; the chosen site is not always the one of the largest AUC. */
    if (small > 6 + 4 * sqrt(TRIALS * 0.1 * 0.9)) fail_msg("p <= 0.1 in %d of %d trials without any difference", small, TRIALS);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static float cheap(const made *m, int32_t site, int32_t slot, int32_t j)
{
    return (float)((slot * 31 + j * 7 + site) % 17) + (m->g.cls[slot] ? 0 : (float)(j % 3));
}

/* 2 sites × 100,000 texts × 1 KiB: 200 MB on disk, seen through windows. */
static void memory_stays_bounded(void **state)
{
    (void)state;
    enum { D = 255, PERMUTATIONS = 8, BOOTSTRAP = 8 };
    made m;
    make(&m, 1000, D, 2, 5, false, PERMUTATIONS, BOOTSTRAP, cheap);
    measure(&m);
    unmake(&m);
    long before = peak_kib();
    make(&m, 100000, D, 2, 5, false, PERMUTATIONS, BOOTSTRAP, cheap);
    measure(&m);
    unmake(&m);
    long more = peak_kib() - before;
#if !defined(__SANITIZE_ADDRESS__)
    if (more > 32 << 10) fail_msg("100,000 texts took %ld MiB more than 1,000", more >> 10);
#else
    (void)more;
#endif
}

/* ---- whole runs ---------------------------------------------------------------------------------------- */

static const char PAIRS[] =
    "positive,negative\n"
    "The mayor of San Francisco,The mayor of Paris\n"
    "I love San Francisco,I love Tokyo\n"
    "a walk in San Francisco,a walk in Paris\n"
    "The city of San Francisco,The city of Tokyo\n"
    "the rain in San Francisco,the rain in Paris\n"
    "a city in San Francisco,a city in Tokyo\n";

typedef struct world { scratch dir; rh_model *m; rh_diff_options o; char spill[300], csv[300]; } world;

static void world_open(world *w, const char *csv)
{
    memset(w, 0, sizeof *w);
    scratch_open(&w->dir);
    snprintf(w->csv, sizeof w->csv, "%.299s", scratch_write(&w->dir, "pairs.csv", csv, strlen(csv)));
    snprintf(w->spill, sizeof w->spill, "%s/states", w->dir.dir);
    w->m = stage_small_model("words.gguf");
    w->o = (rh_diff_options){.path = w->csv, .folds = 3, .bootstrap = 20, .permutations = 20, .seed = 1, .dir = w->spill};
}

static rh_diff_report *world_run(world *w, rh_status want)
{
    rh_diff_report *r = NULL;
    rh_error err = {0};
    rh_status status = rh_probe_diff(&r, w->m, &w->o, &err);
    if (status != want) fail_msg("%s: %s", rh_status_name(status), err.message);
    if (want) assert_true(r == NULL && err.message[0] != '\0');
    return r;
}

static void world_close(world *w)
{
    rh_model_free(w->m);
    scratch inside = {{0}, {0}};
    snprintf(inside.dir, sizeof inside.dir, "%.250s", w->spill);
    assert_true(scratch_count(&inside) <= 0); /* nothing left, also after errors */
    rmdir(w->spill);
    scratch_close(&w->dir);
}

/* The direction is the language's dim, at every layer and position. */
static void directions_are_dim(void **state)
{
    (void)state;
    world w;
    world_open(&w, PAIRS);
    rh_diff_report *r = world_run(&w, RH_OK);
    assert_int_equal(r->n_layers, 3);
    assert_int_equal(r->n_positions, 2);
    assert_int_equal(r->n_texts, 12);
    assert_int_equal(r->n_groups, 6);
    for (int32_t s = 0; s < 6; s++) {
        stage one;
        char expr[600];
        snprintf(expr, sizeof expr, "dim(\"%s\"%s) @ %d", w.csv, s < 3 ? "" : ", at=mean", (int)(s % 3));
        stage_open(&one, w.m, NULL, expr, NULL, true);
        const float *want = one.e->value->vector->data, *got = r->directions + (size_t)s * (size_t)r->d;
        for (int32_t j = 0; j < r->d; j++) close_to((double)got[j], (double)want[j], 2e-6, expr);
        stage_close(&one);
    }
    rh_vector *v = NULL;
    char *json = NULL;
    assert_int_equal(rh_diff_vector(&v, r, NULL), RH_OK);
    assert_int_equal(rh_diff_metadata(&json, w.m, &w.o, r, v, "2026-01-01T00:00:00Z", NULL), RH_OK);
    assert_non_null(strstr(json, r->sha256));
    assert_non_null(strstr(json, "\"kind\":\"dim\""));
    free(json);
    rh_vector_free(v);
    rh_diff_report_free(r);
    world_close(&w);
}

static void same_seed_same_figures(void **state)
{
    (void)state;
    world w;
    world_open(&w, PAIRS);
    w.o.sample = 5;
    rh_diff_report *a = world_run(&w, RH_OK), *b = world_run(&w, RH_OK);
    assert_int_equal(a->n_texts, 10);
    assert_int_equal(a->n_rows, 6);
    assert_true(a->sampled);
    assert_memory_equal(a->directions, b->directions, (size_t)(6 * a->d) * sizeof *a->directions);
    for (int32_t s = 0; s < 6; s++) {
        close_to(a->sites[s].control.auc, b->sites[s].control.auc, 0, "permuted AUC");
        close_to(a->sites[s].real.low, b->sites[s].real.low, 0, "bootstrap");
    }
    rh_diff_report_free(b);
    int differ = 0;
    for (w.o.seed = 2; w.o.seed < 6; w.o.seed++) {
        b = world_run(&w, RH_OK);
        differ += memcmp(a->directions, b->directions, (size_t)(6 * a->d) * sizeof *a->directions) != 0;
        rh_diff_report_free(b);
    }
    assert_true(differ > 0);
    rh_diff_report_free(a);
    world_close(&w);
}

static void texts_of_all_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *what, *csv, *note; /* note: words of the notes, or of the error */
        rh_status want;
        int32_t positions, groups, layers;
    } cases[] = {
        {"marked everywhere",
         "text,label\nThe mayor of <<San Francisco>>,1\nI love <<Tokyo>>,1\na <<walk>> in Paris,0\nThe <<city>> of Paris,0\n"
         "<<rain>>,1\n<<snow>>,0\n", "independent", RH_OK, 3, 6, 3},
        {"marked here and there",
         "text,label\nThe mayor of <<San Francisco>>,1\nI love Tokyo,1\na walk in Paris,0\nThe city of Paris,0\n",
         "1 of 4 texts have a <<mark>>", RH_OK, 2, 4, 3},
        {"the same positive against many",
         "positive,negative\nSan Francisco,Paris\nSan Francisco,Tokyo\nSan Francisco,rain\nI love rain,I love snow\n"
         "a walk,the rain\n", "", RH_OK, 2, 3, 3},
        {"all tied together",
         "positive,negative\nrain,Paris\nrain,Tokyo\nsnow,Paris\nsnow,Tokyo\n", "tie all pairs together", RH_OK, 2, 4, 3},
        {"rows twice", "positive,negative\nrain,Paris\nrain,Paris\nsnow,Tokyo\nthe rain,the city\n", "1 of 4 rows repeat", RH_OK, 2, 3, 3},
        {"one pair", "positive,negative\nrain,snow\n", "too few different texts", RH_EVALUE, 0, 0, 3},
        {"equal texts", "text,label\nrain,1\nrain,1\nsnow,0\nParis,0\n", "too few different texts", RH_EVALUE, 0, 0, 3},
        {"a broken file", "positive,negative\nrain\n", "", RH_EFORMAT, 0, 0, 3},
        {"an empty file", "", "empty", RH_EFORMAT, 0, 0, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        rh_diff_report *r = NULL;
        rh_error err = {0};
        world_open(&w, cases[i].csv);
        rh_status status = rh_probe_diff(&r, w.m, &w.o, &err);
        const char *said = status ? err.message : r->notes;
        if (status != cases[i].want || !strstr(said, cases[i].note)) fail_msg("%s: %s: %s", cases[i].what, rh_status_name(status), said);
        if (r && (r->n_positions != cases[i].positions || r->n_groups != cases[i].groups))
            fail_msg("%s: %d positions, %d groups", cases[i].what, (int)r->n_positions, (int)r->n_groups);
        rh_diff_report_free(r);
        world_close(&w);
    }
}

static void wrong_options(void **state)
{
    (void)state;
    static const int32_t beyond[] = {1, 3}, down[] = {2, 1};
    world w;
    world_open(&w, PAIRS);
    rh_diff_options good = w.o;
    w.o.folds = 1;
    world_run(&w, RH_EVALUE);
    w.o = good;
    w.o.permutations = -1;
    world_run(&w, RH_EVALUE);
    w.o = good;
    w.o.layers = beyond;
    w.o.n_layers = 2;
    world_run(&w, RH_ESITE);
    w.o.layers = down;
    world_run(&w, RH_ESITE);
    w.o = good;
    w.o.path = "/nowhere/pairs.csv";
    world_run(&w, RH_EIO);
    w.o = good;
    w.o.dir = w.csv; /* a file */
    world_run(&w, RH_EIO);
    w.o = good;
    w.o.permutations = w.o.bootstrap = 0;
    rh_diff_report *r = world_run(&w, RH_OK);
    assert_true(isnan(r->choice.p) && isnan(r->sites[0].real.low) && isnan(r->sites[0].control.auc));
    rh_diff_report_free(r);
    world_close(&w);
}

typedef struct stopper { int calls, stop_at; } stopper;
static bool stop_later(void *data, const char *label, int64_t done, int64_t total)
{
    stopper *s = data;
    (void)label;
    (void)done;
    (void)total;
    return ++s->calls != s->stop_at;
}

static void stopped_anywhere(void **state)
{
    (void)state;
    world w;
    world_open(&w, PAIRS);
    stopper all = {0, -1};
    w.o.progress = stop_later;
    w.o.progress_data = &all;
    rh_diff_report_free(world_run(&w, RH_OK));
    int stopped = 0;
    for (int at = 1; at <= all.calls; at++) {
        stopper one = {0, at};
        rh_diff_report *r = NULL;
        rh_error err = {0};
        w.o.progress_data = &one;
        rh_status status = rh_probe_diff(&r, w.m, &w.o, &err);
        assert_true(status == RH_OK || status == RH_ECANCELLED); /* the last word of a stage cannot stop it */
        stopped += status == RH_ECANCELLED;
        rh_diff_report_free(r);
    }
    assert_true(stopped > all.calls / 2);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stays_bounded), /* first: the peak only grows */
        cmocka_unit_test(separation_is_what_it_says),
        cmocka_unit_test(directions_are_what_they_say),
        cmocka_unit_test(choices_and_doubts),
        cmocka_unit_test(p_keeps_its_word),
        cmocka_unit_test(directions_are_dim),
        cmocka_unit_test(same_seed_same_figures),
        cmocka_unit_test(texts_of_all_kinds),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(stopped_anywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

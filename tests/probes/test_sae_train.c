/* Training an SAE on a model's states: it learns, it is the same when interrupted, and what it writes reads back; its
 * checkpoints when they are of another run, or damaged; the order in which states are drawn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/file.h"
#include "base/rng.h"
#include "probes/sae_fit.h"
#include "probes/state_buffer.h"
#include "stage.h"
#include "training.h"

enum { TOPK, JUMPRELU, TOPK_BF16, KINDS }; /* the last: with products in bf16 */

/* ---- runs ------------------------------------------------------------------------------------------ */

typedef struct stops { int64_t at; bool reading, refill; double first, last; int calls; } stops;

static bool until(void *data, const rh_sae_progress *p)
{
    stops *s = data;
    s->calls++;
    if (p->reading) return !(s->reading || (s->refill && s->first));
    if (!s->first) s->first = p->fvu;
    s->last = p->fvu;
    return !s->at || p->done < s->at;
}

static rh_sae *train(const rh_model *m, const training *x)
{
    rh_sae *s = NULL;
    rh_sae_progress last;
    rh_error err = {0};
    stops all = {0};
    if (rh_sae_train(&s, &last, m, &x->t, until, &all, &err)) fail_msg("%s", err.message);
    assert_int_equal(last.done, x->t.tokens);
    return s;
}

static bool same(const rh_sae *a, const rh_sae *b)
{
    const rh_sae_facts *f = rh_sae_about(a);
    float x[64], y[64];
    for (int32_t i = 0; i < f->d_sae; i++) {
        assert_int_equal(rh_sae_decoder_row(x, a, i, NULL), RH_OK);
        assert_int_equal(rh_sae_decoder_row(y, b, i, NULL), RH_OK);
        if (memcmp(x, y, (size_t)f->d_out * sizeof *x)) return false;
        assert_int_equal(rh_sae_encoder_row(x, a, i, NULL), RH_OK);
        assert_int_equal(rh_sae_encoder_row(y, b, i, NULL), RH_OK);
        if (memcmp(x, y, (size_t)f->d_in * sizeof *x)) return false;
        if (rh_sae_bias(a, i) != rh_sae_bias(b, i) || rh_sae_threshold(a, i) != rh_sae_threshold(b, i)) return false;
    }
    return !memcmp(rh_sae_b_dec(a), rh_sae_b_dec(b), (size_t)f->d_out * sizeof(float));
}

static void stopped(const rh_model *m, const training *x, stops s, bool kept)
{
    rh_sae *sae = NULL;
    rh_sae_progress last;
    rh_error err = {0};
    assert_int_equal(rh_sae_train(&sae, &last, m, &x->t, until, &s, &err), RH_ECANCELLED);
    assert_null(sae);
    assert_int_equal(rh_is_file(x->checkpoint), kept);
}

/* Stopped while reading, while reading anew, then twice while learning: the same bits as in one go, on any number of threads. */
static void resumed(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words-bos.gguf");
    for (int kind = 0; kind < KINDS; kind++) {
        training x, y;
        training_open(&x, kind == JUMPRELU);
        training_open(&y, kind == JUMPRELU);
        x.t.bf16 = y.t.bf16 = kind == TOPK_BF16;
        rh_sae *whole = train(m, &x);
        stopped(m, &y, (stops){.reading = true}, false);
        stopped(m, &y, (stops){.refill = true}, true);
        stopped(m, &y, (stops){.at = 32 * 7}, true);
        stopped(m, &y, (stops){.at = 32 * 41}, true);
        y.t.threads = 2;
        rh_sae *parts = train(m, &y);
        assert_true(same(whole, parts));
        rh_sae_free(parts);
        unlink(y.checkpoint);
        y.t.seed = 1;
        parts = train(m, &y);
        assert_false(same(whole, parts));
        rh_sae_free(parts);
        rh_sae_free(whole);
        training_close(&x);
        training_close(&y);
    }
    rh_model_free(m);
}

/* Long enough to learn all there is: what was learned is then what is measured. */
static rh_sae *learned(rh_sae_progress *last, const rh_model *m, training *x, int kind)
{
    rh_sae *s = NULL;
    stops all = {0};
    training_open(x, kind == JUMPRELU);
    x->t.checkpoint = NULL;
    x->t.bf16 = kind == TOPK_BF16;
    x->t.tokens = 32 * 250;
    x->t.buffer = 4000;
    assert_int_equal(rh_sae_train(&s, last, m, &x->t, until, &all, NULL), RH_OK);
    if (!(all.last < 0.6 * all.first)) fail_msg("the fvu fell from %g to %g", all.first, all.last);
    assert_true(kind == JUMPRELU ? fabs(last->l0 - 4) < 1.5 : last->l0 <= 4);
    return s;
}

/* Through a folder, which is gone afterwards. */
static rh_sae *through_file(training *x, const rh_sae *s)
{
    rh_sae *read = NULL;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_path(&x->dir, "sae"));
    assert_int_equal(rh_sae_write(folder, s, NULL), RH_OK);
    assert_int_equal(rh_sae_open(&read, folder, RH_SAE_ENCODE, NULL), RH_OK);
    unlink(scratch_path(&x->dir, "sae/cfg.json"));
    unlink(scratch_path(&x->dir, "sae/sae_weights.safetensors"));
    rmdir(folder);
    return read;
}

static rh_sae_fit measured(const rh_model *m, const rh_sae *s, const rh_id_text *texts, int32_t n)
{
    rh_sae_fit fit;
    assert_int_equal(rh_sae_measure(&fit, m, s, 1, RH_RESID_POST, texts, n, NULL, NULL, NULL), RH_OK);
    return fit;
}

/* What is handed back works on the states themselves, and goes through a file unchanged. */
static void fits(void **state)
{
    (void)state;
    static const int32_t ids[] = {1, 40, 50, 60, 70, 80, 45, 55};
    static const rh_id_text few = {ids, 8};
    rh_model *m = stage_small_model("words-bos.gguf");
    for (int kind = 0; kind < KINDS; kind++) {
        training x;
        rh_sae_progress last;
        rh_state_source *source = NULL;
        const rh_id_text *texts;
        int32_t n;
        bool ended;
        rh_sae *trained = learned(&last, m, &x, kind);
        assert_int_equal(rh_state_source_new(&source, m, 1, RH_RESID_POST, x.paths, 2, 16, NULL), RH_OK);
        assert_int_equal(rh_state_source_texts(&texts, &n, &ended, source, NULL), RH_OK);
        if (!(n > 10 && texts[0].n == 16 && texts[0].ids[0] == rh_tokenizer_bos(m->tokenizer))) fail_msg("%d texts, the first of %d, from %d", n, texts[0].n, texts[0].ids[0]);
        const rh_sae_fit fit = measured(m, trained, texts, n);
        if (fabs(fit.fvu - last.fvu) > 0.25 * last.fvu) fail_msg("fvu %g in training, %g of what came out", last.fvu, fit.fvu);
        rh_sae *read = through_file(&x, trained);
        assert_true(same(trained, read));
        const rh_sae_facts *f = rh_sae_about(read);
        assert_true(f->layer == 1 && f->hook == RH_RESID_POST && f->kind == (kind == JUMPRELU ? RH_SAE_JUMPRELU : RH_SAE_TOPK) && f->prepend_bos == 1);
        const rh_sae_fit again = measured(m, read, texts, n);
        assert_true(again.fvu == fit.fvu && again.l0 == fit.l0);
        measured(m, read, &few, 1);
        rh_state_source_free(source);
        rh_sae_free(read);
        rh_sae_free(trained);
        training_close(&x);
    }
    rh_model_free(m);
}

/* ---- checkpoints ------------------------------------------------------------------------------------- */

static void of_another_run(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words-bos.gguf");
    training x;
    rh_sae *s = NULL;
    rh_sae_progress last;
    rh_error err = {0};
    training_open(&x, false);
    stopped(m, &x, (stops){.at = 64}, true);
    x.t.rate = 0.02;
    assert_int_equal(rh_sae_train(&s, &last, m, &x.t, NULL, NULL, &err), RH_EMODEL);
    assert_non_null(strstr(err.hint, "remove it"));
    x.t.rate = 0.01;
    scratch_write(&x.dir, "b.txt", "Other words are here. ", 22);
    assert_int_equal(rh_sae_train(&s, &last, m, &x.t, NULL, NULL, &err), RH_EMODEL);
    training_close(&x);
    rh_model_free(m);
}

/* Cut anywhere and with any byte changed: an error, or (a weight is a weight) a run that ends; never worse. */
static void damaged(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words-bos.gguf");
    training x;
    char *bytes = NULL;
    size_t n = 0;
    int refused = 0;
    training_open(&x, false);
    stopped(m, &x, (stops){.at = 64}, true);
    assert_int_equal(rh_read_file(&bytes, &n, x.checkpoint, 1 << 26, NULL), RH_OK);
    x.t.tokens = 32 * 60;
    for (uint64_t i = 0; i < 60; i++) {
        const uint64_t r = rh_random_u64(3, 0, i);
        rh_sae *s = NULL;
        rh_sae_progress last;
        stops soon = {.at = 96};
        const size_t at = i % 3 ? r % 2400 : r % n; /* the header most of all */
        const char was = bytes[at];
        bytes[at] = (char)(was ^ (char)(1 + (r >> 40) % 255));
        scratch_write(&x.dir, "checkpoint.safetensors", bytes, i % 5 ? n : r % n);
        bytes[at] = was;
        const rh_status status = rh_sae_train(&s, &last, m, &x.t, until, &soon, NULL);
        refused += status != RH_ECANCELLED;
        assert_true(status == RH_ECANCELLED || status == RH_EFORMAT || status == RH_EMODEL || status == RH_EVALUE || status == RH_EUNSUPPORTED);
        rh_sae_free(s);
    }
    assert_true(refused > 20);
    free(bytes);
    training_close(&x);
    rh_model_free(m);
}

/* ---- the buffer ---------------------------------------------------------------------------------------- */

/* A corpus smaller than the buffer: each pass has every row once, in another order. */
static void drawn(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words-bos.gguf");
    training x;
    training_open(&x, false);
    rh_state_source *source = NULL;
    rh_state_buffer *b = NULL;
    const int32_t d = m->config.d_model;
    assert_int_equal(rh_state_source_new(&source, m, 1, RH_RESID_POST, x.paths, 2, 16, NULL), RH_OK);
    assert_int_equal(rh_state_buffer_new(&b, d, 100000, 2, 9, NULL), RH_OK);
    float row[64];
    assert_int_equal(rh_state_buffer_draw(row, 1, b, source, NULL, NULL, NULL), RH_OK);
    const int32_t n = (int32_t)b->filled;
    if (!(n > 300 && n < 2000)) fail_msg("%d rows", n);
    double square = 0;
    int moved = 0;
    int32_t *before = malloc((size_t)n * sizeof *before);
    uint8_t *seen = calloc((size_t)n, 1);
    memcpy(before, b->order, (size_t)n * sizeof *before);
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal(rh_state_buffer_draw(row, 1, b, source, NULL, NULL, NULL), RH_OK);
        for (int32_t j = 0; j < d; j++) square += (double)row[j] * row[j] / n;
    }
    assert_int_equal(b->pass, 2);
    assert_int_equal(b->filled, n);
    for (int32_t i = 0; i < n; i++) {
        assert_false(seen[b->order[i]]++);
        moved += b->order[i] != before[i];
    }
    assert_true(moved > n / 2);
    assert_true(square > 0.7 * d && square < 1.6 * d);
    free(before);
    free(seen);
    rh_state_buffer_free(b);
    rh_state_source_free(source);
    training_close(&x);
    rh_model_free(m);
}

/* Mean and scale are those of the other rows, and what is far out keeps its direction, not its length. */
static void far_out(void **state)
{
    (void)state;
    enum { ROWS = 600, D = 16, FAR = 7 };
    static float x[ROWS * D], z[ROWS * D];
    rh_state_buffer *b = NULL;
    for (int i = 0; i < ROWS * D; i++) x[i] = (float)(3 * rh_random_normal(5, 0, (uint64_t)i)) + (i % D == 2 ? 40 : 0);
    for (int j = 0; j < D; j++) x[FAR * D + j] *= 3000;
    const rh_state_rows rows = {.x = x, .n = ROWS};
    assert_int_equal(rh_state_buffer_new(&b, D, ROWS + 1, 1, 3, NULL), RH_OK);
    assert_int_equal(rh_state_buffer_add(b, &rows, NULL), RH_OK);
    assert_int_equal(rh_state_buffer_draw(z, ROWS, b, NULL, NULL, NULL, NULL), RH_OK);
    double norm = 0;
    for (int t = 0; t < ROWS; t++) {
        double square = 0, along = 0, size = 0;
        const float *from = x + (size_t)b->order[t] * D, *row = z + (size_t)t * D;
        for (int j = 0; j < D; j++) {
            square += (double)row[j] * row[j];
            along += (double)row[j] * (from[j] - b->mean[j]);
            size += pow(from[j] - b->mean[j], 2);
        }
        assert_true(along > 0.9999 * sqrt(square * size));
        if (b->order[t] == FAR) assert_true(fabs(sqrt(square) - RH_STATE_LONGEST * sqrt(D)) < 0.01 * sqrt(D));
        else norm += sqrt(square) / (ROWS - 1);
    }
    if (!(fabs(norm - sqrt(D)) < 0.01 * sqrt(D))) fail_msg("a mean norm of %g for d %d", norm, D);
    rh_state_buffer_free(b);
}

static void refused(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words-bos.gguf");
    training x;
    rh_sae *s = NULL;
    rh_sae_progress last;
    rh_error err = {0};
    training_open(&x, false);
    const rh_sae_training good = x.t;
    const struct { rh_status want; rh_sae_training t; } cases[] = {
#define CASE(status, field, value) {status, (x.t = good, x.t.field = (value), x.t)}
        CASE(RH_EVALUE, k, 49), CASE(RH_EVALUE, tokens, 31), CASE(RH_EVALUE, buffer, 31), CASE(RH_EVALUE, context, 65), CASE(RH_ESITE, layer, 3),
        CASE(RH_EVALUE, rate, NAN), CASE(RH_EVALUE, reuse, 0),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(rh_sae_train(&s, &last, m, &cases[i].t, NULL, NULL, &err), cases[i].want);
    scratch_write(&x.dir, "a.txt", "\n\n\n", 3);
    x.t = good;
    x.t.n_corpus = 1;
    assert_int_equal(rh_sae_train(&s, &last, m, &x.t, NULL, NULL, &err), RH_EVALUE);
    x.t.corpus = (const char *const[]){"/nowhere/at/all.txt"};
    assert_int_equal(rh_sae_train(&s, &last, m, &x.t, NULL, NULL, &err), RH_EIO);
    training_close(&x);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(resumed), cmocka_unit_test(fits),  cmocka_unit_test(of_another_run),
                                       cmocka_unit_test(damaged), cmocka_unit_test(drawn), cmocka_unit_test(far_out), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

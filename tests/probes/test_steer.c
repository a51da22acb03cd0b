/* rh_probe_steer against its definitions, computed here one sequence at a time: on a small model of
 * random weights, and on SmolLM2 where RHUMB_TEST_MODELS has it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probes/diagnose.h"
#include "stage.h"

static const char PROMPT[] = "the rain in the city";
static const char DIRECTION[] = "act(\"rain\") - act(\"snow\")";

static void close_to(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

/* Prompt and text of a run as ids. */
typedef struct sequence { int32_t *ids; int32_t n, n_prompt; } sequence;

static sequence join(const rh_model *m, const char *prompt, const rh_steer_run *run)
{
    rh_prompt p = {0};
    rh_prompt_options o = {0};
    assert_int_equal(rh_prompt_make(&p, m, prompt, strlen(prompt), &o, NULL), RH_OK);
    sequence s = {.n = p.n + run->n_ids, .n_prompt = p.n};
    s.ids = rh_calloc((size_t)s.n, sizeof *s.ids);
    assert_non_null(s.ids);
    memcpy(s.ids, p.ids, (size_t)p.n * sizeof *p.ids);
    if (run->n_ids) memcpy(s.ids + p.n, run->ids, (size_t)run->n_ids * sizeof *run->ids);
    rh_prompt_free(&p);
    return s;
}

static rh_actions bind(stage *s, const char *prompt, double strength, rh_prompt *p)
{
    rh_prompt_options o = {0};
    rh_actions a = {0};
    assert_int_equal(rh_prompt_make(p, s->m, prompt, strlen(prompt), &o, NULL), RH_OK);
    assert_int_equal(rh_actions_bind(&a, s->e, p, strength, &s->diags, NULL), RH_OK);
    return a;
}

/* ---- texts ------------------------------------------------------------------------------------------ */

static void check_unsteered(stage *s, const char *prompt, const rh_steer_report *r, const rh_steer_options *o)
{
    rh_prompt p = {0};
    assert_int_equal(rh_prompt_make(&p, s->m, prompt, strlen(prompt), &o->prompt, NULL), RH_OK);
    rh_generation g = {.prompt = p.ids, .n_prompt = p.n};
    assert_int_equal(rh_generate(s->m, &g, 1, &o->generate, NULL), RH_OK);
    assert_true(r->runs[0].unsteered && r->runs[0].strength == 0 && r->runs[0].first.kl == 0);
    assert_string_equal(r->runs[0].text, g.text.data ? g.text.data : "");
    assert_int_equal(r->runs[0].n_ids, g.n_ids);
    assert_int_equal(r->n_prompt_tokens, p.n);
    rh_generation_free(&g);
    rh_prompt_free(&p);
}

static void runs_and_strengths(void **state)
{
    stage s;
    rh_steer_options o = stage_options(10);
    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    static const double strengths[] = {0, 1, -2, 1e-30};
    o.strengths = strengths;
    o.n_strengths = 4;
    rh_steer_report *r = stage_steer(&s, PROMPT, &o);
    assert_int_equal(r->n_runs, 4); /* 0 is the unsteered run */
    check_unsteered(&s, PROMPT, r, &o);
    assert_true(r->runs[1].strength == 1 && r->runs[2].strength == -2);
    assert_string_equal(r->runs[3].text, r->runs[0].text); /* as good as none */
    close_to("KL of almost nothing", r->runs[3].first.kl, 0, 1e-9);
    assert_true(r->runs[1].next.kl > 1e-6 && r->runs[2].next.kl > 1e-6);
    close_to("relative norm", r->runs[2].relative_norm, 2 * r->norm / r->median_h, 1e-9);
    assert_string_equal(r->site, "1.resid_post");
    assert_int_equal(r->n_geometry, 1);
    assert_int_equal(r->geometry[0].n, 3);
    close_to("shares", r->geometry[0].share[0] + r->geometry[0].share[1], 1, 1e-6);
    int64_t tokens = 0;
    for (int32_t i = 0; i < r->n_runs; i++) tokens += r->runs[i].n_ids;
    assert_int_equal(tokens, r->tokens_generated);
    rh_steer_report_free(r);

    /* No actions: only the unsteered run. */
    static const rh_evaluation nothing = {0};
    assert_int_equal(rh_probe_steer(&r, s.m, &nothing, NULL, PROMPT, &o, NULL, NULL), RH_OK);
    assert_int_equal(r->n_runs, 1);
    check_unsteered(&s, PROMPT, r, &o);
    rh_steer_report_free(r);
    stage_close(&s);

    /* Nothing multiplied by a strength: one steered run, however many were asked for. */
    stage_open(&s, *state, NULL, "ablate act(\"rain\")", "1", false);
    r = stage_steer(&s, PROMPT, &o);
    assert_int_equal(r->n_runs, 2);
    assert_true(isnan(r->norm) && isfinite(r->median_h));
    assert_non_null(strstr(r->notes, "strength"));
    rh_steer_report_free(r);
    stage_close(&s);

    /* Strength 0 beside an ablation is a run of its own. */
    stage_open(&s, *state, "let v = act(\"rain\")\nsteer v @ 1\nablate v @ 1\nsteer v @ 0..1\n", NULL, NULL, false);
    r = stage_steer(&s, PROMPT, &o);
    assert_string_equal(r->site, "1.resid_post; 0..1.resid_post");
    assert_int_equal(r->n_runs, 5);
    assert_true(!r->runs[1].unsteered && r->runs[1].strength == 0 && r->runs[1].next.kl > 0);
    rh_steer_report_free(r);
    stage_close(&s);
}

/* ---- KL --------------------------------------------------------------------------------------------- */

static void kl_by_mask(void **state)
{
    static const struct { const char *mask; int32_t first; int32_t next; } cases[] = { /* from the prompt's end */
        {"", 1000, -1}, {" on last", -1, -1}, {" on prompt", 1000, -1}, {" on generated", 0, 0}, {" on generated 2..", 2, 2},
        {" on last, generated", -1, -1}, {" on generated 40..", 999, 999}, {" on tokens 1..1", 1001, -1}};
    const rh_model *m = *state;
    size_t n_vocab = (size_t)m->config.n_vocab;
    float *before = rh_calloc(n_vocab, sizeof *before), *after = rh_calloc(n_vocab, sizeof *after);
    assert_true(before && after);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expression[160];
        stage s;
        rh_prompt p = {0};
        rh_steer_options o = stage_options(8);
        snprintf(expression, sizeof expression, "steer 3*(%s)%s", DIRECTION, cases[i].mask);
        stage_open(&s, *state, NULL, expression, "1", false);
        rh_steer_report *r = stage_steer(&s, PROMPT, &o);
        const rh_steer_run *run = &r->runs[1];
        int32_t first = cases[i].first >= 1000 ? cases[i].first - 1000 : r->n_prompt_tokens + cases[i].first;
        int32_t next = r->n_prompt_tokens + cases[i].next;
        if (cases[i].first == 999) first = next = -1;
        if (run->first.position != first || run->next.position != next)
            fail_msg("%s: positions %d and %d, expected %d and %d", expression, (int)run->first.position,
                     (int)run->next.position, (int)first, (int)next);
        rh_actions a = bind(&s, PROMPT, 1, &p);
        sequence q = join(m, PROMPT, run);
        const rh_shift *shifts[] = {&run->first, &run->next};
        for (int k = 0; k < 2 && first >= 0; k++) {
            int32_t n = shifts[k]->position + 1;
            stage_logits(before, m, q.ids, n, q.n_prompt, NULL, 0);
            stage_logits(after, m, q.ids, n, q.n_prompt, a.items, a.n);
            close_to(expression, shifts[k]->kl, rh_kl(after, before, (int32_t)n_vocab), 1e-5);
            assert_true(shifts[k]->kl > 0 && shifts[k]->n_up == 5 && shifts[k]->n_down == 5);
            for (int32_t j = 0; j < 5; j++) {
                const rh_token_change *c = &shifts[k]->up[j];
                close_to("after", c->after, after[c->id], 1e-3);
                close_to("before", c->before, before[c->id], 1e-3);
                assert_true(c->after > c->before && *c->piece);
                if (j) assert_true(c[-1].after - c[-1].before >= c->after - c->before);
            }
        }
        if (first < 0) {
            assert_string_equal(run->text, r->runs[0].text);
            assert_true(run->first.kl == 0);
            assert_non_null(strstr(r->notes, "nothing changes"));
        }
        free(q.ids);
        rh_actions_free(&a);
        rh_prompt_free(&p);
        rh_steer_report_free(r);
        stage_close(&s);
    }
    free(before);
    free(after);
}

/* ---- surprisal -------------------------------------------------------------------------------------- */

/* mean over the text of ln sum exp(l) - l[id], each position's logits by itself */
static double direct_surprisal(const rh_model *m, const sequence *q)
{
    size_t n_vocab = (size_t)m->config.n_vocab;
    float *logits = rh_calloc(n_vocab, sizeof *logits);
    double sum = 0;
    assert_non_null(logits);
    for (int32_t i = q->n_prompt; i < q->n; i++) {
        stage_logits(logits, m, q->ids, i, q->n_prompt, NULL, 0);
        double peak = -INFINITY, total = 0;
        for (size_t k = 0; k < n_vocab; k++) peak = fmax(peak, (double)logits[k]);
        for (size_t k = 0; k < n_vocab; k++) total += exp((double)logits[k] - peak);
        sum += peak + log(total) - (double)logits[q->ids[i]];
    }
    free(logits);
    return sum / (q->n - q->n_prompt);
}

static void check_surprisal(const rh_model *m, const char *prompt, const rh_steer_report *r, double tolerance)
{
    for (int32_t k = 0; k < r->n_runs; k++) {
        sequence q = join(m, prompt, &r->runs[k]);
        if (q.n > q.n_prompt)
            close_to("surprisal", r->runs[k].surprisal, direct_surprisal(m, &q), tolerance);
        else
            assert_true(isnan(r->runs[k].surprisal));
        free(q.ids);
    }
}

/* More runs than one pass takes, of different lengths. */
static void surprisal(void **state)
{
    stage s;
    static const double strengths[] = {0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8};
    rh_steer_options o = stage_options(14);
    o.strengths = strengths;
    o.n_strengths = 10;
    stage_open(&s, *state, NULL, DIRECTION, "0", false);
    rh_steer_report *r = stage_steer(&s, PROMPT, &o);
    assert_int_equal(r->n_runs, 11);
    check_surprisal(s.m, PROMPT, r, 1e-4);
    /* Stop early: the token that the longest text has third. */
    int32_t stop = r->runs[0].ids[2];
    rh_steer_report_free(r);
    o.generate.stop_ids = &stop;
    o.generate.n_stop_ids = 1;
    r = stage_steer(&s, PROMPT, &o);
    assert_true(r->runs[0].n_ids <= 2);
    assert_string_equal(r->runs[0].stop, "token");
    check_surprisal(s.m, PROMPT, r, 1e-4);
    rh_steer_report_free(r);
    stage_close(&s);
}

/* ---- projections and watches ------------------------------------------------------------------------- */

/* h·û at (layer, resid_post) of every token, fed one at a time as decoding does. out [q->n] */
static void direct_projection(double *out, const rh_model *m, const sequence *q, int32_t layer, const float *v,
                              const rh_actions *a)
{
    int32_t d = m->config.d_model;
    rh_session *s = NULL;
    int32_t seq;
    float *h = rh_calloc((size_t)d, sizeof *h), *logits = rh_calloc((size_t)m->config.n_vocab, sizeof *logits);
    assert_true(h && logits);
    assert_int_equal(rh_session_new(&s, m, 1, q->n, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &seq, q->n_prompt, a ? a->items : NULL, a ? a->n : 0, NULL), RH_OK);
    for (int32_t i = 0; i < q->n; i++) {
        rh_capture c = {.layer = layer, .hook = RH_RESID_POST, .n = 1, .out = h};
        rh_step_input in = {.seq = seq, .ids = q->ids + i, .n = 1, .want = RH_LOGITS_LAST, .logits = logits,
                            .captures = &c, .n_captures = 1};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        out[i] = rh_dot(h, v, d) / rh_norm(v, d);
    }
    rh_session_free(s);
    free(h);
    free(logits);
}

static void watches(void **state)
{
    stage s, w;
    rh_prompt p = {0};
    rh_steer_options o = stage_options(6);
    stage_open(&s, *state, NULL, "steer 2*(act(\"rain\") - act(\"snow\")) on last, generated", "1", false);
    stage_open(&w, *state, NULL, "act(\"city\") @ 2", NULL, true);
    const rh_evaluation *values[] = {w.e};
    const char *labels[] = {"city"};
    o.watches = values;
    o.watch_labels = labels;
    o.n_watches = 1;
    rh_steer_report *r = stage_steer(&s, PROMPT, &o);
    rh_actions a = bind(&s, PROMPT, 1, &p);
    double lo = INFINITY, hi = -INFINITY;
    for (int32_t k = 0; k < 2; k++) {
        const rh_watch_track *t = &r->runs[k].watches[0];
        sequence q = join(s.m, PROMPT, &r->runs[k]);
        double *want = rh_calloc((size_t)q.n, sizeof *want);
        assert_non_null(want);
        direct_projection(want, s.m, &q, 2, w.e->value->vector->data, k ? &a : NULL);
        assert_int_equal(r->runs[k].n_watches, 1);
        assert_int_equal(t->n, q.n);
        assert_int_equal(t->layer, 2);
        for (int32_t i = 0; i < q.n; i++) {
            close_to("watch", t->tokens[i].value, want[i], 1e-4);
            assert_int_equal(t->tokens[i].id, q.ids[i]);
            assert_int_equal(t->tokens[i].generated, i >= q.n_prompt);
            if (i && want[i] < lo) lo = want[i];
            if (i && want[i] > hi) hi = want[i];
        }
        free(want);
        free(q.ids);
    }
    for (int32_t k = 0; k < 2; k++) {
        close_to("lo", r->runs[k].watches[0].lo, lo, 1e-4);
        close_to("hi", r->runs[k].watches[0].hi, hi, 1e-4);
    }
    rh_actions_free(&a);
    rh_prompt_free(&p);
    rh_steer_report_free(r);
    stage_close(&w);
    stage_close(&s);
}

static void projections(void **state)
{
    static const struct { const char *expression; bool generated; int n_tokens; double after; } cases[] = {
        {"steer 2*(act(\"rain\") - act(\"snow\"))", false, -1, NAN},
        {"steer 2*(act(\"rain\") - act(\"snow\")) on last", false, 1, NAN},
        {"steer 2*(act(\"rain\") - act(\"snow\")) on generated 1..", true, 7, NAN},
        {"steer 2*(act(\"rain\") - act(\"snow\")) on tokens 0..0", false, 1, NAN},
        {"ablate act(\"rain\")", false, -1, 0},
        {"clamp act(\"rain\") at 2.5", false, -1, 2.5},
        {"ablate span(act(\"rain\"), act(\"snow\"))", false, -1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage s;
        rh_steer_options o = stage_options(8);
        if (!stage_try_open(&s, *state, cases[i].expression, "1")) continue;
        rh_steer_report *r = stage_steer(&s, PROMPT, &o);
        const rh_steer_run *run = &r->runs[1];
        assert_true(run->n_projections == 2); /* layer 1, and the last, 2 */
        const rh_projection *own = &run->projections[0], *later = &run->projections[1];
        assert_true(own->acts && own->layer == 1 && !later->acts && later->layer == 2);
        assert_int_equal(own->generated, cases[i].generated);
        assert_int_equal(own->n_tokens, cases[i].n_tokens < 0 ? r->n_prompt_tokens - 1 : cases[i].n_tokens);
        if (isnan(cases[i].after))
            close_to(cases[i].expression, own->after_mean - own->before_mean, r->norm, 1e-3);
        else
            close_to(cases[i].expression, own->after_mean, cases[i].after, 1e-4);
        if (!cases[i].generated) {
            close_to("unsteered later", later->before_mean, r->runs[0].projections[1].after_mean, 1e-5);
            close_to("unsteered last", later->before_last, r->runs[0].projections[1].after_last, 1e-5);
        } else {
            close_to("the prompt is left alone", later->before_last, later->after_last, 1e-4);
        }
        rh_steer_report_free(r);
        stage_close(&s);
    }
}

/* A family acts at each of its layers with its own û; a guard is counted. */
static void families_and_guards(void **state)
{
    stage s;
    rh_steer_options o = stage_options(4);
    stage_open(&s, *state, NULL, "ablate act(\"rain\") @ 0..2", NULL, false);
    rh_steer_report *r = stage_steer(&s, PROMPT, &o);
    assert_string_equal(r->site, "0..2.resid_post");
    assert_int_equal(r->runs[1].n_projections, 3);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(r->runs[1].projections[i].layer, i);
        close_to("ablated", r->runs[1].projections[i].after_mean, 0, 1e-4);
    }
    assert_int_equal(r->runs[1].n_guards, 0);
    rh_steer_report_free(r);
    stage_close(&s);

    if (!stage_try_open(&s, *state, "ablate act(\"rain\") @ 0..2 when dot(h, act(\"rain\")) > -1e9", NULL)) return;
    r = stage_steer(&s, PROMPT, &o);
    assert_int_equal(r->runs[1].n_guards, 1);
    assert_true(r->runs[1].guards[0].tested > 0);
    assert_int_equal(r->runs[1].guards[0].tested, r->runs[1].guards[0].fired);
    rh_steer_report_free(r);
    stage_close(&s);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static bool stop_at_once(void *data, const rh_generation *g, int32_t n)
{
    (void)data;
    (void)g;
    (void)n;
    return false;
}

static void refusals(void **state)
{
    stage s, w;
    rh_steer_report *r = NULL;
    rh_error err = {0};
    rh_steer_options o = stage_options(4);
    stage_open(&s, *state, NULL, "steer act(\"rain\") on \"absent\"", "1", false);
    assert_int_equal(rh_probe_steer(&r, s.m, s.e, "x", PROMPT, &o, &s.diags, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "absent"));
    stage_close(&s);

    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    assert_int_equal(rh_probe_steer(&r, s.m, s.e, "x", "", &o, &s.diags, &err), RH_EVALUE);
    double infinite = INFINITY;
    rh_steer_options bad = o;
    bad.strengths = &infinite;
    bad.n_strengths = 1;
    assert_int_equal(rh_probe_steer(&r, s.m, s.e, "x", PROMPT, &bad, &s.diags, &err), RH_EVALUE);
    bad = o;
    bad.generate.on_step = stop_at_once;
    assert_int_equal(rh_probe_steer(&r, s.m, s.e, "x", PROMPT, &bad, &s.diags, &err), RH_ECANCELLED);
    bad = o;
    bad.generate.max_tokens = 100000;
    rh_status status = rh_probe_steer(&r, s.m, s.e, "x", PROMPT, &bad, &s.diags, &err);
    if (!status) rh_steer_report_free(r); /* generation may stop at the context instead */
    assert_true(status == RH_OK || status == RH_ELIMIT);

    static const struct { const char *expression; rh_status want; } watched[] = {
        {"norm(act(\"rain\") @ 1)", RH_EKIND}, {"0*act(\"rain\") @ 1", RH_EVALUE}};
    for (size_t i = 0; i < 2; i++) {
        stage_open(&w, *state, NULL, watched[i].expression, NULL, true);
        const rh_evaluation *values[] = {w.e};
        const char *labels[] = {watched[i].expression};
        bad = o;
        bad.watches = values;
        bad.watch_labels = labels;
        bad.n_watches = 1;
        status = rh_probe_steer(&r, s.m, s.e, "x", PROMPT, &bad, &s.diags, &err);
        if (status != watched[i].want) fail_msg("%s: %s: %s", labels[0], rh_status_name(status), err.message);
        stage_close(&w);
    }
    stage_close(&s);

    /* A constant watch looks where the run acts; without a run it has no place. */
    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    stage_open(&w, *state, NULL, "token(\"a\", at=mean)", NULL, true);
    const rh_evaluation *values[] = {w.e}, nothing = {0};
    const char *labels[] = {"a"};
    o.watches = values;
    o.watch_labels = labels;
    o.n_watches = 1;
    r = stage_steer(&s, PROMPT, &o);
    assert_int_equal(r->runs[0].watches[0].layer, 1);
    rh_steer_report_free(r);
    assert_int_equal(rh_probe_steer(&r, s.m, &nothing, NULL, PROMPT, &o, NULL, &err), RH_ESITE);
    stage_close(&w);
    stage_close(&s);
}

/* ---- a real model ------------------------------------------------------------------------------------ */

static void smollm2(void **state)
{
    (void)state;
    rh_model *m = stage_real_model("smollm2");
    static const double strengths[] = {0, 2};
    static const char prompt[] = "My favourite city is";
    stage s;
    rh_steer_options o = stage_options(12);
    o.strengths = strengths;
    o.n_strengths = 2;
    stage_open(&s, m, NULL, "act(\"San Francisco\") - act(\"Tokyo\")", "16", false);
    rh_steer_report *r = stage_steer(&s, prompt, &o);
    assert_int_equal(r->n_runs, 2);
    check_unsteered(&s, prompt, r, &o);
    /* Fast kernels may sum a batch's rows in another order than one alone. */
    check_surprisal(m, prompt, r, 0.05);
    assert_true(r->runs[1].next.kl > 0.01 && r->runs[1].surprisal > 0);
    close_to("steer", r->runs[1].projections[0].after_mean - r->runs[1].projections[0].before_mean, 2 * r->norm,
             0.01 * r->norm);
    assert_true(r->median_h > 50 && r->median_h < 1000); /* position 0 alone has 27,000 */
    rh_steer_report_free(r);
    stage_close(&s);
    rh_model_free(m);
}

static int open_words(void **state)
{
    *state = stage_small_model("words.gguf");
    return 0;
}

static int close_words(void **state)
{
    rh_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_strengths), cmocka_unit_test(kl_by_mask), cmocka_unit_test(surprisal),
        cmocka_unit_test(watches), cmocka_unit_test(projections), cmocka_unit_test(families_and_guards),
        cmocka_unit_test(refusals), cmocka_unit_test(smollm2)};
    return cmocka_run_group_tests(tests, open_words, close_words);
}

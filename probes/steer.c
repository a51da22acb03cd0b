/* steer.c - the steering experiment: binds the actions, runs all strengths in one batch, asks the
 * other files of this room for the figures, and fills the report. */
#include "probes/steer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "probes/axis.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"
#include "probes/geometry.h"

/* ---- what is run ------------------------------------------------------------------------------ */

/* The strengths of the steered runs: those asked for, without a 0 that would only repeat the
 * unsteered run; and one alone where nothing is multiplied by it. */
static rh_status choose_strengths(rh_experiment *x, rh_error *err)
{
    static const double one = 1;
    const double *asked = x->o->n_strengths > 0 ? x->o->strengths : &one;
    int32_t n = x->o->n_strengths > 0 ? x->o->n_strengths : 1;
    int32_t n_steer = 0;
    for (int32_t i = 0; i < x->e->n_actions; i++) n_steer += x->e->actions[i].verb == RH_VERB_STEER;
    bool only_steer = n_steer == x->e->n_actions;
    if (!n_steer) {
        asked = &one;
        n = x->e->n_actions > 0;
    }
    x->strengths = rh_calloc((size_t)n + 1, sizeof *x->strengths);
    if (!x->strengths) return rh_fail_nomem(err);
    x->n_runs = 1;
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(asked[i]) || fabs(asked[i]) > FLT_MAX)
            return rh_fail(err, RH_EVALUE, "a strength must be a finite number");
        if (asked[i] != 0 || !only_steer) x->strengths[x->n_runs++] = asked[i];
    }
    return RH_OK;
}

static rh_status prepare(rh_experiment *x, const char *prompt, rh_diags *diags, rh_error *err)
{
    RH_TRY(rh_prompt_make(&x->prompt, x->m, prompt, strlen(prompt), &x->o->prompt, err));
    if (x->prompt.n < 1) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "the prompt is empty, and this model puts no token in front of it"),
                         err, "give at least one character");
    }
    RH_TRY(choose_strengths(x, err));
    size_t n = (size_t)x->n_runs;
    x->actions = rh_calloc(n, sizeof *x->actions);
    x->generations = rh_calloc(n, sizeof *x->generations);
    x->tokens = rh_calloc(n, sizeof *x->tokens);
    x->n_tokens = rh_calloc(n, sizeof *x->n_tokens);
    x->next_logits = rh_calloc(n, (size_t)x->m->config.n_vocab * sizeof *x->next_logits);
    if (!x->actions || !x->generations || !x->tokens || !x->n_tokens || !x->next_logits) return rh_fail_nomem(err);
    for (int32_t r = 1; r < x->n_runs; r++)
        RH_TRY(rh_actions_bind(&x->actions[r], x->e, &x->prompt, x->strengths[r], diags, err));
    return RH_OK;
}

static void experiment_free(rh_experiment *x)
{
    for (int32_t r = 0; r < x->n_runs; r++) {
        if (x->actions) rh_actions_free(&x->actions[r]);
        if (x->generations) rh_generation_free(&x->generations[r]);
        if (x->tokens) free(x->tokens[r]);
    }
    free(x->strengths);
    free(x->actions);
    free(x->generations);
    free(x->tokens);
    free(x->n_tokens);
    free(x->next_logits);
    rh_prompt_free(&x->prompt);
}

/* Bound actions follow the evaluation's order, and each its layers'; a span of rank 0 has none. */
int32_t rh_bound_items(int32_t *first, const rh_experiment *x, int32_t run, int32_t action)
{
    const rh_actions *bound = &x->actions[run];
    int32_t k = 0;
    *first = 0;
    for (int32_t i = 0; i <= action; i++) {
        const rh_value *v = &x->e->actions[i].value;
        int32_t n = v->kind == RH_VALUE_VECTOR ? v->vector->n_layers : v->n_layers;
        const int32_t *layers = v->kind == RH_VALUE_VECTOR ? v->vector->layers : v->layers;
        *first = k;
        for (int32_t l = 0; l < n; l++)
            if (k < bound->n && layers && bound->items[k].layer == layers[l]) k++;
    }
    return k - *first;
}

/* ---- generation ------------------------------------------------------------------------------- */

/* Where ‖v‖ and the median ‖h‖ are measured: the first steer action, at its first layer; without
 * one, the first action's site. v NULL: no steer. False: nothing acts. */
typedef struct reference { int32_t layer; rh_hook hook; int32_t d; const float *v; } reference;

static bool find_reference(reference *out, const rh_experiment *x)
{
    if (x->n_runs < 2 || !x->actions[1].n) return false;
    const rh_action *first = &x->actions[1].items[0];
    for (int32_t i = 0; i < x->actions[1].n; i++)
        if (x->actions[1].items[i].kind == RH_STEER) {
            first = &x->actions[1].items[i];
            break;
        }
    *out = (reference){.layer = first->layer, .hook = first->hook, .d = rh_model_width(x->m, first->hook),
                       .v = first->kind == RH_STEER ? first->v : NULL};
    return true;
}

/* Median of ‖h‖ over rows of states [n, d], the first left out unless it is alone. */
static rh_status median_norm(double *out, const float *states, int32_t n, int32_t d, rh_error *err)
{
    double *norms = rh_calloc((size_t)n, sizeof *norms);
    if (!norms) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) norms[i] = rh_norm(states + (size_t)i * (size_t)d, d);
    int32_t skip = n > 1;
    *out = rh_median(norms + skip, n - skip);
    free(norms);
    return RH_OK;
}

/* prompt + generated tokens of each run. */
static rh_status join_tokens(rh_experiment *x, rh_error *err)
{
    for (int32_t r = 0; r < x->n_runs; r++) {
        const rh_generation *g = &x->generations[r];
        x->n_tokens[r] = x->prompt.n + g->n_ids;
        x->tokens[r] = rh_calloc((size_t)x->n_tokens[r], sizeof **x->tokens);
        if (!x->tokens[r]) return rh_fail_nomem(err);
        memcpy(x->tokens[r], x->prompt.ids, (size_t)x->prompt.n * sizeof **x->tokens);
        if (g->n_ids) memcpy(x->tokens[r] + x->prompt.n, g->ids, (size_t)g->n_ids * sizeof *g->ids);
    }
    return RH_OK;
}

/* The batch. Run 0 carries one more capture than its projections need: every prompt token at the
 * reference site. */
static rh_status generate(rh_steer_report *report, rh_experiment *x, const rh_projector *p, rh_error *err)
{
    rh_status status = RH_OK;
    reference ref = {0};
    bool have_ref = find_reference(&ref, x);
    float *states = have_ref ? rh_calloc((size_t)x->prompt.n, (size_t)ref.d * sizeof *states) : NULL;
    int32_t n_captures;
    const rh_capture *captures = rh_projector_captures(p, 0, &n_captures);
    rh_capture *with_ref = rh_calloc((size_t)n_captures + 1, sizeof *with_ref);
    if ((have_ref && !states) || !with_ref) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (int32_t r = 0; r < x->n_runs; r++) {
        rh_generation *g = &x->generations[r];
        *g = (rh_generation){.prompt = x->prompt.ids, .n_prompt = x->prompt.n, .actions = x->actions[r].items,
                             .n_actions = x->actions[r].n, .want = RH_LOGITS_LAST,
                             .logits = x->next_logits + (size_t)r * (size_t)x->m->config.n_vocab};
        g->captures = rh_projector_captures(p, r, &g->n_captures);
    }
    if (have_ref) {
        if (n_captures) memcpy(with_ref, captures, (size_t)n_captures * sizeof *captures);
        with_ref[n_captures] = (rh_capture){.layer = ref.layer, .hook = ref.hook, .n = x->prompt.n, .out = states};
        x->generations[0].captures = with_ref;
        x->generations[0].n_captures = n_captures + 1;
    }
    status = rh_generate(x->m, x->generations, x->n_runs, &x->o->generate, err);
    if (!status) status = join_tokens(x, err);
    report->norm = report->median_h = NAN;
    report->norm_layer = -1;
    if (!status && have_ref) {
        report->norm_layer = ref.layer;
        report->norm_hook = ref.hook;
        if (ref.v) report->norm = rh_norm(ref.v, ref.d);
        status = median_norm(&report->median_h, states, x->prompt.n, ref.d, err);
    }
done:
    free(states);
    free(with_ref);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------- */

/* A copy without NULs, which a byte token can put into a text. */
static char *copy_text(const char *s, size_t n)
{
    char *copy = rh_calloc(n + 1, 1);
    for (size_t i = 0; copy && i < n; i++) copy[i] = s[i] ? s[i] : ' ';
    return copy;
}

/* Read before the later passes, which test the guards again. */
static rh_status fill_guards(rh_steer_run *run, const rh_experiment *x, int32_t r, rh_error *err)
{
    run->guards = rh_calloc((size_t)x->e->n_actions, sizeof *run->guards);
    if (!run->guards) return rh_fail_nomem(err);
    for (int32_t i = 0; r > 0 && i < x->e->n_actions; i++) {
        int32_t first, n = rh_bound_items(&first, x, r, i);
        if (!x->e->actions[i].guard) continue;
        rh_guard_count *c = &run->guards[run->n_guards++];
        c->action = i;
        for (int32_t k = first; k < first + n; k++) {
            const rh_guard *g = x->actions[r].items[k].guard;
            if (g && g->tested) c->tested += *g->tested;
            if (g && g->fired) c->fired += *g->fired;
        }
    }
    return RH_OK;
}

static rh_status fill_run(rh_steer_run *run, const rh_experiment *x, int32_t r, const rh_steer_report *report,
                          rh_error *err)
{
    static const char *const stops[] = {
        [RH_STOP_LENGTH] = "length", [RH_STOP_TOKEN] = "token", [RH_STOP_STRING] = "string"};
    const rh_generation *g = &x->generations[r];
    run->unsteered = r == 0;
    run->strength = x->strengths[r];
    run->stop = stops[g->stop];
    run->n_ids = g->n_ids;
    run->relative_norm = r ? fabs(run->strength) * report->norm / report->median_h : 0;
    run->text = copy_text(g->text.data, g->text.len);
    run->ids = rh_calloc((size_t)g->n_ids, sizeof *run->ids);
    if (!run->text || !run->ids) return rh_fail_nomem(err);
    if (g->n_ids) memcpy(run->ids, g->ids, (size_t)g->n_ids * sizeof *run->ids);
    RH_TRY(fill_guards(run, x, r, err));
    return rh_repeated_3grams(&run->repeated, run->ids, run->n_ids, err);
}

/* Is `one` among the sites "a; b; c"? */
static bool listed(const char *sites, const char *one)
{
    size_t n = strlen(one);
    for (const char *at = sites; at && *at;) {
        size_t len = strcspn(at, ";");
        if (len == n && !memcmp(at, one, n)) return true;
        at += len;
        while (*at == ';' || *at == ' ') at++;
    }
    return false;
}

/* "16.resid_post", or several joined by "; ". */
static rh_status describe(rh_steer_report *out, const rh_experiment *x, const char *expression,
                          const char *prompt, rh_error *err)
{
    rh_str site = {0};
    out->model = rh_strdup(x->m->name);
    out->expression = rh_strdup(expression ? expression : "");
    out->prompt = rh_strdup(prompt);
    out->actions = rh_calloc((size_t)x->e->n_actions, sizeof *out->actions);
    out->n_prompt_tokens = x->prompt.n;
    out->n_vocab = x->m->config.n_vocab;
    rh_str_puts(&site, "");
    for (int32_t i = 0; out->actions && i < x->e->n_actions; i++) {
        const rh_value *v = &x->e->actions[i].value;
        rh_str one = {0};
        out->actions[i] = rh_strdup(x->e->actions[i].text ? x->e->actions[i].text : "");
        out->n_actions = i + 1;
        if (v->kind == RH_VALUE_VECTOR)
            rh_layers_text(&one, v->vector->layers, v->vector->n_layers, v->vector->hook);
        else if (v->layers)
            rh_layers_text(&one, v->layers, v->n_layers, v->hook);
        if (one.data && !listed(site.data, one.data))
            rh_str_printf(&site, "%s%s", site.len ? "; " : "", one.data);
        site.failed = site.failed || one.failed || !out->actions[i];
        rh_str_free(&one);
    }
    out->site = site.data ? site.data : rh_strdup("");
    if (site.failed || !out->model || !out->expression || !out->prompt || !out->actions || !out->site)
        return rh_fail_nomem(err);
    return RH_OK;
}

static rh_status describe_geometry(rh_steer_report *out, const rh_evaluation *e, rh_error *err)
{
    out->geometry = rh_calloc((size_t)e->n_actions, sizeof *out->geometry);
    if (!out->geometry) return rh_fail_nomem(err);
    for (int32_t i = 0; i < e->n_actions; i++) {
        const rh_eval_action *a = &e->actions[i];
        if (!a->n_parts || a->value.kind != RH_VALUE_VECTOR) continue;
        rh_geometry *g = &out->geometry[out->n_geometry++];
        RH_TRY(rh_geometry_make(g, a->text ? a->text : "", a->parts, a->n_parts, a->value.vector,
                                a->value.vector->layers[0], err));
    }
    return RH_OK;
}

/* What a reader would otherwise wonder about. */
static rh_status add_notes(rh_steer_report *out, const rh_experiment *x, rh_error *err)
{
    rh_str notes = {0};
    rh_str_puts(&notes, "");
    if (x->n_runs > 1 && out->norm == 0) rh_str_puts(&notes, "the steering vector is zero: nothing changes\n");
    if (x->n_runs > 1 && !isfinite(out->norm) && x->o->n_strengths > 1)
        rh_str_puts(&notes, "no action is multiplied by a strength: one run shows all of them\n");
    for (int32_t r = 1; r < x->n_runs; r++)
        if (out->runs[r].first.position < 0) {
            rh_str_printf(&notes, "at strength %g no token lies where the actions act: nothing changes\n", x->strengths[r]);
        }
    if (notes.len && notes.data[notes.len - 1] == '\n') notes.data[--notes.len] = 0;
    out->notes = notes.data;
    return notes.failed || !notes.data ? rh_fail_nomem(err) : RH_OK;
}

static rh_status run_experiment(rh_steer_report *out, rh_experiment *x, rh_error *err)
{
    rh_projector *p = NULL;
    rh_status status = rh_projector_new(&p, x, err);
    if (!status) status = generate(out, x, p, err);
    if (status) goto done;
    out->runs = rh_calloc((size_t)x->n_runs, sizeof *out->runs);
    if (!out->runs) {
        status = rh_fail_nomem(err);
        goto done;
    }
    out->n_runs = x->n_runs;
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        status = fill_run(&out->runs[r], x, r, out, err);
        out->tokens_generated += x->generations[r].n_ids;
    }
    if (!status) status = rh_projector_finish(out->runs, p, err);
    if (!status) status = rh_score_shifts(out->runs, x, err);
    if (!status) status = rh_score_surprisal(out->runs, x, NULL, err);
    if (!status) status = rh_watch_runs(out->runs, x, err);
    if (!status) status = rh_switched_features(out->runs, x, err);
    for (int32_t r = 0; !status && r < x->n_runs; r++) rh_judge_collapse(&out->runs[r], out->runs[0].surprisal, out->n_vocab);
done:
    rh_projector_free(p);
    return status;
}

rh_status rh_probe_steer(rh_steer_report **out, const rh_model *m, const rh_evaluation *e,
                         const char *expression, const char *prompt, const rh_steer_options *o,
                         rh_diags *diags, rh_error *err)
{
    double start = rh_seconds();
    rh_steer_options options = *o;
    rh_experiment x = {.m = m, .e = e, .o = &options};
    if (options.top_tokens < 0) options.top_tokens = 8;
    rh_steer_report *report = rh_calloc(1, sizeof *report);
    if (!report) return rh_fail_nomem(err);
    rh_status status = prepare(&x, prompt, diags, err);
    if (!status) status = describe(report, &x, expression, prompt, err);
    if (!status) status = describe_geometry(report, e, err);
    if (!status) status = run_experiment(report, &x, err);
    if (!status) status = add_notes(report, &x, err);
    report->seconds_run = rh_seconds() - start;
    experiment_free(&x);
    if (status)
        rh_steer_report_free(report);
    else
        *out = report;
    return status;
}

/* bench_sweep.c - a sweep of strengths as `rhumb steer --strength a,b,c` runs it: one prompt, read once,
 * and every strength a sequence of one batch, to text; beside one sequence of the same alone. */
#include "cli/bench.h"
#include "engine/generate.h"

enum { PROMPT = 16, SETTINGS = 16, EACH = 64 };

typedef struct sweep {
    int32_t ids[PROMPT];
    rh_action actions[SETTINGS];
    rh_generation runs[SETTINGS];
} sweep;

static bool go_on(void *data, const rh_generation *g, int32_t n)
{
    (void)data, (void)g, (void)n;
    return !cli_interrupted();
}

/* The first n settings, strengths 1/n .. 1 of the setup's. Seconds from the prompt to the last text. */
static rh_status go(double *seconds, sweep *w, const bench_setup *s, int32_t n, int32_t each, rh_error *err)
{
    rh_generate_options o = {.sampling = rh_sampling_default(), .max_tokens = each, .on_step = go_on};
    o.sampling.repetition = 1.1f; /* as steer's default: it reads what was written */
    for (int32_t i = 0; i < n; i++) {
        w->actions[i] = s->action;
        w->actions[i].strength *= (float)(i + 1) / (float)n;
        w->runs[i] = (rh_generation){.prompt = w->ids, .n_prompt = PROMPT, .actions = &w->actions[i], .n_actions = 1};
    }
    const double begun = rh_seconds();
    const rh_status status = rh_generate(s->m, w->runs, n, &o, err);
    *seconds = rh_seconds() - begun;
    for (int32_t i = 0; i < n; i++) rh_generation_free(&w->runs[i]);
    return status;
}

rh_status bench_sweep(bench_result *out, const bench_setup *s, rh_error *err)
{
    const int32_t room = s->m->config.n_ctx - PROMPT, each = room < EACH ? room : EACH;
    if (each < 1) return rh_fail(err, RH_ELIMIT, "a context of %d tokens is too short to measure", s->m->config.n_ctx);
    sweep w;
    double first = rh_seconds(), alone = 0, all = 0;
    rh_status status = RH_OK;
    bench_ids(w.ids, PROMPT, s->m, 1);
    for (int32_t r = 0; r < s->repeats && !status && !bench_enough(r, first); r++) { /* taking turns */
        status = go(&alone, &w, s, 1, each, err);
        if (!status) status = go(&all, &w, s, SETTINGS, each, err);
        if (!status && (r == 0 || all < out->seconds)) out->seconds = all;
        if (!status && (r == 0 || each / alone > out->alone_tok_s)) out->alone_tok_s = each / alone;
    }
    out->tokens = (double)SETTINGS * each;
    out->bytes = (double)s->m->weight_bytes * each;
    out->flops = bench_block_flops(&s->m->config, out->tokens) + bench_logit_flops(&s->m->config) * out->tokens;
    return status;
}

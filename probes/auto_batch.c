/* auto_batch.c - the passes of a sweep. Each prompt is one rh_experiment whose runs are the arms, so that
 * score.c scores them as it scores a steering experiment; several prompts generate in one batch. */
#include "probes/auto_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/prompt.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum { BATCH = 64, GROUP = 16 }; /* sequences that generate together; sequences a reading takes */

bool rh_holds_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; n && *text; text++) {
        size_t i = 0;
        for (; i < n && text[i]; i++) {
            unsigned char a = (unsigned char)text[i], b = (unsigned char)word[i];
            if (a >= 'A' && a <= 'Z') a = (unsigned char)(a + 32);
            if (b >= 'A' && b <= 'Z') b = (unsigned char)(b + 32);
            if (a != b) break;
        }
        if (i == n) return true;
    }
    return false;
}

void rh_auto_cells_free(rh_auto_cell *cells, size_t n)
{
    for (size_t i = 0; cells && i < n; i++) {
        free(cells[i].run.text);
        free(cells[i].run.ids);
    }
    free(cells);
}

/* ---- one prompt's experiment ------------------------------------------------------------------ */

typedef struct work {
    rh_experiment x;
    rh_steer_options options;
    const char *text;
    rh_actions bound;          /* the evaluation's, at strength 1 */
    rh_actions *own;           /* [n_runs] shallow: items copied, memory borrowed from `bound` */
    rh_prompt *systems;        /* [n_runs] prompts of arms with a system text; else zero */
    char **system_texts;       /* [n_runs] of models asked without a chat template */
} work;

static void work_free(work *w)
{
    rh_experiment *x = &w->x;
    for (int32_t r = 0; r < x->n_runs; r++) {
        if (w->own) free(w->own[r].items);
        if (w->systems) rh_prompt_free(&w->systems[r]);
        if (w->system_texts) free(w->system_texts[r]);
        if (x->generations) rh_generation_free(&x->generations[r]);
        if (x->tokens) free(x->tokens[r]);
    }
    rh_actions_free(&w->bound);
    free(w->own);
    free(w->systems);
    free(w->system_texts);
    free(x->generations);
    free(x->tokens);
    free(x->n_tokens);
    free(x->next_logits);
    rh_prompt_free(&x->prompt);
}

/* An arm's actions: copies of the bound ones with its strength, and its vectors. */
static rh_status arm_actions(rh_actions *out, const work *w, const rh_auto_arm *arm, int32_t d, rh_error *err)
{
    if (!arm->n) return RH_OK;
    out->items = rh_calloc((size_t)arm->n, sizeof *out->items);
    if (!out->items) return rh_fail_nomem(err);
    out->n = arm->n;
    for (int32_t i = 0; i < arm->n; i++) {
        rh_action *a = &out->items[i];
        *a = w->bound.items[arm->first + i];
        a->strength = (float)(a->strength * arm->strength);
        if (arm->instead) a->v = arm->instead + (size_t)i * (size_t)d;
    }
    return RH_OK;
}

/* The prompt behind a system text; where there is no chat, behind the text itself. */
static rh_status system_prompt(work *w, int32_t run, const rh_auto_batch *b, const char *system, rh_error *err)
{
    rh_prompt_options o = b->o->prompt;
    const char *text = w->text;
    if (o.chat) {
        o.system = system;
    } else {
        rh_str joined = {0};
        rh_str_printf(&joined, "%s\n\n%s", system, w->text);
        if (joined.failed) {
            rh_str_free(&joined);
            return rh_fail_nomem(err);
        }
        text = w->system_texts[run] = joined.data;
    }
    return rh_prompt_make(&w->systems[run], b->m, text, strlen(text), &o, err);
}

static rh_status work_make(work *w, rh_auto_batch *b, const char *prompt, const rh_auto_arm *arms, int32_t n_arms,
                           rh_error *err)
{
    rh_experiment *x = &w->x;
    size_t n = (size_t)n_arms, n_vocab = (size_t)b->m->config.n_vocab;
    w->text = prompt;
    w->options = (rh_steer_options){.prompt = b->o->prompt, .generate = b->o->generate};
    *x = (rh_experiment){.m = b->m, .e = b->e, .o = &w->options, .n_runs = n_arms};
    w->own = rh_calloc(n, sizeof *w->own);
    w->systems = rh_calloc(n, sizeof *w->systems);
    w->system_texts = rh_calloc(n, sizeof *w->system_texts);
    x->generations = rh_calloc(n, sizeof *x->generations);
    x->tokens = rh_calloc(n, sizeof *x->tokens);
    x->n_tokens = rh_calloc(n, sizeof *x->n_tokens);
    x->next_logits = rh_calloc(n, n_vocab * sizeof *x->next_logits);
    if (!w->own || !w->systems || !w->system_texts || !x->generations || !x->tokens || !x->n_tokens || !x->next_logits)
        return rh_fail_nomem(err);
    x->actions = w->own;
    RH_TRY(rh_prompt_make(&x->prompt, b->m, prompt, strlen(prompt), &b->o->prompt, err));
    if (x->prompt.n < 1) return rh_fail(err, RH_EVALUE, "a prompt of the sweep is empty");
    RH_TRY(rh_actions_bind(&w->bound, b->e, &x->prompt, 1, b->diags, err));
    for (int32_t r = 0; r < n_arms; r++) {
        const rh_prompt *p = &x->prompt;
        RH_TRY(arm_actions(&w->own[r], w, &arms[r], b->e->actions[0].value.vector->d, err));
        if (arms[r].system) {
            RH_TRY(system_prompt(w, r, b, arms[r].system, err));
            p = &w->systems[r];
        }
        x->generations[r] = (rh_generation){
            .prompt = p->ids, .n_prompt = p->n, .actions = w->own[r].items, .n_actions = w->own[r].n,
            .want = RH_LOGITS_LAST, .logits = x->next_logits + (size_t)r * n_vocab};
    }
    return RH_OK;
}

/* The texts behind the plain prompt, also those that a system text made: what the unsteered model
 * thinks of them is asked without it. */
static rh_status join(rh_experiment *x, rh_error *err)
{
    for (int32_t r = 0; r < x->n_runs; r++) {
        const rh_generation *g = &x->generations[r];
        x->n_tokens[r] = x->prompt.n + g->n_ids;
        int32_t *ids = x->tokens[r] = rh_calloc((size_t)x->n_tokens[r], sizeof *ids);
        if (!ids) return rh_fail_nomem(err);
        memcpy(ids, x->prompt.ids, (size_t)x->prompt.n * sizeof *ids);
        if (g->n_ids) memcpy(ids + x->prompt.n, g->ids, (size_t)g->n_ids * sizeof *ids);
    }
    return RH_OK;
}

/* ---- presence --------------------------------------------------------------------------------- */

static void project(rh_auto_cell *c, const float *states, int32_t n, const float *u, int32_t d)
{
    double sum = 0, squares = 0;
    for (int32_t t = 0; t < n; t++) {
        double p = rh_dot(states + (size_t)t * (size_t)d, u, d);
        sum += p;
        squares += p * p;
    }
    c->projection = sum / n;
    c->squares = squares / n;
}

/* The texts of runs [first, first + n), n <= GROUP, read by the unsteered model. */
static rh_status read_group(rh_auto_cell *cells, const rh_auto_batch *b, const rh_experiment *x, int32_t first,
                            int32_t n, rh_error *err)
{
    rh_capture captures[GROUP] = {{0}};
    rh_reading readings[GROUP] = {{0}};
    int32_t owner[GROUP], k = 0, d = b->m->config.d_model, most = b->o->generate.max_tokens;
    float *states = rh_calloc((size_t)n * (size_t)most, (size_t)d * sizeof *states);
    int32_t *positions = rh_calloc((size_t)most, sizeof *positions);
    rh_status status = states && positions ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < most; i++) positions[i] = x->prompt.n + i;
    for (int32_t r = first; !status && r < first + n; r++) {
        int32_t n_ids = x->n_tokens[r] - x->prompt.n;
        cells[r].projection = cells[r].squares = NAN;
        if (!n_ids) continue;
        captures[k] = (rh_capture){.layer = b->read_layer, .hook = RH_RESID_POST, .positions = positions, .n = n_ids,
                                   .out = states + (size_t)k * (size_t)most * (size_t)d};
        readings[k] = (rh_reading){.ids = x->tokens[r], .n = x->n_tokens[r], .n_prompt = x->prompt.n,
                                   .captures = &captures[k], .n_captures = 1};
        owner[k++] = r;
    }
    if (!status && k) status = rh_read(b->m, readings, k, err);
    for (int32_t i = 0; !status && i < k; i++) project(&cells[owner[i]], captures[i].out, captures[i].n, b->u, d);
    free(positions);
    free(states);
    return status;
}

/* ---- the target ------------------------------------------------------------------------------- */

/* ln p(id) */
static double log_p(const float *logits, int32_t n_vocab, int32_t id)
{
    return (double)logits[id] - rh_log_sum_exp(logits, n_vocab);
}

/* ln p(target) behind each prompt of runs [first, first + n): its first token from the logits that generation
 * left behind, the others from a pass with the run's actions. logits [n, target - 1, n_vocab]. */
static rh_status target_group(double *out, float *logits, const rh_experiment *x, const work *w, const rh_tokens *target,
                              int32_t first, int32_t n, rh_error *err)
{
    rh_session *s = NULL;
    rh_step_input in[GROUP];
    int32_t n_vocab = x->m->config.n_vocab, more = (int32_t)target->n - 1, longest = 0;
    int32_t ids[64];
    if (more > 63) more = 63;
    for (int32_t i = 0; i <= more; i++) ids[i] = target->items[i].id;
    for (int32_t i = 0; i < n; i++) {
        out[first + i] = log_p(x->next_logits + (size_t)(first + i) * (size_t)n_vocab, n_vocab, ids[0]);
        if (x->generations[first + i].n_prompt > longest) longest = x->generations[first + i].n_prompt;
    }
    if (more < 1) return RH_OK;
    rh_status status = rh_session_new(&s, x->m, n, longest + more, err);
    for (int32_t i = 0; !status && i < n; i++) {
        const rh_generation *g = &x->generations[first + i];
        in[i] = (rh_step_input){.ids = g->prompt, .n = g->n_prompt, .want = RH_LOGITS_LAST,
                                .logits = logits + (size_t)i * (size_t)more * (size_t)n_vocab};
        status = rh_session_add(s, &in[i].seq, g->n_prompt, w->own[first + i].items, w->own[first + i].n, err);
    }
    if (!status) status = rh_session_step(s, in, n, err);
    for (int32_t i = 0; i < n; i++) {
        in[i].ids = ids;
        in[i].n = more;
        in[i].want = RH_LOGITS_ALL;
    }
    if (!status) status = rh_session_step(s, in, n, err);
    for (int32_t i = 0; !status && i < n; i++)
        for (int32_t t = 0; t < more; t++)
            out[first + i] += log_p(in[i].logits + (size_t)t * (size_t)n_vocab, n_vocab, ids[t + 1]);
    rh_session_free(s);
    return status;
}

static rh_status score_target(rh_auto_cell *cells, const rh_auto_batch *b, const work *w, rh_error *err)
{
    const rh_experiment *x = &w->x;
    rh_tokens target = {0};
    rh_str spelled = {0};
    size_t len = strlen(w->text);
    /* behind a word the target starts with a blank; in a fresh turn it does not */
    bool blank = !b->o->prompt.chat && len && w->text[len - 1] != ' ' && w->text[len - 1] != '\n';
    rh_str_printf(&spelled, "%s%s", blank ? " " : "", b->o->target);
    double *p = rh_calloc((size_t)x->n_runs, sizeof *p);
    float *logits = NULL;
    rh_status status = spelled.failed || !p ? rh_fail_nomem(err) : RH_OK;
    if (!status) status = rh_text_ids(&target, b->m, spelled.data, spelled.len, false, err);
    if (!status && target.n < 1) status = rh_fail(err, RH_EVALUE, "the target is empty");
    if (!status) {
        logits = rh_calloc((size_t)GROUP * (size_t)(target.n < 64 ? target.n : 64), (size_t)x->m->config.n_vocab * sizeof *logits);
        if (!logits) status = rh_fail_nomem(err);
    }
    for (int32_t r = 0; !status && r < x->n_runs; r += GROUP)
        status = target_group(p, logits, x, w, &target, r, x->n_runs - r < GROUP ? x->n_runs - r : GROUP, err);
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        cells[r].gain = p[r] - p[0];
        cells[r].named = rh_holds_word(cells[r].run.text, b->o->target);
    }
    free(logits);
    free(p);
    rh_str_free(&spelled);
    rh_tokens_free(&target);
    return status;
}

/* ---- a prompt's figures ----------------------------------------------------------------------- */

static rh_status take_text(rh_steer_run *run, const rh_generation *g, rh_error *err)
{
    run->text = rh_calloc(g->text.len + 1, 1);
    run->ids = rh_calloc((size_t)g->n_ids, sizeof *run->ids);
    if (!run->text || !run->ids) return rh_fail_nomem(err);
    for (size_t i = 0; i < g->text.len; i++) run->text[i] = g->text.data[i] ? g->text.data[i] : ' ';
    if (g->n_ids) memcpy(run->ids, g->ids, (size_t)g->n_ids * sizeof *run->ids);
    run->n_ids = g->n_ids;
    return rh_repeated_3grams(&run->repeated, run->ids, run->n_ids, err);
}

static rh_status score(rh_auto_cell *cells, rh_auto_batch *b, work *w, rh_error *err)
{
    rh_experiment *x = &w->x;
    size_t n_vocab = (size_t)x->m->config.n_vocab;
    rh_steer_run *runs = rh_calloc((size_t)x->n_runs, sizeof *runs);
    if (!runs) return rh_fail_nomem(err);
    rh_status status = join(x, err);
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        cells[r].gain = NAN;
        cells[r].kl = rh_kl(x->next_logits + (size_t)r * n_vocab, x->next_logits, x->m->config.n_vocab);
        b->tokens += x->generations[r].n_ids;
        status = take_text(&cells[r].run, &x->generations[r], err);
    }
    if (!status) status = rh_score_surprisal(runs, x, err);
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        cells[r].run.surprisal = runs[r].surprisal;
        rh_judge_collapse(&cells[r].run, runs[0].surprisal, x->m->config.n_vocab);
    }
    for (int32_t r = 0; !status && r < x->n_runs; r += GROUP)
        status = read_group(cells, b, x, r, x->n_runs - r < GROUP ? x->n_runs - r : GROUP, err);
    if (!status && b->o->target) status = score_target(cells, b, w, err);
    free(runs);
    return status;
}

/* ---- batches ---------------------------------------------------------------------------------- */

static bool on_step(void *data, const rh_generation *g, int32_t n)
{
    rh_auto_batch *b = data;
    int64_t now = 0;
    for (int32_t i = 0; i < n; i++) now += g[i].n_ids;
    return !b->o->progress || b->o->progress(b->o->progress_data, "sweeping", b->done + now, b->total);
}

/* All generations of several prompts in one call; they go back to their experiments. */
static rh_status generate(rh_auto_batch *b, work *works, int32_t n_works, rh_error *err)
{
    int32_t n = 0, k = 0;
    for (int32_t i = 0; i < n_works; i++) n += works[i].x.n_runs;
    rh_generation *all = rh_calloc((size_t)n, sizeof *all);
    if (!all) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n_works; i++)
        for (int32_t r = 0; r < works[i].x.n_runs; r++) all[k++] = works[i].x.generations[r];
    rh_generate_options o = b->o->generate;
    o.on_step = on_step;
    o.on_step_data = b;
    rh_status status = rh_generate(b->m, all, n, &o, err);
    k = 0;
    for (int32_t i = 0; i < n_works; i++)
        for (int32_t r = 0; r < works[i].x.n_runs; r++) works[i].x.generations[r] = all[k++];
    b->done += (int64_t)n * o.max_tokens;
    free(all);
    return status;
}

rh_status rh_auto_batch_run(rh_auto_cell *cells, rh_auto_batch *b, const char *const *prompts, int32_t n_prompts,
                            const rh_auto_arm *arms, int32_t n_arms, rh_error *err)
{
    int32_t together = n_arms < BATCH ? BATCH / n_arms : 1;
    work *works = rh_calloc((size_t)together, sizeof *works);
    rh_status status = works ? RH_OK : rh_fail_nomem(err);
    for (int32_t first = 0; !status && first < n_prompts; first += together) {
        int32_t n = n_prompts - first < together ? n_prompts - first : together;
        memset(works, 0, (size_t)n * sizeof *works);
        for (int32_t i = 0; !status && i < n; i++) status = work_make(&works[i], b, prompts[first + i], arms, n_arms, err);
        if (!status) status = generate(b, works, n, err);
        for (int32_t i = 0; !status && i < n; i++)
            status = score(cells + (size_t)(first + i) * (size_t)n_arms, b, &works[i], err);
        for (int32_t i = 0; i < n; i++) work_free(&works[i]);
    }
    free(works);
    return status;
}

/* auto_batch.c - the passes of a sweep. Each prompt is one rh_experiment whose runs are the arms, so that
 * score.c scores them as it scores a steering experiment; several prompts generate in one batch. */
#include "probes/auto_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/prompt.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum { BATCH = 64, AIM = 64 }; /* sequences that generate together; tokens of a target that are asked for */

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
    int32_t aim[AIM], n_aim;   /* the tokens of the target, as behind this prompt */
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

/* The target as it stands inside a text, behind a blank. */
static rh_status aim_at(work *w, const rh_auto_batch *b, rh_error *err)
{
    rh_tokens target = {0};
    rh_str spelled = {0};
    if (!b->o->target) return RH_OK;
    rh_str_printf(&spelled, " %s", b->o->target);
    rh_status status = spelled.failed ? rh_fail_nomem(err) : RH_OK;
    if (!status) status = rh_text_ids(&target, b->m, spelled.data, spelled.len, false, err);
    if (!status && target.n < 1) status = rh_fail(err, RH_EVALUE, "the target is empty");
    for (; !status && w->n_aim < AIM && (size_t)w->n_aim < target.n; w->n_aim++) w->aim[w->n_aim] = target.items[w->n_aim].id;
    rh_str_free(&spelled);
    rh_tokens_free(&target);
    return status;
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
    RH_TRY(aim_at(w, b, err));
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
            .want = RH_LOGITS_LAST, .logits = x->next_logits + (size_t)r * n_vocab, .aim = w->aim, .n_aim = w->n_aim};
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

static bool go_on(void *data)
{
    const rh_auto_batch *b = data;
    return !b->o->progress || b->o->progress(b->o->progress_data, b->label, b->done, b->total);
}

static rh_status score(rh_auto_cell *cells, rh_auto_batch *b, work *w, rh_error *err)
{
    rh_experiment *x = &w->x;
    size_t n = (size_t)x->n_runs, n_vocab = (size_t)x->m->config.n_vocab;
    rh_steer_run *runs = rh_calloc(n, sizeof *runs);
    double *along = rh_calloc(2 * n, sizeof *along);
    rh_status status = runs && along ? join(x, err) : rh_fail_nomem(err);
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        const rh_generation *g = &x->generations[r];
        cells[r].chance = g->aim_p;
        cells[r].gain = g->n_aimed && x->generations[0].n_aimed ? log(g->aim_p) - log(x->generations[0].aim_p) : NAN;
        cells[r].kl = rh_kl(x->next_logits + (size_t)r * n_vocab, x->next_logits, x->m->config.n_vocab);
        b->tokens += g->n_ids;
        status = take_text(&cells[r].run, g, err);
    }
    if (!status) {
        const rh_along reader = {.layer = b->read_layer, .u = b->u, .mean = along, .squares = along + n, .go_on = go_on, .data = b};
        status = rh_score_surprisal(runs, x, &reader, err);
    }
    for (int32_t r = 0; !status && r < x->n_runs; r++) {
        rh_auto_cell *c = &cells[r];
        c->projection = along[r];
        c->squares = along[n + (size_t)r];
        c->named = b->o->target && rh_holds_word(c->run.text, b->o->target);
        c->run.surprisal = runs[r].surprisal;
        rh_judge_collapse(&c->run, runs[0].surprisal, x->m->config.n_vocab);
    }
    free(along);
    free(runs);
    return status;
}

/* ---- batches ---------------------------------------------------------------------------------- */

static bool on_step(void *data, const rh_generation *g, int32_t n)
{
    rh_auto_batch *b = data;
    int64_t now = 0;
    for (int32_t i = 0; i < n; i++) now += g[i].n_ids;
    return !b->o->progress || b->o->progress(b->o->progress_data, b->label, b->done + now, b->total);
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

/* trace.c - `rhumb trace MODEL`: hidden states and logits of prompts, into a safetensors file.
 *
 * Prompts go through the model in groups that fit GROUP_BYTES of logits, and the file is written
 * as they come, so that neither many prompts nor a long one fills the memory: a prompt too long
 * for a group is fed in pieces, whose logits are written piece by piece. For that a prompt's
 * logits stand in front of its hidden states, which are small and kept until its end. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/layers.h"
#include "cli/models.h"
#include "cli/prompt.h"
#include "cli/trace_prompts.h"
#include "engine/files/safetensors.h"

enum { GROUP_BYTES = 256 << 20, GROUP_ROWS = 512 };

typedef struct trace_flags {
    cli_expression_flags expression;
    cli_trace_input input;
    const char *out, *sites, *layers;
    double strength;
    bool step;
} trace_flags;

static const trace_flags DEFAULTS = {.strength = 1};

/* ---- what to save ------------------------------------------------------------------------- */

typedef struct wanted {
    bool embed, logits, hook[RH_N_HOOKS];
    bool layer[RH_MAX_LAYERS];
} wanted;

static rh_status parse_sites(wanted *w, cli *c, const char *text, rh_error *err)
{
    for (const char *at = text ? text : "embed,resid_post,logits";;) {
        size_t len = strcspn(at, ",");
        rh_hook hook;
        if (len == 5 && !memcmp(at, "embed", 5)) w->embed = true;
        else if (len == 6 && !memcmp(at, "logits", 6)) w->logits = true;
        else if (len == 3 && !memcmp(at, "all", 3)) {
            w->embed = w->logits = true;
            for (int h = 0; h < RH_N_HOOKS; h++) w->hook[h] = true;
        } else if (rh_hook_parse(&hook, at, len)) w->hook[hook] = true;
        else {
            return rh_hinted(cli_wrong(c, err, "--sites knows no '%.*s'", (int)(len < 60 ? len : 60), at), err,
                             "sites are embed, resid_pre, attn_z, attn_out, mlp_in, mlp_out, resid_post, logits; or all");
        }
        if (!at[len]) return RH_OK;
        at += len + 1;
    }
}

/* One hidden tensor of a prompt: a site whose rows are collected. */
typedef struct site { int32_t layer; rh_hook hook; bool before; int32_t width; char name[40]; } site;

static int32_t list_sites(site *out, const wanted *w, const rh_model *m)
{
    int32_t n = 0;
    if (w->embed) {
        /* As it enters the model, before any action at layer 0. */
        out[n] = (site){.layer = 0, .hook = RH_RESID_PRE, .before = true, .width = m->config.d_model};
        snprintf(out[n++].name, sizeof out->name, "embed");
    }
    for (int32_t l = 0; l < m->config.n_layers; l++)
        for (int h = 0; h < RH_N_HOOKS; h++) {
            if (!w->layer[l] || !w->hook[h]) continue;
            out[n] = (site){.layer = l, .hook = (rh_hook)h, .width = rh_model_width(m, (rh_hook)h)};
            snprintf(out[n++].name, sizeof out->name, "%s.%d", rh_hook_name((rh_hook)h), l);
        }
    return n;
}

/* ---- one trace ---------------------------------------------------------------------------- */

typedef struct trace {
    cli *c;
    const rh_model *m;
    const cli_prompts *prompts;
    const rh_evaluation *evaluation; /* NULL: no actions */
    double strength;
    bool logits, step;
    const site *sites;
    int32_t n_sites;
    rh_st_writer *writer;
    rh_session *session;
    int32_t piece;                   /* rows fed at once to one sequence */
} trace;

/* A prompt on its way: its actions and the states collected so far. */
typedef struct running {
    const rh_prompt *prompt;
    rh_actions actions;
    int32_t seq, fed;
    float **states;                  /* [n_sites] of [n, width] */
    float *logits;                   /* [rows, n_vocab] of one piece */
    rh_capture *captures;            /* [n_sites] */
} running;

static void running_free(running *r, int32_t n_sites)
{
    for (int32_t i = 0; r->states && i < n_sites; i++) free(r->states[i]);
    free(r->states);
    free(r->captures);
    free(r->logits);
    rh_actions_free(&r->actions);
    *r = (running){0};
}

static rh_status running_start(running *r, trace *t, const rh_prompt *p, rh_error *err)
{
    int32_t rows = p->n < t->piece ? p->n : t->piece;
    r->prompt = p;
    if (t->evaluation) RH_TRY(rh_actions_bind(&r->actions, t->evaluation, p, t->strength, &t->c->diags, err));
    RH_TRY(rh_session_add(t->session, &r->seq, p->n, r->actions.items, r->actions.n, err));
    r->states = rh_calloc((size_t)t->n_sites, sizeof *r->states);
    r->captures = rh_calloc((size_t)t->n_sites, sizeof *r->captures);
    if (!r->states || !r->captures) return rh_fail_nomem(err);
    for (int32_t i = 0; i < t->n_sites; i++) {
        r->states[i] = rh_calloc((size_t)p->n * (size_t)t->sites[i].width, sizeof(float));
        if (!r->states[i]) return rh_fail_nomem(err);
    }
    /* In pieces without logits, the last row's are computed and dropped: a step that nobody
     * wants logits of ends its sequences. */
    size_t logit_rows = t->logits ? (size_t)rows : rows < p->n ? 1 : 0;
    if (logit_rows && !(r->logits = rh_calloc(logit_rows * (size_t)t->m->config.n_vocab, sizeof(float))))
        return rh_fail_nomem(err);
    return RH_OK;
}

static void running_feed(rh_step_input *in, running *r, const trace *t)
{
    int32_t left = r->prompt->n - r->fed, n = left < t->piece ? left : t->piece;
    for (int32_t i = 0; i < t->n_sites; i++)
        r->captures[i] = (rh_capture){.layer = t->sites[i].layer, .hook = t->sites[i].hook, .n = n,
                                      .before_actions = t->sites[i].before,
                                      .out = r->states[i] + (size_t)r->fed * (size_t)t->sites[i].width};
    *in = (rh_step_input){.seq = r->seq, .ids = r->prompt->ids + r->fed, .n = n, .logits = r->logits,
                          .captures = r->captures, .n_captures = t->n_sites,
                          .want = t->logits ? RH_LOGITS_ALL : left > n ? RH_LOGITS_LAST : RH_LOGITS_NONE};
}

static rh_status put_logits(trace *t, const running *r, int32_t rows, rh_error *err)
{
    if (!t->logits) return RH_OK;
    return rh_st_writer_put(t->writer, r->logits, (size_t)rows * (size_t)t->m->config.n_vocab * sizeof(float), err);
}

static rh_status put_states(trace *t, const running *r, rh_error *err)
{
    for (int32_t i = 0; i < t->n_sites; i++)
        RH_TRY(rh_st_writer_put(t->writer, r->states[i],
                                (size_t)r->prompt->n * (size_t)t->sites[i].width * sizeof(float), err));
    return RH_OK;
}

/* Prompts first .. first+n-1, each short enough for one step, or one longer one in pieces. */
static rh_status trace_group(trace *t, int32_t first, int32_t n, running *r, rh_step_input *in, rh_error *err)
{
    rh_session_reset(t->session);
    for (int32_t i = 0; i < n; i++) RH_TRY(running_start(&r[i], t, &t->prompts->items[first + i], err));
    while (r[0].fed < r[0].prompt->n) {
        for (int32_t i = 0; i < n; i++) running_feed(&in[i], &r[i], t);
        RH_TRY(rh_session_step(t->session, in, n, err));
        for (int32_t i = 0; i < n; i++) {
            r[i].fed += in[i].n;
            RH_TRY(put_logits(t, &r[i], in[i].n, err));
            if (r[i].fed == r[i].prompt->n) RH_TRY(put_states(t, &r[i], err));
        }
        if (cli_interrupted()) return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    return RH_OK;
}

/* How many prompts from `first` on go together. */
static int32_t group_size(const trace *t, int32_t first)
{
    int32_t n = 1;
    int64_t rows = t->prompts->items[first].n, room = t->piece < GROUP_ROWS ? t->piece : GROUP_ROWS;
    if (t->step) return 1;
    while (first + n < t->prompts->n && rows + t->prompts->items[first + n].n <= room)
        rows += t->prompts->items[first + n++].n;
    return n;
}

static rh_status trace_all(trace *t, rh_error *err)
{
    int32_t longest = 0, most = 1, done = 0;
    running *r = NULL;
    rh_step_input *in = NULL;
    rh_status status = RH_OK;
    for (int32_t i = 0; i < t->prompts->n; i++)
        if (t->prompts->items[i].n > longest) longest = t->prompts->items[i].n;
    for (int32_t i = 0, n; i < t->prompts->n; i += n)
        if ((n = group_size(t, i)) > most) most = n;
    r = rh_calloc((size_t)most, sizeof *r);
    in = rh_calloc((size_t)most, sizeof *in);
    if (!r || !in) status = rh_fail_nomem(err);
    if (!status) status = rh_session_new(&t->session, t->m, most, longest, err);
    while (!status && done < t->prompts->n) {
        int32_t n = group_size(t, done);
        status = trace_group(t, done, n, r, in, err);
        for (int32_t i = 0; i < n; i++) running_free(&r[i], t->n_sites);
        done += n;
        if (!status && !cli_progress(t->c, "tracing", done, t->prompts->n))
            status = rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    rh_session_free(t->session);
    free(r);
    free(in);
    return status;
}

/* ---- the file ----------------------------------------------------------------------------- */

static rh_status open_writer(trace *t, const char *path, rh_error *err)
{
    int64_t per_prompt = t->n_sites + t->logits, n = per_prompt * t->prompts->n, k = 0;
    enum { NAME = 64 };
    rh_safetensors_entry *entries = rh_calloc((size_t)n, sizeof *entries);
    char(*names)[NAME] = rh_calloc((size_t)n, NAME);
    rh_status status = entries && names ? RH_OK : rh_fail_nomem(err);
    for (int32_t p = 0; !status && p < t->prompts->n; p++)
        for (int32_t i = t->logits ? -1 : 0; i < t->n_sites; i++, k++) {
            snprintf(names[k], NAME, "%d.%s", p, i < 0 ? "logits" : t->sites[i].name);
            entries[k] = (rh_safetensors_entry){.name = names[k], .dtype = RH_F32, .n_dims = 2,
                                                .shape = {t->prompts->items[p].n,
                                                          i < 0 ? t->m->config.n_vocab : t->sites[i].width}};
        }
    if (!status) status = rh_st_writer_open(&t->writer, path, entries, n, NULL, 0, err);
    free(entries);
    free(names);
    return status;
}

static rh_status print_result(cli *c, const trace *t, const char *path, rh_error *err)
{
    int64_t tokens = 0, tensors = (int64_t)(t->n_sites + t->logits) * t->prompts->n;
    for (int32_t i = 0; i < t->prompts->n; i++) tokens += t->prompts->items[i].n;
    if (!c->common.json) {
        cli_note(c, "%s written: %lld tensors of %d prompt%s, %lld tokens", path, (long long)tensors, t->prompts->n,
                 t->prompts->n == 1 ? "" : "s", (long long)tokens);
        return RH_OK;
    }
    json_t *ids = json_array();
    for (int32_t i = 0; i < t->prompts->n; i++) {
        json_t *one = json_array();
        for (int32_t k = 0; k < t->prompts->items[i].n; k++) json_array_append_new(one, json_integer(t->prompts->items[i].ids[k]));
        json_array_append_new(ids, one);
    }
    return cli_print_json(c, json_pack("{s:s, s:i, s:I, s:I, s:o}", "path", path, "prompts", t->prompts->n, "tokens",
                                       (json_int_t)tokens, "tensors", (json_int_t)tensors, "ids", ids), err);
}

/* ---- the verb ----------------------------------------------------------------------------- */

static int32_t rows_at_once(const rh_model *m, const trace_flags *f, bool logits)
{
    if (f->step) return 1;
    int64_t rows = logits ? GROUP_BYTES / ((int64_t)m->config.n_vocab * (int64_t)sizeof(float)) : INT32_MAX;
    return rows < 1 ? 1 : rows < GROUP_ROWS || !logits ? (int32_t)rows : GROUP_ROWS;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const trace_flags *f = flags;
    const char *expr = args->n > 1 ? args->items[1] : NULL;
    rh_model *m = NULL;
    cli_expression e = {0};
    cli_prompts prompts = {0};
    wanted *w = NULL;
    site *sites = NULL;
    trace t = {.c = c, .strength = f->strength, .step = f->step};
    rh_status status = cli_check_trace_input(c, &f->input, err);
    if (!status && !f->out) {
        status = cli_wrong(c, err, "trace needs a file to write");
        rh_hint(err, "-o states.safetensors");
    }
    if (!status && !(w = rh_calloc(1, sizeof *w))) status = rh_fail_nomem(err);
    if (!status) status = parse_sites(w, c, f->sites, err);
    if (!status) status = cli_open_model(&m, c, args->items[0], false, err);
    if (!status) status = cli_parse_layers(w->layer, c, f->layers, m->config.n_layers, err);
    if (!status) status = cli_read_prompts(&prompts, m, &f->input, err);
    if (!status && (expr || f->expression.book)) {
        status = cli_expression_open(&e, c, m, &f->expression, expr, false, false, f->input.prompt.special, err);
        if (!status) status = cli_expression_eval(&e, c, &f->expression, err);
    }
    if (status) goto done;

    sites = rh_calloc((size_t)m->config.n_layers * RH_N_HOOKS + 1, sizeof *sites);
    if (!sites) status = rh_fail_nomem(err);
    if (status) goto done;
    t.m = m;
    t.prompts = &prompts;
    t.evaluation = e.evaluation;
    t.logits = w->logits;
    t.sites = sites;
    t.n_sites = list_sites(sites, w, m);
    t.piece = rows_at_once(m, f, t.logits);
    status = open_writer(&t, f->out, err);
    if (!status) status = trace_all(&t, err);
    cli_clear_bar(c);
    if (!status) {
        status = rh_st_writer_commit(t.writer, err);
        t.writer = NULL;
    }
    if (!status) status = print_result(c, &t, f->out, err);
done:
    rh_st_writer_discard(t.writer);
    free(sites);
    free(w);
    cli_prompts_free(&prompts);
    cli_expression_close(&e);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(trace_flags, field)
static const cli_option OPTIONS[] = {
    {"prompt", 'p', CLI_TEXTS, AT(input.texts), "TEXT", "a prompt; repeatable; - is stdin", 0, 0, NULL},
    {"tokens", 0, CLI_INTS, AT(input.ids), "ID,…", "one prompt as token ids", 0, 0, NULL},
    {"tokens-file", 0, CLI_TEXT, AT(input.file), "FILE", "JSON: a list of ids, or a list of such lists", 0, 0, NULL},
    {"output", 'o', CLI_TEXT, AT(out), "FILE", "the safetensors file to write", 0, 0, NULL},
    {"sites", 0, CLI_TEXT, AT(sites), "SITE,…",
     "embed, resid_pre, attn_z, attn_out, mlp_in, mlp_out, resid_post, logits, or all (default embed,resid_post,logits)", 0,
     0, NULL},
    {"layers", 0, CLI_TEXT, AT(layers), "L,…", "only these layers: 3,5..8 (default all)", 0, 0, NULL},
    {"step", 0, CLI_FLAG, AT(step), NULL, "feed one token at a time, as in decoding", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(trace_flags, expression),
    {"strength", 0, CLI_NUMBER, AT(strength), "S", "multiplies the vectors of `steer` (default 1)", 0, 0, NULL},
    CLI_PROMPT_OPTIONS(trace_flags, input.prompt),
    CLI_MESSAGES_OPTION(trace_flags, input.prompt),
    CLI_BOS_OPTIONS(trace_flags, input.prompt),
};

const cli_verb CLI_TRACE = {
    .name = "trace", .brief = "save hidden states and logits of prompts",
    .arguments = "MODEL [EXPR] -p TEXT | --tokens IDS | --tokens-file FILE  -o FILE",
    .about = "Runs prompts through the model and saves, for prompt i, the tensors i.embed, i.SITE.L and i.logits as float32. "
             "With an expression, or the actions of a book, these are the steered states; all tokens given are the prompt. "
             "With token ids no tokenizer is needed.",
    .examples = "  rhumb trace smollm2 -p 'Name a city.' -o t.safetensors --layers 10..20\n"
                "  rhumb trace tests/data/models/llama-f32 --tokens 1,2,3 --exact -o t.safetensors\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(trace_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 2, .run = run};

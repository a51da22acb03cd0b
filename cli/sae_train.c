/* sae_train.c - `rhumb sae train`: a line of progress on stderr, a checkpoint in the folder, then the SAE there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/sae.h"
#include "cli/text.h"
#include "cli/models.h"
#include "probes/sae_train.h"
#include "probes/state_buffer.h"

const char *const CLI_SAE_ARCHS[] = {"topk", "jumprelu", NULL}, *const CLI_SAE_PRODUCTS[] = {"auto", "float32", "bf16", NULL};

enum { LINE_EVERY = 10 }; /* seconds between two lines where stderr is no terminal */

typedef struct watch { cli *c; double drawn; bool said_resumed; } watch;

rh_status cli_sae_corpus(const char ***out, int32_t *n, cli *c, const cli_args *args, size_t first, const cli_sae_flags *f, rh_error *err)
{
    if (!f->corpus.n) return rh_hinted(cli_wrong(c, err, "sae %s needs texts to read", args->items[0]), err, "--corpus FILE…");
    return cli_corpus_paths(out, n, &f->corpus, args->items + first, args->n > first ? args->n - first : 0, err);
}

rh_status cli_sae_site(int32_t *layer, rh_hook *hook, cli *c, const char *text, rh_error *err)
{
    const char *dot = strchr(text, '.');
    int64_t l;
    if (!cli_integer(&l, text, dot ? (size_t)(dot - text) : strlen(text)) || l < 0 || l > INT32_MAX ||
        (dot && !rh_hook_parse(hook, dot + 1, strlen(dot + 1))))
        return rh_hinted(cli_wrong(c, err, "--site '%.60s' is no layer, or no hook of it", text), err,
                         "16, or 16.resid_pre, attn_z, attn_out, mlp_in, mlp_out, resid_post");
    *layer = (int32_t)l;
    return RH_OK;
}

/* ---- progress ----------------------------------------------------------------------------------- */

static void line(watch *w, const rh_sae_progress *p)
{
    char left[32] = "", text[256];
    const double learning = p->seconds > 0 ? (double)(p->done - p->resumed) / p->seconds : 0;
    if (p->reading) {
        snprintf(text, sizeof text, "reading states  %lld of %lld", (long long)p->done, (long long)p->total);
    } else {
        snprintf(left, sizeof left, "%d:%02d", (int)(p->left / 60), (int)p->left % 60);
        snprintf(text, sizeof text, "%.2f of %.2f M tokens  loss %.4g  FVU %.4f  L0 %.1f  dead %.1f %%  %.0f tok/s  %s left", (double)p->done / 1e6,
                 (double)p->total / 1e6, p->loss, p->fvu, p->l0, 100 * p->dead, learning, left);
    }
    if (w->c->err_terminal) {
        fprintf(stderr, "\r\033[K%s", text);
        fflush(stderr);
        w->c->bar_shown = true;
    } else {
        fprintf(stderr, "%s\n", text);
    }
}

static bool progress(void *data, const rh_sae_progress *p)
{
    watch *w = data;
    const double now = rh_seconds();
    if (p->resumed && !w->said_resumed) {
        cli_note(w->c, "going on from the checkpoint: %lld of %lld tokens were learned from", (long long)p->resumed, (long long)p->total);
        w->said_resumed = true;
    }
    if (now - w->drawn >= (w->c->err_terminal ? 0.2 : (double)LINE_EVERY)) {
        line(w, p);
        w->drawn = now;
    }
    return !cli_interrupted();
}

/* ---- options ---------------------------------------------------------------------------------------- */

/* What flags and model leave to choose; the site is there. */
static void options(rh_sae_training *t, const cli *c, const cli_sae_flags *f, const rh_model *m)
{
    enum { BUFFER_BYTES = 1 << 30 };
    const int32_t d = rh_model_width(m, t->hook);
    t->width = f->width ? f->width : 8 * d;
    t->k = f->k;
    t->jumprelu = f->arch == 1;
    t->bf16 = f->products == 2 || (!f->products && !m->backend->exact && m->backend->bf16);
    t->seed = c->common.seed;
    t->threads = c->common.threads;
    t->clock = rh_seconds;
    if (f->tokens > 0) t->tokens = (int64_t)f->tokens;
    if (f->batch) t->batch = f->batch;
    if (f->context) t->context = f->context;
    if (t->context > m->config.n_ctx && !f->context) t->context = m->config.n_ctx;
    if (f->reuse) t->reuse = f->reuse;
    if (f->rate > 0) t->rate = f->rate;
    if (f->sparsity > 0) t->sparsity = f->sparsity;
    if (f->bandwidth > 0) t->bandwidth = f->bandwidth;
    if (f->save_every > 0) t->save_seconds = f->save_every;
    if (f->buffer) t->buffer = f->buffer;
    while (!f->buffer && t->buffer > t->batch && rh_state_buffer_bytes(d, t->buffer) > BUFFER_BYTES) t->buffer /= 2;
}

static rh_status report(cli *c, const char *dir, const rh_sae_training *t, const rh_sae_progress *p, rh_error *err)
{
    const double rate = p->seconds > 0 ? (double)(p->done - p->resumed) / p->seconds : 0;
    if (c->common.json)
        return cli_print_json(c, json_pack("{s:o, s:s, s:i, s:s, s:i, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i}", "path", cli_json_text(dir, strlen(dir)),
                                           "architecture", CLI_SAE_ARCHS[t->jumprelu], "layer", t->layer, "hook", rh_hook_name(t->hook), "d_sae", t->width, "k", t->k,
                                           "tokens", (json_int_t)p->done, "fed", (json_int_t)p->fed, "loss", p->loss, "fvu", p->fvu, "l0", p->l0, "dead", p->dead,
                                           "seconds", p->seconds, "reading_seconds", p->reading_seconds, "tokens_per_second", rate, "revived", p->revived), err);
    cli_note(c, "%s written: %lld tokens in %.0f s (%.0f of them reading), %.0f tok/s; on the last steps FVU %.4f, L0 %.1f, %.1f %% dead", dir,
             (long long)p->done, p->seconds, p->reading_seconds, rate, p->fvu, p->l0, 100 * p->dead);
    return RH_OK;
}

/* Before the first step there is nothing to keep: not even the folder, if it was made here. */
static void say_how_to_go_on(const char *dir, const char *checkpoint, const rh_sae_training *t, bool made, rh_error *err)
{
    if (rh_is_file(checkpoint)) {
        rh_hint(err, "the same command goes on from the checkpoint in %.300s", dir);
        return;
    }
    rh_hint(err, "nothing was learned yet, so nothing is kept, and the same command begins anew: learning begins when a buffer of %d states is full "
            "(--buffer), and from then on a run that is stopped leaves a checkpoint", (int)t->buffer);
    if (made) rmdir(dir);
}

static rh_status train(cli *c, const rh_model *m, rh_sae_training *t, const cli_sae_flags *f, rh_error *err)
{
    watch w = {.c = c};
    rh_sae *sae = NULL;
    rh_sae_progress last;
    char *checkpoint = rh_path_join(f->out, "checkpoint.safetensors");
    if (!checkpoint) return rh_fail_nomem(err);
    t->checkpoint = checkpoint;
    const bool made = !rh_is_dir(f->out);
    rh_status status = rh_make_dirs(f->out, err);
    if (!status && f->restart) unlink(checkpoint);
    if (!status) status = rh_sae_train(&sae, &last, m, t, progress, &w, err);
    cli_clear_bar(c);
    if (status == RH_ECANCELLED) say_how_to_go_on(f->out, checkpoint, t, made, err);
    if (!status) status = rh_sae_write(f->out, sae, err);
    if (!status) unlink(checkpoint);
    if (!status) status = report(c, f->out, t, &last, err);
    rh_sae_free(sae);
    free(checkpoint);
    return status;
}

rh_status cli_sae_train(cli *c, const cli_args *args, const cli_sae_flags *f, rh_error *err)
{
    rh_sae_training t;
    rh_model *m = NULL;
    const char **corpus = NULL;
    int32_t n = 0;
    if (args->n < 2) return cli_wrong(c, err, "sae train needs a model");
    if (!f->out) return rh_hinted(cli_wrong(c, err, "sae train needs a folder to write"), err, "-o DIR");
    if (!f->site) return rh_hinted(cli_wrong(c, err, "sae train needs a site"), err, "--site 16, or with a hook: --site 16.mlp_out");
    rh_sae_training_default(&t);
    RH_TRY(cli_sae_site(&t.layer, &t.hook, c, f->site, err));
    RH_TRY(cli_sae_corpus(&corpus, &n, c, args, 2, f, err));
    rh_status status = cli_open_model(&m, c, args->items[1], false, err);
    if (!status) options(&t, c, f, m);
    t.corpus = corpus;
    t.n_corpus = n;
    if (!status) status = train(c, m, &t, f, err);
    rh_model_free(m);
    free(corpus);
    return status;
}

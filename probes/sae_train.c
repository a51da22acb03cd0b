#include "probes/sae_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "probes/sae_checkpoint.h"

enum {
    WINDOW = 50,       /* steps: what progress is averaged over, and how long a feature must be idle to count as dead */
    REVIVE_EVERY = 25  /* steps */
};
static const double REVIVE_UNTIL = 0.8; /* of the steps: what begins anew needs time to learn */
static const double WARM = 0.02;

void rh_sae_training_default(rh_sae_training *t)
{
    *t = (rh_sae_training){.hook = RH_RESID_POST, .k = 32, .tokens = 3000000, .batch = 1024, .context = 256, .buffer = 1 << 17, .reuse = 4,
                           .rate = 2e-3, .decay = 0.8, .sparsity = 1, .bandwidth = 0.05, .save_seconds = 120};
}

typedef struct run {
    rh_sae_run r;
    float *z;                              /* [batch, d] */
    rh_sae_progress p;
    rh_sae_progress_fn progress;
    void *data;
    double loss[WINDOW], variance[WINDOW], l0[WINDOW];
    double begun, saved;                   /* seconds */
    int64_t fed_before;                    /* tokens, by earlier runs */
    bool stop;                             /* asked for while states were read */
} run;

static double now(const run *u) { return u->r.t->clock ? u->r.t->clock() : 0; }

static rh_status check(const rh_sae_training *t, const rh_model *m, rh_error *err)
{
    if (t->width < 1) return rh_fail(err, RH_EVALUE, "an SAE of %d features", (int)t->width);
    if (t->k < 1 || t->k > t->width) return rh_fail(err, RH_EVALUE, "k %d: of %d features, 1 to %d can be active", (int)t->k, (int)t->width, (int)t->width);
    if (t->batch < 1 || t->buffer < t->batch)
        return rh_fail(err, RH_EVALUE, "a batch of %d rows from a buffer of %d", (int)t->batch, (int)t->buffer);
    if (t->tokens < t->batch) return rh_fail(err, RH_EVALUE, "%lld tokens are less than one batch of %d", (long long)t->tokens, (int)t->batch);
    if (!(t->rate > 0) || !isfinite(t->rate)) return rh_fail(err, RH_EVALUE, "a learning rate of %g", t->rate);
    if (!(t->decay >= 0 && t->decay <= 1)) return rh_fail(err, RH_EVALUE, "the learning rate falls over a share of the steps: %g is none", t->decay);
    if (t->jumprelu && !(t->bandwidth > 0 && t->sparsity >= 0)) return rh_fail(err, RH_EVALUE, "bandwidth %g, sparsity %g", t->bandwidth, t->sparsity);
    if (t->reuse < 1 || t->n_corpus < 1) return rh_fail(err, RH_EVALUE, "rows are learned from %d times, from %d files", (int)t->reuse, (int)t->n_corpus);
    if (!m->tokenizer) return rh_fail(err, RH_EUNSUPPORTED, "%.80s has no tokenizer, so it reads no corpus", m->name);
    return RH_OK;
}

static rh_status begin(run *u, rh_error *err)
{
    const rh_sae_training *t = u->r.t;
    const int32_t d = rh_model_width(u->r.m, t->hook);
    RH_TRY(rh_sae_product_new(&u->r.product, u->r.m->backend, d, t->width, t->bf16, err));
    const rh_dictionary_options o = {.product = rh_sae_product_run, .product_data = u->r.product, .d = d, .m = t->width, .k = t->k,
                                     .jumprelu = t->jumprelu, .bandwidth = t->bandwidth, .sparsity = t->sparsity, .seed = t->seed,
                                     .threads = t->threads > 0 ? t->threads : u->r.m->backend->threads};
    RH_TRY(rh_state_source_new(&u->r.source, u->r.m, t->layer, t->hook, t->corpus, t->n_corpus, t->context, err));
    RH_TRY(rh_state_buffer_new(&u->r.buffer, d, t->buffer, t->reuse, t->seed, err));
    RH_TRY(rh_dictionary_new(&u->r.dictionary, &o, err));
    u->z = rh_calloc((size_t)t->batch * (size_t)d, sizeof *u->z);
    return u->z ? RH_OK : rh_fail_nomem(err);
}

/* The buffer is filled once and refilled by a part: the first filling must not count as the pace of what is left. */
static double seconds_left(const run *u)
{
    const rh_sae_progress *p = &u->p;
    const int64_t done = p->done - p->resumed, fed = p->fed - u->fed_before;
    const bool refilled = u->r.buffer->filled == u->r.buffer->rows;
    const double learning = done > 0 ? (p->seconds - p->reading_seconds) / (double)done : 0;
    const double reading = refilled && fed > 0 ? p->reading_seconds / (double)fed / u->r.t->reuse : 0;
    return (double)(p->total - p->done) * (learning + reading);
}

static bool tell(run *u)
{
    u->p.seconds = now(u) - u->begun;
    u->p.left = seconds_left(u);
    return !u->progress || u->progress(u->data, &u->p);
}

static bool filling(void *data, int64_t done, int64_t total)
{
    run *u = data;
    rh_sae_progress p = u->p;
    p.reading = true;
    p.done = done < total ? done : total;
    p.total = total;
    p.seconds = now(u) - u->begun;
    if (u->progress && !u->progress(u->data, &p)) u->stop = true;
    return !u->stop || u->r.learned > 0; /* half a refill could not be gone on from: the step is ended, and saved */
}

/* ---- a step --------------------------------------------------------------------------------------- */

static double rate(const rh_sae_training *t, int64_t step, int64_t steps)
{
    const double share = (double)step / (double)steps, warm = (step + 1) / (WARM * (double)steps), left = (1 - share) / t->decay;
    return t->rate * (warm < 1 ? warm : 1) * (t->decay > 0 && left < 1 ? left : 1);
}

/* Mean squared distance from the batch's mean. */
static double variance(const float *z, int32_t n, int32_t d)
{
    double total = 0;
    for (int32_t j = 0; j < d; j++) {
        double sum = 0, square = 0;
        for (int32_t t = 0; t < n; t++) {
            const double x = z[(size_t)t * (size_t)d + (size_t)j];
            sum += x;
            square += x * x;
        }
        total += square - sum * sum / n;
    }
    return total / n;
}

static void note(run *u, const rh_dictionary_step *s, double v, int64_t step)
{
    double loss = 0, all = 0, l0 = 0;
    const int32_t at = (int32_t)(step % WINDOW);
    u->loss[at] = s->loss;
    u->variance[at] = v;
    u->l0[at] = s->l0;
    const int32_t n = u->p.done - u->p.resumed < (int64_t)WINDOW * u->r.t->batch ? (int32_t)((u->p.done - u->p.resumed) / u->r.t->batch) : WINDOW;
    for (int32_t i = 0; i < WINDOW; i++) {
        loss += u->loss[i];
        all += u->variance[i];
        l0 += u->l0[i];
    }
    u->p.loss = loss / (n > 0 ? n : 1);
    u->p.fvu = all > 0 ? loss / all : 0;
    u->p.l0 = l0 / (n > 0 ? n : 1);
    u->p.dead = (double)rh_dictionary_dead(u->r.dictionary, WINDOW) / u->r.t->width;
}

static rh_status one(run *u, int64_t step, int64_t steps, rh_error *err)
{
    const rh_sae_training *t = u->r.t;
    rh_dictionary_step s;
    const double from = now(u);
    RH_TRY(rh_state_buffer_draw(u->z, t->batch, u->r.buffer, u->r.source, filling, u, err));
    u->p.reading_seconds += now(u) - from;
    RH_TRY(rh_dictionary_learn(&s, u->r.dictionary, u->z, t->batch, rate(t, step, steps), err));
    if (step % REVIVE_EVERY == REVIVE_EVERY - 1 && (double)step < REVIVE_UNTIL * (double)steps)
        u->p.revived += rh_dictionary_revive(u->r.dictionary, WINDOW);
    u->r.learned += t->batch;
    u->p.done = u->r.learned;
    note(u, &s, variance(u->z, t->batch, rh_model_width(u->r.m, t->hook)), step);
    return RH_OK;
}

static rh_status save(run *u, rh_error *err)
{
    if (!u->r.t->checkpoint || !u->r.learned) return RH_OK;
    RH_TRY(rh_sae_checkpoint_save(&u->r, u->r.t->checkpoint, err));
    u->saved = now(u);
    u->p.saved = true;
    return RH_OK;
}

static rh_status learn(run *u, rh_error *err)
{
    const rh_sae_training *t = u->r.t;
    const int64_t steps = t->tokens / t->batch;
    int64_t fed, rounds, *at = rh_calloc((size_t)t->n_corpus, sizeof *at);
    rh_status status = at ? RH_OK : rh_fail_nomem(err);
    u->begun = u->saved = now(u);
    u->p.total = steps * t->batch;
    u->p.done = u->p.resumed = u->r.learned;
    if (at) rh_state_source_at(at, &rounds, &u->fed_before, u->r.source);
    for (int64_t step = u->r.learned / t->batch; !status && step < steps; step++) {
        status = one(u, step, steps, err);
        if (status) break;
        rh_state_source_at(at, &rounds, &fed, u->r.source);
        u->p.fed = fed;
        u->p.saved = false;
        if (now(u) - u->saved >= t->save_seconds) status = save(u, err);
        if (!status && (!tell(u) || u->stop)) {
            status = save(u, err);
            if (!status) status = rh_fail(err, RH_ECANCELLED, "interrupted");
        }
    }
    free(at);
    return status;
}

/* ---- what comes out -------------------------------------------------------------------------------- */

static rh_status finish(rh_sae **out, const run *u, rh_error *err)
{
    const rh_sae_training *t = u->r.t;
    const rh_state_buffer *b = u->r.buffer;
    const rh_dictionary_view v = rh_dictionary_look(u->r.dictionary);
    float *b_enc = rh_calloc((size_t)t->width, sizeof *b_enc), *b_dec = rh_calloc((size_t)b->d, sizeof *b_dec);
    float *threshold = t->jumprelu ? rh_calloc((size_t)t->width, sizeof *threshold) : NULL;
    const rh_tokenizer *k = u->r.m->tokenizer;
    const rh_sae_parts p = {.kind = t->jumprelu ? RH_SAE_JUMPRELU : RH_SAE_TOPK, .d = b->d, .d_sae = t->width, .k = t->k, .encoder = v.encoder,
                            .decoder = v.decoder, .b_enc = b_enc, .b_dec = b_dec, .threshold = threshold, .layer = t->layer, .hook = t->hook,
                            .model = u->r.m->name, .name = "the trained SAE", .prepend_bos = rh_tokenizer_adds_bos(k)};
    rh_status status = b_enc && b_dec && (threshold || !t->jumprelu) ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        for (int32_t i = 0; i < t->width; i++) b_enc[i] = (float)(v.b_enc[i] / b->scale);
        for (int32_t j = 0; j < b->d; j++) b_dec[j] = (float)(v.b_dec[j] / b->scale + b->mean[j]);
        for (int32_t i = 0; threshold && i < t->width; i++) threshold[i] = (float)(exp(v.log_threshold[i]) / b->scale);
        status = rh_sae_from_parts(out, &p, err);
    }
    free(b_enc);
    free(b_dec);
    free(threshold);
    return status;
}

rh_status rh_sae_train(rh_sae **out, rh_sae_progress *last, const rh_model *m, const rh_sae_training *t, rh_sae_progress_fn progress,
                       void *data, rh_error *err)
{
    bool found = false;
    RH_TRY(check(t, m, err));
    run *u = rh_calloc(1, sizeof *u);
    if (!u) return rh_fail_nomem(err);
    u->r.m = m;
    u->r.t = t;
    u->progress = progress;
    u->data = data;
    rh_status status = begin(u, err);
    if (!status && t->checkpoint) status = rh_sae_run_key(&u->r, err);
    if (!status && t->checkpoint) status = rh_sae_checkpoint_load(&found, &u->r, t->checkpoint, err);
    if (!status) status = learn(u, err);
    if (!status) status = finish(out, u, err);
    if (!status) *last = u->p;
    rh_dictionary_free(u->r.dictionary);
    rh_sae_product_free(u->r.product);
    rh_state_buffer_free(u->r.buffer);
    rh_state_source_free(u->r.source);
    free(u->z);
    free(u);
    return status;
}

/* jobs.c - sources that need the model: the cache is asked first, and what it lacks of all of them is read in one
 * pass over the model. */
#include "concepts/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "concepts/calibration.h"

#define SAVE_SECONDS 4.0

rh_pass_options rh_job_pass_options(const rh_concepts *c)
{
    return (rh_pass_options){.batch_tokens = c->options.batch_tokens,
                             .no_share = c->options.no_share,
                             .cache_dir = c->cache_dir,
                             .save_seconds = SAVE_SECONDS,
                             .progress = c->options.progress,
                             .progress_data = c->options.progress_data};
}

/* ---- jobs from requests -------------------------------------------------------------------- */

static bool is_job(const rh_atom_request *r)
{
    return rh_is_extracted(r->spec->kind);
}

static rh_status content_hash(char out[65], const rh_atom_spec *spec, rh_error *err)
{
    if (rh_reads_pairs(spec->kind)) return rh_sha256_file(out, spec->text, err);
    if (rh_reads_calibration(spec->kind)) {
        rh_calibration_hash(out);
        return out[0] ? RH_OK : rh_fail_nomem(err);
    }
    rh_sha256_bytes(out, spec->text, spec->text_len);
    return RH_OK;
}

static rh_status job_for(rh_jobs *j, rh_concepts *c, const rh_atom_request *r, int32_t request, rh_error *err)
{
    rh_job job = {.spec = r->spec, .hook = r->hook, .d = r->d, .request = request, .atom = -1};
    bool scalar = r->spec->kind == RH_ATOM_RESID_NORM;
    job.width = rh_model_width(c->model, r->hook);
    if (scalar && r->d != 1) return rh_fail(err, RH_ESITE, "resid_norm is one number a layer, not %d", (int)r->d);
    if (!scalar && r->d != job.width)
        return rh_fail(err, RH_ESITE, "%s of %.80s is %d wide, not %d", rh_hook_name(r->hook), c->model->name,
                       (int)rh_model_width(c->model, r->hook), (int)r->d);
    RH_TRY(content_hash(job.content, r->spec, err));
    RH_TRY(rh_cache_key(job.key, c, r->spec, r->hook, job.content, err));
    for (int32_t i = 0; i < j->n; i++)
        if (strcmp(j->items[i].key, job.key) == 0) {
            j->of_request[request] = i;
            return RH_OK;
        }
    if (c->cache_dir) RH_TRY(rh_cache_get(&job.entry, c->cache_dir, job.key, job.hook, job.d, err));
    j->of_request[request] = j->n;
    j->items[j->n++] = job;
    return RH_OK;
}

static rh_status find_missing(rh_job *job, int32_t index, const rh_jobs *j, const rh_atom_request *requests,
                              int32_t n, int32_t n_layers, rh_error *err)
{
    bool *wanted = rh_calloc((size_t)n_layers, sizeof *wanted);
    job->missing = rh_calloc((size_t)n_layers, sizeof *job->missing);
    if (!wanted || !job->missing) {
        free(wanted);
        return rh_fail_nomem(err);
    }
    rh_status status = RH_OK;
    for (int32_t i = 0; i < n && !status; i++) {
        if (j->of_request[i] != index) continue;
        for (int32_t l = 0; l < requests[i].n_layers; l++) {
            int32_t layer = requests[i].layers[l];
            if (layer < 0 || layer >= n_layers) {
                status = rh_fail(err, RH_ESITE, "there is no layer %d; the model has layers 0..%d", (int)layer,
                                 (int)n_layers - 1);
                break;
            }
            wanted[layer] = !(job->entry.vector && rh_vector_at(job->entry.vector, layer).data);
        }
    }
    for (int32_t l = 0; l < n_layers && !status; l++)
        if (wanted[l]) job->missing[job->n_missing++] = l;
    free(wanted);
    return status;
}

rh_status rh_jobs_make(rh_jobs *out, rh_concepts *c, const rh_atom_request *requests, int32_t n,
                       int32_t *culprit, rh_error *err)
{
    rh_jobs j = {0};
    rh_status status = RH_OK;
    *culprit = -1;
    j.items = rh_calloc((size_t)n, sizeof *j.items);
    j.of_request = rh_calloc((size_t)n, sizeof *j.of_request);
    if (!j.items || !j.of_request) status = rh_fail_nomem(err);
    for (int32_t i = 0; i < n && !status; i++) {
        j.of_request[i] = -1;
        if (!is_job(&requests[i])) continue;
        *culprit = i;
        status = job_for(&j, c, &requests[i], i, err);
    }
    for (int32_t i = 0; i < j.n && !status; i++) {
        *culprit = j.items[i].request;
        status = find_missing(&j.items[i], i, &j, requests, n, c->model->config.n_layers, err);
    }
    if (status) {
        rh_jobs_free(&j);
        return status;
    }
    *out = j;
    *culprit = -1;
    return RH_OK;
}

void rh_jobs_free(rh_jobs *j)
{
    if (!j) return;
    for (int32_t i = 0; i < j->n; i++) {
        rh_entry_free(&j->items[i].entry);
        free(j->items[i].missing);
    }
    free(j->items);
    free(j->of_request);
    *j = (rh_jobs){0};
}

/* ---- before the pass ----------------------------------------------------------------------- */

static rh_status warn_of_texts(rh_concepts *c, const rh_job *job, const rh_job_texts *t, rh_error *err)
{
    const char *what = job->spec->text;
    if (t->doubts[0]) RH_TRY(rh_concepts_warn(c, err, "%.120s: %s", what, t->doubts));
    if (!t->at_zero) return RH_OK;
    return rh_concepts_warn(c, err, "%.120s: %lld text%s read at position 0, where a model without BOS has an "
                                    "attention sink; prefix=\"…\" puts something in front",
                            what, (long long)t->at_zero, t->at_zero == 1 ? " is" : "s are");
}

static rh_status add_to_pass(rh_concepts *c, rh_job *job, rh_pass *pass, rh_error *err)
{
    rh_job_texts texts = {0};
    RH_TRY(rh_pass_atom_add(pass, &job->atom, job->key, job->hook, job->width, job->missing, job->n_missing, err));
    rh_pass_atom_keep(pass, job->atom, rh_job_keep(job->spec));
    RH_TRY(rh_job_read(&texts, c, job, pass, job->atom, false, err));
    job->entry.positives = texts.positives;
    job->entry.negatives = texts.negatives;
    job->entry.tokens = texts.tokens;
    return warn_of_texts(c, job, &texts, err);
}

/* ---- after it ------------------------------------------------------------------------------ */

/* The vector of a job with the pass's layers beside those it had. */
static rh_status merge(rh_job *job, const rh_pass *pass, rh_error *err)
{
    rh_vector *v = NULL, *old = job->entry.vector;
    int32_t n_old = old ? old->n_layers : 0, n = n_old + job->n_missing, d = job->d;
    int32_t *layers = rh_calloc((size_t)n, sizeof *layers);
    rh_status status = layers ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (int32_t i = 0, o = 0, m = 0; i < n; i++) {
        bool from_old = m == job->n_missing || (o < n_old && old->layers[o] < job->missing[m]);
        layers[i] = from_old ? old->layers[o++] : job->missing[m++];
    }
    status = rh_vector_new(&v, d, job->hook, layers, n, err);
    if (status) goto done;
    for (int32_t i = 0, m = 0; i < n && !status; i++) {
        float *out = v->data + (size_t)i * (size_t)d;
        if (m == job->n_missing || layers[i] != job->missing[m]) {
            memcpy(out, rh_vector_at(old, layers[i]).data, (size_t)d * sizeof *out);
            continue;
        }
        status = rh_job_fit(out, job, pass, m++, err);
    }
    if (status) goto done;
    rh_vector_free(old);
    job->entry.vector = v;
    v = NULL;
done:
    rh_vector_free(v);
    free(layers);
    return status;
}

static rh_status store(rh_concepts *c, const rh_job *job, rh_error *err)
{
    if (!c->cache_dir) return RH_OK;
    rh_error why;
    rh_status status = rh_cache_put(c->cache_dir, job->key, &job->entry, &why);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    return status ? rh_concepts_warn(c, err, "the vector of %.120s is not cached: %s", job->spec->text, why.message)
                  : RH_OK;
}

static rh_status fill(const rh_job *job, const rh_atom_request *r, rh_error *err)
{
    for (int32_t i = 0; i < r->n_layers; i++) {
        const float *v = rh_vector_at(job->entry.vector, r->layers[i]).data;
        if (!v) return rh_fail(err, RH_ESITE, "no vector was computed at layer %d", (int)r->layers[i]);
        memcpy(r->out + (size_t)i * (size_t)r->d, v, (size_t)r->d * sizeof *v);
    }
    return RH_OK;
}

/* ---- the whole call ------------------------------------------------------------------------ */

/* Memory that grows with the texts is worth a word before it is taken. */
static rh_status announce(rh_concepts *c, const rh_pass *pass, rh_error *err)
{
    static const double MiB = 1024 * 1024, WORTH = 256;
    double size = rh_keep_bytes(pass) / MiB;
    if (size < WORTH) return RH_OK;
    return rh_concepts_warn(c, err, "hidden states of this pass take %.0f MiB of memory (at most %.0f)", size,
                            (double)RH_KEEP_MAX / MiB);
}

static rh_status run_pass(rh_concepts *c, rh_jobs *j, int32_t *culprit, rh_error *err)
{
    rh_pass pass = {0};
    rh_pass_options o = rh_job_pass_options(c);
    rh_status status = RH_OK;
    int64_t resumed = 0;
    for (int32_t i = 0; i < j->n && !status; i++) {
        if (!j->items[i].n_missing) {
            c->stats.cached_atoms++;
            continue;
        }
        *culprit = j->items[i].request;
        status = add_to_pass(c, &j->items[i], &pass, err);
    }
    if (status) goto done;
    *culprit = -1;
    status = rh_pass_plan(&pass, &o, err);
    if (!status) status = announce(c, &pass, err);
    if (status || !pass.n_prompts) goto done;
    double start = rh_seconds();
    status = rh_pass_run(&pass, c->model, &o, &resumed, err);
    double seconds = rh_seconds() - start;
    c->stats.seconds += seconds;
    c->stats.resumed_prompts = resumed;
    if (status) goto done;
    c->stats.prompts = pass.asked;
    c->stats.tokens = pass.asked_tokens;
    c->stats.computed = pass.rows;
    if (!resumed && seconds > 0) rh_rate_put(c, (double)pass.rows * (pass.deepest + 1) / seconds);
    for (int32_t i = 0; i < j->n && !status; i++) {
        if (!j->items[i].n_missing) continue;
        *culprit = j->items[i].request;
        status = merge(&j->items[i], &pass, err);
        if (!status) status = store(c, &j->items[i], err);
    }
    if (!status && c->cache_dir) rh_partial_remove(&pass, c->cache_dir);
done:
    rh_pass_free(&pass);
    return status;
}

static rh_status need_model(const rh_atom_request *r, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EMODEL, "%s needs a model, and none was given", rh_atom_word(r->spec->kind)),
                     err, "name one on the command line (-m MODEL), or with a line  model \"…\"  in the book");
}

rh_status rh_jobs_compute(rh_concepts *c, const rh_atom_request *requests, int32_t n, int32_t *culprit,
                          rh_error *err)
{
    rh_jobs j = {0};
    bool any = false;
    for (int32_t i = 0; i < n; i++) {
        if (!is_job(&requests[i])) continue;
        any = true;
        *culprit = i;
        if (!c->model) return need_model(&requests[i], err);
    }
    if (!any) return RH_OK;
    RH_TRY(rh_jobs_make(&j, c, requests, n, culprit, err));
    rh_status status = run_pass(c, &j, culprit, err);
    for (int32_t i = 0; i < n && !status; i++)
        if (j.of_request[i] >= 0) status = fill(&j.items[j.of_request[i]], &requests[i], err);
    for (int32_t i = 0; i < j.n && !status; i++) {
        const rh_job *job = &j.items[i];
        bool pairs = rh_reads_pairs(job->spec->kind), text = job->spec->kind == RH_ATOM_ACT;
        status = rh_note_source(c, job->spec, text ? NULL : job->content, job->entry.positives,
                                pairs ? job->entry.negatives : -1, job->entry.tokens, err);
    }
    rh_jobs_free(&j);
    return status;
}

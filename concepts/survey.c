/* survey.c - what computing would take, counted without running the model: for `explain`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/jobs.h"
#include "concepts/texts.h"

/* Counts of one job, by a pass of its own that is planned and not run. */
static rh_status count_job(rh_atom_survey *out, rh_concepts *c, const rh_job *job, rh_error *err)
{
    rh_pass alone = {0};
    rh_job_texts texts = {0};
    rh_pass_options o = rh_job_pass_options(c);
    int32_t atom = 0, layer = 0;
    rh_status status = rh_pass_atom_add(&alone, &atom, job->key, job->hook, 1, &layer, 1, err);
    if (!status) status = rh_job_read(&texts, c, job, &alone, atom, true, err);
    if (!status) status = rh_pass_plan(&alone, &o, err);
    if (!status) {
        *out = (rh_atom_survey){.prompts = alone.asked,
                                .distinct = (int64_t)alone.n_prompts,
                                .tokens = texts.tokens,
                                .read = texts.read,
                                .cached = job->n_missing == 0};
        memcpy(out->sample, texts.sample, sizeof out->sample);
    }
    rh_pass_free(&alone);
    return status;
}

static rh_status count_pass(rh_plan_survey *all, rh_concepts *c, rh_jobs *j, rh_error *err)
{
    rh_pass pass = {0};
    rh_pass_options o = rh_job_pass_options(c);
    rh_status status = RH_OK;
    for (int32_t i = 0; i < j->n && !status; i++) {
        rh_job *job = &j->items[i];
        rh_job_texts texts = {0};
        if (!job->n_missing) continue;
        status = rh_pass_atom_add(&pass, &job->atom, job->key, job->hook, job->width, job->missing, job->n_missing, err);
        if (!status) status = rh_job_read(&texts, c, job, &pass, job->atom, false, err);
    }
    if (!status) status = rh_pass_plan(&pass, &o, err);
    if (!status) {
        double rate = rh_rate_get(c);
        *all = (rh_plan_survey){.prompts = pass.asked,
                                .distinct = (int64_t)pass.n_prompts,
                                .tokens = pass.asked_tokens,
                                .shared_tokens = pass.rows,
                                .deepest = pass.deepest,
                                .seconds = rate > 0 ? (double)pass.rows * (pass.deepest + 1) / rate : -1};
        if (!pass.n_prompts) all->seconds = 0;
    }
    rh_pass_free(&pass);
    return status;
}

/* Without a model there are texts, but no tokens. */
static rh_status count_texts(rh_atom_survey *out, const rh_atom_spec *spec, rh_error *err)
{
    rh_pairs pairs = {0};
    rh_status status = rh_texts_read(&pairs, spec, err);
    if (status) {
        if (status != RH_ENOMEM) rh_fold_place(err);
        return status;
    }
    *out = (rh_atom_survey){.prompts = (int64_t)pairs.n, .distinct = (int64_t)pairs.n};
    const char *text = pairs.rows[0].text;
    size_t n = pairs.rows[0].len < sizeof out->sample ? pairs.rows[0].len : sizeof out->sample - 1;
    while (n < pairs.rows[0].len && n && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    memcpy(out->sample, text, n);
    rh_pairs_free(&pairs);
    return RH_OK;
}

rh_status rh_jobs_survey(rh_concepts *c, const rh_atom_request *requests, int32_t n, rh_atom_survey *each,
                         rh_plan_survey *all, rh_error *err)
{
    rh_jobs j = {0};
    rh_status status = RH_OK;
    int32_t culprit;
    *all = (rh_plan_survey){.deepest = -1};
    for (int32_t i = 0; i < n; i++) each[i] = (rh_atom_survey){0};
    if (!c->model) {
        for (int32_t i = 0; i < n && !status; i++)
            if (rh_is_extracted(requests[i].spec->kind))
                status = count_texts(&each[i], requests[i].spec, err);
        all->seconds = -1;
        return status;
    }
    RH_TRY(rh_jobs_make(&j, c, requests, n, &culprit, err));
    for (int32_t i = 0; i < n && !status; i++) {
        if (j.of_request[i] < 0) continue;
        const rh_job *job = &j.items[j.of_request[i]];
        if (job->request == i)
            status = count_job(&each[i], c, job, err);
        else
            each[i] = each[job->request];
    }
    if (!status) status = count_pass(all, c, &j, err);
    rh_jobs_free(&j);
    return status;
}

/* jobs.h - sources that need the model, one job for each (source, hook) that a call asks for.
 * Shared by computing (jobs.c) and counting (survey.c). */
#ifndef RH_CONCEPTS_JOBS_H
#define RH_CONCEPTS_JOBS_H

#include "concepts/cache.h"
#include "concepts/pass.h"

typedef struct rh_job {
    const rh_atom_spec *spec;
    rh_hook hook;
    int32_t d, width;        /* of the result; of the states read */
    int32_t request;         /* the first that asks, for errors */
    char content[65], key[65];
    rh_entry entry;          /* from the cache; after the pass, everything asked for */
    int32_t *missing;        /* [n_missing] layers asked for and not in the entry, ascending */
    int32_t n_missing;
    int32_t atom;            /* of the pass, if something is missing */
} rh_job;

typedef struct rh_jobs {
    rh_job *items;
    int32_t n;
    int32_t *of_request;     /* [n_requests] index into items, -1: not of these kinds */
} rh_jobs;

/* One job a key, the cache looked into. Needs a model. */
rh_status rh_jobs_make(rh_jobs *out, rh_concepts *c, const rh_atom_request *requests, int32_t n,
                       int32_t *culprit, rh_error *err);
void rh_jobs_free(rh_jobs *j);

/* What reading a job's texts found. */
typedef struct rh_job_texts {
    int64_t positives, negatives, tokens, read;
    int64_t at_zero;         /* texts of which only position 0 can be read */
    char sample[256];        /* of the first text */
    char doubts[200];        /* rows that count twice or add nothing; "" */
} rh_job_texts;
/* The texts of a job as prompts of the pass's atom. sample: fill texts->sample. A fault's place is
 * in the message. */
rh_status rh_job_read(rh_job_texts *texts, rh_concepts *c, const rh_job *job, rh_pass *pass, int32_t atom,
                      bool sample, rh_error *err);

/* ---- fit.c: what the pass has kept becomes the vector ---- */

rh_keep rh_job_keep(const rh_atom_spec *spec);
/* out [job->d]: the job's vector at the layer-th of its missing layers, from a pass that ran. */
rh_status rh_job_fit(float *out, const rh_job *job, const rh_pass *p, int32_t layer, rh_error *err);

rh_pass_options rh_job_pass_options(const rh_concepts *c);
/* RH_EVALUE: the CSV is not paired. */
rh_status rh_pca_needs_pairs(const rh_atom_spec *spec, rh_error *err);
/* "FILE:LINE: message", with file and line taken out of the error. */
void rh_fold_place(rh_error *err);

#endif

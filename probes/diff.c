/* diff.c - the order of the experiment: texts, states, sites, choice, doubts. See diff.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/clock.h"
#include "base/mem.h"
#include "probes/diff_parts.h"

const char *const RH_DIFF_POSITION_NAMES[RH_DIFF_POSITIONS] = {"last", "mean", "marked"};

void rh_diff_report_free(rh_diff_report *r)
{
    if (!r) return;
    free(r->model);
    free(r->path);
    free(r->layers);
    free(r->sites);
    free(r->cosine);
    free(r->directions);
    free(r->choice.reason);
    free(r->notes);
    free(r);
}

/* ---- measuring ------------------------------------------------------------------------------------- */

static void fill_cosines(rh_diff_report *r)
{
    int32_t n = r->n_layers;
    for (int32_t p = 0; p < r->n_positions; p++)
        for (int32_t a = 0; a < n; a++)
            for (int32_t b = 0; b < n; b++)
                r->cosine[((size_t)p * (size_t)n + (size_t)a) * (size_t)n + (size_t)b] =
                    rh_cosine(r->directions + ((size_t)p * (size_t)n + (size_t)a) * (size_t)r->d,
                              r->directions + ((size_t)p * (size_t)n + (size_t)b) * (size_t)r->d, r->d);
}

static rh_status measure_site(rh_diff_report *r, int32_t s, rh_diff_fold *folds, double *null_auc, rh_diff_columns *columns,
                              rh_diff_block *block, rh_error *err)
{
    rh_diff_site *x = &r->sites[s];
    *x = (rh_diff_site){.position = s / r->n_layers, .layer = r->layers[s % r->n_layers]};
    block->by_token = x->position == RH_DIFF_MARKED;
    RH_TRY(rh_diff_separation(x, folds, null_auc, block, s, err));
    if (r->n_permutations > 0) {
        /* rh_quantile sorts, and choosing needs the order of the permutations. */
        double *sorted = rh_calloc((size_t)r->n_permutations, sizeof *sorted);
        if (!sorted) return rh_fail_nomem(err);
        memcpy(sorted, null_auc, (size_t)r->n_permutations * sizeof *sorted);
        x->auc_control_95 = rh_quantile(sorted, r->n_permutations, 0.95);
        free(sorted);
    } else {
        x->auc_control_95 = NAN;
    }
    return rh_diff_stability(x, r->directions + (size_t)s * (size_t)r->d, columns, block, s, err);
}

rh_status rh_diff_measure(rh_diff_report *r, const rh_diff_design *g, const rh_diff_store *store, rh_progress_fn progress,
                          void *progress_data, rh_error *err)
{
    int32_t n_sites = r->n_layers * r->n_positions;
    size_t sites = (size_t)n_sites, k = (size_t)g->n_folds, n = (size_t)g->n_labellings - 1;
    rh_diff_block block = {0};
    rh_diff_columns *columns = NULL;
    rh_diff_fold *folds = rh_calloc(sites * k, sizeof *folds);
    double *null_auc = rh_calloc(sites * n, sizeof *null_auc);
    rh_status status = RH_OK;
    r->n_folds = g->n_folds;
    r->n_groups = g->n_groups;
    r->n_permutations = g->n_labellings - 1;
    r->n_bootstrap = g->n_bootstrap;
    r->sites = rh_calloc(sites, sizeof *r->sites);
    r->cosine = rh_calloc(sites * (size_t)r->n_layers, sizeof *r->cosine);
    r->directions = rh_calloc(sites * (size_t)r->d, sizeof *r->directions);
    if (!folds || !null_auc || !r->sites || !r->cosine || !r->directions) status = rh_fail_nomem(err);
    if (!status) status = rh_diff_block_new(&block, store, g, err);
    if (!status) status = rh_diff_columns_new(&columns, g, r->d, err);
    for (int32_t s = 0; s < n_sites && !status; s++) {
        if (progress && !progress(progress_data, "places measured", s, n_sites))
            status = rh_fail(err, RH_ECANCELLED, "stopped after %d of %d places", (int)s, (int)n_sites);
        else
            status = measure_site(r, s, folds + (size_t)s * k, null_auc + (size_t)s * n, columns, &block, err);
    }
    if (!status && progress) (void)progress(progress_data, "places measured", n_sites, n_sites);
    if (!status) fill_cosines(r);
    if (!status) status = rh_diff_choose(r, folds, null_auc, err);
    rh_diff_columns_free(columns);
    rh_diff_block_free(&block);
    free(folds);
    free(null_auc);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

static rh_status set_layers(rh_diff_report *r, const rh_model *m, const rh_diff_options *o, rh_error *err)
{
    int32_t all = m->config.n_layers;
    r->model_layers = all;
    r->n_layers = o->n_layers ? o->n_layers : all;
    r->layers = rh_calloc((size_t)r->n_layers, sizeof *r->layers);
    if (!r->layers) return rh_fail_nomem(err);
    for (int32_t i = 0; i < r->n_layers; i++) {
        r->layers[i] = o->n_layers ? o->layers[i] : i;
        if (r->layers[i] < 0 || r->layers[i] >= all || (i && r->layers[i] <= r->layers[i - 1]))
            return rh_fail(err, RH_ESITE, "the model has layers 0..%d, and layer %d was asked for", (int)all - 1, (int)r->layers[i]);
    }
    return RH_OK;
}

static rh_status check_options(const rh_diff_options *o, rh_error *err)
{
    if (o->folds < 2 || o->folds > 100) return rh_fail(err, RH_EVALUE, "folds must be 2 to 100, not %d", (int)o->folds);
    if (o->bootstrap < 0 || o->permutations < 0 || o->bootstrap > 100000 || o->permutations > 100000 || o->sample < 0)
        return rh_fail(err, RH_EVALUE, "a negative or far too large number of samples");
    return RH_OK;
}

static void announce(const rh_diff_report *r, const rh_diff_options *o)
{
    rh_str line = {0};
    double mib = (double)r->file_bytes / (1 << 20);
    if (!o->note) return;
    rh_str_printf(&line, "the states of %lld texts at %d layers and %d positions take %.1f %s of disk in %s while this runs%s",
                  (long long)r->n_texts, (int)r->n_layers, (int)r->n_positions, mib < 1024 ? mib : mib / 1024,
                  mib < 1024 ? "MiB" : "GiB", o->dir, mib > 1024 && !o->sample ? "; --sample N takes fewer" : "");
    if (line.data && !line.failed) o->note(o->note_data, line.data);
    rh_str_free(&line);
}

static void announce_earlier(const rh_diff_store *store, const rh_diff_options *o)
{
    char line[96];
    snprintf(line, sizeof line, "%lld of %d texts were read by an earlier run", (long long)store->done, (int)store->n);
    if (o->note) o->note(o->note_data, line);
}

static rh_status start(rh_diff_report *r, rh_diff_texts *texts, rh_str *notes, const rh_model *m, const rh_diff_options *o,
                       rh_error *err)
{
    RH_TRY(check_options(o, err));
    r->model = rh_strdup(m->name);
    r->path = rh_strdup(o->path);
    r->d = m->config.d_model;
    r->seed = o->seed;
    r->choice.site = -1;
    if (!r->model || !r->path) return rh_fail_nomem(err);
    RH_TRY(set_layers(r, m, o, err));
    RH_TRY(rh_diff_texts_read(texts, r, notes, m, o, err));
    r->n_positions = texts->n_positions;
    r->sampled = r->n_texts < r->n_rows * (r->paired ? 2 : 1);
    r->file_bytes = (int64_t)r->n_texts * r->n_layers * r->n_positions * (r->d + 1) * (int64_t)sizeof(float);
    return RH_OK;
}

static rh_status finish(rh_diff_report *r, rh_str *notes, rh_error *err)
{
    rh_diff_doubts(notes, r);
    rh_str_puts(notes, "");
    if (notes->len && notes->data[notes->len - 1] == '\n') notes->data[--notes->len] = '\0';
    if (notes->failed || !notes->data) return rh_fail_nomem(err);
    r->notes = notes->data;
    *notes = (rh_str){0};
    return RH_OK;
}

rh_status rh_probe_diff(rh_diff_report **out, const rh_model *m, const rh_diff_options *o, rh_error *err)
{
    rh_comm alone = rh_comm_serial();
    const rh_comm *comm = o->comm ? o->comm : &alone;
    rh_diff_texts texts = {0};
    rh_diff_store store = {0};
    rh_str notes = {0};
    double begun = rh_seconds(), read, run;
    rh_diff_report *r = rh_calloc(1, sizeof *r);
    rh_status status = r ? start(r, &texts, &notes, m, o, err) : rh_fail_nomem(err);
    if (!status && comm->rank == 0) {
        char name[65];
        announce(r, o);
        status = rh_diff_states_name(name, &texts, r, m, err);
        if (!status) status = rh_diff_store_open(&store, o->dir, name, texts.design.n, r->d, r->n_layers * r->n_positions, err);
        if (!status && store.done) announce_earlier(&store, o);
    }
    status = rh_comm_agree(comm, status, err);
    read = rh_seconds();
    if (!status) status = rh_diff_states(&store, &texts, r, m, o, comm, err);
    run = rh_seconds();
    if (!status && comm->rank == 0) {
        status = rh_diff_measure(r, &texts.design, &store, o->progress, o->progress_data, err);
        r->seconds_read = read - begun;
        r->seconds_run = run - read;
        r->seconds_measure = rh_seconds() - run;
        if (!status) status = finish(r, &notes, err);
        if (status != RH_ECANCELLED) rh_spill_remove(&store.file);
    }
    if (status == RH_ECANCELLED && store.done && store.file.path)
        rh_hint(err, "what is read so far is kept; the same command goes on from there");
    rh_diff_store_close(&store);
    rh_diff_texts_free(&texts);
    rh_str_free(&notes);
    if (status || comm->rank != 0) {
        rh_diff_report_free(r);
        r = NULL;
    }
    if (!status) *out = r;
    return status;
}

/* ---- the direction as a file ------------------------------------------------------------------------ */

rh_status rh_diff_vector(rh_vector **out, const rh_diff_report *r, rh_error *err)
{
    rh_vector *v = NULL;
    if (r->choice.site < 0) return rh_fail(err, RH_EVALUE, "no direction stands out, so there is none to save");
    const rh_diff_site *x = &r->sites[r->choice.site];
    RH_TRY(rh_vector_new(&v, r->d, RH_RESID_POST, &x->layer, 1, err));
    memcpy(v->data, r->directions + (size_t)r->choice.site * (size_t)r->d, (size_t)r->d * sizeof *v->data);
    *out = v;
    return RH_OK;
}

rh_status rh_diff_metadata(char **json, const rh_model *m, const rh_diff_options *o, const rh_diff_report *r,
                           const rh_vector *v, const char *created, rh_error *err)
{
    static const char *const ats[RH_DIFF_POSITIONS] = {"", ", at=mean", ", at=marked"};
    static const rh_at kinds[RH_DIFF_POSITIONS] = {RH_AT_LAST, RH_AT_MEAN, RH_AT_MARKED};
    rh_concepts *c = NULL;
    rh_str expression = {0};
    const rh_diff_site *x = &r->sites[r->choice.site];
    rh_concepts_options co = {.special = o->special};
    rh_atom_spec spec = {.kind = RH_ATOM_DIM, .text = r->path, .text_len = strlen(r->path), .at = kinds[x->position],
                         .chat = o->chat, .prefix = o->prefix ? o->prefix : "", .positive = o->positive,
                         .negative = o->negative};
    rh_str_printf(&expression, "dim(\"%s\"%s%s) @ %d", r->path, ats[x->position], o->chat ? ", chat=true" : "", (int)x->layer);
    if (r->sampled) rh_str_printf(&expression, " # of %lld texts, seed %llu", (long long)r->n_texts, (unsigned long long)r->seed);
    rh_status status = expression.failed ? rh_fail_nomem(err) : rh_concepts_new(&c, m, &co, err);
    if (!status) status = rh_concepts_note_pairs(c, &spec, r->sha256, r->n_class[0], r->n_class[1], r->n_tokens, err);
    if (!status) status = rh_concepts_metadata(json, c, expression.data, v, created, err);
    rh_concepts_free(c);
    rh_str_free(&expression);
    return status;
}

#include "probes/state_source.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "concepts/concepts.h"
#include "concepts/corpus.h"

typedef struct file { rh_corpus *corpus; const char *path; bool ended; } file;

struct rh_state_source {
    const rh_model *m;
    rh_states *states;
    file *files;             /* [n_files] */
    int32_t n_files, context;
    int64_t rounds, tokens;
    int32_t *pool;           /* ids of the batch */
    size_t n_pool, cap_pool;
    rh_id_text *texts;       /* their ids are offsets until the batch is complete */
    size_t *offsets;
    size_t n_texts, cap_texts, cap_offsets;
};

rh_status rh_state_source_new(rh_state_source **out, const rh_model *m, int32_t layer, rh_hook hook, const char *const *paths,
                              int32_t n_paths, int32_t context, rh_error *err)
{
    if (context < 2 || context > m->config.n_ctx)
        return rh_fail(err, RH_EVALUE, "pieces of %d tokens: %.80s reads 2 to %d", (int)context, m->name, (int)m->config.n_ctx);
    rh_state_source *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    *s = (rh_state_source){.m = m, .context = context};
    s->files = rh_calloc((size_t)n_paths, sizeof *s->files);
    rh_status status = s->files ? rh_states_new(&s->states, m, layer, hook, hook, err) : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < n_paths; i++, s->n_files++) {
        s->files[i].path = paths[i];
        status = rh_corpus_open(&s->files[i].corpus, &paths[i], 1, err);
    }
    if (status) rh_state_source_free(s);
    else *out = s;
    return status;
}

void rh_state_source_free(rh_state_source *s)
{
    if (!s) return;
    for (int32_t i = 0; i < s->n_files; i++) rh_corpus_free(s->files[i].corpus);
    rh_states_free(s->states);
    free(s->files);
    free(s->pool);
    free(s->texts);
    free(s->offsets);
    free(s);
}

/* ---- documents ------------------------------------------------------------------------------- */

/* The file of which the smallest part was read; NULL: all are at their end. */
static file *turn(const rh_state_source *s)
{
    file *next = NULL;
    double least = 2;
    for (int32_t i = 0; i < s->n_files; i++) {
        int64_t read, all;
        if (s->files[i].ended) continue;
        rh_corpus_bytes(s->files[i].corpus, &read, &all);
        const double share = all > 0 ? (double)read / (double)all : 0;
        if (share >= least) continue;
        least = share;
        next = &s->files[i];
    }
    return next;
}

static rh_status begin_again(rh_state_source *s, rh_error *err)
{
    s->rounds++;
    for (int32_t i = 0; i < s->n_files; i++) {
        rh_corpus_free(s->files[i].corpus);
        s->files[i].corpus = NULL;
        RH_TRY(rh_corpus_open(&s->files[i].corpus, &s->files[i].path, 1, err));
        s->files[i].ended = false;
    }
    return RH_OK;
}

static rh_status add_piece(rh_state_source *s, const int32_t *ids, int32_t n, int32_t bos, rh_error *err)
{
    if (n + (bos >= 0) < 2) return RH_OK;
    if (!RH_GROW(s->texts, s->cap_texts, s->n_texts) || !RH_GROW(s->offsets, s->cap_offsets, s->n_texts)) return rh_fail_nomem(err);
    s->offsets[s->n_texts] = s->n_pool;
    s->texts[s->n_texts].n = n + (bos >= 0);
    for (int32_t i = bos >= 0 ? -1 : 0; i < n; i++) {
        if (!RH_GROW(s->pool, s->cap_pool, s->n_pool)) return rh_fail_nomem(err);
        s->pool[s->n_pool++] = i < 0 ? bos : ids[i];
    }
    s->n_texts++;
    return RH_OK;
}

/* Pieces as long as the context allows; the model's BOS begins each of them. */
static rh_status add_document(rh_state_source *s, const char *text, size_t len, rh_error *err)
{
    const rh_prompt_options plain = {0};
    rh_prompt p = {0};
    RH_TRY(rh_prompt_make(&p, s->m, text, len, &plain, err));
    const int32_t bos = rh_tokenizer_bos(s->m->tokenizer);
    const bool begins = bos >= 0 && p.n > 0 && p.ids[0] == bos;
    const int32_t step = s->context - begins;
    rh_status status = RH_OK;
    for (int32_t i = begins; !status && i < p.n; i += step)
        status = add_piece(s, p.ids + i, p.n - i < step ? p.n - i : step, begins ? bos : -1, err);
    rh_prompt_free(&p);
    return status;
}

/* ---- batches ----------------------------------------------------------------------------------- */

rh_status rh_state_source_texts(const rh_id_text **texts, int32_t *n, bool *ended, rh_state_source *s, rh_error *err)
{
    *ended = false;
    s->n_texts = s->n_pool = 0;
    while (s->n_pool < RH_STATES_BATCH) {
        const char *text;
        size_t len;
        file *f = turn(s);
        if (!f) {
            *ended = true;
            RH_TRY(begin_again(s, err));
            break;
        }
        RH_TRY(rh_corpus_next(f->corpus, &text, &len, &f->ended, err));
        if (!f->ended) RH_TRY(add_document(s, text, len, err));
    }
    for (size_t i = 0; i < s->n_texts; i++) s->texts[i].ids = s->pool + s->offsets[i];
    s->tokens += (int64_t)s->n_pool;
    *texts = s->texts;
    *n = (int32_t)s->n_texts;
    return RH_OK;
}

rh_status rh_state_source_next(rh_state_rows *out, bool *ended, rh_state_source *s, rh_error *err)
{
    const int64_t rounds = s->rounds;
    const rh_id_text *texts;
    int32_t n;
    bool now;
    *ended = false;
    do {
        RH_TRY(rh_state_source_texts(&texts, &n, &now, s, err));
        *ended |= now;
        if (!n && s->rounds > rounds + 1) return rh_fail(err, RH_EVALUE, "the corpus holds no text of two tokens");
        RH_TRY(rh_states_read(out, s->states, texts, n, err));
    } while (!out->n);
    return RH_OK;
}

void rh_state_source_at(int64_t *at, int64_t *rounds, int64_t *tokens, const rh_state_source *s)
{
    for (int32_t i = 0; i < s->n_files; i++) at[i] = rh_corpus_at(s->files[i].corpus);
    *rounds = s->rounds;
    *tokens = s->tokens;
}

rh_status rh_state_source_go(rh_state_source *s, const int64_t *at, int64_t rounds, int64_t tokens, rh_error *err)
{
    for (int32_t i = 0; i < s->n_files; i++) RH_TRY(rh_corpus_skip(s->files[i].corpus, at[i], err));
    s->rounds = rounds;
    s->tokens = tokens;
    return RH_OK;
}

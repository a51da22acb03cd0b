/* pages.h - what a corpus says about every feature of an SAE: one pass, bounded memory, stopped and taken up again.
 *
 * A corpus is read in windows of `context` tokens behind what documents begin with; the first position of a window is
 * not read. Of each feature are kept: how often and how strongly it was active, a histogram, the RH_PAGE_TOP windows
 * where it was strongest (one place a window, the same words once) and RH_PAGE_SAMPLES of its active tokens drawn
 * evenly. That is sizeof(rh_page_stats), about 1.2 KiB a feature, and 4 bytes a token of the corpus, however long it is.
 *
 * On disk, under the cache: features/SAE-MODEL.pages, the last corpus that was read to its end, and
 * features/KEY.part, one that was stopped, by SAE, model, corpus and options. */
#ifndef RH_PROBES_PAGES_H
#define RH_PROBES_PAGES_H

#include "concepts/corpus.h"
#include "probes/sae_seat.h"

enum { RH_PAGE_TOP = 10, RH_PAGE_SAMPLES = 10, RH_PAGE_BEFORE = 20, RH_PAGE_CONTEXT = 30, RH_PAGE_BINS = 72 };

/* Tokens around one place of the corpus. */
typedef struct rh_page_place {
    float value;                   /* of the feature there */
    int32_t at;                    /* in rh_pages.ids */
    uint8_t before, n;             /* tokens in front of it, and of all */
    uint8_t act[RH_PAGE_CONTEXT];  /* activations in parts of 255 of value, more than that 255 */
} rh_page_place;

typedef struct rh_page_stats {
    int64_t active;                /* tokens */
    double sum;
    uint32_t bins[RH_PAGE_BINS];   /* quarter octaves: bin b from 2^(b/4 - 6) */
    rh_page_place top[RH_PAGE_TOP], samples[RH_PAGE_SAMPLES]; /* top: the strongest first; samples: by rank */
    uint64_t ranks[RH_PAGE_SAMPLES]; /* of the samples: the smallest of all */
    int32_t n_top, n_samples;
} rh_page_stats;

typedef struct rh_pages {
    char key[65], sae[65], model[65]; /* fingerprints */
    int32_t n_features, context;
    int64_t documents, tokens;     /* tokens: read, so without the first position of windows */
    bool done;
    int32_t *ids; int64_t n_ids;   /* of all windows, one after the other */
    rh_page_stats *features;       /* [n_features] */
} rh_pages;
void rh_pages_free(rh_pages *p);

typedef struct rh_pages_options {
    int32_t context;               /* tokens of a window, 2.. */
    int64_t max_tokens;            /* of the corpus to take; 0: all */
    double save_seconds;           /* between two savings */
    const char *cache_dir;         /* NULL: nothing is kept */
    rh_progress_fn progress;       /* may be NULL */
    void *progress_data;
    int64_t *resumed;              /* tokens taken from a stopped run; may be NULL */
} rh_pages_options;

/* s opened for RH_SAE_ENCODE. What was read to its end is kept, and what is stored of the same SAE, model, corpus and
 * options is taken as it is. RH_ECANCELLED: progress said so; what was read so far is kept. RH_EVALUE: no token. */
rh_status rh_pages_run(rh_pages **out, const rh_model *m, const rh_sae *s, const rh_seat *seat, rh_corpus *corpus,
                       const rh_pages_options *o, rh_error *err);
/* What was stored last for this SAE and model; *out NULL: nothing, or a file that is damaged. */
rh_status rh_pages_stored(rh_pages **out, const rh_model *m, const rh_sae *s, const char *cache_dir, rh_error *err);

/* pages_store.c */
rh_status rh_pages_load(rh_pages **out, const char *path, rh_error *err); /* *out NULL: not there, or damaged */
rh_status rh_pages_save(const rh_pages *p, const char *path, rh_error *err);
char *rh_pages_path(const rh_pages *p, const char *cache_dir); /* where it belongs as far as it is; NULL: no memory */

#endif

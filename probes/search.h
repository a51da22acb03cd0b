/* search.h - which features of some SAEs a text switches on: one pass over the model, then one SAE after the other, so
 * that no two of them are in memory at once. Returns a plain report. */
#ifndef RH_PROBES_SEARCH_H
#define RH_PROBES_SEARCH_H

#include "concepts/feature_notes.h"
#include "probes/sae_seat.h"

typedef struct rh_search_options {
    int32_t top;                 /* hits to keep, 1.. */
    bool by_sum;                 /* rank by the sum over the ranked tokens, else by the largest */
    const int32_t *tokens;       /* [n_tokens] positions to rank by; none: all but the first */
    int32_t n_tokens;
    int32_t layer;               /* of SAEs that do not say theirs; -1: an error */
    bool force_model;
    const char *cache_dir;       /* with notes on features; NULL: none */
    rh_progress_fn progress;     /* may be NULL */
    void *progress_data;
} rh_search_options;

typedef struct rh_search_hit {
    int32_t sae, feature;        /* index in saes */
    double score, max;           /* max: over the ranked tokens */
    int32_t at;                  /* the token of max */
    float *act;                  /* [n_tokens] 0 at the first */
    char *label;                 /* NULL: none */
    rh_label_source source;
    bool measured;
    double max_act, density;     /* of the notes; NaN if not measured */
} rh_search_hit;

typedef struct rh_search_sae {
    char *path;
    rh_seat seat;
    int32_t n_features;
    double active;               /* features a ranked token */
} rh_search_sae;

typedef struct rh_search_report {
    char *model, *text;
    bool by_sum;
    rh_shaded *tokens;           /* [n_tokens] value: 1 if ranked, else 0 */
    int32_t n_tokens, n_ranked;
    rh_search_sae *saes; int32_t n_saes;
    rh_search_hit *hits; int32_t n_hits; /* the best first; ties: the SAE given first, then the lower index */
} rh_search_report;
void rh_search_report_free(rh_search_report *r);

/* RH_EVALUE: no token to rank by, or a position that is not there. Others as rh_sae_seat and rh_sae_open. */
rh_status rh_probe_search(rh_search_report **out, const rh_model *m, const char *const *paths, int32_t n_paths, const char *text,
                          const rh_search_options *o, rh_error *err);

#endif

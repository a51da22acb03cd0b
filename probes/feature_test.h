/* feature_test.h - features of one SAE looked at: on texts token by token, and as pages of what a corpus said. Fills
 * one report; rh_test_begin, then any of the others. Knows pages.h's numbers and the model's tokens; no format. */
#ifndef RH_PROBES_FEATURE_TEST_H
#define RH_PROBES_FEATURE_TEST_H

#include "concepts/feature_notes.h"
#include "probes/pages.h"

/* A place of the corpus where the feature was active. */
typedef struct rh_page_context {
    double value, quantile;      /* quantile: of samples, the share of active tokens that are weaker; else NaN */
    int32_t peak;                /* in the track: the token that value belongs to */
    rh_watch_track track;        /* tokens around it, to one part in 255 of the value */
} rh_page_context;

typedef struct rh_page_bin { double lo, hi; int64_t n; } rh_page_bin;

typedef struct rh_feature_page {
    int32_t feature;
    char *label;                 /* NULL: none */
    rh_label_source source;
    int64_t active;              /* tokens; 0: nowhere in the corpus */
    double density, max, mean;   /* mean: of the tokens where it is active */
    rh_page_bin *bins; int32_t n_bins;
    rh_page_context *top, *samples; int32_t n_top, n_samples; /* each the strongest first */
    bool has_logits;             /* it writes where the vocabulary reads */
    rh_nearest logits;           /* W_U·(γ⊙row) */
} rh_feature_page;

/* A line of the table of all features. */
typedef struct rh_feature_line {
    int32_t feature;
    char *label;
    rh_label_source source;
    double density, max;
    char *words;                 /* the tokens of its strongest places: "rain", "rains" */
} rh_feature_line;

typedef struct rh_test_report {
    char *model, *sae;
    rh_seat seat;
    int32_t n_features;
    int64_t tokens, documents;   /* of the corpus; 0: no pages */
    int32_t context, dead;       /* dead: features active nowhere */
    rh_feature_page *pages; int32_t n_pages;
    rh_feature_line *lines; int32_t n_lines;       /* the most frequent first, without dead ones */
    rh_watch_track *tracks; int32_t n_tracks;      /* text by text, in each the features; value NaN at the first token */
    int32_t n_texts;
} rh_test_report;
void rh_test_report_free(rh_test_report *r);

rh_status rh_test_begin(rh_test_report **out, const rh_model *m, const rh_sae *s, const char *path, const rh_seat *seat, rh_error *err);
/* s opened for RH_SAE_ENCODE. RH_EVALUE: a text without a token. */
rh_status rh_test_texts(rh_test_report *r, const rh_model *m, const rh_sae *s, const int32_t *features, int32_t n, const char *const *texts,
                        int32_t n_texts, const rh_feature_notes *notes, rh_error *err);
/* top_tokens: logits each way. */
rh_status rh_test_pages(rh_test_report *r, const rh_model *m, const rh_sae *s, const rh_pages *p, const int32_t *features, int32_t n,
                        int32_t top_tokens, const rh_feature_notes *notes, rh_error *err);
rh_status rh_test_lines(rh_test_report *r, const rh_model *m, const rh_pages *p, const rh_feature_notes *notes, rh_error *err);

/* page_words.c: the tokens at which a feature is strongest, as a label: `"rain", "rains"`; "" if it is dead. Appends. */
rh_status rh_page_words(rh_str *out, const rh_model *m, const rh_pages *p, int32_t feature, rh_error *err);
/* Labels from them, where there is none or one that was made so; *n_out: how many. Not written to disk. */
rh_status rh_auto_label(int32_t *n_out, rh_feature_notes *notes, const rh_model *m, const rh_pages *p, rh_error *err);

#endif

/* feature_notes.h - what is known of an SAE's features: labels that somebody gave them, how strong and how
 * often they were seen, and how well the SAE fits a model. Kept under the cache folder, by the SAE's
 * fingerprint, so that the same weights in any folder share them. Knows SAEs and files; no model, and not
 * how the numbers came about. */
#ifndef RH_CONCEPTS_FEATURE_NOTES_H
#define RH_CONCEPTS_FEATURE_NOTES_H

#include "engine/sae.h"

/* SHA-256 over shapes, biases, thresholds and sampled decoder rows: 64 hex digits. s opened for RH_SAE_ROWS or more. */
rh_status rh_sae_fingerprint(char out[65], const rh_sae *s, rh_error *err);

/* "google/gemma-2-9b-it" and "Gemma 2 9B IT Q4_K_M.gguf" are one name, as far as the shorter goes. */
bool rh_model_names_agree(const char *a, const char *b);

typedef enum rh_label_source { RH_LABEL_NONE = 0, RH_LABEL_NEURONPEDIA, RH_LABEL_CSV, RH_LABEL_AUTO } rh_label_source;
const char *rh_label_source_name(rh_label_source s); /* "neuronpedia", … */

enum { RH_LABEL_MAX = 400 }; /* bytes of a label; more is cut at a code point */

typedef struct rh_feature_notes rh_feature_notes; /* owner: rh_feature_notes_free */

typedef struct rh_feature_note {
    const char *label;       /* NULL without one; borrowed until a label is set */
    rh_label_source source;
    bool measured;           /* the three below say something */
    float max_act, density;  /* largest activation seen; share of tokens at which it was active */
    int64_t tokens;          /* over so many tokens */
} rh_feature_note;

/* How well the SAE reconstructs a model's states: position 0 left out. */
typedef struct rh_feature_fit { double fvu, l0; int64_t tokens; } rh_feature_fit;

/* Nothing kept yet, or a file that was damaged: empty notes. cache_dir NULL: empty, and nothing can be
 * written. s opened for RH_SAE_ROWS or more; not kept. */
rh_status rh_feature_notes_open(rh_feature_notes **out, const char *cache_dir, const rh_sae *s, rh_error *err);
void rh_feature_notes_free(rh_feature_notes *n);
const char *rh_feature_notes_fingerprint(const rh_feature_notes *n);
int32_t rh_feature_notes_labels(const rh_feature_notes *n); /* how many features have one */

rh_feature_note rh_feature_notes_get(const rh_feature_notes *n, int32_t i); /* i in range */
/* Features whose label is `label`, or, if there is none, contains it; letters of ASCII in either case.
 * Ascending; *out is free()d by the caller. */
rh_status rh_feature_notes_find(int32_t **out, int32_t *n_out, const rh_feature_notes *n, const char *label, size_t len,
                                rh_error *err);
/* The one feature that rh_feature_notes_find finds (feature_find.c). RH_ENAME: none, or several; the hint lists candidates, as
 * name[3] "label". path, name: the SAE's, for messages. */
rh_status rh_feature_by_label(int32_t *out, const rh_feature_notes *n, const rh_sae *sae, const char *path, const char *name, const char *label,
                              size_t len, rh_error *err);
bool rh_feature_notes_fit(rh_feature_fit *out, const rh_feature_notes *n, const char *model); /* by its fingerprint */

/* label NULL or "": takes it away. Blanks at both ends go, controls become blanks, what is no UTF-8 becomes U+FFFD. */
rh_status rh_feature_notes_label(rh_feature_notes *n, int32_t i, const char *label, rh_label_source source, rh_error *err);
void rh_feature_notes_measure(rh_feature_notes *n, int32_t i, float max_act, float density, int64_t tokens);
rh_status rh_feature_notes_set_fit(rh_feature_notes *n, const char *model, const rh_feature_fit *fit, rh_error *err);

/* CACHE/features/FINGERPRINT.notes, atomic. RH_EIO: no cache folder. */
rh_status rh_feature_notes_write(const rh_feature_notes *n, rh_error *err);

#endif

/* room.h - what the files of concepts/ share. Not for other rooms. */
#ifndef RH_CONCEPTS_ROOM_H
#define RH_CONCEPTS_ROOM_H

#include <jansson.h>

#include "base/mem.h"
#include "concepts/concepts.h"
#include "engine/files/vectorfile.h"
#include "engine/sae.h"

/* Counted up whenever the same inputs would give other numbers: part of every cache key. */
#define RH_EXTRACT_VERSION 1

/* A vector file that an expression loads: read once. */
typedef struct rh_loaded {
    char *path, *name;        /* name: the tensor asked for, or NULL */
    rh_vectorfile file;
    char sha256[65];
    json_t *metadata;         /* parsed, or NULL */
    rh_atom_model made_on;    /* as the metadata says; fingerprint NULL if it does not */
} rh_loaded;

/* An SAE that a book names, at the site of its statement. */
typedef struct rh_named_sae {
    char *path, *name;        /* as asked for; what the book calls it first */
    int32_t asked_layer, layer; /* asked: of the @, -1 without one; layer: where it lives */
    bool asked_hook;
    rh_hook of_hook, hook;    /* of_hook: of the @; hook: where its rows live */
    rh_sae *sae;              /* for RH_SAE_ROWS */
    rh_sae *encoder;          /* the same for RH_SAE_ENCODE, once something needs all its features; or NULL */
    struct rh_feature_notes *notes; /* what is kept of its features; NULL: not asked yet, or no cache */
    char fingerprint[65];
} rh_named_sae;

struct rh_concepts {
    const rh_model *model;    /* NULL: none */
    char *cache_dir;          /* NULL: none */
    rh_concepts_options options;
    rh_resolver resolver;
    rh_loaded **loaded;       /* pointers stay: rh_atom_info borrows their layers */
    size_t n_loaded, cap_loaded;
    rh_named_sae **saes;      /* as `loaded` */
    size_t n_saes, cap_saes;
    rh_str warnings;
    rh_extract_stats stats;
    json_t *sources;          /* array, of the last compute: what metadata says of it */
    json_t *source_stats;     /* array, parallel */
};

/* Kinds by where their numbers come from: any pass over the model; the texts of a CSV; the
 * calibration text. */
static inline bool rh_is_extracted(rh_atom_kind k)
{
    return k == RH_ATOM_DIM || k == RH_ATOM_ACT || (k >= RH_ATOM_PCA && k <= RH_ATOM_RESID_NORM);
}
static inline bool rh_reads_pairs(rh_atom_kind k)
{
    return k == RH_ATOM_DIM || k == RH_ATOM_PCA || k == RH_ATOM_LDA || k == RH_ATOM_LOGREG;
}
static inline bool rh_reads_calibration(rh_atom_kind k) { return k == RH_ATOM_NEUTRAL || k == RH_ATOM_RESID_NORM; }
static inline bool rh_reads_sae(rh_atom_kind k) { return k == RH_ATOM_SAE || k == RH_ATOM_MAX_ACT; }
/* As a user writes it. */
const char *rh_atom_word(rh_atom_kind k);

rh_status rh_concepts_warn(rh_concepts *c, rh_error *err, const char *format, ...) RH_PRINTF(3, 4);

/* ---- single atoms: atoms.c --------------------------------------------------------------- */

rh_status rh_loaded_get(const rh_loaded **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
void rh_loaded_free(rh_loaded *l);
/* The ids of a token or unembed source; one, or several with at=mean. */
rh_status rh_atom_token_ids(rh_tokens *out, const rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
rh_status rh_atom_fill_load(rh_concepts *c, const rh_atom_request *r, rh_error *err);
rh_status rh_atom_fill_token(rh_concepts *c, const rh_atom_request *r, rh_error *err);
/* v = z/‖z‖, z_j the j-th normal deviate of (seed, stream 0). */
rh_status rh_atom_fill_random(const rh_atom_request *r, rh_error *err);

/* ---- features: features.c ------------------------------------------------------------------ */

rh_status rh_named_sae_get(const rh_named_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
void rh_named_sae_free(rh_named_sae *s);
rh_status rh_atom_fill_feature(rh_concepts *c, const rh_atom_request *r, rh_error *err);

/* feature_find.c. RH_ENAME, RH_EVALUE: with a hint that says what there is, or how to come by it. */
rh_status rh_feature_find(int32_t *out, rh_concepts *c, const rh_atom_spec *spec, const char *label, size_t len, rh_error *err);
rh_status rh_atom_fill_max_act(rh_concepts *c, const rh_atom_request *r, rh_error *err);

/* ---- extraction: jobs.c, survey.c --------------------------------------------------------- */

/* All requests of a call that need the model to run, by the cache or one pass. */
rh_status rh_jobs_compute(rh_concepts *c, const rh_atom_request *requests, int32_t n, int32_t *culprit,
                          rh_error *err);
rh_status rh_jobs_survey(rh_concepts *c, const rh_atom_request *requests, int32_t n, rh_atom_survey *each,
                         rh_plan_survey *all, rh_error *err);

/* ---- metadata.c --------------------------------------------------------------------------- */

/* Note a source of this compute; stats of no meaning are -1. */
rh_status rh_note_source(rh_concepts *c, const rh_atom_spec *spec, const char *sha256, int64_t positives,
                         int64_t negatives, int64_t tokens, rh_error *err);
rh_status rh_note_feature(rh_concepts *c, const rh_atom_spec *spec, const rh_named_sae *s, rh_error *err);

#endif

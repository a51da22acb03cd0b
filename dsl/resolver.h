/* resolver.h - all that the language knows of models: a set of questions that concepts/
 * answers. The checker asks `describe` for each atom; evaluation asks `compute` once, with
 * everything it needs, so that all prompts of all atoms go through the model in one pass. */
#ifndef RH_DSL_RESOLVER_H
#define RH_DSL_RESOLVER_H

#include "dsl/diag.h"

typedef enum rh_atom_kind {
    RH_ATOM_DIM, RH_ATOM_ACT, RH_ATOM_TOKEN, RH_ATOM_UNEMBED, RH_ATOM_LOAD, RH_ATOM_RANDOM,
    RH_ATOM_PCA, RH_ATOM_LDA, RH_ATOM_LOGREG, RH_ATOM_NEUTRAL,
    RH_ATOM_RESID_NORM, /* a scalar a layer: requests have d 1 and the hook asked about */
    RH_ATOM_SAE,        /* a feature's decoder row. No function makes it: `sae s = "…"` and s[3] do */
    RH_ATOM_MAX_ACT,    /* a scalar that lives where its feature does: requests have d 1 */
} rh_atom_kind;

static inline bool rh_atom_is_scalar(rh_atom_kind k) { return k == RH_ATOM_RESID_NORM || k == RH_ATOM_MAX_ACT; }

typedef enum rh_at { RH_AT_LAST = 0, RH_AT_TEXT_LAST, RH_AT_MEAN, RH_AT_ALL, RH_AT_MARKED } rh_at;

/* A source as the user wrote it, options read and checked for type. Paths are already
 * resolved against the book's folder. */
typedef struct rh_atom_spec {
    rh_atom_kind kind;
    const char *text;      /* path (dim, load, sae), or text (act, token, unembed); NUL-terminated */
    size_t text_len;
    uint64_t seed;         /* random */
    rh_at at;              /* token, unembed: RH_AT_MEAN averages several tokens */
    bool chat;
    const char *prefix;    /* "" if none */
    const char *positive, *negative; /* CSV columns; NULL: the defaults */
    const char *name;      /* load: which tensor; NULL. sae: what the book calls it */
    bool no_center;        /* pca: center=false */
    double shrink;         /* lda, in [0, 1]; default 0.1 */
    double l2;             /* logreg, > 0; default 1 */
    double quantile;       /* resid_norm, in [0, 1]; default 0.5 */
    int32_t feature;       /* sae: which; -1: the SAE itself, which is described and never computed */
    int32_t layer;         /* sae: the book's @, -1 without one */
    bool has_hook;         /* sae: @ names a hook, too */
    rh_hook hook;
    rh_range range;        /* the whole call */
    rh_range text_range;   /* its first argument */
} rh_atom_spec;

typedef enum rh_place_kind { RH_PLACE_CONSTANT, RH_PLACE_FLOATING, RH_PLACE_PINNED, RH_PLACE_FAMILY } rh_place_kind;

/* The model that a file says it was made on. */
typedef struct rh_atom_model { const char *name, *fingerprint; } rh_atom_model;

typedef struct rh_atom_info {
    rh_place_kind place;
    rh_hook hook;             /* pinned, family */
    int32_t n_layers;         /* pinned 1, family ≥ 1, else 0 */
    const int32_t *layers;    /* ascending; lives as long as the resolver */
    int32_t d;                /* 0: from context (random, and floating: the hook decides) */
    const rh_atom_model *model; /* NULL: unknown, or the model at hand; what has two does not combine. Lives as long
                                   as the resolver */
} rh_atom_info;

/* One atom at some sites. `out` [n_layers, d] is zeroed memory of the caller's (d as the hook
 * says, or the atom's own); constants have n_layers 1. */
typedef struct rh_atom_request {
    const rh_atom_spec *spec;
    rh_hook hook;
    int32_t n_layers;
    const int32_t *layers;
    int32_t d;
    float *out;
} rh_atom_request;

/* What computing a request would take, for `explain`. */
typedef struct rh_atom_survey {
    int64_t prompts, distinct;    /* texts; after removing equal ones */
    int64_t tokens, read;         /* tokens of all texts; positions whose states are read */
    bool cached;                  /* the cache already holds it */
    char sample[256];             /* first text with the tokens read marked, "…[San Francisco]" */
} rh_atom_survey;
typedef struct rh_plan_survey {
    int64_t prompts, distinct, tokens, shared_tokens; /* the union over what is not cached; shared:
                                                         rows really computed */
    int32_t deepest;              /* layer the pass runs to, -1: no pass */
    double seconds;               /* estimate; < 0 unknown */
} rh_plan_survey;

struct rh_sae; /* engine/sae.h */

typedef struct rh_resolver {
    void *self;
    /* The model, or n_layers 0 if there is none; width 0 where nobody knows it. */
    int32_t n_layers;
    int32_t width[RH_N_HOOKS];
    const char *model_name;
    /* Where an atom lives. Reads no more than it must (a CSV's existence, a file's header).
     * Errors: message and hint in err; the checker adds place and carets. */
    rh_status (*describe)(void *self, const rh_atom_spec *spec, rh_atom_info *out, rh_error *err);
    /* All requests at once. On failure *culprit is the index of the request, or -1. */
    rh_status (*compute)(void *self, const rh_atom_request *requests, int32_t n, int32_t *culprit,
                         rh_error *err);
    /* Features, spec an SAE's. By label: RH_ENAME if none or several match, with what there is. And what an action
     * through feature spec->feature needs: opaque here, lives as long as the resolver. NULL: neither. */
    rh_status (*find_feature)(void *self, const rh_atom_spec *spec, const char *label, size_t len, int32_t *feature,
                              rh_error *err);
    rh_status (*acting_sae)(void *self, const rh_atom_spec *spec, const struct rh_sae **out, rh_error *err);
    rh_status (*survey)(void *self, const rh_atom_request *requests, int32_t n, rh_atom_survey *each,
                        rh_plan_survey *all, rh_error *err);
} rh_resolver;

#endif

/* concepts.h - names become vectors: CSV pairs, texts, vocabulary rows and files, through one
 * pass over the model and a cache. Implements dsl/resolver.h.
 * Knows engine and dsl; nothing of experiments or printing. */
#ifndef RH_CONCEPTS_H
#define RH_CONCEPTS_H

#include "dsl/program.h"
#include "engine/session.h"

typedef struct rh_concepts rh_concepts; /* owner: rh_concepts_free */

typedef struct rh_concepts_options {
    const char *cache_dir;   /* NULL: no cache, no resuming */
    rh_progress_fn progress; /* may be NULL */
    void *progress_data;
    bool special;            /* control tokens in texts are tokens */
    bool force_model;        /* a vector file from another model is a warning */
    bool no_share;           /* compute common prefixes again: only to measure what sharing gains */
    int32_t width;           /* without a model: that of resid_post, where something else knows it; or 0 */
    int32_t batch_tokens;    /* rows a pass takes at once; 0: default (1024) */
} rh_concepts_options;

/* model may be NULL: then only load, random and what is made of them resolve. Strings are
 * copied. */
rh_status rh_concepts_new(rh_concepts **out, const rh_model *model, const rh_concepts_options *o,
                          rh_error *err);
void rh_concepts_free(rh_concepts *c);
const rh_resolver *rh_concepts_resolver(rh_concepts *c);

/* Warnings met so far (forced models, duplicate rows), one a line; borrowed. "" if none. */
const char *rh_concepts_warnings(const rh_concepts *c);
/* What extraction did last: for bench and stats. */
typedef struct rh_extract_stats {
    int64_t prompts, tokens, computed; /* texts; their tokens; rows computed after sharing */
    int64_t cached_atoms, resumed_prompts;
    double seconds;
} rh_extract_stats;
rh_extract_stats rh_concepts_stats(const rh_concepts *c);

/* JSON of DESIGN §5 for a vector computed by this evaluation: {version, expression, model{name,
 * fingerprint, d, layers}, hook, sources[{kind, path, sha256, options}], stats, created}. A source that is an
 * SAE's feature has a fingerprint instead of a hash.
 * `created` (RFC 3339) is given by the caller. */
rh_status rh_concepts_metadata(char **json, rh_concepts *c, const char *expression, const rh_vector *v,
                               const char *created, rh_error *err);
/* Add a source to what that metadata names: pairs that a caller read itself (spec of kind dim). */
rh_status rh_concepts_note_pairs(rh_concepts *c, const rh_atom_spec *spec, const char *sha256, int64_t positives,
                                 int64_t negatives, int64_t tokens, rh_error *err);

/* ---- the SAEs that expressions and books name ---------------------------------------------- */

/* One whose features were asked about; all is borrowed, and lives as long as the concepts. */
typedef struct rh_concept_sae {
    const rh_sae *sae;               /* opened for RH_SAE_ROWS */
    const char *name, *path;         /* as the book calls it */
    const char *fingerprint;         /* 64 hex digits */
    int32_t layer;
    rh_hook hook, reads;             /* where its rows live; what it encodes */
} rh_concept_sae;
int32_t rh_concepts_n_saes(const rh_concepts *c);
rh_concept_sae rh_concepts_sae(const rh_concepts *c, int32_t i);
/* The same for RH_SAE_ENCODE, opened at the first call and kept. */
rh_status rh_concepts_encoder(const rh_sae **out, rh_concepts *c, int32_t i, rh_error *err);
/* What the activation of spec's feature takes: opened for RH_SAE_ENCODE if it competes with the others (top-k), else
 * for RH_SAE_ROWS. RH_EUNSUPPORTED: a transcoder between hooks where no action can. */
rh_status rh_concepts_acting(const rh_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
/* Which of them a feature's atom belongs to. */
rh_status rh_concepts_sae_of(int32_t *i, rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
/* The largest activation kept of spec's feature; out may be NULL. RH_EVALUE: nobody measured it; the hint says how. */
rh_status rh_feature_max_act(double *out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err);
/* Its label, borrowed; NULL if there is none. */
rh_status rh_feature_label(const char **out, rh_concepts *c, int32_t sae, int32_t feature, rh_error *err);

/* ---- pairs.csv ---------------------------------------------------------------------------- */

typedef struct rh_text_row {
    char *text;                      /* marks removed; NUL-terminated */
    size_t len;
    int32_t line;                    /* in the CSV, from 1 */
    bool positive;
    int32_t n_marks;
    struct rh_byte_range { uint32_t start, end; } *marks; /* in text, at=marked only */
} rh_text_row;
typedef struct rh_pairs {
    rh_text_row *rows;               /* paired: positive, negative, positive, … */
    size_t n;
    bool paired;
    char sha256[65];
} rh_pairs;
/* LANGUAGE.md §4. `marked`: <<…>> are removed and recorded, a row without one is an error;
 * else they are plain text. Every fault is RH_EFORMAT with file:line. */
rh_status rh_pairs_read(rh_pairs *out, const char *path, const char *positive, const char *negative,
                        bool marked, rh_error *err);
void rh_pairs_free(rh_pairs *p);

/* ---- from the language's actions to the engine's ---------------------------------------- */

/* A prompt as tokens, with what masks need. */
typedef struct rh_prompt {
    int32_t *ids;
    int32_t n;
    rh_token *tokens;       /* [n]: offsets into the user's text, start == end for template and BOS */
    const char *user;       /* the user's text; borrowed */
    size_t user_len;
} rh_prompt;
typedef struct rh_prompt_options {
    bool chat;
    rh_chat template_;      /* which; RH_CHAT_NONE with chat: the model's own */
    const char *system;     /* NULL: the template's default */
    const rh_chat_turn *before; /* [n_before] earlier turns of the chat; the text is the user's next */
    int32_t n_before;
    bool special, no_bos, double_bos;
} rh_prompt_options;
/* BOS by the tokenizer's own rule. RH_EUNSUPPORTED: chat asked of a model without a template. */
rh_status rh_prompt_make(rh_prompt *out, const rh_model *m, const char *text, size_t len,
                         const rh_prompt_options *o, rh_error *err);
void rh_prompt_free(rh_prompt *p);

/* The evaluation's actions for one prompt, steer strengths multiplied by `strength`. Text
 * selectors become position lists; one that matches nothing is an error with carets. Owner:
 * rh_actions_free; borrows vectors from e. */
typedef struct rh_actions { rh_action *items; int32_t n; void *memory; } rh_actions;
rh_status rh_actions_bind(rh_actions *out, const rh_evaluation *e, const rh_prompt *p, double strength,
                          rh_diags *diags, rh_error *err);
void rh_actions_free(rh_actions *a);

#endif

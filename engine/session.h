/* session.h - running a model: many sequences in one batch, each with its own actions,
 * captures and length; shared prefixes computed once.
 *
 * A step takes rows (tokens) of several sequences through each layer together. Fresh
 * sequences in one step whose prompts begin alike share that prefix's rows: all the way if no
 * action touches it, else up to the first site where an action of either touches one of its
 * positions; from there each has rows (and above it keys and values) of its own.
 *
 * Knows: rows, slots, sites. Knows not: text, expressions, why anyone asks.
 */
#ifndef RH_ENGINE_SESSION_H
#define RH_ENGINE_SESSION_H

#include "engine/model.h"
#include "engine/sae.h"

/* ---- where an action acts -------------------------------------------------------------- */

typedef enum rh_mask_kind {
    RH_MASK_ALL, RH_MASK_PROMPT, RH_MASK_LAST, RH_MASK_SPECIAL, RH_MASK_GENERATED,
    RH_MASK_TOKENS, RH_MASK_LIST
} rh_mask_kind;

typedef struct rh_mask_term {
    rh_mask_kind kind;
    bool negated;
    int32_t lo, hi;            /* GENERATED (0 = first generated), TOKENS: both ends; hi INT32_MAX: open */
    const int32_t *positions;  /* LIST: ascending positions [n]; borrowed */
    int32_t n;
} rh_mask_term;

/* Union of the plain terms (everything if there is none) minus the union of negated ones. */
typedef struct rh_mask { const rh_mask_term *terms; int32_t n; } rh_mask;

/* Does the mask cover position pos, in a sequence whose prompt has n_prompt tokens?
 * last = n_prompt-1; generated index = pos - n_prompt. */
bool rh_mask_covers(const rh_mask *m, int32_t pos, int32_t n_prompt, bool is_control);

typedef enum rh_action_kind {
    RH_STEER = 0, RH_ABLATE, RH_SCALE, RH_CAP, RH_CLAMP,
    RH_FEATURE_CLAMP, RH_SPLICE /* through an SAE: sae_action.h. Of a transcoder at mlp_out, from what it read at mlp_in */
} rh_action_kind;

/* A test per position on h as it entered the site, before any action: the action acts only
 * where it holds. */
typedef struct rh_guard {
    rh_guard_test test;
    const float *v;    /* [width] */
    int64_t *tested, *fired; /* counted up at each position the mask covers; borrowed, may be NULL */
} rh_guard;

/* One action at one site. Lists are applied in order; borrowed, they must outlive the session
 * sequences that use them. */
typedef struct rh_action {
    rh_action_kind kind;
    int32_t layer;
    rh_hook hook;
    const float *v;   /* steer: [width]; ablate: orthonormal basis [rank, width]; scale, cap, clamp: unit [width] */
    int32_t rank;     /* ablate; 1 for a unit vector */
    float strength;   /* steer: multiplies v */
    float amount;     /* scale: the factor; cap, clamp: the projection, in units of h; feature clamp: the activation */
    const rh_sae *sae; /* feature clamp, splice; opened as sae_action.h says; borrowed. Splice: NULL makes h zero */
    int32_t feature;  /* feature clamp */
    rh_mask mask;
    const rh_guard *guard; /* NULL: none; borrowed */
} rh_action;

/* ---- reading ---------------------------------------------------------------------------- */

/* Copy hidden states at a site to host memory, as they are after the site's actions.
 * Row i of out is the state at positions[i] (absolute; ascending); positions NULL: every
 * position of the step's tokens of this sequence, in order. Only positions fed in this step
 * can be read. */
typedef struct rh_capture {
    int32_t layer;
    rh_hook hook;
    bool before_actions;      /* the state as it entered the site */
    const int32_t *positions;
    int32_t n;                /* rows in out */
    float *out;               /* [n, width] */
} rh_capture;

typedef enum rh_logits_mode { RH_LOGITS_NONE = 0, RH_LOGITS_LAST, RH_LOGITS_ALL } rh_logits_mode;

/* ---- sessions ---------------------------------------------------------------------------- */

/* Room for max_seqs sequences of max_len positions each. */
rh_status rh_session_new(rh_session **out, const rh_model *m, int32_t max_seqs, int32_t max_len,
                         rh_error *err);
void rh_session_free(rh_session *s);
void rh_session_reset(rh_session *s); /* forget all sequences; memory stays */

/* A new empty sequence; *seq is its number. n_prompt: how many tokens are prompt (masks).
 * actions borrowed. */
rh_status rh_session_add(rh_session *s, int32_t *seq, int32_t n_prompt, const rh_action *actions,
                         int32_t n_actions, rh_error *err);
int32_t rh_session_len(const rh_session *s, int32_t seq); /* positions fed so far */
/* Forget what was fed behind the first len positions, 0 < len <= rh_session_len: the next step goes on from there.
 * RH_EVALUE: another len, or so far back (256 positions and more) that layers with a window have lost their keys. */
rh_status rh_session_rewind(rh_session *s, int32_t seq, int32_t len, rh_error *err);

/* What one sequence contributes to a step. */
typedef struct rh_step_input {
    int32_t seq;
    const int32_t *ids;       /* [n] the next tokens */
    int32_t n;
    rh_logits_mode want;
    float *logits;            /* [n_vocab] (LAST) or [n, n_vocab] (ALL), host; set by the step */
    const rh_sample_spec *draw; /* NULL: nothing is drawn. Else the token behind the last one, on the backend, whether */
    int32_t *drawn;             /* its logits are wanted or not, into here; set by the step */
    const rh_capture *captures;
    int32_t n_captures;
} rh_step_input;

/* Run all inputs through each layer once. A step in which nobody wants logits or a token ends at the
 * deepest captured site; its sequences cannot be fed further (RH_EVALUE if tried).
 * RH_EIO: the model's file was changed in place before or during the step (rh_model_check).
 * RH_ENOMEM: also if a device has no room for the caches and rows of the step, which is known before it begins.
 * RH_EDEVICE: the backend failed, which is known only at the end. RH_ELIMIT: longer than max_len or the model's context. On error the step did not happen
 * as far as lengths are concerned, but captures may be half written, and a sequence whose
 * window has moved on is ended. */
rh_status rh_session_step(rh_session *s, const rh_step_input *inputs, int32_t n, rh_error *err);

/* What sharing did in the last step: rows asked for, rows computed (at layer 0), and the sum
 * over layers of rows computed. */
typedef struct rh_step_stats { int64_t asked, computed, layer_rows; } rh_step_stats;
rh_step_stats rh_session_stats(const rh_session *s);
void rh_session_share(rh_session *s, bool on); /* default on; off: to measure what sharing gains */
/* Before the first step: keep keys and values as RH_F32 or RH_F16 (default: rh_kv_type of the model). */
void rh_session_kv(rh_session *s, rh_dtype t);

/* ---- planning without running (explain) -------------------------------------------------- */

/* Rows that one step over these fresh prompts would compute with sharing, no actions. */
rh_status rh_shared_rows(int64_t *out, const int32_t *const *ids, const int32_t *n, int32_t n_prompts,
                         rh_error *err);

#endif

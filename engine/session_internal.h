/* session_internal.h - what session.c (sequences, memory) and the pass (pass.h) share. */
#ifndef RH_ENGINE_SESSION_INTERNAL_H
#define RH_ENGINE_SESSION_INTERNAL_H

#include "engine/guards.h"
#include "engine/kv.h"
#include "engine/plan_memory.h"
#include "engine/rows.h"
#include "engine/sae_action.h"

/* Activations of one step; [n_rows, width] each, grown on demand. */
typedef struct rh_activations {
    int32_t rows;                 /* room for */
    rh_buf *h, *x, *y;            /* [d_model]: residual stream, normed input, block output */
    rh_buf *q, *z;                /* [n_heads*head_dim] */
    rh_buf *k, *v;                /* [n_kv_heads*head_dim] */
    rh_buf *gate, *up;            /* [d_ff] */
} rh_activations;

struct rh_session {
    const rh_model *model;
    int32_t max_seqs, max_len, n_seqs;
    rh_sequence *seqs;            /* [max_seqs] */
    rh_kv kv;
    int32_t *needed;              /* [max_seqs] scratch; NULL if no layer has a window */
    rh_activations act;
    int32_t step_rows;
    rh_buf *head_x, *logits;      /* [logit_rows, d_model], [logit_rows, n_vocab] */
    rh_buf *drawn;                /* [logit_rows] int32 */
    int32_t logit_rows;
    int32_t *tokens;              /* [tokens_cap] drawn in this step, fetched */
    int32_t n_tokens, tokens_cap;
    struct rh_uploaded { const float *host; rh_buf *buf; } *uploaded;
    size_t n_uploaded, uploaded_cap;
    struct rh_acting { const rh_sae *sae; rh_sae_actor *actor; } *acting; /* SAEs that the sequences act through */
    size_t n_acting, acting_cap;
    rh_guards guards;
    bool share;
    rh_step_stats stats;
    /* scratch of host integers, grown on demand */
    int32_t *ids, *positions, *slots, *rows;
    size_t ints_cap;
    rh_attention_group *groups;
    size_t groups_cap;
    rh_kv_span *spans;
    size_t spans_cap;
};

/* session_memory.c: room for rows of a step, for host integers and groups, and for what comes out of its head. */
typedef struct rh_wanted { /* of a step */
    int64_t rows;             /* of logits; */
    int32_t tokens;           /* drawn from so many of them */
    int32_t layers;           /* that it goes through */
} rh_wanted;
/* RH_ENOMEM before anything is done, if a device has no room for what the step has to allocate. */
rh_status rh_session_plan(rh_session *s, int32_t rows, const rh_wanted *wanted, rh_error *err);
rh_status rh_session_floats(rh_session *s, rh_buf **out, int64_t rows, int64_t width, rh_error *err);
rh_status rh_session_need_rows(rh_session *s, int32_t rows, rh_error *err);
rh_status rh_session_need_ints(rh_session *s, size_t rows, size_t blocks, rh_error *err);
rh_status rh_session_need_logits(rh_session *s, const rh_wanted *wanted, rh_error *err);
void rh_session_free_buffers(rh_session *s);

/* session_sae.c: actions through an SAE. */
static inline bool rh_acts_through_sae(rh_action_kind k) { return k == RH_FEATURE_CLAMP || k == RH_SPLICE; }
rh_status rh_sae_action_check(const rh_model *m, const rh_action *a, rh_error *err);
rh_status rh_sae_action_prepare(rh_session *s, const rh_action *a, rh_error *err); /* before the first step */
/* On n rows of t, listed in s->rows; mlp_in: what rows of the same numbers were there, for transcoders. */
rh_status rh_sae_action_apply(rh_session *s, const rh_action *a, rh_buf *t, const rh_buf *mlp_in, int32_t n, rh_error *err);
void rh_sae_actions_forget(rh_session *s);

/* Run the planned rows (a step, or a part of it) through the layers; see session.h for what is read and written. */
rh_status rh_forward(rh_session *s, const rh_rows *rows, const rh_step_input *inputs, int32_t n_inputs,
                     rh_error *err);

#endif

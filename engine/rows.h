/* rows.h - which token positions of which sequences become rows of a step, what they share,
 * and from which site on a sequence has rows of its own. Pure planning: integers in, integers
 * out; knows no weights and runs nothing.
 *
 * Worked example: prompt of 6 tokens, unsteered (sequence 0) and steered at 16.resid_post on
 * every position (sequence 1). Blocks: {0: pos 0..5, from the start} and {1: pos 0..5, from
 * site 16.resid_post, copied from block 0}. Layers 0..16 take 6 rows, the others 12; sequence
 * 1 has keys of its own from layer 17 on.
 */
#ifndef RH_ENGINE_ROWS_H
#define RH_ENGINE_ROWS_H

#include "engine/session.h"

/* Sites in order of the forward pass. */
static inline int32_t rh_site_index(int32_t layer, rh_hook hook) { return layer * RH_N_HOOKS + (int32_t)hook; }
enum { RH_SITE_START = -1, RH_SITE_NEVER = INT32_MAX };

/* A sequence's life in a session. Positions below shared_len are its parent's, in the caches
 * of layers below own_from_layer. */
typedef struct rh_sequence {
    int32_t len, n_prompt;
    int32_t parent;          /* -1: none */
    int32_t shared_len;
    int32_t own_from_layer;  /* INT32_MAX: shares in all layers */
    int32_t forgotten;       /* in layers with a window, positions below this have no keys any more */
    bool ended;              /* a step stopped early: upper layers have no keys */
    const rh_action *actions;
    rh_buf **vectors;        /* [2 * n_actions] on the backend, borrowed from the session: the action's
                                vector, and its guard's or NULL */
    int32_t n_actions;
} rh_sequence;

/* Consecutive positions of one sequence as consecutive rows. */
typedef struct rh_row_block {
    int32_t input;           /* index into the step's inputs */
    int32_t seq, pos, n;
    int32_t row;             /* first row */
    int32_t from_site;       /* RH_SITE_START, or where it splits off its parent's rows */
} rh_row_block;

typedef struct rh_rows {
    rh_row_block *blocks;    /* by from_site, so the active rows at a site are rows 0..k-1 */
    int32_t n_blocks, n_rows;
    int32_t *base;           /* [n_inputs] block of an input's rows that it never shares, -1: none */
    int32_t *fork;           /* [n_inputs] block of the rows that split off, -1: none */
    int32_t *input_of_seq;   /* [n_seqs], -1: not in this step */
    int32_t lo, hi;          /* only positions lo .. hi-1 are here; a whole step: 0, INT32_MAX */
    int64_t asked;
} rh_rows;

/* Fills parent, shared_len, own_from_layer of fresh sequences (len 0). is_control(data, id). */
rh_status rh_rows_plan(rh_rows *out, rh_sequence *seqs, int32_t n_seqs, const rh_step_input *inputs,
                       int32_t n_inputs, bool share, const rh_tokenizer *tokenizer, rh_error *err);
/* The part of a whole step at positions lo .. hi-1, hi > lo as large as leaves at most max_rows rows (or one
 * position). Parts with ascending positions, one after the other, are the step: attention looks back only. */
rh_status rh_rows_part(rh_rows *out, const rh_rows *whole, int32_t n_inputs, int32_t n_seqs, int32_t lo,
                       int32_t max_rows, rh_error *err);
int32_t rh_rows_end(const rh_rows *r); /* the last position's successor */
void rh_rows_free(rh_rows *r);

/* Blocks and rows active at a site (after the forks of that site have happened). */
int32_t rh_rows_active(const rh_rows *r, int32_t site, int32_t *n_blocks);

/* Row that holds position pos of the input's sequence at a site; pos must be fed in this step. */
int32_t rh_rows_find(const rh_rows *r, const rh_sequence *seqs, const rh_step_input *inputs, int32_t input,
                     int32_t pos, int32_t site);

/* Append where keys of positions [0, end) of a sequence are at a layer; slots are seq*max_len+pos. */
rh_status rh_kv_spans(rh_kv_span **spans, size_t *cap, size_t *n, const rh_sequence *seqs, int32_t seq,
                      int32_t end, int32_t layer, int32_t max_len, rh_error *err);

#endif

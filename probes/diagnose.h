/* diagnose.h - figures about one run that need no model: where an action first matters, how far
 * a distribution moved, whether a text repeats itself. Knows tokens, logits and masks. */
#ifndef RH_PROBES_DIAGNOSE_H
#define RH_PROBES_DIAGNOSE_H

#include "probes/report.h"

/* The first position whose logits an action can change: logits at q depend on the states at
 * positions <= q, and at q itself every site lies below the logits; so it is the first position that
 * any action's mask covers. ids [n_ids]: prompt, then generated; t says which are control tokens (NULL:
 * none). -1: no position of the sequence is covered. */
int32_t rh_first_changed(const rh_action *actions, int32_t n_actions, int32_t n_prompt,
                         const int32_t *ids, int32_t n_ids, const rh_tokenizer *t);

/* Share of the n-2 3-grams of ids that occurred before: 1 - distinct/all; 0 below 3 tokens. */
rh_status rh_repeated_3grams(double *out, const int32_t *ids, int32_t n, rh_error *err);

/* Has a text collapsed? Of at least RH_COLLAPSE_TOKENS tokens, it
 *   loops       if more than RH_COLLAPSE_REPEATED of its 3-grams are repeats;
 *   is garbled  if its surprisal is above a limit, in parts of ln(n_vocab), the surprisal of tokens
 *               drawn blindly: 0.4, or 0.1 above the unsteered text's own where sampling makes that high,
 *               but never more than 0.6.
 * Seen on SmolLM2 and Gemma 3 270M: greedy 0.1; sampled at temperature 1, still prose, 0.3 to 0.4; at 1.3,
 * no longer, 0.7; steered greedy text falls apart at about 0.4. Sets loops, garbled, collapsed from repeated,
 * surprisal and n_ids; unsteered: the unsteered text's surprisal, NaN if there is none. */
#define RH_COLLAPSE_TOKENS 8
#define RH_COLLAPSE_REPEATED 0.5
#define RH_GARBLED_FROM 0.4
#define RH_GARBLED_ABOVE 0.1
#define RH_GARBLED_ALWAYS 0.6
void rh_judge_collapse(rh_steer_run *run, double unsteered, int32_t n_vocab);

/* KL(after‖before) and the `top` tokens whose logits rose and fell most; fewer if fewer moved.
 * Logits [n_vocab]. */
rh_status rh_shift_make(rh_shift *out, int32_t position, const float *before, const float *after,
                        int32_t n_vocab, int32_t top, const rh_tokenizer *t, rh_error *err);

/* The `top` largest (sign 1) or smallest (sign -1) of change [n]: out [*n_out] ascending by rank.
 * Entries without that sign, and NaN, are left out; ties: lowest index first. */
void rh_top_changes(int32_t *out, int32_t *n_out, const float *change, int32_t n, int32_t top, int sign);

/* The bytes a token stands for, or the vocabulary's spelling where there are none; no NUL. malloc; NULL: no
 * memory. */
char *rh_piece_text(const rh_tokenizer *t, int32_t id);

/* Median of x [n], reordering it; NaN if n is 0. */
double rh_median(double *x, int32_t n);

#endif

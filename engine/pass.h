/* pass.h - one part of a step on its way through the layers: what forward.c (layers), site.c (what callers read and
 * change on the way) and head.c (logits and tokens behind the last layer) share. */
#ifndef RH_ENGINE_PASS_H
#define RH_ENGINE_PASS_H

#include "engine/session_internal.h"

typedef struct rh_pass {
    rh_session *s;
    const rh_model *m;
    const rh_model_config *c;
    rh_backend *be;
    const rh_ops *ops;
    const rh_rows *rows;
    const rh_step_input *inputs;
    int32_t n_inputs;
    int32_t n, n_blocks;   /* active now */
    uint8_t *busy;         /* [n_layers * RH_N_HOOKS] sites where something happens */
    int32_t last_site;     /* stop after it; RH_SITE_NEVER: logits are wanted */
    rh_error *err;
} rh_pass;

/* site.c */
rh_status rh_pass_begin(rh_pass *p); /* finds what happens where */
static inline bool rh_pass_is_busy(const rh_pass *p, int32_t layer, rh_hook hook)
{
    return p->busy[rh_site_index(layer, hook)];
}
/* Everything that happens at a site of t: split, read, write, read. *stop: the pass may end here. */
rh_status rh_pass_site(rh_pass *p, int32_t layer, rh_hook hook, rh_buf *t, bool *stop);

/* head.c: logits that are wanted and tokens that are drawn; where these go once the backend is done. */
rh_status rh_pass_head(rh_pass *p);
void rh_pass_hand_tokens(const rh_pass *p);

#endif

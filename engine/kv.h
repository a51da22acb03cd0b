/* kv.h - keys and values of a session's sequences: for each layer two matrices [slots, n_kv_heads*head_dim], where
 * slot = seq * max_len + position. A layer's are made when it is first reached, cost what is written to them, and
 * where the layer has a window, what all sequences have left behind goes back to the system. */
#ifndef RH_ENGINE_KV_H
#define RH_ENGINE_KV_H

#include "engine/model.h"

typedef struct rh_kv {
    const rh_model *model;
    rh_dtype type;      /* RH_F32 or RH_F16 */
    int64_t slots;
    int32_t max_len;
    rh_buf **k, **v;    /* [n_layers], NULL where not reached yet */
} rh_kv;

/* Float32, but float16 where 2,048 positions would take more than half a GiB; exact models: float32. */
rh_dtype rh_kv_type(const rh_model *m);
int64_t rh_kv_position_bytes(const rh_model *m, rh_dtype t); /* of one position in all layers */

rh_status rh_kv_new(rh_kv *out, const rh_model *m, int32_t max_seqs, int32_t max_len, rh_error *err);
void rh_kv_free(rh_kv *kv); /* zeroed is fine */
/* k, v [n, n_kv_heads*head_dim] to slots [n]. RH_ENOMEM: nothing was written. */
rh_status rh_kv_write(rh_kv *kv, int32_t layer, const int32_t *slots, const rh_buf *k, const rh_buf *v, int32_t n,
                      rh_error *err);
/* Positions from .. to-1 of a sequence are out of sight in all layers with a window. */
void rh_kv_forget(rh_kv *kv, int32_t seq, int32_t from, int32_t to);

#endif

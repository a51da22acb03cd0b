/* plan_memory.h - what a model, the caches of a session and an SAE take of a device's memory, before any of it is
 * allocated, and what would fit where they do not. Arithmetic: numbers in, numbers and a sentence out; a system that
 * lends its own memory (SIZE_MAX: a CPU) is not planned for. */
#ifndef RH_ENGINE_PLAN_MEMORY_H
#define RH_ENGINE_PLAN_MEMORY_H

#include "engine/model.h"

enum { RH_LOGIT_ROWS = 64,        /* rows of logits on the backend at once */
       RH_STEP_ROWS = 1024,       /* rows that go through the layers together; a longer step has parts, */
       RH_FEWEST_STEP_ROWS = 256, /* and so has a shorter one in a wide model: */
       RH_STEP_BYTES = 64 << 20,  /* activations take no more than that, if so many rows fit */
       RH_PLAN_TOKENS = 512 };    /* the context that a model must have room for to be opened at all */

int64_t rh_plan_block(int64_t bytes); /* that an allocation of so many takes */
int64_t rh_plan_matrix(rh_dtype t, int64_t rows, int64_t cols); /* at most, however a backend lays it out */
int32_t rh_plan_step_rows(const rh_model_config *c); /* that go through the layers at once */
int64_t rh_plan_step(const rh_model_config *c, int64_t rows, int64_t logit_rows); /* activations and logits */
int64_t rh_plan_sae(int64_t d_in, int64_t d_sae, rh_dtype t); /* to encode */

/* What is about to be allocated; 0: nothing of that kind. */
typedef struct rh_memory_plan {
    const char *what;          /* "the model", for the message */
    int64_t weights, as_nf4;   /* as_nf4: with --quantize nf4 */
    int64_t seqs, len;         /* keys and values of so many sequences of so many positions: */
    int64_t blocks, row;       /* in so many blocks, of `row` bytes a position each */
    int64_t step, sae;
} rh_memory_plan;

void rh_plan_caches(rh_memory_plan *p, const rh_model_config *c, int32_t layers, rh_dtype kv, int64_t seqs, int64_t len);
int64_t rh_plan_cache(const rh_memory_plan *p); /* all blocks */
int64_t rh_plan_total(const rh_memory_plan *p);
/* RH_ENOMEM: how much is missing, of what, and what would fit. */
rh_status rh_plan_check(const rh_memory_plan *p, size_t free_bytes, size_t all_bytes, rh_error *err);
rh_status rh_plan_check_on(const rh_memory_plan *p, rh_backend *be, rh_error *err); /* against what it has now */

#endif

/* script.h - a small transformer by hand: every op of ops.h, in the order of the engine, so that lists are fused as there.
 * For tests that compare backends, and for tests that make something fail on the way. */
#ifndef RH_TESTS_CUDA_SCRIPT_H
#define RH_TESTS_CUDA_SCRIPT_H

#include "kernels/ops.h"

typedef struct script_results {
    float *x;       /* all that came back, one after the other */
    size_t n, capacity;
    int32_t token;  /* drawn from the last row */
} script_results;

/* What it computes with; made once, so that a run allocates nothing but what backends and results need. */
typedef struct script_data script_data;
script_data *script_data_new(rh_dtype weights);
void script_data_free(script_data *d);

/* One step of n <= 48 rows through two layers, steered and looked at on the way; then a screen and cosines. Everything it
 * makes is released, whatever happens. With RH_OK results are whole. */
rh_status script_run(rh_backend *be, script_results *out, const script_data *d, int32_t n, rh_error *err);
/* n <= 3 sequences decoded for `tokens` <= 20 tokens, each drawn with penalties and fed to the next step: into
 * drawn [tokens, n]. */
rh_status script_decode(rh_backend *be, int32_t *drawn, const script_data *d, int32_t n, int32_t tokens, rh_error *err);
void script_free(script_results *r);

#endif

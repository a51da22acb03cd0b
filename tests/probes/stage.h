/* stage.h - a model, an expression and a steering run, for the tests of probes/. */
#ifndef RH_TEST_STAGE_H
#define RH_TEST_STAGE_H

#include "probes/steer.h"

typedef struct stage {
    rh_model *m;
    rh_concepts *concepts;
    rh_program *program;
    rh_evaluation *e;
    rh_diags diags;
} stage;

/* tests/data/models/NAME, exact, one thread. */
rh_model *stage_small_model(const char *name);
/* RHUMB_TEST_MODELS/NAME.gguf; without, says SKIPPED and skips the test. */
rh_model *stage_real_model(const char *name);

/* Compile and evaluate; m stays the caller's. value: a bare expression is a value. Fails the test. */
void stage_open(stage *s, rh_model *m, const char *book, const char *expr, const char *layers, bool value);
/* The same for what the language may not have yet: false, with nothing open, if it says so. */
bool stage_try_open(stage *s, rh_model *m, const char *expr, const char *layers);
void stage_close(stage *s);

rh_steer_options stage_options(int32_t max_tokens); /* greedy, strength 1 */

/* The run, which must succeed. */
rh_steer_report *stage_steer(stage *s, const char *prompt, const rh_steer_options *o);

/* Logits of the last of ids [n] alone, with actions (may be 0). out [n_vocab]; n_prompt for masks. */
void stage_logits(float *out, const rh_model *m, const int32_t *ids, int32_t n, int32_t n_prompt,
                  const rh_action *actions, int32_t n_actions);

#endif

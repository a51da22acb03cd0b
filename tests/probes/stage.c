#include "stage.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

static rh_model *open_at(const char *path, bool exact)
{
    rh_model *m = NULL;
    rh_error err = {0};
    rh_settings settings = {.threads = 1, .exact = exact};
    if (rh_model_open(&m, path, &settings, &err)) fail_msg("%s", err.message);
    return m;
}

rh_model *stage_small_model(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s", RH_TEST_DATA, name);
    return open_at(path, true);
}

rh_model *stage_real_model(const char *name)
{
    const char *folder = getenv("RHUMB_TEST_MODELS");
    char path[512] = "";
    if (folder) snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    if (!folder || !rh_is_file(path)) {
        print_message("SKIPPED: RHUMB_TEST_MODELS %s %s.gguf; tests/run fetches it\n",
                      folder ? "has no" : "is not set: no", name);
        skip();
    }
    return open_at(path, false);
}

static rh_status try_open(stage *s, rh_model *m, const char *book, const char *expr, const char *layers, bool value)
{
    rh_error err = {0};
    rh_concepts_options o = {0};
    *s = (stage){.m = m};
    rh_program_input in = {.book_path = book ? "<book>" : NULL, .book_text = book, .expr = expr, .layers = layers,
                           .all_names = value, .bare_value = value};
    rh_status status = rh_concepts_new(&s->concepts, m, &o, &err);
    if (!status) status = rh_program_compile(&s->program, &in, rh_concepts_resolver(s->concepts), &s->diags, &err);
    if (!status) status = rh_program_eval(&s->e, s->program, &s->diags, &err);
    if (status == RH_EUNSUPPORTED) {
        print_message("SKIPPED: %s: %s\n", expr, err.message);
        stage_close(s);
    } else if (status) {
        fail_msg("%s: %s", expr ? expr : "<book>", err.message);
    }
    return status;
}

void stage_open(stage *s, rh_model *m, const char *book, const char *expr, const char *layers, bool value)
{
    assert_int_equal(try_open(s, m, book, expr, layers, value), RH_OK);
}

bool stage_try_open(stage *s, rh_model *m, const char *expr, const char *layers)
{
    return try_open(s, m, NULL, expr, layers, false) == RH_OK;
}

void stage_close(stage *s)
{
    rh_evaluation_free(s->e);
    rh_program_free(s->program);
    rh_concepts_free(s->concepts);
}

rh_steer_options stage_options(int32_t max_tokens)
{
    return (rh_steer_options){.generate = {.sampling = rh_sampling_default(), .max_tokens = max_tokens}, .top_tokens = 5};
}

rh_steer_report *stage_steer(stage *s, const char *prompt, const rh_steer_options *o)
{
    rh_steer_report *r = NULL;
    rh_error err = {0};
    if (rh_probe_steer(&r, s->m, s->e, "expression", prompt, o, &s->diags, &err)) fail_msg("%s", err.message);
    return r;
}

void stage_logits(float *out, const rh_model *m, const int32_t *ids, int32_t n, int32_t n_prompt,
                  const rh_action *actions, int32_t n_actions)
{
    rh_session *s = NULL;
    rh_error err = {0};
    rh_step_input in = {.ids = ids, .n = n, .want = RH_LOGITS_LAST, .logits = out};
    rh_status status = rh_session_new(&s, m, 1, n, &err);
    if (!status) status = rh_session_add(s, &in.seq, n_prompt, actions, n_actions, &err);
    if (!status) status = rh_session_step(s, &in, 1, &err);
    if (status) fail_msg("%s", err.message);
    rh_session_free(s);
}

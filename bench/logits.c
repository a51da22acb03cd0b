/* logits - write a model's logits for given tokens, for bench/fidelity.
 *
 *   bench-logits MODEL IDS.json [--exact] [--step]  >rows
 *
 * IDS.json is a list of id lists. For each text, for each position, n_vocab float32 go to
 * stdout. --exact: float32 activations; --step: one token a step instead of the text at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/session.h"

typedef struct { const rh_model *model; int32_t chunk; } setting; /* chunk 0: the text at once */

static rh_status write_text(const setting *how, const int32_t *ids, int32_t n, rh_error *err)
{
    const rh_model *m = how->model;
    size_t width = (size_t)m->config.n_vocab;
    int32_t chunk = how->chunk ? how->chunk : n, seq = -1;
    rh_session *s = NULL;
    float *logits = malloc((size_t)chunk * width * sizeof *logits);
    rh_status status = logits ? RH_OK : rh_fail_nomem(err);
    if (!status) status = rh_session_new(&s, m, 1, n, err);
    if (!status) status = rh_session_add(s, &seq, n, NULL, 0, err);
    for (int32_t at = 0; !status && at < n; at += chunk) {
        int32_t count = n - at < chunk ? n - at : chunk;
        rh_step_input in = {.seq = seq, .ids = ids + at, .n = count, .want = RH_LOGITS_ALL, .logits = logits};
        status = rh_session_step(s, &in, 1, err);
        if (!status && fwrite(logits, sizeof *logits * width, (size_t)count, stdout) != (size_t)count)
            status = rh_fail_errno(err, "write", "stdout");
    }
    rh_session_free(s);
    free(logits);
    return status;
}

static rh_status write_all(const setting *how, const char *path, rh_error *err)
{
    json_t *texts = NULL, *row = NULL;
    size_t t;
    rh_status status = rh_json_load(&texts, path, err);
    json_array_foreach(texts, t, row) {
        size_t n = json_array_size(row);
        int32_t *ids = n ? malloc(n * sizeof *ids) : NULL;
        if (!ids) status = rh_fail(err, RH_EVALUE, "text %zu has no ids, or there is no memory", t);
        for (size_t i = 0; !status && i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(row, i));
        if (!status) status = write_text(how, ids, (int32_t)n, err);
        free(ids);
        if (status) break;
    }
    json_decref(texts);
    return status;
}

int main(int argc, char **argv)
{
    rh_settings settings = {.device = RH_DEVICE_CPU, .threads = 0};
    setting how = {0};
    rh_model *m = NULL;
    rh_error err = {0};
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--exact")) settings.exact = true;
        if (!strcmp(argv[i], "--step")) how.chunk = 1;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: bench-logits MODEL IDS.json [--exact] [--step] >rows\n");
        return 2;
    }
    rh_status status = rh_model_open(&m, argv[1], &settings, &err);
    how.model = m;
    if (!status) status = write_all(&how, argv[2], &err);
    if (status) fprintf(stderr, "bench-logits: %s\n", err.message);
    rh_model_free(m);
    return status ? 1 : 0;
}

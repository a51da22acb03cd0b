/* logits - answer questions for a model's logits, for bench/fidelity.
 *
 *   bench-logits MODEL [--threads N]
 *
 * A question is a line of JSON on stdin, {"exact": true, "step": false, "ids": [1, 2, 3]}; its answer is
 * ids × n_vocab float32 on stdout. exact: float32 activations; step: one token a step instead
 * of all at once; half: keys and values as float16. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/session.h"

typedef struct question {
    bool exact, step, half;
    int32_t *ids, n;
} question;

static rh_status parse(question *q, const char *line, size_t len, rh_error *err)
{
    json_t *root = NULL;
    RH_TRY(rh_json_parse(&root, line, len, "<stdin>", err));
    json_t *ids = json_object_get(root, "ids");
    size_t n = json_array_size(ids);
    q->exact = json_is_true(json_object_get(root, "exact"));
    q->step = json_is_true(json_object_get(root, "step"));
    q->half = json_is_true(json_object_get(root, "half"));
    q->ids = n && n <= INT32_MAX ? rh_calloc(n, sizeof *q->ids) : NULL;
    q->n = (int32_t)n;
    for (size_t i = 0; q->ids && i < n; i++) q->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    json_decref(root);
    return q->ids ? RH_OK : rh_fail(err, RH_EVALUE, "a question has no ids, or there is no memory");
}

static rh_status answer(const rh_model *m, const question *q, rh_error *err)
{
    size_t width = (size_t)m->config.n_vocab;
    int32_t chunk = q->step ? 1 : q->n, seq = -1;
    rh_session *s = NULL;
    float *logits = rh_calloc((size_t)chunk, width * sizeof *logits);
    rh_status status = logits ? rh_session_new(&s, m, 1, q->n, err) : rh_fail_nomem(err);
    if (!status && q->half) rh_session_kv(s, RH_F16);
    if (!status) status = rh_session_add(s, &seq, q->n, NULL, 0, err);
    for (int32_t at = 0; !status && at < q->n; at += chunk) {
        rh_step_input in = {.seq = seq, .ids = q->ids + at, .n = chunk, .want = RH_LOGITS_ALL, .logits = logits};
        status = rh_session_step(s, &in, 1, err);
        if (!status && fwrite(logits, sizeof *logits * width, (size_t)chunk, stdout) != (size_t)chunk)
            status = rh_fail_errno(err, "write", "stdout");
    }
    if (!status && fflush(stdout)) status = rh_fail_errno(err, "write", "stdout");
    rh_session_free(s);
    free(logits);
    return status;
}

int main(int argc, char **argv)
{
    rh_settings settings = {.device = RH_DEVICE_CPU};
    rh_model *models[2] = {NULL, NULL}; /* fast, exact; opened when first asked for */
    rh_error err = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    rh_status status = RH_OK;
    if (argc == 4 && !strcmp(argv[2], "--threads")) settings.threads = atoi(argv[3]);
    else if (argc != 2) {
        fprintf(stderr, "usage: bench-logits MODEL [--threads N] <questions >rows\n");
        return 2;
    }
    while (!status && (len = getline(&line, &cap, stdin)) > 0) {
        question q = {0};
        status = parse(&q, line, (size_t)len, &err);
        settings.exact = q.exact;
        if (!status && !models[q.exact]) status = rh_model_open(&models[q.exact], argv[1], &settings, &err);
        if (!status) status = answer(models[q.exact], &q, &err);
        free(q.ids);
    }
    if (status) fprintf(stderr, "bench-logits: %s\n", err.message);
    free(line);
    rh_model_free(models[0]);
    rh_model_free(models[1]);
    return status ? 1 : 0;
}

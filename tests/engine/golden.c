#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "golden.h"

void golden_ok(rh_status status, const rh_error *err)
{
    if (status != RH_OK) fail_msg("%s: %s (%s)", rh_status_name(status), err->message, err->file);
}

void *golden_read(const rh_safetensors *file, const char *raw_type, int64_t n, int64_t *count,
                  const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const rh_tensor *t = rh_safetensors_find(file, name);
    if (!t) fail_msg("the answers have no tensor '%s'", name);
    assert_string_equal(t->raw_type, raw_type);
    int64_t have = 1;
    for (int32_t i = 0; i < t->n_dims; i++) have *= t->shape[i];
    if (n >= 0) assert_int_equal(have, n);
    assert_int_equal(t->size, (size_t)have * 4);
    void *copy = malloc(t->size ? t->size : 1);
    assert_non_null(copy);
    memcpy(copy, t->data, t->size);
    if (count) *count = have;
    return copy;
}

rh_model *golden_open(const char *path, bool exact)
{
    rh_settings settings = {.device = RH_DEVICE_CPU, .threads = 2, .exact = exact};
    rh_error err = {0};
    rh_model *m = NULL;
    golden_ok(rh_model_open(&m, path, &settings, &err), &err);
    return m;
}

rh_model *golden_open_tiny(const char *name, bool exact)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s", RH_TEST_DATA, name);
    return golden_open(path, exact);
}

float *golden_logits(const rh_model *m, const int32_t *ids, int32_t n, int32_t chunk)
{
    rh_error err = {0};
    rh_session *s = NULL;
    int32_t seq = -1;
    size_t width = (size_t)m->config.n_vocab;
    float *logits = malloc((size_t)n * width * sizeof *logits);
    assert_non_null(logits);
    golden_ok(rh_session_new(&s, m, 1, n, &err), &err);
    golden_ok(rh_session_add(s, &seq, n, NULL, 0, &err), &err);
    if (chunk <= 0) chunk = n;
    for (int32_t at = 0; at < n; at += chunk) {
        rh_step_input in = {.seq = seq, .ids = ids + at, .n = n - at < chunk ? n - at : chunk,
                            .want = RH_LOGITS_ALL, .logits = logits + (size_t)at * width};
        golden_ok(rh_session_step(s, &in, 1, &err), &err);
    }
    assert_int_equal(rh_session_len(s, seq), n);
    rh_session_free(s);
    return logits;
}

bool golden_change(char *bytes, size_t n, const char *after, const char *find, const char *put)
{
    const size_t len = strlen(find), skip = strlen(after);
    size_t i = 0;
    assert_int_equal(len, strlen(put));
    while (skip && i + skip <= n && memcmp(bytes + i, after, skip)) i++;
    for (; i + len <= n; i++) {
        if (memcmp(bytes + i, find, len)) continue;
        memcpy(bytes + i, put, len);
        return true;
    }
    return false;
}

double golden_max_diff(const float *a, const float *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= worst)) worst = isnan(d) ? (double)INFINITY : d;
    }
    return worst;
}

double golden_rel_diff(const float *a, const float *b, int64_t n)
{
    double scale = 0;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs((double)b[i]));
    return golden_max_diff(a, b, n) / fmax(scale, 1e-30);
}

double golden_kl(const float *logits, int32_t n_vocab, const int32_t *top, const float *logprob,
                 double rest, int32_t k)
{
    double largest = -INFINITY, q_total = 0, q_top = 0, p_total = rest, kl = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        if (!isfinite(logits[i])) return INFINITY;
        largest = fmax(largest, logits[i]);
    }
    for (int32_t i = 0; i < n_vocab; i++) q_total += exp(logits[i] - largest);
    /* The answers are rounded to float: what they miss of summing to one would enter the KL
     * to first order, so it is put right here. */
    for (int32_t i = 0; i < k; i++) p_total += exp(logprob[i]);
    for (int32_t i = 0; i < k; i++) {
        double p = exp(logprob[i]) / p_total, q = exp(logits[top[i]] - largest) / q_total;
        kl += p * log(p / q);
        q_top += q;
    }
    double p_rest = rest / p_total, q_rest = fmax(1 - q_top, 1e-12);
    return p_rest > 1e-12 ? kl + p_rest * log(p_rest / q_rest) : kl;
}

float *golden_floats(size_t n)
{
    float *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

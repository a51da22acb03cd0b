#include <string.h>

#include "damage.h"
#include "engine/files/vectorfile.h"
#include "engine/session.h"

static volatile unsigned sink;

static void touch(const void *bytes, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const unsigned char *)bytes)[i];
    sink += sum;
}

/* What `info` shows, and every byte of every tensor. */
static void look(const rh_model *m)
{
    const int64_t n = m->gguf ? rh_gguf_n_tensors(m->gguf) : rh_safetensors_n(m->safetensors);
    for (int64_t i = 0; i < n; i++) {
        const rh_tensor *t = m->gguf ? rh_gguf_tensor(m->gguf, i) : rh_safetensors_tensor(m->safetensors, i);
        touch(t->data, t->size);
        touch(t->name, strlen(t->name));
    }
    for (int64_t i = 0; m->gguf && i < rh_gguf_n_keys(m->gguf); i++) {
        rh_str text = {0};
        const char *key = rh_gguf_key(m->gguf, i, &text);
        touch(key, strlen(key));
        rh_str_free(&text);
    }
}

/* All ids, of a text and of a chat, are below n and have a text of their own. */
static bool tokens(const rh_tokenizer *t, int32_t n)
{
    static const char text[] = "the cat sat <s> \xc3\xa9 12  <|im_end|>\n";
    rh_tokens ids = {0};
    rh_str back = {0};
    rh_error err = {0};
    size_t begin, end;
    bool good = true;
    if (!t) return true;
    (void)rh_tokenize(t, &ids, text, sizeof text - 1, true, 0, &err);
    (void)rh_chat_prompt(t, rh_tokenizer_chat(t), &ids, "be kind", text, sizeof text - 1, true, &begin, &end, &err);
    for (size_t i = 0; i < ids.n; i++) {
        good = good && ids.items[i].id >= 0 && ids.items[i].id < n;
        if (good) rh_token_text(t, &back, ids.items[i].id, true);
    }
    rh_str_free(&back);
    rh_tokens_free(&ids);
    return good;
}

/* A few tokens in two steps, all logits wanted; whatever the weights say, they come out. */
static rh_status run(const rh_model *m, rh_error *err)
{
    enum { N = 6 };
    const int32_t n_vocab = m->config.n_vocab, all = m->config.n_ctx < N ? m->config.n_ctx : N;
    int32_t ids[N], seq = 0;
    rh_session *s = NULL;
    float *logits = rh_calloc((size_t)n_vocab * N, sizeof *logits), *row = rh_calloc((size_t)m->config.d_model, sizeof *row);
    rh_status status = logits && row ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; i < N; i++) ids[i] = i * 7 % n_vocab;
    if (!status) status = rh_session_new(&s, m, 1, all, err);
    if (!status) status = rh_session_add(s, &seq, all, NULL, 0, err);
    for (int32_t at = 0; at < all && !status; at += 4) {
        const int32_t n = all - at < 4 ? all - at : 4;
        const rh_step_input in = {.seq = seq, .ids = ids + at, .n = n, .want = RH_LOGITS_ALL, .logits = logits};
        status = rh_session_step(s, &in, 1, err);
    }
    touch(logits, (size_t)n_vocab * N * sizeof *logits);
    if (!status) status = rh_model_embed_row(row, m, n_vocab - 1, err);
    if (!status) status = rh_model_unembed_row(row, m, 0, err);
    if (!status) status = rh_model_unembed(logits, m, row, err);
    rh_session_free(s);
    free(logits);
    free(row);
    return status;
}

/* An error says what, and in which file; too little memory and a limit need not. */
static bool well_said(rh_status status, const rh_error *err, const char *where)
{
    if (err->code != status || !err->message[0]) return false;
    return status == RH_ENOMEM || strstr(err->message, where);
}

static bool try_vector(const damage_base *b, const char *path, char message[1024], const char **what)
{
    rh_vectorfile f = {0};
    rh_error err = {0};
    const rh_status status = rh_vectorfile_read(&f, path, NULL, &err);
    if (!status) touch(f.vector->data, (size_t)f.vector->n_layers * (size_t)f.vector->d * sizeof(float));
    rh_vectorfile_free(&f);
    *what = "an error that does not name the file";
    if (status && !well_said(status, &err, b->at.dir)) {
        snprintf(message, 1024, "%s", err.message);
        return false;
    }
    snprintf(message, 1024, "%s", status ? err.message : "");
    return true;
}

static bool try_tokenizer(const damage_base *b, const char *path, char message[1024], const char **what)
{
    enum { ROWS = 1000 };
    rh_tokenizer *t = NULL;
    rh_error err = {0};
    const rh_status status = rh_tokenizer_from_folder(&t, path, ROWS, &err);
    *what = status ? "an error that does not name the file" : "a token outside the vocabulary";
    const bool good = status ? well_said(status, &err, b->at.dir) : tokens(t, ROWS);
    rh_tokenizer_free(t);
    snprintf(message, 1024, "%s", status ? err.message : "");
    return good;
}

bool damage_try(const damage_base *b, char message[1024], const char **what)
{
    char path[600];
    rh_model *m = NULL;
    rh_error err = {0}, again = {0};
    /* Quantising reads every matrix once more. */
    const rh_settings settings = {.device = RH_DEVICE_CPU, .threads = 1}, quantized = {.device = RH_DEVICE_CPU, .threads = 1, .quantize = "nf4"};
    snprintf(path, sizeof path, "%s/%s", b->at.dir, b->entry);
    if (b->kind == DAMAGE_VECTOR) return try_vector(b, path, message, what);
    if (b->kind == DAMAGE_TOKENIZER) return try_tokenizer(b, path, message, what);
    bool good = true;
    const rh_status light = rh_model_open_light(&m, path, &settings, &err);
    if (!light) {
        look(m);
        *what = "a token outside the vocabulary";
        good = tokens(m->tokenizer, m->config.n_vocab);
    }
    rh_model_free(m);
    m = NULL;
    rh_status status = rh_model_open(&m, path, &settings, &again);
    if (good && status != light) {
        *what = "it opens only with, or only without its weights";
        good = false;
        if (!light) err = again;
    }
    if (good && status && !well_said(light, &err, b->at.dir)) {
        *what = "an error that does not name the file";
        good = false;
    }
    if (good && !status) {
        status = run(m, &err);
        *what = "it opens, but does not run";
        good = !status;
    }
    rh_model_free(m);
    m = NULL;
    if (good && !light) {
        *what = "it opens, but not to be quantised";
        good = !rh_model_open(&m, path, &quantized, &err);
        if (good) good = !run(m, &err);
        rh_model_free(m);
    }
    snprintf(message, 1024, "%s", light || !good ? err.message : "");
    return good;
}

#include "tiny.h"

#include "base/utf8.h"

static void put(rh_str *s, uint64_t v, size_t n) /* little-endian */
{
    for (size_t i = 0; i < n; i++) rh_str_add(s, &(char){ (char)(v >> (8 * i)) }, 1);
}

static void put_string(rh_str *s, const char *bytes, size_t n)
{
    put(s, n, 8);
    rh_str_add(s, bytes, n);
}

static void put_key(tiny *g, const char *key, uint32_t type)
{
    g->n++;
    put_string(&g->keys, key, strlen(key));
    put(&g->keys, type, 4);
}

void tiny_string(tiny *g, const char *key, const char *value)
{
    put_key(g, key, 8);
    put_string(&g->keys, value, strlen(value));
}

void tiny_u32(tiny *g, const char *key, uint32_t value)
{
    put_key(g, key, 4);
    put(&g->keys, value, 4);
}

void tiny_bool(tiny *g, const char *key, bool value)
{
    put_key(g, key, 7);
    put(&g->keys, value, 1);
}

static void put_array(tiny *g, const char *key, uint32_t type, size_t n)
{
    put_key(g, key, 9);
    put(&g->keys, type, 4);
    put(&g->keys, n, 8);
}

void tiny_strings(tiny *g, const char *key, const rh_bytes *items, size_t n)
{
    put_array(g, key, 8, n);
    for (size_t i = 0; i < n; i++) put_string(&g->keys, items[i].data, items[i].len);
}

void tiny_i32s(tiny *g, const char *key, const int32_t *items, size_t n)
{
    put_array(g, key, 5, n);
    for (size_t i = 0; i < n; i++) put(&g->keys, (uint32_t)items[i], 4);
}

void tiny_f32s(tiny *g, const char *key, const float *items, size_t n)
{
    put_array(g, key, 6, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &items[i], 4);
        put(&g->keys, bits, 4);
    }
}

rh_str tiny_bytes(tiny *g)
{
    rh_str s = { 0 };
    rh_str_puts(&s, "GGUF");
    put(&s, 3, 4);
    put(&s, 0, 8);
    put(&s, g->n, 8);
    rh_str_add(&s, g->keys.data ? g->keys.data : "", g->keys.len);
    while (s.len % 32) rh_str_add(&s, "", 1);
    if (s.failed || g->keys.failed) abort();
    rh_str_free(&g->keys);
    *g = (tiny){ 0 };
    return s;
}

/* ---- vocabularies ----------------------------------------------------------------------------- */

void tiny_add(tiny_vocab *v, const char *piece, int32_t type, float score)
{
    if (v->n == TINY_MAX) abort();
    v->pieces[v->n] = (rh_bytes){ piece, strlen(piece) };
    v->types[v->n] = type;
    v->scores[v->n] = score;
    v->n_types = v->n_scores = ++v->n;
}

void tiny_merge(tiny_vocab *v, const char *merge)
{
    v->merges[v->n_merges++] = (rh_bytes){ merge, strlen(merge) };
}

void tiny_byte_level(tiny_vocab *v)
{
    uint32_t next = 256;
    *v = (tiny_vocab){ .model = "gpt2", .pre = "gpt-2", .has_merges = true, .bos = 0, .eos = 1, .unk = -1 };
    tiny_add(v, "<x>", 3, 0);
    tiny_add(v, "<y>", 3, 0);
    tiny_add(v, "<u>", 4, 0);
    tiny_add(v, "  ", 4, 0);
    for (uint32_t b = 0; b < 256; b++) {
        bool itself = (b > 32 && b < 127) || (b > 160 && b != 173);
        v->letters[b][rh_utf8_put(v->letters[b], itself ? b : next++)] = 0;
        tiny_add(v, v->letters[b], 1, 0);
    }
    tiny_add(v, "ab", 1, 0);
    tiny_add(v, "abc", 1, 0);
    tiny_add(v, "cd", 1, 0);
    tiny_merge(v, "a b");
    tiny_merge(v, "ab c");
    tiny_merge(v, "c d");
}

void tiny_sentencepiece(tiny_vocab *v)
{
    *v = (tiny_vocab){ .model = "llama", .bos = 1, .eos = 2, .unk = 0 };
    tiny_add(v, "<unk>", 2, 0);
    tiny_add(v, "<s>", 3, 0);
    tiny_add(v, "</s>", 3, 0);
    for (int b = 0; b < 256; b++) {
        snprintf(v->letters[b], sizeof v->letters[b], "<0x%02X>", (unsigned)b);
        tiny_add(v, v->letters[b], 6, 0);
    }
    tiny_add(v, "<u>", 4, 0);
    const char *pieces[] = { "▁", "a", "b", "c", "▁a", "ab", "abc" };
    for (int i = 0; i < 7; i++) tiny_add(v, pieces[i], 1, -(float)i);
}

rh_str tiny_vocab_bytes(const tiny_vocab *v)
{
    tiny g = { 0 };
    if (v->model) tiny_string(&g, "tokenizer.ggml.model", v->model);
    if (v->pre) tiny_string(&g, "tokenizer.ggml.pre", v->pre);
    if (v->no_space_prefix) tiny_bool(&g, "tokenizer.ggml.add_space_prefix", false);
    if (v->chat_template) tiny_string(&g, "tokenizer.chat_template", v->chat_template);
    tiny_strings(&g, "tokenizer.ggml.tokens", v->pieces, v->n);
    if (v->n_types) tiny_i32s(&g, "tokenizer.ggml.token_type", v->types, v->n_types);
    if (v->n_scores) tiny_f32s(&g, "tokenizer.ggml.scores", v->scores, v->n_scores);
    if (v->has_merges) tiny_strings(&g, "tokenizer.ggml.merges", v->merges, v->n_merges);
    if (v->bos >= 0) tiny_u32(&g, "tokenizer.ggml.bos_token_id", (uint32_t)v->bos);
    if (v->eos >= 0) tiny_u32(&g, "tokenizer.ggml.eos_token_id", (uint32_t)v->eos);
    if (v->unk >= 0) tiny_u32(&g, "tokenizer.ggml.unknown_token_id", (uint32_t)v->unk);
    return tiny_bytes(&g);
}

rh_status tiny_open_bytes(rh_gguf **g, rh_tokenizer **t, scratch *s, const void *bytes, size_t n,
                          rh_error *err)
{
    *g = NULL;
    *t = NULL;
    rh_status status = rh_gguf_open(g, scratch_write(s, "tiny.gguf", bytes, n), err);
    if (!status) status = rh_tokenizer_from_gguf(t, *g, err);
    if (status) {
        rh_gguf_close(*g);
        *g = NULL;
    }
    return status;
}

rh_status tiny_open(rh_gguf **g, rh_tokenizer **t, scratch *s, const tiny_vocab *v, rh_error *err)
{
    rh_str bytes = tiny_vocab_bytes(v);
    rh_status status = tiny_open_bytes(g, t, s, bytes.data, bytes.len, err);
    rh_str_free(&bytes);
    return status;
}

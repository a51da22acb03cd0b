/* Tokenizers of folders as the Hub has them: ids of texts and of chats equal transformers' (made by
 * tests/generate/tokenizer_folders.py), offsets tile the text, and what is unknown is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "folder_help.h"

static rh_tokenizer *open_folder(scratch *s, const char *name, const char *vocabulary)
{
    rh_tokenizer *t = NULL;
    rh_error err = { 0 };
    copy_folder(s, name, vocabulary);
    if (rh_tokenizer_from_folder(&t, s->dir, 0, &err)) fail_msg("%s: %s %s", name, err.message, err.hint);
    assert_non_null(t);
    return t;
}

static char *ids_in(const json_t *list)
{
    rh_str s = { 0 };
    rh_str_puts(&s, "");
    for (size_t i = 0; i < json_array_size(list); i++)
        rh_str_printf(&s, i ? " %lld" : "%lld", json_integer_value(json_array_get(list, i)));
    return s.data;
}

/* A text back from its ids: with the space that may be put in front, and ▁ as the space that it stands for. */
static void check_decoded(const rh_tokenizer *t, const rh_tokens *k, const char *text, size_t len, const char *name)
{
    rh_str got = { 0 }, expected = { 0 };
    for (size_t i = 0; i < k->n; i++) {
        if (strcmp(name, "words-json") == 0 && rh_token_is_control(t, k->items[i].id)) goto done; /* <unk>: not to be had back */
        rh_token_text(t, &got, k->items[i].id, true);
    }
    for (size_t i = 0; i < len; i++) {
        const bool mark = i + 3 <= len && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        rh_str_add(&expected, mark ? " " : text + i, 1);
        if (mark) i += 2;
    }
    const bool spaced = got.len == expected.len + 1 && got.data[0] == ' ';
    if (got.len - spaced != expected.len || (expected.len && memcmp(got.data + spaced, expected.data, expected.len) != 0))
        fail_msg("%s: '%s' comes back as '%s'", name, text, got.data ? got.data : "");
done:
    rh_str_free(&got);
    rh_str_free(&expected);
}

static void check_text(const rh_tokenizer *t, const json_t *text, const json_t *answer, bool special, const char *name)
{
    rh_tokens k = { 0 };
    rh_error err;
    const char *bytes = json_string_value(text);
    size_t len = json_string_length(text);
    if (rh_tokenize(t, &k, bytes, len, special, 0, &err)) fail_msg("%s: %s", name, err.message);
    char *got = ids_text(&k), *expected = ids_in(answer);
    if (strcmp(got, expected) != 0)
        fail_msg("%s%s: '%s'\n     got %s\nexpected %s", name, special ? ", special" : "", bytes, got, expected);
    int32_t at = 0;
    for (size_t i = 0; i < k.n; i++) {
        if (k.items[i].start < at || k.items[i].end <= k.items[i].start || (size_t)k.items[i].end > len)
            if (!strstr(name, "llama2") && !strstr(name, "-json")) /* a space in front is nobody's byte */
                fail_msg("%s: '%s': token %zu is [%d, %d) behind %d", name, bytes, i, k.items[i].start, k.items[i].end, at);
        at = k.items[i].start;
    }
    if (!special && strstr(name, "-json")) check_decoded(t, &k, bytes, len, name);
    free(got);
    free(expected);
    rh_tokens_free(&k);
}

static void check_chat(const rh_tokenizer *t, const json_t *row, const char *name)
{
    rh_tokens k = { 0 };
    rh_error err = { 0 };
    size_t begin, end;
    const json_t *user = json_array_get(row, 1), *ids = json_array_get(row, 2);
    rh_status status = rh_chat_prompt(t, rh_tokenizer_chat(t), &k, json_string_value(json_array_get(row, 0)), json_string_value(user),
                                      json_string_length(user), true, &begin, &end, &err);
    if (json_is_null(ids)) {
        assert_int_equal(status, RH_EUNSUPPORTED);
        assert_true(err.hint[0]);
        return;
    }
    if (status) fail_msg("%s: %s", name, err.message);
    char *got = ids_text(&k), *expected = ids_in(ids);
    check_user_tiles(&k, begin, end, json_string_length(user), name);
    if (strcmp(got, expected) != 0) fail_msg("%s: chat '%s'\n     got %s\nexpected %s", name, json_string_value(user), got, expected);
    free(got);
    free(expected);
    rh_tokens_free(&k);
}

static void check_with_bos(const rh_tokenizer *t, const json_t *answer, const char *name)
{
    static const char text[] = "Name a city.";
    rh_tokens k = { 0 };
    rh_error err;
    if (rh_tokenizer_adds_bos(t)) assert_int_equal(rh_tokens_push(&k, (rh_token){ rh_tokenizer_bos(t), 0, 0 }, &err), RH_OK);
    assert_int_equal(rh_tokenize(t, &k, text, sizeof text - 1, false, 0, &err), RH_OK);
    char *got = ids_text(&k), *expected = ids_in(answer);
    if (strcmp(got, expected) != 0) fail_msg("%s: with BOS got %s, expected %s", name, got, expected);
    free(got);
    free(expected);
    rh_tokens_free(&k);
}

static const struct {
    const char *name, *vocabulary, *chat, *kind;
} folders[] = {
    { "llama3.1", "llama3.1", "llama3", "byte-level BPE" }, { "llama3", "llama3.1", "llama3", "byte-level BPE" },
    { "qwen2", "qwen2", "chatml", "byte-level BPE" },       { "smollm2", "smollm2", "chatml", "byte-level BPE" },
    { "gpt2", "gpt2", "none", "byte-level BPE" },           { "gemma3", "gemma3", "gemma", "SentencePiece" },
    { "gemma2", "gemma3", "gemma", "SentencePiece" },       { "llama2", "llama2", "chatml", "SentencePiece" },
    { "llama2-new", "llama2", "chatml", "SentencePiece" },  { "mistral0.1", "llama2", "mistral", "SentencePiece" },
    { "mistral0.2", "llama2", "mistral", "SentencePiece" }, { "llama2-chat", "llama2", "mistral", "SentencePiece" },
    { "mistral0.3", "mistral0.3", "mistral", "SentencePiece" }, { "nemo", "nemo", "mistral", "byte-level BPE" },
    { "llama2-json", "llama2-json", "chatml", "SentencePiece" }, { "mistral-json", "mistral-json", "mistral", "SentencePiece" },
    { "gemma-json", "gemma-json", "gemma", "SentencePiece" }, { "words-json", "words-json", "mistral", "SentencePiece" },
};

static void answers(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        const char *name = folders[f].name;
        char path[1024];
        scratch s;
        rh_error err;
        json_t *root = NULL, *row;
        size_t i;
        scratch_open(&s);
        rh_tokenizer *t = open_folder(&s, name, folders[f].vocabulary);
        snprintf(path, sizeof path, HUB "%s/answers.json", name);
        char *bytes;
        size_t n;
        if (rh_read_file(&bytes, &n, path, 1 << 20, &err)) fail_msg("%s", err.message);
        root = json_loadb(bytes, n, JSON_ALLOW_NUL, NULL);
        free(bytes);
        assert_non_null(root);
        assert_string_equal(rh_chat_name(rh_tokenizer_chat(t)), folders[f].chat);
        assert_string_equal(rh_tokenizer_kind(t), folders[f].kind);
        json_array_foreach(json_object_get(root, "texts"), i, row) {
            const json_t *plain = json_array_get(row, json_array_size(row) > 2 ? 2 : 1);
            check_text(t, json_array_get(row, 0), json_array_get(row, 1), true, name);
            if (json_is_array(plain)) check_text(t, json_array_get(row, 0), plain, false, name);
        }
        json_array_foreach(json_object_get(root, "chats"), i, row) check_chat(t, row, name);
        check_with_bos(t, json_object_get(root, "with_bos"), name);
        json_decref(root);
        rh_tokenizer_free(t);
        scratch_close(&s);
    }
}

/* [[role, text], …] -> what rh_chat_prompt_after takes; the last is the user's. */
static int32_t turns_of(rh_chat_turn turns[8], const char **system, const json_t *dialog)
{
    int32_t n = 0;
    size_t i;
    const json_t *m;
    *system = NULL;
    json_array_foreach(dialog, i, m) {
        const char *role = json_string_value(json_array_get(m, 0));
        const json_t *text = json_array_get(m, 1);
        assert_true(n < 8);
        if (strcmp(role, "system") == 0) *system = json_string_value(text);
        else
            turns[n++] = (rh_chat_turn){ strcmp(role, "assistant") == 0, json_string_value(text), json_string_length(text) };
    }
    assert_true(n > 0 && !turns[n - 1].assistant);
    return n;
}

static void check_dialog(const rh_tokenizer *t, const json_t *row, const char *name, size_t number)
{
    rh_chat_turn turns[8];
    rh_tokens k = { 0 };
    rh_error err = { 0 };
    const char *system;
    size_t begin, end;
    int32_t n = turns_of(turns, &system, json_array_get(row, 0));
    const rh_chat_turn *last = &turns[n - 1];
    rh_status status = rh_chat_prompt_after(t, rh_tokenizer_chat(t), &k, system, turns, n - 1, last->text, last->len, true, &begin,
                                            &end, &err);
    if (json_is_null(json_array_get(row, 1))) {
        assert_int_equal(status, system && strstr(err.message, "has no system text") ? RH_EUNSUPPORTED : RH_EVALUE);
        assert_true(err.hint[0]);
        assert_int_equal(k.n, 0);
        return;
    }
    if (status) fail_msg("%s, chat %zu: %s", name, number, err.message);
    char *got = ids_text(&k), *expected = ids_in(json_array_get(row, 1));
    if (strcmp(got, expected) != 0) fail_msg("%s, chat %zu\n     got %s\nexpected %s", name, number, got, expected);
    for (size_t i = 0; i < k.n; i++) /* only the last turn is the user's text */
        if ((i < begin || i >= end) && k.items[i].start != k.items[i].end) fail_msg("%s, chat %zu: token %zu covers text", name, number, i);
    free(got);
    free(expected);
    rh_tokens_free(&k);
}

/* Several turns: made by tests/generate/tokenizer_dialogs.py. */
static void dialogs(void **state)
{
    (void)state;
    json_t *root = NULL, *row;
    rh_error err;
    size_t i;
    int checked = 0;
    if (rh_json_load(&root, HUB "dialogs.json", &err)) fail_msg("%s", err.message);
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        scratch s;
        const json_t *rows = json_object_get(root, folders[f].name);
        if (!rows) continue;
        scratch_open(&s);
        rh_tokenizer *t = open_folder(&s, folders[f].name, folders[f].vocabulary);
        json_array_foreach(rows, i, row) check_dialog(t, row, folders[f].name, i);
        checked += (int)json_array_size(rows);
        rh_tokenizer_free(t);
        scratch_close(&s);
    }
    assert_int_equal(checked, 132);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers), cmocka_unit_test(dialogs) };
    return cmocka_run_group_tests_name("tokenizers of folders", tests, NULL, NULL);
}

#include "help.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

void open_file(opened *o, const char *path)
{
    rh_error err;
    *o = (opened){ 0 };
    if (rh_gguf_open(&o->gguf, path, &err)) fail_msg("%s", err.message);
    if (rh_tokenizer_from_gguf(&o->t, o->gguf, &err)) fail_msg("%s: %s", path, err.message);
}

void open_model(opened *o, const char *name)
{
    char path[1024];
    const char *folder = getenv("RHUMB_TEST_MODELS");
    *o = (opened){ 0 };
    snprintf(path, sizeof path, "%s/%s.gguf", folder ? folder : "", name);
    if (!folder || !rh_is_file(path)) {
        print_message("SKIPPED: RHUMB_TEST_MODELS %s %s.gguf; tests/run fetches it\n",
                      folder ? "has no" : "is not set, which would hold", name);
        skip();
    }
    open_file(o, path);
}

void close_model(opened *o)
{
    rh_tokenizer_free(o->t);
    rh_gguf_close(o->gguf);
    *o = (opened){ 0 };
}

char *read_data(const char *name)
{
    char path[1024], *text;
    rh_error err;
    snprintf(path, sizeof path, "%s/tokenizer/%s", RH_TEST_DATA, name);
    if (rh_read_file(&text, &(size_t){ 0 }, path, 1 << 24, &err)) fail_msg("%s", err.message);
    return text;
}

char *next_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (!end) return NULL;
    *end = 0;
    *text = end + 1;
    return line;
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

size_t unescape(char *line)
{
    char *to = line;
    for (const char *p = line; *p;) {
        if (*p != '\\') *to++ = *p++;
        else if (p[1] == '\\') {
            *to++ = '\\';
            p += 2;
        } else {
            *to++ = (char)(hex(p[2]) * 16 + hex(p[3]));
            p += 4;
        }
    }
    return (size_t)(to - line);
}

char *ids_text(const rh_tokens *t)
{
    rh_str s = { 0 };
    rh_str_puts(&s, "");
    for (size_t i = 0; i < t->n; i++) rh_str_printf(&s, i ? " %d" : "%d", t->items[i].id);
    assert_false(s.failed);
    return s.data ? s.data : rh_strdup("");
}

char *ids_of(const rh_tokenizer *t, const char *text, size_t len, bool special)
{
    rh_tokens tokens = { 0 };
    rh_error err;
    if (rh_tokenize(t, &tokens, text, len, special, 0, &err)) fail_msg("%s", err.message);
    char *ids = ids_text(&tokens);
    rh_tokens_free(&tokens);
    return ids;
}

void check_tiles(const rh_tokens *t, size_t len, bool gaps, const char *what)
{
    int32_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        rh_token k = t->items[i];
        if (gaps ? k.start < at : k.start != at)
            fail_msg("%s: token %zu begins at %d, not %d", what, i, k.start, at);
        if (k.end <= k.start || (size_t)k.end > len)
            fail_msg("%s: token %zu is [%d, %d) of %zu bytes", what, i, k.start, k.end, len);
        at = k.end;
    }
    if (!gaps && (size_t)at != len) fail_msg("%s: the tokens end at %d of %zu", what, at, len);
}

void check_user_tiles(const rh_tokens *t, size_t begin, size_t end, size_t len, const char *what)
{
    int32_t at = -1;
    assert_true(begin <= end && end <= t->n);
    for (size_t i = 0; i < t->n; i++) {
        rh_token x = t->items[i];
        if (i < begin || i >= end) {
            if (x.start != x.end) fail_msg("%s: token %zu is the template's, but covers text", what, i);
            continue;
        }
        if (x.end <= x.start || (at >= 0 && x.start != at) || (size_t)x.end > len)
            fail_msg("%s: token %zu is [%d, %d) after %d", what, i, x.start, x.end, at);
        at = x.end;
    }
}

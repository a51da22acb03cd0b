/* Reports as terminal text, against snapshots in tests/data/notebooks-export. With
 * RHUMB_UPDATE_SNAPSHOTS set they are written instead: read the diff before committing it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "fabricate.h"
#include "notebooks-export/export.h"

#define FOLDER RH_TEST_DATA "/notebooks-export/"

static void compare(const char *name, const rh_str *got)
{
    char path[600], *want = NULL;
    size_t n = 0;
    rh_error err = {0};
    snprintf(path, sizeof path, FOLDER "%s.txt", name);
    if (getenv("RHUMB_UPDATE_SNAPSHOTS")) {
        rh_writer w = {0};
        assert_int_equal(rh_writer_open(&w, path, &err), RH_OK);
        assert_int_equal(rh_writer_put(&w, got->data, got->len, &err), RH_OK);
        assert_int_equal(rh_writer_commit(&w, &err), RH_OK);
        return;
    }
    if (rh_read_file(&want, &n, path, 1 << 20, &err)) fail_msg("%s", err.message);
    if (n != got->len || memcmp(want, got->data, n)) fail_msg("%s differs; it is now:\n%s", path, got->data);
    free(want);
}

/* Every line fits the terminal; nothing but our own colours escapes. */
static void check_lines(const rh_str *s, const rh_terminal *t)
{
    assert_int_equal(rh_utf8_valid(s->data, s->len), s->len);
    for (const char *line = s->data; *line;) {
        size_t n = strcspn(line, "\n");
        rh_str bare = {0};
        rh_str_puts(&bare, "");
        for (size_t i = 0; i < n; i++) {
            if (line[i] != '\x1b') {
                rh_str_add(&bare, line + i, 1);
                continue;
            }
            assert_true(t->colour);
            size_t end = i + 1 + strspn(line + i + 1, "[0123456789;");
            assert_int_equal(line[end], 'm');
            i = end;
        }
        int width = rh_utf8_width(bare.len ? bare.data : "", bare.len);
        if (t->width >= 60 && width > t->width) fail_msg("%d columns: %.*s", width, (int)n, line);
        for (size_t i = 0; i < bare.len; i++) {
            unsigned char c = (unsigned char)bare.data[i];
            assert_true(c >= 0x20 && c != 0x7F);
            if (!t->unicode) assert_true(c < 0x80);
        }
        rh_str_free(&bare);
        line += n + (line[n] == '\n');
    }
}

static void steer_texts(void **state)
{
    (void)state;
    const struct { const char *name; const rh_steer_report *r; rh_terminal t; } cases[] = {
        {"steer-120", fabricate_steer(), {120, false, true}},
        {"steer-80", fabricate_steer(), {0, false, true}},
        {"steer-60-ascii", fabricate_steer(), {60, false, false}},
        {"steer-40", fabricate_steer(), {40, false, true}},
        {"steer-120-colour", fabricate_steer(), {120, true, true}},
        {"hostile-90", fabricate_hostile(), {90, false, true}},
        {"hostile-90-ascii", fabricate_hostile(), {90, false, false}},
        {"hostile-90-colour", fabricate_hostile(), {90, true, true}},
        {"plain-80", fabricate_plain(), {80, false, true}},
        {"features-80", fabricate_features(), {80, false, true}},
        {"features-60-ascii", fabricate_features(), {60, false, false}},
        {"features-80-colour", fabricate_features(), {80, true, true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str out = {0};
        rh_error err = {0};
        assert_int_equal(rh_export_steer_text(&out, cases[i].r, &cases[i].t, &err), RH_OK);
        check_lines(&out, &cases[i].t);
        compare(cases[i].name, &out);
        rh_str_free(&out);
    }
}

static void vec_texts(void **state)
{
    (void)state;
    const struct { const char *name; const rh_vec_report *r; rh_terminal t; } cases[] = {
        {"vector-90", fabricate_vector(), {90, false, true}},
        {"vector-60-ascii", fabricate_vector(), {60, false, false}},
        {"scalar", fabricate_scalar(), {80, false, true}},
        {"span", fabricate_span(), {80, false, true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str out = {0};
        rh_error err = {0};
        assert_int_equal(rh_export_vec_text(&out, cases[i].r, &cases[i].t, &err), RH_OK);
        check_lines(&out, &cases[i].t);
        compare(cases[i].name, &out);
        rh_str_free(&out);
    }
}

/* A head wider than its column leaves the word `strength` out, so that the columns stay where they are. */
static void long_heads(void **state)
{
    (void)state;
    const rh_terminal t = {80, false, false};
    rh_steer_report r = *fabricate_steer();
    rh_steer_run runs[3];
    rh_str out = {0};
    memcpy(runs, r.runs, sizeof runs);
    runs[1].strength = 161.409;
    runs[2].strength = 2;
    runs[1].collapsed = runs[2].collapsed = true;
    r.runs = runs;
    assert_int_equal(rh_export_steer_text(&out, &r, &t, NULL), RH_OK);
    const char *head = strstr(out.data, "unsteered "), *rule = strchr(head, '\n') + 1;
    assert_non_null(strstr(head, "| 161.409 (collapsed)      | strength 2 (collapsed)"));
    for (const char *bar = strchr(head, '|'); bar && bar < rule; bar = strchr(bar + 1, '|')) assert_int_equal(rule[bar - head], '+');
    rh_str_free(&out);
}

/* Widths from nothing to absurd: no crash, and from 60 columns on no line too wide. */
static void any_width(void **state)
{
    (void)state;
    for (int width = 1; width < 260; width += width < 70 ? 1 : 13)
        for (int flags = 0; flags < 4; flags++) {
            rh_terminal t = {width, flags & 1, flags & 2};
            rh_str out = {0};
            assert_int_equal(rh_export_steer_text(&out, fabricate_steer(), &t, NULL), RH_OK);
            assert_int_equal(rh_export_steer_text(&out, fabricate_hostile(), &t, NULL), RH_OK);
            assert_int_equal(rh_export_vec_text(&out, fabricate_vector(), &t, NULL), RH_OK);
            check_lines(&out, &t);
            rh_str_free(&out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steer_texts), cmocka_unit_test(vec_texts), cmocka_unit_test(long_heads),
                                       cmocka_unit_test(any_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

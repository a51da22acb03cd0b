/* CSV: what is read, and what is refused with which line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "concepts/help.h"
#include "concepts/pairs.h"

typedef struct { const char *bytes; size_t len; bool marked; int line; const char *message; } fault_case;
#define CSV(s) s, sizeof(s) - 1
#define BAD(text, line, message) {CSV(text), false, line, message}

static const fault_case faults[] = {
    BAD("", 1, "the file is empty"),
    BAD("\xEF\xBB\xBF", 1, "the file is empty"),
    BAD("\n\n", 1, "the file is empty"),
    BAD("positive,negative\n", 2, "no rows after the header"),
    BAD("positive,negative", 1, "no rows after the header"),
    BAD("a,b\nx,y\n", 1, "no column 'positive' in the header; it has 'a', 'b'"),
    BAD("positive,b\nx,y\n", 1, "no column 'negative'"),
    BAD("text\nx\n", 1, "no column 'label'"),
    BAD("label\nx\n", 1, "no column 'text'"),
    BAD("I love rain,I love sun\n", 1, "no column 'positive' in the header; it has 'I love rain', 'I love sun'"),
    BAD("positive, negative\nx,y\n", 1, "no column 'negative' in the header; it has 'positive', ' negative'"),
    BAD("positive,positive,negative\nx,y,z\n", 1, "two columns 'positive'"),
    BAD("positive,negative\na,b\nc\n", 3, "1 field in this row, but the header has 2"),
    BAD("positive,negative\na,b\nc,d,e\n", 3, "3 fields in this row, but the header has 2"),
    BAD("positive,negative\na,b\n\"c,d\n", 3, "a quoted field is not closed before the file ends"),
    BAD("positive,negative\na,\"b\nb\nb\n", 2, "a quoted field is not closed"),
    BAD("positive,negative\na,b\"c\n", 2, "a double quote where none may stand"),
    BAD("positive,negative\n\"a\"b,c\n", 2, "a double quote where none may stand"),
    BAD("positive,negative\n\"a\" ,c\n", 2, "a double quote where none may stand"),
    BAD("positive,negative\r\n\"a\r\nb\",c\r\nd,e\xff\r\n", 4, "the byte 0xff is not valid UTF-8"),
    BAD("positive,negative\n\"a\nb\xc3(\",c\n", 3, "the byte 0xc3 is not valid UTF-8"),
    BAD("positive,negative,\xfe\n", 1, "the byte 0xfe is not valid UTF-8"),
    BAD("positive,negative,note\na,b,\xed\xa0\x80\n", 2, "the byte 0xed is not valid UTF-8"),
    BAD("positive,negative\na\0b,c\n", 2, "a NUL byte"),
    BAD("\xff\xfep\0o\0", 1, "the byte 0xff is not valid UTF-8"),
    BAD("positive,negative\na,b\n,c\n", 3, "the text is empty"),
    BAD("positive,negative\na,b\nc,\"\"\n", 3, "the text is empty"),
    BAD("text,label\na,1\nb,2\n", 3, "the label is '2'"),
    BAD("text,label\na,1\nb,\n", 3, "the label is ''"),
    BAD("text,label\na,1\nb,Positive\n", 3, "the label is 'Positive'"),
    BAD("text,label\na,1\nb,positive\n", 4, "no row is labelled negative (0)"),
    BAD("text,label\na,0\n", 3, "no row is labelled positive (1)"),
    {CSV("positive,negative\n<<a>>,b\n"), true, 2, "no mark '<<…>>' in the text"},
    {CSV("positive,negative\n<<a>>,<<b>>\n<<c,<<d>>\n"), true, 3, "a mark '<<' is not closed"},
    {CSV("positive,negative\n<<a>>,b>>\n"), true, 2, "none was opened"},
    {CSV("positive,negative\n<<a<<b>>,<<c>>\n"), true, 2, "a mark '<<' inside a mark"},
    {CSV("positive,negative\n<<>>a,<<c>>\n"), true, 2, "encloses nothing"},
};

static const char *write_bytes(const folder *f, const char *bytes, size_t len)
{
    rh_writer w = {0};
    const char *path = in_folder(f, "pairs.csv");
    assert_int_equal(rh_writer_open(&w, path, NULL), RH_OK);
    assert_int_equal(rh_writer_put(&w, bytes, len, NULL), RH_OK);
    assert_int_equal(rh_writer_commit(&w, NULL), RH_OK);
    return path;
}

static void test_faults(void **state)
{
    (void)state;
    folder f = folder_new();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const fault_case *c = &faults[i];
        rh_pairs p = {0};
        rh_error err = {0};
        const char *path = write_bytes(&f, c->bytes, c->len);
        rh_status status = rh_pairs_read(&p, path, NULL, NULL, c->marked, &err);
        if (status != RH_EFORMAT) fail_msg("case %zu: %s", i, rh_status_name(status));
        if (err.line != c->line) fail_msg("case %zu: line %d instead of %d (%s)", i, err.line, c->line, err.message);
        if (!strstr(err.message, c->message)) fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.message, c->message);
        if (!err.hint[0]) fail_msg("case %zu: no way out: %s", i, err.message);
        assert_string_equal(err.file, path);
        assert_null(p.rows);
    }
    folder_remove(&f);
}

typedef struct { const char *csv; const char *positive, *negative; bool marked; const char *want; } good_case;

/* want: LINE(+|-)TEXT a row; marks in brackets */
static const good_case goods[] = {
    {"positive,negative\na,b\n", NULL, NULL, false, "2+a;2-b;"},
    {"positive,negative\na,b", NULL, NULL, false, "2+a;2-b;"},
    {"\xEF\xBB\xBFpositive,negative\r\na,b\r\nc,d\r\n", NULL, NULL, false, "2+a;2-b;3+c;3-d;"},
    {"negative,note,positive\rb,x,a\rd,y,c\r", NULL, NULL, false, "2+a;2-b;3+c;3-d;"},
    {"positive,negative\n\n\na,b\n\nc,d\n\n", NULL, NULL, false, "4+a;4-b;6+c;6-d;"},
    {"positive,negative\n\"a\nb\",\"c\"\"d\"\n\" e\",f \n", NULL, NULL, false, "2+a\nb;2-c\"d;4+ e;4-f ;"},
    {"positive,negative\n\"a\r\n\r\nb\",c\r\nd,e\r\n", NULL, NULL, false, "2+a\r\n\r\nb;2-c;5+d;5-e;"},
    {"\"positive\",\"negative\"\n\"a, b\",c\n", NULL, NULL, false, "2+a, b;2-c;"},
    {"good,bad\na,b\n", "good", "bad", false, "2+a;2-b;"},
    {"positive,bad\na,b\n", NULL, "bad", false, "2+a;2-b;"},
    {"text,label\na,1\nb,0\nc,positive\nd,negative\n", NULL, NULL, false, "2+a;3-b;4+c;5-d;"},
    {"label,text\n0,a\n1,b\n", NULL, NULL, false, "2-a;3+b;"},
    {"text,label,positive,negative\nx,9,a,b\n", NULL, NULL, false, "2+a;2-b;"},
    {"positive,negative\nà 日本,😀\n", NULL, NULL, false, "2+à 日本;2-😀;"},
    {"positive,negative\n<<a>>,b>>\n", NULL, NULL, false, "2+<<a>>;2-b>>;"},
    {"positive,negative\nin <<San>> <<F>>,<<b>>!\n", NULL, NULL, true, "2+in San F[3-6][7-8];2-b![0-1];"},
    {"positive,negative\n<a> <<b>c>>,<<<d>>\n", NULL, NULL, true, "2+<a> b>c[4-7];2-<d[0-2];"},
};

static void test_rows(void **state)
{
    (void)state;
    folder f = folder_new();
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        const good_case *c = &goods[i];
        rh_pairs p = {0};
        rh_error err = {0};
        rh_str got = {0};
        const char *path = write_text(&f, "pairs.csv", c->csv);
        if (rh_pairs_read(&p, path, c->positive, c->negative, c->marked, &err)) fail_msg("case %zu: %s", i, err.message);
        for (size_t k = 0; k < p.n; k++) {
            const rh_text_row *r = &p.rows[k];
            assert_int_equal(strlen(r->text), r->len);
            rh_str_printf(&got, "%d%c%s", (int)r->line, r->positive ? '+' : '-', r->text);
            for (int32_t j = 0; j < r->n_marks; j++)
                rh_str_printf(&got, "[%u-%u]", (unsigned)r->marks[j].start, (unsigned)r->marks[j].end);
            rh_str_puts(&got, ";");
        }
        if (strcmp(got.data, c->want)) fail_msg("case %zu: \"%s\"", i, got.data);
        char hash[65];
        assert_int_equal(rh_sha256_file(hash, path, NULL), RH_OK);
        assert_string_equal(hash, p.sha256);
        rh_str_free(&got);
        rh_pairs_free(&p);
    }
    folder_remove(&f);
}

/* A field and its line are found wherever the 64 KiB chunks end. */
static void test_chunks(void **state)
{
    (void)state;
    folder f = folder_new();
    for (int pad = 65536 - 40; pad < 65536 + 4; pad++) {
        rh_str csv = {0};
        rh_pairs p = {0};
        rh_error err = {0};
        rh_str_puts(&csv, "positive,negative\r\n");
        for (int i = 19; i < pad; i++) rh_str_puts(&csv, i == 30000 ? "," : i == 60000 ? "\r" : i == 60001 ? "\n"
                                                        : i == 61000 ? "," : "x");
        rh_str_puts(&csv, "\r\n\"a\r\n\"\"b\",c\r\nd\r\n");
        assert_false(csv.failed);
        assert_int_equal(rh_pairs_read(&p, write_text(&f, "pairs.csv", csv.data), NULL, NULL, false, &err), RH_EFORMAT);
        if (err.line != 6) fail_msg("pad %d: line %d, %s", pad, err.line, err.message);
        rh_str_free(&csv);
    }
    folder_remove(&f);
}

static void test_files(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_pairs p;
    rh_error err = {0};
    assert_int_equal(rh_pairs_read(&p, in_folder(&f, "none.csv"), NULL, NULL, false, &err), RH_EIO);
    assert_non_null(strstr(err.message, "none.csv"));
    assert_int_equal(rh_pairs_read(&p, f.path, NULL, NULL, false, &err), RH_EIO);
    assert_non_null(strstr(err.message, "a folder"));
    /* Only the header is looked at. */
    const char *path = write_text(&f, "pairs.csv", "positive,negative\na,b,c,d\n");
    assert_int_equal(rh_pairs_check_header(path, NULL, NULL, &err), RH_OK);
    assert_int_equal(rh_pairs_check_header(path, "x", NULL, &err), RH_EFORMAT);
    assert_int_equal(rh_pairs_check_header(write_text(&f, "pairs.csv", ""), NULL, NULL, &err), RH_EFORMAT);
    assert_int_equal(rh_pairs_check_header(write_text(&f, "pairs.csv", "positive,negative"), NULL, NULL, &err), RH_OK);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults), cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_chunks), cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A corpus: texts of plain files and of JSON lines, in pieces, with places of what is wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/utf8.h"
#include "concepts/corpus.h"
#include "concepts/help.h"

typedef struct fixture { folder f; rh_corpus *c; rh_error err; } fixture;

static const char *write_bytes(const folder *f, const char *name, const void *bytes, size_t n)
{
    const char *path = in_folder(f, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
    return path;
}

static const char *write_gz(const folder *f, const char *name, const void *bytes, size_t n)
{
    const char *path = in_folder(f, name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)n), (int)n);
    gzclose(file);
    return path;
}

static rh_status next(rh_corpus *c, const char **text, rh_error *err)
{
    size_t len = 0;
    bool end = false;
    rh_status status = rh_corpus_next(c, text, &len, &end, err);
    if (status || end) *text = NULL;
    else assert_int_equal(strlen(*text), len);
    return status;
}

static void expect(rh_corpus *c, const char *want)
{
    const char *text = NULL;
    rh_error err = {0};
    assert_int_equal(next(c, &text, &err), RH_OK);
    if (!want) assert_null(text);
    else assert_non_null(text);
    if (want) assert_string_equal(text, want);
}

static rh_corpus *open_all(const char *const *paths, int n)
{
    rh_corpus *c = NULL;
    rh_error err = {0};
    assert_int_equal(rh_corpus_open(&c, paths, n, &err), RH_OK);
    return c;
}

static void kinds_of_files(void **state)
{
    (void)state;
    folder f = folder_new();
    static const char lines[] = "\xef\xbb\xbf\"one\\nline\"\r\n\n{\"id\": 3, \"text\": \"two\"}\n\"\"\n\"three\"";
    const char *paths[] = {write_text(&f, "a.txt", "\xef\xbb\xbfplain\r\ntext\r\n"), write_text(&f, "empty.txt", ""),
                           write_bytes(&f, "b.jsonl", lines, sizeof lines - 1), write_text(&f, "blank.txt", " \n\t\n"),
                           write_gz(&f, "c.txt.gz", "zipped", 6), write_gz(&f, "d.jsonl.gz", "\"four\"\n", 7)};
    rh_corpus *c = open_all(paths, 6);
    expect(c, "plain\ntext\n");
    expect(c, "one\nline");
    expect(c, "two");
    assert_int_equal(rh_corpus_at(c), 3);
    expect(c, "three");
    expect(c, "zipped");
    expect(c, "four");
    expect(c, NULL);
    expect(c, NULL);
    int64_t read, all;
    rh_corpus_bytes(c, &read, &all);
    assert_int_equal(read, all);
    rh_corpus_free(c);

    rh_error err = {0};
    c = open_all(paths, 6);
    assert_int_equal(rh_corpus_skip(c, 4, &err), RH_OK);
    expect(c, "zipped");
    assert_int_equal(rh_corpus_skip(c, 2, &err), RH_EVALUE);
    rh_corpus_free(c);
    folder_remove(&f);
}

/* Whatever the pieces are, together they are the file. */
static void check_pieces(const folder *f, const char *text, size_t n, int least, const char *ending)
{
    const char *path = write_bytes(f, "long.txt", text, n);
    rh_corpus *c = open_all(&path, 1);
    size_t at = 0;
    int pieces = 0;
    for (const char *piece = NULL; next(c, &piece, NULL) == RH_OK && piece; pieces++) {
        size_t len = strlen(piece);
        assert_true(len <= RH_CORPUS_PIECE && at + len <= n && !memcmp(text + at, piece, len));
        assert_int_equal(rh_utf8_valid(piece, len), len);
        at += len;
        if (at < n && ending) assert_memory_equal(piece + len - strlen(ending), ending, strlen(ending));
    }
    assert_int_equal(at, n);
    assert_true(pieces >= least);
    assert_int_equal(rh_corpus_repaired(c), 0);
    rh_corpus_free(c);
}

static void pieces(void **state)
{
    (void)state;
    enum { N = 200000 };
    folder f = folder_new();
    char *text = malloc(N);
    for (int i = 0; i < N; i++) text[i] = i % 1000 == 999 || i % 1000 == 998 ? '\n' : i % 50 == 49 ? '\n' : 'a';
    check_pieces(&f, text, N, 24, "\n\n");
    for (int i = 0; i < N; i++) text[i] = i % 50 == 49 ? '\n' : 'a';
    check_pieces(&f, text, N, 24, "\n");
    for (int i = 0; i < N; i++) text[i] = i % 50 == 49 ? ' ' : 'a';
    check_pieces(&f, text, N, 24, " ");
    memset(text, 'a', N);
    check_pieces(&f, text, N, 24, NULL);
    for (int i = 0; i + 3 <= N; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
    check_pieces(&f, text, N / 3 * 3, 24, NULL);

    /* The same as one line of JSON. */
    char *line = malloc(N + 3);
    line[0] = '"';
    memset(line + 1, 'b', N);
    memcpy(line + N + 1, "\"\n", 2);
    const char *path = write_gz(&f, "long.jsonl", line, N + 3), *piece = NULL;
    rh_corpus *c = open_all(&path, 1);
    size_t all = 0;
    while (next(c, &piece, NULL) == RH_OK && piece) all += strlen(piece);
    assert_int_equal(all, N);
    rh_corpus_free(c);
    free(line);
    free(text);
    folder_remove(&f);
}

static void repaired(void **state)
{
    (void)state;
    folder f = folder_new();
    const char *path = write_text(&f, "latin1.txt", "caf\xe9 \xff\xfe.");
    rh_corpus *c = open_all(&path, 1);
    expect(c, "caf\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd.");
    assert_int_equal(rh_corpus_repaired(c), 3);
    rh_corpus_free(c);
    folder_remove(&f);
}

static void refused(void **state)
{
    (void)state;
    static const struct { const char *name, *bytes; size_t n; int line; const char *says; } cases[] = {
        {"x.jsonl", "\"a\"\n\n{\"text\": \"b\"", 18, 3, "is not valid JSON"},
        {"x.jsonl", "\"a\"\n7\n", 6, 2, "neither a string nor an object"},
        {"x.jsonl", "{\"text\": 3}\n", 12, 1, "without a string"},
        {"x.ndjson", "\"a\"\n\"\xff\"\n", 8, 2, "is not valid JSON"},
        {"x.txt", "a\nb\0c", 5, 2, "zero byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        folder f = folder_new();
        const char *path = write_bytes(&f, cases[i].name, cases[i].bytes, cases[i].n), *text = NULL;
        rh_corpus *c = open_all(&path, 1);
        rh_error err = {0};
        rh_status status;
        while (!(status = next(c, &text, &err)) && text) {}
        assert_int_equal(status, RH_EFORMAT);
        assert_int_equal(err.line, cases[i].line);
        assert_non_null(strstr(err.message, cases[i].says));
        assert_non_null(strstr(err.file, cases[i].name));
        rh_corpus_free(c);
        folder_remove(&f);
    }
    rh_corpus *c = NULL;
    rh_error err = {0};
    folder f = folder_new();
    const char *missing = in_folder(&f, "none.txt"), *dir = f.path;
    assert_int_equal(rh_corpus_open(&c, &missing, 1, &err), RH_EIO);
    assert_int_equal(rh_corpus_open(&c, &dir, 1, &err), RH_EIO);
    assert_non_null(strstr(err.message, "folder"));
    folder_remove(&f);
}

/* Cut anywhere, or with a byte changed: an error, or fewer texts; never texts that were not there. */
static void damaged_gzip(void **state)
{
    (void)state;
    folder f = folder_new();
    char bytes[400], was[2000];
    for (size_t i = 0; i < sizeof was; i++) was[i] = (char)('a' + (i * i / 7) % 26);
    const char *path = write_gz(&f, "x.txt.gz", was, sizeof was);
    FILE *file = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(n > 30 && n < sizeof bytes);
    for (size_t cut = 2; cut < n; cut++) {
        const char *text = NULL;
        rh_error err = {0};
        path = write_bytes(&f, "x.txt.gz", bytes, cut);
        rh_corpus *c = open_all(&path, 1);
        if (next(c, &text, &err)) assert_non_null(strstr(err.message, "gzip"));
        else assert_true(cut < 12 || !text); /* less than a header is read as text */
        rh_corpus_free(c);
    }
    bytes[n / 2] ^= 0x55;
    path = write_bytes(&f, "x.txt.gz", bytes, n);
    rh_corpus *c = open_all(&path, 1);
    const char *text = NULL;
    rh_error err = {0};
    assert_int_equal(next(c, &text, &err), RH_EFORMAT);
    rh_corpus_free(c);
    folder_remove(&f);
}

static void hash(void **state)
{
    (void)state;
    folder f = folder_new();
    char one[65], other[65];
    rh_error err = {0};
    const char *paths[] = {write_text(&f, "a.txt", "a"), write_text(&f, "b.txt", "b")};
    rh_corpus *c = open_all(paths, 2);
    assert_int_equal(rh_corpus_hash(one, c, &err), RH_OK);
    write_text(&f, "b.txt", "c");
    assert_int_equal(rh_corpus_hash(other, c, &err), RH_OK);
    assert_string_not_equal(one, other);
    rh_corpus_free(c);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds_of_files), cmocka_unit_test(pieces), cmocka_unit_test(repaired),
                                       cmocka_unit_test(refused), cmocka_unit_test(damaged_gzip), cmocka_unit_test(hash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

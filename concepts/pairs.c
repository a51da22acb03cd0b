/* pairs.c - contrastive texts from a CSV (LANGUAGE.md §4), by libcsv in its strict mode.
 *
 *     positive,negative            text,label
 *     I love rain,I love sun       I love rain,1
 *
 * The file is read in chunks, cut at line ends, so that every callback knows the line it is on.
 * Spaces belong to a field (libcsv alone would trim them); blank lines are skipped, as
 * every CSV reader does; columns that nobody named are ignored, but counted. */
#include "concepts/pairs_reader.h"

#include <csv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    CHUNK = 1 << 16,
    MAX_FIELD = 1 << 24   /* beyond it somebody forgot to close a quote */
};

/* ---- libcsv's callbacks ------------------------------------------------------------------- */

/* Every field must be text: valid UTF-8 without NUL. */
static void check_text(rh_pairs_reader *r, const char *s, size_t len)
{
    const char *nul = memchr(s, 0, len);
    size_t bad = rh_utf8_valid(s, len);
    if (nul && (size_t)(nul - s) < bad) bad = (size_t)(nul - s);
    if (bad == len) return;
    int32_t line = r->field_line;
    for (size_t i = 0; i < bad; i++) line += s[i] == '\n';
    if (s[bad])
        rh_pairs_fault(r, line, "save the file as UTF-8", "the byte 0x%02x is not valid UTF-8", (unsigned char)s[bad]);
    else
        rh_pairs_fault(r, line, "a CSV is text; is this another kind of file, or UTF-16?", "a NUL byte");
}

static void on_field(void *bytes, size_t len, void *data)
{
    rh_pairs_reader *r = data;
    if (r->status || r->done) return;
    if (!r->n_fields) r->row_line = r->field_line;
    const char *s = bytes ? bytes : "";
    check_text(r, s, len);
    if (r->status) return;
    if (!r->n_columns) {
        rh_pairs_header_field(r, s, len);
    } else if (r->n_fields == r->first || r->n_fields == r->second) {
        rh_str *cell = &r->cells[r->n_fields == r->second];
        cell->len = 0;
        rh_str_add(cell, s, len);
        if (cell->failed) rh_pairs_no_memory(r);
    }
    r->n_fields++;
    r->field_line = r->line;
}

static void on_row(int end, void *data)
{
    (void)end;
    rh_pairs_reader *r = data;
    if (r->status || r->done) return;
    if (r->n_columns)
        rh_pairs_row_end(r);
    else
        rh_pairs_header_end(r);
    r->n_fields = 0;
    r->between_rows = true;
}

static int no_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* ---- feeding ------------------------------------------------------------------------------ */

static void feed(rh_pairs_reader *r, struct csv_parser *p, const char *s, size_t len)
{
    if (csv_parse(p, s, len, on_field, on_row, r) == len) return;
    if (csv_error(p) == CSV_ENOMEM) rh_pairs_no_memory(r);
    rh_pairs_fault(r, r->line, "put double quotes around the whole text, and double every quote inside it",
          "a double quote where none may stand");
}

/* Pieces end with their line, so that r->line is right in every callback. A CR, an LF and
 * both together end one. */
static void feed_lines(rh_pairs_reader *r, struct csv_parser *p, const char *s, size_t len, bool *after_cr)
{
    size_t at = 0;
    while (at < len && !r->status && !r->done) {
        size_t end = at;
        while (end < len && s[end] != '\n' && s[end] != '\r') end++;
        bool ended = end < len;
        if (ended) end++;
        if (r->between_rows && s[at] != '\n' && s[at] != '\r') {
            r->between_rows = false;
            r->field_line = r->line;
        }
        feed(r, p, s + at, end - at);
        if (!ended) {
            *after_cr = false;
            return;
        }
        bool second_half = *after_cr && s[end - 1] == '\n' && end - at == 1;
        *after_cr = s[end - 1] == '\r';
        if (!second_half) {
            if (r->line == INT32_MAX) rh_pairs_fault(r, r->line, NULL, "more lines than can be counted");
            else r->line++;
        }
        at = end;
    }
    if (csv_get_buffer_size(p) > MAX_FIELD)
        rh_pairs_fault(r, r->field_line, "is a double quote missing at its end?", "a field of more than 16 MiB");
}

static void finish(rh_pairs_reader *r, struct csv_parser *p)
{
    if (r->status || r->done) return;
    if (csv_fini(p, on_field, on_row, r)) {
        if (csv_error(p) == CSV_ENOMEM) rh_pairs_no_memory(r);
        rh_pairs_fault(r, r->field_line, "close it with a double quote; a quote inside a text is written twice",
              "a quoted field is not closed before the file ends");
    }
    if (r->status || r->done) return;
    if (!r->n_columns) {
        rh_pairs_fault(r, 1, "the first line must be positive,negative or text,label", "the file is empty");
        return;
    }
    size_t n_positive = 0;
    for (size_t i = 0; i < r->pairs.n; i++) n_positive += r->pairs.rows[i].positive;
    if (!r->pairs.n)
        rh_pairs_fault(r, r->line, "a difference of means needs texts of both classes", "no rows after the header");
    else if (n_positive == 0 || n_positive == r->pairs.n)
        rh_pairs_fault(r, r->line, "a difference of means needs texts of both classes", "no row is labelled %s",
              n_positive ? "negative (0)" : "positive (1)");
}

static rh_status open_regular(FILE **out, const char *path, rh_error *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) return rh_fail_errno(err, "open", path);
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && !S_ISREG(st.st_mode)) {
        rh_status status = rh_fail(err, RH_EIO, "'%s' is %s, not a CSV file", path,
                                   S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
        fclose(f);
        return status;
    }
    *out = f;
    return RH_OK;
}

static void read_all(rh_pairs_reader *r, struct csv_parser *p, FILE *f, char *chunk, rh_sha256 *hash)
{
    bool first = true, after_cr = false;
    while (!r->status && !r->done) {
        size_t n = fread(chunk, 1, CHUNK, f), skip = 0;
        if (n < CHUNK && ferror(f)) {
            r->status = rh_fail_errno(r->err, "read", r->path);
            return;
        }
        if (!n) break;
        rh_sha256_add(hash, chunk, n);
        if (first && n >= 3 && memcmp(chunk, "\xEF\xBB\xBF", 3) == 0) skip = 3;
        first = false;
        feed_lines(r, p, chunk + skip, n - skip, &after_cr);
    }
    finish(r, p);
}

static rh_status read_csv(rh_pairs_reader *r)
{
    FILE *f = NULL;
    struct csv_parser p;
    r->line = r->row_line = r->field_line = 1;
    r->between_rows = true;
    r->at_positive = r->at_negative = r->at_text = r->at_label = -1;
    if (csv_init(&p, CSV_STRICT | CSV_STRICT_FINI)) return rh_fail_nomem(r->err);
    csv_set_space_func(&p, no_space);
    csv_set_blk_size(&p, 4096);
    char *chunk = rh_calloc(CHUNK, 1);
    rh_sha256 *hash = rh_sha256_new();
    if (!chunk || !hash) rh_pairs_no_memory(r);
    if (!r->status) r->status = open_regular(&f, r->path, r->err);
    if (!r->status) read_all(r, &p, f, chunk, hash);
    if (!r->status) rh_sha256_hex(hash, r->pairs.sha256);
    if (f) fclose(f);
    rh_sha256_free(hash);
    free(chunk);
    csv_free(&p);
    rh_str_free(&r->cells[0]);
    rh_str_free(&r->cells[1]);
    rh_str_free(&r->columns);
    if (r->status) rh_pairs_free(&r->pairs);
    return r->status;
}

static rh_pairs_reader reader_for(const char *path, const char *positive, const char *negative, rh_error *err)
{
    return (rh_pairs_reader){.path = path,
                    .positive = positive ? positive : "positive",
                    .negative = negative ? negative : "negative",
                    .renamed = positive || negative,
                    .err = err};
}

rh_status rh_pairs_read(rh_pairs *out, const char *path, const char *positive, const char *negative,
                        bool marked, rh_error *err)
{
    rh_pairs_reader r = reader_for(path, positive, negative, err);
    r.marked = marked;
    RH_TRY(read_csv(&r));
    *out = r.pairs;
    return RH_OK;
}

rh_status rh_pairs_check_paired(bool *paired, const char *path, const char *positive, const char *negative,
                                rh_error *err)
{
    rh_pairs_reader r = reader_for(path, positive, negative, err);
    r.header_only = true;
    RH_TRY(read_csv(&r));
    *paired = r.pairs.paired;
    return RH_OK;
}

rh_status rh_pairs_check_header(const char *path, const char *positive, const char *negative,
                                rh_error *err)
{
    bool paired;
    return rh_pairs_check_paired(&paired, path, positive, negative, err);
}

void rh_pairs_free(rh_pairs *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) {
        free(p->rows[i].text);
        free(p->rows[i].marks);
    }
    free(p->rows);
    *p = (rh_pairs){0};
}

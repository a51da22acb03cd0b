/* pairs.c - contrastive texts from a CSV (LANGUAGE.md §4), by libcsv in its strict mode.
 *
 *     positive,negative            text,label
 *     I love rain,I love sun       I love rain,1
 *
 * The file is read in chunks, cut at line ends, so that every callback knows the line it is on.
 * Spaces belong to a field (libcsv alone would trim them); blank lines are skipped, as
 * every CSV reader does; columns that nobody named are ignored, but counted. */
#include "concepts/pairs.h"

#include <csv.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    CHUNK = 1 << 16,
    MAX_FIELD = 1 << 24,   /* beyond it somebody forgot to close a quote */
    MAX_COLUMNS_SHOWN = 200
};

typedef struct reader {
    const char *path;
    const char *positive, *negative;   /* names of the wanted columns */
    bool renamed, marked, header_only;
    rh_pairs pairs;
    size_t cap;
    int32_t line, row_line, field_line; /* being fed; where the row and the field at hand begin */
    bool between_rows;                 /* no byte of the next row has been fed */
    int32_t n_fields;                  /* of the row at hand, so far */
    int32_t n_columns;                 /* of the header; 0: not read yet */
    int32_t at_positive, at_negative, at_text, at_label; /* columns, -1: absent */
    int32_t first, second;             /* the two columns kept: texts, or text and label */
    rh_str cells[2], columns;          /* of this row; names in the header, for messages */
    bool done;
    rh_status status;
    rh_error *err;
} reader;

/* Record the first fault, with its place. */
static void fault(reader *r, int32_t line, const char *hint, const char *format, ...) RH_PRINTF(4, 5);
static void fault(reader *r, int32_t line, const char *hint, const char *format, ...)
{
    if (r->status) return;
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->status = rh_fail(r->err, RH_EFORMAT, "%s", message);
    rh_place(r->err, r->path, line, 0);
    if (hint) rh_hint(r->err, "%s", hint);
}

static void out_of_memory(reader *r)
{
    if (!r->status) r->status = rh_fail_nomem(r->err);
}

/* ---- the header --------------------------------------------------------------------------- */

static void column_is(reader *r, int32_t *slot, const char *wanted, const char *name, size_t len)
{
    if (strlen(wanted) != len || memcmp(wanted, name, len) != 0) return;
    if (*slot >= 0)
        fault(r, r->row_line, "give each column its own name", "the header has two columns '%s'", wanted);
    *slot = r->n_fields;
}

static void header_field(reader *r, const char *name, size_t len)
{
    column_is(r, &r->at_positive, r->positive, name, len);
    column_is(r, &r->at_negative, r->negative, name, len);
    if (!r->renamed) {
        column_is(r, &r->at_text, "text", name, len);
        column_is(r, &r->at_label, "label", name, len);
    }
    if (r->columns.len < MAX_COLUMNS_SHOWN) {
        rh_str_puts(&r->columns, r->n_fields ? ", '" : "'");
        rh_str_add(&r->columns, name, len < 60 ? len : 60);
        rh_str_puts(&r->columns, "'");
        if (r->columns.failed) out_of_memory(r);
    }
}

static void header_end(reader *r)
{
    static const char *const hint = "the header must be positive,negative or text,label; positive=\"…\" "
                                    "and negative=\"…\" take other columns";
    r->n_columns = r->n_fields;
    r->done = r->header_only;
    if (r->at_positive >= 0 && r->at_negative >= 0) {
        r->pairs.paired = true;
        r->first = r->at_positive;
        r->second = r->at_negative;
        if (r->first == r->second)
            fault(r, r->row_line, "a pair needs two columns", "'%s' is both the positive and the negative column",
                  r->positive);
    } else if (r->at_text >= 0 && r->at_label >= 0) {
        r->first = r->at_text;
        r->second = r->at_label;
    } else {
        const char *absent = r->at_text >= 0 ? "label" : r->at_label >= 0 ? "text"
                             : r->at_positive >= 0 ? r->negative : r->positive;
        bool other_sign = r->n_columns == 1 && r->columns.data && strpbrk(r->columns.data, ";\t");
        fault(r, r->row_line, other_sign ? "columns are separated by commas" : hint, "no column '%s' in the header; it has %s", absent,
              r->columns.data ? r->columns.data : "none");
    }
}

/* ---- rows --------------------------------------------------------------------------------- */

static rh_status marks_grow(rh_text_row *row, size_t *cap, uint32_t start, uint32_t end, rh_error *err)
{
    if (!RH_GROW(row->marks, *cap, (size_t)row->n_marks)) return rh_fail_nomem(err);
    row->marks[row->n_marks++] = (struct rh_byte_range){start, end};
    return RH_OK;
}

rh_status rh_marks_take(rh_text_row *row, rh_error *err)
{
    char *text = row->text;
    size_t from = 0, to = 0, cap = 0;
    int64_t open = -1;
    while (from < row->len) {
        bool two = from + 1 < row->len && text[from] == text[from + 1];
        if (two && text[from] == '<') {
            if (open >= 0) return rh_fail(err, RH_EFORMAT, "a mark '<<' inside a mark");
            open = (int64_t)to;
            from += 2;
        } else if (two && text[from] == '>') {
            if (open < 0) return rh_fail(err, RH_EFORMAT, "a mark ends with '>>' but none was opened");
            if ((size_t)open == to) return rh_fail(err, RH_EFORMAT, "a mark '<<>>' encloses nothing");
            RH_TRY(marks_grow(row, &cap, (uint32_t)open, (uint32_t)to, err));
            open = -1;
            from += 2;
        } else {
            text[to++] = text[from++];
        }
    }
    text[to] = '\0';
    row->len = to;
    if (open >= 0) return rh_fail(err, RH_EFORMAT, "a mark '<<' is not closed by '>>'");
    if (!row->n_marks) return rh_fail(err, RH_EFORMAT, "no mark '<<…>>' in the text");
    return RH_OK;
}

static void add_row(reader *r, const rh_str *cell, bool positive)
{
    if (r->status) return;
    if (!cell->len) {
        fault(r, r->row_line, "write a text, or leave the row out", "the text is empty");
        return;
    }
    if (!RH_GROW(r->pairs.rows, r->cap, r->pairs.n)) {
        out_of_memory(r);
        return;
    }
    rh_text_row *row = &r->pairs.rows[r->pairs.n];
    *row = (rh_text_row){.line = r->row_line, .positive = positive, .len = cell->len};
    row->text = rh_strndup(cell->data, cell->len);
    if (!row->text) {
        out_of_memory(r);
        return;
    }
    r->pairs.n++;
    if (!r->marked) return;
    r->status = rh_marks_take(row, r->err);
    if (r->status == RH_EFORMAT) {
        rh_place(r->err, r->path, r->row_line, 0);
        rh_hint(r->err, "at=marked reads what stands between << and >>, in every text");
    }
}

static bool cell_is(const rh_str *cell, const char *word)
{
    return cell->len == strlen(word) && (cell->len == 0 || memcmp(cell->data, word, cell->len) == 0);
}

static void data_end(reader *r)
{
    if (r->n_fields != r->n_columns) {
        fault(r, r->row_line, "a text with a comma, a quote or a line end needs double quotes around it",
              "%d field%s in this row, but the header has %d", (int)r->n_fields, r->n_fields == 1 ? "" : "s",
              (int)r->n_columns);
        return;
    }
    if (r->pairs.paired) {
        add_row(r, &r->cells[0], true);
        add_row(r, &r->cells[1], false);
        return;
    }
    const rh_str *label = &r->cells[1];
    bool yes = cell_is(label, "1") || cell_is(label, "positive");
    if (!yes && !cell_is(label, "0") && !cell_is(label, "negative"))
        fault(r, r->row_line, "labels are 1 and 0, or positive and negative", "the label is '%.60s'",
              label->data ? label->data : "");
    add_row(r, &r->cells[0], yes);
}

/* ---- libcsv's callbacks ------------------------------------------------------------------- */

/* Every field must be text: valid UTF-8 without NUL. */
static void check_text(reader *r, const char *s, size_t len)
{
    const char *nul = memchr(s, 0, len);
    size_t bad = rh_utf8_valid(s, len);
    if (nul && (size_t)(nul - s) < bad) bad = (size_t)(nul - s);
    if (bad == len) return;
    int32_t line = r->field_line;
    for (size_t i = 0; i < bad; i++) line += s[i] == '\n';
    if (s[bad])
        fault(r, line, "save the file as UTF-8", "the byte 0x%02x is not valid UTF-8", (unsigned char)s[bad]);
    else
        fault(r, line, "a CSV is text; is this another kind of file, or UTF-16?", "a NUL byte");
}

static void on_field(void *bytes, size_t len, void *data)
{
    reader *r = data;
    if (r->status || r->done) return;
    if (!r->n_fields) r->row_line = r->field_line;
    const char *s = bytes ? bytes : "";
    check_text(r, s, len);
    if (r->status) return;
    if (!r->n_columns) {
        header_field(r, s, len);
    } else if (r->n_fields == r->first || r->n_fields == r->second) {
        rh_str *cell = &r->cells[r->n_fields == r->second];
        cell->len = 0;
        rh_str_add(cell, s, len);
        if (cell->failed) out_of_memory(r);
    }
    r->n_fields++;
    r->field_line = r->line;
}

static void on_row(int end, void *data)
{
    (void)end;
    reader *r = data;
    if (r->status || r->done) return;
    if (r->n_columns)
        data_end(r);
    else
        header_end(r);
    r->n_fields = 0;
    r->between_rows = true;
}

static int no_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* ---- feeding ------------------------------------------------------------------------------ */

static void feed(reader *r, struct csv_parser *p, const char *s, size_t len)
{
    if (csv_parse(p, s, len, on_field, on_row, r) == len) return;
    if (csv_error(p) == CSV_ENOMEM) out_of_memory(r);
    fault(r, r->line, "put double quotes around the whole text, and double every quote inside it",
          "a double quote where none may stand");
}

/* Pieces end with their line, so that r->line is right in every callback. A CR, an LF and
 * both together end one. */
static void feed_lines(reader *r, struct csv_parser *p, const char *s, size_t len, bool *after_cr)
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
            if (r->line == INT32_MAX) fault(r, r->line, NULL, "more lines than can be counted");
            else r->line++;
        }
        at = end;
    }
    if (csv_get_buffer_size(p) > MAX_FIELD)
        fault(r, r->field_line, "is a double quote missing at its end?", "a field of more than 16 MiB");
}

static void finish(reader *r, struct csv_parser *p)
{
    if (r->status || r->done) return;
    if (csv_fini(p, on_field, on_row, r)) {
        if (csv_error(p) == CSV_ENOMEM) out_of_memory(r);
        fault(r, r->field_line, "close it with a double quote; a quote inside a text is written twice",
              "a quoted field is not closed before the file ends");
    }
    if (r->status || r->done) return;
    if (!r->n_columns) {
        fault(r, 1, "the first line must be positive,negative or text,label", "the file is empty");
        return;
    }
    size_t n_positive = 0;
    for (size_t i = 0; i < r->pairs.n; i++) n_positive += r->pairs.rows[i].positive;
    if (!r->pairs.n)
        fault(r, r->line, "a difference of means needs texts of both classes", "no rows after the header");
    else if (n_positive == 0 || n_positive == r->pairs.n)
        fault(r, r->line, "a difference of means needs texts of both classes", "no row is labelled %s",
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

static void read_all(reader *r, struct csv_parser *p, FILE *f, char *chunk, rh_sha256 *hash)
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

static rh_status read_csv(reader *r)
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
    if (!chunk || !hash) out_of_memory(r);
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

static reader reader_for(const char *path, const char *positive, const char *negative, rh_error *err)
{
    return (reader){.path = path,
                    .positive = positive ? positive : "positive",
                    .negative = negative ? negative : "negative",
                    .renamed = positive || negative,
                    .err = err};
}

rh_status rh_pairs_read(rh_pairs *out, const char *path, const char *positive, const char *negative,
                        bool marked, rh_error *err)
{
    reader r = reader_for(path, positive, negative, err);
    r.marked = marked;
    RH_TRY(read_csv(&r));
    *out = r.pairs;
    return RH_OK;
}

rh_status rh_pairs_check_paired(bool *paired, const char *path, const char *positive, const char *negative,
                                rh_error *err)
{
    reader r = reader_for(path, positive, negative, err);
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

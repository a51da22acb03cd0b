/* pairs_rows.c - what the header and the rows of a CSV of pairs say: columns, labels, and marks in a text. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "concepts/pairs_reader.h"

enum { MAX_COLUMNS_SHOWN = 200 };

void rh_pairs_fault(rh_pairs_reader *r, int32_t line, const char *hint, const char *format, ...)
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

void rh_pairs_no_memory(rh_pairs_reader *r)
{
    if (!r->status) r->status = rh_fail_nomem(r->err);
}

/* ---- the header --------------------------------------------------------------------------- */

static void column_is(rh_pairs_reader *r, int32_t *slot, const char *wanted, const char *name, size_t len)
{
    if (strlen(wanted) != len || memcmp(wanted, name, len) != 0) return;
    if (*slot >= 0)
        rh_pairs_fault(r, r->row_line, "give each column its own name", "the header has two columns '%s'", wanted);
    *slot = r->n_fields;
}

void rh_pairs_header_field(rh_pairs_reader *r, const char *name, size_t len)
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
        if (r->columns.failed) rh_pairs_no_memory(r);
    }
}

void rh_pairs_header_end(rh_pairs_reader *r)
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
            rh_pairs_fault(r, r->row_line, "a pair needs two columns", "'%s' is both the positive and the negative column",
                  r->positive);
    } else if (r->at_text >= 0 && r->at_label >= 0) {
        r->first = r->at_text;
        r->second = r->at_label;
    } else {
        const char *absent = r->at_text >= 0 ? "label" : r->at_label >= 0 ? "text"
                             : r->at_positive >= 0 ? r->negative : r->positive;
        bool other_sign = r->n_columns == 1 && r->columns.data && strpbrk(r->columns.data, ";\t");
        rh_pairs_fault(r, r->row_line, other_sign ? "columns are separated by commas" : hint, "no column '%s' in the header; it has %s", absent,
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

static void add_row(rh_pairs_reader *r, const rh_str *cell, bool positive)
{
    if (r->status) return;
    if (!cell->len) {
        rh_pairs_fault(r, r->row_line, "write a text, or leave the row out", "the text is empty");
        return;
    }
    if (!RH_GROW(r->pairs.rows, r->cap, r->pairs.n)) {
        rh_pairs_no_memory(r);
        return;
    }
    rh_text_row *row = &r->pairs.rows[r->pairs.n];
    *row = (rh_text_row){.line = r->row_line, .positive = positive, .len = cell->len};
    row->text = rh_strndup(cell->data, cell->len);
    if (!row->text) {
        rh_pairs_no_memory(r);
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

void rh_pairs_row_end(rh_pairs_reader *r)
{
    if (r->n_fields != r->n_columns) {
        rh_pairs_fault(r, r->row_line, "a text with a comma, a quote or a line end needs double quotes around it",
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
        rh_pairs_fault(r, r->row_line, "labels are 1 and 0, or positive and negative", "the label is '%.60s'",
              label->data ? label->data : "");
    add_row(r, &r->cells[0], yes);
}

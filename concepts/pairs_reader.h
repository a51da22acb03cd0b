/* pairs_reader.h - a CSV of pairs while it is read: pairs.c feeds it, pairs_rows.c says what its cells mean. For these two. */
#ifndef RH_CONCEPTS_PAIRS_READER_H
#define RH_CONCEPTS_PAIRS_READER_H

#include "concepts/pairs.h"

typedef struct rh_pairs_reader {
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
} rh_pairs_reader;

/* Record the first fault, with its place. */
void rh_pairs_fault(rh_pairs_reader *r, int32_t line, const char *hint, const char *format, ...) RH_PRINTF(4, 5);
void rh_pairs_no_memory(rh_pairs_reader *r);

/* A name of the header; its end: which columns are kept. The end of a row below it, whose cells are there. */
void rh_pairs_header_field(rh_pairs_reader *r, const char *name, size_t len);
void rh_pairs_header_end(rh_pairs_reader *r);
void rh_pairs_row_end(rh_pairs_reader *r);

#endif

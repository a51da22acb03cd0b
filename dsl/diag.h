/* diag.h - source texts, byte ranges in them, and errors with carets (LANGUAGE.md §8).
 * Knows text; nothing of grammar. */
#ifndef RH_DSL_DIAG_H
#define RH_DSL_DIAG_H

#include "base/mem.h"

/* A book or an expression, kept as long as anything points into it. */
typedef struct rh_source {
    const char *name; /* path as the user wrote it, or "<expression>" */
    const char *text; /* [len], NUL-terminated; may be invalid UTF-8 until the lexer has seen it */
    size_t len;
} rh_source;

typedef struct rh_range { /* bytes [start, end) of a source */
    const rh_source *source;
    uint32_t start, end;
} rh_range;

#define RH_DIAG_LABELS 4
#define RH_MAX_DIAGS 10

typedef struct rh_diag_label_part { rh_range range; char text[96]; } rh_diag_label_part;
typedef struct rh_diag {
    rh_status code;
    char message[512], hint[512];
    int n_labels;
    rh_diag_label_part labels[RH_DIAG_LABELS]; /* the first gives line:column */
    /* Set by rh_diags_settle: what is left when the sources are gone. */
    bool settled;
    char file[512];
    int line, column;
    char excerpt[2048];
} rh_diag;

typedef struct rh_diags {
    rh_diag items[RH_MAX_DIAGS];
    int n;
    bool more;     /* beyond ten */
    rh_diag spare; /* takes what comes then */
} rh_diags;

/* Add an error; the returned pointer (never NULL; a spare one when full) takes labels and hint. */
rh_diag *rh_diag_add(rh_diags *d, rh_status code, rh_range at, const char *format, ...) RH_PRINTF(4, 5);
void rh_diag_label(rh_diag *d, rh_range at, const char *format, ...) RH_PRINTF(3, 4); /* text under carets; may be "" */
void rh_diag_hint(rh_diag *d, const char *format, ...) RH_PRINTF(2, 3);

/* Append the block of LANGUAGE.md §8: header, lines with carets by display width (tabs as in
 * the source), labels, help. Labels on several lines give several excerpts. */
void rh_diag_render(rh_str *out, const rh_diag *d);
/* Render places and excerpts now, and let go of the sources. rh_program_compile, rh_program_eval
 * and rh_actions_bind do it before they return an error, so that diags outlive the program. */
void rh_diags_settle(rh_diags *d);
/* The first error as rh_error (message, hint, file, line, column, excerpt); returns its code. */
rh_status rh_diags_error(const rh_diags *d, rh_error *err);

#endif

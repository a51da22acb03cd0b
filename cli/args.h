/* args.h - flags by table: what a verb accepts, parsed, checked, and described in `rhumb help`
 * from the same rows, so that the help cannot drift from the program.
 * Knows argv and tables; nothing of verbs or models. */
#ifndef RH_CLI_ARGS_H
#define RH_CLI_ARGS_H

#include "base/mem.h"

typedef enum cli_kind {
    CLI_FLAG,    /* bool */
    CLI_TEXT,    /* const char *, borrowed from argv */
    CLI_TEXTS,   /* cli_texts: may be repeated */
    CLI_INT,     /* int32_t in lo..hi */
    CLI_U64,     /* uint64_t */
    CLI_NUMBER,  /* double in lo..hi, finite */
    CLI_NUMBERS, /* cli_numbers: a comma list; may be repeated */
    CLI_INTS,    /* cli_ints: a comma list; may be repeated */
    CLI_CHOICE   /* int32_t: index in choices */
} cli_kind;

typedef struct cli_texts { const char **items; size_t n, cap; } cli_texts;
typedef struct cli_numbers { double *items; size_t n, cap; } cli_numbers;
typedef struct cli_ints { int32_t *items; size_t n, cap; } cli_ints;

typedef struct cli_option {
    const char *name;      /* "top-k", without dashes */
    char letter;           /* 'p' for -p, or 0 */
    cli_kind kind;
    size_t offset;         /* of the target in the flags struct */
    const char *value;     /* "N" in the help; NULL for CLI_FLAG */
    const char *help;
    double lo, hi;         /* CLI_INT, CLI_NUMBER; both 0: the type's own range */
    const char *const *choices; /* NULL-terminated */
} cli_option;

/* A table and the struct it fills. */
typedef struct cli_table {
    const cli_option *options;
    size_t n;
    void *flags;
} cli_table;

/* What is not an option, in order. Owner: free(items). */
typedef struct cli_args { const char **items; size_t n, cap; } cli_args;

/* Parse argv[0..argc) with all tables together. `--` ends the options; `-` alone, and a word
 * that starts like a negative expression (-2*a, -.5, -(…), -"…"), are arguments. RH_EVALUE:
 * wrong usage, with the nearest flag in the hint; RH_ENOMEM. Lists are to be freed by
 * cli_args_release also after a failure. */
rh_status cli_parse(cli_args *out, int argc, char **argv, const cli_table *tables, size_t n_tables,
                    rh_error *err);
void cli_args_release(cli_args *args, const cli_table *tables, size_t n_tables);

/* Append the options' help, wrapped at `width` columns. */
void cli_options_help(rh_str *out, const cli_option *options, size_t n, int width);
/* Append text wrapped at `width`, each line indented; line breaks in text are kept. */
void cli_wrap(rh_str *out, const char *text, int indent, int first_column, int width);

/* The candidate nearest to word, or NULL if none is near. `stride` bytes lie between the
 * `const char *` names. */
const char *cli_nearest(const char *word, const void *names, size_t n, size_t stride);

/* Decimal numbers alone: no hex, no inf, no blanks. */
bool cli_number(double *out, const char *text, size_t len);
bool cli_integer(int64_t *out, const char *text, size_t len);

/* A corpus's files: those of --corpus and the words behind it. Borrowed; free(*out). */
rh_status cli_corpus_paths(const char ***out, int32_t *n, const cli_texts *corpus, const char *const *more, size_t n_more, rh_error *err);

#endif

/* cli.h - what every verb shares: the common flags, the terminal, and the one place where
 * errors become text and exit codes. Only this room prints, exits and reads the environment. */
#ifndef RH_CLI_H
#define RH_CLI_H

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/args.h"
#include "dsl/diag.h"
#include "notebooks-export/export.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_PIPE = 128 + 13 };

typedef struct cli_common {  /* flags of every verb */
    bool json, exact, help;
    int32_t threads, device, isa; /* isa: 0 best, else 1 + rh_isa */
    int32_t quantize;             /* 0 none, nf4, q8 */
    uint64_t seed;
} cli_common;

typedef struct cli {
    cli_common common;
    char *models_dir;        /* fetched models; NULL if there is no home folder. Owned */
    char *cache_dir;         /* its parent, with the extracted vectors too. Owned */
    bool out_terminal, err_terminal, colour, unicode;
    int width;               /* of the terminal stdout is on; 80 if it is none */
    bool wrong_usage;        /* the error is the caller's: exit code 2, usage line shown */
    bool output_failed;      /* stdout takes nothing more */
    bool pipe_closed;        /* … because nobody reads */
    bool noted;              /* what the library had to say of the device */
    bool bar_shown;
    double bar_begun, bar_drawn;
    char bar_label[64];
    const struct cli_verb *verb; /* being run; NULL before */
    rh_diags diags;          /* errors of the language; if any, they are what is printed */
} cli;

typedef struct cli_verb {
    const char *name;
    const char *brief;       /* for the list of verbs */
    const char *arguments;   /* "MODEL [EXPR]" */
    const char *about;       /* what it does, for its help */
    const char *examples;    /* lines that begin with two blanks; NULL */
    const cli_option *options;
    size_t n_options;
    size_t flags_size;       /* of the struct the options fill */
    const void *defaults;    /* [flags_size]; NULL: zeroes */
    size_t min_args, max_args;
    /* Return an error as a value; main prints it. */
    rh_status (*run)(cli *c, const cli_args *args, const void *flags, rh_error *err);
} cli_verb;

#define CLI_COUNT(array) (sizeof (array) / sizeof (array)[0])

/* help.c */
extern const cli_option CLI_COMMON[];
extern const size_t CLI_N_COMMON;
extern const cli_verb CLI_HELP;
rh_status cli_help_verb(cli *c, const cli_verb *v, rh_error *err);
void cli_help_overview(rh_str *out, int width);

/* one file a verb */
extern const cli_verb CLI_FETCH, CLI_INFO, CLI_TOKENS, CLI_STEER, CLI_VEC, CLI_TRACE, CLI_EXPLAIN, CLI_CONVERT,
    CLI_BENCH, CLI_DIFF, CLI_REPL, CLI_COMPARE, CLI_SAE, CLI_NEAR, CLI_SEARCH, CLI_TEST, CLI_LABELS;

/* verbs.c */
const cli_verb *cli_find_verb(const char *name);
const cli_verb *cli_verb_at(size_t i);          /* NULL past the end */
const char *cli_later_verb(const char *name);   /* what it will do, if it is known and not there yet */
const char *cli_nearest_verb(const char *name);

/* cli.c: output. Errors of writing to stdout are reported once, by cli_print. */
rh_status cli_init(cli *c, rh_error *err);
void cli_release(cli *c);
rh_status cli_print(cli *c, const char *bytes, size_t n, rh_error *err);
rh_status cli_print_str(cli *c, rh_str *s, rh_error *err);      /* frees s */
rh_status cli_print_json(cli *c, json_t *object, rh_error *err); /* one line; drops the reference; NULL: no memory */
rh_status cli_flush(cli *c, rh_error *err);
void cli_note(cli *c, const char *format, ...) RH_PRINTF(2, 3);
void cli_notes(cli *c, const char *lines);       /* each line of it a note */
void cli_report(cli *c, const rh_error *err);    /* the error, on stderr and, with --json, on stdout */
rh_status cli_wrong(cli *c, rh_error *err, const char *format, ...) RH_PRINTF(3, 4); /* wrong usage */

/* An rh_progress_fn with the cli as data: draws a bar if stderr is a terminal, and answers
 * false once the user pressed Ctrl-C. */
bool cli_progress(void *data, const char *label, int64_t done, int64_t total);
void cli_clear_bar(cli *c);

/* The signal that asked to stop (SIGINT, SIGTERM, SIGHUP), or 0. The second one kills. */
int cli_interrupted(void);
/* A Ctrl-C that was answered: the next one is the first again. SIGTERM and SIGHUP stay. */
void cli_forget_interrupt(void);

rh_settings cli_settings(cli *c);                /* for rh_model_open */
rh_terminal cli_terminal(const cli *c);

/* A text argument: `path` "-" is stdin. One final newline is dropped if `trim`. Owner: free. */
bool cli_stdin_is_given(void); /* a pipe or a file, not a terminal and not /dev/null */
rh_status cli_read_text(char **out, size_t *len, const char *path, bool trim, rh_error *err);

#endif

/* main.c - from argv to a verb, and from its answer to an exit code. */
#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/signals.h"

/* A closed stdin, stdout or stderr would be the number of the next file opened: text meant for
 * the terminal would end in it. Such a number gets /dev/null, the wrong way round, so that
 * using it fails. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) return;
}

static rh_status run_verb(cli *c, const cli_verb *v, int argc, char **argv, rh_error *err)
{
    cli_args args = {0};
    void *flags = rh_calloc(1, v->flags_size ? v->flags_size : 1);
    cli_table tables[] = {{v->options, v->n_options, flags}, {CLI_COMMON, CLI_N_COMMON, &c->common}};
    rh_status status = RH_OK;
    if (!flags) return rh_fail_nomem(err);
    if (v->defaults) memcpy(flags, v->defaults, v->flags_size);
    c->verb = v;
    status = cli_parse(&args, argc, argv, tables, CLI_COUNT(tables), err);
    if (status) {
        c->wrong_usage = status == RH_EVALUE;
    } else if (c->common.help) {
        status = cli_help_verb(c, v, err);
    } else if (args.n > v->max_args) {
        status = cli_wrong(c, err, "%s takes no argument '%s'", v->name, args.items[v->max_args]);
        rh_hint(err, "usage: rhumb %s %s; a text or an expression of several words stands in quotes", v->name,
                v->arguments);
    } else if (args.n < v->min_args) {
        status = cli_wrong(c, err, "%s needs %s", v->name, args.n ? "another argument" : "an argument");
        rh_hint(err, "usage: rhumb %s %s", v->name, v->arguments);
    } else {
        if (c->common.threads) omp_set_num_threads(c->common.threads); /* loading has loops beside the backend's */
        status = v->run(c, &args, flags, err);
    }
    cli_args_release(&args, tables, CLI_COUNT(tables));
    free(flags);
    return status;
}

static rh_status unknown_verb(cli *c, const char *name, rh_error *err)
{
    if (cli_later_verb(name)) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "the verb '%s' is not there yet", name),
                         err, "it will show %s", cli_later_verb(name));
    }
    cli_wrong(c, err, name[0] == '-' ? "the verb comes first, not '%s'" : "unknown verb '%s'", name);
    if (cli_nearest_verb(name)) rh_hint(err, "did you mean `rhumb %s`?", cli_nearest_verb(name));
    else rh_hint(err, "`rhumb help` lists the verbs");
    return RH_EVALUE;
}

static rh_status dispatch(cli *c, int argc, char **argv, rh_error *err)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        rh_str out = {0};
        cli_help_overview(&out, 80);
        fputs(out.failed ? "usage: rhumb VERB …\n" : out.data, stderr);
        rh_str_free(&out);
        c->wrong_usage = true;
        return RH_EVALUE;
    }
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
        static const char text[] = "rhumb " RHUMB_VERSION "\n";
        return cli_print(c, text, sizeof text - 1, err);
    }
    bool asks = !strcmp(name, "--help") || !strcmp(name, "-h");
    const cli_verb *v = asks ? &CLI_HELP : cli_find_verb(name);
    if (!v) return unknown_verb(c, name, err);
    return run_verb(c, v, argc - 2, argv + 2, err);
}

/* --json counts from the start, so that wrong usage is answered in JSON too. */
static bool asks_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--json")) return true;
    return false;
}

static int exit_code(const cli *c, rh_status status)
{
    if (c->pipe_closed) return EXIT_PIPE;
    if (!status) return 0;
    if (status == RH_ECANCELLED && cli_interrupted()) return 128 + cli_interrupted();
    return c->wrong_usage ? EXIT_USAGE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static cli c; /* large: it holds ten errors with their excerpts */
    rh_error err = {0};
    hold_standard_files();
    cli_catch_signals();
    rh_status status = cli_init(&c, &err);
    c.common.json = asks_json(argc, argv);
    cli_catch_lost_pages(c.common.json);
    if (!status) status = dispatch(&c, argc, argv, &err);
    cli_clear_bar(&c);
    if (!status && !c.output_failed) status = cli_flush(&c, &err);
    if (status && (err.message[0] || c.diags.n)) {
        cli_report(&c, &err);
        if (!c.output_failed) cli_flush(&c, &err);
    }
    int code = exit_code(&c, status);
    cli_release(&c);
    /* With no memory left OpenBLAS's threads spin in an allocation for ever, and its destructor
     * waits for them. All that is ours is written and freed. */
    if (status == RH_ENOMEM) _exit(code);
    return code;
}

/* verbs.c - the list of verbs, in the order of `rhumb help`. */
#include <string.h>

#include "cli/cli.h"

static const cli_verb *const VERBS[] = {&CLI_FETCH, &CLI_INFO,    &CLI_TOKENS, &CLI_STEER, &CLI_VEC,    &CLI_DIFF,
                                        &CLI_TRACE, &CLI_EXPLAIN, &CLI_CONVERT, &CLI_SAE, &CLI_NEAR, &CLI_SEARCH, &CLI_TEST, &CLI_LABELS, &CLI_BENCH,
                                        &CLI_COMPARE, &CLI_REPL, &CLI_HELP};

/* Known by name, so that asking for one is answered by what it will be. */
static const struct later { const char *name, *does; } LATER[] = {
    {"probe", "polysemanticity and linearity experiments"},
};

const cli_verb *cli_verb_at(size_t i) { return i < CLI_COUNT(VERBS) ? VERBS[i] : NULL; }

const cli_verb *cli_find_verb(const char *name)
{
    for (size_t i = 0; i < CLI_COUNT(VERBS); i++)
        if (!strcmp(VERBS[i]->name, name)) return VERBS[i];
    return NULL;
}

const char *cli_later_verb(const char *name)
{
    for (size_t i = 0; i < CLI_COUNT(LATER); i++)
        if (!strcmp(LATER[i].name, name)) return LATER[i].does;
    return NULL;
}

const char *cli_nearest_verb(const char *name)
{
    const char *names[CLI_COUNT(VERBS)];
    for (size_t i = 0; i < CLI_COUNT(VERBS); i++) names[i] = VERBS[i]->name;
    const char *near = cli_nearest(name, names, CLI_COUNT(names), sizeof *names);
    return near ? near : cli_nearest(name, &LATER[0].name, CLI_COUNT(LATER), sizeof *LATER);
}

/* help.c - `rhumb help [VERB]`, made from the tables that the parser reads. */
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"

static const char *const DEVICES[] = {"auto", "cpu", "cuda", NULL};
static const char *const QUANTIZE[] = {"none", "nf4", "q8", NULL};
static const char *const ISAS[] = {"best", "generic", "avx2", "avx512", NULL};

#define AT(field) offsetof(cli_common, field)
const cli_option CLI_COMMON[] = {
    {"json", 0, CLI_FLAG, AT(json), NULL,
     "one JSON object on stdout and nothing else there; an error is {\"error\": {…}}, and the exit code stays", 0, 0,
     NULL},
    {"seed", 0, CLI_U64, AT(seed), "N", "seed of everything drawn at random (default 0)", 0, 0, NULL},
    {"threads", 0, CLI_INT, AT(threads), "N", "threads to compute with (default 0: one a processor)", 0, 1024, NULL},
    {"device", 0, CLI_CHOICE, AT(device), "DEVICE", "auto (default), cpu or cuda", 0, 0, DEVICES},
    {"exact", 0, CLI_FLAG, AT(exact), NULL, "float32 activations, no approximation; slower", 0, 0, NULL},
    {"quantize", 0, CLI_CHOICE, AT(quantize), "TYPE",
     "quantise a model's float matrices as they are loaded, but for the embedding: none (default), nf4 or q8", 0, 0, QUANTIZE},
    {"isa", 0, CLI_CHOICE, AT(isa), "ISA",
     "instruction set on the CPU, to compare them: best (default), generic, avx2 or avx512", 0, 0, ISAS},
    {"help", 'h', CLI_FLAG, AT(help), NULL, "this text", 0, 0, NULL},
};
const size_t CLI_N_COMMON = CLI_COUNT(CLI_COMMON);

static int help_width(const cli *c) { return c->width < 100 ? c->width : 100; }

void cli_help_overview(rh_str *out, int width)
{
    rh_str_puts(out, "rhumb - concept algebra for language models\n\nusage: rhumb VERB [ARGUMENTS] [OPTIONS]\n\n");
    for (size_t i = 0; cli_verb_at(i); i++) {
        rh_str_printf(out, "  %s", cli_verb_at(i)->name);
        cli_wrap(out, cli_verb_at(i)->brief, 12, 2 + (int)strlen(cli_verb_at(i)->name), width);
    }
    rh_str_puts(out, "\n");
    cli_wrap(out,
             "MODEL is a GGUF file, a folder with config.json and safetensors, or the short name of a model that "
             "`rhumb fetch` got. EXPR is an expression over concepts, such as sf + 0.5*rain - tokyo, with names bound "
             "in a book (-b). `--` ends the options. `rhumb help VERB` has the rest.\n\n"
             "Results go to stdout; progress, notes and errors to stderr. Exit: 0 done, 1 failed, 2 wrong usage, 130 "
             "interrupted.\n\n"
             "  rhumb fetch smollm2\n"
             "  rhumb steer smollm2 'sf + 0.5*rain - tokyo' -b examples/city.rhumb --chat -p 'Name a city.'",
             0, 0, width);
}

static void verb_text(rh_str *out, const cli_verb *v, int width)
{
    rh_str_printf(out, "usage: rhumb %s%s%s [OPTIONS]\n\n", v->name, v->arguments[0] ? " " : "", v->arguments);
    cli_wrap(out, v->about, 0, 0, width);
    if (v->n_options) {
        rh_str_puts(out, "\noptions:\n");
        cli_options_help(out, v->options, v->n_options, width);
    }
    rh_str_puts(out, "\noptions of every verb:\n");
    cli_options_help(out, CLI_COMMON, CLI_N_COMMON, width);
    if (v->examples) rh_str_printf(out, "\nexamples:\n%s", v->examples);
}

static json_t *options_json(const cli_option *options, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const cli_option *o = &options[i];
        char letter[2] = {o->letter, 0};
        json_t *row = json_pack("{s:s, s:s}", "name", o->name, "help", o->help);
        if (o->letter) json_object_set_new(row, "letter", json_string(letter));
        if (o->value) json_object_set_new(row, "value", json_string(o->value));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *verb_json(const cli_verb *v)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", v->name, "brief", v->brief, "arguments", v->arguments,
                     "about", v->about, "options", options_json(v->options, v->n_options));
}

rh_status cli_help_verb(cli *c, const cli_verb *v, rh_error *err)
{
    rh_str out = {0};
    if (c->common.json) return cli_print_json(c, verb_json(v), err);
    verb_text(&out, v, help_width(c));
    return cli_print_str(c, &out, err);
}

static rh_status overview_json(cli *c, rh_error *err)
{
    json_t *o = json_object(), *verbs = json_array();
    for (size_t i = 0; cli_verb_at(i); i++) json_array_append_new(verbs, verb_json(cli_verb_at(i)));
    json_object_set_new(o, "version", json_string(RHUMB_VERSION));
    json_object_set_new(o, "verbs", verbs);
    json_object_set_new(o, "options", options_json(CLI_COMMON, CLI_N_COMMON));
    return cli_print_json(c, o, err);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    rh_str out = {0};
    (void)flags;
    if (args->n == 0) {
        if (c->common.json) return overview_json(c, err);
        cli_help_overview(&out, help_width(c));
        return cli_print_str(c, &out, err);
    }
    const char *name = args->items[0];
    const cli_verb *v = cli_find_verb(name);
    if (v) return cli_help_verb(c, v, err);
    if (cli_later_verb(name)) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "the verb '%s' is not there yet", name),
                         err, "it will show %s", cli_later_verb(name));
    }
    cli_wrong(c, err, "unknown verb '%s'", name);
    if (cli_nearest_verb(name)) rh_hint(err, "did you mean `rhumb help %s`?", cli_nearest_verb(name));
    return RH_EVALUE;
}

const cli_verb CLI_HELP = {
    .name = "help", .brief = "what the verbs do, and their options", .arguments = "[VERB]",
    .about = "Lists the verbs, or describes one.", .max_args = 1, .run = run};

/* diff.c - `rhumb diff MODEL pairs.csv`: a direction, and how far to trust it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/layers.h"
#include "cli/models.h"
#include "cli/when.h"
#include "engine/files/vectorfile.h"
#include "probes/diff.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef RHUMB_MPI
#include "cli/mpi/mpi.h"
#endif

typedef struct diff_flags {
    const char *layers, *positive, *negative, *prefix, *out, *svg;
    int32_t sample, folds, bootstrap, permutations;
    bool chat, special;
} diff_flags;

static const diff_flags DEFAULTS = {.folds = 5, .bootstrap = 200, .permutations = 200};

static void note(void *data, const char *line) { cli_note(data, "%s", line); }

/* One bar is enough for many processes; all of them listen to Ctrl-C. */
static bool silent(void *data, const char *label, int64_t done, int64_t total)
{
    (void)data;
    (void)label;
    (void)done;
    (void)total;
    return !cli_interrupted();
}

/* ---- what is left behind ---------------------------------------------------------------------------- */

static rh_status save_svg(cli *c, const rh_diff_report *r, const char *path, rh_error *err)
{
    rh_str svg = {0};
    rh_writer w = {0};
    RH_TRY(rh_export_diff_svg(&svg, r, err));
    rh_status status = rh_writer_open(&w, path, err);
    if (!status) status = rh_writer_put(&w, svg.data, svg.len, err);
    if (!status) status = rh_writer_commit(&w, err);
    else rh_writer_discard(&w);
    rh_str_free(&svg);
    if (!status && !c->common.json) cli_note(c, "%s written", path);
    return status;
}

static rh_status save_vector(cli *c, const rh_model *m, const rh_diff_options *o, const rh_diff_report *r, const char *path,
                             rh_error *err)
{
    rh_vector *v = NULL;
    char *metadata = NULL, created[CLI_WHEN];
    cli_when(created);
    rh_status status = rh_diff_vector(&v, r, err);
    if (!status) status = rh_diff_metadata(&metadata, m, o, r, v, created, err);
    if (!status) status = rh_vectorfile_write(path, v, metadata, m->name, m->config.n_layers, err);
    if (!status && !c->common.json) cli_note(c, "%s written: the direction of layer %d", path, (int)v->layers[0]);
    rh_vector_free(v);
    free(metadata);
    return status;
}

static rh_status print_report(cli *c, const rh_diff_report *r, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    RH_TRY(c->common.json ? rh_export_diff_json(&out, r, err) : rh_export_diff_text(&out, r, &t, err));
    return cli_print_str(c, &out, err);
}

/* Large blocks go back to the system when they are freed. glibc otherwise keeps them after the first few, and
 * clears what it hands out again, cache and all: memory would grow with the number of texts. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

/* ---- the verb --------------------------------------------------------------------------------------- */

/* Where the states lie while it runs: the cache, or here if there is no home folder. */
static rh_status spill_folder(char **out, const cli *c, rh_error *err)
{
    *out = rh_path_join(c->cache_dir ? c->cache_dir : ".", c->cache_dir ? "states" : ".");
    return *out ? RH_OK : rh_fail_nomem(err);
}

static rh_status list_layers(int32_t *layers, int32_t *n, cli *c, const char *text, const rh_model *m, rh_error *err)
{
    bool wanted[RH_MAX_LAYERS] = {0};
    RH_TRY(cli_parse_layers(wanted, c, text, m->config.n_layers, err));
    for (int32_t l = 0; l < m->config.n_layers; l++)
        if (wanted[l]) layers[(*n)++] = l;
    return RH_OK;
}

static rh_status diff(cli *c, const rh_comm *comm, const char *model, const char *path, const diff_flags *f, rh_error *err)
{
    int32_t layers[RH_MAX_LAYERS], n_layers = 0;
    char *dir = NULL;
    rh_model *m = NULL;
    rh_diff_report *r = NULL;
    rh_status status = cli_open_model(&m, c, model, false, err);
    if (!status) status = list_layers(layers, &n_layers, c, f->layers, m, err);
    if (!status) status = spill_folder(&dir, c, err);
    rh_diff_options o = {.path = path, .positive = f->positive, .negative = f->negative, .prefix = f->prefix, .chat = f->chat,
                         .special = f->special, .layers = layers, .n_layers = n_layers, .sample = f->sample, .folds = f->folds,
                         .bootstrap = f->bootstrap, .permutations = f->permutations, .seed = c->common.seed, .dir = dir,
                         .comm = comm, .progress = comm->rank ? silent : cli_progress, .progress_data = c, .note = note, .note_data = c};
    status = rh_comm_agree(comm, status, err);
    if (!status) status = rh_probe_diff(&r, m, &o, err);
    cli_clear_bar(c);
    if (!status && r && f->svg) status = save_svg(c, r, f->svg, err);
    if (!status && r && f->out) status = save_vector(c, m, &o, r, f->out, err);
    if (!status && r) status = print_report(c, r, err);
    status = rh_comm_agree(comm, status, err);
    rh_diff_report_free(r);
    rh_model_free(m);
    free(dir);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    rh_comm comm = rh_comm_serial();
    give_memory_back();
#ifdef RHUMB_MPI
    if (cli_mpi_is_wanted()) {
        RH_TRY(cli_mpi_open(&comm, err));
        rh_status status = diff(c, &comm, args->items[0], args->items[1], flags, err);
        cli_mpi_close(&comm);
        return status;
    }
#endif
    return diff(c, &comm, args->items[0], args->items[1], flags, err);
}

#define AT(field) offsetof(diff_flags, field)
static const cli_option OPTIONS[] = {
    {"layers", 0, CLI_TEXT, AT(layers), "L,…", "only these layers: 3,5..8 (default all)", 0, 0, NULL},
    {"sample", 0, CLI_INT, AT(sample), "N", "at most N pairs, drawn by --seed (default all)", 1, 0x1p30, NULL},
    {"folds", 0, CLI_INT, AT(folds), "K", "parts that are held out in turn (default 5)", 2, 100, NULL},
    {"bootstrap", 0, CLI_INT, AT(bootstrap), "N", "resampled directions (default 200)", 0, 100000, NULL},
    {"permutations", 0, CLI_INT, AT(permutations), "N", "permuted labelings (default 200): p cannot be below 1/(N+1)", 0, 100000, NULL},
    {"chat", 0, CLI_FLAG, AT(chat), NULL, "each text is a user's turn, set in the model's chat template", 0, 0, NULL},
    {"prefix", 0, CLI_TEXT, AT(prefix), "TEXT", "goes in front of every text", 0, 0, NULL},
    {"positive", 0, CLI_TEXT, AT(positive), "COLUMN", "the positives' column (default positive)", 0, 0, NULL},
    {"negative", 0, CLI_TEXT, AT(negative), "COLUMN", "the negatives' column (default negative)", 0, 0, NULL},
    {"special", 0, CLI_FLAG, AT(special), NULL, "control tokens spelled in texts become tokens", 0, 0, NULL},
    {"output", 'o', CLI_TEXT, AT(out), "FILE", "save the recommended direction: .safetensors, .gguf or .npy", 0, 0, NULL},
    {"out", 0, CLI_TEXT, AT(out), "FILE", "the same as --output", 0, 0, NULL},
    {"svg", 0, CLI_TEXT, AT(svg), "FILE", "save a picture of the effect by layer and position", 0, 0, NULL},
};

const cli_verb CLI_DIFF = {
    .name = "diff", .brief = "a direction from pairs, and how far to trust it", .arguments = "MODEL pairs.csv",
    .about = "Takes the difference of the means of two classes of texts at every layer, read at the last token, over the whole text and, "
             "where every text has <<marks>>, at the marked tokens. Shows for each how well it tells held-out texts apart, how much of it "
             "another sample would give, and what permuted labels give; recommends a layer, and says what speaks against it.",
    .examples = "  rhumb diff smollm2 examples/sf.csv\n"
                "  rhumb diff smollm2 examples/sf.csv --svg sf.svg -o sf.safetensors\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(diff_flags), .defaults = &DEFAULTS,
    .min_args = 2, .max_args = 2, .run = run};

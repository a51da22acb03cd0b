/* labels.c - `rhumb labels SAE [FILE…]`: names for features, from Neuronpedia or a table. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"
#include "concepts/labels.h"

typedef struct labels_flags { const char *find; int32_t top; } labels_flags;
static const labels_flags DEFAULTS = {.top = 50};

static rh_status read_files(cli *c, rh_feature_notes *notes, const rh_sae *s, const char *const *paths, size_t n, json_t *list, rh_error *err)
{
    for (size_t i = 0; i < n; i++) {
        rh_labels_read r;
        RH_TRY(rh_labels_read_file(&r, notes, s, paths[i], err));
        if (r.others && !r.taken)
            return rh_hinted(rh_fail(err, RH_EVALUE, "'%.200s' has no label for this SAE: its %lld lines are for others, the first for %s", paths[i],
                                     (long long)r.others, r.other), err, "`rhumb info SAE` says which model and layer it is for");
        json_array_append_new(list, json_pack("{s:o, s:s, s:I, s:I, s:I, s:I}", "path", cli_json_text(paths[i], strlen(paths[i])), "source",
                                              rh_label_source_name(r.source), "taken", (json_int_t)r.taken, "others", (json_int_t)r.others, "again",
                                              (json_int_t)r.again, "empty", (json_int_t)r.empty));
        if (c->common.json) continue;
        cli_note(c, "%lld labels from %s (%s)", (long long)r.taken, paths[i], rh_label_source_name(r.source));
        if (r.others) cli_note(c, "%lld lines are for another SAE, the first for %s: left out", (long long)r.others, r.other);
        if (r.again) cli_note(c, "%lld lines label a feature again: the first label stays", (long long)r.again);
    }
    return n ? rh_feature_notes_write(notes, err) : RH_OK;
}

static void add_label(rh_str *out, json_t *list, const rh_feature_notes *notes, int32_t i)
{
    const rh_feature_note note = rh_feature_notes_get(notes, i);
    rh_str_printf(out, "%8d  ", (int)i);
    cli_visible(out, note.label, strlen(note.label));
    rh_str_puts(out, note.source == RH_LABEL_AUTO ? " (auto)\n" : "\n");
    json_array_append_new(list, json_pack("{s:i, s:o, s:s}", "feature", (int)i, "label", cli_json_text(note.label, strlen(note.label)), "source",
                                          rh_label_source_name(note.source)));
}

static rh_status list_labels(rh_str *out, json_t *list, const rh_feature_notes *notes, const rh_sae *s, const labels_flags *f, rh_error *err)
{
    int32_t *found = NULL, n = 0, shown = 0;
    if (f->find) {
        RH_TRY(rh_feature_notes_find(&found, &n, notes, f->find, strlen(f->find), err));
        for (; shown < n && shown < f->top; shown++) add_label(out, list, notes, found[shown]);
        free(found);
        if (!n) rh_str_puts(out, "no label has that\n");
    } else {
        n = rh_feature_notes_labels(notes);
        for (int32_t i = 0; i < rh_sae_about(s)->d_sae && shown < f->top; i++)
            if (rh_feature_notes_get(notes, i).label) add_label(out, list, notes, i), shown++;
        if (!n) rh_str_puts(out, "no feature has a label\n");
    }
    if (n > shown) rh_str_printf(out, "%d more: --top shows more, --find looks for one\n", (int)(n - shown));
    return RH_OK;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const labels_flags *f = flags;
    rh_sae *s = NULL;
    rh_feature_notes *notes = NULL;
    rh_str out = {0};
    json_t *files = json_array(), *labels = json_array();
    const bool lists = args->n == 1 || f->find;
    rh_status status = rh_sae_open(&s, args->items[0], RH_SAE_ROWS, err);
    if (!status) status = rh_feature_notes_open(&notes, c->cache_dir, s, err);
    if (!status) status = read_files(c, notes, s, args->items + 1, args->n - 1, files, err);
    if (!status && lists) status = list_labels(&out, labels, notes, s, f, err);
    if (!status && c->common.json) {
        json_t *o = json_pack("{s:i, s:i, s:O, s:O}", "features", (int)rh_sae_about(s)->d_sae, "labelled", (int)rh_feature_notes_labels(notes), "files", files,
                              "labels", labels);
        rh_str_free(&out);
        status = cli_print_json(c, o, err);
    } else if (!status && lists) {
        status = cli_print_str(c, &out, err);
    } else {
        rh_str_free(&out);
    }
    json_decref(files);
    json_decref(labels);
    rh_feature_notes_free(notes);
    rh_sae_free(s);
    return status;
}

#define AT(field) offsetof(labels_flags, field)
static const cli_option OPTIONS[] = {
    {"find", 0, CLI_TEXT, AT(find), "TEXT", "show the features with this label, or with this in their label", 0, 0, NULL},
    {"top", 'n', CLI_INT, AT(top), "N", "how many to show (default 50)", 1, 1e7, NULL},
};

const cli_verb CLI_LABELS = {
    .name = "labels", .brief = "names for an SAE's features, from Neuronpedia or a table", .arguments = "SAE [FILE…]",
    .about = "Reads labels into what is kept of an SAE: Neuronpedia's explanation export (.jsonl, .jsonl.gz) or a table of index and label "
             "(.csv, .csv.gz). Lines for another model, layer or site are left out and counted. Without FILE, or with --find, shows what is kept. "
             "search, test and s[\"san francisco\"] use them; `rhumb test MODEL SAE --auto-label` makes cheap ones, which never replace these.",
    .examples = "  rhumb labels layer_20/width_16k/average_l0_91 batch-0.jsonl.gz batch-1.jsonl.gz\n"
                "  rhumb labels sae-16 mine.csv\n"
                "  rhumb labels sae-16 --find \"san francisco\"\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(labels_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 10000, .run = run};

/* test.c - `rhumb test MODEL SAE[i] TEXT…`: a feature token by token, and the page that a corpus makes of it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/feature_word.h"
#include "cli/fit.h"
#include "cli/models.h"
#include "cli/text.h"
#include "notebooks-export/test_export.h"

typedef struct test_flags {
    cli_texts corpus;
    const char *book, *html;
    int32_t top, top_tokens, context, max_tokens, layer;
    bool all, auto_label, force_model, no_cache;
} test_flags;
static const test_flags DEFAULTS = {.top = 20, .top_tokens = 10, .context = 128, .max_tokens = 1000000, .layer = -1};

typedef struct job {
    cli *c;
    const test_flags *f;
    rh_model *m;
    cli_features features;
    rh_sae *sae;
    rh_seat seat;
    rh_pages *pages;
    rh_feature_notes *notes;
    rh_test_report *report;
    const char *cache_dir;
} job;

static rh_status check_fit(const job *j, rh_error *err)
{
    const rh_hook writes = rh_sae_about(j->sae)->transcoder ? j->seat.out : j->seat.in;
    return j->cache_dir ? cli_check_fit(j->c, j->m, j->sae, j->features.path, j->seat.layer, writes, err) : RH_OK;
}

/* ---- the corpus ---------------------------------------------------------------------------------- */

static void say(const job *j, const rh_corpus *corpus, int64_t resumed)
{
    char bytes[32], tokens[32];
    if (j->c->common.json) return;
    cli_clear_bar(j->c);
    if (rh_corpus_repaired(corpus)) cli_note(j->c, "%lld bytes of the corpus were no UTF-8", (long long)rh_corpus_repaired(corpus));
    cli_count_text(tokens, resumed);
    if (resumed == j->pages->tokens) cli_note(j->c, "this corpus was read before: what is kept of it is shown");
    else if (resumed) cli_note(j->c, "%s tokens were taken from the run that was stopped", tokens);
    cli_size_text(bytes, (double)j->pages->n_features * sizeof(rh_page_stats) + (double)j->pages->n_ids * sizeof(int32_t));
    if (j->cache_dir) cli_note(j->c, "pages of all %d features are kept (%s): the same command without --corpus shows them", (int)j->pages->n_features, bytes);
}

static rh_status read_corpus(job *j, const char *const *more, int n_more, rh_error *err)
{
    const test_flags *f = j->f;
    int64_t resumed = 0;
    const rh_pages_options o = {.context = f->context, .max_tokens = f->max_tokens, .save_seconds = 30, .cache_dir = j->cache_dir, .progress = cli_progress,
                                .progress_data = j->c, .resumed = &resumed};
    rh_corpus *corpus = NULL;
    const char **paths = NULL;
    int32_t n = 0;
    RH_TRY(cli_corpus_paths(&paths, &n, &f->corpus, more, (size_t)n_more, err));
    rh_status status = rh_corpus_open(&corpus, paths, n, err);
    if (!status) status = check_fit(j, err); /* before what may take an hour */
    if (!status) status = rh_pages_run(&j->pages, j->m, j->sae, &j->seat, corpus, &o, err);
    if (status == RH_ECANCELLED && j->cache_dir) rh_hint(err, "what is read so far is kept; the same command goes on from there");
    if (!status) say(j, corpus, resumed);
    rh_corpus_free(corpus);
    free(paths);
    return status;
}

static rh_status stored(job *j, rh_error *err)
{
    RH_TRY(rh_pages_stored(&j->pages, j->m, j->sae, j->cache_dir, err));
    if (j->pages) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EVALUE, "no corpus has been read yet for '%.200s' on %.80s", j->features.path, j->m->name), err,
                     "rhumb test MODEL SAE --corpus FILE reads one; or give a text");
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static rh_status write_html(job *j, rh_error *err)
{
    rh_writer w = {0};
    rh_str out = {0};
    RH_TRY(rh_export_test_html(&out, j->report, err));
    rh_status status = rh_writer_open(&w, j->f->html, err);
    if (!status) status = rh_writer_put(&w, out.data, out.len, err);
    if (!status) status = rh_writer_commit(&w, err);
    else rh_writer_discard(&w);
    rh_str_free(&out);
    if (!status && !j->c->common.json) cli_note(j->c, "%s written", j->f->html);
    return status;
}

static rh_status print(job *j, rh_error *err)
{
    rh_str out = {0};
    const rh_terminal t = cli_terminal(j->c);
    cli_clear_bar(j->c);
    if (j->f->html) {
        RH_TRY(write_html(j, err));
        if (!j->c->common.json) return RH_OK;
    }
    RH_TRY(j->c->common.json ? rh_export_test_json(&out, j->report, err) : rh_export_test_text(&out, j->report, j->f->top, &t, err));
    return cli_print_str(j->c, &out, err);
}

static rh_status label_all(job *j, rh_error *err)
{
    int32_t n = 0;
    RH_TRY(rh_auto_label(&n, j->notes, j->m, j->pages, err));
    RH_TRY(rh_feature_notes_write(j->notes, err));
    if (!j->c->common.json) cli_note(j->c, "%d features have a label made of their strongest tokens (auto); labels of other sources stay", (int)n);
    return RH_OK;
}

static rh_status fill(job *j, const char *const *texts, int32_t n_texts, rh_error *err)
{
    RH_TRY(rh_feature_notes_open(&j->notes, j->c->cache_dir, j->sae, err));
    if (j->f->auto_label) RH_TRY(label_all(j, err));
    RH_TRY(rh_test_begin(&j->report, j->m, j->sae, j->features.path, &j->seat, err));
    if (n_texts) RH_TRY(rh_test_texts(j->report, j->m, j->sae, j->features.items, j->features.n, texts, n_texts, j->notes, err));
    if (j->pages && j->features.n)
        RH_TRY(rh_test_pages(j->report, j->m, j->sae, j->pages, j->features.items, j->features.n, j->f->top_tokens, j->notes, err));
    if (j->pages && !j->features.n) RH_TRY(rh_test_lines(j->report, j->m, j->pages, j->notes, err));
    return RH_OK;
}

static rh_status work(job *j, const cli_args *args, rh_error *err)
{
    const test_flags *f = j->f;
    const char *const *rest = args->items + 2;
    const bool corpus = f->corpus.n > 0, texts = !corpus && args->n > 2;
    if (texts && f->all) return cli_wrong(j->c, err, "--all shows what a corpus said of every feature, and takes no text");
    if (texts && f->auto_label) return cli_wrong(j->c, err, "--auto-label takes its words from a corpus, and takes no text");
    RH_TRY(cli_open_model(&j->m, j->c, args->items[0], false, err));
    RH_TRY(cli_features_read(&j->features, j->c, j->m, args->items[1], f->book, err));
    RH_TRY(rh_sae_open(&j->sae, j->features.path, corpus || texts ? RH_SAE_ENCODE : RH_SAE_ROWS, err));
    RH_TRY(rh_sae_seat(&j->seat, j->sae, j->features.path, j->m, f->layer >= 0 ? f->layer : j->features.layer, f->force_model, err));
    RH_TRY(cli_features_find(&j->features, j->c, j->sae, err));
    if (texts && !j->features.n)
        return rh_hinted(cli_wrong(j->c, err, "which feature is to be tested on the text?"), err, "%s[3]; `rhumb search` finds the ones that a text switches on",
                         args->items[1]);
    if (!texts && !corpus && !j->features.n && !f->all && !f->auto_label)
        return rh_hinted(cli_wrong(j->c, err, "test needs a feature, --all, or a corpus"), err, "%s[3]", args->items[1]);
    if (f->all && j->features.n) return cli_wrong(j->c, err, "--all shows every feature: leave out the brackets");
    if (corpus) RH_TRY(read_corpus(j, rest, (int)args->n - 2, err));
    else if (!texts) RH_TRY(stored(j, err));
    RH_TRY(fill(j, rest, texts ? (int32_t)args->n - 2 : 0, err));
    if (texts) RH_TRY(check_fit(j, err));
    return print(j, err);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const test_flags *f = flags;
    job j = {.c = c, .f = f, .cache_dir = f->no_cache ? NULL : c->cache_dir};
    rh_status status = work(&j, args, err);
    rh_test_report_free(j.report);
    rh_feature_notes_free(j.notes);
    rh_pages_free(j.pages);
    rh_sae_free(j.sae);
    cli_features_free(&j.features);
    rh_model_free(j.m);
    return status;
}

#define AT(field) offsetof(test_flags, field)
static const cli_option OPTIONS[] = {
    {"corpus", 0, CLI_TEXTS, AT(corpus), "FILE", "read texts from files: plain, or .jsonl (strings, or objects with \"text\"), each also .gz; what follows "
     "SAE are more files then", 0, 0, NULL},
    {"all", 0, CLI_FLAG, AT(all), NULL, "a table of all features, the most frequent first", 0, 0, NULL},
    {"book", 'b', CLI_TEXT, AT(book), "BOOK", "SAE is a name that this concept book binds", 0, 0, NULL},
    {"html", 0, CLI_TEXT, AT(html), "FILE", "write it as one web page instead", 0, 0, NULL},
    {"auto-label", 0, CLI_FLAG, AT(auto_label), NULL, "label every feature that has no label with the tokens where it is strongest", 0, 0, NULL},
    {"top", 'n', CLI_INT, AT(top), "N", "lines of the table (default 20)", 1, 1e6, NULL},
    {"top-tokens", 0, CLI_INT, AT(top_tokens), "N", "tokens whose logits a feature raises and lowers (default 10)", 0, 1000, NULL},
    {"context", 0, CLI_INT, AT(context), "N", "tokens of a window of the corpus (default 128)", 2, 1e6, NULL},
    {"max-tokens", 0, CLI_INT, AT(max_tokens), "N", "tokens of the corpus to take; 0: all (default 1000000)", 0, 2e9, NULL},
    {"layer", 0, CLI_INT, AT(layer), "L", "of an SAE that does not say its own", 0, 10000, NULL},
    {"force-model", 0, CLI_FLAG, AT(force_model), NULL, "an SAE of a model with another name is read all the same", 0, 0, NULL},
    {"no-cache", 0, CLI_FLAG, AT(no_cache), NULL, "read the corpus again, and do not keep what it says", 0, 0, NULL},
};

const cli_verb CLI_TEST = {
    .name = "test", .brief = "a feature token by token, and its page from a corpus", .arguments = "MODEL SAE[I,J] [TEXT…]",
    .about = "With texts: the activation of features I, J, … at every token; the first position is left out. With --corpus: how often and how "
             "strongly each feature is active, where it is strongest, an even sample, and the tokens whose logits it raises and lowers. One pass "
             "gives the pages of all features, in 1.2 KiB a feature and 4 bytes a token of memory; a run that is stopped goes on where it "
             "was. The pages are kept: without text and corpus the stored one is shown, and max_act, search and labels use them. I may be a label.",
    .examples = "  rhumb test smollm2 'sae-16[5165]' \"San Francisco\" \"San Diego\"\n"
                "  rhumb test smollm2 sae-16 --all --corpus bible.txt --corpus dictionary.jsonl.gz\n"
                "  rhumb test smollm2 'sae-16[5165]' --html page.html\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(test_flags), .defaults = &DEFAULTS,
    .min_args = 2, .max_args = 10000, .run = run};

/* search.c - `rhumb search MODEL SAE… TEXT`: the features that a text switches on. */
#include <stddef.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/fit.h"
#include "cli/models.h"
#include "notebooks-export/search_export.h"

typedef struct search_flags {
    cli_ints tokens;
    int32_t top, by, layer;
    bool force_model;
} search_flags;
enum { MAX_MEASURED = 4 };
static const search_flags DEFAULTS = {.top = 20, .layer = -1};

static rh_status print(cli *c, const rh_search_report *r, rh_error *err)
{
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    cli_clear_bar(c);
    RH_TRY(c->common.json ? rh_export_search_json(&out, r, err) : rh_export_search_text(&out, r, &t, err));
    return cli_print_str(c, &out, err);
}

/* Of the SAEs that have a feature in the answer, the first few: measuring one the first time takes as long as reading some
 * thousand tokens, and a search may be given one for every layer. */
static rh_status check_fits(cli *c, const rh_model *m, const rh_search_report *r, rh_error *err)
{
    int left = MAX_MEASURED;
    for (int32_t i = 0; i < r->n_saes && left; i++) {
        const rh_search_sae *one = &r->saes[i];
        rh_sae *sae = NULL;
        bool hit = false;
        for (int32_t k = 0; k < r->n_hits && !hit; k++) hit = r->hits[k].sae == i;
        if (!hit) continue;
        left--;
        RH_TRY(rh_sae_open(&sae, one->path, RH_SAE_ROWS, err));
        const rh_hook writes = rh_sae_about(sae)->transcoder ? one->seat.out : one->seat.in;
        rh_status status = cli_check_fit(c, m, sae, one->path, one->seat.layer, writes, err);
        rh_sae_free(sae);
        if (status) return status;
    }
    return RH_OK;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const search_flags *f = flags;
    const rh_search_options o = {.top = f->top, .by_sum = f->by == 1, .tokens = f->tokens.items, .n_tokens = (int32_t)f->tokens.n, .layer = f->layer,
                                 .force_model = f->force_model, .cache_dir = c->cache_dir, .progress = cli_progress, .progress_data = c};
    rh_model *m = NULL;
    rh_search_report *r = NULL;
    rh_status status = cli_open_model(&m, c, args->items[0], false, err);
    if (!status) status = rh_probe_search(&r, m, args->items + 1, (int32_t)args->n - 2, args->items[args->n - 1], &o, err);
    if (!status) status = check_fits(c, m, r, err);
    if (!status) status = print(c, r, err);
    rh_search_report_free(r);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(search_flags, field)
static const char *const BY[] = {"max", "sum", NULL};
static const cli_option OPTIONS[] = {
    {"top", 'n', CLI_INT, AT(top), "N", "how many features to show (default 20)", 1, 10000, NULL},
    {"by", 0, CLI_CHOICE, AT(by), "max|sum", "rank by the largest activation over the tokens (default), or by their sum", 0, 0, BY},
    {"tokens", 0, CLI_INTS, AT(tokens), "I,J", "rank by these tokens only, by the numbers that the answer shows", 1, 1e6, NULL},
    {"layer", 0, CLI_INT, AT(layer), "L", "of SAEs that do not say theirs", 0, 10000, NULL},
    {"force-model", 0, CLI_FLAG, AT(force_model), NULL, "an SAE of a model with another name is read all the same", 0, 0, NULL},
};

const cli_verb CLI_SEARCH = {
    .name = "search", .brief = "features of SAEs active on a text, ranked", .arguments = "MODEL SAE… TEXT",
    .about = "Reads TEXT once, each SAE at its own layer and hook, and ranks the features of all of them by their activation. The "
             "first position is left out: BOS, or <|endoftext|> where the model is given none. Labels, the largest activation and the density come "
             "from what is kept of an SAE (`rhumb labels`, `rhumb test --corpus`). Only one SAE is in memory at a time. The fit of an SAE to the model is measured at its first use, of the "
             "first four that have a feature in the answer, and a poor one is said.",
    .examples = "  rhumb search gemma-2-9b-it layer_*/width_16k/* \"San Francisco\"\n"
                "  rhumb search smollm2 sae-16 \"San Francisco\" --by sum --tokens 2 --top 5\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(search_flags), .defaults = &DEFAULTS,
    .min_args = 3, .max_args = 1000, .run = run};

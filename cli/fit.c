#include "cli/fit.h"

#include <string.h>

#include "cli/text.h"
#include "probes/fit_check.h"

rh_status cli_check_fit(cli *c, const rh_model *m, const rh_sae *s, const char *name, int32_t layer, rh_hook hook, rh_error *err)
{
    rh_fit_check fit;
    rh_error why = {0};
    rh_str note = {0};
    if (!c->cache_dir || !m->backend || !m->tokenizer) return RH_OK;
    rh_status status = rh_check_fit(&fit, m, s, layer, hook, c->cache_dir, cli_progress, c, &why);
    cli_clear_bar(c);
    if (status == RH_EVALUE || status == RH_ESITE) return RH_OK;
    if (status) {
        if (err) *err = why;
        return status;
    }
    if (!fit.poor) return RH_OK;
    rh_str_printf(&note, "%s fits this model poorly: at %d.%s it leaves %.0f %% of the variance of %lld states unexplained (%.1f features a token). %s",
                  name, (int)layer, rh_hook_name(hook), 100 * fit.fvu, (long long)fit.tokens, fit.l0, fit.cause);
    if (note.data && !note.failed) cli_note(c, "%s", note.data);
    rh_str_free(&note);
    return RH_OK;
}

static bool is_used(const rh_concepts *concepts, const char *path)
{
    for (int32_t i = 0; i < rh_concepts_n_saes(concepts); i++)
        if (!strcmp(rh_concepts_sae(concepts, i).path, path)) return true;
    return false;
}

rh_status cli_note_unused(cli *c, const rh_program *p, const rh_concepts *concepts, rh_error *err)
{
    rh_str names = {0};
    int n = 0, said = 0;
    for (int i = 0; rh_program_name(p, i); i++) n += rh_program_sae(p, i) && !is_used(concepts, rh_program_sae(p, i));
    for (int i = 0; rh_program_name(p, i); i++) {
        if (!rh_program_sae(p, i) || is_used(concepts, rh_program_sae(p, i))) continue;
        rh_str_printf(&names, "%s%s", !said ? "" : said == n - 1 ? " and " : ", ", rh_program_name(p, i));
        said++;
    }
    rh_status status = names.failed ? rh_fail_nomem(err) : RH_OK;
    if (!status && n) cli_note(c, "no feature of %s is used, so that %s not looked at", names.data, n == 1 ? "it is" : "they are");
    rh_str_free(&names);
    return status;
}

rh_status cli_check_fits(cli *c, const rh_model *m, const rh_concepts *concepts, int32_t *checked, rh_error *err)
{
    while (concepts && *checked < rh_concepts_n_saes(concepts)) {
        const rh_concept_sae s = rh_concepts_sae(concepts, (*checked)++);
        RH_TRY(cli_check_fit(c, m, s.sae, s.path, s.layer, s.hook, err));
    }
    return RH_OK;
}

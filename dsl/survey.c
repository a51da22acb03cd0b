/* survey.c - which atoms, how often, at what cost. */
#include "dsl/survey.h"

#include <stdlib.h>
#include <string.h>

#include "dsl/eval.h"

/* The call as the user wrote it, white space and controls as single spaces. */
static char *one_line(rh_range r)
{
    char *out = rh_calloc((size_t)(r.end - r.start) + 1, 1);
    size_t n = 0;
    if (!out) return NULL;
    for (uint32_t i = r.start; i < r.end; i++) {
        unsigned char c = (unsigned char)r.source->text[i];
        bool blank = c <= ' ' || c == 0x7f;
        if (!blank || (n && out[n - 1] != ' ')) out[n++] = blank ? ' ' : (char)c;
    }
    return out;
}

/* Of s[3, 17] each feature is a source of its own. */
static char *label_of(const rh_atom_spec *spec)
{
    rh_str text = {0};
    if (spec->kind != RH_ATOM_SAE) return one_line(spec->range);
    rh_str_printf(&text, "%s[%d]", spec->name, (int)spec->feature);
    return text.failed ? NULL : text.data;
}

static void mark_main(rh_survey *s)
{
    const rh_plan *plan = &s->p->plan;
    for (size_t i = 0; i < s->n_results; i++)
        for (int k = 0; k < RH_N_OF_ACTION; k++)
            if (s->results[i].roots[k] >= 0) s->main[s->p->roots[s->results[i].roots[k]].step] = true;
    for (int32_t i = plan->n; i-- > 0;)
        for (int32_t k = 0; s->main[i] && k < plan->steps[i].n_in; k++) s->main[plan->steps[i].in[k]] = true;
}

static void use(rh_survey *s, int32_t step, double coefficient)
{
    int32_t atom = s->atom_number[step] - 1;
    if (atom < 0) return;
    s->coefficient[atom] = coefficient;
    s->uses[atom]++;
}

static void count_uses(rh_survey *s)
{
    const rh_plan *plan = &s->p->plan;
    for (size_t i = 0; i < s->n_results; i++)
        for (int k = 0; k < RH_N_OF_ACTION; k++)
            if (s->results[i].roots[k] >= 0) use(s, s->p->roots[s->results[i].roots[k]].step, 1);
    for (int32_t i = 0; i < plan->n; i++)
        for (int32_t k = 0; s->main[i] && k < plan->steps[i].n_in; k++)
            use(s, plan->steps[i].in[k], plan->steps[i].coef ? plan->steps[i].coef[k] : 1);
}

static bool allocate(rh_survey *s)
{
    const rh_plan *plan = &s->p->plan;
    size_t n = (size_t)plan->n_requests + 1;
    s->requests = rh_plan_requests(plan, &s->p->graph);
    s->atoms = rh_calloc(n, sizeof *s->atoms);
    s->coefficient = rh_calloc(n, sizeof *s->coefficient);
    s->uses = rh_calloc(n, sizeof *s->uses);
    s->labels = rh_calloc(n, sizeof *s->labels);
    s->main = rh_calloc((size_t)plan->n + 1, sizeof *s->main);
    s->atom_number = rh_calloc((size_t)plan->n + 1, sizeof *s->atom_number);
    s->results = rh_calloc(s->p->n_actions + 1, sizeof *s->results);
    if (!s->requests || !s->atoms || !s->coefficient || !s->uses || !s->labels || !s->main || !s->atom_number || !s->results)
        return false;
    for (int32_t i = 0; i < plan->n_requests; i++)
        if (!(s->labels[i] = label_of(s->requests[i].spec))) return false;
    return true;
}

rh_status rh_survey_new(rh_survey *out, const rh_program *p, rh_error *err)
{
    rh_survey s = {.p = p, .all = {.deepest = -1, .seconds = -1}};
    rh_status status = RH_OK;
    if (!allocate(&s)) {
        rh_survey_free(&s);
        return rh_fail_nomem(err);
    }
    for (int32_t i = 0; i < p->plan.n_requests; i++) s.atom_number[p->plan.requests[i]] = i + 1;
    for (size_t i = 0; i < p->n_actions; i++) s.results[s.n_results++] = p->actions[i];
    if (p->has_value) s.results[s.n_results++] = p->value;
    mark_main(&s);
    count_uses(&s);
    if (p->plan.n_requests)
        status = p->resolver->survey(p->resolver->self, s.requests, p->plan.n_requests, s.atoms, &s.all, err);
    if (status) {
        rh_survey_free(&s);
        return status;
    }
    *out = s;
    return RH_OK;
}

void rh_survey_free(rh_survey *s)
{
    for (int32_t i = 0; s->labels && i < s->p->plan.n_requests; i++) free(s->labels[i]);
    free(s->requests);
    free(s->atoms);
    free(s->coefficient);
    free(s->uses);
    free(s->labels);
    free(s->main);
    free(s->atom_number);
    free(s->results);
    *s = (rh_survey){0};
}

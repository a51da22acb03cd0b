/* explain_json.c - the same facts as one object. Steps are a list, not a tree: a step that is
 * used twice is said once. */
#include <stdlib.h>
#include <string.h>

#include "dsl/number.h"
#include "dsl/survey.h"

static void put_string(rh_str *out, const char *text)
{
    rh_str_puts(out, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            rh_str_printf(out, "\\%c", c);
        else if (c < 0x20)
            rh_str_printf(out, "\\u%04x", c);
        else
            rh_str_add(out, text, 1);
    }
    rh_str_puts(out, "\"");
}

static void put_key(rh_str *out, const char *key)
{
    put_string(out, key);
    rh_str_puts(out, ":");
}

static void put_number(rh_str *out, double x)
{
    char text[RH_NUMBER_TEXT];
    rh_number_exact(text, x);
    rh_str_puts(out, text);
}

/* "hook":…,"layers":[…]; null without a place */
static void put_site(rh_str *out, const rh_program *p, int32_t site)
{
    if (site < 0) {
        rh_str_puts(out, "\"hook\":null,\"layers\":null");
        return;
    }
    const rh_place_at *at = &p->graph.sites[site];
    rh_str_printf(out, "\"hook\":\"%s\",\"layers\":[", rh_hook_name(at->hook));
    for (int32_t i = 0; i < at->n; i++) rh_str_printf(out, i ? ",%d" : "%d", (int)at->layers[i]);
    rh_str_puts(out, "]");
}

static int step_of(const rh_survey *s, size_t result, rh_part_of_action which)
{
    return (int)s->p->roots[s->results[result].roots[which]].step;
}

/* ,"guard":{"of":"cos","vector":STEP,"compare":">","threshold":STEP} */
static void put_guard(rh_str *out, const rh_survey *s, size_t result)
{
    static const char *const compares[2][2] = {{">", ">="}, {"<", "<="}};
    const rh_statement *st = s->results[result].statement;
    rh_str_printf(out, ",\"guard\":{\"of\":\"%s\",\"vector\":%d,\"compare\":\"%s\",\"threshold\":%d}", st->guard_cosine ? "cos" : "dot",
                  step_of(s, result, RH_GUARD_VECTOR), compares[st->guard_less][st->guard_equal], step_of(s, result, RH_THRESHOLD));
}

static void put_results(rh_str *out, const rh_survey *s)
{
    static const char *const actions[] = {"steer", "ablate", "cap", "clamp", "scale"};
    static const char *const kinds[] = {"scalar", "vector", "span"};
    const rh_program *p = s->p;
    put_key(out, "results");
    rh_str_puts(out, "[");
    for (size_t i = 0; i < s->n_results; i++) {
        const rh_root *root = &p->roots[s->results[i].roots[RH_ACTS_WITH]];
        const rh_step *step = &p->plan.steps[root->step];
        bool value = p->has_value && i + 1 == s->n_results;
        rh_str_printf(out, "%s{\"action\":\"%s\",\"text\":", i ? "," : "",
                      value ? "value" : actions[s->results[i].statement->action]);
        put_string(out, s->results[i].text);
        rh_str_printf(out, ",\"kind\":\"%s\",", kinds[step->kind]);
        put_site(out, p, root->site);
        if (step->kind != RH_VALUE_SCALAR) rh_str_printf(out, ",\"width\":%d", (int)step->d);
        rh_str_printf(out, ",\"step\":%d", (int)root->step);
        if (s->results[i].roots[RH_AMOUNT] >= 0) rh_str_printf(out, ",\"amount\":%d", step_of(s, i, RH_AMOUNT));
        if (s->results[i].roots[RH_GUARD_VECTOR] >= 0) put_guard(out, s, i);
        rh_str_puts(out, "}");
    }
    rh_str_puts(out, "]");
}

static void put_steps(rh_str *out, const rh_survey *s)
{
    const rh_plan *plan = &s->p->plan;
    put_key(out, "steps");
    rh_str_puts(out, "[");
    for (int32_t i = 0; i < plan->n; i++) {
        const rh_step *step = &plan->steps[i];
        rh_str_printf(out, "%s{\"step\":%d,\"operation\":", i ? "," : "", (int)i);
        put_string(out, step->op == RH_OP_SUM ? "linear form" : rh_op_name(step->op));
        rh_str_puts(out, ",");
        put_site(out, s->p, step->site);
        if (step->op == RH_OP_ATOM) rh_str_printf(out, ",\"atom\":%d", (int)s->atom_number[i]);
        if (step->op == RH_OP_NUMBER) {
            rh_str_puts(out, ",\"number\":");
            put_number(out, step->number);
        }
        rh_str_puts(out, ",\"inputs\":[");
        for (int32_t k = 0; k < step->n_in; k++) rh_str_printf(out, k ? ",%d" : "%d", (int)step->in[k]);
        rh_str_puts(out, "]");
        if (step->op == RH_OP_SUM) {
            rh_str_puts(out, ",\"coefficients\":[");
            for (int32_t k = 0; k < step->n_in; k++) {
                if (k) rh_str_puts(out, ",");
                put_number(out, step->coef[k]);
            }
            rh_str_puts(out, "]");
        }
        rh_str_puts(out, "}");
    }
    rh_str_puts(out, "]");
}

static void put_atoms(rh_str *out, const rh_survey *s)
{
    const rh_plan *plan = &s->p->plan;
    put_key(out, "atoms");
    rh_str_puts(out, "[");
    for (int32_t i = 0; i < plan->n_requests; i++) {
        const rh_atom_survey *a = &s->atoms[i];
        rh_str_printf(out, "%s{\"atom\":%d,\"source\":", i ? "," : "", (int)i + 1);
        put_string(out, s->labels[i]);
        rh_str_puts(out, ",");
        put_site(out, s->p, plan->steps[plan->requests[i]].site);
        rh_str_puts(out, ",\"coefficient\":");
        if (s->uses[i] == 1)
            put_number(out, s->coefficient[i]);
        else
            rh_str_puts(out, "null");
        rh_str_printf(out, ",\"prompts\":%lld,\"distinct\":%lld,\"tokens\":%lld,\"read\":%lld,\"cached\":%s,\"sample\":",
                      (long long)a->prompts, (long long)a->distinct, (long long)a->tokens, (long long)a->read, a->cached ? "true" : "false");
        put_string(out, a->sample);
        rh_str_puts(out, "}");
    }
    rh_str_puts(out, "]");
}

static void put_pass(rh_str *out, const rh_survey *s)
{
    const rh_plan_survey *a = &s->all;
    put_key(out, "pass");
    if (a->deepest < 0) {
        rh_str_puts(out, "null");
        return;
    }
    rh_str_printf(out, "{\"prompts\":%lld,\"distinct\":%lld,\"tokens\":%lld,\"shared_tokens\":%lld,\"deepest\":%d,\"seconds\":",
                  (long long)a->prompts, (long long)a->distinct, (long long)a->tokens, (long long)a->shared_tokens, (int)a->deepest);
    if (a->seconds >= 0)
        put_number(out, a->seconds);
    else
        rh_str_puts(out, "null");
    rh_str_puts(out, "}");
}

rh_status rh_program_explain_json(rh_str *json, const rh_program *p, rh_error *err)
{
    rh_survey s;
    RH_TRY(rh_survey_new(&s, p, err));
    rh_str_puts(json, "{");
    put_results(json, &s);
    rh_str_puts(json, ",");
    put_steps(json, &s);
    rh_str_puts(json, ",");
    put_atoms(json, &s);
    rh_str_puts(json, ",");
    put_pass(json, &s);
    rh_str_puts(json, "}");
    rh_survey_free(&s);
    return json->failed ? rh_fail_nomem(err) : RH_OK;
}

/* auto_json.c - a search as one JSON object, and its sweep as CSV. */
#include <math.h>
#include <string.h>

#include "notebooks-export/auto_export.h"
#include "notebooks-export/clean.h"
#include "notebooks-export/json.h"

static void set_score(rh_json *j, json_t *o, const rh_auto_score *s)
{
    rh_json_integer(j, o, "texts", s->n);
    rh_json_integer(j, o, "hits", s->hits);
    rh_json_integer(j, o, "broken", s->broken);
    rh_json_number(j, o, "presence", s->presence);
    rh_json_number(j, o, "gain", s->gain);
    rh_json_number(j, o, "surprisal", s->surprisal);
    rh_json_number(j, o, "repeated", s->repeated);
    rh_json_number(j, o, "kl", s->kl);
}

static json_t *texts(rh_json *j, char *const *items, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *o = rh_json_object(j);
        rh_json_text(j, o, "text", items[i]);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *setting(rh_json *j, const rh_auto_setting *s, rh_hook hook, bool picked)
{
    json_t *o = rh_json_object(j);
    rh_json_place(j, o, s->layer, hook);
    rh_json_number(j, o, "strength", s->strength);
    rh_json_number(j, o, "resid", s->resid);
    set_score(j, o, &s->score);
    rh_json_number(j, o, "value", s->knee.value);
    rh_json_number(j, o, "cost", s->knee.cost);
    rh_json_bool(j, o, "healthy", s->knee.healthy);
    rh_json_bool(j, o, "frontier", s->knee.frontier);
    rh_json_bool(j, o, "picked", picked);
    rh_json_text(j, o, "sample", s->sample);
    return o;
}

static json_t *test(rh_json *j, const rh_auto_test *t)
{
    json_t *o = rh_json_object(j);
    rh_json_text(j, o, "label", t->label);
    set_score(j, o, &t->score);
    rh_json_number(j, o, "lo", t->lo);
    rh_json_number(j, o, "hi", t->hi);
    rh_json_set(j, o, "outputs", texts(j, t->texts, t->score.n));
    return o;
}

rh_status rh_export_auto_json(rh_str *out, const rh_auto_report *r, rh_error *err)
{
    static const char *const verdicts[] = {
        [RH_AUTO_WORKS] = "works", [RH_AUTO_NOT_SHOWN] = "not_shown", [RH_AUTO_NOTHING] = "nothing"};
    rh_json j = {0};
    json_t *o = rh_json_object(&j), *settings = rh_json_array(&j), *tests = rh_json_array(&j), *unsteered = rh_json_object(&j);
    rh_json_text(&j, o, "model", r->model);
    rh_json_text(&j, o, "expression", r->expression);
    rh_json_text(&j, o, "target", r->target);
    rh_json_text(&j, o, "versus_prompt", r->versus);
    rh_json_text(&j, o, "hook", rh_hook_name(r->hook));
    rh_json_integer(&j, o, "read_layer", r->read_layer);
    rh_json_bool(&j, o, "layers_together", r->together);
    rh_json_integer(&j, o, "max_tokens", r->max_tokens);
    rh_json_set(&j, o, "prompts", texts(&j, r->prompts, r->n_prompts));
    rh_json_set(&j, o, "held_out_prompts", texts(&j, r->held_out, r->n_held_out));
    set_score(&j, unsteered, &r->unsteered);
    rh_json_text(&j, unsteered, "sample", r->unsteered_sample);
    rh_json_set(&j, o, "unsteered", unsteered);
    for (int32_t i = 0; i < r->n_settings; i++)
        rh_json_push(&j, settings, setting(&j, &r->settings[i], r->hook, i == r->picked));
    rh_json_set(&j, o, "settings", settings);
    if (r->picked >= 0)
        rh_json_set(&j, o, "picked", setting(&j, &r->settings[r->picked], r->hook, true));
    else
        rh_json_text(&j, o, "picked", NULL);
    for (int32_t i = 0; i < r->n_tests; i++) rh_json_push(&j, tests, test(&j, &r->tests[i]));
    rh_json_set(&j, o, "held_out", tests);
    rh_json_integer(&j, o, "random_hits", r->random_hits);
    rh_json_integer(&j, o, "random_texts", r->random_n);
    rh_json_number(&j, o, "random_lo", r->random_lo);
    rh_json_number(&j, o, "random_hi", r->random_hi);
    rh_json_text(&j, o, "verdict", verdicts[r->verdict]);
    rh_json_integer(&j, o, "tokens_generated", r->tokens);
    rh_json_number(&j, o, "seconds", r->seconds);
    return rh_json_finish(out, o, &j, err);
}

/* ---- CSV -------------------------------------------------------------------------------------- */

/* ,"text" with quotes doubled, as valid UTF-8 */
static void put_quoted(rh_str *out, const char *text)
{
    rh_str clean = {0};
    rh_str_puts(&clean, "");
    rh_repair_utf8(&clean, text ? text : "", text ? strlen(text) : 0);
    rh_str_puts(out, ",\"");
    for (size_t i = 0; clean.data && i < clean.len; i++) {
        if (clean.data[i] == '"') rh_str_puts(out, "\"");
        rh_str_add(out, clean.data + i, 1);
    }
    rh_str_puts(out, "\"\r\n");
    if (clean.failed) out->failed = true;
    rh_str_free(&clean);
}

/* ,x; nothing where there is no number */
static void put_number(rh_str *out, double x)
{
    if (isfinite(x))
        rh_str_printf(out, ",%.9g", x);
    else
        rh_str_puts(out, ",");
}

static void put_score(rh_str *out, const rh_auto_score *s)
{
    rh_str_printf(out, ",%d,%d,%d", (int)s->n, (int)s->hits, (int)s->broken);
    const double values[] = {s->presence, s->gain, s->surprisal, s->repeated, s->kl};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) put_number(out, values[i]);
}

rh_status rh_export_auto_csv(rh_str *out, const rh_auto_report *r, rh_error *err)
{
    rh_str_puts(out, "layer,strength,resid,texts,hits,broken,presence,gain,surprisal,repeated,kl,cost,healthy,frontier,picked,sample\r\n");
    rh_str_puts(out, ",0,0");
    put_score(out, &r->unsteered);
    rh_str_puts(out, ",0,1,0,0");
    put_quoted(out, r->unsteered_sample);
    for (int32_t i = 0; i < r->n_settings; i++) {
        const rh_auto_setting *s = &r->settings[i];
        if (s->layer >= 0) rh_str_printf(out, "%d", (int)s->layer);
        put_number(out, s->strength);
        put_number(out, s->resid);
        put_score(out, &s->score);
        put_number(out, s->knee.cost);
        rh_str_printf(out, ",%d,%d,%d", s->knee.healthy, s->knee.frontier, i == r->picked);
        put_quoted(out, s->sample);
    }
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

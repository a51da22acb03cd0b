/* steer_json.c - a steering report as one JSON object; keys in README.md. */
#include "notebooks-export/export.h"
#include "notebooks-export/json.h"

static json_t *changes(rh_json *j, const rh_token_change *t, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *o = rh_json_object(j);
        rh_json_integer(j, o, "id", t[i].id);
        rh_json_text(j, o, "piece", t[i].piece);
        rh_json_number(j, o, "before", t[i].before);
        rh_json_number(j, o, "after", t[i].after);
        rh_json_number(j, o, "change", t[i].after - t[i].before);
        rh_json_push(j, a, o);
    }
    return a;
}

static void set_position(rh_json *j, json_t *o, const char *key, int32_t position)
{
    rh_json_set(j, o, key, position < 0 ? json_null() : json_integer(position));
}

static json_t *next_shift(rh_json *j, const rh_shift *s)
{
    json_t *o = rh_json_object(j);
    set_position(j, o, "position", s->position);
    rh_json_number(j, o, "kl", s->kl);
    rh_json_set(j, o, "up", changes(j, s->up, s->n_up));
    rh_json_set(j, o, "down", changes(j, s->down, s->n_down));
    return o;
}

static json_t *guards(rh_json *j, const rh_steer_run *run)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < run->n_guards; i++) {
        json_t *o = rh_json_object(j);
        rh_json_integer(j, o, "action", run->guards[i].action);
        rh_json_integer(j, o, "tested", run->guards[i].tested);
        rh_json_integer(j, o, "fired", run->guards[i].fired);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *projections(rh_json *j, const rh_steer_run *run)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < run->n_projections; i++) {
        const rh_projection *p = &run->projections[i];
        json_t *o = rh_json_object(j);
        rh_json_integer(j, o, "action", p->action);
        rh_json_place(j, o, p->layer, p->hook);
        rh_json_bool(j, o, "acts", p->acts);
        rh_json_text(j, o, "over", p->generated ? "generated" : "prompt");
        rh_json_integer(j, o, "n_tokens", p->n_tokens);
        rh_json_number(j, o, "before", p->before_mean);
        rh_json_number(j, o, "after", p->after_mean);
        rh_json_number(j, o, "before_last", p->before_last);
        rh_json_number(j, o, "after_last", p->after_last);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *watches(rh_json *j, const rh_steer_run *run)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < run->n_watches; i++) {
        const rh_watch_track *w = &run->watches[i];
        json_t *o = rh_json_object(j), *tokens = rh_json_array(j);
        rh_json_text(j, o, "expression", w->label);
        rh_json_text(j, o, "value", w->activation ? "activation" : "projection");
        rh_json_place(j, o, w->layer, w->hook);
        rh_json_number(j, o, "lo", w->lo);
        rh_json_number(j, o, "hi", w->hi);
        for (int32_t k = 0; k < w->n; k++) {
            json_t *t = rh_json_object(j);
            rh_json_integer(j, t, "id", w->tokens[k].id);
            rh_json_text(j, t, "text", w->tokens[k].text);
            rh_json_number(j, t, "value", w->tokens[k].value);
            rh_json_bool(j, t, "generated", w->tokens[k].generated);
            rh_json_push(j, tokens, t);
        }
        rh_json_set(j, o, "tokens", tokens);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *switched(rh_json *j, const rh_feature_switch *list, int32_t n)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < n; i++) {
        json_t *o = rh_json_feature(j, list[i].feature, list[i].label);
        rh_json_integer(j, o, "tokens", list[i].tokens);
        rh_json_number(j, o, "largest", list[i].most);
        rh_json_number(j, o, "sum", list[i].sum);
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *features(rh_json *j, const rh_steer_run *run)
{
    json_t *a = rh_json_array(j);
    for (int32_t i = 0; i < run->n_switches; i++) {
        const rh_sae_switches *s = &run->switches[i];
        json_t *o = rh_json_object(j);
        rh_json_text(j, o, "sae", s->name);
        rh_json_text(j, o, "path", s->path);
        rh_json_place(j, o, s->layer, s->hook);
        rh_json_integer(j, o, "n_tokens", s->n_tokens);
        rh_json_number(j, o, "active_before", s->active_before);
        rh_json_number(j, o, "active_after", s->active_after);
        rh_json_integer(j, o, "total_on", s->total_on);
        rh_json_integer(j, o, "total_off", s->total_off);
        rh_json_set(j, o, "on", switched(j, s->on, s->n_on));
        rh_json_set(j, o, "off", switched(j, s->off, s->n_off));
        rh_json_push(j, a, o);
    }
    return a;
}

static json_t *run_value(rh_json *j, const rh_steer_run *run)
{
    json_t *o = rh_json_object(j), *ids = rh_json_array(j);
    rh_json_number(j, o, "strength", run->strength);
    rh_json_bool(j, o, "unsteered", run->unsteered);
    rh_json_text(j, o, "text", run->text);
    for (int32_t i = 0; i < run->n_ids; i++) rh_json_push(j, ids, json_integer(run->ids[i]));
    rh_json_set(j, o, "ids", ids);
    rh_json_text(j, o, "stop", run->stop);
    rh_json_number(j, o, "kl", run->first.kl);
    set_position(j, o, "kl_position", run->first.position);
    rh_json_number(j, o, "surprisal", run->surprisal);
    rh_json_number(j, o, "repeated", run->repeated);
    rh_json_bool(j, o, "collapsed", run->collapsed);
    rh_json_bool(j, o, "loops", run->loops);
    rh_json_bool(j, o, "garbled", run->garbled);
    rh_json_number(j, o, "relative_norm", run->relative_norm);
    rh_json_set(j, o, "guards", guards(j, run));
    rh_json_set(j, o, "projection", projections(j, run));
    rh_json_set(j, o, "up", changes(j, run->first.up, run->first.n_up));
    rh_json_set(j, o, "down", changes(j, run->first.down, run->first.n_down));
    rh_json_set(j, o, "next", next_shift(j, &run->next));
    rh_json_set(j, o, "watches", watches(j, run));
    rh_json_set(j, o, "features", features(j, run));
    return o;
}

rh_status rh_export_steer_json(rh_str *out, const rh_steer_report *r, rh_error *err)
{
    rh_json j = {0};
    json_t *o = rh_json_object(&j), *actions = rh_json_array(&j), *runs = rh_json_array(&j), *where = NULL;
    rh_json_text(&j, o, "model", r->model);
    rh_json_text(&j, o, "expression", r->expression);
    rh_json_text(&j, o, "site", r->site);
    for (int32_t i = 0; i < r->n_actions; i++) {
        json_t *a = rh_json_object(&j);
        rh_json_text(&j, a, "text", r->actions[i]);
        rh_json_push(&j, actions, a);
    }
    rh_json_set(&j, o, "actions", actions);
    rh_json_text(&j, o, "prompt", r->prompt);
    rh_json_integer(&j, o, "n_prompt_tokens", r->n_prompt_tokens);
    rh_json_integer(&j, o, "n_vocab", r->n_vocab);
    rh_json_number(&j, o, "norm", r->norm);
    rh_json_number(&j, o, "median_h", r->median_h);
    where = rh_json_object(&j);
    rh_json_place(&j, where, r->norm_layer, r->norm_hook);
    rh_json_set(&j, o, "norm_site", where);
    for (int32_t i = 0; i < r->n_runs; i++) rh_json_push(&j, runs, run_value(&j, &r->runs[i]));
    rh_json_set(&j, o, "runs", runs);
    rh_json_geometry(&j, o, r->geometry, r->n_geometry);
    rh_json_notes(&j, o, r->notes);
    rh_json_integer(&j, o, "tokens_generated", r->tokens_generated);
    rh_json_number(&j, o, "seconds_extract", r->seconds_extract);
    rh_json_number(&j, o, "seconds_run", r->seconds_run);
    return rh_json_finish(out, o, &j, err);
}

/* report.c - releasing reports. Every function takes NULL and half-filled values, so that a
 * probe that fails has one way out. */
#include "probes/report.h"

#include <stdlib.h>

void rh_token_changes_free(rh_token_change *c, int32_t n)
{
    for (int32_t i = 0; c && i < n; i++) free(c[i].piece);
    free(c);
}

static void shift_free(rh_shift *s)
{
    rh_token_changes_free(s->up, s->n_up);
    rh_token_changes_free(s->down, s->n_down);
}

static void strings_free(char **s, int32_t n)
{
    for (int32_t i = 0; s && i < n; i++) free(s[i]);
    free(s);
}

void rh_watch_track_free(rh_watch_track *t)
{
    for (int32_t i = 0; t->tokens && i < t->n; i++) free(t->tokens[i].text);
    free(t->tokens);
    free(t->label);
}

static void watches_free(rh_watch_track *w, int32_t n)
{
    for (int32_t i = 0; w && i < n; i++) rh_watch_track_free(&w[i]);
    free(w);
}

static void geometry_free(rh_geometry *g, int32_t n)
{
    for (int32_t i = 0; g && i < n; i++) {
        strings_free(g[i].labels, g[i].n);
        free(g[i].label);
        free(g[i].coefficient);
        free(g[i].norm);
        free(g[i].share);
        free(g[i].cosine);
    }
    free(g);
}

static void list_free(rh_feature_switch *list, int32_t n)
{
    for (int32_t i = 0; list && i < n; i++) free(list[i].label);
    free(list);
}

static void switches_free(rh_sae_switches *s, int32_t n)
{
    for (int32_t i = 0; s && i < n; i++) {
        list_free(s[i].on, s[i].n_on);
        list_free(s[i].off, s[i].n_off);
        free(s[i].name);
        free(s[i].path);
    }
    free(s);
}

static void run_free(rh_steer_run *r)
{
    free(r->text);
    free(r->ids);
    shift_free(&r->first);
    shift_free(&r->next);
    free(r->guards);
    free(r->projections);
    watches_free(r->watches, r->n_watches);
    switches_free(r->switches, r->n_switches);
}

void rh_steer_report_free(rh_steer_report *r)
{
    if (!r) return;
    for (int32_t i = 0; r->runs && i < r->n_runs; i++) run_free(&r->runs[i]);
    free(r->runs);
    geometry_free(r->geometry, r->n_geometry);
    strings_free(r->actions, r->n_actions);
    free(r->model);
    free(r->expression);
    free(r->prompt);
    free(r->site);
    free(r->notes);
    free(r);
}

void rh_vec_report_free(rh_vec_report *r)
{
    if (!r) return;
    for (int32_t i = 0; r->cosines && i < r->n_cosines; i++) free(r->cosines[i].name);
    for (int32_t i = 0; r->nearest && i < r->n_nearest; i++) {
        rh_token_changes_free(r->nearest[i].up, r->nearest[i].n_up);
        rh_token_changes_free(r->nearest[i].down, r->nearest[i].n_down);
    }
    free(r->cosines);
    free(r->nearest);
    geometry_free(r->geometry, r->n_geometry);
    free(r->expression);
    free(r->scalar);
    free(r->scalar_layers);
    free(r->ranks);
    free(r->layers);
    free(r->norm);
    free(r->notes);
    free(r);
}

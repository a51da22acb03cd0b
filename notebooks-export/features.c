/* features.c - features that steering switched: a short table of those that came on and those that went off. */
#include <stdio.h>
#include <string.h>

#include "notebooks-export/blocks.h"

/* label, or nothing; cut to the line. */
static void put_label(const rh_pen *p, const char *label, int used)
{
    rh_str cut = {0};
    if (!label) {
        rh_end_line(p);
        return;
    }
    char *clean = rh_clean_line(p, label);
    rh_fit(&cut, p, clean, p->width - used - 1 > 8 ? p->width - used - 1 : 8);
    if (cut.data) rh_put(p, RH_PLAIN, 0, cut.data);
    rh_end_line(p);
    rh_drop(p, &cut);
    rh_line_free(clean);
}

static void put_list(const rh_pen *p, const rh_sae_switches *s, const char *what, const rh_feature_switch *list, int32_t n, int32_t total)
{
    char text[96], number[RH_NUMBER];
    for (int32_t i = 0; i < n; i++) {
        rh_spaces(p, 2);
        rh_put(p, RH_PLAIN, 4, i ? "" : what);
        snprintf(text, sizeof text, "%d", (int)list[i].feature);
        rh_put(p, RH_BOLD, -7, text);
        snprintf(text, sizeof text, "%d of %d", (int)list[i].tokens, (int)s->n_tokens);
        rh_put(p, RH_PLAIN, -13, text);
        rh_put(p, RH_PLAIN, -10, rh_number(number, p, list[i].most));
        rh_spaces(p, 2);
        put_label(p, list[i].label, 38);
    }
    if (total <= n) return;
    snprintf(text, sizeof text, "and %d more\n", (int)(total - n));
    rh_spaces(p, 6);
    rh_put(p, RH_DIM, 0, text);
}

static void put_run(const rh_pen *p, const rh_steer_report *r, const rh_steer_run *run, const rh_sae_switches *s)
{
    char label[RH_NUMBER], before[RH_NUMBER], after[RH_NUMBER], line[160];
    rh_run_label(label, r, run);
    rh_put(p, RH_BOLD, 0, label);
    if (!s->total_on && !s->total_off) {
        rh_str_puts(p->out, ": no feature changes\n");
        return;
    }
    snprintf(line, sizeof line, ": %s active a token, without actions %s\n", rh_number(after, p, s->active_after),
             rh_number(before, p, s->active_before));
    rh_str_puts(p->out, line);
    rh_put(p, RH_DIM, 0, "         feature       tokens   largest\n");
    put_list(p, s, "on", s->on, s->n_on, s->total_on);
    put_list(p, s, "off", s->off, s->n_off, s->total_off);
}

static const rh_sae_switches *of_sae(const rh_steer_run *run, const rh_sae_switches *like)
{
    for (int32_t i = 0; i < run->n_switches; i++) {
        const rh_sae_switches *s = &run->switches[i];
        if (s->layer == like->layer && s->hook == like->hook && !strcmp(s->path, like->path)) return s;
    }
    return NULL;
}

/* One SAE, all runs that reach it, from run `first` on. */
static void put_sae(const rh_pen *p, const rh_steer_report *r, const rh_sae_switches *sae, int32_t first)
{
    char *name = rh_clean_line(p, sae->name);
    rh_str head = {0};
    rh_str_printf(&head, "features of %s that steering switched, at %d.%s", name, (int)sae->layer, rh_hook_name(sae->hook));
    if (head.data) rh_heading(p, head.data);
    for (int32_t i = first; i < r->n_runs && !p->out->failed; i++) {
        const rh_sae_switches *s = of_sae(&r->runs[i], sae);
        if (s) put_run(p, r, &r->runs[i], s);
    }
    rh_drop(p, &head);
    rh_line_free(name);
}

void rh_put_switches(const rh_pen *p, const rh_steer_report *r)
{
    bool any = false;
    for (int32_t i = 0; i < r->n_runs && !p->out->failed; i++)
        for (int32_t k = 0; k < r->runs[i].n_switches; k++) {
            const rh_sae_switches *s = &r->runs[i].switches[k];
            bool before = false;
            for (int32_t j = 0; j < i; j++) before = before || of_sae(&r->runs[j], s);
            if (!before) put_sae(p, r, s, i);
            any = true;
        }
    if (!any) return;
    rh_spaces(p, 2);
    rh_paragraph(p, RH_DIM, 2, 2, "the run's own text read without the actions and with them: on is active only with them, off only without; ranked by "
                                  "the activations summed over these tokens");
}

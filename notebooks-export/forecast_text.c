/* forecast_text.c - a forecast for a terminal: what was forecast with what became of it, and what came unforeseen. */
#include <stdio.h>

#include "notebooks-export/blocks.h"
#include "notebooks-export/forecast_export.h"

static void put_feature(const rh_pen *p, const char *what, const rh_forecast_feature *f)
{
    char number[RH_NUMBER];
    rh_spaces(p, 2);
    rh_put(p, RH_PLAIN, 4, what);
    snprintf(number, sizeof number, "%d", (int)f->feature);
    rh_put(p, RH_BOLD, -7, number);
    rh_put(p, RH_PLAIN, -8, rh_number(number, p, f->push));
    rh_put(p, RH_PLAIN, -10, rh_percent(number, p, f->forecast));
    rh_put(p, RH_PLAIN, -7, rh_percent(number, p, f->fact));
    if (f->label) {
        rh_str cut = {0};
        char *clean = rh_clean_line(p, f->label);
        const int room = p->width - 41;
        rh_fit(&cut, p, clean, room > 8 ? room : 8);
        rh_spaces(p, 2);
        if (cut.data) rh_put(p, RH_PLAIN, 0, cut.data);
        rh_drop(p, &cut);
        rh_line_free(clean);
    }
    rh_end_line(p);
}

static void put_more(const rh_pen *p, int32_t n)
{
    char text[48];
    if (n <= 0) return;
    snprintf(text, sizeof text, "and %d more\n", (int)n);
    rh_spaces(p, 6);
    rh_put(p, RH_DIM, 0, text);
}

static void put_direction(const rh_pen *p, const rh_forecast *f, const char *what, const rh_forecast_list *l)
{
    char line[200], precision[RH_NUMBER], recall[RH_NUMBER];
    if (!f->n_generated)
        snprintf(line, sizeof line, "%d features will come %s", (int)l->forecast, what);
    else
        snprintf(line, sizeof line, "%d features will come %s, %d did, %d are both: precision %s, recall %s", (int)l->forecast, what, (int)l->fact,
                 (int)l->both, rh_number(precision, p, rh_forecast_precision(l)), rh_number(recall, p, rh_forecast_recall(l)));
    rh_str_puts(p->out, "\n");
    rh_paragraph(p, RH_BOLD, 0, 0, line);
    if (l->n_said || l->n_missed) rh_put(p, RH_DIM, 0, "         feature    push  forecast   fact\n");
    for (int32_t i = 0; i < l->n_said; i++) put_feature(p, i ? "" : what, &l->said[i]);
    put_more(p, l->forecast - l->n_said);
    if (!l->n_missed) return;
    rh_spaces(p, 2);
    rh_put(p, RH_DIM, 0, "not forecast\n");
    for (int32_t i = 0; i < l->n_missed; i++) put_feature(p, "", &l->missed[i]);
    put_more(p, l->fact - l->both - l->n_missed);
}

static void put_legend(const rh_pen *p, const rh_forecast *f)
{
    rh_str text = {0};
    rh_str_printf(&text, "push: what steering adds before the threshold; forecast: of the prompt's %d tokens behind the first, the share where the "
                         "feature is switched; fact: the same of the %d tokens of the text, which the forecast has not seen. A feature "
                         "is switched that is at %d %% of them.", (int)f->n_prompt, (int)f->n_generated, (int)(100 * RH_FORECAST_SHARE + 0.5));
    rh_spaces(p, 2);
    if (text.data) rh_paragraph(p, RH_DIM, 2, 2, text.data);
    rh_drop(p, &text);
}

rh_status rh_export_forecast_text(rh_str *out, const rh_forecast *f, const rh_terminal *t, rh_error *err)
{
    const rh_pen pen = rh_pen_make(out, t), *p = &pen;
    char strength[RH_NUMBER];
    char *model = rh_clean_line(p, f->model), *expression = rh_clean_line(p, f->expression), *text = rh_clean_line(p, f->text);
    rh_str line = {0};
    rh_str_printf(&line, "%s: %s, %s times, at %d.%s", model, expression, rh_number(strength, p, f->strength), (int)f->layer, rh_hook_name(f->hook));
    if (line.data) rh_paragraph(p, RH_BOLD, 0, 0, line.data);
    rh_drop(p, &line);
    rh_str_printf(&line, "steered: %s", text);
    if (line.data) rh_paragraph(p, RH_PLAIN, 0, 2, line.data);
    rh_drop(p, &line);
    put_direction(p, f, "on", &f->on);
    put_direction(p, f, "off", &f->off);
    put_legend(p, f);
    rh_line_free(text);
    rh_line_free(expression);
    rh_line_free(model);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

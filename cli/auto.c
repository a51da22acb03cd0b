#include "cli/auto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/prompt_file.h"
#include "cli/when.h"
#include "engine/files/vectorfile.h"
#include "notebooks-export/auto_export.h"

enum { SWEEP_TOKENS = 24, REPORT_WIDTH = 100 };

typedef struct found {
    cli_expression e;            /* of the search */
    cli_expression final;        /* at the layer picked, if the search had several */
    cli_expression_flags final_flags;
    char layer[16];
    cli_expression_flags flags;
    bool floats;                 /* several layers, one of which is to be found */
    int32_t also;                /* the book's layer, -1: none */
    char *metadata, *prompts_text;
    cli_texts prompts;           /* of --prompts, in prompts_text; none: built in */
    rh_auto_report *report;
    rh_steer_report *steer;      /* NULL: nothing works */
} found;

static void found_free(found *f)
{
    rh_steer_report_free(f->steer);
    rh_auto_report_free(f->report);
    cli_expression_close(&f->final);
    cli_expression_close(&f->e);
    free(f->metadata);
    free(f->prompts.items);
    free(f->prompts_text);
}

/* ---- what goes in ----------------------------------------------------------------------------- */

static rh_status open_at(found *f, cli *c, const rh_model *m, const cli_auto_job *job, const char *layer, rh_error *err)
{
    f->flags = *job->expression;
    if (layer) f->flags.layer = layer;
    RH_TRY(cli_expression_open(&f->e, c, m, &f->flags, job->expr, false, false, job->special, err));
    return cli_expression_eval(&f->e, c, &f->flags, err);
}

static const rh_vector *vector_of(const found *f)
{
    const rh_evaluation *e = f->e.evaluation;
    return e && e->n_actions && e->actions[0].value.kind == RH_VALUE_VECTOR ? e->actions[0].value.vector : NULL;
}

/* Without --layer at every layer, for a book's `layer` is only where it would stand; but it is among the candidates. What
 * stands at a layer by itself (x @ 15), or is asked for with --layer, stays there. */
static rh_status open_expression(found *f, cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err)
{
    f->also = -1;
    if (job->expression->layer) {
        RH_TRY(open_at(f, c, m, job, NULL, err));
    } else {
        rh_error ignored = {0};
        rh_status status = open_at(f, c, m, job, NULL, &ignored);
        const rh_vector *v = status ? NULL : vector_of(f);
        if (status && status != RH_ESITE) {
            if (err) *err = ignored;
            return status;
        }
        if (v && v->n_layers == 1) f->also = v->layers[0];
        if (v && v->n_layers > 1) return RH_OK; /* a family of the book's: all at once */
        cli_expression_close(&f->e);
        memset(&f->e, 0, sizeof f->e);
        memset(&c->diags, 0, sizeof c->diags);
        RH_TRY(open_at(f, c, m, job, "all", err));
    }
    f->floats = vector_of(f) && vector_of(f)->n_layers > 1;
    if (!f->floats) cli_note(c, "the layer is given: only strengths are swept");
    return RH_OK;
}

/* ---- the runs --------------------------------------------------------------------------------- */

static rh_status search(found *f, cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err)
{
    char created[CLI_WHEN];
    const rh_evaluation *e = f->e.evaluation;
    const rh_vector *v = e->n_actions && e->actions[0].value.kind == RH_VALUE_VECTOR ? e->actions[0].value.vector : NULL;
    cli_when(created);
    if (v) RH_TRY(rh_concepts_metadata(&f->metadata, f->e.concepts, job->expr ? job->expr : "", v, created, err));
    rh_auto_options o = {.prompt = job->steer->prompt, .generate = job->steer->generate, .prompts = f->prompts.items,
                         .n_prompts = (int32_t)f->prompts.n, .strengths = job->strengths->items,
                         .n_strengths = (int32_t)job->strengths->n, .also = f->also >= 0 ? &f->also : NULL, .together = !f->floats, .target = job->flags->target,
                         .versus = job->flags->versus, .metadata = f->metadata, .seed = c->common.seed,
                         .progress = cli_progress, .progress_data = c};
    if (o.generate.max_tokens > SWEEP_TOKENS) o.generate.max_tokens = SWEEP_TOKENS;
    rh_status status = rh_probe_auto(&f->report, m, e, job->expr ? job->expr : job->expression->book, &o, &c->diags, err);
    cli_clear_bar(c);
    return status;
}

static rh_status final_run(found *f, cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err)
{
    const rh_auto_setting *s = &f->report->settings[f->report->picked];
    rh_steer_options o = *job->steer;
    const rh_evaluation *e = f->e.evaluation;
    o.strengths = &s->strength;
    o.n_strengths = 1;
    if (f->floats && s->layer >= 0) {
        snprintf(f->layer, sizeof f->layer, "%d", (int)s->layer);
        f->final_flags = *job->expression;
        f->final_flags.layer = f->layer;
        RH_TRY(cli_expression_open(&f->final, c, m, &f->final_flags, job->expr, false, false, job->special, err));
        RH_TRY(cli_expression_eval(&f->final, c, &f->final_flags, err));
        e = f->final.evaluation;
    }
    rh_status status = rh_probe_steer(&f->steer, m, e, job->expr ? job->expr : job->expression->book, job->prompt, &o, &c->diags, err);
    cli_clear_bar(c);
    return status;
}

/* ---- what comes out --------------------------------------------------------------------------- */

static rh_status make_text(rh_str *out, const found *f, const rh_terminal *t, rh_error *err)
{
    RH_TRY(rh_export_auto_text(out, f->report, t, err));
    if (!f->steer) return RH_OK;
    rh_str_puts(out, "\n");
    rh_str steer = {0};
    RH_TRY(rh_export_steer_text(&steer, f->steer, t, err));
    rh_str_add(out, steer.data, steer.len);
    rh_str_free(&steer);
    if (!out->failed) return RH_OK;
    return rh_fail_nomem(err);
}

/* {"auto": …, "steer": …}, steer null if nothing works. Each part is one line of JSON. */
static rh_status make_json(rh_str *out, const found *f, rh_error *err)
{
    rh_str search_json = {0}, steer = {0};
    rh_status status = rh_export_auto_json(&search_json, f->report, err);
    if (!status && f->steer) status = rh_export_steer_json(&steer, f->steer, err);
    if (!status) {
        while (search_json.len && search_json.data[search_json.len - 1] == '\n') search_json.data[--search_json.len] = 0;
        while (steer.len && steer.data[steer.len - 1] == '\n') steer.data[--steer.len] = 0;
        rh_str_printf(out, "{\"auto\": %s, \"steer\": %s}\n", search_json.data, f->steer ? steer.data : "null");
        if (out->failed) status = rh_fail_nomem(err);
    }
    rh_str_free(&search_json);
    rh_str_free(&steer);
    return status;
}

/* One file of the report, whole or not at all. Frees bytes. */
static rh_status write_file(const char *dir, const char *name, rh_str *bytes, rh_error *err)
{
    rh_writer w = {0};
    char *path = rh_path_join(dir, name);
    rh_status status = path ? rh_writer_open(&w, path, err) : rh_fail_nomem(err);
    if (!status) {
        status = rh_writer_put(&w, bytes->data, bytes->len, err);
        if (!status)
            status = rh_writer_commit(&w, err);
        else
            rh_writer_discard(&w);
    }
    free(path);
    rh_str_free(bytes);
    return status;
}

static rh_status write_vector(const found *f, const rh_model *m, const cli_auto_job *job, const char *dir, rh_error *err)
{
    char *path = NULL, *metadata = NULL, created[CLI_WHEN];
    const cli_expression *e = f->final.evaluation ? &f->final : &f->e;
    const rh_vector *v = e->evaluation->actions[0].value.vector;
    cli_when(created);
    RH_TRY(rh_concepts_metadata(&metadata, e->concepts, job->expr ? job->expr : "", v, created, err));
    path = rh_path_join(dir, "vector.safetensors");
    rh_status status = path ? rh_vectorfile_write(path, v, metadata, m->name, m->config.n_layers, err) : rh_fail_nomem(err);
    free(path);
    free(metadata);
    return status;
}

/* report.json last: where it is, the others are. */
static rh_status write_report(const found *f, cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err)
{
    const char *dir = job->flags->report;
    const rh_terminal paper = {.width = REPORT_WIDTH, .unicode = true};
    rh_str bytes = {0};
    RH_TRY(rh_make_dirs(dir, err));
    RH_TRY(make_text(&bytes, f, &paper, err));
    RH_TRY(write_file(dir, "report.txt", &bytes, err));
    RH_TRY(rh_export_auto_csv(&bytes, f->report, err));
    RH_TRY(write_file(dir, "sweep.csv", &bytes, err));
    RH_TRY(rh_export_auto_svg(&bytes, f->report, err));
    RH_TRY(write_file(dir, "frontier.svg", &bytes, err));
    if (f->steer) RH_TRY(write_vector(f, m, job, dir, err));
    RH_TRY(make_json(&bytes, f, err));
    RH_TRY(write_file(dir, "report.json", &bytes, err));
    if (!c->common.json) cli_note(c, "%s: report.txt, report.json, sweep.csv, frontier.svg%s", dir, f->steer ? ", vector.safetensors" : "");
    return RH_OK;
}

rh_status cli_auto(cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err)
{
    found f = {0};
    rh_str out = {0};
    rh_terminal t = cli_terminal(c);
    rh_status status = job->flags->prompts ? cli_prompt_file(&f.prompts, &f.prompts_text, job->flags->prompts, err) : RH_OK;
    if (!status) status = open_expression(&f, c, m, job, err);
    if (!status) status = search(&f, c, m, job, err);
    if (!status && f.report->picked >= 0) status = final_run(&f, c, m, job, err);
    if (!status) status = c->common.json ? make_json(&out, &f, err) : make_text(&out, &f, &t, err);
    if (!status && job->flags->report) status = write_report(&f, c, m, job, err);
    if (!status) status = cli_print_str(c, &out, err);
    rh_str_free(&out);
    found_free(&f);
    return status;
}

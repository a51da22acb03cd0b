/* texts.c - where a source's texts come from, and how they become prompts of a pass. */
#include "concepts/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/calibration.h"
#include "concepts/jobs.h"
#include "concepts/pairs.h"
#include "concepts/prompt.h"

void rh_fold_place(rh_error *err)
{
    if (!err || !err->file[0]) return;
    char message[sizeof err->message], at[32] = "";
    if (err->line > 0) snprintf(at, sizeof at, ":%d", err->line);
    /* The end of the path says more than its beginning. */
    size_t len = strlen(err->file);
    const char *file = len > 200 ? err->file + len - 200 : err->file;
    snprintf(message, sizeof message, "%s%.200s%s: %.250s", file == err->file ? "" : "…", file, at, err->message);
    memcpy(err->message, message, sizeof message);
    err->file[0] = '\0';
    err->line = err->column = 0;
}

static rh_status one_text(rh_pairs *out, const rh_atom_spec *spec, rh_error *err)
{
    rh_pairs p = {0};
    if (!spec->text_len) return rh_fail(err, RH_EVALUE, "the text is empty");
    p.rows = rh_calloc(1, sizeof *p.rows);
    char *text = rh_strndup(spec->text, spec->text_len);
    if (!p.rows || !text) {
        free(p.rows);
        free(text);
        return rh_fail_nomem(err);
    }
    p.rows[0] = (rh_text_row){.text = text, .len = spec->text_len, .positive = true};
    p.n = 1;
    rh_status status = spec->at == RH_AT_MARKED ? rh_marks_take(&p.rows[0], err) : RH_OK;
    if (status == RH_EFORMAT) rh_hint(err, "at=marked reads what stands between << and >>");
    if (status)
        rh_pairs_free(&p);
    else
        *out = p;
    return status;
}

rh_status rh_texts_read(rh_pairs *out, const rh_atom_spec *spec, rh_error *err)
{
    if (spec->kind == RH_ATOM_ACT) return one_text(out, spec, err);
    if (rh_reads_calibration(spec->kind)) return rh_calibration_read(out, err);
    return rh_pairs_read(out, spec->text, spec->positive, spec->negative, spec->at == RH_AT_MARKED, err);
}

/* ---- doubts ------------------------------------------------------------------------------- */

static int compare_rows(const rh_text_row *a, const rh_text_row *b)
{
    int order = strcmp(a->text, b->text);
    if (!order) order = (int)a->positive - (int)b->positive;
    if (!order) order = (a->n_marks > b->n_marks) - (a->n_marks < b->n_marks);
    if (!order && a->n_marks) order = memcmp(a->marks, b->marks, (size_t)a->n_marks * sizeof *a->marks);
    return order;
}

static int compare_pairs(const void *x, const void *y)
{
    const rh_text_row *const *a = x, *const *b = y;
    int order = compare_rows(*a, *b);
    return order ? order : compare_rows(*a + 1, *b + 1);
}
static int compare_singles(const void *x, const void *y)
{
    const rh_text_row *const *a = x, *const *b = y;
    return compare_rows(*a, *b);
}

rh_status rh_texts_doubts(char *out, size_t size, const rh_pairs *p, rh_error *err)
{
    size_t step = p->paired ? 2 : 1, n = p->n / step, same = 0, twice = 0;
    int (*compare)(const void *, const void *) = p->paired ? compare_pairs : compare_singles;
    out[0] = '\0';
    if (n < 2) return RH_OK;
    const rh_text_row **rows = rh_calloc(n, sizeof *rows);
    if (!rows) return rh_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        rows[i] = &p->rows[i * step];
        if (p->paired) same += strcmp(rows[i][0].text, rows[i][1].text) == 0;
    }
    qsort(rows, n, sizeof *rows, compare);
    for (size_t i = 1; i < n; i++) twice += compare(&rows[i - 1], &rows[i]) == 0;
    free(rows);
    int at = 0;
    if (twice) at = snprintf(out, size, "%zu of %zu rows repeat another one", twice, n);
    if (same && (size_t)at < size)
        snprintf(out + at, size - (size_t)at, "%s%zu of %zu pairs have equal texts and add nothing",
                 twice ? "; " : "", same, n);
    return RH_OK;
}

/* ---- prompts of a pass --------------------------------------------------------------------- */

/* How a source's texts are read, where its kind and not the user says so. */
static rh_atom_spec reading_of(const rh_atom_spec *spec)
{
    rh_atom_spec s = *spec;
    if (!rh_reads_calibration(s.kind)) return s;
    s.at = RH_AT_ALL; /* every token of its own weighs one; none at position 0 */
    s.chat = false;
    s.prefix = "";
    return s;
}

static rh_status add_row(rh_job_texts *t, rh_concepts *c, const rh_job *job, const rh_text_row *row,
                         rh_pass *pass, int32_t atom, bool sample, rh_error *err)
{
    const rh_atom_spec how = reading_of(job->spec), *spec = &how;
    /* A paired difference needs one sample a text: pca takes the mean of those read. */
    bool each = spec->kind != RH_ATOM_PCA && (spec->at == RH_AT_ALL || spec->at == RH_AT_MARKED);
    rh_text_prompt p = {0};
    rh_status status = rh_text_prompt_make(&p, c->model, spec, row, c->options.special, err);
    if (status) {
        if (err && row->line) rh_place(err, spec->text, row->line, 0);
        return status;
    }
    t->tokens += p.prompt.n;
    t->read += p.n_positions;
    t->at_zero += p.positions[0] == 0;
    status = rh_pass_prompt_add(pass, atom, row->positive ? 0 : 1, each, p.prompt.ids, p.prompt.n, p.positions,
                                p.n_positions, err);
    if (!status && sample)
        status = rh_prompt_sample(t->sample, sizeof t->sample, c->model, &p.prompt, p.positions, p.n_positions, err);
    rh_text_prompt_free(&p);
    return status;
}

rh_status rh_pca_needs_pairs(const rh_atom_spec *spec, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EVALUE, "'%.200s' has a text and a label a row; pca needs pairs (positive,negative)", spec->text),
                     err, "dim, lda and logreg take texts without pairs");
}

rh_status rh_job_read(rh_job_texts *texts, rh_concepts *c, const rh_job *job, rh_pass *pass, int32_t atom,
                      bool sample, rh_error *err)
{
    rh_pairs pairs = {0};
    rh_status status = rh_texts_read(&pairs, job->spec, err);
    for (size_t i = 0; i < pairs.n && !status; i++) {
        *(pairs.rows[i].positive ? &texts->positives : &texts->negatives) += 1;
        status = add_row(texts, c, job, &pairs.rows[i], pass, atom, sample && i == 0, err);
    }
    if (!status && job->spec->kind == RH_ATOM_PCA && !pairs.paired) status = rh_pca_needs_pairs(job->spec, err);
    if (!status && rh_reads_pairs(job->spec->kind) && strcmp(pairs.sha256, job->content) != 0)
        status = rh_fail(err, RH_EIO, "'%.300s' changed while it was read", job->spec->text);
    if (!status) status = rh_texts_doubts(texts->doubts, sizeof texts->doubts, &pairs, err);
    rh_pairs_free(&pairs);
    if (status && status != RH_ENOMEM) rh_fold_place(err);
    return status;
}

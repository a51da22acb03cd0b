/* diff_texts.c - the texts of a CSV: sampled, grouped, put in folds and order, tokenized. The texts
 * themselves are released before anything runs; their ids lie in a temporary file. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "concepts/prompt.h"
#include "concepts/texts.h"
#include "probes/diff_parts.h"

/* ---- reading --------------------------------------------------------------------------------------- */

static bool has_marks(const rh_text_row *row)
{
    const char *open = strstr(row->text, "<<");
    return open && strstr(open + 2, ">>");
}

/* Marks count where every text has one; else `<<…>>` is plain text, which is worth a word. */
static rh_status read_pairs(rh_pairs *out, bool *marked, rh_str *notes, const rh_diff_options *o, rh_error *err)
{
    size_t some = 0;
    rh_status status = rh_pairs_read(out, o->path, o->positive, o->negative, true, NULL);
    *marked = status == RH_OK;
    if (status == RH_OK) return RH_OK;
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    RH_TRY(rh_pairs_read(out, o->path, o->positive, o->negative, false, err));
    for (size_t i = 0; i < out->n; i++) some += has_marks(&out->rows[i]);
    if (some)
        rh_str_printf(notes, "%zu of %zu texts have a <<mark>>; since not all do, marks are taken as plain text\n", some, out->n);
    return RH_OK;
}

/* Keep `sample` pairs (rows) of those read, in their order. */
static rh_status take_sample(rh_pairs *p, const rh_diff_options *o, rh_error *err)
{
    size_t step = p->paired ? 2 : 1;
    int64_t n = (int64_t)(p->n / step), next = 0;
    if (o->sample <= 0 || o->sample >= n) return RH_OK;
    int64_t *picked = rh_calloc((size_t)o->sample, sizeof *picked);
    if (!picked) return rh_fail_nomem(err);
    rh_reservoir(picked, o->sample, n, o->seed, RH_DIFF_SAMPLE);
    for (int64_t i = 0; i < n; i++) {
        bool keep = next < o->sample && picked[next] == i;
        for (size_t s = 0; s < step; s++) {
            rh_text_row *row = &p->rows[(size_t)i * step + s];
            if (keep) {
                rh_text_row moved = *row;
                *row = (rh_text_row){0};
                p->rows[(size_t)next * step + s] = moved;
            } else {
                free(row->text);
                free(row->marks);
                *row = (rh_text_row){0};
            }
        }
        next += keep;
    }
    p->n = (size_t)next * step;
    free(picked);
    return RH_OK;
}

/* ---- groups and folds ------------------------------------------------------------------------------ */

typedef struct place { const rh_text_row *row; int32_t fold, index; } place;

static int by_text(const void *x, const void *y)
{
    const place *a = x, *b = y;
    int order = strcmp(a->row->text, b->row->text);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int by_fold(const void *x, const void *y)
{
    const place *a = x, *b = y;
    return a->fold != b->fold ? (a->fold > b->fold) - (a->fold < b->fold) : by_text(x, y);
}

/* Groups that have a text of each class; the smaller number is how many folds can be trained. */
static int32_t usable_folds(int32_t (*counts)[2], int32_t n_groups)
{
    int32_t with[2] = {0, 0};
    for (int32_t g = 0; g < n_groups; g++)
        for (int c = 0; c < 2; c++) with[c] += counts[g][c] > 0;
    return with[0] < with[1] ? with[0] : with[1];
}

static void count_groups(int32_t (*counts)[2], const int32_t *group, int32_t n_groups, const rh_pairs *p)
{
    memset(counts, 0, (size_t)n_groups * sizeof *counts);
    for (size_t i = 0; i < p->n; i++) counts[group[i]][!p->rows[i].positive]++;
}

/* Equal texts, and the two of a pair, hang together. If that ties everything up, only equal texts do. */
static rh_status make_groups(int32_t *group, int32_t *n_groups, int32_t (*counts)[2], const int32_t *text,
                             const rh_pairs *p, rh_str *notes, const rh_diff_options *o, rh_error *err)
{
    int32_t n = (int32_t)p->n, *pair = NULL;
    rh_status status = RH_OK;
    if (p->paired) {
        pair = rh_calloc(p->n, sizeof *pair);
        if (!pair) return rh_fail_nomem(err);
        for (int32_t i = 0; i < n; i++) pair[i] = i / 2;
    }
    status = rh_groups(group, n_groups, text, pair, n, err);
    free(pair);
    if (status) return status;
    count_groups(counts, group, *n_groups, p);
    if (p->paired && usable_folds(counts, *n_groups) < 2 && n > 2) {
        RH_TRY(rh_groups(group, n_groups, text, NULL, n, err));
        count_groups(counts, group, *n_groups, p);
        rh_str_puts(notes, "repeated texts tie all pairs together: the two texts of a pair may stand on both sides of a fold\n");
    }
    if (usable_folds(counts, *n_groups) >= 2) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EVALUE, "'%.300s' has too few different texts to hold any out: at least two of each class are needed",
            o->path),
                     err, "add pairs with other texts; 32 or more make the figures steady");
}

/* order [n] by fold, then text; group [n] of each row. */
static rh_status arrange(place *order, int32_t *group, rh_diff_design *g, const rh_pairs *p, rh_str *notes,
                         const rh_diff_options *o, rh_error *err)
{
    int32_t n = (int32_t)p->n, id = 0;
    int32_t *text = rh_calloc(p->n, sizeof *text), *fold = rh_calloc(p->n, sizeof *fold);
    int32_t (*counts)[2] = rh_calloc(p->n, sizeof *counts);
    rh_status status = text && fold && counts ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (int32_t i = 0; i < n; i++) order[i] = (place){.row = &p->rows[i], .index = i};
    qsort(order, p->n, sizeof *order, by_text);
    for (int32_t i = 0; i < n; i++) {
        if (i && strcmp(order[i - 1].row->text, order[i].row->text) != 0) id++;
        text[order[i].index] = id;
    }
    status = make_groups(group, &g->n_groups, counts, text, p, notes, o, err);
    if (status) goto done;
    int32_t usable = usable_folds(counts, g->n_groups);
    g->n_folds = o->folds < usable ? o->folds : usable;
    if (g->n_folds < o->folds)
        rh_str_printf(notes, "%d folds instead of %d: no more than %d groups of texts are independent\n", (int)g->n_folds,
                      (int)o->folds, (int)usable);
    status = rh_folds(fold, g->n_folds, (const int32_t(*)[2])counts, g->n_groups, o->seed, err);
    if (status) goto done;
    for (int32_t i = 0; i < n; i++) order[i].fold = fold[group[order[i].index]];
    qsort(order, p->n, sizeof *order, by_fold);
done:
    free(text);
    free(fold);
    free(counts);
    return status;
}

/* ---- tokens ---------------------------------------------------------------------------------------- */

static const rh_at ATS[RH_DIFF_POSITIONS] = {RH_AT_LAST, RH_AT_MEAN, RH_AT_MARKED};

/* One text in the spill: header, ids, and the positions of each way to read it. */
static rh_status put_text(rh_diff_texts *t, int32_t slot, const rh_text_row *row, bool *at_zero, const rh_model *m,
                          const rh_diff_options *o, rh_error *err)
{
    rh_text_prompt p[RH_DIFF_POSITIONS] = {0};
    rh_diff_record record = {0};
    rh_atom_spec spec = {.kind = RH_ATOM_DIM, .text = o->path, .chat = o->chat, .prefix = o->prefix ? o->prefix : ""};
    rh_status status = RH_OK;
    int32_t size = 0;
    for (int32_t k = 0; k < t->n_positions && !status; k++) {
        spec.at = ATS[k];
        status = rh_text_prompt_make(&p[k], m, &spec, row, o->special, err);
        if (status) {
            if (err) rh_place(err, o->path, row->line, 0);
            break;
        }
        record.n_positions[k] = p[k].n_positions;
        size += p[k].n_positions;
        *at_zero |= p[k].positions[0] == 0;
    }
    if (!status) {
        record.n_ids = p[0].prompt.n;
        size += record.n_ids;
        if (size > t->longest) t->longest = size;
        t->record[slot] = t->ids.size;
        t->design.tokens[slot] = record.n_ids;
        if (t->design.marked) t->design.marked[slot] = record.n_positions[RH_DIFF_MARKED];
        status = rh_spill_append(&t->ids, &record, sizeof record, err);
    }
    if (!status) status = rh_spill_append(&t->ids, p[0].prompt.ids, (size_t)record.n_ids * sizeof(int32_t), err);
    for (int32_t k = 0; k < t->n_positions && !status; k++)
        status = rh_spill_append(&t->ids, p[k].positions, (size_t)p[k].n_positions * sizeof(int32_t), err);
    for (int32_t k = 0; k < t->n_positions; k++) rh_text_prompt_free(&p[k]);
    return status;
}

static rh_status put_texts(rh_diff_texts *t, rh_diff_report *r, const place *order, const int32_t *group, rh_str *notes,
                           const rh_model *m, const rh_diff_options *o, rh_error *err)
{
    rh_diff_design *g = &t->design;
    int64_t zero = 0;
    for (int32_t i = 0; i < g->n; i++) {
        bool at_zero = false;
        g->cls[i] = !order[i].row->positive;
        g->group[i] = group[order[i].index];
        g->fold_start[order[i].fold + 1] = i + 1;
        r->n_class[g->cls[i]]++;
        RH_TRY(put_text(t, i, order[i].row, &at_zero, m, o, err));
        r->n_tokens += g->tokens[i];
        zero += at_zero;
        if (o->progress && i % 256 == 0 && !o->progress(o->progress_data, "texts tokenized", i, g->n))
            return rh_fail(err, RH_ECANCELLED, "stopped after %d of %d texts", (int)i, (int)g->n);
    }
    for (int32_t f = 0; f < g->n_folds; f++)
        if (g->fold_start[f + 1] < g->fold_start[f]) g->fold_start[f + 1] = g->fold_start[f];
    if (o->progress) (void)o->progress(o->progress_data, "texts tokenized", g->n, g->n);
    if (zero)
        rh_str_printf(notes, "%lld text%s read at position 0, where a model without BOS has an attention sink; --prefix puts "
                      "something in front\n", (long long)zero, zero == 1 ? " is" : "s are");
    return RH_OK;
}

/* Does the number of tokens tell the classes apart? Within the groups that have both classes, if there
 * are any (the texts of a pair are alike but for what matters); else over all texts. */
static rh_status tokens_apart(rh_diff_report *r, const rh_diff_design *g, rh_error *err)
{
    double wins = 0, pairs = 0, sum[2] = {0, 0};
    bool any_mixed = false;
    float *score = rh_calloc((size_t)g->n, sizeof *score);
    uint8_t *cls = rh_calloc((size_t)g->n, 1);
    uint64_t *scratch = rh_calloc((size_t)g->n, 2 * sizeof *scratch);
    int32_t *begin = rh_calloc((size_t)g->n_groups + 2, sizeof *begin); /* counting sort by group */
    rh_status status = score && cls && scratch && begin ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (int32_t k = 0; k < g->n_groups; k++) any_mixed = any_mixed || g->mixed[k];
    for (int32_t i = 0; i < g->n; i++) {
        begin[any_mixed ? g->group[i] + 2 : 2]++;
        sum[g->cls[i]] += g->tokens[i];
    }
    int32_t n_groups = any_mixed ? g->n_groups : 1;
    for (int32_t k = 0; k < n_groups; k++) begin[k + 2] += begin[k + 1];
    for (int32_t i = 0; i < g->n; i++) {
        int32_t at = begin[any_mixed ? g->group[i] + 1 : 1]++;
        score[at] = (float)g->tokens[i];
        cls[at] = g->cls[i];
    }
    for (int32_t k = 0; k < n_groups; k++)
        rh_auc_add(&wins, &pairs, score + begin[k], cls + begin[k], begin[k + 1] - begin[k], scratch);
    r->tokens_auc = pairs > 0 ? wins / pairs : 0.5;
    for (int c = 0; c < 2; c++) r->tokens_mean[c] = sum[c] / (double)r->n_class[c];
done:
    free(score);
    free(cls);
    free(scratch);
    free(begin);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------- */

void rh_diff_texts_free(rh_diff_texts *t)
{
    if (!t) return;
    rh_diff_design_free(&t->design);
    rh_spill_close(&t->ids);
    free(t->record);
    *t = (rh_diff_texts){0};
}

static rh_status describe(rh_diff_report *r, const rh_pairs *p, rh_str *notes, rh_error *err)
{
    char doubts[256];
    memcpy(r->sha256, p->sha256, sizeof r->sha256);
    r->paired = p->paired;
    r->n_texts = (int64_t)p->n;
    RH_TRY(rh_texts_doubts(doubts, sizeof doubts, p, err));
    if (doubts[0]) rh_str_printf(notes, "%s\n", doubts);
    return RH_OK;
}

rh_status rh_diff_texts_read(rh_diff_texts *out, rh_diff_report *r, rh_str *notes, const rh_model *m,
                             const rh_diff_options *o, rh_error *err)
{
    rh_diff_texts t = {0};
    rh_pairs pairs = {0};
    place *order = NULL;
    int32_t *group = NULL;
    bool marked = false;
    rh_diff_design *g = &t.design;
    rh_status status = read_pairs(&pairs, &marked, notes, o, err);
    if (status) goto done;
    t.n_positions = marked ? 3 : 2;
    r->n_rows = (int64_t)(pairs.n / (pairs.paired ? 2 : 1));
    status = take_sample(&pairs, o, err);
    if (!status && pairs.n > INT32_MAX / 4) {
        status = rh_fail(err, RH_ELIMIT, "%zu texts are too many", pairs.n);
        rh_hint(err, "--sample takes a part of them");
    }
    if (!status) status = describe(r, &pairs, notes, err);
    if (status) goto done;
    g->n = (int32_t)pairs.n;
    g->seed = o->seed;
    g->n_bootstrap = o->bootstrap;
    order = rh_calloc(pairs.n, sizeof *order);
    group = rh_calloc(pairs.n, sizeof *group);
    g->cls = rh_calloc(pairs.n, 1);
    g->group = rh_calloc(pairs.n, sizeof *g->group);
    g->tokens = rh_calloc(pairs.n, sizeof *g->tokens);
    if (marked) g->marked = rh_calloc(pairs.n, sizeof *g->marked);
    t.record = rh_calloc(pairs.n, sizeof *t.record);
    if (!order || !group || !g->cls || !g->group || !g->tokens || (marked && !g->marked) || !t.record)
        status = rh_fail_nomem(err);
    if (!status) status = arrange(order, group, g, &pairs, notes, o, err);
    if (status) goto done;
    g->fold_start = rh_calloc((size_t)g->n_folds + 1, sizeof *g->fold_start);
    status = g->fold_start ? rh_spill_open(&t.ids, o->dir, 0, err) : rh_fail_nomem(err);
    if (!status) status = put_texts(&t, r, order, group, notes, m, o, err);
    rh_pairs_free(&pairs);
    if (!status) status = rh_diff_design_finish(g, o->permutations, err);
    if (!status) status = tokens_apart(r, g, err);
    r->n_groups = g->n_groups;
    r->n_folds = g->n_folds;
done:
    rh_pairs_free(&pairs);
    free(order);
    free(group);
    if (status)
        rh_diff_texts_free(&t);
    else
        *out = t;
    return status;
}

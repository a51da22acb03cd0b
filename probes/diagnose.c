/* diagnose.c - see diagnose.h. */
#include "probes/diagnose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int32_t rh_first_changed(const rh_action *actions, int32_t n_actions, int32_t n_prompt,
                         const int32_t *ids, int32_t n_ids, const rh_tokenizer *t)
{
    for (int32_t pos = 0; pos < n_ids; pos++) {
        bool control = t && rh_token_is_control(t, ids[pos]);
        for (int32_t i = 0; i < n_actions; i++)
            if (rh_mask_covers(&actions[i].mask, pos, n_prompt, control)) return pos;
    }
    return -1;
}

/* ---- repetition and collapse --------------------------------------------------------------- */

typedef struct trigram { int32_t id[3]; } trigram;

static int compare_trigrams(const void *pa, const void *pb)
{
    const trigram *a = pa, *b = pb;
    for (int i = 0; i < 3; i++)
        if (a->id[i] != b->id[i]) return a->id[i] < b->id[i] ? -1 : 1;
    return 0;
}

rh_status rh_repeated_3grams(double *out, const int32_t *ids, int32_t n, rh_error *err)
{
    *out = 0;
    if (n < 3) return RH_OK;
    size_t count = (size_t)n - 2, distinct = 1;
    trigram *grams = rh_calloc(count, sizeof *grams);
    if (!grams) return rh_fail_nomem(err);
    for (size_t i = 0; i < count; i++) memcpy(grams[i].id, ids + i, sizeof grams[i].id);
    qsort(grams, count, sizeof *grams, compare_trigrams);
    for (size_t i = 1; i < count; i++) distinct += compare_trigrams(&grams[i - 1], &grams[i]) != 0;
    *out = 1 - (double)distinct / (double)count;
    free(grams);
    return RH_OK;
}

void rh_judge_collapse(rh_steer_run *run, double unsteered, int32_t n_vocab)
{
    bool enough = run->n_ids >= RH_COLLAPSE_TOKENS;
    double blind = log((double)n_vocab), limit = RH_GARBLED_FROM * blind;
    if (unsteered + RH_GARBLED_ABOVE * blind > limit) limit = unsteered + RH_GARBLED_ABOVE * blind;
    if (limit > RH_GARBLED_ALWAYS * blind) limit = RH_GARBLED_ALWAYS * blind;
    run->loops = enough && run->repeated > RH_COLLAPSE_REPEATED;
    run->garbled = enough && run->surprisal > limit;
    run->collapsed = run->loops || run->garbled;
}

/* ---- distributions -------------------------------------------------------------------------- */

void rh_top_changes(int32_t *out, int32_t *n_out, const float *change, int32_t n, int32_t top, int sign)
{
    int32_t k = 0;
    for (int32_t i = 0; top > 0 && i < n; i++) {
        float x = (float)sign * change[i];
        if (!(x > 0)) continue;
        if (k == top && !(x > (float)sign * change[out[k - 1]])) continue;
        int32_t at = k < top ? k++ : k - 1;
        for (; at > 0 && x > (float)sign * change[out[at - 1]]; at--) out[at] = out[at - 1];
        out[at] = i;
    }
    *n_out = k;
}

char *rh_piece_text(const rh_tokenizer *t, int32_t id)
{
    rh_str text = {0};
    rh_token_text(t, &text, id, true);
    if (!text.failed && (!text.len || memchr(text.data, 0, text.len))) {
        rh_str_free(&text);
        rh_bytes piece = rh_token_piece(t, id);
        rh_str_add(&text, (const char *)piece.data, piece.len);
    }
    rh_str_puts(&text, ""); /* data, even of nothing */
    if (text.failed) rh_str_free(&text);
    return text.data;
}

static rh_status changes_list(rh_token_change **out, int32_t *n_out, const int32_t *ids, int32_t n,
                              const float *before, const float *after, const rh_tokenizer *t, rh_error *err)
{
    rh_token_change *list = rh_calloc((size_t)n, sizeof *list);
    if (!list) return rh_fail_nomem(err);
    *out = list; /* with *n_out, so that the report's owner frees what is there */
    for (int32_t i = 0; i < n; i++) {
        int32_t id = ids[i];
        list[i] = (rh_token_change){.id = id, .before = before[id], .after = after[id]};
        list[i].piece = rh_piece_text(t, id);
        *n_out = i + 1;
        if (!list[i].piece) return rh_fail_nomem(err);
    }
    return RH_OK;
}

rh_status rh_shift_make(rh_shift *out, int32_t position, const float *before, const float *after,
                        int32_t n_vocab, int32_t top, const rh_tokenizer *t, rh_error *err)
{
    rh_status status = RH_OK;
    int32_t n_up, n_down;
    if (top > n_vocab) top = n_vocab;
    float *change = rh_calloc((size_t)n_vocab, sizeof *change);
    int32_t *ids = rh_calloc((size_t)top, sizeof *ids);
    if (!change || !ids) {
        status = rh_fail_nomem(err);
        goto done;
    }
    double kl = rh_kl(after, before, n_vocab);
    out->kl = kl < 0 ? 0 : kl; /* rounding */
    out->position = position;
    for (int32_t i = 0; i < n_vocab; i++) change[i] = after[i] - before[i];
    rh_top_changes(ids, &n_up, change, n_vocab, top, 1);
    status = changes_list(&out->up, &out->n_up, ids, n_up, before, after, t, err);
    if (status) goto done;
    rh_top_changes(ids, &n_down, change, n_vocab, top, -1);
    status = changes_list(&out->down, &out->n_down, ids, n_down, before, after, t, err);
done:
    free(change);
    free(ids);
    return status;
}

static int compare_doubles(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

double rh_median(double *x, int32_t n)
{
    if (n < 1) return NAN;
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* page_words.c - a cheap label: the tokens of a feature's strongest places. What it says is where the feature is
 * strongest, not what it means. */
#include <stdlib.h>
#include <string.h>

#include "probes/diagnose.h"
#include "probes/feature_test.h"

enum { WORDS = 3 };

typedef struct word { char *text; double weight; } word;

/* Without blanks at its ends; of blanks alone spelled. */
static char *trimmed(const rh_model *m, int32_t id)
{
    rh_str out = {0};
    char *text = rh_piece_text(m->tokenizer, id);
    if (!text) return NULL;
    size_t n = strlen(text), from = 0;
    while (n && strchr(" \t\n\r", text[n - 1])) n--;
    while (from < n && strchr(" \t\n\r", text[from])) from++;
    rh_str_puts(&out, "");
    if (from < n) rh_str_add(&out, text + from, n - from);
    for (size_t i = 0; from >= n && text[i]; i++) rh_str_puts(&out, text[i] == '\n' ? "\\n" : text[i] == '\t' ? "\\t" : text[i] == '\r' ? "\\r" : " ");
    free(text);
    if (out.failed) rh_str_free(&out);
    return out.data;
}

static bool same(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a, y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y) return false;
    }
    return *a == *b;
}

/* The places' tokens, equal ones together; places come with the strongest first. */
static rh_status gather(word *words, int32_t *n, const rh_model *m, const rh_pages *p, const rh_page_stats *f, rh_error *err)
{
    for (int32_t i = 0; i < f->n_top; i++) {
        char *text = trimmed(m, p->ids[f->top[i].at]);
        int32_t k = 0;
        if (!text) return rh_fail_nomem(err);
        while (k < *n && !same(words[k].text, text)) k++;
        if (k < *n) free(text);
        else words[(*n)++] = (word){.text = text};
        words[k].weight += f->top[i].value;
    }
    return RH_OK;
}

rh_status rh_page_words(rh_str *out, const rh_model *m, const rh_pages *p, int32_t feature, rh_error *err)
{
    word words[RH_PAGE_TOP];
    int32_t n = 0;
    rh_str_puts(out, "");
    rh_status status = gather(words, &n, m, p, &p->features[feature], err);
    for (int32_t shown = 0; !status && shown < WORDS; shown++) {
        int32_t best = -1;
        for (int32_t k = 0; k < n; k++)
            if (words[k].weight > 0 && (best < 0 || words[k].weight > words[best].weight)) best = k;
        if (best < 0) break;
        rh_str_printf(out, "%s\"%s\"", shown ? ", " : "", words[best].text);
        words[best].weight = 0;
    }
    for (int32_t k = 0; k < n; k++) free(words[k].text);
    if (!status && out->failed) status = rh_fail_nomem(err);
    return status;
}

rh_status rh_auto_label(int32_t *n_out, rh_feature_notes *notes, const rh_model *m, const rh_pages *p, rh_error *err)
{
    *n_out = 0;
    for (int32_t i = 0; i < p->n_features; i++) {
        const rh_feature_note note = rh_feature_notes_get(notes, i);
        if (!p->features[i].n_top || (note.label && note.source != RH_LABEL_AUTO)) continue;
        rh_str words = {0};
        rh_status status = rh_page_words(&words, m, p, i, err);
        if (!status) status = rh_feature_notes_label(notes, i, words.data, RH_LABEL_AUTO, err);
        rh_str_free(&words);
        if (status) return status;
        ++*n_out;
    }
    return RH_OK;
}

/* added.c - a folder's added tokens, found in text as Hugging Face's tokenizers do: from the left,
 * the longest at each place; first those of the raw text, then, in what is left, those that its
 * normaliser would see (which none of the supported ones changes). */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/vocab.h"

/* The longest added token of this pass at text[0..len): its id and length, else -1. */
static int32_t longest(size_t *n, const rh_tokenizer *t, const char *text, size_t len, uint8_t pass)
{
    for (int32_t l = 0; l < t->n_cut_lengths; l++) {
        *n = (size_t)t->cut_lengths[l];
        if (*n > len || !t->cut_first[l][(unsigned char)text[0]]) continue;
        int32_t id = rh_piece_table_find(&t->cut, text, *n);
        if (id >= 0 && (t->added[id] & RH_ADDED_NORMALIZED) == pass) return id;
    }
    return -1;
}

/* Whitespace in front of text[at], down to `from`. */
static size_t white_before(const char *text, size_t from, size_t at)
{
    while (at > from) {
        uint32_t cp;
        size_t start = at - 1;
        while (start > from && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
        if (rh_utf8_next(&cp, text + start, at - start) != at - start || !rh_is_white_space(cp)) break;
        at = start;
    }
    return at;
}

static size_t white_after(const char *text, size_t at, size_t to)
{
    while (at < to) {
        uint32_t cp;
        size_t n = rh_utf8_next(&cp, text + at, to - at);
        if (!n || !rh_is_white_space(cp)) break;
        at += n;
    }
    return at;
}

/* One pass over text[from..to), of which nothing is taken yet. A token that is not wanted still
 * hides what it overlaps. */
static void find_in_gap(int32_t *marks, const rh_tokenizer *t, const char *text, size_t from,
                        size_t to, uint8_t pass, uint8_t wanted)
{
    size_t taken = from; /* all before this belongs to a token */
    for (size_t i = from; i < to;) {
        size_t n = 0;
        int32_t id = longest(&n, t, text + i, to - i, pass);
        if (id < 0) {
            i++;
            continue;
        }
        size_t begin = i, end = i + n;
        i = end;
        if (!(t->cut_when[id] & wanted)) continue;
        if (begin < taken) continue; /* whitespace that the one before took (tokenizers has it twice) */
        if (t->added[id] & RH_ADDED_LSTRIP) begin = white_before(text, taken, begin);
        if (t->added[id] & RH_ADDED_RSTRIP) end = white_after(text, end, to);
        marks[begin] = id;
        for (size_t j = begin + 1; j < end; j++) marks[j] = -2;
        taken = end;
    }
}

rh_status rh_added_find(int32_t **marks, const rh_tokenizer *t, const char *text, size_t len,
                        bool special, rh_error *err)
{
    static const uint8_t passes[] = { 0, RH_ADDED_NORMALIZED };
    uint8_t wanted = special ? CUT_ALWAYS | CUT_SPECIAL : CUT_ALWAYS;
    *marks = NULL;
    if (!len || !t->n_cut_lengths) return RH_OK;
    int32_t *m = rh_calloc(len, sizeof *m);
    if (!m) return rh_fail_nomem(err);
    memset(m, 0xFF, len * sizeof *m);
    for (int p = 0; p < 2; p++)
        for (size_t from = 0, to; from < len; from = to) {
            to = from + 1;
            if (m[from] != -1) continue;
            while (to < len && m[to] == -1) to++;
            find_in_gap(m, t, text, from, to, passes[p], wanted);
        }
    *marks = m;
    return RH_OK;
}

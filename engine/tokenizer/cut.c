/* cut.c - tokens that are taken out of the text before the vocabulary's own rule sees it. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/vocab.h"

/* llama.cpp holds these to be control tokens whatever their type says, so that plain text never
 * becomes one: Gemma's '</s>', an HTML tag of type user-defined, is cut only on request. */
static const char *const held_control[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
};

static bool is_held_control(rh_bytes p)
{
    for (size_t i = 0; i < sizeof held_control / sizeof *held_control; i++)
        if (strlen(held_control[i]) == p.len && memcmp(held_control[i], p.data, p.len) == 0)
            return true;
    return false;
}

static uint8_t when(const rh_tokenizer *t, int32_t id)
{
    if (t->added && t->added[id]) return t->added[id] & RH_ADDED_SPECIAL ? CUT_SPECIAL : CUT_ALWAYS;
    if (t->added) return t->types[id] == RH_TOKEN_UNKNOWN || t->types[id] == RH_TOKEN_CONTROL ? CUT_SPECIAL : 0;
    bool may_be_held = t->pieces[id].len >= 4 && t->pieces[id].len <= 18;
    switch (t->types[id]) {
    case RH_TOKEN_UNKNOWN:
    case RH_TOKEN_CONTROL: return CUT_SPECIAL;
    case RH_TOKEN_USER:
        return may_be_held && is_held_control(t->pieces[id]) ? CUT_SPECIAL : CUT_ALWAYS;
    case RH_TOKEN_NORMAL:
        return may_be_held && strchr("<_[", t->pieces[id].data[0]) && is_held_control(t->pieces[id])
                   ? CUT_SPECIAL : 0;
    default: return 0;
    }
}

static int by_length_falling(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x < y) - (x > y);
}

/* The distinct lengths of the n tokens in ids, and the bytes they begin with. */
static rh_status index_lengths(rh_tokenizer *t, const int32_t *ids, int32_t n, rh_error *err)
{
    t->cut_lengths = rh_calloc((size_t)n, sizeof *t->cut_lengths);
    if (!t->cut_lengths) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) t->cut_lengths[i] = (int32_t)t->pieces[ids[i]].len;
    qsort(t->cut_lengths, (size_t)n, sizeof *t->cut_lengths, by_length_falling);
    int32_t n_lengths = 0;
    for (int32_t i = 0; i < n; i++)
        if (!n_lengths || t->cut_lengths[n_lengths - 1] != t->cut_lengths[i])
            t->cut_lengths[n_lengths++] = t->cut_lengths[i];
    t->n_cut_lengths = n_lengths;
    t->cut_first = rh_calloc((size_t)n_lengths, sizeof *t->cut_first);
    if (!t->cut_first) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        rh_bytes p = t->pieces[ids[i]];
        int32_t len = (int32_t)p.len;
        const int32_t *at = bsearch(&len, t->cut_lengths, (size_t)n_lengths, sizeof len,
                                    by_length_falling);
        t->cut_first[at - t->cut_lengths][(unsigned char)p.data[0]] |= t->cut_when[ids[i]];
    }
    return RH_OK;
}

rh_status rh_cut_init(rh_tokenizer *t, rh_error *err)
{
    rh_status status = RH_OK;
    int32_t *ids = NULL, n = 0;
    t->cut_when = rh_calloc((size_t)t->n, 1);
    if (!t->cut_when) return rh_fail_nomem(err);
    for (int32_t id = 0; id < t->n; id++) n += (t->cut_when[id] = when(t, id)) != 0;
    if (!n) return RH_OK;
    ids = rh_calloc((size_t)n, sizeof *ids);
    if (!ids) return rh_fail_nomem(err);
    if ((status = rh_piece_table_init(&t->cut, t->pieces, n, err))) goto done;
    n = 0;
    for (int32_t id = 0; id < t->n; id++) {
        if (!t->cut_when[id]) continue;
        rh_piece_table_put(&t->cut, id);
        ids[n++] = id;
    }
    status = index_lengths(t, ids, n, err);
done:
    free(ids);
    return status;
}

void rh_cut_free(rh_tokenizer *t)
{
    rh_piece_table_free(&t->cut);
    free(t->cut_when);
    free(t->cut_lengths);
    free(t->cut_first);
}

/* Is any token of the wanted kinds possible in the text at all? */
static bool may_occur(const rh_tokenizer *t, const char *text, size_t len, uint8_t wanted)
{
    uint8_t first[256] = { 0 };
    for (int32_t l = 0; l < t->n_cut_lengths; l++)
        for (int b = 0; b < 256; b++) first[b] |= t->cut_first[l][b];
    for (size_t i = 0; i < len; i++)
        if (first[(unsigned char)text[i]] & wanted) return true;
    return false;
}

/* Longest tokens first over the whole text, each length from the left; what is taken stays
 * taken. A taken token is never shorter than the one tried, so if they overlap it covers the
 * first or the last byte: those two are enough to look at. */
rh_status rh_cut_find(int32_t **marks, const rh_tokenizer *t, const char *text, size_t len,
                      bool special, rh_error *err)
{
    uint8_t wanted = special ? CUT_ALWAYS | CUT_SPECIAL : CUT_ALWAYS;
    *marks = NULL;
    if (t->added) return rh_added_find(marks, t, text, len, special, err);
    if (!len || !t->n_cut_lengths || !may_occur(t, text, len, wanted)) return RH_OK;
    int32_t *m = rh_calloc(len, sizeof *m);
    if (!m) return rh_fail_nomem(err);
    memset(m, 0xFF, len * sizeof *m);
    for (int32_t l = 0; l < t->n_cut_lengths; l++) {
        size_t n = (size_t)t->cut_lengths[l];
        for (size_t i = 0; i + n <= len; i++) {
            if (!(t->cut_first[l][(unsigned char)text[i]] & wanted)) continue;
            if (m[i] != -1 || m[i + n - 1] != -1) continue;
            int32_t id = rh_piece_table_find(&t->cut, text + i, n);
            if (id < 0 || !(t->cut_when[id] & wanted)) continue;
            m[i] = id;
            for (size_t j = 1; j < n; j++) m[i + j] = -2;
            i += n - 1;
        }
    }
    *marks = m;
    return RH_OK;
}

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/chat.h"

void rh_chat_add_bytes(rh_chat_line *l, rh_bytes text) { rh_str_add(&l->text, text.data, text.len); }
void rh_chat_add(rh_chat_line *l, const char *text) { rh_str_puts(&l->text, text); }

static bool is_space(uint32_t c)
{
    return rh_is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

rh_bytes rh_chat_trimmed(rh_bytes text)
{
    size_t begin = text.len, end = text.len; /* end: after the last character that is no space */
    for (size_t i = 0, n; i < text.len; i += n) {
        uint32_t cp;
        n = rh_utf8_next(&cp, text.data + i, text.len - i);
        if (!n) n = 1; /* rh_tokenize will say so */
        if (is_space(cp)) continue;
        if (begin == text.len) begin = i;
        end = i + n;
    }
    return (rh_bytes){ text.data + begin, end - begin };
}

bool rh_chat_is_assistant(const rh_chat_line *l, int32_t i) { return i < l->n_before && l->before[i].assistant; }

void rh_chat_add_turn(rh_chat_line *l, int32_t i, bool trim)
{
    const bool earlier = i < l->n_before;
    rh_bytes text = earlier ? (rh_bytes){ l->before[i].text, l->before[i].len } : l->user;
    if (trim) text = rh_chat_trimmed(text);
    if (!earlier) {
        l->has_user = true;
        l->user_from = l->text.len;
        l->user_to = l->text.len + text.len;
        l->user_at = (int32_t)(text.data - l->user.data);
    }
    rh_chat_add_bytes(l, text);
}

void rh_chat_trim_end(rh_chat_line *l, size_t from)
{
    if (l->text.failed || from >= l->text.len) return;
    const rh_bytes b = rh_chat_trimmed((rh_bytes){ l->text.data + from, l->text.len - from });
    l->text.len = (size_t)(b.data - l->text.data) + b.len;
    if (l->user_from > l->text.len) l->user_from = l->text.len; /* nothing of it is left */
    if (l->user_to > l->text.len) l->user_to = l->text.len;
}

/* A token over both the template's text and the user's is the user's, and covers what it has of it. */
static void place_user(rh_chat_line *l, size_t first)
{
    const int32_t from = (int32_t)l->user_from, to = (int32_t)l->user_to;
    size_t begin = first, end;
    while (begin < l->out->n && l->out->items[begin].end <= from) begin++;
    for (end = begin; to > from && end < l->out->n && l->out->items[end].start < to; end++) {
        rh_token *k = &l->out->items[end];
        k->start = (k->start > from ? k->start - from : 0) + l->user_at;
        k->end = (k->end < to ? k->end : to) - from + l->user_at;
    }
    for (size_t i = first; i < l->out->n; i++)
        if (i < begin || i >= end) l->out->items[i].start = l->out->items[i].end = 0;
    l->user_begin = begin;
    l->user_end = end;
}

rh_status rh_chat_flush(rh_chat_line *l)
{
    const size_t first = l->out->n;
    if (l->text.failed) return rh_fail_nomem(l->err);
    RH_TRY(rh_tokenize_part(l->t, l->out, l->text.data ? l->text.data : "", l->text.len, l->special, first == l->had, 0, l->err));
    if (l->has_user) place_user(l, first);
    else
        for (size_t i = first; i < l->out->n; i++) l->out->items[i].start = l->out->items[i].end = 0;
    l->text.len = 0;
    l->has_user = false;
    return RH_OK;
}

rh_status rh_chat_put(rh_chat_line *l, int32_t id)
{
    RH_TRY(rh_chat_flush(l));
    return rh_tokens_push(l->out, (rh_token){ id, 0, 0 }, l->err);
}

rh_status rh_chat_control(rh_chat_line *l, const char *piece)
{
    const int32_t id = rh_tokenizer_find(l->t, piece);
    if (id < 0)
        return rh_fail(l->err, RH_EFORMAT, "the chat template needs the token %s, which the vocabulary has not", piece);
    return rh_chat_put(l, id);
}

rh_status rh_chat_alternates(const rh_chat_line *l)
{
    for (int32_t i = 0; i <= l->n_before; i++) {
        const bool assistant = rh_chat_is_assistant(l, i);
        if (assistant == (i % 2 == 1)) continue;
        return rh_hinted(rh_fail(l->err, RH_EVALUE, "turn %d of the chat is the %s's, and this model's template takes user and "
                                 "assistant in turn", i + 1, assistant ? "assistant" : "user"),
                         l->err, "begin with the user, and join turns of one side");
    }
    return RH_OK;
}

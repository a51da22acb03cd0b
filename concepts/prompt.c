/* prompt.c - a text becomes a prompt in tokens, and `at=` becomes positions in it. */
#include "concepts/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* ---- text to tokens ----------------------------------------------------------------------- */

static rh_status need_tokenizer(const rh_model *m, rh_error *err)
{
    if (m->tokenizer) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer", m->name),
                     err, "use a GGUF file of the model, or give token ids where a verb takes them");
}

/* Does the sequence begin with the BOS of a model whose rule is to add one? (ChatML's first
 * token is SmolLM2's bos_token_id too, but belongs to the template.) */
static bool begins_with_bos(const rh_tokenizer *t, const rh_tokens *tokens)
{
    return rh_tokenizer_adds_bos(t) && tokens->n && tokens->items[0].id == rh_tokenizer_bos(t) &&
           tokens->items[0].start == tokens->items[0].end;
}

static rh_status apply_bos_options(rh_tokens *tokens, const rh_model *m, const rh_prompt_options *o,
                                   rh_error *err)
{
    bool has = begins_with_bos(m->tokenizer, tokens);
    if (o->no_bos && has) {
        memmove(tokens->items, tokens->items + 1, (tokens->n - 1) * sizeof *tokens->items);
        tokens->n--;
    } else if (o->double_bos) {
        if (!has) return rh_fail(err, RH_EVALUE, "'%s' puts no BOS in front that could be doubled", m->name);
        rh_token bos = tokens->items[0];
        RH_TRY(rh_tokens_push(tokens, bos, err));
        memmove(tokens->items + 1, tokens->items, (tokens->n - 1) * sizeof *tokens->items);
        tokens->items[0] = bos;
    }
    return RH_OK;
}

static rh_status chat_tokens(rh_tokens *tokens, const rh_model *m, const char *text, size_t len,
                             const rh_prompt_options *o, rh_error *err)
{
    rh_chat chat = o->template_ ? o->template_ : rh_tokenizer_chat(m->tokenizer);
    if (chat == RH_CHAT_NONE) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' has no chat template that Rhumb knows", m->name),
                         err, "--chat-template gemma, chatml, llama3 or mistral sets it in that family's words, none leaves it raw");
    }
    size_t begin, end;
    return rh_chat_prompt_after(m->tokenizer, chat, tokens, o->system, o->before, o->n_before, text, len, o->special, &begin,
                                &end, err);
}

static rh_status plain_tokens(rh_tokens *tokens, const rh_model *m, const char *text, size_t len,
                              const rh_prompt_options *o, rh_error *err)
{
    if (rh_tokenizer_adds_bos(m->tokenizer))
        RH_TRY(rh_tokens_push(tokens, (rh_token){.id = rh_tokenizer_bos(m->tokenizer)}, err));
    return rh_tokenize(m->tokenizer, tokens, text, len, o->special, 0, err);
}

rh_status rh_prompt_make(rh_prompt *out, const rh_model *m, const char *text, size_t len,
                         const rh_prompt_options *o, rh_error *err)
{
    rh_tokens tokens = {0};
    rh_prompt p = {.user = text, .user_len = len};
    RH_TRY(need_tokenizer(m, err));
    if (len > INT32_MAX / 2) return rh_fail(err, RH_ELIMIT, "a text of %zu bytes is too long", len);
    if (!o->chat && o->system && *o->system)
        return rh_hinted(rh_fail(err, RH_EVALUE, "a system text is part of a chat, and the template is none"), err,
                         "leave --chat-template none out, or put the text in front of the prompt");
    if (!o->chat && o->n_before)
        return rh_hinted(rh_fail(err, RH_EVALUE, "earlier turns are part of a chat, and the template is none"), err,
                         "leave --chat-template none out");
    rh_status status = o->chat ? chat_tokens(&tokens, m, text, len, o, err)
                               : plain_tokens(&tokens, m, text, len, o, err);
    if (!status) status = apply_bos_options(&tokens, m, o, err);
    if (!status && tokens.n > INT32_MAX / 2)
        status = rh_fail(err, RH_ELIMIT, "a prompt of %zu tokens is too long", tokens.n);
    if (status) goto done;
    p.n = (int32_t)tokens.n;
    p.ids = rh_calloc(tokens.n, sizeof *p.ids);
    if (!p.ids) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (int32_t i = 0; i < p.n; i++) p.ids[i] = tokens.items[i].id;
    p.tokens = tokens.items;
    tokens.items = NULL;
    *out = p;
done:
    rh_tokens_free(&tokens);
    return status;
}

void rh_prompt_free(rh_prompt *p)
{
    if (!p) return;
    free(p->ids);
    free(p->tokens);
    *p = (rh_prompt){0};
}

rh_status rh_text_ids(rh_tokens *out, const rh_model *m, const char *text, size_t len, bool special,
                      rh_error *err)
{
    rh_tokens tokens = {0};
    RH_TRY(need_tokenizer(m, err));
    rh_status status = rh_tokenize(m->tokenizer, &tokens, text, len, special, 0, err);
    if (status)
        rh_tokens_free(&tokens);
    else
        *out = tokens;
    return status;
}

/* ---- positions ---------------------------------------------------------------------------- */

static bool overlaps(const rh_token *t, uint32_t start, uint32_t end)
{
    return t->start < t->end && (uint32_t)t->end > start && (uint32_t)t->start < end;
}

static bool is_read(const rh_token *t, rh_at at, uint32_t text_begin, const struct rh_byte_range *marks,
                    int32_t n_marks)
{
    if (at != RH_AT_MARKED) return overlaps(t, text_begin, UINT32_MAX);
    for (int32_t i = 0; i < n_marks; i++)
        if (overlaps(t, marks[i].start, marks[i].end)) return true;
    return false;
}

rh_status rh_prompt_positions(int32_t *out, int32_t *n, const rh_prompt *p, rh_at at,
                              uint32_t text_begin, const struct rh_byte_range *marks, int32_t n_marks,
                              rh_error *err)
{
    int32_t k = 0;
    if (at == RH_AT_LAST) {
        if (p->n) out[k++] = p->n - 1;
    } else {
        for (int32_t i = 0; i < p->n; i++)
            if (is_read(&p->tokens[i], at, text_begin, marks, n_marks)) out[k++] = i;
    }
    if (!k) return rh_fail(err, RH_EVALUE, "the text has no tokens to read");
    if (at == RH_AT_TEXT_LAST) {
        out[0] = out[k - 1];
        k = 1;
    } else if (k > 1 && out[0] == 0) {
        /* An attention sink: its norm is a hundred times the others' and would be the mean. */
        memmove(out, out + 1, (size_t)--k * sizeof *out);
    }
    *n = k;
    return RH_OK;
}

/* ---- a source's text ---------------------------------------------------------------------- */

static rh_status check_context(const rh_model *m, int32_t n, rh_error *err)
{
    if (n <= m->config.n_ctx) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ELIMIT, "the text is %d tokens long, and the model's context %d", (int)n,
            (int)m->config.n_ctx),
                     err, "shorten it");
}

rh_status rh_text_prompt_make(rh_text_prompt *out, const rh_model *m, const rh_atom_spec *spec,
                              const rh_text_row *row, bool special, rh_error *err)
{
    rh_text_prompt p = {0};
    rh_status status = RH_OK;
    struct rh_byte_range *marks = NULL;
    const char *prefix = spec->prefix ? spec->prefix : "";
    size_t before = strlen(prefix), len = before + row->len;
    if (len < before || len >= INT32_MAX) return rh_fail(err, RH_ELIMIT, "the text is too long");
    p.text = rh_calloc(len + 1, 1);
    marks = rh_calloc((size_t)row->n_marks + 1, sizeof *marks);
    if (!p.text || !marks) {
        status = rh_fail_nomem(err);
        goto done;
    }
    memcpy(p.text, prefix, before);
    memcpy(p.text + before, row->text, row->len);
    for (int32_t i = 0; i < row->n_marks; i++) {
        marks[i].start = row->marks[i].start + (uint32_t)before;
        marks[i].end = row->marks[i].end + (uint32_t)before;
    }
    rh_prompt_options o = {.chat = spec->chat, .special = special};
    status = rh_prompt_make(&p.prompt, m, p.text, len, &o, err);
    if (!status) status = check_context(m, p.prompt.n, err);
    if (status) goto done;
    p.positions = rh_calloc((size_t)p.prompt.n, sizeof *p.positions);
    status = p.positions ? rh_prompt_positions(p.positions, &p.n_positions, &p.prompt, spec->at,
                                               (uint32_t)before, marks, row->n_marks, err)
                         : rh_fail_nomem(err);
done:
    free(marks);
    if (status)
        rh_text_prompt_free(&p);
    else
        *out = p;
    return status;
}

void rh_text_prompt_free(rh_text_prompt *p)
{
    if (!p) return;
    rh_prompt_free(&p->prompt);
    free(p->text);
    free(p->positions);
    *p = (rh_text_prompt){0};
}

/* ---- showing ------------------------------------------------------------------------------ */

/* A token's bytes with line ends spelled out; its vocabulary piece where the bytes alone are
 * no text. */
static void show_token(rh_str *out, const rh_model *m, int32_t id)
{
    rh_str text = {0};
    rh_token_text(m->tokenizer, &text, id, true);
    const char *s = text.data ? text.data : "";
    size_t len = text.len;
    if (rh_utf8_valid(s, len) != len) {
        rh_bytes piece = rh_token_piece(m->tokenizer, id);
        s = piece.data;
        len = piece.len;
        if (rh_utf8_valid(s, len) != len) {
            s = "\xEF\xBF\xBD";
            len = 3;
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\n') rh_str_puts(out, "\\n");
        else if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) rh_str_puts(out, "?");
        else rh_str_add(out, s + i, 1);
    }
    if (text.failed) out->failed = true;
    rh_str_free(&text);
}

void rh_text_split(rh_str *out, const rh_model *m, const rh_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        rh_str_puts(out, "[");
        show_token(out, m, tokens->items[i].id);
        rh_str_puts(out, "]");
    }
}

/* The first byte of a code point at or after i. */
static size_t next_boundary(const char *s, size_t len, size_t i)
{
    while (i < len && ((unsigned char)s[i] & 0xC0) == 0x80) i++;
    return i;
}
static size_t previous_boundary(const char *s, size_t i)
{
    while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80) i--;
    return i;
}

/* s into out [size], with "…" where it is cut; `focus` stays visible, in the last third. */
static void cut_around(char *out, size_t size, const char *s, size_t len, size_t focus)
{
    static const char dots[] = "…";
    size_t room = size - 1 - 2 * (sizeof dots - 1), begin = 0, end = len, at = 0;
    if (len > size - 1) {
        if (focus > room * 2 / 3) begin = next_boundary(s, len, focus - room * 2 / 3);
        if (end - begin > room) end = previous_boundary(s, begin + room);
    }
    if (begin) memcpy(out, dots, at = sizeof dots - 1);
    memcpy(out + at, s + begin, end - begin);
    at += end - begin;
    if (end < len) {
        memcpy(out + at, dots, sizeof dots - 1);
        at += sizeof dots - 1;
    }
    out[at] = '\0';
}

rh_status rh_prompt_sample(char *out, size_t size, const rh_model *m, const rh_prompt *p,
                           const int32_t *positions, int32_t n_positions, rh_error *err)
{
    rh_str all = {0};
    size_t focus = 0;
    int32_t next = 0;
    bool open = false;
    for (int32_t i = 0; i < p->n; i++) {
        bool read = next < n_positions && positions[next] == i;
        if (read && next++ == 0) focus = all.len;
        if (read != open) rh_str_puts(&all, read ? "[" : "]");
        open = read;
        show_token(&all, m, p->ids[i]);
    }
    if (open) rh_str_puts(&all, "]");
    rh_status status = all.failed ? rh_fail_nomem(err) : RH_OK;
    if (!status) cut_around(out, size, all.data ? all.data : "", all.len, focus);
    rh_str_free(&all);
    return status;
}

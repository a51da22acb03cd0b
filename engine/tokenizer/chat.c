/* chat.c - a chat that ends in a user's turn, in the words of a model's family. The template's text and ours go
 * through the tokenizer as one string between control tokens, as they would if the template
 * had been rendered, so that a newline of ours merges with one of the user's. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/vocab.h"

static const char *const names[] = { "none", "gemma", "chatml", "llama3" };

const char *rh_chat_name(rh_chat c)
{
    return names[c];
}

/* ---- recognising ------------------------------------------------------------------------------- */

/* Offset of needle in b at or after from; b.len if absent. */
static size_t find_in(rh_bytes b, size_t from, const char *needle)
{
    size_t n = strlen(needle);
    for (size_t i = from; i + n <= b.len; i++)
        if (memcmp(b.data + i, needle, n) == 0) return i;
    return b.len;
}

static bool has(rh_bytes b, const char *needle)
{
    return find_in(b, 0, needle) < b.len;
}

static const struct mark {
    rh_chat chat;
    const char *begins, *ends; /* control tokens around a turn */
} chat_marks[] = {
    { RH_CHAT_GEMMA, "<start_of_turn>", "<end_of_turn>" },
    { RH_CHAT_CHATML, "<|im_start|>", "<|im_end|>" },
    { RH_CHAT_LLAMA3, "<|start_header_id|>", "<|eot_id|>" },
};
enum { N_CHAT_MARKS = sizeof chat_marks / sizeof *chat_marks };

/* Turns that begin as a family's do, and go on otherwise: Phi-4's header ends in a token of its
 * own, SmolLM3's system text is put together from the date and settings. */
static bool is_other(rh_bytes template, rh_chat chat)
{
    return chat == RH_CHAT_CHATML && (has(template, "<|im_sep|>") || has(template, "strftime_now"));
}

rh_chat rh_tokenizer_chat(const rh_tokenizer *t)
{
    for (int i = 0; i < N_CHAT_MARKS; i++) {
        const struct mark *m = &chat_marks[i];
        if (t->chat_template.len && !has(t->chat_template, m->begins)) continue;
        if (is_other(t->chat_template, m->chat)) continue;
        if (rh_tokenizer_find(t, m->begins) >= 0 && rh_tokenizer_find(t, m->ends) >= 0) return m->chat;
    }
    return RH_CHAT_NONE;
}

int rh_chat_stops(const rh_tokenizer *t, rh_chat c, int32_t out[8])
{
    static const char *const stops[][4] = {
        [RH_CHAT_NONE] = { NULL },
        [RH_CHAT_GEMMA] = { "<end_of_turn>", NULL },
        [RH_CHAT_CHATML] = { "<|im_end|>", "<|endoftext|>", NULL },
        [RH_CHAT_LLAMA3] = { "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", NULL },
    };
    int n = 0;
    if (t->eos >= 0) out[n++] = t->eos;
    for (int i = 0; i < 4 && stops[c][i]; i++) {
        int32_t id = rh_tokenizer_find(t, stops[c][i]);
        bool there = id < 0;
        for (int j = 0; j < n; j++) there |= out[j] == id;
        if (!there) out[n++] = id;
    }
    return n;
}

/* A Jinja string literal's inside, unescaped. */
static void unescape(rh_str *out, rh_bytes literal)
{
    for (size_t i = 0; i < literal.len; i++) {
        char c = literal.data[i];
        if (c == '\\' && i + 1 < literal.len) {
            c = literal.data[++i];
            if (c == 'n') c = '\n';
            else if (c == 't') c = '\t';
        }
        rh_str_add(out, &c, 1);
    }
}

/* The system text a ChatML template puts in if there is none: the first literal that spells a
 * whole system turn, '<|im_start|>system\n...<|im_end|>', with nothing computed inside. */
static bool default_system(rh_str *out, rh_bytes template)
{
    static const char open[] = "<|im_start|>system";
    for (size_t at = find_in(template, 0, open); at < template.len;
         at = find_in(template, at + 1, open)) {
        size_t from = at + strlen(open);
        if (from < template.len && template.data[from] == '\n') from++;
        else if (from + 1 < template.len && memcmp(template.data + from, "\\n", 2) == 0) from += 2;
        else
            continue;
        size_t end = find_in(template, from, "<|im_end|>");
        char quote = at ? template.data[at - 1] : 0;
        char closes = quote == '\'' || quote == '"' ? quote : '{';
        bool computed = end == template.len;
        for (size_t i = from; i < end && !computed; i++) {
            if (template.data[i] == '\\' && closes != '{') i++;
            else
                computed = template.data[i] == closes;
        }
        if (computed) continue;
        rh_bytes literal = { template.data + from, end - from };
        if (closes == '{') rh_str_add(out, literal.data, literal.len);
        else
            unescape(out, literal);
        return true;
    }
    return false;
}

/* ---- building ------------------------------------------------------------------------------------- */

typedef struct turn { /* what is being built */
    const rh_tokenizer *t;
    rh_bytes template; /* the model's own, if it is of this family; else length 0 */
    rh_tokens *out;
    bool special;
    const rh_chat_turn *before; /* [n_before] */
    int32_t n_before;
    const char *user; /* trimmed if the template trims */
    size_t user_len;
    int32_t user_at;  /* its offset in the caller's text */
    size_t user_begin, user_end;
    rh_error *err;
} turn;

static rh_status put_control(turn *u, const char *piece)
{
    int32_t id = rh_tokenizer_find(u->t, piece);
    if (id < 0)
        return rh_fail(u->err, RH_EFORMAT, "the chat template needs the token %s, which the "
                       "vocabulary has not", piece);
    return rh_tokens_push(u->out, (rh_token){ id, 0, 0 }, u->err);
}

/* Does the template put BOS in front? Where there is none, the family's own does or does not. */
static bool has_bos(const turn *u, bool family)
{
    const rh_bytes template = u->template;
    if (!template.len) return family;
    if (has(template, "bos_token")) return true;
    const rh_bytes bos = rh_token_piece(u->t, u->t->bos); /* or spelled out */
    for (size_t i = 0; bos.len && i + bos.len <= template.len; i++)
        if (memcmp(template.data + i, bos.data, bos.len) == 0) return !has(template, "<|im_start|>");
    return false;
}

static rh_status put_bos(turn *u, bool family)
{
    return u->t->bos < 0 || !has_bos(u, family) ? RH_OK : rh_tokens_push(u->out, (rh_token){ u->t->bos, 0, 0 }, u->err);
}

static rh_status put_bytes(turn *u, const char *text, size_t len)
{
    size_t from = u->out->n;
    RH_TRY(rh_tokenize_part(u->t, u->out, text, len, u->special, false, 0, u->err));
    for (size_t i = from; i < u->out->n; i++) u->out->items[i].start = u->out->items[i].end = 0;
    return RH_OK;
}

static rh_status put_text(turn *u, const char *text)
{
    return put_bytes(u, text, strlen(text));
}

/* `before` and the user's text as one string; a token over both counts as the user's, and
 * covers what it has of them. */
static rh_status put_user(turn *u, const char *before, size_t before_len)
{
    rh_status status;
    rh_str s = { 0 };
    size_t from = u->out->n;
    rh_str_add(&s, before, before_len);
    rh_str_add(&s, u->user, u->user_len);
    if (s.failed || before_len > INT32_MAX) {
        rh_str_free(&s);
        return rh_fail_nomem(u->err);
    }
    status = rh_tokenize_part(u->t, u->out, s.data ? s.data : "", s.len, u->special, false, 0, u->err);
    rh_str_free(&s);
    if (status) return status;
    int32_t shift = (int32_t)before_len;
    u->user_begin = u->user_end = u->out->n;
    for (size_t i = from; i < u->out->n; i++) {
        rh_token *k = &u->out->items[i];
        if (k->end <= shift) {
            k->start = k->end = 0;
            continue;
        }
        if (u->user_begin == u->out->n) u->user_begin = i;
        k->start = (k->start > shift ? k->start - shift : 0) + u->user_at;
        k->end += u->user_at - shift;
    }
    return RH_OK;
}

/* Python's str.strip(), which Jinja's trim is. */
static bool is_space(uint32_t c)
{
    return rh_is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

static rh_bytes trimmed(const char *text, size_t len)
{
    size_t begin = len, end = len; /* end: after the last character that is no space */
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t cp;
        n = rh_utf8_next(&cp, text + i, len - i);
        if (!n) n = 1; /* rh_tokenize will say so */
        if (is_space(cp)) continue;
        if (begin == len) begin = i;
        end = i + n;
    }
    return (rh_bytes){ text + begin, end - begin };
}

static void trim_user(turn *u)
{
    rh_bytes b = trimmed(u->user, u->user_len);
    u->user_at = (int32_t)(b.data - u->user);
    u->user = b.data;
    u->user_len = b.len;
}

/* `head` and an earlier turn's text as one string. */
static rh_status put_earlier(turn *u, const char *head, const rh_chat_turn *k, bool trim)
{
    rh_str s = { 0 };
    const rh_bytes text = trim ? trimmed(k->text, k->len) : (rh_bytes){ k->text, k->len };
    rh_str_puts(&s, head);
    rh_str_add(&s, text.data, text.len);
    rh_status status = s.failed ? rh_fail_nomem(u->err) : put_bytes(u, s.data ? s.data : "", s.len);
    rh_str_free(&s);
    return status;
}

/* Gemma's template refuses two turns of one side in a row. */
static rh_status alternates(const turn *u)
{
    for (int32_t i = 0; i <= u->n_before; i++) {
        bool assistant = i < u->n_before && u->before[i].assistant;
        if (assistant == (i % 2 == 1)) continue;
        return rh_hinted(rh_fail(u->err, RH_EVALUE, "turn %d of the chat is the %s's, and this model's template takes user and "
                                 "assistant in turn", i + 1, assistant ? "assistant" : "user"),
                         u->err, "begin with the user, and join turns of one side");
    }
    return RH_OK;
}

/* Earlier turns; `system` is in front of the first. */
static rh_status gemma_before(turn *u, const char *system)
{
    for (int32_t i = 0; i < u->n_before; i++) {
        rh_str head = { 0 };
        rh_str_puts(&head, u->before[i].assistant ? "model\n" : "user\n");
        if (i == 0 && system && *system) rh_str_printf(&head, "%s\n\n", system);
        rh_status status = head.failed ? rh_fail_nomem(u->err) : put_control(u, "<start_of_turn>");
        if (!status) status = put_earlier(u, head.data, &u->before[i], true);
        rh_str_free(&head);
        if (status) return status;
        RH_TRY(put_control(u, "<end_of_turn>"));
        RH_TRY(put_text(u, "\n"));
    }
    return RH_OK;
}

/* <bos><start_of_turn>user\n[system\n\n]text<end_of_turn>\n<start_of_turn>model\n */
static rh_status gemma(turn *u, const char *system)
{
    RH_TRY(alternates(u));
    if (system && *system && has(u->template, "System role not supported")) {
        return rh_hinted(rh_fail(u->err, RH_EUNSUPPORTED, "this model's chat template has no system text"),
                         u->err, "put it in front of the prompt");
    }
    rh_str before = { 0 };
    rh_str_puts(&before, "user\n");
    if (!u->n_before && system && *system) rh_str_printf(&before, "%s\n\n", system);
    trim_user(u);
    rh_status status = before.failed ? rh_fail_nomem(u->err) : put_bos(u, true);
    if (!status) status = gemma_before(u, system);
    if (!status) status = put_control(u, "<start_of_turn>");
    if (!status) status = put_user(u, before.data, before.len);
    rh_str_free(&before);
    if (status) return status;
    RH_TRY(put_control(u, "<end_of_turn>"));
    RH_TRY(put_text(u, "\n"));
    RH_TRY(put_control(u, "<start_of_turn>"));
    return put_text(u, "model\n");
}

/* "content'] | trim" or "content | trim": most ChatML templates take the text as it is. */
static bool trims_content(rh_bytes template)
{
    for (size_t at = find_in(template, 0, "content"); at < template.len; at = find_in(template, at + 1, "content")) {
        size_t i = at + strlen("content");
        while (i < template.len && template.data[i] && strchr("'\"] |", template.data[i])) i++;
        if (memchr(template.data + at, '|', i - at) && i + 4 <= template.len && !memcmp(template.data + i, "trim", 4)) return true;
    }
    return false;
}

static rh_status chatml_system(turn *u, const char *system)
{
    rh_str text = { 0 };
    rh_status status = RH_OK;
    bool there = system ? *system != 0 : false;
    rh_str_puts(&text, "system\n");
    const rh_bytes given = there && trims_content(u->template) ? trimmed(system, strlen(system))
                                                                      : (rh_bytes){ system, there ? strlen(system) : 0 };
    if (there) rh_str_add(&text, given.data, given.len);
    else if (!system)
        there = default_system(&text, u->template);
    if (text.failed) status = rh_fail_nomem(u->err);
    if (!status && there) {
        status = put_control(u, "<|im_start|>");
        if (!status) status = put_bytes(u, text.data, text.len);
        if (!status) status = put_control(u, "<|im_end|>");
        if (!status) status = put_text(u, "\n");
    }
    rh_str_free(&text);
    return status;
}

/* [<|im_start|>system\n…<|im_end|>\n]<|im_start|>user\ntext<|im_end|>\n<|im_start|>assistant\n */
static rh_status chatml(turn *u, const char *system)
{
    RH_TRY(put_bos(u, false));
    if (trims_content(u->template)) trim_user(u);
    RH_TRY(chatml_system(u, system));
    for (int32_t i = 0; i < u->n_before; i++) {
        const rh_chat_turn *k = &u->before[i];
        RH_TRY(put_control(u, "<|im_start|>"));
        RH_TRY(put_earlier(u, k->assistant ? "assistant\n" : "user\n", k, trims_content(u->template)));
        RH_TRY(put_control(u, "<|im_end|>"));
        RH_TRY(put_text(u, "\n"));
    }
    RH_TRY(put_control(u, "<|im_start|>"));
    RH_TRY(put_user(u, "user\n", 5));
    RH_TRY(put_control(u, "<|im_end|>"));
    RH_TRY(put_text(u, "\n"));
    RH_TRY(put_control(u, "<|im_start|>"));
    return put_text(u, "assistant\n");
}

static rh_status llama3_header(turn *u, const char *role)
{
    RH_TRY(put_control(u, "<|start_header_id|>"));
    RH_TRY(put_text(u, role));
    return put_control(u, "<|end_header_id|>");
}

/* <|begin_of_text|>, then each turn <|start_header_id|>role<|end_header_id|>\n\ntext<|eot_id|>.
 * Llama 3.1 and later always have a system turn with two dates; today's is the template's own
 * default, so that a prompt is the same every day. */
static rh_status llama3(turn *u, const char *system)
{
    rh_str text = { 0 };
    bool dates = has(u->template, "Cutting Knowledge Date: December 2023");
    rh_str_puts(&text, "\n\n");
    if (dates)
        rh_str_puts(&text, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    if (system) {
        rh_bytes b = trimmed(system, strlen(system));
        rh_str_add(&text, b.data, b.len);
    }
    rh_status status = text.failed ? rh_fail_nomem(u->err) : put_bos(u, true);
    if (!status && (dates || (system && *system))) {
        status = llama3_header(u, "system");
        if (!status) status = put_bytes(u, text.data, text.len);
        if (!status) status = put_control(u, "<|eot_id|>");
    }
    rh_str_free(&text);
    if (status) return status;
    trim_user(u);
    for (int32_t i = 0; i < u->n_before; i++) {
        RH_TRY(llama3_header(u, u->before[i].assistant ? "assistant" : "user"));
        RH_TRY(put_earlier(u, "\n\n", &u->before[i], true));
        RH_TRY(put_control(u, "<|eot_id|>"));
    }
    RH_TRY(llama3_header(u, "user"));
    RH_TRY(put_user(u, "\n\n", 2));
    RH_TRY(put_control(u, "<|eot_id|>"));
    RH_TRY(llama3_header(u, "assistant"));
    return put_text(u, "\n\n");
}

/* Templates of models that think cut the thoughts out of earlier turns, each in its way. */
static rh_status no_thoughts(const turn *u)
{
    for (int32_t i = 0; i < u->n_before && has(u->template, "</think>"); i++)
        if (u->before[i].assistant && has((rh_bytes){ u->before[i].text, u->before[i].len }, "</think>"))
            return rh_hinted(rh_fail(u->err, RH_EUNSUPPORTED, "turn %d of the chat holds thoughts, which this model's template "
                                     "leaves out", i + 1), u->err, "give it from behind </think> on");
    return RH_OK;
}

rh_status rh_chat_prompt(const rh_tokenizer *t, rh_chat c, rh_tokens *out, const char *system,
                         const char *user, size_t user_len, bool special, size_t *user_begin,
                         size_t *user_end, rh_error *err)
{
    return rh_chat_prompt_after(t, c, out, system, NULL, 0, user, user_len, special, user_begin, user_end, err);
}

rh_status rh_chat_prompt_after(const rh_tokenizer *t, rh_chat c, rh_tokens *out, const char *system,
                               const rh_chat_turn *before, int32_t n_before, const char *user, size_t user_len,
                               bool special, size_t *user_begin, size_t *user_end, rh_error *err)
{
    turn u = { .t = t, .out = out, .special = special, .before = before, .n_before = n_before, .user = user,
               .user_len = user_len, .err = err };
    size_t had = out->n;
    rh_status status = RH_OK;
    if (c == rh_tokenizer_chat(t)) u.template = t->chat_template;
    if (user_len > INT32_MAX / 2)
        return rh_fail(err, RH_ELIMIT, "a text of %zu bytes is too long", user_len);
    size_t valid = rh_utf8_valid(user, user_len);
    if (valid < user_len) /* here, because rh_tokenize would count our own words too */
        return rh_fail(err, RH_EVALUE, "the text is not valid UTF-8: byte 0x%02x at offset %zu",
                       (unsigned char)user[valid], valid);
    RH_TRY(no_thoughts(&u));
    switch (c) {
    case RH_CHAT_GEMMA: status = gemma(&u, system); break;
    case RH_CHAT_CHATML: status = chatml(&u, system); break;
    case RH_CHAT_LLAMA3: status = llama3(&u, system); break;
    case RH_CHAT_NONE:
        status = rh_fail(err, RH_EUNSUPPORTED, "the model has no chat template of a known family");
        rh_hint(err, "leave --chat out, or spell the turns with --special");
        break;
    }
    if (status) {
        out->n = had;
        return status;
    }
    *user_begin = u.user_begin;
    *user_end = u.user_end;
    return RH_OK;
}

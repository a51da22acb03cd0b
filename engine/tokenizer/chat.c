/* chat.c - a chat that ends in a user's turn, in the words of a model's family. */
#include "engine/tokenizer/chat.h"

#include <string.h>

#include "base/utf8.h"

static const char *const names[] = { "none", "gemma", "chatml", "llama3", "mistral" };

const char *rh_chat_name(rh_chat c)
{
    return names[c];
}

int rh_chat_stops(const rh_tokenizer *t, rh_chat c, int32_t out[8])
{
    static const char *const stops[][4] = {
        [RH_CHAT_NONE] = { NULL },
        [RH_CHAT_GEMMA] = { "<end_of_turn>", NULL },
        [RH_CHAT_CHATML] = { "<|im_end|>", "<|endoftext|>", NULL },
        [RH_CHAT_LLAMA3] = { "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", NULL },
        [RH_CHAT_MISTRAL] = { NULL },
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

static rh_status put_bos(rh_chat_line *l, bool family)
{
    return l->t->bos >= 0 && rh_template_has_bos(l->template, l->t, family) ? rh_chat_put(l, l->t->bos) : RH_OK;
}

static rh_bytes bytes_of(const char *text) { return (rh_bytes){ text ? text : "", text ? strlen(text) : 0 }; }

/* <bos>, then each turn <start_of_turn>role\n[system\n\n]text<end_of_turn>\n */
static rh_status gemma(rh_chat_line *l, const char *system)
{
    RH_TRY(rh_chat_alternates(l));
    if (system && *system && rh_bytes_have(l->template, "System role not supported"))
        return rh_hinted(rh_fail(l->err, RH_EUNSUPPORTED, "this model's chat template has no system text"),
                         l->err, "put it in front of the prompt");
    RH_TRY(put_bos(l, true));
    for (int32_t i = 0; i <= l->n_before; i++) {
        RH_TRY(rh_chat_control(l, "<start_of_turn>"));
        rh_chat_add(l, rh_chat_is_assistant(l, i) ? "model\n" : "user\n");
        if (i == 0 && system && *system) {
            rh_chat_add(l, system);
            rh_chat_add(l, "\n\n");
        }
        rh_chat_add_turn(l, i, true);
        RH_TRY(rh_chat_control(l, "<end_of_turn>"));
        rh_chat_add(l, "\n");
    }
    RH_TRY(rh_chat_control(l, "<start_of_turn>"));
    rh_chat_add(l, "model\n");
    return RH_OK;
}

static rh_status chatml_system(rh_chat_line *l, const char *system)
{
    rh_str own = { 0 };
    const bool there = system ? *system != 0 : rh_template_system(&own, l->template);
    rh_status status = own.failed ? rh_fail_nomem(l->err) : RH_OK;
    if (there && !status) status = rh_chat_control(l, "<|im_start|>");
    if (there && !status) {
        rh_chat_add(l, "system\n");
        if (!system) rh_chat_add_bytes(l, (rh_bytes){ own.data ? own.data : "", own.len });
        else
            rh_chat_add_bytes(l, rh_template_trims(l->template) ? rh_chat_trimmed(bytes_of(system)) : bytes_of(system));
        status = rh_chat_control(l, "<|im_end|>");
        rh_chat_add(l, "\n");
    }
    rh_str_free(&own);
    return status;
}

/* [<|im_start|>system\n…<|im_end|>\n], then each turn <|im_start|>role\ntext<|im_end|>\n */
static rh_status chatml(rh_chat_line *l, const char *system)
{
    RH_TRY(put_bos(l, false));
    RH_TRY(chatml_system(l, system));
    for (int32_t i = 0; i <= l->n_before; i++) {
        RH_TRY(rh_chat_control(l, "<|im_start|>"));
        rh_chat_add(l, rh_chat_is_assistant(l, i) ? "assistant\n" : "user\n");
        rh_chat_add_turn(l, i, rh_template_trims(l->template));
        RH_TRY(rh_chat_control(l, "<|im_end|>"));
        rh_chat_add(l, "\n");
    }
    RH_TRY(rh_chat_control(l, "<|im_start|>"));
    rh_chat_add(l, "assistant\n");
    return RH_OK;
}

static rh_status llama3_header(rh_chat_line *l, const char *role)
{
    RH_TRY(rh_chat_control(l, "<|start_header_id|>"));
    rh_chat_add(l, role);
    RH_TRY(rh_chat_control(l, "<|end_header_id|>"));
    rh_chat_add(l, "\n\n");
    return RH_OK;
}

/* <|begin_of_text|>, then each turn <|start_header_id|>role<|end_header_id|>\n\ntext<|eot_id|>.
 * Llama 3.1 and later always have a system turn with two dates; today's is the template's own
 * default, so that a prompt is the same every day. */
static rh_status llama3(rh_chat_line *l, const char *system)
{
    const bool dates = rh_bytes_have(l->template, "Cutting Knowledge Date: December 2023");
    RH_TRY(put_bos(l, true));
    if (dates || (system && *system)) {
        RH_TRY(llama3_header(l, "system"));
        if (dates) rh_chat_add(l, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
        rh_chat_add_bytes(l, rh_chat_trimmed(bytes_of(system)));
        RH_TRY(rh_chat_control(l, "<|eot_id|>"));
    }
    for (int32_t i = 0; i <= l->n_before; i++) {
        RH_TRY(llama3_header(l, rh_chat_is_assistant(l, i) ? "assistant" : "user"));
        rh_chat_add_turn(l, i, true);
        RH_TRY(rh_chat_control(l, "<|eot_id|>"));
    }
    return llama3_header(l, "assistant");
}

/* Templates of models that think cut the thoughts out of earlier turns, each in its way. */
static rh_status no_thoughts(const rh_chat_line *l)
{
    for (int32_t i = 0; i < l->n_before && rh_bytes_have(l->template, "</think>"); i++)
        if (l->before[i].assistant && rh_bytes_have((rh_bytes){ l->before[i].text, l->before[i].len }, "</think>"))
            return rh_hinted(rh_fail(l->err, RH_EUNSUPPORTED, "turn %d of the chat holds thoughts, which this model's template "
                                     "leaves out", i + 1), l->err, "give it from behind </think> on");
    return RH_OK;
}

static rh_status spell(rh_chat_line *l, rh_chat c, const char *system)
{
    RH_TRY(no_thoughts(l));
    switch (c) {
    case RH_CHAT_GEMMA: RH_TRY(gemma(l, system)); break;
    case RH_CHAT_CHATML: RH_TRY(chatml(l, system)); break;
    case RH_CHAT_LLAMA3: RH_TRY(llama3(l, system)); break;
    case RH_CHAT_MISTRAL: RH_TRY(rh_inst_chat(l, system)); break;
    case RH_CHAT_NONE:
        return rh_hinted(rh_fail(l->err, RH_EUNSUPPORTED, "the model has no chat template of a known family"), l->err,
                         "leave --chat out, or spell the turns with --special");
    }
    return rh_chat_flush(l);
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
    rh_chat_line l = { .t = t, .out = out, .had = out->n, .special = special, .before = before, .n_before = n_before,
                       .user = { user, user_len }, .err = err };
    if (c == rh_tokenizer_chat(t)) l.template = t->chat_template;
    if (user_len > INT32_MAX / 2)
        return rh_fail(err, RH_ELIMIT, "a text of %zu bytes is too long", user_len);
    size_t valid = rh_utf8_valid(user, user_len);
    if (valid < user_len) /* here, because rh_tokenize would count our own words too */
        return rh_fail(err, RH_EVALUE, "the text is not valid UTF-8: byte 0x%02x at offset %zu",
                       (unsigned char)user[valid], valid);
    rh_status status = spell(&l, c, system);
    rh_str_free(&l.text);
    if (status) {
        out->n = l.had;
        return status;
    }
    *user_begin = l.user_begin;
    *user_end = l.user_end;
    return RH_OK;
}

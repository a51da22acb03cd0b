/* chat_template.c - a model's chat template, recognised by the control tokens and the words in it. */
#include <string.h>

#include "engine/tokenizer/chat.h"

size_t rh_bytes_find(rh_bytes b, size_t from, const char *needle)
{
    size_t n = strlen(needle);
    for (size_t i = from; i + n <= b.len; i++)
        if (memcmp(b.data + i, needle, n) == 0) return i;
    return b.len;
}

bool rh_bytes_have(rh_bytes b, const char *needle)
{
    return rh_bytes_find(b, 0, needle) < b.len;
}

static const struct mark {
    rh_chat chat;
    const char *begins, *ends; /* control tokens around a turn */
} chat_marks[] = {
    { RH_CHAT_GEMMA, "<start_of_turn>", "<end_of_turn>" },
    { RH_CHAT_CHATML, "<|im_start|>", "<|im_end|>" },
    { RH_CHAT_LLAMA3, "<|start_header_id|>", "<|eot_id|>" },
    { RH_CHAT_MISTRAL, "[INST]", "[/INST]" },
};
enum { N_CHAT_MARKS = sizeof chat_marks / sizeof *chat_marks };

/* Turns that begin as a family's do, and go on otherwise: Phi-4's header ends in a token of its
 * own, SmolLM3's system text is put together from the date and settings. */
static bool is_other(rh_bytes template, rh_chat chat)
{
    return chat == RH_CHAT_CHATML && (rh_bytes_have(template, "<|im_sep|>") || rh_bytes_have(template, "strftime_now"));
}

rh_chat rh_tokenizer_chat(const rh_tokenizer *t)
{
    rh_inst inst;
    for (int i = 0; i < N_CHAT_MARKS; i++) {
        const struct mark *m = &chat_marks[i];
        if (t->chat_template.len && !rh_bytes_have(t->chat_template, m->begins)) continue;
        if (is_other(t->chat_template, m->chat)) continue;
        if (m->chat == RH_CHAT_MISTRAL && t->chat_template.len) { /* before v0.3 its marks are plain text */
            if (rh_inst_read(&inst, t->chat_template)) return m->chat;
            continue;
        }
        if (rh_tokenizer_find(t, m->begins) >= 0 && rh_tokenizer_find(t, m->ends) >= 0) return m->chat;
    }
    return RH_CHAT_NONE;
}

bool rh_template_has_bos(rh_bytes template, const rh_tokenizer *t, bool family)
{
    if (!template.len) return family;
    if (rh_bytes_have(template, "bos_token")) return true;
    const rh_bytes bos = rh_token_piece(t, t->bos); /* or spelled out */
    for (size_t i = 0; bos.len && i + bos.len <= template.len; i++)
        if (memcmp(template.data + i, bos.data, bos.len) == 0) return !rh_bytes_have(template, "<|im_start|>");
    return false;
}

bool rh_template_trims(rh_bytes template)
{
    for (size_t at = rh_bytes_find(template, 0, "content"); at < template.len; at = rh_bytes_find(template, at + 1, "content")) {
        size_t i = at + strlen("content");
        while (i < template.len && template.data[i] && strchr("'\"] |", template.data[i])) i++;
        if (memchr(template.data + at, '|', i - at) && i + 4 <= template.len && !memcmp(template.data + i, "trim", 4)) return true;
    }
    return false;
}

void rh_jinja_unescape(rh_str *out, rh_bytes literal)
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

/* The first literal that spells a whole system turn, '<|im_start|>system\n...<|im_end|>', with
 * nothing computed inside. */
bool rh_template_system(rh_str *out, rh_bytes template)
{
    static const char open[] = "<|im_start|>system";
    for (size_t at = rh_bytes_find(template, 0, open); at < template.len; at = rh_bytes_find(template, at + 1, open)) {
        size_t from = at + strlen(open);
        if (from < template.len && template.data[from] == '\n') from++;
        else if (from + 1 < template.len && memcmp(template.data + from, "\\n", 2) == 0) from += 2;
        else
            continue;
        size_t end = rh_bytes_find(template, from, "<|im_end|>");
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
            rh_jinja_unescape(out, literal);
        return true;
    }
    return false;
}

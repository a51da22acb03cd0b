/* chat_inst.c - [INST] … [/INST]. Mistral's models and Llama 2 differ in spaces, in BOS, in where a system
 * text stands, and revisions of one model differ too; but each template's outputs are sums of literals
 * and texts, which say all of it:
 *
 *     {{ ' [INST] ' + message['content'] + ' [/INST]' }}      {{ ' ' + message['content'] | trim + eos_token }}
 *
 * What is not such a sum, and bears on a chat without tools, makes the template unknown. */
#include <string.h>

#include "engine/tokenizer/chat.h"

enum { MAX_TERMS = sizeof((rh_chat_phrase){ 0 }).terms / sizeof(rh_chat_term) };

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* ---- blocks ----------------------------------------------------------------------------------- */

typedef struct block { /* {{ output }}, {% statement %}, {# comment #} */
    char kind;         /* '{', '%', '#'; 0: the template's beginning or end */
    rh_bytes inside;
    size_t begin, end;
    bool strips_left, strips_right; /* {%- and -%} */
} block;

/* The first block at or behind `from`. False: one that does not end. */
static bool next_block(block *out, rh_bytes t, size_t from)
{
    size_t i = from;
    while (i + 2 <= t.len && !(t.data[i] == '{' && memchr("{%#", t.data[i + 1], 3))) i++;
    if (i + 2 > t.len) {
        *out = (block){ .begin = t.len, .end = t.len };
        return true;
    }
    const char kind = t.data[i + 1], closes = kind == '{' ? '}' : kind;
    char quote = 0;
    size_t end = i + 2;
    for (; end + 2 <= t.len; end++) {
        const char c = t.data[end];
        if (quote && c == '\\') end++;
        else if (quote) quote = c == quote ? 0 : quote;
        else if (kind != '#' && (c == '\'' || c == '"')) quote = c;
        else if (c == closes && t.data[end + 1] == '}') break;
    }
    if (end + 2 > t.len) return false;
    *out = (block){ .kind = kind, .begin = i, .end = end + 2, .inside = { t.data + i + 2, end - i - 2 } };
    out->strips_left = out->inside.len && out->inside.data[0] == '-';
    out->strips_right = out->inside.len > 1 && out->inside.data[out->inside.len - 1] == '-';
    out->inside.data += out->strips_left;
    out->inside.len -= (size_t)out->strips_left + out->strips_right;
    return true;
}

/* Does what stands between two blocks add nothing? With transformers' settings: trim_blocks, lstrip_blocks. */
static bool is_silent(rh_bytes t, const block *left, const block *right)
{
    size_t from = left->end, to = right->begin;
    if (left->strips_right)
        while (from < to && is_blank(t.data[from])) from++;
    else if ((left->kind == '%' || left->kind == '#') && from < to && t.data[from] == '\n') from++;
    if (right->strips_left)
        while (to > from && is_blank(t.data[to - 1])) to--;
    else if (right->kind == '%' || right->kind == '#') {
        size_t line = to;
        while (line > left->end && (t.data[line - 1] == ' ' || t.data[line - 1] == '\t')) line--;
        if ((line == 0 || t.data[line - 1] == '\n') && line >= from) to = line;
    } else if (!right->kind && to > from && t.data[to - 1] == '\n') to--;
    return from >= to;
}

/* ---- sums of texts ------------------------------------------------------------------------------ */

static void skip_blanks(rh_bytes *e)
{
    while (e->len && is_blank(*e->data)) e->data++, e->len--;
}

static bool take(rh_bytes *e, const char *word)
{
    const size_t n = strlen(word);
    if (e->len < n || memcmp(e->data, word, n) != 0) return false;
    e->data += n;
    e->len -= n;
    return true;
}

static bool take_literal(rh_chat_term *out, rh_bytes *e)
{
    const char quote = e->len ? *e->data : 0;
    if (quote != '\'' && quote != '"') return false;
    for (size_t i = 1; i < e->len; i++) {
        if (e->data[i] == '\\') i++;
        else if (e->data[i] == quote) {
            *out = (rh_chat_term){ .kind = RH_TERM_LITERAL, .literal = { e->data + 1, i - 1 } };
            e->data += i + 1;
            e->len -= i + 1;
            return true;
        }
    }
    return false;
}

static bool take_term(rh_chat_term *out, rh_bytes *e)
{
    static const struct { const char *word; int kind; } words[] = {
        { "message['content']", RH_TERM_CONTENT }, { "message[\"content\"]", RH_TERM_CONTENT }, { "message.content", RH_TERM_CONTENT },
        { "content", RH_TERM_CONTENT },            { "system_message", RH_TERM_SYSTEM },        { "bos_token", RH_TERM_BOS },
        { "eos_token", RH_TERM_EOS },
    };
    if (take_literal(out, e)) return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!take(e, words[i].word)) continue;
        *out = (rh_chat_term){ .kind = words[i].kind };
        rh_bytes filter = *e;
        skip_blanks(&filter);
        if (take(e, ".strip()")) out->trimmed = true;
        else if (take(&filter, "|")) {
            skip_blanks(&filter);
            out->trimmed = take(&filter, "trim");
            *e = filter;
            return out->trimmed;
        }
        return true;
    }
    return false;
}

/* term + term + … */
static bool read_phrase(rh_chat_phrase *out, rh_bytes e)
{
    *out = (rh_chat_phrase){ 0 };
    do {
        if (out->n == MAX_TERMS) return false;
        skip_blanks(&e);
        if (!take_term(&out->terms[out->n++], &e)) return false;
        skip_blanks(&e);
    } while (take(&e, "+"));
    return e.len == 0;
}

static bool has_kind(const rh_chat_phrase *p, int kind)
{
    for (int i = 0; i < p->n; i++)
        if ((int)p->terms[i].kind == kind) return true;
    return false;
}

static bool has_literal(const rh_chat_phrase *p, const char *text)
{
    for (int i = 0; i < p->n; i++)
        if (p->terms[i].kind == RH_TERM_LITERAL && rh_bytes_have(p->terms[i].literal, text)) return true;
    return false;
}

static bool same_phrase(const rh_chat_phrase *a, const rh_chat_phrase *b)
{
    for (int i = 0; i < a->n && i < b->n; i++) {
        const rh_chat_term *x = &a->terms[i], *y = &b->terms[i];
        if (x->kind != y->kind || x->trimmed != y->trimmed || x->literal.len != y->literal.len) return false;
        if (x->literal.len && memcmp(x->literal.data, y->literal.data, x->literal.len) != 0) return false;
    }
    return a->n == b->n;
}

/* ---- a template ----------------------------------------------------------------------------------- */

static bool keep(rh_chat_phrase *slot, const rh_chat_phrase *p)
{
    if (slot->n) return same_phrase(slot, p);
    *slot = *p;
    return true;
}

/* condition: the last if or elif before it. */
static bool read_output(rh_inst *out, rh_bytes inside, rh_bytes condition)
{
    rh_chat_phrase p;
    if (!read_phrase(&p, inside)) /* of tools, or an exception; else something unknown */
        return !rh_bytes_have(inside, "INST]") && !(rh_bytes_have(inside, "content") && rh_bytes_have(inside, "eos_token"));
    const bool content = has_kind(&p, RH_TERM_CONTENT), system = has_kind(&p, RH_TERM_SYSTEM);
    if (p.n == 1 && has_kind(&p, RH_TERM_BOS)) {
        const bool first = !out->bos && !out->user.n && !out->user_system.n;
        return out->bos = true, first;
    }
    if (has_literal(&p, "INST]")) {
        if (!content || !has_literal(&p, "[INST]") || !has_literal(&p, "[/INST]")) return false;
        if (!system) return keep(&out->user, &p);
        out->system_last = rh_bytes_have(condition, "loop.last");
        return keep(&out->user_system, &p);
    }
    if (content && has_kind(&p, RH_TERM_EOS)) return keep(&out->assistant, &p);
    /* Llama 2's has a branch for a system turn that its loop never sees. */
    return !(content || system) || (out->content.n && has_literal(&p, "<<SYS>>"));
}

static bool read_statement(rh_inst *out, rh_bytes inside, rh_bytes *condition)
{
    rh_chat_phrase p;
    const rh_bytes whole = inside;
    skip_blanks(&inside);
    if (take(&inside, "if ") || take(&inside, "elif ")) *condition = whole;
    if (!take(&inside, "set ")) return true;
    skip_blanks(&inside);
    const bool system = take(&inside, "system_message");
    if (!system && !take(&inside, "content")) return true;
    skip_blanks(&inside);
    if (!take(&inside, "=")) return true;
    const bool known = read_phrase(&p, inside);
    /* A system text of the template's own counts unless it is switched off. */
    if (system) return !known || p.terms[0].kind != RH_TERM_LITERAL || rh_bytes_have(*condition, "false == true");
    if (!known) return true;
    if (!has_kind(&p, RH_TERM_SYSTEM)) return p.n == 1 && p.terms[0].kind == RH_TERM_CONTENT;
    return has_literal(&p, "<<SYS>>") && p.terms[0].kind == RH_TERM_LITERAL && keep(&out->content, &p);
}

bool rh_inst_read(rh_inst *out, rh_bytes template)
{
    rh_bytes condition = { "", 0 };
    *out = (rh_inst){ 0 };
    if (!rh_bytes_have(template, "[/INST]")) return false;
    for (block left = { 0 }, b;; left = b) {
        if (!next_block(&b, template, left.end) || !is_silent(template, &left, &b)) return false;
        if (b.kind == '{' && !read_output(out, b.inside, condition)) return false;
        if (b.kind == '%' && !read_statement(out, b.inside, &condition)) return false;
        if (!b.kind) break;
    }
    return out->user.n && out->assistant.n && !(out->content.n && out->user_system.n);
}

/* ---- a chat ------------------------------------------------------------------------------------------ */

/* A literal of the template's, in which the marks are control tokens where the vocabulary has them as such. */
static rh_status put_literal(rh_chat_line *l, rh_bytes literal)
{
    static const char *const marks[] = { "[INST]", "[/INST]" };
    rh_str s = { 0 };
    rh_status status = RH_OK;
    rh_jinja_unescape(&s, literal);
    if (s.failed) status = rh_fail_nomem(l->err);
    for (size_t at = 0; !status && at < s.len;) {
        const rh_bytes all = { s.data, s.len };
        size_t end = s.len, mark = 2;
        for (size_t i = 0; i < 2; i++) {
            const size_t found = rh_bytes_find(all, at, marks[i]);
            if (found >= end || !rh_token_is_control(l->t, rh_tokenizer_find(l->t, marks[i]))) continue;
            end = found;
            mark = i;
        }
        rh_chat_add_bytes(l, (rh_bytes){ s.data + at, end - at });
        at = end;
        if (mark == 2) break;
        status = rh_chat_control(l, marks[mark]);
        at += strlen(marks[mark]);
    }
    rh_str_free(&s);
    return status;
}

typedef struct chat { rh_chat_line *l; const rh_inst *inst; const char *system; } chat;

static rh_status put_phrase(const chat *c, const rh_chat_phrase *p, int32_t turn);

/* Llama 2's text of the first turn has the system text in front, and is trimmed as a whole. */
static rh_status put_content(const chat *c, const rh_chat_term *k, int32_t turn, bool whole)
{
    const size_t from = c->l->text.len;
    if (whole || turn || !c->system || !c->inst->content.n) {
        rh_chat_add_turn(c->l, turn, k->trimmed);
        return RH_OK;
    }
    RH_TRY(put_phrase(c, &c->inst->content, turn));
    if (k->trimmed) rh_chat_trim_end(c->l, from);
    return RH_OK;
}

static rh_status put_term(const chat *c, const rh_chat_phrase *p, const rh_chat_term *k, int32_t turn)
{
    const rh_tokenizer *t = c->l->t;
    switch (k->kind) {
    case RH_TERM_LITERAL: return put_literal(c->l, k->literal);
    case RH_TERM_CONTENT: return put_content(c, k, turn, p == &c->inst->content);
    case RH_TERM_BOS: return t->bos >= 0 ? rh_chat_put(c->l, t->bos) : RH_OK;
    case RH_TERM_EOS: return t->eos >= 0 ? rh_chat_put(c->l, t->eos) : RH_OK;
    case RH_TERM_SYSTEM: break;
    }
    const rh_bytes system = { c->system, strlen(c->system) };
    rh_chat_add_bytes(c->l, k->trimmed ? rh_chat_trimmed(system) : system);
    return RH_OK;
}

static rh_status put_phrase(const chat *c, const rh_chat_phrase *p, int32_t turn)
{
    for (int i = 0; i < p->n; i++) RH_TRY(put_term(c, p, &p->terms[i], turn));
    return RH_OK;
}

/* Where the model has no template of its own, mistral-common's spelling for the kind of its vocabulary. */
static const char *usual(const rh_tokenizer *t)
{
    if (t->bos < 0 || !strcmp(t->kind->name, "byte-level BPE")) /* tekken */
        return "{{ bos_token }}{% if loop.last %}{{ '[INST]' + system_message + '\\n\\n' + content + '[/INST]' }}"
               "{{ '[INST]' + content + '[/INST]' }}{{ content + eos_token }}";
    if (rh_token_is_control(t, rh_tokenizer_find(t, "[INST]"))) /* v0.3 */
        return "{{ bos_token }}{% if loop.last %}{{ '[INST] ' + system_message + '\\n\\n' + content + '[/INST]' }}"
               "{{ '[INST] ' + content + '[/INST]' }}{{ ' ' + content + eos_token }}";
    return "{{ bos_token }}{{ '[INST] ' + system_message + '\\n\\n' + content + ' [/INST]' }}"
           "{{ '[INST] ' + content + ' [/INST]' }}{{ content + eos_token }}";
}

rh_status rh_inst_chat(rh_chat_line *l, const char *system)
{
    rh_inst inst;
    const char *words = usual(l->t);
    const bool own = l->template.len != 0;
    const rh_bytes template = own ? l->template : (rh_bytes){ words, strlen(words) };
    if (!rh_inst_read(&inst, template)) return rh_fail(l->err, RH_EFORMAT, "the chat template has no [INST] that is understood");
    const chat c = { l, &inst, system && *system ? system : NULL };
    if (c.system && !inst.user_system.n && !inst.content.n)
        return rh_hinted(rh_fail(l->err, RH_EUNSUPPORTED, "this model's chat template has no system text"), l->err,
                         "put it in front of the prompt");
    if (!own || rh_bytes_have(template, "raise_exception")) RH_TRY(rh_chat_alternates(l));
    if (inst.bos && l->t->bos >= 0) RH_TRY(rh_chat_put(l, l->t->bos));
    const int32_t with_system = inst.system_last ? l->n_before : 0;
    for (int32_t i = 0; i <= l->n_before; i++) {
        const bool first = c.system && inst.user_system.n && i == with_system;
        RH_TRY(put_phrase(&c, rh_chat_is_assistant(l, i) ? &inst.assistant : first ? &inst.user_system : &inst.user, i));
    }
    return RH_OK;
}

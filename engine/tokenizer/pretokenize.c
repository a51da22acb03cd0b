/* The patterns are those the tokenizers were trained with, as llama.cpp names them: each cuts
 * the pieces that the one before has left, and what none matches is a piece too. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/pattern.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Classes, to be put in brackets. The ranges are characters of Unicode 15 and 15.1, which PCRE2
 * before 10.43 does not know and the reference does. Whitespace is written out because PCRE2's
 * \s has U+180E, which is none. */
#define L                                                                                     \
    "\\p{L}\\x{1123F}-\\x{11240}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}"        \
    "\\x{1342F}\\x{13441}-\\x{13446}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}"               \
    "\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{1E4EB}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}"              \
    "\\x{31350}-\\x{323AF}"
#define N "\\p{N}\\x{11F50}-\\x{11F59}\\x{1D2C0}-\\x{1D2D3}\\x{1E4F0}-\\x{1E4F9}"
#define P "\\p{P}\\x{11B00}-\\x{11B09}\\x{11F43}-\\x{11F4F}"
#define S RH_CLASS_S

#define GPT2_OF(l, n)                                                                         \
    "'s|'t|'re|'ve|'m|'ll|'d| ?[" l "]+| ?[" n "]+| ?[^" S l n "]+|[" S "]+(?![^" S "])|[" S "]+"
#define GPT2 GPT2_OF(L, N)
#define CONTRACTIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define TIKTOKEN(digits)                                                                      \
    CONTRACTIONS "|[^\\r\\n" L N "]?[" L "]+|" digits "| ?[^" S L N "]+[\\r\\n]*|[" S "]*[\\r\\n]+" \
    "|[" S "]+(?![^" S "])|[" S "]+"

#define MAX_LEVELS 4
static const struct family {
    const char *names[10];
    const char *patterns[MAX_LEVELS];
    rh_pre_traits traits;
} families[] = {
    { { "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b" },
      { "[" N "]", GPT2 }, { false, false } },
    { { "gpt-2", "phi-2", "olmo", "mpt", "jais", "gigachat", "trillion", "granite-docling" },
      { GPT2 }, { false, false } },
    { { "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2" },
      { TIKTOKEN("[" N "]{1,3}") }, { true, true } },
    { { "dbrx", "smaug-bpe" }, { TIKTOKEN("[" N "]{1,3}") }, { false, false } },
    { { "qwen2", "deepseek-r1-qwen", "stablelm2" }, { TIKTOKEN("[" N "]") }, { false, false } },
    { { "default" },
      { "[" P "$+<=>^~|]+", GPT2, "[" N "]+", "[0-9][0-9][0-9]" }, { false, false } },
};

struct rh_pretokenizer {
    pcre2_code *levels[RH_MAX_CUT_RULES];
    int n_levels;
};

static const struct family *find_family(const char *name, size_t n)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t i = 0; i < 10 && families[f].names[i]; i++)
            if (strlen(families[f].names[i]) == n && memcmp(families[f].names[i], name, n) == 0)
                return &families[f];
    return NULL;
}

static rh_status compile(pcre2_code **out, const char *pattern, uint32_t options, rh_error *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                  options | PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    if (!c) {
        if (code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY)
            return rh_fail_nomem(err);
        return rh_fail(err, RH_EUNSUPPORTED, "this PCRE2 cannot compile a pattern (error %d at %zu)",
                       code, at);
    }
    pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* without a compiler the interpreter does it */
    *out = c;
    return RH_OK;
}

rh_status rh_pretokenizer_new(rh_pretokenizer **out, rh_pre_traits *traits, const char *name,
                              size_t name_len, rh_error *err)
{
    const struct family *f = find_family(name, name_len);
    if (!f) {
        rh_fail(err, RH_EUNSUPPORTED, "unknown pre-tokenizer '%.*s'",
                (int)(name_len < 64 ? name_len : 64), name);
        rh_hint(err, "tokenizer.ggml.pre may be smollm, gpt-2, llama-bpe, qwen2, default, "
                "or another name of these");
        return RH_EUNSUPPORTED;
    }
    rh_pretokenizer *p = rh_calloc(1, sizeof *p);
    if (!p) return rh_fail_nomem(err);
    for (int i = 0; i < MAX_LEVELS && f->patterns[i]; i++) {
        rh_status status = compile(&p->levels[i], f->patterns[i], 0, err);
        if (status) {
            rh_pretokenizer_free(p);
            return status;
        }
        p->n_levels = i + 1;
    }
    *traits = f->traits;
    *out = p;
    return RH_OK;
}

static rh_status rule_pattern(rh_str *out, const rh_cut_rule *rule, rh_error *err)
{
    switch (rule->kind) {
    case RH_CUT_GPT2: rh_str_puts(out, GPT2_OF(RH_CLASS_L, RH_CLASS_N)); break;
    case RH_CUT_DIGIT: rh_str_puts(out, "[" RH_CLASS_N "]"); break;
    case RH_CUT_DIGITS: rh_str_puts(out, "[" RH_CLASS_N "]+"); break;
    case RH_CUT_REGEX: return rh_pattern_translate(out, rule->text, err);
    case RH_CUT_LITERAL:
        for (const char *c = rule->text; *c; c++) rh_str_printf(out, (unsigned char)*c < 0x80 && !isalnum((unsigned char)*c)
                                                                     ? "\\%c" : "%c", *c);
        break;
    }
    return out->failed ? rh_fail_nomem(err) : RH_OK;
}

/* In Ruby's syntax, which Oniguruma's default is, ^ and $ always mean lines. */
static rh_status compile_rule(pcre2_code **out, const rh_cut_rule *rule, rh_error *err)
{
    rh_str pattern = { 0 };
    uint32_t empty = 0;
    rh_status status = rule_pattern(&pattern, rule, err);
    if (!status) status = compile(out, pattern.data ? pattern.data : "", PCRE2_MULTILINE, err);
    rh_str_free(&pattern);
    if (status) return status;
    pcre2_pattern_info(*out, PCRE2_INFO_MATCHEMPTY, &empty);
    if (!empty) return RH_OK;
    pcre2_code_free(*out);
    *out = NULL;
    return rh_fail(err, RH_EUNSUPPORTED, "a pattern that can match nothing at all is not there yet");
}

rh_status rh_pretokenizer_from_rules(rh_pretokenizer **out, const rh_cut_rule *rules, int n, rh_error *err)
{
    rh_pretokenizer *p = rh_calloc(1, sizeof *p);
    if (!p) return rh_fail_nomem(err);
    for (int i = 0; i < n; i++) {
        rh_status status = compile_rule(&p->levels[i], &rules[i], err);
        if (status) {
            rh_pretokenizer_free(p);
            return status;
        }
        p->n_levels = i + 1;
    }
    *out = p;
    return RH_OK;
}

void rh_pretokenizer_free(rh_pretokenizer *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_levels; i++) pcre2_code_free(p->levels[i]);
    free(p);
}

static rh_status push(rh_ends *ends, size_t end, rh_error *err)
{
    if (!RH_GROW(ends->items, ends->cap, ends->n)) return rh_fail_nomem(err);
    ends->items[ends->n++] = (uint32_t)end;
    return RH_OK;
}

/* The next match in text[from..len): RH_OK with *begin == len if there is none. */
static rh_status next(size_t *begin, size_t *end, const pcre2_code *code, pcre2_match_data *md,
                      const char *text, size_t len, size_t from, rh_error *err)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = pcre2_match(code, subject, len, from, PCRE2_NO_UTF_CHECK, md, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, subject, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, md, NULL);
    *begin = *end = len;
    if (rc == PCRE2_ERROR_NOMATCH) return RH_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return rh_fail_nomem(err);
    if (rc < 0) return rh_fail(err, RH_ELIMIT, "PCRE2 gives up on the text (error %d)", rc);
    const PCRE2_SIZE *match = pcre2_get_ovector_pointer(md);
    *begin = match[0];
    *end = match[1];
    return RH_OK;
}

/* Cut text[from..to) by one pattern; the piece is all the pattern sees. */
static rh_status cut_piece(rh_ends *out, const pcre2_code *code, pcre2_match_data *md,
                           const char *text, size_t from, size_t to, rh_error *err)
{
    const char *piece = text + from;
    size_t len = to - from;
    for (size_t pos = 0; pos < len;) {
        size_t begin, end;
        RH_TRY(next(&begin, &end, code, md, piece, len, pos, err));
        if (begin > pos) RH_TRY(push(out, from + begin, err));
        if (end > begin) RH_TRY(push(out, from + end, err));
        pos = end;
    }
    return RH_OK;
}

rh_status rh_pretokenize(rh_ends *out, const rh_pretokenizer *p, const char *text, size_t len,
                         rh_error *err)
{
    rh_status status;
    rh_ends before = { 0 };
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    if (!md) return rh_fail_nomem(err);
    out->n = 0;
    if ((status = len ? push(out, len, err) : RH_OK)) goto done;
    for (int level = 0; level < p->n_levels; level++) {
        rh_ends swap = before;
        before = *out;
        *out = swap;
        out->n = 0;
        for (size_t i = 0; i < before.n; i++) {
            size_t from = i ? before.items[i - 1] : 0;
            status = cut_piece(out, p->levels[level], md, text, from, before.items[i], err);
            if (status) goto done;
        }
    }
done:
    pcre2_match_data_free(md);
    free(before.items);
    return status;
}

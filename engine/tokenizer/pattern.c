#include "engine/tokenizer/pattern.h"

#include <stdio.h>
#include <string.h>

typedef struct translation {
    const char *at;
    bool in_class;
    rh_str *out;
    rh_error *err;
} translation;

static rh_status refuse(translation *t, int n)
{
    return rh_fail(t->err, RH_EUNSUPPORTED, "a pattern has '%.*s', which is not there yet", n, t->at);
}

static void put_class(translation *t, const char *members, bool negated)
{
    if (!t->in_class) rh_str_puts(t->out, negated ? "[^" : "[");
    rh_str_puts(t->out, members);
    if (!t->in_class) rh_str_puts(t->out, "]");
}

/* \p{L}: with the characters that PCRE2 may be too old for. */
static rh_status property(translation *t)
{
    const char *end = t->at[2] == '{' ? strchr(t->at, '}') : NULL;
    const bool negated = t->at[1] == 'P';
    if (!end || end - t->at > 40) return refuse(t, 3);
    const size_t n = (size_t)(end + 1 - t->at);
    const char letter = n == 5 ? t->at[3] : 0;
    if ((letter == 'L' || letter == 'N') && !(negated && t->in_class))
        put_class(t, letter == 'L' ? RH_CLASS_L : RH_CLASS_N, negated);
    else rh_str_add(t->out, t->at, n);
    t->at += n;
    return RH_OK;
}

static bool is_hex(char c) { return c && strchr("0123456789abcdefABCDEF", c) != NULL; }

static rh_status escape(translation *t)
{
    const char c = t->at[1];
    if (c == 'p' || c == 'P') return property(t);
    if (c == 's' || (c == 'S' && !t->in_class)) {
        put_class(t, RH_CLASS_S, c == 'S');
    } else if (c == 'v') {
        rh_str_puts(t->out, "\\x0B"); /* PCRE2's is a class of them */
    } else if (c == 'u') {
        for (int i = 2; i < 6; i++)
            if (!is_hex(t->at[i])) return refuse(t, 2);
        rh_str_printf(t->out, "\\x{%.4s}", t->at + 2);
        t->at += 6;
        return RH_OK;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || !c || (unsigned char)c >= 0x80) {
        if (!c || !strchr("dDrntfx", c)) return refuse(t, c && (unsigned char)c < 0x80 ? 2 : 1);
        rh_str_add(t->out, t->at, 2);
    } else {
        rh_str_add(t->out, t->at, 2);
    }
    t->at += 2;
    return RH_OK;
}

static rh_status class_character(translation *t)
{
    if (*t->at == '[') return refuse(t, 2);
    if (!strncmp(t->at, "&&", 2)) return refuse(t, 2);
    if (*t->at == ']') t->in_class = false;
    rh_str_add(t->out, t->at++, 1);
    return RH_OK;
}

/* "(?" and what makes a group of it. */
static rh_status group(translation *t)
{
    static const char *const known[] = { "(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i)" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i]);
        if (strncmp(t->at, known[i], n) != 0) continue;
        rh_str_add(t->out, known[i], n);
        t->at += n;
        return RH_OK;
    }
    return refuse(t, 3);
}

static rh_status plain_character(translation *t)
{
    if (!strncmp(t->at, "(?", 2)) return group(t);
    if (!strncmp(t->at, "(*", 2) || !strncmp(t->at, "{,", 2) || !strncmp(t->at, "}+", 2)) return refuse(t, 2);
    if (*t->at == '[') {
        t->in_class = true;
        rh_str_add(t->out, t->at++, 1);
        if (*t->at == '^') rh_str_add(t->out, t->at++, 1);
        if (*t->at == ']') return refuse(t, 1);
        return RH_OK;
    }
    rh_str_add(t->out, t->at++, 1);
    return RH_OK;
}

rh_status rh_pattern_translate(rh_str *out, const char *regex, rh_error *err)
{
    translation t = { .at = regex, .out = out, .err = err };
    while (*t.at)
        RH_TRY(*t.at == '\\' ? escape(&t) : t.in_class ? class_character(&t) : plain_character(&t));
    return out->failed ? rh_fail_nomem(err) : RH_OK;
}

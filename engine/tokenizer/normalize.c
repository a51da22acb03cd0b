#include "engine/tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <uninorm.h>

#include "base/utf8.h"

static uninorm_t form_of(int form)
{
    return form == RH_FORM_NFD ? UNINORM_NFD : form == RH_FORM_NFKC ? UNINORM_NFKC
           : form == RH_FORM_NFKD ? UNINORM_NFKD : UNINORM_NFC;
}

/* The form of bytes [n], malloc'd; NULL: no memory. */
static uint8_t *formed(size_t *n_out, int form, const char *bytes, size_t n)
{
    static const uint8_t nothing[1];
    return u8_normalize(form_of(form), n ? (const uint8_t *)bytes : nothing, n, NULL, n_out);
}

rh_status rh_is_normal(bool *out, int form, const char *text, size_t len, rh_error *err)
{
    size_t n = 0;
    uint8_t *bytes = formed(&n, form, text, len);
    if (!bytes) return rh_fail_nomem(err);
    *out = n == len && !memcmp(bytes, text, n);
    free(bytes);
    return RH_OK;
}

/* Does the character at text[at..at+n) stay apart from text[from..at) when they are put in form?
 * What follows a character of class 0 that is not joined to those before never is, either. */
static rh_status apart(bool *out, int form, const char *text, size_t from, size_t at, size_t n,
                       uint32_t cp, rh_error *err)
{
    *out = false;
    if (at == from || uc_combining_class(cp) != 0) return RH_OK;
    size_t n_left = 0, n_right = 0, n_both = 0;
    uint8_t *left = formed(&n_left, form, text + from, at - from);
    uint8_t *right = formed(&n_right, form, text + at, n);
    uint8_t *both = formed(&n_both, form, text + from, at + n - from);
    const bool ok = left && right && both;
    if (ok)
        *out = n_both == n_left + n_right && !memcmp(both, left, n_left) && !memcmp(both + n_left, right, n_right);
    free(left);
    free(right);
    free(both);
    return ok ? RH_OK : rh_fail_nomem(err);
}

/* Append text[from..to), which no form joins to what is beside it. */
static rh_status add_cluster(rh_normalized *out, size_t *cap, int form, const char *text, size_t from,
                             size_t to, rh_error *err)
{
    size_t n = 0;
    uint8_t *bytes = formed(&n, form, text + from, to - from);
    if (!bytes) return rh_fail_nomem(err);
    rh_status status = RH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        if (!RH_GROW(out->origin, *cap, out->text.len + i + 1)) status = rh_fail_nomem(err);
        else out->origin[out->text.len + i] = (uint32_t)(from + i * (to - from) / n);
    }
    rh_str_add(&out->text, (const char *)bytes, n);
    free(bytes);
    return out->text.failed ? rh_fail_nomem(err) : status;
}

rh_status rh_normalize(rh_normalized *out, int form, const char *text, size_t len, rh_error *err)
{
    rh_status status = RH_OK;
    size_t cap = 0, from = 0;
    *out = (rh_normalized){ 0 };
    for (size_t i = 0, n; i < len && !status; i += n) {
        uint32_t cp;
        bool splits = i > from && (unsigned char)text[i] < 0x80; /* ASCII joins nothing before it */
        n = rh_utf8_next(&cp, text + i, len - i);
        if (!n) n = 1;
        if (!splits) status = apart(&splits, form, text, from, i, n, cp, err);
        if (status || !splits) continue;
        status = add_cluster(out, &cap, form, text, from, i, err);
        from = i;
    }
    if (!status && len) status = add_cluster(out, &cap, form, text, from, len, err);
    if (!status && !RH_GROW(out->origin, cap, out->text.len)) status = rh_fail_nomem(err);
    if (!status) out->origin[out->text.len] = (uint32_t)len;
    else rh_normalized_free(out);
    return status;
}

void rh_normalized_free(rh_normalized *n)
{
    rh_str_free(&n->text);
    free(n->origin);
    *n = (rh_normalized){ 0 };
}

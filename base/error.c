#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Names and texts in a message come from files that may be hostile: what would break UTF-8
 * or command a terminal becomes '?', and a character that was cut off at the end is dropped. */
static void clean(char *s, bool cut)
{
    size_t n = strlen(s), i = 0;
    if (cut) { /* drop an unfinished last character */
        size_t back = 1;
        while (back < 4 && back < n && ((unsigned char)s[n - back] & 0xC0) == 0x80) back++;
        if (n && rh_utf8_valid(s + n - back, back) != back) n -= back;
        s[n] = 0;
    }
    while (i < n) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s + i, n - i);
        bool control = (cp < 0x20 && cp != '\n') || (cp >= 0x7F && cp < 0xA0);
        if (!len || control) {
            if (!len) len = 1;
            memset(s + i, '?', len);
        }
        i += len;
    }
}

/* Formats into a buffer of its own first: the arguments may lie in the very error. */
static void fill(char *out, size_t size, const char *format, va_list args)
{
    char text[2048];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n < 0) n = 0, text[0] = 0;
    size_t len = strlen(text);
    bool cut = (size_t)n > len || len >= size;
    if (len >= size) len = size - 1;
    memcpy(out, text, len);
    out[len] = 0;
    clean(out, cut);
}

rh_status rh_fail(rh_error *err, rh_status code, const char *format, ...)
{
    if (!err) return code;
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    fill(message, sizeof message, format, args);
    va_end(args);
    memset(err, 0, sizeof *err);
    err->code = code;
    memcpy(err->message, message, sizeof message);
    return code;
}

void rh_hint(rh_error *err, const char *format, ...)
{
    if (!err) return;
    va_list args;
    va_start(args, format);
    fill(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

rh_status rh_hinted(rh_status code, rh_error *err, const char *format, ...)
{
    if (!err) return code;
    va_list args;
    va_start(args, format);
    fill(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return code;
}

rh_status rh_in_file(rh_status code, rh_error *err, const char *path)
{
    if (!code || code == RH_ENOMEM || !err || strstr(err->message, path)) return code;
    char message[sizeof err->message], hint[sizeof err->hint];
    memcpy(message, err->message, sizeof message);
    memcpy(hint, err->hint, sizeof hint);
    rh_fail(err, code, "'%s': %s", path, message);
    memcpy(err->hint, hint, sizeof hint);
    return code;
}

void rh_place(rh_error *err, const char *file, int line, int column)
{
    if (!err) return;
    if (file != err->file) {
        size_t n = strlen(file), size = sizeof err->file;
        bool cut = n >= size;
        if (cut) n = size - 1;
        memmove(err->file, file, n);
        err->file[n] = 0;
        clean(err->file, cut);
    }
    err->line = line;
    err->column = column;
}

rh_status rh_fail_errno(rh_error *err, const char *verb, const char *path)
{
    int number = errno;
    char reason[256];
    if (number == ENOMEM) return rh_fail_nomem(err);
    if (strerror_r(number, reason, sizeof reason)) snprintf(reason, sizeof reason, "error %d", number);
    rh_fail(err, RH_EIO, "cannot %s '%s': %s", verb, path, reason);
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        rh_hint(err, "free some space, or write to another disk");
    return RH_EIO;
}

rh_status rh_fail_nomem(rh_error *err)
{
    rh_fail(err, RH_ENOMEM, "out of memory");
    rh_hint(err, "close other programs, or take a smaller model, batch or context");
    return RH_ENOMEM;
}

const char *rh_status_name(rh_status status)
{
    switch (status) {
    case RH_OK: return "RH_OK";
    case RH_ENOMEM: return "RH_ENOMEM";
    case RH_EIO: return "RH_EIO";
    case RH_EFORMAT: return "RH_EFORMAT";
    case RH_EUNSUPPORTED: return "RH_EUNSUPPORTED";
    case RH_ESYNTAX: return "RH_ESYNTAX";
    case RH_ENAME: return "RH_ENAME";
    case RH_EKIND: return "RH_EKIND";
    case RH_ESITE: return "RH_ESITE";
    case RH_EVALUE: return "RH_EVALUE";
    case RH_EMODEL: return "RH_EMODEL";
    case RH_ELIMIT: return "RH_ELIMIT";
    case RH_EDEVICE: return "RH_EDEVICE";
    case RH_ECANCELLED: return "RH_ECANCELLED";
    }
    return "RH_UNKNOWN";
}

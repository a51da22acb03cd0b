/* diag.c - collecting errors. The strings are of fixed size, so that an error can be kept with
 * no memory left; what does not fit is cut at a code point. */
#include "dsl/diag.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "dsl/excerpt.h"

/* Make what was printed safe to show: no controls (a concept's text may hold an escape
 * sequence), no broken UTF-8 (the end may have been cut). */
void rh_text_tidy(char *text)
{
    size_t n = strlen(text), at = 0;
    while (at < n) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, text + at, n - at);
        if (len == 0) {
            if (n - at < 4) { text[at] = '\0'; return; } /* a cut tail */
            text[at] = '?';
            len = 1;
        } else if (cp < 0x20 || cp == 0x7f) {
            text[at] = ' ';
        } else if (cp >= 0x80 && cp < 0xa0) { /* C1 controls, two bytes */
            text[at] = text[at + 1] = ' ';
        }
        at += len;
    }
}

rh_diag *rh_diag_add(rh_diags *d, rh_status code, rh_range at, const char *format, ...)
{
    rh_diag *diag = &d->spare;
    if (d->n < RH_MAX_DIAGS)
        diag = &d->items[d->n++];
    else
        d->more = true;
    memset(diag, 0, sizeof *diag);
    diag->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(diag->message, sizeof diag->message, format, args);
    va_end(args);
    rh_text_tidy(diag->message);
    if (at.source) rh_diag_label(diag, at, "%s", "");
    return diag;
}

/* A second label for the same range only adds its text: rh_diag_add made the first one. */
void rh_diag_label(rh_diag *d, rh_range at, const char *format, ...)
{
    int i = 0;
    while (i < d->n_labels && (d->labels[i].range.source != at.source || d->labels[i].range.start != at.start ||
                               d->labels[i].range.end != at.end))
        i++;
    if (i == RH_DIAG_LABELS) return;
    if (i == d->n_labels) d->n_labels++;
    d->labels[i].range = at;
    va_list args;
    va_start(args, format);
    vsnprintf(d->labels[i].text, sizeof d->labels[i].text, format, args);
    va_end(args);
    rh_text_tidy(d->labels[i].text);
}

void rh_diag_hint(rh_diag *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(d->hint, sizeof d->hint, format, args);
    va_end(args);
    rh_text_tidy(d->hint);
}

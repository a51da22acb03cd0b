/* render.c - an error as text: header, excerpt, help (LANGUAGE.md §8). */
#include <stdio.h>
#include <string.h>

#include "dsl/excerpt.h"

static void settle(rh_diag *d)
{
    if (d->settled) return;
    if (d->n_labels > 0) {
        const rh_range *at = &d->labels[0].range;
        snprintf(d->file, sizeof d->file, "%s", at->source->name);
        rh_text_tidy(d->file);
        rh_source_position(at->source, at->start, &d->line, &d->column);
        rh_excerpt(d->excerpt, sizeof d->excerpt, d);
    }
    for (int i = 0; i < d->n_labels; i++) d->labels[i].range.source = NULL;
    d->settled = true;
}

void rh_diags_settle(rh_diags *d)
{
    for (int i = 0; i < d->n; i++) settle(&d->items[i]);
    if (d->more) settle(&d->spare);
}

void rh_diag_render(rh_str *out, const rh_diag *d)
{
    rh_diag copy = *d;
    settle(&copy);
    if (copy.line > 0) rh_str_printf(out, "%s:%d:%d: ", copy.file, copy.line, copy.column);
    rh_str_printf(out, "error: %s\n%s", copy.message, copy.excerpt);
    if (copy.hint[0]) rh_str_printf(out, "help: %s\n", copy.hint);
}

rh_status rh_diags_error(const rh_diags *d, rh_error *err)
{
    if (d->n == 0) return RH_OK;
    rh_diag copy = d->items[0];
    settle(&copy);
    rh_fail(err, copy.code, "%s", copy.message);
    if (copy.hint[0]) rh_hint(err, "%s", copy.hint);
    if (copy.line > 0) rh_place(err, copy.file, copy.line, copy.column);
    if (err) memcpy(err->excerpt, copy.excerpt, sizeof err->excerpt);
    return copy.code;
}

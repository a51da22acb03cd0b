#include "cli/prompt_file.h"

#include <string.h>

rh_status cli_prompt_file(cli_texts *out, char **text, const char *path, rh_error *err)
{
    size_t len, before = out->n;
    RH_TRY(cli_read_text(text, &len, path, true, err));
    if (strlen(*text) != len) return rh_fail(err, RH_EFORMAT, "%s holds a NUL byte", path);
    for (char *at = *text; *at;) {
        size_t n = strcspn(at, "\n");
        bool more = at[n];
        at[n] = 0;
        if (n && at[n - 1] == '\r') at[n - 1] = 0;
        if (at[strspn(at, " \t")]) {
            if (!RH_GROW(out->items, out->cap, out->n)) return rh_fail_nomem(err);
            out->items[out->n++] = at;
        }
        at += n + more;
    }
    if (out->n > before) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EFORMAT, "%s holds no prompt", path), err, "one prompt a line");
}

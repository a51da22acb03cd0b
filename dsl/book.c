/* book.c - reading books. A file is known by device and inode, so that two spellings of a path
 * are one book. */
#include "dsl/book.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

rh_source *rh_source_new(rh_arena *a, const char *name, const char *text, size_t len)
{
    rh_source *s = rh_arena_alloc(a, 1, sizeof *s);
    if (!s) return NULL;
    s->name = rh_arena_strndup(a, name, strlen(name));
    s->text = rh_arena_strndup(a, text, len);
    s->len = len;
    return s->name && s->text ? s : NULL;
}

char *rh_path_beside(const rh_source *source, rh_slice path)
{
    const char *slash = strrchr(source->name, '/');
    char *copy = rh_strndup(path.text, path.len);
    if (!slash || !copy || copy[0] == '/') return copy;
    char *dir = rh_strndup(source->name, slash == source->name ? 1 : (size_t)(slash - source->name));
    char *joined = dir ? rh_path_join(dir, copy) : NULL;
    free(dir);
    free(copy);
    return joined;
}

static rh_status read_at(rh_book *b, const char *path, const char *text, rh_range from, int depth, rh_diags *diags);

/* ---- files ------------------------------------------------------------------------------------ */

static void add_read_error(rh_diags *diags, rh_range at, const rh_error *err)
{
    rh_diag *d = rh_diag_add(diags, err->code, at, "%s", err->message);
    if (err->hint[0]) rh_diag_hint(d, "%s", err->hint);
}

/* The bytes as a source, by way of a map, which refuses folders and devices. */
static rh_status open_source(rh_source **out, rh_book *b, const char *path, rh_range from, rh_diags *diags)
{
    rh_map map = {0};
    rh_error err = {0};
    rh_status status = rh_map_open(&map, path, &err);
    *out = NULL;
    if (status == RH_ENOMEM) return status;
    if (status) {
        add_read_error(diags, from, &err);
        return RH_OK;
    }
    if (map.size > RH_MAX_BOOK) {
        rh_fail(&err, RH_ELIMIT, "'%s' is larger than a book may be (4 MiB)", path);
        add_read_error(diags, from, &err);
    } else {
        *out = rh_source_new(b->arena, path, (const char *)map.data, map.size);
        if (!*out) status = RH_ENOMEM;
    }
    rh_map_close(&map);
    return status;
}

static int64_t find_file(const rh_book *b, const char *path, const struct stat *st)
{
    for (size_t i = 0; i < b->n_files; i++) {
        const rh_book_file *f = &b->files[i];
        if (st ? f->inode && f->device == (uint64_t)st->st_dev && f->inode == (uint64_t)st->st_ino : strcmp(f->path, path) == 0)
            return (int64_t)i;
    }
    return -1;
}

static void report_include_cycle(const rh_book *b, size_t first, rh_range at, rh_diags *diags)
{
    rh_str chain = {0};
    for (size_t i = first; i < b->n_files; i++)
        if (b->files[i].open) rh_str_printf(&chain, "%s → ", b->files[i].path);
    rh_diag *d = rh_diag_add(diags, RH_ENAME, at, "a cycle of includes: %s%s", chain.data ? chain.data : "", b->files[first].path);
    rh_diag_hint(d, "move what both need into a third book");
    rh_str_free(&chain);
}

/* ---- statements --------------------------------------------------------------------------------- */

static void set_once(const rh_statement **slot, const rh_statement *s, const char *word, rh_diags *diags)
{
    if (!*slot) {
        *slot = s;
        return;
    }
    rh_diag *d = rh_diag_add(diags, RH_ENAME, s->word, "%s is given twice", word);
    rh_diag_label(d, (*slot)->word, "first here");
    rh_diag_hint(d, "leave one of them out");
}

static rh_status include(rh_book *b, const rh_statement *s, int depth, rh_diags *diags)
{
    if (depth == RH_MAX_INCLUDES) {
        rh_diag_add(diags, RH_ELIMIT, s->text_range, "includes nest more than %d deep", RH_MAX_INCLUDES);
        return RH_OK;
    }
    char *path = rh_path_beside(s->text_range.source, s->text);
    if (!path) return RH_ENOMEM;
    rh_status status = read_at(b, path, NULL, s->text_range, depth + 1, diags);
    free(path);
    return status;
}

static rh_status take(rh_book *b, rh_statement *s, int depth, rh_diags *diags)
{
    switch (s->kind) {
    case RH_ST_LET:
    case RH_ST_SAE: return rh_scope_bind(&b->scope, s, diags);
    case RH_ST_INCLUDE: return include(b, s, depth, diags);
    case RH_ST_MODEL:
        if (depth == 0) set_once(&b->model, s, "model", diags);
        return RH_OK;
    case RH_ST_LAYER:
        if (depth == 0) set_once(&b->layer, s, "layer", diags);
        return RH_OK;
    case RH_ST_ACTION:
        if (depth > 0) return RH_OK; /* included books bring names only */
        if (!RH_GROW(b->actions, b->actions_capacity, b->n_actions)) return RH_ENOMEM;
        b->actions[b->n_actions++] = s;
        return RH_OK;
    }
    return RH_OK;
}

/* One book and, where it says so, others. `from` is the include; source NULL for the first. */
static rh_status read_at(rh_book *b, const char *path, const char *text, rh_range from, int depth, rh_diags *diags)
{
    struct stat st;
    bool known = stat(path, &st) == 0;
    int64_t seen = find_file(b, path, known ? &st : NULL);
    if (seen >= 0) {
        if (b->files[seen].open) report_include_cycle(b, (size_t)seen, from, diags);
        return RH_OK;
    }
    rh_source *source = NULL;
    if (text)
        source = rh_source_new(b->arena, path, text, strlen(text));
    else
        RH_TRY(open_source(&source, b, path, from, diags));
    if (!source) return text ? RH_ENOMEM : RH_OK;
    if (source->len > RH_MAX_BOOK) {
        rh_diag_add(diags, RH_ELIMIT, from, "a book may have 4 MiB, this one has %zu bytes", source->len);
        return RH_OK;
    }
    if (!RH_GROW(b->files, b->files_capacity, b->n_files)) return RH_ENOMEM;
    size_t me = b->n_files++;
    b->files[me] = (rh_book_file){.path = source->name, .open = true};
    if (known) {
        b->files[me].device = (uint64_t)st.st_dev;
        b->files[me].inode = (uint64_t)st.st_ino;
    }
    rh_tree tree;
    RH_TRY(rh_parse_book(&tree, b->arena, source, diags));
    for (int32_t i = 0; i < tree.n && !diags->more; i++) RH_TRY(take(b, &tree.items[i], depth, diags));
    b->files[me].open = false;
    return RH_OK;
}

rh_status rh_book_read(rh_book *b, const char *path, const char *text, rh_diags *diags)
{
    return read_at(b, path, text, (rh_range){0}, 0, diags);
}

void rh_book_free(rh_book *b)
{
    rh_scope_free(&b->scope);
    free(b->actions);
    free(b->files);
    *b = (rh_book){0};
}

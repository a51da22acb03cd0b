#include "support/heap_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

rh_status __real_rh_map_open(rh_map *out, const char *path, rh_error *err);
void __real_rh_map_close(rh_map *m);
rh_status __wrap_rh_map_open(rh_map *out, const char *path, rh_error *err);
void __wrap_rh_map_close(rh_map *m);
void __real_rh_map_release(const void *data, size_t size);
void __wrap_rh_map_release(const void *data, size_t size);

static const void *given;
static size_t given_size;
static bool copied;

void heap_map_set(const void *bytes, size_t n)
{
    given = bytes;
    given_size = n;
}

void heap_map_copy(bool on) { copied = on; }

/* The pages of a block would come back as zeros. */
void __wrap_rh_map_release(const void *data, size_t size)
{
    if (!given && !copied) __real_rh_map_release(data, size);
}

static rh_status open_copy(rh_map *out, const char *path, rh_error *err)
{
    rh_map m = { 0 };
    RH_TRY(__real_rh_map_open(&m, path, err));
    uint8_t *copy = malloc(m.size ? m.size : 1);
    char *name = rh_strdup(path);
    if (!copy || !name) abort();
    memcpy(copy, m.data, m.size);
    *out = (rh_map){ .data = copy, .size = m.size, .path = name, .mtime_ns = m.mtime_ns, .inode = m.inode };
    __real_rh_map_close(&m);
    return RH_OK;
}

rh_status __wrap_rh_map_open(rh_map *out, const char *path, rh_error *err)
{
    if (!given && copied) return open_copy(out, path, err);
    if (!given) return __real_rh_map_open(out, path, err);
    uint8_t *copy = malloc(given_size ? given_size : 1);
    char *name = rh_strdup(path);
    if (!copy || !name) abort();
    memcpy(copy, given, given_size);
    *out = (rh_map){ .data = copy, .size = given_size, .path = name };
    return RH_OK;
}

void __wrap_rh_map_close(rh_map *m)
{
    if (!given && !copied) {
        __real_rh_map_close(m);
        return;
    }
    if (!m) return;
    void *p;
    memcpy(&p, &m->data, sizeof p);
    free(p);
    free(m->path);
    memset(m, 0, sizeof *m);
}

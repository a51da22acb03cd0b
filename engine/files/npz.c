/* minizip reads the same mapped bytes that stored entries are used from, through functions of ours:
 * what it checked cannot be another file's. */
#include "engine/files/npz.h"

#include <minizip/unzip.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum {
    MAX_ENTRIES = 1000, NAME = 128,
    HEAD = 1 << 16,        /* of an entry: numpy's headers have 128 bytes */
    DEFLATE_RATIO = 1040,  /* deflate makes at most 1032 bytes of one */
    PIECE = 1 << 24
};

typedef struct stream { const rh_map *map; uint64_t at; bool past; } stream;

typedef struct entry {
    char name[NAME], path[NAME + 256]; /* path: "FILE: NAME.npy", for messages */
    unz64_file_pos pos;
} entry;

struct rh_npz {
    rh_map map;
    unzFile zip;
    entry *entries;
    int32_t n;
    bool no_memory; /* minizip could not open its input, or tells nothing else */
};

/* ---- minizip's input is the map ------------------------------------------------------------- */

static voidpf open_map(voidpf opaque, const void *name, int mode)
{
    (void)name, (void)mode;
    stream *s = malloc(sizeof *s);
    rh_npz *z = opaque;
    if (s) *s = (stream){ &z->map, 0, false };
    else z->no_memory = true;
    return s;
}

static uLong read_map(voidpf opaque, voidpf file, void *out, uLong n)
{
    stream *s = file;
    (void)opaque;
    uint64_t left = s->at < s->map->size ? s->map->size - s->at : 0;
    if (n > left) {
        s->past = true;
        n = (uLong)left;
    }
    if (n) memcpy(out, s->map->data + s->at, n);
    s->at += n;
    return n;
}

static uLong write_map(voidpf opaque, voidpf file, const void *bytes, uLong n)
{
    (void)opaque, (void)file, (void)bytes, (void)n;
    return 0;
}

static ZPOS64_T tell_map(voidpf opaque, voidpf file)
{
    (void)opaque;
    return ((stream *)file)->at;
}

static long seek_map(voidpf opaque, voidpf file, ZPOS64_T offset, int origin)
{
    stream *s = file;
    (void)opaque;
    uint64_t from = origin == ZLIB_FILEFUNC_SEEK_SET ? 0 : origin == ZLIB_FILEFUNC_SEEK_CUR ? s->at : s->map->size;
    if (offset > s->map->size || from > s->map->size - offset) return -1;
    s->at = from + offset;
    return 0;
}

static int close_map(voidpf opaque, voidpf file)
{
    (void)opaque;
    free(file);
    return 0;
}

/* To minizip the end of the file is no error unless this says so: it would go on with zeros. */
static int error_map(voidpf opaque, voidpf file)
{
    (void)opaque;
    return ((stream *)file)->past;
}

/* ---- the directory -------------------------------------------------------------------------- */

static rh_status damaged(const char *path, const char *what, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is damaged: %s", path, what), err, "copy or download it again");
}

static rh_status read_directory(rh_npz *z, rh_error *err)
{
    unz_global_info64 info;
    const char *path = z->map.path;
    if (unzGetGlobalInfo64(z->zip, &info) != UNZ_OK) return damaged(path, "its zip directory cannot be read", err);
    if (info.number_entry > MAX_ENTRIES)
        return rh_fail(err, RH_ELIMIT, "'%s' has %llu entries; at most %d are expected", path,
                       (unsigned long long)info.number_entry, MAX_ENTRIES);
    z->entries = rh_calloc((size_t)info.number_entry, sizeof *z->entries);
    if (!z->entries) return rh_fail_nomem(err);
    for (uint64_t i = 0; i < info.number_entry; i++) {
        entry *e = &z->entries[z->n];
        if ((i ? unzGoToNextFile(z->zip) : unzGoToFirstFile(z->zip)) != UNZ_OK ||
            unzGetCurrentFileInfo64(z->zip, NULL, e->name, NAME - 1, NULL, 0, NULL, 0) != UNZ_OK ||
            unzGetFilePos64(z->zip, &e->pos) != UNZ_OK)
            return damaged(path, "its zip directory is cut off", err);
        size_t n = strlen(e->name);
        if (n < 5 || strcmp(e->name + n - 4, ".npy") != 0) continue; /* no array */
        snprintf(e->path, sizeof e->path, "%.250s: %s", path, e->name);
        e->name[n - 4] = 0;
        if (rh_npz_find(z, e->name) >= 0) return damaged(e->path, "the array is there twice", err);
        z->n++;
    }
    return RH_OK;
}

rh_status rh_npz_open(rh_npz **out, const char *path, rh_error *err)
{
    rh_npz *z = rh_calloc(1, sizeof *z);
    if (!z) return rh_fail_nomem(err);
    rh_status status = rh_map_open(&z->map, path, err);
    if (status) goto fail;
    zlib_filefunc64_def io = { open_map, read_map, write_map, tell_map, seek_map, close_map, error_map, z };
    z->zip = unzOpen2_64(path, &io);
    if (z->no_memory) {
        status = rh_fail_nomem(err);
        goto fail;
    }
    if (!z->zip) {
        bool zip = z->map.size >= 4 && !memcmp(z->map.data, "PK\3\4", 4);
        status = rh_fail(err, RH_EFORMAT, zip ? "'%s' is cut off: its zip directory is missing" : "'%s' is no .npz file", path);
        rh_hint(err, "copy or download it again");
        goto fail;
    }
    status = read_directory(z, err);
    if (status) goto fail;
    *out = z;
    return RH_OK;
fail:
    rh_npz_close(z);
    return status;
}

void rh_npz_close(rh_npz *z)
{
    if (!z) return;
    if (z->zip) unzClose(z->zip);
    rh_map_close(&z->map);
    free(z->entries);
    free(z);
}

int32_t rh_npz_n(const rh_npz *z) { return z->n; }
const char *rh_npz_name(const rh_npz *z, int32_t i) { return z->entries[i].name; }

int32_t rh_npz_find(const rh_npz *z, const char *name)
{
    for (int32_t i = 0; i < z->n; i++)
        if (!strcmp(z->entries[i].name, name)) return i;
    return -1;
}

rh_status rh_npz_check(const rh_npz *z, rh_error *err) { return rh_map_check(&z->map, err); }

/* ---- arrays --------------------------------------------------------------------------------- */

/* What an entry says of itself, before a byte is allocated for it. */
static rh_status check_entry(const unz_file_info64 *info, const char *path, const rh_map *m, rh_error *err)
{
    if (info->flag & 1) return rh_fail(err, RH_EUNSUPPORTED, "'%s' is encrypted; a plain .npz is expected", path);
    if (info->compression_method != 0 && info->compression_method != 8)
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' is compressed by method %lu; stored and deflated entries can be "
                                 "read", path, (unsigned long)info->compression_method), err, "save it with numpy.savez");
    if (info->compressed_size > m->size)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is cut off: it has %llu bytes, but the file only %zu", path,
                                 (unsigned long long)info->compressed_size, m->size), err, "copy or download it again");
    if (info->compression_method == 0 ? info->uncompressed_size != info->compressed_size
                                      : info->uncompressed_size / DEFLATE_RATIO > info->compressed_size)
        return rh_fail(err, RH_EFORMAT, "'%s' is damaged: it claims to be %llu bytes, but has only %llu in the file", path,
                       (unsigned long long)info->uncompressed_size, (unsigned long long)info->compressed_size);
    return RH_OK;
}

/* Leaves the entry open in minizip, behind nothing read. */
static rh_status open_entry(unz_file_info64 *info, rh_npz *z, int32_t i, rh_error *err)
{
    const entry *e = &z->entries[i];
    if (unzGoToFilePos64(z->zip, &e->pos) != UNZ_OK ||
        unzGetCurrentFileInfo64(z->zip, info, NULL, 0, NULL, 0, NULL, 0) != UNZ_OK)
        return damaged(e->path, "its place in the zip cannot be read", err);
    RH_TRY(check_entry(info, e->path, &z->map, err));
    int code = unzOpenCurrentFile(z->zip);
    if (code == UNZ_INTERNALERROR) return rh_fail_nomem(err);
    return code == UNZ_OK ? RH_OK : damaged(e->path, "its zip header is not what the directory says", err);
}

static rh_status stored_array(rh_npz_array *out, rh_npz *z, const entry *e, size_t total, rh_error *err)
{
    uint64_t at = unzGetCurrentFileZStreamPos64(z->zip);
    if (at > z->map.size || total > z->map.size - at)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is cut off", e->path), err, "copy or download it again");
    RH_TRY(rh_npy_header(&out->info, z->map.data + at, total, total, e->path, err));
    out->data = z->map.data + at + out->info.start;
    return RH_OK;
}

static rh_status deflated_array(rh_npz_array *out, rh_npz *z, const entry *e, size_t total, rh_error *err)
{
    size_t n = total < HEAD ? total : HEAD;
    uint8_t *head = rh_calloc(n ? n : 1, 1);
    if (!head) return rh_fail_nomem(err);
    int got = unzReadCurrentFile(z->zip, head, (unsigned)n);
    rh_status status = got < 0 || (size_t)got != n ? damaged(e->path, "it cannot be unpacked", err)
                                                   : rh_npy_header(&out->info, head, n, total, e->path, err);
    free(head);
    return status;
}

rh_status rh_npz_array_at(rh_npz_array *out, rh_npz *z, int32_t i, rh_error *err)
{
    const entry *e = &z->entries[i];
    unz_file_info64 info;
    rh_npz_array a = { .name = e->name, .entry = i };
    RH_TRY(open_entry(&info, z, i, err));
    size_t total = (size_t)info.uncompressed_size;
    rh_status status = info.compression_method == 0 ? stored_array(&a, z, e, total, err) : deflated_array(&a, z, e, total, err);
    unzCloseCurrentFile(z->zip); /* the checksum was not asked for yet */
    if (status) return status;
    a.size = total - a.info.start;
    *out = a;
    return RH_OK;
}

static rh_status unpack(uint8_t *out, rh_npz *z, const rh_npz_array *a, const char *path, rh_error *err)
{
    uint8_t *skipped = rh_calloc(a->info.start, 1);
    if (!skipped) return rh_fail_nomem(err);
    bool ok = unzReadCurrentFile(z->zip, skipped, (unsigned)a->info.start) == (int)a->info.start;
    free(skipped);
    for (size_t at = 0; ok && at < a->size;) {
        int n = unzReadCurrentFile(z->zip, out + at, (unsigned)(a->size - at < PIECE ? a->size - at : PIECE));
        if (n <= 0) ok = false;
        else at += (size_t)n;
    }
    return ok ? RH_OK : damaged(path, "it cannot be unpacked", err);
}

rh_status rh_npz_unpack(void **out, rh_npz *z, const rh_npz_array *a, rh_error *err)
{
    const char *path = z->entries[a->entry].path;
    unz_file_info64 info;
    uint8_t *items = rh_alloc_pages(a->size ? a->size : 1);
    if (!items) return rh_fail_nomem(err);
    rh_status status = open_entry(&info, z, a->entry, err);
    if (!status) {
        status = unpack(items, z, a, path, err);
        if (unzCloseCurrentFile(z->zip) == UNZ_CRCERROR && !status) status = damaged(path, "its checksum is wrong", err);
    }
    if (status) free(items);
    else *out = items;
    return status;
}

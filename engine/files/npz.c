/* minizip reads the directory from the same mapped bytes that entries are used from, through functions of
 * ours: what was checked cannot be another file's. zlib unpacks. */
#include "engine/files/npz.h"

#include <minizip/unzip.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

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
    unzClose(z->zip);
    z->zip = NULL;
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

/* What the zip's directory says of an entry, and where its bytes are. minizip walks the directory, but
 * does not find entries that begin beyond 2 GiB (their place is in a ZIP64 field of its own), so the
 * entry's own headers are read here. */
typedef struct member { uint64_t at, packed, size; uint32_t crc; bool deflated; } member;

static uint64_t number(const uint8_t *p, int bytes) /* little-endian */
{
    uint64_t x = 0;
    for (int i = bytes; i-- > 0;) x = x << 8 | p[i];
    return x;
}

/* The sizes and the place that stand in an extra field where the header has all ones. False: they do not. */
static bool read_zip64(uint64_t *fields[3], const uint8_t *extra, size_t n)
{
    const uint8_t *p = extra;
    size_t left = 0, at = 0;
    bool wanted = false;
    for (int i = 0; i < 3; i++) wanted |= *fields[i] == 0xffffffff;
    for (; at + 4 <= n; at += 4 + (size_t)number(extra + at + 2, 2))
        if (number(extra + at, 2) == 1) {
            p = extra + at + 4;
            left = (size_t)number(extra + at + 2, 2);
            if (left > n - at - 4) return false;
            break;
        }
    for (int i = 0; wanted && i < 3; i++) {
        if (*fields[i] != 0xffffffff) continue;
        if (left < 8) return false;
        *fields[i] = number(p, 8);
        p += 8, left -= 8;
    }
    return true;
}

/* An entry is refused before a byte is allocated for it. */
static rh_status check_member(const member *m, int flags, int method, const char *path, const rh_map *map, rh_error *err)
{
    if (flags & 1) return rh_fail(err, RH_EUNSUPPORTED, "'%s' is encrypted; a plain .npz is expected", path);
    if (method != 0 && method != 8)
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' is compressed by method %d; stored and deflated entries can be "
                                 "read", path, method), err, "save it with numpy.savez");
    if (m->packed > map->size)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is cut off: it has %llu bytes, but the file only %zu", path,
                                 (unsigned long long)m->packed, map->size), err, "copy or download it again");
    if (m->deflated ? m->size / DEFLATE_RATIO > m->packed : m->size != m->packed)
        return rh_fail(err, RH_EFORMAT, "'%s' is damaged: it claims to be %llu bytes, but has only %llu in the file", path,
                       (unsigned long long)m->size, (unsigned long long)m->packed);
    return RH_OK;
}

static rh_status find_member(member *m, const rh_npz *z, const entry *e, rh_error *err)
{
    const uint8_t *file = z->map.data, *c = file + e->pos.pos_in_zip_directory;
    const uint64_t size = z->map.size;
    if (size < 46 || e->pos.pos_in_zip_directory > size - 46 || memcmp(c, "PK\1\2", 4) != 0)
        return damaged(e->path, "its place in the zip directory cannot be read", err);
    const size_t name = (size_t)number(c + 28, 2), extra = (size_t)number(c + 30, 2);
    if (name + extra > size - 46 - e->pos.pos_in_zip_directory) return damaged(e->path, "the zip directory is cut off", err);
    uint64_t at = number(c + 42, 4);
    *m = (member){ .packed = number(c + 20, 4), .size = number(c + 24, 4), .crc = (uint32_t)number(c + 16, 4),
                   .deflated = number(c + 10, 2) == 8 };
    if (!read_zip64((uint64_t *[3]){ &m->size, &m->packed, &at }, c + 46 + name, extra))
        return damaged(e->path, "its ZIP64 sizes are missing", err);
    RH_TRY(check_member(m, (int)number(c + 8, 2), (int)number(c + 10, 2), e->path, &z->map, err));

    const uint8_t *local = file + at;
    if (at > size || size - at < 30 || memcmp(local, "PK\3\4", 4) != 0 || number(local + 8, 2) != number(c + 10, 2) ||
        number(local + 26, 2) != name || name > size - at - 30 || memcmp(local + 30, c + 46, name) != 0)
        return damaged(e->path, "the zip has something else at its place", err);
    m->at = at + 30 + name + number(local + 28, 2);
    if (m->at <= size && m->packed <= size - m->at) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' is cut off", e->path), err, "copy or download it again");
}

/* The first n bytes of a deflated entry; of all of them the checksum is compared too. */
static rh_status inflate_to(uint8_t *out, size_t n, const rh_npz *z, const member *m, const char *path, rh_error *err)
{
    z_stream s = { 0 };
    const uint8_t *from = z->map.data + m->at;
    uint64_t left = m->packed;
    size_t have = 0;
    uLong crc = crc32(0, NULL, 0);
    int code = inflateInit2(&s, -MAX_WBITS); /* no header of its own */
    if (code != Z_OK) return rh_fail_nomem(err);
    while (code == Z_OK && have < n) {
        const uInt in = (uInt)(left < PIECE ? left : PIECE), room = (uInt)(n - have < PIECE ? n - have : PIECE);
        s.next_in = (Bytef *)(uintptr_t)from;
        s.avail_in = in;
        s.next_out = out + have;
        s.avail_out = room;
        code = inflate(&s, Z_NO_FLUSH);
        if (code == Z_BUF_ERROR) break;
        crc = crc32(crc, out + have, room - s.avail_out);
        have += room - s.avail_out;
        from += in - s.avail_in;
        left -= in - s.avail_in;
    }
    inflateEnd(&s);
    if (code == Z_MEM_ERROR) return rh_fail_nomem(err);
    if (have != n || (code != Z_OK && code != Z_STREAM_END)) return damaged(path, "it cannot be unpacked", err);
    if (n == m->size && crc != m->crc) return damaged(path, "its checksum is wrong", err);
    return RH_OK;
}

static rh_status deflated_header(rh_npz_array *out, const rh_npz *z, const member *m, const char *path, rh_error *err)
{
    const size_t n = m->size < HEAD ? (size_t)m->size : HEAD;
    uint8_t *head = rh_calloc(n ? n : 1, 1);
    if (!head) return rh_fail_nomem(err);
    rh_status status = inflate_to(head, n, z, m, path, err);
    if (!status) status = rh_npy_header(&out->info, head, n, (size_t)m->size, path, err);
    free(head);
    return status;
}

rh_status rh_npz_array_at(rh_npz_array *out, const rh_npz *z, int32_t i, rh_error *err)
{
    const entry *e = &z->entries[i];
    member m;
    rh_npz_array a = { .name = e->name, .entry = i };
    RH_TRY(find_member(&m, z, e, err));
    if (m.deflated) {
        RH_TRY(deflated_header(&a, z, &m, e->path, err));
    } else {
        RH_TRY(rh_npy_header(&a.info, z->map.data + m.at, (size_t)m.size, (size_t)m.size, e->path, err));
        a.data = z->map.data + m.at + a.info.start;
    }
    a.size = (size_t)m.size - a.info.start;
    *out = a;
    return RH_OK;
}

rh_status rh_npz_unpack(void **out, const rh_npz *z, const rh_npz_array *a, rh_error *err)
{
    const char *path = z->entries[a->entry].path;
    member m;
    RH_TRY(find_member(&m, z, &z->entries[a->entry], err));
    uint8_t *bytes = rh_alloc_pages((size_t)m.size);
    if (!bytes) return rh_fail_nomem(err);
    rh_status status = inflate_to(bytes, (size_t)m.size, z, &m, path, err);
    if (status) {
        free(bytes);
        return status;
    }
    memmove(bytes, bytes + a->info.start, a->size); /* the header goes */
    *out = bytes;
    return RH_OK;
}

/* file.h - reading by mmap, writing to a temporary name and renaming, hashing.
 * Knows paths and bytes; no format. */
#ifndef RH_BASE_FILE_H
#define RH_BASE_FILE_H

#include <stdio.h>

#include "base/error.h"

/* A file mapped for reading. Owner: rh_map_close. An empty file has data "" and size 0.
 * Directories, devices and missing files are errors that say so. */
typedef struct rh_map {
    const uint8_t *data;
    size_t size;
    char *path;        /* as opened */
    int64_t mtime_ns;  /* at opening, with inode: to notice a file replaced while open */
    uint64_t inode;
} rh_map;
rh_status rh_map_open(rh_map *out, const char *path, rh_error *err);
void rh_map_close(rh_map *m); /* NULL and zeroed are fine */
/* RH_EIO if the file shrank, grew or was modified in place since it was opened. (One
 * replaced by rename keeps its old bytes mapped, and is fine.) */
rh_status rh_map_check(const rh_map *m, rh_error *err);

/* These bytes of a mapped file will not be read soon: their pages, as far as they lie wholly in the
 * range, leave this process. Reading them again is slow, and right. */
void rh_map_release(const void *data, size_t size);

/* Whole small file into memory (malloc, NUL-terminated), at most `limit` bytes. */
rh_status rh_read_file(char **out, size_t *len, const char *path, size_t limit, rh_error *err);

/* Atomic writing: bytes go to a temporary name beside `path`; commit flushes, syncs and
 * renames, discard removes. Nothing at `path` changes unless commit returns RH_OK.
 * "-" is not special here. A symbolic link stays, its target is replaced; what is no regular
 * file (/dev/stdout, a pipe) is written to directly. */
typedef struct rh_writer {
    FILE *file;
    char *path, *temp;
} rh_writer;
rh_status rh_writer_open(rh_writer *out, const char *path, rh_error *err);
rh_status rh_writer_put(rh_writer *w, const void *bytes, size_t n, rh_error *err);
rh_status rh_writer_commit(rh_writer *w, rh_error *err); /* on failure also discards */
void rh_writer_discard(rh_writer *w);                    /* zeroed or committed: no-op */

rh_status rh_make_dirs(const char *path, rh_error *err); /* mkdir -p, mode 0777 & ~umask */
char *rh_path_join(const char *dir, const char *name);   /* absolute name: a copy of it; malloc */
char *rh_path_dir(const char *path);                     /* "." if it has none; malloc */
bool rh_is_dir(const char *path);
bool rh_is_file(const char *path);

/* SHA-256 as 64 hex digits and NUL. */
typedef struct rh_sha256 rh_sha256;
rh_sha256 *rh_sha256_new(void); /* NULL: no memory */
void rh_sha256_add(rh_sha256 *h, const void *bytes, size_t n);
void rh_sha256_hex(rh_sha256 *h, char out[65]); /* ends the hash */
void rh_sha256_free(rh_sha256 *h);
void rh_sha256_bytes(char out[65], const void *bytes, size_t n);
rh_status rh_sha256_file(char out[65], const char *path, rh_error *err);

#endif

/* partial.c - the sums of a pass that was stopped, so that the next run goes on there.
 *
 *     "rhumb partial 1\n"  key[64]  u64 batches done
 *     for every atom:  n [RH_CLASSES] f64,  then sum [RH_CLASSES, n_layers, d] f64,
 *                      or for each layer n [RH_CLASSES], mean [RH_CLASSES, d], scatter [d, d] f64,
 *                      or the samples kept so far [n_layers, n_rows, d or 1] f32
 *     SHA-256 of all that, 64 hex digits
 *
 * A file of another length or hash is no file: it is never trusted, and written anew. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "concepts/pass.h"

static const char magic[16] = "rhumb partial 1\n";

static char *partial_path(const rh_pass *p, const char *cache_dir)
{
    char name[80] = "partial/";
    memcpy(name + 8, p->key, 64);
    memcpy(name + 72, ".sums", 6);
    return rh_path_join(cache_dir, name);
}

static size_t body_size(const rh_pass *p)
{
    size_t n = sizeof magic + 64 + sizeof(uint64_t);
    void *bytes;
    for (size_t i = 0, size; i < p->n_atoms; i++)
        for (size_t k = 0; rh_keep_part(&p->atoms[i], k, &bytes, &size); k++) n += size;
    return n;
}

/* Is data [size] the file of this pass, whole? */
static bool is_whole(const rh_pass *p, const char *data, size_t size)
{
    size_t body = body_size(p);
    char hash[65];
    if (size != body + 64 || memcmp(data, magic, sizeof magic) != 0) return false;
    if (memcmp(data + sizeof magic, p->key, 64) != 0) return false;
    rh_sha256_bytes(hash, data, body);
    return memcmp(hash, data + body, 64) == 0;
}

rh_status rh_partial_load(size_t *batches, rh_pass *p, const char *cache_dir, rh_error *err)
{
    char *data = NULL, *path = partial_path(p, cache_dir);
    size_t size = 0;
    uint64_t done = 0;
    *batches = 0;
    if (!path) return rh_fail_nomem(err);
    rh_status status = rh_is_file(path) ? rh_read_file(&data, &size, path, body_size(p) + 64, NULL) : RH_EIO;
    free(path);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (!status && is_whole(p, data, size)) {
        const char *at = data + sizeof magic + 64;
        memcpy(&done, at, sizeof done);
        at += sizeof done;
        for (size_t i = 0; i < p->n_atoms && done <= p->n_batches; i++) {
            void *bytes;
            size_t part;
            for (size_t k = 0; rh_keep_part(&p->atoms[i], k, &bytes, &part); at += part, k++) memcpy(bytes, at, part);
        }
        if (done <= p->n_batches) *batches = (size_t)done;
    }
    free(data);
    return RH_OK;
}

static rh_status put(rh_writer *w, rh_sha256 *h, const void *bytes, size_t n, rh_error *err)
{
    rh_sha256_add(h, bytes, n);
    return rh_writer_put(w, bytes, n, err);
}

static rh_status put_all(rh_writer *w, rh_sha256 *h, const rh_pass *p, size_t batches, rh_error *err)
{
    uint64_t done = batches;
    char hash[65];
    RH_TRY(put(w, h, magic, sizeof magic, err));
    RH_TRY(put(w, h, p->key, 64, err));
    RH_TRY(put(w, h, &done, sizeof done, err));
    for (size_t i = 0; i < p->n_atoms; i++) {
        void *bytes;
        size_t size;
        for (size_t k = 0; rh_keep_part(&p->atoms[i], k, &bytes, &size); k++) RH_TRY(put(w, h, bytes, size, err));
    }
    rh_sha256_hex(h, hash);
    return rh_writer_put(w, hash, 64, err);
}

rh_status rh_partial_save(const rh_pass *p, size_t batches, const char *cache_dir, rh_error *err)
{
    rh_writer w = {0};
    rh_status status = RH_OK;
    char *dir = rh_path_join(cache_dir, "partial"), *path = partial_path(p, cache_dir);
    rh_sha256 *h = rh_sha256_new();
    if (!dir || !path || !h) status = rh_fail_nomem(err);
    if (!status) status = rh_make_dirs(dir, err);
    if (!status) status = rh_writer_open(&w, path, err);
    if (!status) {
        status = put_all(&w, h, p, batches, err);
        if (status)
            rh_writer_discard(&w);
        else
            status = rh_writer_commit(&w, err);
    }
    rh_sha256_free(h);
    free(path);
    free(dir);
    return status;
}

void rh_partial_remove(const rh_pass *p, const char *cache_dir)
{
    char *path = partial_path(p, cache_dir);
    if (path) unlink(path);
    free(path);
}

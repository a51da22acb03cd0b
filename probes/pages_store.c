/* pages_store.c - pages on disk:
 *
 *     "rhumb pages 1\n\0\0"  u32 size of a feature, u32 features  u32 context  u32 done  i64 documents, tokens, ids
 *     key[64]  SAE's fingerprint[64]  model's fingerprint[64]  ids i32 [ids]  features [features]
 *     SHA-256 of all that, 64 hex digits
 *
 * A file of this machine for this machine. One that does not agree with its hash or with itself is no file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "probes/pages.h"

typedef struct head {
    char magic[16];
    uint32_t feature_size, features, context, done;
    int64_t documents, tokens, ids;
    char key[64], sae[64], model[64];
} head;
static const char magic[16] = "rhumb pages 1\n";
enum { HASH = 64 };

void rh_pages_free(rh_pages *p)
{
    if (!p) return;
    free(p->ids);
    free(p->features);
    free(p);
}

char *rh_pages_path(const rh_pages *p, const char *cache_dir)
{
    char name[128];
    if (p->done) snprintf(name, sizeof name, "features/%.64s-%.16s.pages", p->sae, p->model);
    else snprintf(name, sizeof name, "features/%.64s.part", p->key);
    return rh_path_join(cache_dir, name);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static bool place_is_sound(const rh_page_place *x, int64_t n_ids)
{
    return isfinite(x->value) && x->value > 0 && x->n > 0 && x->n <= RH_PAGE_CONTEXT && x->before < x->n && x->at >= x->before &&
           (int64_t)x->at - x->before + x->n <= n_ids;
}

static bool feature_is_sound(const rh_page_stats *f, const rh_pages *p)
{
    bool ok = f->active >= 0 && f->active <= p->tokens && isfinite(f->sum) && f->n_top >= 0 && f->n_top <= RH_PAGE_TOP && f->n_samples >= 0 &&
              f->n_samples <= RH_PAGE_SAMPLES;
    for (int32_t i = 0; ok && i < f->n_top; i++) ok = place_is_sound(&f->top[i], p->n_ids);
    for (int32_t i = 0; ok && i < f->n_samples; i++) ok = place_is_sound(&f->samples[i], p->n_ids);
    return ok;
}

static bool head_is_sound(const head *h, size_t size)
{
    if (memcmp(h->magic, magic, sizeof magic) || h->feature_size != sizeof(rh_page_stats) || h->features > INT32_MAX || h->context > INT32_MAX) return false;
    if (h->done > 1 || h->documents < 0 || h->tokens < 0 || h->ids < h->tokens || h->ids > INT32_MAX) return false;
    return size == sizeof *h + (size_t)h->ids * sizeof(int32_t) + (size_t)h->features * sizeof(rh_page_stats) + HASH;
}

static rh_status take(rh_pages **out, const char *data, size_t size, rh_error *err)
{
    head h;
    char hash[65];
    if (size < sizeof h + HASH) return RH_OK;
    memcpy(&h, data, sizeof h);
    if (!head_is_sound(&h, size)) return RH_OK;
    rh_sha256_bytes(hash, data, size - HASH);
    if (memcmp(hash, data + size - HASH, HASH)) return RH_OK;
    rh_pages *p = rh_calloc(1, sizeof *p);
    if (!p) return rh_fail_nomem(err);
    *p = (rh_pages){.n_features = (int32_t)h.features, .context = (int32_t)h.context, .documents = h.documents, .tokens = h.tokens, .done = h.done != 0,
                    .n_ids = h.ids};
    memcpy(p->key, h.key, 64);
    memcpy(p->sae, h.sae, 64);
    memcpy(p->model, h.model, 64);
    p->ids = rh_calloc((size_t)h.ids, sizeof *p->ids);
    p->features = rh_calloc(h.features, sizeof *p->features);
    if (!p->ids || !p->features) {
        rh_pages_free(p);
        return rh_fail_nomem(err);
    }
    const char *at = data + sizeof h;
    memcpy(p->ids, at, (size_t)h.ids * sizeof *p->ids);
    memcpy(p->features, at + (size_t)h.ids * sizeof *p->ids, h.features * sizeof *p->features);
    bool ok = true;
    for (int32_t i = 0; ok && i < p->n_features; i++) ok = feature_is_sound(&p->features[i], p);
    if (ok) *out = p;
    else rh_pages_free(p);
    return RH_OK;
}

rh_status rh_pages_load(rh_pages **out, const char *path, rh_error *err)
{
    rh_map map = {0};
    *out = NULL;
    if (!rh_is_file(path)) return RH_OK;
    rh_status status = rh_map_open(&map, path, NULL);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (status) return RH_OK;
    status = take(out, (const char *)map.data, map.size, err);
    rh_map_close(&map);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static rh_status put(rh_writer *w, rh_sha256 *h, const void *bytes, size_t n, rh_error *err)
{
    rh_sha256_add(h, bytes, n);
    return rh_writer_put(w, bytes, n, err);
}

static rh_status put_all(rh_writer *w, rh_sha256 *hash, const rh_pages *p, rh_error *err)
{
    char hex[65];
    head h = {.feature_size = sizeof(rh_page_stats), .features = (uint32_t)p->n_features, .context = (uint32_t)p->context, .done = p->done,
              .documents = p->documents, .tokens = p->tokens, .ids = p->n_ids};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.key, p->key, 64);
    memcpy(h.sae, p->sae, 64);
    memcpy(h.model, p->model, 64);
    RH_TRY(put(w, hash, &h, sizeof h, err));
    RH_TRY(put(w, hash, p->ids, (size_t)p->n_ids * sizeof *p->ids, err));
    RH_TRY(put(w, hash, p->features, (size_t)p->n_features * sizeof *p->features, err));
    rh_sha256_hex(hash, hex);
    return rh_writer_put(w, hex, HASH, err);
}

rh_status rh_pages_save(const rh_pages *p, const char *path, rh_error *err)
{
    rh_writer w = {0};
    char *dir = rh_path_dir(path);
    rh_sha256 *hash = rh_sha256_new();
    rh_status status = dir && hash ? rh_make_dirs(dir, err) : rh_fail_nomem(err);
    if (!status) status = rh_writer_open(&w, path, err);
    if (!status) status = put_all(&w, hash, p, err);
    if (!status) status = rh_writer_commit(&w, err);
    else rh_writer_discard(&w);
    rh_sha256_free(hash);
    free(dir);
    return status;
}

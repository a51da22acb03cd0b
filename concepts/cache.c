/* cache.c - CACHE/vectors/KEY.safetensors: direction.L for the layers computed so far, and in the
 * metadata `rhumb` what the file claims to be with a hash over claim and data. A file that
 * does not keep its word is computed again and replaced. */
#include "concepts/cache.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

void rh_entry_free(rh_entry *e)
{
    if (!e) return;
    rh_vector_free(e->vector);
    *e = (rh_entry){0};
}

/* ---- keys --------------------------------------------------------------------------------- */

/* Length first, so that no two lists of strings look alike. */
static void add_text(rh_sha256 *h, const char *s)
{
    uint64_t n = s ? strlen(s) + 1 : 0;
    rh_sha256_add(h, &n, sizeof n);
    if (s) rh_sha256_add(h, s, n);
}

rh_status rh_cache_key(char key[65], const rh_concepts *c, const rh_atom_spec *spec, rh_hook hook,
                       const char *content, rh_error *err)
{
    const rh_model *m = c->model;
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    int64_t numbers[] = {RH_EXTRACT_VERSION, m->backend ? m->backend->exact : 0, spec->kind, spec->at, spec->chat,
                         c->options.special, c->options.no_share, hook,
                         m->tokenizer ? rh_tokenizer_adds_bos(m->tokenizer) : -1,
                         m->tokenizer ? (int64_t)rh_tokenizer_chat(m->tokenizer) : -1};
    rh_sha256_add(h, numbers, sizeof numbers);
    add_text(h, m->fingerprint);
    add_text(h, m->backend ? m->backend->ops->name : NULL);
    add_text(h, content);
    add_text(h, spec->prefix ? spec->prefix : "");
    add_text(h, rh_reads_pairs(spec->kind) ? spec->positive : NULL);
    add_text(h, rh_reads_pairs(spec->kind) ? spec->negative : NULL);
    double option = spec->kind == RH_ATOM_PCA          ? spec->no_center
                    : spec->kind == RH_ATOM_LDA        ? spec->shrink
                    : spec->kind == RH_ATOM_LOGREG     ? spec->l2
                    : spec->kind == RH_ATOM_RESID_NORM ? spec->quantile
                                                       : 0;
    rh_sha256_add(h, &option, sizeof option);
    rh_sha256_hex(h, key);
    rh_sha256_free(h);
    return RH_OK;
}

static char *entry_path(const char *cache_dir, const char *key)
{
    rh_str name = {0};
    rh_str_printf(&name, "vectors/%s.safetensors", key);
    char *path = name.failed ? NULL : rh_path_join(cache_dir, name.data);
    rh_str_free(&name);
    return path;
}

/* Hash over the claim and the data. */
static rh_status entry_hash(char out[65], const char *key, const rh_entry *e, rh_error *err)
{
    const rh_vector *v = e->vector;
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    int64_t numbers[] = {v->hook, v->d, v->n_layers, e->positives, e->negatives, e->tokens};
    add_text(h, key);
    rh_sha256_add(h, numbers, sizeof numbers);
    rh_sha256_add(h, v->layers, (size_t)v->n_layers * sizeof *v->layers);
    rh_sha256_add(h, v->data, (size_t)v->n_layers * (size_t)v->d * sizeof *v->data);
    rh_sha256_hex(h, out);
    rh_sha256_free(h);
    return RH_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool all_finite(const rh_vector *v)
{
    for (size_t i = 0; i < (size_t)v->n_layers * (size_t)v->d; i++)
        if (!isfinite(v->data[i])) return false;
    return true;
}

/* Take the numbers of the claim; true if the hash agrees. */
static rh_status keeps_word(bool *good, rh_entry *e, const char *key, const char *metadata, rh_error *err)
{
    json_t *claim = NULL;
    char hash[65];
    *good = false;
    rh_status status = rh_json_parse(&claim, metadata, strlen(metadata), "cache", NULL);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (status) return RH_OK;
    const char *said = json_string_value(json_object_get(claim, "sha256"));
    e->positives = json_integer_value(json_object_get(claim, "positives"));
    e->negatives = json_integer_value(json_object_get(claim, "negatives"));
    e->tokens = json_integer_value(json_object_get(claim, "tokens"));
    status = entry_hash(hash, key, e, err);
    if (!status && said) *good = strcmp(said, hash) == 0;
    json_decref(claim);
    return status;
}

rh_status rh_cache_get(rh_entry *out, const char *cache_dir, const char *key, rh_hook hook, int32_t d,
                       rh_error *err)
{
    rh_vectorfile file = {0};
    rh_entry e = {0};
    bool good = false;
    char *path = entry_path(cache_dir, key);
    *out = (rh_entry){0};
    if (!path) return rh_fail_nomem(err);
    rh_status status = rh_is_file(path) ? rh_vectorfile_read(&file, path, NULL, NULL) : RH_EIO;
    free(path);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (status) return RH_OK;
    e.vector = file.vector;
    file.vector = NULL;
    if (file.metadata && e.vector->hook == hook && e.vector->d == d && all_finite(e.vector))
        status = keeps_word(&good, &e, key, file.metadata, err);
    rh_vectorfile_free(&file);
    if (!status && good)
        *out = e;
    else
        rh_entry_free(&e);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------ */

static rh_status make_dir(const char *cache_dir, const char *name, rh_error *err)
{
    char *dir = rh_path_join(cache_dir, name);
    if (!dir) return rh_fail_nomem(err);
    rh_status status = rh_make_dirs(dir, err);
    free(dir);
    return status;
}

rh_status rh_cache_put(const char *cache_dir, const char *key, const rh_entry *e, rh_error *err)
{
    char hash[65];
    rh_str claim = {0};
    char *path = entry_path(cache_dir, key);
    rh_status status = path ? RH_OK : rh_fail_nomem(err);
    if (!status) status = entry_hash(hash, key, e, err);
    if (!status) status = make_dir(cache_dir, "vectors", err);
    if (status) goto done;
    rh_str_printf(&claim,
                  "{\"cache\": %d, \"key\": \"%s\", \"hook\": \"%s\", \"positives\": %" PRId64
                  ", \"negatives\": %" PRId64 ", \"tokens\": %" PRId64 ", \"sha256\": \"%s\"}",
                  RH_EXTRACT_VERSION, key, rh_hook_name(e->vector->hook), e->positives, e->negatives, e->tokens,
                  hash);
    status = claim.failed ? rh_fail_nomem(err) : rh_vectorfile_write(path, e->vector, claim.data, NULL, 0, err);
done:
    rh_str_free(&claim);
    free(path);
    return status;
}

/* ---- how fast the last pass was ------------------------------------------------------------ */

static char *rate_path(const rh_concepts *c)
{
    rh_str name = {0};
    const rh_backend *b = c->model->backend;
    rh_str_printf(&name, "rates/%s-", c->model->fingerprint);
    for (const char *s = b ? b->ops->name : "none"; *s; s++) rh_str_add(&name, *s == '/' ? "-" : s, 1);
    rh_str_printf(&name, "%s.json", b && b->exact ? "-exact" : "");
    char *path = name.failed ? NULL : rh_path_join(c->cache_dir, name.data);
    rh_str_free(&name);
    return path;
}

double rh_rate_get(const rh_concepts *c)
{
    json_t *root = NULL;
    double rate = -1;
    char *path = c->cache_dir && c->model ? rate_path(c) : NULL;
    if (path && rh_is_file(path) && rh_json_load(&root, path, NULL) == RH_OK) {
        rate = json_number_value(json_object_get(root, "layer_rows_per_second"));
        if (!(rate > 0) || !isfinite(rate)) rate = -1;
    }
    json_decref(root);
    free(path);
    return rate;
}

/* Failing to write it costs an estimate, nothing else. */
void rh_rate_put(const rh_concepts *c, double rate)
{
    rh_writer w = {0};
    char text[80];
    char *path = c->cache_dir ? rate_path(c) : NULL;
    if (!path || make_dir(c->cache_dir, "rates", NULL) || rh_writer_open(&w, path, NULL)) {
        free(path);
        return;
    }
    /* An integer, so that no locale puts a comma into it. */
    int n = snprintf(text, sizeof text, "{\"layer_rows_per_second\": %.0f}\n", rate < 1 ? 1 : rate);
    if (rh_writer_put(&w, text, (size_t)n, NULL))
        rh_writer_discard(&w);
    else
        (void)rh_writer_commit(&w, NULL);
    free(path);
}

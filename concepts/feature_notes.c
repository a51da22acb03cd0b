/* feature_notes.c - CACHE/features/FINGERPRINT.notes:
 *
 *     "rhumb features1\n"  fingerprint[64]  u32 features  u32 fits
 *     for every feature:  f32 max_act  f32 density  i64 tokens  u32 source  u32 label bytes, then the label
 *     for every fit:      model fingerprint[64]  f64 fvu  f64 l0  i64 tokens
 *     SHA-256 of all that, 64 hex digits
 *
 * A file that does not agree with its hash or its SAE is no file: nothing of it is taken, and the next
 * writing replaces it. */
#include "concepts/feature_notes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

static const char magic[] = "rhumb features1\n";
enum { MAGIC = 16, KEY = 64, HASH = 64, MAX_FITS = 64, FIXED = 24, FIT = KEY + 24 };

typedef struct note { char *label; float max_act, density; int64_t tokens; uint32_t source; } note;
typedef struct kept_fit { char model[65]; rh_feature_fit fit; } kept_fit;

struct rh_feature_notes {
    char fingerprint[65];
    char *cache_dir;
    int32_t n;
    note *items;             /* [n] */
    kept_fit fits[MAX_FITS]; /* the oldest goes when there are more */
    int32_t n_fits;
};

const char *rh_label_source_name(rh_label_source s)
{
    static const char *const names[] = {"none", "neuronpedia", "csv", "auto"};
    return names[s];
}

void rh_feature_notes_free(rh_feature_notes *n)
{
    if (!n) return;
    for (int32_t i = 0; n->items && i < n->n; i++) free(n->items[i].label);
    free(n->items);
    free(n->cache_dir);
    free(n);
}

const char *rh_feature_notes_fingerprint(const rh_feature_notes *n) { return n->fingerprint; }

int32_t rh_feature_notes_labels(const rh_feature_notes *n)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n->n; i++) count += n->items[i].label != NULL;
    return count;
}

/* ---- reading ------------------------------------------------------------------------------------ */

typedef struct cursor { const char *at, *end; bool short_; } cursor;

static void take(void *out, cursor *c, size_t n)
{
    if (c->short_ || (size_t)(c->end - c->at) < n) {
        c->short_ = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, c->at, n);
    c->at += n;
}

static bool is_hex(const char *s, size_t n)
{
    return strspn(s, "0123456789abcdef") >= n;
}

static bool sensible(const note *x)
{
    return isfinite(x->max_act) && x->max_act >= 0 && x->density >= 0 && x->density <= 1 && x->tokens >= 0 &&
           x->source <= RH_LABEL_AUTO;
}

static rh_status read_note(bool *good, note *x, cursor *c, rh_error *err)
{
    uint32_t len = 0;
    take(&x->max_act, c, sizeof x->max_act);
    take(&x->density, c, sizeof x->density);
    take(&x->tokens, c, sizeof x->tokens);
    take(&x->source, c, sizeof x->source);
    take(&len, c, sizeof len);
    *good = !c->short_ && sensible(x) && len <= RH_LABEL_MAX && len <= (size_t)(c->end - c->at) &&
            (len > 0) == (x->source != RH_LABEL_NONE) && rh_utf8_valid(c->at, len) == len && !memchr(c->at, 0, len);
    if (!*good || !len) return RH_OK;
    x->label = rh_strndup(c->at, len);
    c->at += len;
    return x->label ? RH_OK : rh_fail_nomem(err);
}

static bool read_fit(kept_fit *f, cursor *c)
{
    take(f->model, c, KEY);
    take(&f->fit.fvu, c, sizeof f->fit.fvu);
    take(&f->fit.l0, c, sizeof f->fit.l0);
    take(&f->fit.tokens, c, sizeof f->fit.tokens);
    return !c->short_ && is_hex(f->model, KEY) && isfinite(f->fit.fvu) && isfinite(f->fit.l0) && f->fit.tokens > 0;
}

/* The body behind the magic, whose hash has been checked. */
static rh_status read_body(bool *good, rh_feature_notes *n, cursor *c, rh_error *err)
{
    char key[KEY + 1] = "";
    uint32_t features = 0, fits = 0;
    take(key, c, KEY);
    take(&features, c, sizeof features);
    take(&fits, c, sizeof fits);
    *good = !c->short_ && !strcmp(key, n->fingerprint) && features == (uint32_t)n->n && fits <= MAX_FITS;
    for (int32_t i = 0; *good && i < n->n; i++) RH_TRY(read_note(good, &n->items[i], c, err));
    for (uint32_t i = 0; *good && i < fits; i++) {
        *good = read_fit(&n->fits[i], c);
        n->n_fits = (int32_t)i + 1;
    }
    *good = *good && c->at == c->end;
    return RH_OK;
}

static void forget_all(rh_feature_notes *n)
{
    for (int32_t i = 0; i < n->n; i++) free(n->items[i].label);
    memset(n->items, 0, (size_t)n->n * sizeof *n->items);
    memset(n->fits, 0, sizeof n->fits);
    n->n_fits = 0;
}

static char *notes_path(const rh_feature_notes *n)
{
    char name[96] = "features/";
    memcpy(name + 9, n->fingerprint, KEY);
    memcpy(name + 9 + KEY, ".notes", 7);
    return rh_path_join(n->cache_dir, name);
}

static rh_status load(rh_feature_notes *n, rh_error *err)
{
    char *path = notes_path(n), *data = NULL, hash[65];
    size_t size = 0;
    bool good = false;
    if (!path) return rh_fail_nomem(err);
    const size_t most = MAGIC + KEY + 8 + (size_t)n->n * (FIXED + RH_LABEL_MAX) + MAX_FITS * FIT + HASH;
    rh_status status = rh_is_file(path) ? rh_read_file(&data, &size, path, most, NULL) : RH_EIO;
    free(path);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (status) return RH_OK;
    status = RH_OK;
    if (size >= MAGIC + HASH && !memcmp(data, magic, MAGIC)) {
        rh_sha256_bytes(hash, data, size - HASH);
        cursor c = {.at = data + MAGIC, .end = data + size - HASH};
        if (!memcmp(hash, c.end, HASH)) status = read_body(&good, n, &c, err);
    }
    if (!good) forget_all(n);
    free(data);
    return status;
}

rh_status rh_feature_notes_open(rh_feature_notes **out, const char *cache_dir, const rh_sae *s, rh_error *err)
{
    rh_feature_notes *n = rh_calloc(1, sizeof *n);
    if (!n) return rh_fail_nomem(err);
    n->n = rh_sae_about(s)->d_sae;
    n->items = rh_calloc((size_t)n->n, sizeof *n->items);
    n->cache_dir = cache_dir ? rh_strdup(cache_dir) : NULL;
    rh_status status = n->items && (!cache_dir || n->cache_dir) ? RH_OK : rh_fail_nomem(err);
    if (!status) status = rh_sae_fingerprint(n->fingerprint, s, err);
    if (!status && cache_dir) status = load(n, err);
    if (status)
        rh_feature_notes_free(n);
    else
        *out = n;
    return status;
}

/* ---- asking ------------------------------------------------------------------------------------- */

rh_feature_note rh_feature_notes_get(const rh_feature_notes *n, int32_t i)
{
    const note *x = &n->items[i];
    return (rh_feature_note){.label = x->label, .source = (rh_label_source)x->source, .measured = x->tokens > 0,
                             .max_act = x->max_act, .density = x->density, .tokens = x->tokens};
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool starts(const char *s, const char *what, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!s[i] || lower(s[i]) != lower(what[i])) return false;
    return true;
}

static bool matches(const char *label, const char *what, size_t len, bool whole)
{
    if (whole) return starts(label, what, len) && !label[len];
    for (; *label; label++)
        if (starts(label, what, len)) return true;
    return false;
}

rh_status rh_feature_notes_find(int32_t **out, int32_t *n_out, const rh_feature_notes *n, const char *label, size_t len,
                                rh_error *err)
{
    int32_t *found = NULL, count = 0;
    size_t cap = 0;
    while (len && label[0] == ' ') label++, len--;
    while (len && label[len - 1] == ' ') len--;
    for (int pass = 0; pass < 2 && len && !count; pass++)
        for (int32_t i = 0; i < n->n; i++) {
            if (!n->items[i].label || !matches(n->items[i].label, label, len, pass == 0)) continue;
            if (!RH_GROW(found, cap, (size_t)count)) {
                free(found);
                return rh_fail_nomem(err);
            }
            found[count++] = i;
        }
    *out = found;
    *n_out = count;
    return RH_OK;
}

bool rh_feature_notes_fit(rh_feature_fit *out, const rh_feature_notes *n, const char *model)
{
    for (int32_t i = 0; i < n->n_fits; i++)
        if (!strcmp(n->fits[i].model, model)) {
            *out = n->fits[i].fit;
            return true;
        }
    return false;
}

/* ---- setting ------------------------------------------------------------------------------------ */

/* One line of valid UTF-8, at most RH_LABEL_MAX bytes. */
static void tidy(rh_str *out, const char *s)
{
    size_t n = strlen(s);
    rh_str_puts(out, "");
    while (n && (unsigned char)s[0] <= ' ') s++, n--;
    while (n && (unsigned char)s[n - 1] <= ' ') n--;
    while (n && !out->failed) {
        uint32_t cp;
        char bytes[4];
        size_t len = rh_utf8_next(&cp, s, n);
        size_t width = rh_utf8_put(bytes, cp < ' ' || (cp >= 0x7f && cp < 0xa0) ? ' ' : cp);
        if (out->len + width > RH_LABEL_MAX) break;
        rh_str_add(out, bytes, width);
        s += len ? len : 1;
        n -= len ? len : 1;
    }
}

rh_status rh_feature_notes_label(rh_feature_notes *n, int32_t i, const char *label, rh_label_source source, rh_error *err)
{
    rh_str clean = {0};
    tidy(&clean, label ? label : "");
    if (clean.failed) {
        rh_str_free(&clean);
        return rh_fail_nomem(err);
    }
    free(n->items[i].label);
    n->items[i].label = NULL;
    n->items[i].source = RH_LABEL_NONE;
    if (!clean.len) {
        rh_str_free(&clean);
        return RH_OK;
    }
    n->items[i].label = clean.data;
    n->items[i].source = source;
    return RH_OK;
}

void rh_feature_notes_measure(rh_feature_notes *n, int32_t i, float max_act, float density, int64_t tokens)
{
    n->items[i].max_act = max_act;
    n->items[i].density = density;
    n->items[i].tokens = tokens;
}

rh_status rh_feature_notes_set_fit(rh_feature_notes *n, const char *model, const rh_feature_fit *fit, rh_error *err)
{
    int32_t i = 0;
    if (strlen(model) != KEY || !is_hex(model, KEY) || !isfinite(fit->fvu) || !isfinite(fit->l0) || fit->tokens <= 0)
        return rh_fail(err, RH_EVALUE, "a fit needs a model's fingerprint, finite figures and tokens");
    while (i < n->n_fits && strcmp(n->fits[i].model, model)) i++;
    if (i == MAX_FITS) memmove(n->fits, n->fits + 1, (size_t)--i * sizeof *n->fits);
    memcpy(n->fits[i].model, model, KEY + 1);
    n->fits[i].fit = *fit;
    if (i >= n->n_fits) n->n_fits = i + 1;
    return RH_OK;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void add_body(rh_str *s, const rh_feature_notes *n)
{
    uint32_t head[2] = {(uint32_t)n->n, (uint32_t)n->n_fits};
    rh_str_add(s, magic, MAGIC);
    rh_str_add(s, n->fingerprint, KEY);
    rh_str_add(s, (const char *)head, sizeof head);
    for (int32_t i = 0; i < n->n; i++) {
        const note *x = &n->items[i];
        uint32_t len = x->label ? (uint32_t)strlen(x->label) : 0;
        rh_str_add(s, (const char *)&x->max_act, sizeof x->max_act);
        rh_str_add(s, (const char *)&x->density, sizeof x->density);
        rh_str_add(s, (const char *)&x->tokens, sizeof x->tokens);
        rh_str_add(s, (const char *)&x->source, sizeof x->source);
        rh_str_add(s, (const char *)&len, sizeof len);
        if (len) rh_str_add(s, x->label, len);
    }
    for (int32_t i = 0; i < n->n_fits; i++) {
        const rh_feature_fit *f = &n->fits[i].fit;
        rh_str_add(s, n->fits[i].model, KEY);
        rh_str_add(s, (const char *)&f->fvu, sizeof f->fvu);
        rh_str_add(s, (const char *)&f->l0, sizeof f->l0);
        rh_str_add(s, (const char *)&f->tokens, sizeof f->tokens);
    }
}

static rh_status write_file(const char *path, const rh_str *body, rh_error *err)
{
    rh_writer w = {0};
    char hash[65];
    rh_sha256_bytes(hash, body->data, body->len);
    RH_TRY(rh_writer_open(&w, path, err));
    rh_status status = rh_writer_put(&w, body->data, body->len, err);
    if (!status) status = rh_writer_put(&w, hash, HASH, err);
    if (!status) return rh_writer_commit(&w, err);
    rh_writer_discard(&w);
    return status;
}

rh_status rh_feature_notes_write(const rh_feature_notes *n, rh_error *err)
{
    rh_str body = {0};
    if (!n->cache_dir) return rh_fail(err, RH_EIO, "there is no cache folder for notes on features");
    char *path = notes_path(n), *dir = path ? rh_path_dir(path) : NULL;
    add_body(&body, n);
    rh_status status = path && dir && !body.failed ? RH_OK : rh_fail_nomem(err);
    if (!status) status = rh_make_dirs(dir, err);
    if (!status) status = write_file(path, &body, err);
    rh_str_free(&body);
    free(dir);
    free(path);
    return status;
}

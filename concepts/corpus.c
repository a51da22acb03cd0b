/* corpus.c - see corpus.h. Bytes of a file go into `raw`; a piece (of a plain file) or a line (of JSON) is taken
 * from its front, and what goes out is cleaned into `text`. */
#include "concepts/corpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

struct rh_corpus {
    char **paths;
    int n, at_file;          /* at_file: the one being read, or to be opened next */
    gzFile file;             /* NULL: none is open */
    bool json, file_ends;    /* file_ends: raw has the last of it */
    rh_str raw;              /* [from, raw.len): read and not yet given */
    size_t from;
    int line;                /* of raw.data[from], from 1 */
    rh_str json_text;        /* a line's text, given from json_from on */
    size_t json_from;
    rh_str text;
    int64_t documents, repaired, bytes_before, bytes_all;
};

void rh_corpus_free(rh_corpus *c)
{
    if (!c) return;
    if (c->file) gzclose_r(c->file);
    for (int i = 0; c->paths && i < c->n; i++) free(c->paths[i]);
    free(c->paths);
    rh_str_free(&c->raw);
    rh_str_free(&c->json_text);
    rh_str_free(&c->text);
    free(c);
}

/* ---- files --------------------------------------------------------------------------------------- */

static rh_status add_path(rh_corpus *c, const char *path, rh_error *err)
{
    struct stat st;
    if (stat(path, &st)) return rh_fail_errno(err, "open", path);
    if (S_ISDIR(st.st_mode))
        return rh_hinted(rh_fail(err, RH_EIO, "'%.200s' is a folder, and a corpus is made of files", path), err, "name its files: %.200s/*", path);
    c->paths[c->n] = rh_strdup(path);
    if (!c->paths[c->n]) return rh_fail_nomem(err);
    c->n++;
    if (S_ISREG(st.st_mode)) c->bytes_all += st.st_size;
    return RH_OK;
}

rh_status rh_corpus_open(rh_corpus **out, const char *const *paths, int n, rh_error *err)
{
    rh_corpus *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->paths = rh_calloc((size_t)n, sizeof *c->paths);
    rh_status status = c->paths ? RH_OK : rh_fail_nomem(err);
    for (int i = 0; i < n && !status; i++) status = add_path(c, paths[i], err);
    if (status)
        rh_corpus_free(c);
    else
        *out = c;
    return status;
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t k = strlen(end);
    return n >= k && !memcmp(s + n - k, end, k);
}

static bool is_json(const char *path)
{
    size_t n = strlen(path);
    if (ends_with(path, n, ".gz")) n -= 3;
    return ends_with(path, n, ".jsonl") || ends_with(path, n, ".ndjson") || ends_with(path, n, ".json");
}

static void close_file(rh_corpus *c)
{
    struct stat st;
    gzclose_r(c->file);
    c->file = NULL;
    if (!stat(c->paths[c->at_file], &st) && S_ISREG(st.st_mode)) c->bytes_before += st.st_size;
    c->at_file++;
}

static rh_status placed(rh_corpus *c, rh_error *err, rh_status code)
{
    rh_place(err, c->paths[c->at_file], c->line, 0);
    return code;
}

/* 64 KiB more behind raw. */
static rh_status read_more(rh_corpus *c, rh_error *err)
{
    enum { STEP = 64 << 10 };
    char buffer[STEP];
    if (c->from) {
        memmove(c->raw.data, c->raw.data + c->from, c->raw.len - c->from);
        c->raw.len -= c->from;
        c->from = 0;
    }
    int got = gzread(c->file, buffer, STEP), code = Z_OK;
    const char *why = got < STEP ? gzerror(c->file, &code) : "";
    if (code == Z_MEM_ERROR) return rh_fail_nomem(err);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
        if (code == Z_ERRNO) return rh_fail_errno(err, "read", c->paths[c->at_file]);
        bool cut = code == Z_BUF_ERROR;
        return placed(c, err, rh_fail(err, RH_EFORMAT, "the gzip data is %s%s%.100s", cut ? "cut off" : "damaged", cut ? "" : ": ", cut ? "" : why));
    }
    c->file_ends = got < STEP;
    rh_str_add(&c->raw, buffer, (size_t)got);
    return c->raw.failed ? rh_fail_nomem(err) : RH_OK;
}

/* Opened, and its first bytes read: a byte order mark is no part of the text. */
static rh_status open_file(rh_corpus *c, rh_error *err)
{
    const char *path = c->paths[c->at_file];
    errno = 0;
    c->file = gzopen(path, "rb");
    if (!c->file) return errno ? rh_fail_errno(err, "open", path) : rh_fail_nomem(err);
    c->json = is_json(path);
    c->file_ends = false;
    c->raw.len = c->from = 0;
    c->line = 1;
    RH_TRY(read_more(c, err));
    if (c->raw.len >= 3 && !memcmp(c->raw.data, "\xef\xbb\xbf", 3)) c->from = 3;
    return RH_OK;
}

rh_status rh_corpus_hash(char out[65], const rh_corpus *c, rh_error *err)
{
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    rh_status status = RH_OK;
    for (int i = 0; i < c->n && !status; i++) {
        char of_file[65];
        char kind = is_json(c->paths[i]) ? 'j' : 't';
        if (!rh_is_file(c->paths[i])) status = rh_fail(err, RH_EIO, "'%.200s' is not a file that can be read twice", c->paths[i]);
        if (!status) status = rh_sha256_file(of_file, c->paths[i], err);
        if (status) break;
        rh_sha256_add(h, of_file, 64);
        rh_sha256_add(h, &kind, 1);
    }
    rh_sha256_hex(h, out);
    rh_sha256_free(h);
    return status;
}

/* ---- texts --------------------------------------------------------------------------------------- */

/* Where the first piece of s[0..n) ends; whole: nothing follows. */
static size_t cut(const char *s, size_t n, bool whole)
{
    size_t line = 0, blank = 0;
    if (n <= RH_CORPUS_PIECE && whole) return n;
    n = n < RH_CORPUS_PIECE ? n : RH_CORPUS_PIECE;
    for (size_t i = n; i-- > n / 2;) {
        if (s[i] == '\n' && (s[i - 1] == '\n' || (s[i - 1] == '\r' && s[i - 2] == '\n'))) return i + 1;
        if (s[i] == '\n' && !line) line = i + 1;
        if (s[i] == ' ' && !blank) blank = i + 1;
    }
    if (line || blank) return line ? line : blank;
    size_t end = n;
    while (end > n - 4 && ((unsigned char)s[end] & 0xc0) == 0x80) end--;
    return end > n - 4 ? end : n;
}

/* s as a document; false if it is blank. */
static rh_status clean(bool *good, rh_corpus *c, const char *s, size_t n, rh_error *err)
{
    bool blank = true;
    c->text.len = 0;
    rh_str_puts(&c->text, "");
    for (size_t i = 0; i < n && !c->text.failed;) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s + i, n - i);
        if (!cp) return rh_hinted(placed(c, err, rh_fail(err, RH_EFORMAT, "a zero byte: this is no text")), err,
                                  "UTF-16 is made UTF-8 by: iconv -f UTF-16 -t UTF-8");
        if (cp == '\n') c->line += !c->json;
        if (cp == '\r' && i + 1 < n && s[i + 1] == '\n') {
            i++;
            continue;
        }
        if (len) rh_str_add(&c->text, s + i, len);
        else rh_str_puts(&c->text, "\xef\xbf\xbd");
        c->repaired += !len;
        blank = blank && cp <= ' ';
        i += len ? len : 1;
    }
    *good = !blank;
    return c->text.failed ? rh_fail_nomem(err) : RH_OK;
}

static rh_status next_plain(bool *good, rh_corpus *c, rh_error *err)
{
    while (!c->file_ends && c->raw.len - c->from <= RH_CORPUS_PIECE) RH_TRY(read_more(c, err));
    size_t n = c->raw.len - c->from;
    if (!n) return RH_OK;
    const char *s = c->raw.data + c->from;
    size_t end = cut(s, n, c->file_ends);
    RH_TRY(clean(good, c, s, end, err));
    c->from += end;
    return RH_OK;
}

/* ---- JSON lines ---------------------------------------------------------------------------------- */

static rh_status no_text(rh_corpus *c, const char *what, rh_error *err)
{
    return rh_hinted(placed(c, err, rh_fail(err, RH_EFORMAT, "%s", what)), err,
                     "a line is a JSON string, or an object with \"text\"");
}

static rh_status parse_line(rh_corpus *c, const char *s, size_t n, rh_error *err)
{
    json_t *root = NULL;
    rh_status status = rh_json_parse(&root, s, n, "this line", err);
    if (status) return status == RH_ENOMEM ? status : placed(c, err, status);
    const json_t *text = json_is_object(root) ? json_object_get(root, "text") : root;
    if (json_is_string(text)) {
        c->json_text.len = c->json_from = 0;
        rh_str_add(&c->json_text, json_string_value(text), json_string_length(text));
        status = c->json_text.failed ? rh_fail_nomem(err) : RH_OK;
    } else {
        status = no_text(c, json_is_object(root) ? "an object without a string \"text\"" : "neither a string nor an object", err);
    }
    json_decref(root);
    return status;
}

/* The line at the front of raw, its newline left out. */
static rh_status find_line(size_t *n, rh_corpus *c, rh_error *err)
{
    for (size_t seen = 0;;) {
        size_t have = c->raw.len - c->from;
        const char *s = have ? c->raw.data + c->from : "", *newline = have > seen ? memchr(s + seen, '\n', have - seen) : NULL;
        if (newline || c->file_ends) {
            *n = newline ? (size_t)(newline - s) : have;
            return RH_OK;
        }
        if (have > RH_CORPUS_LINE)
            return placed(c, err, rh_fail(err, RH_ELIMIT, "this line has more than %d MiB", RH_CORPUS_LINE >> 20));
        seen = have;
        RH_TRY(read_more(c, err));
    }
}

static rh_status next_json(bool *good, rh_corpus *c, rh_error *err)
{
    while (c->json_from >= c->json_text.len) {
        size_t n = 0;
        RH_TRY(find_line(&n, c, err));
        if (c->from == c->raw.len) return RH_OK;
        const char *s = c->raw.data + c->from;
        bool blank = true;
        for (size_t i = 0; i < n && blank; i++) blank = s[i] == ' ' || s[i] == '\t' || s[i] == '\r';
        if (!blank) RH_TRY(parse_line(c, s, n, err));
        c->from += n + (c->from + n < c->raw.len);
        c->line++;
    }
    const char *s = c->json_text.data + c->json_from;
    size_t n = c->json_text.len - c->json_from, end = cut(s, n, true);
    RH_TRY(clean(good, c, s, end, err));
    c->json_from += end;
    return RH_OK;
}

/* ---- the stream ---------------------------------------------------------------------------------- */

static bool file_is_done(const rh_corpus *c)
{
    return c->file_ends && c->from >= c->raw.len && (!c->json || c->json_from >= c->json_text.len);
}

rh_status rh_corpus_next(rh_corpus *c, const char **text, size_t *len, bool *end, rh_error *err)
{
    *end = false;
    for (bool good = false;;) {
        if (c->file && file_is_done(c)) close_file(c);
        if (!c->file && c->at_file == c->n) {
            *end = true;
            return RH_OK;
        }
        if (!c->file) RH_TRY(open_file(c, err));
        RH_TRY(c->json ? next_json(&good, c, err) : next_plain(&good, c, err));
        if (!good) continue;
        *text = c->text.data;
        *len = c->text.len;
        c->documents++;
        return RH_OK;
    }
}

rh_status rh_corpus_skip(rh_corpus *c, int64_t documents, rh_error *err)
{
    const char *text;
    size_t len;
    bool end = false;
    for (int64_t i = 0; i < documents; i++) {
        RH_TRY(rh_corpus_next(c, &text, &len, &end, err));
        if (end) return rh_fail(err, RH_EVALUE, "the corpus has %lld documents, and %lld were to be skipped", (long long)i, (long long)documents);
    }
    return RH_OK;
}

int64_t rh_corpus_at(const rh_corpus *c) { return c->documents; }
int64_t rh_corpus_repaired(const rh_corpus *c) { return c->repaired; }

void rh_corpus_bytes(const rh_corpus *c, int64_t *read, int64_t *all)
{
    *read = c->bytes_before + (c->file ? (int64_t)gzoffset(c->file) : 0);
    *all = c->bytes_all;
}

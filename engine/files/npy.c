/* Layout: "\x93NUMPY", u8 major, u8 minor, header length (u16 in version 1, else u32), header,
 * data. The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } */
#include "engine/files/npy.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "kernels/dtype.h"

typedef struct header {
    char type;   /* '2', '4', '8': the width of a float; 0: not read yet */
    int fortran; /* -1: not read yet */
    int n_dims;  /* -1: not read yet */
    int64_t shape[2];
} header;

typedef struct scanner {
    const char *p, *end;
    const char *path;
    rh_error *err;
} scanner;

static rh_status bad(const scanner *s, const char *what)
{
    return rh_fail(s->err, RH_EFORMAT, "'%s' is damaged: its header %s", s->path, what);
}

static void blanks(scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t')) s->p++;
}

static bool take(scanner *s, char c)
{
    blanks(s);
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

static bool take_word(scanner *s, const char *word)
{
    size_t n = strlen(word);
    blanks(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return false;
    s->p += n;
    return true;
}

/* 'text' or "text", borrowed */
static bool take_string(scanner *s, const char **text, size_t *len)
{
    blanks(s);
    if (s->p == s->end || (*s->p != '\'' && *s->p != '"')) return false;
    const char *close = memchr(s->p + 1, *s->p, (size_t)(s->end - s->p) - 1);
    if (!close) return false;
    *text = s->p + 1;
    *len = (size_t)(close - s->p) - 1;
    s->p = close + 1;
    return true;
}

static rh_status read_descr(header *h, scanner *s)
{
    const char *text;
    size_t len;
    if (!take_string(s, &text, &len))
        return rh_fail(s->err, RH_EUNSUPPORTED, "'%s' is an array of records; floats were expected",
                       s->path);
    bool known = len == 3 && (text[0] == '<' || text[0] == '=') && text[1] == 'f' &&
                 (text[2] == '2' || text[2] == '4' || text[2] == '8');
    if (!known) {
        rh_fail(s->err, RH_EUNSUPPORTED, "'%s' has items of type '%.*s'; '<f2', '<f4' or '<f8' was "
                "expected", s->path, len > 40 ? 40 : (int)len, text);
        rh_hint(s->err, "save it with .astype('<f4')");
        return RH_EUNSUPPORTED;
    }
    h->type = text[2];
    return RH_OK;
}

static bool take_size(scanner *s, int64_t *out)
{
    int64_t x = 0;
    blanks(s);
    const char *start = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++) {
        if (x > (INT64_MAX - 9) / 10) return false;
        x = 10 * x + (*s->p - '0');
    }
    *out = x;
    if (s->p == start) return false;
    if (s->p < s->end && *s->p == 'L') s->p++; /* as Python 2 wrote it */
    return true;
}

static rh_status read_shape(header *h, scanner *s)
{
    int n = 0;
    if (!take(s, '(')) return bad(s, "has no tuple as shape");
    while (!take(s, ')')) {
        int64_t size;
        if (!take_size(s, &size)) return bad(s, "has a shape that is not of whole numbers");
        if (n < 2) h->shape[n] = size;
        n++;
        if (!take(s, ',')) {
            if (!take(s, ')')) return bad(s, "has no tuple as shape");
            break;
        }
    }
    if (n < 1 || n > 2)
        return rh_fail(s->err, RH_EUNSUPPORTED, "'%s' has %d dimensions; 1 or 2 were expected", s->path, n);
    if (n == 1) h->shape[1] = 1;
    h->n_dims = n;
    return RH_OK;
}

static rh_status read_dict(header *h, scanner *s)
{
    if (!take(s, '{')) return bad(s, "is no dict");
    while (!take(s, '}')) {
        const char *key;
        size_t len;
        if (!take_string(s, &key, &len) || !take(s, ':')) return bad(s, "is no dict");
        if (len == 5 && !memcmp(key, "descr", 5) && !h->type) RH_TRY(read_descr(h, s));
        else if (len == 5 && !memcmp(key, "shape", 5) && h->n_dims < 0) RH_TRY(read_shape(h, s));
        else if (len == 13 && !memcmp(key, "fortran_order", 13) && h->fortran < 0) {
            if (take_word(s, "False")) h->fortran = 0;
            else if (take_word(s, "True")) h->fortran = 1;
            else return bad(s, "has a fortran_order that is neither True nor False");
        } else {
            return bad(s, "has a repeated or unknown key");
        }
        if (!take(s, ',')) {
            if (!take(s, '}')) return bad(s, "is no dict");
            break;
        }
    }
    blanks(s);
    if (s->p != s->end) return bad(s, "goes on after its dict");
    if (!h->type || h->n_dims < 0 || h->fortran < 0)
        return bad(s, "wants one of descr, fortran_order and shape");
    return RH_OK;
}

static rh_status read_header(header *h, size_t *data, const uint8_t *bytes, size_t n, size_t total,
                             const char *path, rh_error *err)
{
    if (n == 0)
        return rh_fail(err, RH_EFORMAT, "'%s' is empty; a .npy file was expected", path);
    if (n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return rh_fail(err, RH_EFORMAT, "'%s' is no .npy file, or is cut off", path);
    int major = bytes[6];
    if (major < 1 || major > 3)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' is of .npy version %d; 1 to 3 can be read", path, major);
    size_t start = major == 1 ? 10 : 12, len = bytes[8] | (size_t)bytes[9] << 8;
    if (major > 1 && n >= 12) len |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (n < start || len > n - start)
        return rh_fail(err, RH_EFORMAT, "'%s' is cut off: its header has %zu bytes, but the file only %zu",
                       path, len, total);
    const char *text = (const char *)bytes + start;
    scanner s = { text, text + len, path, err };
    RH_TRY(read_dict(h, &s));
    *data = start + len;
    return RH_OK;
}

rh_status rh_npy_header(rh_npy_info *out, const uint8_t *bytes, size_t n, size_t total, const char *path,
                        rh_error *err)
{
    header h = { 0, -1, -1, { 0, 0 } };
    size_t start = 0;
    RH_TRY(read_header(&h, &start, bytes, n, total, path, err));
    size_t rows = (size_t)h.shape[0], columns = (size_t)h.shape[1], width = (size_t)(h.type - '0');
    size_t have = total - start;
    if ((columns && rows > have / width / columns) || rows * columns * width != have)
        return rh_fail(err, RH_EFORMAT, "'%s' is cut off or damaged: a shape of (%lld, %lld) with items "
                       "of %zu bytes does not fit its %zu bytes of data", path, (long long)h.shape[0],
                       (long long)h.shape[1], width, have);
    *out = (rh_npy_info){ (int)width, h.fortran == 1, h.n_dims, { h.shape[0], h.shape[1] }, start };
    return RH_OK;
}

static float item(const uint8_t *p, int width)
{
    uint16_t half;
    float single;
    double real;
    switch (width) {
    case 2: memcpy(&half, p, 2); return rh_f16_to_f32(half);
    case 4: memcpy(&single, p, 4); return single;
    default: memcpy(&real, p, 8); return (float)real;
    }
}

rh_status rh_npy_read(float **data, int *n_dims, int64_t shape[2], const char *path, rh_error *err)
{
    rh_npy_info h = { 0 };
    rh_map map = { 0 };
    float *out = NULL;
    RH_TRY(rh_map_open(&map, path, err));
    rh_status status = rh_npy_header(&h, map.data, map.size, map.size, path, err);
    if (status) goto done;
    size_t rows = (size_t)h.shape[0], columns = (size_t)h.shape[1], width = (size_t)h.width;
    out = rh_calloc(rows * columns, sizeof *out);
    if (!out) {
        status = rh_fail_nomem(err);
        goto done;
    }
    const uint8_t *p = map.data + h.start;
    for (size_t i = 0; columns && i < rows; i++) /* (10^18, 0) is a shape, too */
        for (size_t j = 0; j < columns; j++)
            out[i * columns + j] = item(p + (h.fortran ? j * rows + i : i * columns + j) * width, h.width);
    *data = out;
    *n_dims = h.n_dims;
    memcpy(shape, h.shape, sizeof h.shape);
done:
    rh_map_close(&map);
    return status;
}

rh_status rh_npy_write(const char *path, const float *data, int n_dims, const int64_t shape[2],
                       rh_error *err)
{
    enum { SIZE = 128 }; /* magic, length and header: a multiple of 64, as numpy writes it */
    char head[SIZE + 1], tuple[48];
    int64_t n = shape[0];
    rh_writer w = { 0 };
    if (n_dims < 1 || n_dims > 2 || n < 0 || (n_dims == 2 && shape[1] < 0))
        return rh_fail(err, RH_EVALUE, "only arrays of 1 or 2 dimensions can be written to '%s'", path);
    if (n_dims == 2 && shape[1] && n > INT64_MAX / 4 / shape[1])
        return rh_fail(err, RH_EVALUE, "an array of %lld by %lld is too large", (long long)n,
                       (long long)shape[1]);
    if (n_dims == 1) {
        snprintf(tuple, sizeof tuple, "(%lld,)", (long long)n);
    } else {
        snprintf(tuple, sizeof tuple, "(%lld, %lld)", (long long)n, (long long)shape[1]);
        n *= shape[1];
    }
    memcpy(head, "\x93NUMPY\1\0", 8);
    head[8] = SIZE - 10; /* the header's length, u16 */
    head[9] = 0;
    int used = snprintf(head + 10, SIZE - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }",
                        tuple);
    memset(head + 10 + used, ' ', (size_t)(SIZE - 10 - used));
    head[SIZE - 1] = '\n';
    RH_TRY(rh_writer_open(&w, path, err));
    rh_status status = rh_writer_put(&w, head, SIZE, err);
    if (status == RH_OK) status = rh_writer_put(&w, data, (size_t)n * sizeof *data, err);
    if (status == RH_OK) return rh_writer_commit(&w, err);
    rh_writer_discard(&w);
    return status;
}

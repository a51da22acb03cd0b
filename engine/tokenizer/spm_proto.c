#include "engine/tokenizer/spm_proto.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ---------------------------------------------------------------------------- */

static size_t put_varint(char *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) to[n++] = (char)(v | 0x80);
    to[n++] = (char)v;
    return n;
}

size_t rh_proto_put_int(char *to, int field, uint64_t v)
{
    size_t n = put_varint(to, (uint64_t)field << 3);
    return n + put_varint(to + n, v);
}

void rh_proto_put_message(rh_str *s, int field, const char *bytes, size_t len)
{
    char head[20];
    size_t n = put_varint(head, (uint64_t)field << 3 | 2);
    rh_str_add(s, head, n + put_varint(head + n, len));
    rh_str_add(s, bytes, len);
}

void rh_proto_put_piece(rh_str *s, const rh_sp_entry *e)
{
    char head[40], length[10];
    uint32_t bits;
    memcpy(&bits, &e->score, 4);
    char tail[] = { 2 << 3 | 5, (char)bits, (char)(bits >> 8), (char)(bits >> 16),
                    (char)(bits >> 24), 3 << 3, (char)e->type };
    size_t inner = 1 + put_varint(length, e->piece.len) + e->piece.len + sizeof tail;
    size_t n = put_varint(head, 1 << 3 | 2);
    n += put_varint(head + n, inner);
    n += put_varint(head + n, 1 << 3 | 2);
    n += put_varint(head + n, e->piece.len);
    rh_str_add(s, head, n);
    rh_str_add(s, e->piece.data, e->piece.len);
    rh_str_add(s, tail, sizeof tail);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct reader { const char *at, *end; } reader;
typedef struct field { int number; uint64_t value; rh_bytes bytes; } field; /* bytes: of wire type 2 */

static bool take_varint(uint64_t *out, reader *r)
{
    *out = 0;
    for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const unsigned char c = (unsigned char)*r->at++;
        *out |= (uint64_t)(c & 0x7F) << shift;
        if (!(c & 0x80)) return true;
    }
    return false;
}

static bool take_fixed(uint64_t *out, reader *r, size_t n)
{
    if ((size_t)(r->end - r->at) < n) return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)(unsigned char)r->at[i] << (8 * i);
    r->at += n;
    return true;
}

static bool take_field(field *out, reader *r)
{
    uint64_t key, len;
    *out = (field){ 0 };
    if (!take_varint(&key, r) || key >> 3 == 0 || key >> 3 > 1 << 29) return false;
    out->number = (int)(key >> 3);
    switch (key & 7) {
    case 0: return take_varint(&out->value, r);
    case 1: return take_fixed(&out->value, r, 8);
    case 5: return take_fixed(&out->value, r, 4);
    case 2:
        if (!take_varint(&len, r) || len > (uint64_t)(r->end - r->at)) return false;
        out->bytes = (rh_bytes){ r->at, (size_t)len };
        r->at += len;
        return true;
    default: return false;
    }
}

static bool read_entry(rh_sp_entry *out, rh_bytes message)
{
    reader r = { message.data, message.data + message.len };
    *out = (rh_sp_entry){ .piece = { "", 0 }, .type = SP_NORMAL };
    for (field f; r.at < r.end;) {
        if (!take_field(&f, &r)) return false;
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.bytes.data) out->piece = f.bytes;
        else if (f.number == 2) memcpy(&out->score, &bits, 4);
        else if (f.number == 3) out->type = f.value > SP_BYTE ? 0 : (int)f.value;
    }
    return out->type != 0;
}

/* TrainerSpec: treat_whitespace_as_suffix = 24, unk_id = 40, bos_id = 41, eos_id = 42. */
static bool read_trainer(rh_sp_model *m)
{
    reader r = { m->trainer.data, m->trainer.data + m->trainer.len };
    for (field f; r.at < r.end;) {
        if (!take_field(&f, &r)) return false;
        if (f.number == 24) m->suffix_spaces = f.value != 0;
        else if (f.number == 40) m->unk = (int32_t)f.value;
        else if (f.number == 41) m->bos = (int32_t)f.value;
        else if (f.number == 42) m->eos = (int32_t)f.value;
    }
    return true;
}

/* NormalizerSpec: add_dummy_prefix = 3, remove_extra_whitespaces = 4. */
static bool read_normalizer(rh_sp_model *m)
{
    reader r = { m->normalizer.data, m->normalizer.data + m->normalizer.len };
    for (field f; r.at < r.end;) {
        if (!take_field(&f, &r)) return false;
        if (f.number == 3) m->dummy_prefix = f.value != 0;
        else if (f.number == 4) m->removes_spaces = f.value != 0;
    }
    return true;
}

rh_status rh_sp_model_read(rh_sp_model *out, const char *bytes, size_t n, rh_error *err)
{
    rh_sp_model m = { .trainer = { "", 0 }, .normalizer = { "", 0 }, .dummy_prefix = true, .removes_spaces = true,
                      .bos = 1, .eos = 2 };
    reader r = { bytes, bytes + n };
    bool good = n > 0;
    for (field f; good && r.at < r.end;) {
        good = take_field(&f, &r);
        if (!good || !f.bytes.data) continue;
        if (f.number == 2) m.trainer = f.bytes;
        else if (f.number == 3) m.normalizer = f.bytes;
        if (f.number != 1) continue;
        if (!RH_GROW(m.entries, m.cap, m.n)) {
            rh_sp_model_free(&m);
            return rh_fail_nomem(err);
        }
        good = read_entry(&m.entries[m.n++], f.bytes);
    }
    if (!good || !m.n || !read_trainer(&m) || !read_normalizer(&m)) {
        rh_sp_model_free(&m);
        return rh_fail(err, RH_EFORMAT, "it is not a SentencePiece model, or cut off");
    }
    *out = m;
    return RH_OK;
}

void rh_sp_model_free(rh_sp_model *m)
{
    free(m->entries);
    *m = (rh_sp_model){ 0 };
}

rh_status rh_sp_model_write(rh_str *out, const rh_sp_model *m, bool without_prefix, rh_error *err)
{
    char no_prefix[20];
    rh_str normalizer = { 0 };
    for (size_t i = 0; i < m->n; i++) rh_proto_put_piece(out, &m->entries[i]);
    rh_proto_put_message(out, 2, m->trainer.data, m->trainer.len);
    rh_str_add(&normalizer, m->normalizer.data, m->normalizer.len);
    if (without_prefix) rh_str_add(&normalizer, no_prefix, rh_proto_put_int(no_prefix, 3, 0)); /* the last one counts */
    rh_proto_put_message(out, 3, normalizer.data ? normalizer.data : "", normalizer.len);
    if (normalizer.failed) out->failed = true;
    rh_str_free(&normalizer);
    return out->failed ? rh_fail_nomem(err) : RH_OK;
}

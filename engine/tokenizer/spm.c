/* spm.c - SentencePiece vocabularies (Gemma, Llama 2): the container's tokens, scores and types
 * become a serialised ModelProto, so that libsentencepiece does the work whatever the container.
 * Source: sentencepiece_model.proto; llama-tokenize gives the ids to equal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/sentencepiece.h"
#include "engine/tokenizer/spm_proto.h"
#include "engine/tokenizer/vocab.h"

/* User-defined tokens are cut out of the text before the library sees it, in llama.cpp's order;
 * as control tokens they keep their ids and match nothing. Unused ones match, as in llama.cpp. */
static int proto_type(const rh_tokenizer *t, int32_t id)
{
    if (id == t->unk) return SP_UNKNOWN;
    switch (t->types[id]) {
    case RH_TOKEN_BYTE: return SP_BYTE;
    case RH_TOKEN_UNKNOWN:
    case RH_TOKEN_CONTROL:
    case RH_TOKEN_USER: return SP_CONTROL;
    default: return SP_NORMAL;
    }
}

static rh_status build_proto(rh_str *s, const rh_tokenizer *t, const float *scores, rh_error *err)
{
    bool bytes = false;
    for (int32_t id = 0; id < t->n; id++) {
        const rh_sp_entry e = { t->pieces[id], scores[id], proto_type(t, id) };
        bytes |= e.type == SP_BYTE;
        rh_proto_put_piece(s, &e);
    }
    char spec[40];
    size_t n = rh_proto_put_int(spec, 3, 2); /* TrainerSpec: model_type = 3 (2: BPE), byte_fallback = 35 */
    n += rh_proto_put_int(spec + n, 35, bytes);
    rh_proto_put_message(s, 2, spec, n);
    n = rh_proto_put_int(spec, 3, 0); /* NormalizerSpec: add_dummy_prefix = 3, */
    n += rh_proto_put_int(spec + n, 4, 0); /* remove_extra_whitespaces = 4, */
    n += rh_proto_put_int(spec + n, 5, 1); /* escape_whitespaces = 5 */
    rh_proto_put_message(s, 3, spec, n);
    return s->failed ? rh_fail_nomem(err) : RH_OK;
}

/* ---- the kind --------------------------------------------------------------------------- */

static uint32_t at_most(uint32_t x, uint32_t limit)
{
    return x < limit ? x : limit;
}

/* prefix 1: the library's text has a space in front that the caller's has not. */
static rh_status append(rh_tokens *out, const rh_sp_piece *pieces, size_t n, uint32_t prefix,
                        size_t len, int32_t base, rh_error *err)
{
    uint32_t in_char = 0, last = (uint32_t)len;
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = pieces[i].begin + in_char, end = pieces[i].end;
        if (end > pieces[i].begin) in_char = 0;
        else { /* a byte of a character, not its last */
            end = begin + 1;
            in_char++;
        }
        begin = at_most(begin < prefix ? 0 : begin - prefix, last);
        end = at_most(end < prefix ? 0 : end - prefix, last);
        rh_token token = { pieces[i].id, base + (int32_t)begin, base + (int32_t)end };
        RH_TRY(rh_tokens_push(out, token, err));
    }
    return RH_OK;
}

static bool takes_prefix(const rh_tokenizer *t, const char *text, size_t len, bool first)
{
    if (!t->space_prefix || !t->prefix_first_only) return t->space_prefix;
    const bool spaced = (len && text[0] == ' ') || (len >= 3 && !memcmp(text, "\xe2\x96\x81", 3));
    return first && !spaced;
}

static rh_status spm_encode(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                            bool first, int32_t base, rh_error *err)
{
    rh_status status;
    char message[256];
    rh_str spaced = { 0 };
    rh_sp_piece *pieces = NULL;
    size_t n = 0;
    const char *input = text;
    size_t prefix = takes_prefix(t, text, len, first) ? 1 : 0;
    if (prefix) {
        rh_str_add(&spaced, " ", 1);
        rh_str_add(&spaced, text, len);
        if (spaced.failed) {
            status = rh_fail_nomem(err);
            goto done;
        }
        input = spaced.data;
    }
    status = rh_sp_encode(&pieces, &n, t->state, input, len + prefix, message);
    if (status == RH_ENOMEM) rh_fail_nomem(err);
    else if (status)
        rh_fail(err, status, "libsentencepiece cannot encode the text: %s", message);
    if (!status) status = append(out, pieces, n, (uint32_t)prefix, len, base, err);
done:
    free(pieces);
    rh_str_free(&spaced);
    return status;
}

/* "▁" stands for a space. */
static void spm_decode(rh_str *out, rh_bytes piece)
{
    size_t from = 0;
    for (size_t i = 0; i + 3 <= piece.len; i++) {
        if (memcmp(piece.data + i, "\xe2\x96\x81", 3) != 0) continue;
        rh_str_add(out, piece.data + from, i - from);
        rh_str_add(out, " ", 1);
        from = i + 3;
        i += 2;
    }
    rh_str_add(out, piece.data + from, piece.len - from);
}

static int32_t spm_find(const rh_tokenizer *t, const char *bytes, size_t n)
{
    int32_t id = rh_piece_table_find(&t->cut, bytes, n); /* a folder's added tokens are only there */
    return id >= 0 ? id : rh_sp_find(t->state, bytes, n);
}

static void spm_free(rh_tokenizer *t)
{
    rh_sp_free(t->state);
}

static const rh_vocab_kind spm = { "SentencePiece", spm_encode, spm_decode, spm_find, spm_free };

static rh_status check_scores(const float *scores, int32_t n, rh_error *err)
{
    for (int32_t i = 0; i < n; i++)
        if (isnan(scores[i])) return rh_fail(err, RH_EFORMAT, "the score of token %d is not a number", i);
    return RH_OK;
}

/* The library wants exactly one, which stands for what nothing else matches. */
static rh_status find_unknown(rh_tokenizer *t, rh_error *err)
{
    for (int32_t id = 0; id < t->n && t->unk < 0; id++)
        if (t->types[id] == RH_TOKEN_UNKNOWN) t->unk = id;
    return t->unk < 0 ? rh_fail(err, RH_EFORMAT, "the vocabulary has no unknown token") : RH_OK;
}

rh_status rh_spm_attach_proto(rh_tokenizer *t, const rh_str *proto, rh_error *err)
{
    char message[256];
    rh_sp *sp = NULL;
    rh_status status = rh_sp_load(&sp, proto->data, proto->len, message);
    if (status == RH_ENOMEM) return rh_fail_nomem(err);
    if (status) return rh_fail(err, status, "libsentencepiece refuses the vocabulary: %s", message);
    t->state = sp;
    t->kind = &spm;
    return RH_OK;
}

rh_status rh_spm_attach(rh_tokenizer *t, rh_gguf *g, rh_error *err)
{
    rh_status status;
    rh_str proto = { 0 };
    RH_TRY(find_unknown(t, err));
    float *scores = rh_calloc((size_t)t->n, sizeof *scores);
    if (!scores) return rh_fail_nomem(err);
    int64_t n;
    if ((status = rh_gguf_array_n(&n, g, "tokenizer.ggml.scores", err))) goto done;
    if (n != t->n) {
        status = rh_fail(err, RH_EFORMAT, "tokenizer.ggml.scores has %lld entries for %d tokens",
                         (long long)n, t->n);
        goto done;
    }
    if ((status = rh_gguf_floats(scores, n, g, "tokenizer.ggml.scores", err))) goto done;
    if ((status = check_scores(scores, t->n, err))) goto done;
    if ((status = build_proto(&proto, t, scores, err))) goto done;
    status = rh_spm_attach_proto(t, &proto, err);
done:
    rh_str_free(&proto);
    free(scores);
    return status;
}

#include "engine/files/gguf_write.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { ALIGN = 32, TYPE_U32 = 4, TYPE_STRING = 8, VERSION = 3 };

static void put_u32(rh_str *s, uint32_t x)
{
    rh_str_add(s, (const char *)&x, sizeof x);
}

static void put_u64(rh_str *s, uint64_t x)
{
    rh_str_add(s, (const char *)&x, sizeof x);
}

static void put_string(rh_str *s, const char *text)
{
    put_u64(s, strlen(text));
    rh_str_puts(s, text);
}

static void put_text_key(rh_str *s, const char *key, const char *value)
{
    put_string(s, key);
    put_u32(s, TYPE_STRING);
    put_string(s, value);
}

static uint64_t padded(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void put_header(rh_str *s, const rh_vector *v, const char *metadata, const char *model_hint)
{
    rh_str_puts(s, "GGUF");
    put_u32(s, VERSION);
    put_u64(s, (uint64_t)v->n_layers);
    put_u64(s, metadata ? 4 : 3);
    put_text_key(s, "general.architecture", "controlvector");
    /* Readers want the key; "" says that the model is not known. */
    put_text_key(s, "controlvector.model_hint", model_hint ? model_hint : "");
    put_string(s, "controlvector.layer_count"); /* of directions, as llama.cpp counts them */
    put_u32(s, TYPE_U32);
    put_u32(s, (uint32_t)v->n_layers);
    if (metadata) put_text_key(s, "rhumb", metadata);
    for (int32_t i = 0; i < v->n_layers; i++) {
        char name[32];
        snprintf(name, sizeof name, "direction.%d", (int)v->layers[i]);
        put_string(s, name);
        put_u32(s, 1); /* dimensions */
        put_u64(s, (uint64_t)v->d);
        put_u32(s, 0); /* F32 */
        put_u64(s, (uint64_t)i * padded((uint64_t)v->d * sizeof *v->data));
    }
    static const char zeros[ALIGN];
    rh_str_add(s, zeros, (size_t)(padded(s->len) - s->len));
}

rh_status rh_gguf_write_vector(const char *path, const rh_vector *v, const char *metadata,
                               const char *model_hint, rh_error *err)
{
    static const char zeros[ALIGN];
    rh_str header = { 0 };
    rh_writer w = { 0 };
    size_t row = (size_t)v->d * sizeof *v->data, pad = (size_t)padded(row) - row;
    put_header(&header, v, metadata, model_hint);
    rh_status status = header.failed ? rh_fail_nomem(err) : rh_writer_open(&w, path, err);
    if (status) goto done;
    status = rh_writer_put(&w, header.data, header.len, err);
    for (int32_t i = 0; status == RH_OK && i < v->n_layers; i++) {
        status = rh_writer_put(&w, v->data + (size_t)i * (size_t)v->d, row, err);
        if (status == RH_OK) status = rh_writer_put(&w, zeros, pad, err);
    }
    if (status == RH_OK) status = rh_writer_commit(&w, err);
done:
    rh_writer_discard(&w);
    rh_str_free(&header);
    return status;
}

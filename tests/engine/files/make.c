#include "make.h"

#include <string.h>

void put_u32(rh_str *s, uint32_t x)
{
    rh_str_add(s, (const char *)&x, sizeof x);
}

void put_u64(rh_str *s, uint64_t x)
{
    rh_str_add(s, (const char *)&x, sizeof x);
}

void put_f32(rh_str *s, float x)
{
    rh_str_add(s, (const char *)&x, sizeof x);
}

void put_string(rh_str *s, const char *text)
{
    put_u64(s, strlen(text));
    rh_str_puts(s, text);
}

void zeros(rh_str *s, size_t n)
{
    while (n--) rh_str_add(s, "", 1);
}

void pad(rh_str *s, size_t align)
{
    while (s->len % align) rh_str_add(s, "", 1);
}

void gguf_header(rh_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    rh_str_puts(s, "GGUF");
    put_u32(s, version);
    put_u64(s, n_tensors);
    put_u64(s, n_kv);
}

void gguf_key(rh_str *s, const char *key, uint32_t type)
{
    put_string(s, key);
    put_u32(s, type);
}

void gguf_text(rh_str *s, const char *key, const char *value)
{
    gguf_key(s, key, STRING);
    put_string(s, value);
}

void gguf_array(rh_str *s, const char *key, uint32_t type, uint64_t n)
{
    gguf_key(s, key, ARRAY);
    put_u32(s, type);
    put_u64(s, n);
}

void gguf_tensor(rh_str *s, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                 uint64_t offset)
{
    put_string(s, name);
    put_u32(s, ne1 ? 2 : 1);
    put_u64(s, ne0);
    if (ne1) put_u64(s, ne1);
    put_u32(s, type);
    put_u64(s, offset);
}

void good_gguf(rh_str *s)
{
    gguf_header(s, 3, 3, 18);
    gguf_text(s, "general.architecture", "test");
    gguf_key(s, "u8", U8), rh_str_add(s, "\xff", 1);
    gguf_key(s, "i8", I8), rh_str_add(s, "\xff", 1);
    gguf_key(s, "u16", U16), rh_str_add(s, "\xfe\xff", 2);
    gguf_key(s, "i16", I16), rh_str_add(s, "\xfe\xff", 2);
    gguf_key(s, "u32", U32), put_u32(s, UINT32_MAX);
    gguf_key(s, "i32", I32), put_u32(s, UINT32_MAX);
    gguf_key(s, "u64", U64), put_u64(s, INT64_MAX);
    gguf_key(s, "u64 large", U64), put_u64(s, UINT64_MAX);
    gguf_key(s, "i64", I64), put_u64(s, UINT64_MAX);
    gguf_key(s, "f32", F32), put_f32(s, 1.5f);
    double d = -0.25;
    gguf_key(s, "f64", F64), rh_str_add(s, (const char *)&d, 8);
    gguf_key(s, "bool", BOOL), rh_str_add(s, "\1", 1);
    gguf_array(s, "strings", STRING, 3);
    put_string(s, "one");
    put_string(s, "");
    put_u64(s, 3), rh_str_add(s, "t\0o", 3);
    gguf_array(s, "floats", F32, 2), put_f32(s, 1), put_f32(s, -2);
    gguf_array(s, "ints", I32, 2), put_u32(s, 7), put_u32(s, UINT32_MAX);
    gguf_array(s, "bools", BOOL, 3), rh_str_add(s, "\1\0\1", 3);
    gguf_array(s, "empty", STRING, 0);
    gguf_tensor(s, "a", 3, 2, 0, 0);
    gguf_tensor(s, "b", 32, 2, 2, 32);
    gguf_tensor(s, "c", 256, 1, 17, 96); /* IQ2_XS */
    pad(s, 32);
    for (int i = 0; i < 6; i++) put_f32(s, (float)i);
    zeros(s, 8 + 36 + 28 + 74);
}

void safetensors(rh_str *s, const char *json, size_t n_data)
{
    put_string(s, json);
    zeros(s, n_data);
}

void good_safetensors(rh_str *s)
{
    safetensors(s, "{\"__metadata__\":{\"who\":\"me\"},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                   "\"direction.3\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[32,36]}}", 36);
}

void npy(rh_str *s, int version, const char *header, size_t n_data)
{
    char start[8] = "\x93NUMPY";
    uint32_t n = (uint32_t)strlen(header);
    start[6] = (char)version;
    rh_str_add(s, start, 8);
    rh_str_add(s, (const char *)&n, version == 1 ? 2 : 4);
    rh_str_puts(s, header);
    zeros(s, n_data);
}

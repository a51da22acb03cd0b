/* SHA-256, by nettle. */
#include <nettle/sha2.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"

struct rh_sha256 {
    struct sha256_ctx ctx;
};

static void hex(struct sha256_ctx *ctx, char out[65])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    out[64] = 0;
}

rh_sha256 *rh_sha256_new(void)
{
    rh_sha256 *h = rh_calloc(1, sizeof *h);
    if (h) sha256_init(&h->ctx);
    return h;
}

void rh_sha256_add(rh_sha256 *h, const void *bytes, size_t n)
{
    if (n) sha256_update(&h->ctx, n, bytes);
}

void rh_sha256_hex(rh_sha256 *h, char out[65])
{
    hex(&h->ctx, out);
}

void rh_sha256_free(rh_sha256 *h)
{
    free(h);
}

void rh_sha256_bytes(char out[65], const void *bytes, size_t n)
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    if (n) sha256_update(&ctx, n, bytes);
    hex(&ctx, out);
}

rh_status rh_sha256_file(char out[65], const char *path, rh_error *err)
{
    rh_map map = { 0 };
    RH_TRY(rh_map_open(&map, path, err));
    rh_sha256_bytes(out, map.data, map.size);
    rh_map_close(&map);
    return RH_OK;
}

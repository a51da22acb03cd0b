#include "cli/wheel.h"

#include <stdlib.h>

#include <minizip/unzip.h>

enum { BLOCK = 1 << 18 };

static rh_status too_long(const char *path, const char *member, int64_t limit, rh_error *err)
{
    return rh_fail(err, RH_EFORMAT, "'%.200s': %.200s is longer than the %lld bytes it should have", path, member,
                   (long long)limit);
}

/* The size in the directory may lie, so what really comes out is counted too. */
static rh_status read_member(unzFile zip, const char *path, const char *member, int64_t limit, cli_sink sink, void *data,
                             char *block, rh_error *err)
{
    int64_t total = 0;
    for (;;) {
        int n = unzReadCurrentFile(zip, block, BLOCK);
        if (n == 0) return RH_OK;
        if (n < 0) return rh_fail(err, RH_EFORMAT, "'%.200s': %.200s is damaged", path, member);
        total += n;
        if (total > limit) return too_long(path, member, limit, err);
        RH_TRY(sink(data, block, (size_t)n, err));
    }
}

static rh_status open_member(unzFile zip, const char *path, const char *member, int64_t limit, rh_error *err)
{
    unz_file_info64 info;
    if (unzLocateFile(zip, member, 1) != UNZ_OK) /* 1: case matters */
        return rh_fail(err, RH_EFORMAT, "'%.200s' has no %.200s in it", path, member);
    if (unzGetCurrentFileInfo64(zip, &info, NULL, 0, NULL, 0, NULL, 0) != UNZ_OK)
        return rh_fail(err, RH_EFORMAT, "'%.200s': %.200s is damaged", path, member);
    if (info.uncompressed_size > (uint64_t)limit) return too_long(path, member, limit, err);
    if (unzOpenCurrentFile(zip) != UNZ_OK)
        return rh_fail(err, RH_EFORMAT, "'%.200s': %.200s cannot be unpacked", path, member);
    return RH_OK;
}

rh_status cli_wheel_read(const char *path, const char *member, int64_t limit, cli_sink sink, void *data, rh_error *err)
{
    char *block = malloc(BLOCK);
    unzFile zip = unzOpen64(path);
    rh_status status = !block ? rh_fail_nomem(err) : !zip ? rh_fail(err, RH_EFORMAT, "'%.200s' is no wheel", path) : RH_OK;
    if (!status) status = open_member(zip, path, member, limit, err);
    if (!status) {
        status = read_member(zip, path, member, limit, sink, data, block, err);
        if (unzCloseCurrentFile(zip) == UNZ_CRCERROR && !status)
            status = rh_fail(err, RH_EFORMAT, "'%.200s': the checksum of %.200s is wrong", path, member);
    }
    if (zip) unzClose(zip);
    free(block);
    return status;
}

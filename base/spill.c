#include "base/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static rh_status fail_number(rh_error *err, const char *verb, const char *path, int number)
{
    errno = number;
    rh_fail_errno(err, verb, path);
    if (number == ENOSPC || number == EDQUOT) rh_hint(err, "make room there, or take fewer texts");
    return RH_EIO;
}

/* A new file in dir, its name removed at once. */
static int open_nameless(const char *dir)
{
    for (int i = 0; i < 100; i++) {
        char name[96];
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(name, sizeof name, ".rhumb-%ld-%lx%lx-%d.spill", (long)getpid(), (long)now.tv_sec, (long)now.tv_nsec, i);
        char *path = rh_path_join(dir, name);
        if (!path) {
            errno = ENOMEM;
            return -1;
        }
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int number = errno;
        if (fd >= 0) unlink(path);
        free(path);
        errno = number;
        if (fd >= 0 || number != EEXIST) return fd;
    }
    return -1;
}

rh_status rh_spill_open(rh_spill *out, const char *dir, int64_t size, rh_error *err)
{
    rh_spill s = {.fd = -1, .size = size};
    if (size < 0) return rh_fail(err, RH_ELIMIT, "a temporary file of that size cannot be made");
    RH_TRY(rh_make_dirs(dir, err));
    s.dir = rh_strdup(dir);
    if (!s.dir) return rh_fail_nomem(err);
    s.fd = open_nameless(dir);
    rh_status status = s.fd >= 0 ? RH_OK : errno == ENOMEM ? rh_fail_nomem(err) : rh_fail_errno(err, "write in", dir);
    if (!status && size > 0) {
        int number = posix_fallocate(s.fd, 0, (off_t)size);
        if (number) {
            char what[64];
            snprintf(what, sizeof what, "reserve %.1f MiB in", (double)size / (1 << 20));
            status = fail_number(err, what, dir, number);
        }
    }
    if (status) {
        rh_spill_close(&s);
        return status;
    }
    *out = s;
    return RH_OK;
}

void rh_spill_close(rh_spill *s)
{
    if (!s || !s->dir) return;
    if (s->fd >= 0) close(s->fd);
    free(s->dir);
    *s = (rh_spill){.fd = -1};
}

rh_status rh_spill_append(rh_spill *s, const void *bytes, size_t n, rh_error *err)
{
    const char *at = bytes;
    while (n) {
        ssize_t done = pwrite(s->fd, at, n, (off_t)s->size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return fail_number(err, "write in", s->dir, done ? errno : ENOSPC);
        at += done;
        n -= (size_t)done;
        s->size += done;
    }
    return RH_OK;
}

rh_status rh_spill_read(const rh_spill *s, int64_t offset, void *out, size_t n, rh_error *err)
{
    char *at = out;
    while (n) {
        ssize_t done = pread(s->fd, at, n, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return fail_number(err, "read in", s->dir, done ? errno : EIO);
        at += done;
        n -= (size_t)done;
        offset += done;
    }
    return RH_OK;
}

rh_status rh_window_open(rh_window *out, const rh_spill *s, int64_t offset, size_t n, bool write, rh_error *err)
{
    int64_t page = sysconf(_SC_PAGESIZE), begin = offset - offset % page;
    if (offset < 0 || offset > s->size || (uint64_t)n > (uint64_t)(s->size - offset))
        return rh_fail(err, RH_EVALUE, "a window outside the temporary file");
    rh_window w = {.length = n + (size_t)(offset - begin)};
    if (!w.length) w.length = 1;
    w.base = mmap(NULL, w.length, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, s->fd, (off_t)begin);
    if (w.base == MAP_FAILED) return errno == ENOMEM ? rh_fail_nomem(err) : rh_fail_errno(err, "map a file in", s->dir);
    w.data = (char *)w.base + (offset - begin);
    *out = w;
    return RH_OK;
}

void rh_window_close(rh_window *w)
{
    if (w && w->base) munmap(w->base, w->length);
    if (w) *w = (rh_window){0};
}

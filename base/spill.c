#include "base/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

static rh_status reserve(const rh_spill *s, rh_error *err)
{
    char what[64];
    int number = s->size + s->start > 0 ? posix_fallocate(s->fd, 0, (off_t)(s->start + s->size)) : 0;
    if (!number) return RH_OK;
    snprintf(what, sizeof what, "reserve %.1f MiB in", (double)s->size / (1 << 20));
    return fail_number(err, what, s->dir, number);
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
    if (!status) status = reserve(&s, err);
    if (status) {
        rh_spill_close(&s);
        return status;
    }
    *out = s;
    return RH_OK;
}

/* ---- with a name --------------------------------------------------------------------------------- */

/* The first page of a file that is kept. */
typedef struct head { char magic[8]; int64_t size, done; char name[128]; } head;

enum { START = 1 << 16 }; /* a multiple of every page size in use */

static head head_of(const char *name, int64_t size, int64_t done)
{
    head h = {.magic = "RHspill1", .size = size, .done = done};
    snprintf(h.name, sizeof h.name, "%s", name);
    return h;
}

/* s->path, locked; false if it cannot be made, or another process has it: nothing is kept then. */
static bool open_named(rh_spill *s)
{
    s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0) return false;
    struct stat st;
    if (!fstat(s->fd, &st) && S_ISREG(st.st_mode) && !flock(s->fd, LOCK_EX | LOCK_NB)) return true;
    close(s->fd);
    s->fd = -1;
    return false;
}

/* done of an earlier run; -1: the file is new, or another's. */
static int64_t earlier(const rh_spill *s, const head *want)
{
    head h;
    struct stat st;
    if (fstat(s->fd, &st) || st.st_size != s->start + s->size || pread(s->fd, &h, sizeof h, 0) != (ssize_t)sizeof h) return -1;
    bool same = !memcmp(h.magic, want->magic, sizeof h.magic) && h.size == want->size && !memcmp(h.name, want->name, sizeof h.name);
    return same && h.done >= 0 ? h.done : -1;
}

/* A run that is never taken up again must not fill the disk for ever. What cannot be looked at stays. */
static void remove_abandoned(const char *dir)
{
    static const time_t month = 30 * 24 * 3600;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const size_t len = strlen(e->d_name);
        struct stat st;
        if (len < 5 || strcmp(e->d_name + len - 5, ".part") != 0) continue;
        const int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) continue;
        if (!fstat(fd, &st) && S_ISREG(st.st_mode) && time(NULL) - st.st_mtime > month && !flock(fd, LOCK_EX | LOCK_NB))
            (void)unlinkat(dirfd(d), e->d_name, 0);
        close(fd);
    }
    if (d) closedir(d);
}

rh_status rh_spill_open_kept(rh_spill *out, int64_t *done, const char *dir, const char *name, int64_t size, rh_error *err)
{
    rh_str file = {0};
    rh_spill s = {.fd = -1, .size = size, .start = START};
    const head want = head_of(name, size, 0);
    *done = 0;
    if (size < 0 || size > INT64_MAX - START) return rh_fail(err, RH_ELIMIT, "a temporary file of that size cannot be made");
    RH_TRY(rh_make_dirs(dir, err));
    rh_str_printf(&file, "%s.part", name);
    s.dir = rh_strdup(dir);
    s.path = file.failed ? NULL : rh_path_join(dir, file.data);
    rh_str_free(&file);
    rh_status status = s.dir && s.path ? RH_OK : rh_fail_nomem(err);
    if (!status && !open_named(&s)) {
        rh_spill_close(&s);
        return rh_spill_open(out, dir, size, err);
    }
    if (!status && (*done = earlier(&s, &want)) < 0) {
        *done = 0;
        if (ftruncate(s.fd, 0)) status = rh_fail_errno(err, "write in", dir);
        if (!status) status = reserve(&s, err);
        if (!status && pwrite(s.fd, &want, sizeof want, 0) != (ssize_t)sizeof want) status = rh_fail_errno(err, "write in", dir);
        if (status) rh_spill_remove(&s);
    }
    if (status) {
        rh_spill_close(&s);
        return status;
    }
    remove_abandoned(dir);
    *out = s;
    return RH_OK;
}

rh_status rh_spill_mark(rh_spill *s, int64_t done, rh_error *err)
{
    if (!s->path) return RH_OK;
    if (fdatasync(s->fd) || pwrite(s->fd, &done, sizeof done, offsetof(head, done)) != (ssize_t)sizeof done)
        return rh_fail_errno(err, "write in", s->dir);
    return RH_OK;
}

void rh_spill_remove(rh_spill *s)
{
    if (s->path) unlink(s->path);
}

void rh_spill_close(rh_spill *s)
{
    if (!s) return;
    if (s->dir && s->fd >= 0) close(s->fd); /* a zeroed one has no file */
    free(s->dir);
    free(s->path);
    *s = (rh_spill){.fd = -1};
}

rh_status rh_spill_append(rh_spill *s, const void *bytes, size_t n, rh_error *err)
{
    const char *at = bytes;
    while (n) {
        ssize_t done = pwrite(s->fd, at, n, (off_t)(s->start + s->size));
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
        ssize_t done = pread(s->fd, at, n, (off_t)(s->start + offset));
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
    w.base = mmap(NULL, w.length, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, s->fd, (off_t)(s->start + begin));
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

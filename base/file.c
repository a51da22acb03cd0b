#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- reading ------------------------------------------------------------------------ */

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* O_NONBLOCK: a FIFO must be refused, not waited for. */
rh_status rh_map_open(rh_map *out, const char *path, rh_error *err)
{
    rh_map m = { .data = (const uint8_t *)"" };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rh_fail_errno(err, "open", path);
    rh_status status = RH_OK;
    if (fstat(fd, &st)) {
        status = rh_fail_errno(err, "look at", path);
    } else if (S_ISDIR(st.st_mode)) {
        status = rh_fail(err, RH_EIO, "'%s' is a folder; a file was expected", path);
    } else if (!S_ISREG(st.st_mode)) {
        status = rh_fail(err, RH_EIO, "'%s' is no regular file and cannot be mapped", path);
        rh_hint(err, "copy it to a file first");
    } else if ((uintmax_t)st.st_size > SIZE_MAX) {
        status = rh_fail(err, RH_ELIMIT, "'%s' is too large for this machine's addresses", path);
    } else if (!(m.path = rh_strdup(path))) {
        status = rh_fail_nomem(err);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) status = rh_fail_errno(err, "map", path);
        else m.data = p, m.size = (size_t)st.st_size;
    }
    close(fd);
    if (status) {
        free(m.path);
        return status;
    }
    m.mtime_ns = mtime_ns(&st);
    m.inode = (uint64_t)st.st_ino;
    *out = m;
    return RH_OK;
}

void rh_map_close(rh_map *m)
{
    if (!m) return;
    if (m->size) {
        void *p;
        memcpy(&p, &m->data, sizeof p); /* munmap wants it without const */
        munmap(p, m->size);
    }
    free(m->path);
    memset(m, 0, sizeof *m);
}

rh_status rh_map_check(const rh_map *m, rh_error *err)
{
    struct stat st;
    if (stat(m->path, &st)) return RH_OK; /* removed: the mapped bytes stay */
    if ((uint64_t)st.st_ino != m->inode) return RH_OK;
    if ((uintmax_t)st.st_size == m->size && mtime_ns(&st) == m->mtime_ns) return RH_OK;
    rh_fail(err, RH_EIO, "'%s' was changed while it was open", m->path);
    rh_hint(err, "start again; replace files by renaming, not by writing into them");
    return RH_EIO;
}

void rh_map_release(const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)data + page - 1) / page * page,
                    to = ((uintptr_t)data + size) / page * page;
    if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

rh_status rh_read_file(char **out, size_t *len, const char *path, size_t limit, rh_error *err)
{
    char *data = NULL;
    size_t n = 0, capacity = 0;
    struct stat st;
    rh_status status = RH_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return rh_fail_errno(err, "open", path);
    if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
        status = rh_fail(err, RH_EIO, "'%s' is a folder; a file was expected", path);
        goto done;
    }
    for (;;) {
        if (capacity - n < 2 && !rh_grow((void **)&data, &capacity, n + 4096, 1)) {
            status = rh_fail_nomem(err);
            goto done;
        }
        ssize_t got = read(fd, data + n, capacity - n - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            status = rh_fail_errno(err, "read", path);
            goto done;
        }
        if (got == 0) break;
        n += (size_t)got;
        if (n > limit) {
            status = rh_fail(err, RH_ELIMIT, "'%s' has more than %zu bytes", path, limit);
            goto done;
        }
    }
    data[n] = 0;
    *out = data;
    *len = n;
    data = NULL;
done:
    free(data);
    close(fd);
    return status;
}

/* ---- paths -------------------------------------------------------------------------- */

bool rh_is_dir(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool rh_is_file(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode);
}

char *rh_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    if (name[0] == '/' || !n) return rh_strdup(name);
    rh_str s = { 0 };
    rh_str_add(&s, dir, n);
    if (dir[n - 1] != '/') rh_str_puts(&s, "/");
    rh_str_puts(&s, name);
    if (s.failed) rh_str_free(&s);
    return s.data;
}

char *rh_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return rh_strdup(".");
    while (slash > path && slash[-1] == '/') slash--;
    return rh_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

rh_status rh_make_dirs(const char *path, rh_error *err)
{
    rh_status status = RH_OK;
    char *p = rh_strdup(path);
    if (!p) return rh_fail_nomem(err);
    size_t n = strlen(p);
    for (size_t i = 1; i <= n && status == RH_OK; i++) {
        if (p[i] != '/' && p[i] != 0) continue;
        char kept = p[i];
        p[i] = 0;
        if (mkdir(p, 0777) && !rh_is_dir(p)) status = rh_fail_errno(err, "make the folder", p);
        p[i] = kept;
    }
    free(p);
    return status;
}

/* ---- writing ------------------------------------------------------------------------ */

/* A new file in path's folder, with the permissions the umask gives (mkstemp's are 0600). */
static int open_temp(char **temp, const char *path)
{
    struct timespec now = { 0 };
    char *dir = rh_path_dir(path);
    int fd = -1;
    if (!dir) errno = ENOMEM;
    for (int i = 0; dir && i < 100; i++) {
        char name[96];
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(name, sizeof name, ".rhumb-%ld-%lx%lx-%d.tmp", (long)getpid(), (long)now.tv_sec,
                 (long)now.tv_nsec, i);
        *temp = rh_path_join(dir, name);
        if (!*temp) {
            errno = ENOMEM;
            break;
        }
        fd = open(*temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) break;
        int number = errno;
        free(*temp);
        *temp = NULL;
        errno = number;
        if (errno != EEXIST) break;
    }
    int number = errno;
    free(dir);
    errno = number;
    return fd;
}

/* Through a symbolic link to its target, so that the link stays. Devices and pipes
 * (/dev/stdout) are written to directly: nothing stands there that could be lost. */
rh_status rh_writer_open(rh_writer *out, const char *path, rh_error *err)
{
    rh_writer w = { 0 };
    struct stat st, link;
    bool exists = !stat(path, &st);
    int fd = -1;
    size_t n = strlen(path);
    if ((exists && S_ISDIR(st.st_mode)) || !n || path[n - 1] == '/') {
        rh_fail(err, RH_EIO, "cannot write '%s': it is a folder", path);
        rh_hint(err, "give the name of a file in it");
        return RH_EIO;
    }
    if (exists && !lstat(path, &link) && S_ISLNK(link.st_mode) && S_ISREG(st.st_mode))
        w.path = realpath(path, NULL);
    else w.path = rh_strdup(path);
    if (!w.path) return rh_fail_nomem(err);
    if (exists && !S_ISREG(st.st_mode)) fd = open(path, O_WRONLY | O_CLOEXEC);
    else fd = open_temp(&w.temp, w.path);
    if (fd < 0) {
        rh_status status = rh_fail_errno(err, "write", path);
        free(w.path);
        return status;
    }
    /* An existing file keeps its permissions; where that is not allowed the umask's do. */
    if (exists && w.temp && fchmod(fd, st.st_mode & 0777)) errno = 0;
    w.file = fdopen(fd, "wb");
    if (!w.file) {
        rh_status status = rh_fail_errno(err, "write", path);
        close(fd);
        rh_writer_discard(&w);
        return status;
    }
    *out = w;
    return RH_OK;
}

rh_status rh_writer_put(rh_writer *w, const void *bytes, size_t n, rh_error *err)
{
    errno = EIO;
    if (n && fwrite(bytes, 1, n, w->file) != n) return rh_fail_errno(err, "write", w->path);
    return RH_OK;
}

rh_status rh_writer_commit(rh_writer *w, rh_error *err)
{
    rh_status status = RH_OK;
    errno = EIO;
    bool failed = ferror(w->file) || fflush(w->file) || (w->temp && fsync(fileno(w->file)));
    if (failed) status = rh_fail_errno(err, "write", w->path);
    if (fclose(w->file) && !failed) status = rh_fail_errno(err, "write", w->path);
    w->file = NULL;
    if (status == RH_OK && w->temp) {
        if (rename(w->temp, w->path)) {
            status = rh_fail_errno(err, "write", w->path);
        } else {
            free(w->temp);
            w->temp = NULL;
        }
    }
    rh_writer_discard(w);
    return status;
}

void rh_writer_discard(rh_writer *w)
{
    if (!w) return;
    if (w->file) fclose(w->file);
    if (w->temp) unlink(w->temp);
    free(w->temp);
    free(w->path);
    memset(w, 0, sizeof *w);
}

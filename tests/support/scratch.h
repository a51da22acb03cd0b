/* scratch.h - a folder for a test's files, and small files in it. */
#ifndef RH_TEST_SCRATCH_H
#define RH_TEST_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct scratch {
    char dir[256];
    char path[600]; /* of the last scratch_path */
} scratch;

static inline void scratch_open(scratch *s)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(s->dir, sizeof s->dir, "%s/rhumb-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(s->dir)) {
        perror(s->dir);
        abort();
    }
}

/* Borrowed until the next call. */
static inline const char *scratch_path(scratch *s, const char *name)
{
    snprintf(s->path, sizeof s->path, "%s/%s", s->dir, name);
    return s->path;
}

static inline const char *scratch_write(scratch *s, const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(scratch_path(s, name), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) {
        perror(s->path);
        abort();
    }
    return s->path;
}

/* Number of entries, "." and ".." not counted. */
static inline int scratch_count(const scratch *s)
{
    int n = 0;
    DIR *d = opendir(s->dir);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n - 2;
}

/* Files only, one level. */
static inline void scratch_close(scratch *s)
{
    DIR *d = opendir(s->dir);
    for (struct dirent *e; d && (e = readdir(d));) unlink(scratch_path(s, e->d_name));
    if (d) closedir(d);
    rmdir(s->dir);
}

#endif

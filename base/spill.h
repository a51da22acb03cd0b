/* spill.h - a temporary file for what is too large for memory, read and written through mapped
 * windows. It has no name from the moment it is made, so nothing is left behind however the
 * process ends; or it has one, so that another run can go on with it. Knows bytes. */
#ifndef RH_BASE_SPILL_H
#define RH_BASE_SPILL_H

#include "base/error.h"

typedef struct rh_spill { /* rh_spill_close */
    int fd;               /* -1: closed */
    int64_t size;         /* bytes */
    int64_t start;        /* of byte 0 in the file: a page, if it has a name */
    char *dir;            /* for messages; owned */
    char *path;           /* NULL: nameless */
} rh_spill;

/* `size` bytes of zeros in a folder that exists (it is made if not). Space is reserved at once: a
 * full disk is RH_EIO here, and not a signal at some later write. size 0: to be appended to. */
rh_status rh_spill_open(rh_spill *out, const char *dir, int64_t size, rh_error *err);
void rh_spill_close(rh_spill *s); /* NULL and zeroed are fine; a name stays */

/* DIR/NAME.part, of `size` bytes. *done is what the last rh_spill_mark of an earlier run with this name and size said,
 * or 0, and then the bytes are zeros. While another process has it open, a nameless one in its place. What others left
 * there a month ago and nobody has open is removed. */
rh_status rh_spill_open_kept(rh_spill *out, int64_t *done, const char *dir, const char *name, int64_t size, rh_error *err);
/* What was written so far is on the disk, and then so is `done`. */
rh_status rh_spill_mark(rh_spill *s, int64_t done, rh_error *err);
void rh_spill_remove(rh_spill *s); /* the name; close it too */

rh_status rh_spill_append(rh_spill *s, const void *bytes, size_t n, rh_error *err); /* size grows by n */
rh_status rh_spill_read(const rh_spill *s, int64_t offset, void *out, size_t n, rh_error *err);

/* Bytes [offset, offset + n) in memory until the window is closed; then they take none. */
typedef struct rh_window { void *data; void *base; size_t length; } rh_window;
rh_status rh_window_open(rh_window *out, const rh_spill *s, int64_t offset, size_t n, bool write, rh_error *err);
void rh_window_close(rh_window *w); /* zeroed is fine */

#endif

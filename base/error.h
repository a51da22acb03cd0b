/* error.h - filling an rh_error. Knows nothing but rhumb.h. */
#ifndef RH_BASE_ERROR_H
#define RH_BASE_ERROR_H

#include "rhumb.h"

#if defined(__GNUC__)
#define RH_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define RH_PRINTF(a, b)
#endif

/* Fill err (may be NULL) with code and message, clearing the rest; returns code, so that
 * `return rh_fail(err, RH_EIO, "…")` reads well. A too long message is cut. */
rh_status rh_fail(rh_error *err, rh_status code, const char *format, ...) RH_PRINTF(3, 4);

/* Add to an error that has been filled. rh_hinted passes the code through:
 * `return rh_hinted(rh_fail(err, RH_EIO, "…"), err, "…")`. */
void rh_hint(rh_error *err, const char *format, ...) RH_PRINTF(2, 3);
rh_status rh_hinted(rh_status code, rh_error *err, const char *format, ...) RH_PRINTF(3, 4);
/* The message begins with the file, unless it names it already or memory ran out. Passes the code through. */
rh_status rh_in_file(rh_status code, rh_error *err, const char *path);
void rh_place(rh_error *err, const char *file, int line, int column);

/* "cannot open 'x': No such file or directory" from errno. */
rh_status rh_fail_errno(rh_error *err, const char *verb, const char *path);
rh_status rh_fail_nomem(rh_error *err);

/* Propagate: evaluates to return on anything but RH_OK. For functions that own nothing. */
#define RH_TRY(call)                            \
    do {                                        \
        rh_status rh_try_status_ = (call);      \
        if (rh_try_status_) return rh_try_status_; \
    } while (0)

#endif

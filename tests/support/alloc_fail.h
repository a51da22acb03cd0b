/* alloc_fail.h - rerun a call with its allocations failing, one after the other.
 *
 * A test called tests/ROOM/test_no_memory*.c is linked with this (tests/CMakeLists.txt): the
 * linker sends every malloc, calloc, realloc, aligned_alloc and free of the rooms through here.
 * What libraries and libc allocate for themselves does not fail; jansson's blocks are counted. */
#ifndef RH_TEST_ALLOC_FAIL_H
#define RH_TEST_ALLOC_FAIL_H

#include "base/error.h"

/* Do the whole job and release everything it made, on success as on failure. */
typedef rh_status (*alloc_fail_job)(void *data, rh_error *err);

/* Runs `job` once as it is: it must succeed and leave no block behind; that counts its n
 * allocations. Then for i = 0, 1, ... n-1 twice: with allocation i alone failing, and with all
 * from i on. Each run must return RH_ENOMEM, say so in err, and leave no block behind. If n is
 * beyond `limit`, only `limit` values of i are tried, evenly spread. Asserts through cmocka;
 * returns n. May be used with threads: a run whose allocation i is never reached may succeed.
 * What is made once and kept (a library's own cache) must be made before. */
int64_t alloc_fail_each(alloc_fail_job job, void *data, int64_t limit);
/* The same for a job that may also succeed by a way that needs no such block: a table that only
 * saves time, a note that is kept for another run. Still nothing may leak. */
int64_t alloc_fail_each_or_without(alloc_fail_job job, void *data, int64_t limit);

#endif

/* layout.h - names and byte ranges of a file's tensors: found by name, checked for overlap.
 * Private to engine/files; knows no format. Sorted, not hashed: no file can make it slow. */
#ifndef RH_ENGINE_LAYOUT_H
#define RH_ENGINE_LAYOUT_H

#include "base/error.h"

typedef struct rh_name_entry {
    const char *name; /* borrowed */
    int64_t index;
} rh_name_entry;

typedef struct rh_names { /* by name, then index */
    rh_name_entry *items; /* owned; rh_names_free */
    int64_t n;
} rh_names;

bool rh_names_alloc(rh_names *names, int64_t n); /* then fill items, then sort */
void rh_names_sort(rh_names *names);
int64_t rh_names_find(const rh_names *names, const char *name); /* least index, or -1 */
const char *rh_names_twice(const rh_names *names);              /* one that repeats, or NULL */
void rh_names_free(rh_names *names);

typedef struct rh_span {
    uint64_t begin, end;
    const char *name;
} rh_span;
void rh_spans_sort(rh_span *spans, int64_t n); /* by begin, then end */

#endif

/* heap_map.h - give a reader of mapped files some bytes in a heap block of just their size, so
 * that the address sanitizer sees a read past the end (behind a small file's mapping it does not:
 * the rest of the page is there). Nothing is written to disk. Linked to test_fuzz*.c. */
#ifndef RH_TEST_HEAP_MAP_H
#define RH_TEST_HEAP_MAP_H

#include <stdbool.h>
#include <stddef.h>

/* From now on rh_map_open of any path gives a copy of bytes[0..n); NULL: real files again. */
void heap_map_set(const void *bytes, size_t n);

/* From now on rh_map_open reads the file itself into such a block; false: maps it again. */
void heap_map_copy(bool on);

#endif

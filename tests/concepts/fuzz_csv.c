#define _GNU_SOURCE /* memfd_create */
#include "fuzz_csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/utf8.h"
#include "concepts/concepts.h"

/* No test framework here: what a fuzzer finds is a crash. */
#define must(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

static void broken(const char *what, int line)
{
    fprintf(stderr, "fuzz_csv.c:%d: not so: %s\n", line, what);
    abort();
}

static void check(const rh_pairs *p, bool marked)
{
    size_t classes[2] = {0};
    for (size_t i = 0; i < p->n; i++) {
        const rh_text_row *r = &p->rows[i];
        must(r->len > 0);
        must(strlen(r->text) == r->len);
        must(rh_utf8_valid(r->text, r->len) == r->len);
        must(r->line > 1);
        if (i) must(r->line >= r[-1].line);
        if (p->paired) must(r->positive == (i % 2 == 0));
        must(marked == (r->n_marks > 0));
        for (int32_t k = 0; k < r->n_marks; k++) {
            must(r->marks[k].start < r->marks[k].end && r->marks[k].end <= r->len);
            if (k) must(r->marks[k - 1].end <= r->marks[k].start);
        }
        classes[r->positive]++;
    }
    must(classes[0] && classes[1]);
}

bool fuzz_csv(const void *bytes, size_t n, bool marked, bool renamed)
{
    rh_pairs p = {0};
    rh_error err = {0};
    char path[64];
    int fd = memfd_create("pairs.csv", 0);
    must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    rh_status status = rh_pairs_read(&p, path, renamed ? "a" : NULL, renamed ? "text" : NULL, marked, &err);
    if (!status) check(&p, marked);
    else must(status == RH_EFORMAT && err.line >= 1 && err.message[0] && err.hint[0] && !p.rows);
    rh_pairs_free(&p);
    close(fd);
    return status == RH_OK;
}

/* The first byte chooses, the rest is the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) fuzz_csv(data + 1, size - 1, data[0] & 1, data[0] & 2);
    return 0;
}

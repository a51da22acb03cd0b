/* Spill files: what is written is read back, nothing has a name, a full disk is an error at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/spill.h"
#include "support/scratch.h"

static void windows_and_appends(void **state)
{
    (void)state;
    scratch dir;
    rh_spill s;
    rh_window w;
    rh_error err = {0};
    scratch_open(&dir);
    assert_int_equal(rh_spill_open(&s, dir.dir, 100000, &err), RH_OK);
    assert_int_equal(scratch_count(&dir), 0);
    /* Across pages, and not at their beginning. */
    assert_int_equal(rh_window_open(&w, &s, 4095, 9000, true, &err), RH_OK);
    for (int i = 0; i < 9000; i++) ((unsigned char *)w.data)[i] = (unsigned char)(i % 251);
    rh_window_close(&w);
    unsigned char back[10] = {1};
    assert_int_equal(rh_spill_read(&s, 4090, back, 10, &err), RH_OK);
    static const unsigned char want[10] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
    assert_memory_equal(back, want, 10);
    assert_int_equal(rh_window_open(&w, &s, 4095 + 8990, 10, false, &err), RH_OK);
    assert_int_equal(((unsigned char *)w.data)[9], 8999 % 251);
    rh_window_close(&w);
    assert_int_equal(rh_spill_append(&s, "end", 3, &err), RH_OK);
    assert_int_equal(s.size, 100003);
    assert_int_equal(rh_spill_read(&s, 100000, back, 3, &err), RH_OK);
    assert_memory_equal(back, "end", 3);
    /* Outside: an error, not a signal. */
    assert_int_equal(rh_window_open(&w, &s, 100000, 4, false, &err), RH_EVALUE);
    assert_int_equal(rh_window_open(&w, &s, -1, 4, false, &err), RH_EVALUE);
    assert_int_equal(rh_spill_read(&s, 100000, back, 4, &err), RH_EIO);
    rh_spill_close(&s);
    rh_spill_close(&s);
    rh_spill_close(NULL);
    scratch_close(&dir);
}

static void folders(void **state)
{
    (void)state;
    scratch dir;
    rh_spill s;
    rh_error err = {0};
    char path[512];
    scratch_open(&dir);
    snprintf(path, sizeof path, "%s/made/on/the/way", dir.dir);
    assert_int_equal(rh_spill_open(&s, path, 0, &err), RH_OK);
    rh_spill_close(&s);
    scratch_write(&dir, "file", "x", 1);
    snprintf(path, sizeof path, "%s/file", dir.dir);
    assert_int_equal(rh_spill_open(&s, path, 0, &err), RH_EIO);
    assert_non_null(strstr(err.message, "file"));
    assert_int_equal(rh_spill_open(&s, dir.dir, -1, &err), RH_ELIMIT);
    char made[600];
    for (int i = 0; i < 4; i++) {
        static const char *const inner[] = {"made/on/the/way", "made/on/the", "made/on", "made"};
        snprintf(made, sizeof made, "%s/%s", dir.dir, inner[i]);
        rmdir(made);
    }
    scratch_close(&dir);
}

/* No room: the largest file a process may make stands in for the disk. */
static void no_room(void **state)
{
    (void)state;
    scratch dir;
    rh_spill s;
    rh_error err = {0};
    struct rlimit old, small = {1 << 20, 1 << 20};
    scratch_open(&dir);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rh_status reserved = rh_spill_open(&s, dir.dir, 8 << 20, &err);
    rh_spill grown;
    rh_status opened = rh_spill_open(&grown, dir.dir, 0, NULL), appended = RH_OK;
    char *bytes = calloc(1, 1 << 18);
    for (int i = 0; i < 8 && !appended; i++) appended = rh_spill_append(&grown, bytes, 1 << 18, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    free(bytes);
    assert_int_equal(reserved, RH_EIO);
    assert_non_null(strstr(err.message, "8.0 MiB"));
    assert_int_equal(opened, RH_OK);
    assert_int_equal(appended, RH_EIO);
    rh_spill_close(&grown);
    assert_int_equal(scratch_count(&dir), 0);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_and_appends), cmocka_unit_test(folders),
                                       cmocka_unit_test(no_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Spill files: what is written is read back, nothing has a name, a full disk is an error at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

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

/* Another run goes on where the last mark was; not with another size, and not while the file is in use. */
static void kept(void **state)
{
    (void)state;
    scratch dir;
    rh_spill s, other;
    rh_window w;
    rh_error err = {0};
    int64_t done = 7;
    char back[4] = "";
    scratch_open(&dir);
    assert_int_equal(rh_spill_open_kept(&s, &done, dir.dir, "abc", 9000, &err), RH_OK);
    assert_int_equal(done, 0);
    assert_int_equal(rh_window_open(&w, &s, 4093, 3, true, &err), RH_OK);
    memcpy(w.data, "yes", 3);
    rh_window_close(&w);
    assert_int_equal(rh_spill_mark(&s, 42, &err), RH_OK);
    assert_int_equal(rh_spill_open_kept(&other, &done, dir.dir, "abc", 9000, &err), RH_OK); /* nameless */
    assert_null(other.path);
    assert_int_equal(done, 0);
    rh_spill_close(&other);
    rh_spill_close(&s);
    assert_int_equal(scratch_count(&dir), 1);
    assert_int_equal(rh_spill_open_kept(&s, &done, dir.dir, "abc", 9000, &err), RH_OK);
    assert_int_equal(done, 42);
    assert_int_equal(rh_spill_read(&s, 4093, back, 3, &err), RH_OK);
    assert_string_equal(back, "yes");
    rh_spill_close(&s);
    assert_int_equal(rh_spill_open_kept(&s, &done, dir.dir, "abc", 9001, &err), RH_OK);
    assert_int_equal(done, 0);
    assert_int_equal(rh_spill_read(&s, 4093, back, 3, &err), RH_OK);
    assert_int_equal(back[0], 0);
    rh_spill_remove(&s);
    rh_spill_close(&s);
    assert_int_equal(scratch_count(&dir), 0);
    scratch_close(&dir);
}

/* What lies there is not ours, or was cut off: it is made anew. */
/* What nobody has come back to for a month goes when another is made; unless it is open, or something else. */
static void abandoned(void **state)
{
    (void)state;
    scratch dir;
    rh_spill mine, open_one;
    rh_error err = {0};
    int64_t done;
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 31 * 24 * 3600}, {.tv_sec = time(NULL) - 31 * 24 * 3600}};
    scratch_open(&dir);
    assert_int_equal(rh_spill_open_kept(&open_one, &done, dir.dir, "open", 100, &err), RH_OK);
    scratch_write(&dir, "young.part", "x", 1);
    static const char *const aged[] = {"old.part", "old.txt"};
    for (int i = 0; i < 2; i++) scratch_write(&dir, aged[i], "x", 1);
    for (int i = 0; i < 2; i++) assert_int_equal(utimensat(AT_FDCWD, scratch_path(&dir, aged[i]), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, scratch_path(&dir, "open.part"), old, 0), 0);
    assert_int_equal(rh_spill_open_kept(&mine, &done, dir.dir, "mine", 100, &err), RH_OK);
    assert_int_equal(access(scratch_path(&dir, "old.part"), F_OK), -1);
    static const char *const stay[] = {"old.txt", "young.part", "open.part", "mine.part"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(access(scratch_path(&dir, stay[i]), F_OK), 0);
        unlink(scratch_path(&dir, stay[i]));
    }
    rh_spill_close(&mine);
    rh_spill_close(&open_one);
    scratch_close(&dir);
}

static void kept_by_others(void **state)
{
    (void)state;
    static const char junk[70000] = "RHspill1";
    scratch dir;
    rh_spill s;
    rh_error err = {0};
    int64_t done;
    char path[600];
    scratch_open(&dir);
    for (size_t n = 0; n <= sizeof junk; n += n < 100 ? 37 : 12345) {
        scratch_write(&dir, "abc.part", junk, n);
        assert_int_equal(rh_spill_open_kept(&s, &done, dir.dir, "abc", 70000 - (1 << 16), &err), RH_OK);
        assert_int_equal(done, 0);
        assert_non_null(s.path);
        rh_spill_close(&s);
    }
    snprintf(path, sizeof path, "%s/abc.part", dir.dir); /* a link is not followed */
    unlink(path);
    assert_int_equal(symlink(scratch_write(&dir, "else", "x", 1), path), 0);
    assert_int_equal(rh_spill_open_kept(&s, &done, dir.dir, "abc", 100, &err), RH_OK);
    assert_null(s.path);
    rh_spill_close(&s);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_and_appends), cmocka_unit_test(kept), cmocka_unit_test(kept_by_others), cmocka_unit_test(abandoned),
                                       cmocka_unit_test(folders), cmocka_unit_test(no_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "support/scratch_dir.h"

static void assert_content(const char *path, const char *expected)
{
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(rh_read_file(&text, &n, path, 1 << 20, NULL), RH_OK);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void maps(void **state)
{
    (void)state;
    rh_map m;
    rh_error e;
    const char *path = scratch_write(&dir, "a", "hello", 5);
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    assert_string_equal(m.path, path);
    rh_map_close(&m);
    rh_map_close(&m);
    rh_map_close(NULL);

    path = scratch_write(&dir, "empty", "", 0);
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    assert_int_equal(m.size, 0);
    assert_non_null(m.data);
    assert_int_equal(rh_map_check(&m, &e), RH_OK);
    rh_map_close(&m);

    path = scratch_path(&dir, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const wrong[][2] = {
        { "/nowhere/at/all", "No such file" },
        { dir.dir, "is a folder" },
        { "/dev/null", "no regular file" },
        { path, "no regular file" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(rh_map_open(&m, wrong[i][0], &e), RH_EIO);
        assert_non_null(strstr(e.message, wrong[i][1]));
        assert_non_null(strstr(e.message, wrong[i][0]));
    }
}

static void notices_change(void **state)
{
    (void)state;
    rh_map m;
    rh_error e;
    char other[600];
    const char *path = scratch_write(&dir, "b", "hello", 5);
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    assert_int_equal(rh_map_check(&m, &e), RH_OK);
    scratch_write(&dir, "b", "hello world", 11);
    assert_int_equal(rh_map_check(&m, &e), RH_EIO);
    rh_map_close(&m);

    /* Same size, written in place. */
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(rh_map_check(&m, &e), RH_EIO);
    rh_map_close(&m);

    /* Replaced by renaming, or removed: the mapped bytes are still the old ones. */
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    snprintf(other, sizeof other, "%s", scratch_write(&dir, "c", "new", 3));
    assert_int_equal(rename(other, scratch_path(&dir, "b")), 0);
    assert_int_equal(rh_map_check(&m, &e), RH_OK);
    assert_memory_equal(m.data, "hello world", 11);
    unlink(scratch_path(&dir, "b"));
    assert_int_equal(rh_map_check(&m, &e), RH_OK);
    rh_map_close(&m);
}

static void reads_whole(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    rh_error e;
    char big[10000];
    memset(big, 'x', sizeof big);
    const char *path = scratch_write(&dir, "big", big, sizeof big);
    assert_int_equal(rh_read_file(&text, &n, path, sizeof big, &e), RH_OK);
    assert_int_equal(n, sizeof big);
    assert_memory_equal(text, big, sizeof big);
    assert_int_equal(text[n], 0);
    free(text);
    text = NULL;
    assert_int_equal(rh_read_file(&text, &n, path, sizeof big - 1, &e), RH_ELIMIT);
    assert_int_equal(rh_read_file(&text, &n, dir.dir, 10, &e), RH_EIO);
    assert_int_equal(rh_read_file(&text, &n, "/nowhere", 10, &e), RH_EIO);
    assert_int_equal(rh_read_file(&text, &n, "/dev/zero", 100, &e), RH_ELIMIT);
    assert_null(text);
    assert_int_equal(rh_read_file(&text, &n, "/dev/null", 0, &e), RH_OK);
    assert_int_equal(n, 0);
    assert_string_equal(text, "");
    free(text);
}

static void writes_atomically(void **state)
{
    (void)state;
    rh_writer w;
    rh_error e;
    char path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s", scratch_path(&dir, "out"));
    assert_int_equal(rh_writer_open(&w, path, &e), RH_OK);
    assert_int_equal(rh_writer_put(&w, "one", 3, &e), RH_OK);
    assert_false(rh_is_file(path)); /* nothing there before commit */
    assert_int_equal(rh_writer_commit(&w, &e), RH_OK);
    assert_content(path, "one");
    rh_writer_discard(&w); /* no-op after commit */

    assert_int_equal(chmod(path, 0640), 0);
    int before = scratch_count(&dir);
    assert_int_equal(rh_writer_open(&w, path, &e), RH_OK);
    assert_int_equal(rh_writer_put(&w, "two", 3, &e), RH_OK);
    rh_writer_discard(&w);
    rh_writer_discard(&w);
    assert_content(path, "one");
    assert_int_equal(scratch_count(&dir), before); /* no temporary file is left */

    assert_int_equal(rh_writer_open(&w, path, &e), RH_OK);
    assert_int_equal(rh_writer_put(&w, "three", 5, &e), RH_OK);
    assert_int_equal(rh_writer_commit(&w, &e), RH_OK);
    assert_content(path, "three");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(scratch_count(&dir), before);
}

static void follows_links(void **state)
{
    (void)state;
    rh_writer w;
    char link[600], target[600];
    struct stat st;
    snprintf(target, sizeof target, "%s", scratch_write(&dir, "target", "old", 3));
    snprintf(link, sizeof link, "%s", scratch_path(&dir, "link"));
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(rh_writer_open(&w, link, NULL), RH_OK);
    assert_int_equal(rh_writer_put(&w, "new", 3, NULL), RH_OK);
    assert_int_equal(rh_writer_commit(&w, NULL), RH_OK);
    assert_content(target, "new");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void refuses_places(void **state)
{
    (void)state;
    rh_writer w;
    rh_error e;
    assert_int_equal(rh_writer_open(&w, dir.dir, &e), RH_EIO);
    assert_non_null(strstr(e.message, "folder"));
    assert_int_equal(rh_writer_open(&w, "/nowhere/x", &e), RH_EIO);
    assert_non_null(strstr(e.message, "/nowhere/x"));
    assert_int_equal(rh_writer_open(&w, "", &e), RH_EIO);
    assert_int_equal(rh_writer_open(&w, "new-folder/", &e), RH_EIO);
}

/* A full disk: at a device, and at the limit for the size of a file. */
static void survives_full_disk(void **state)
{
    (void)state;
    rh_writer w;
    rh_error e;
    char path[600], block[4096] = "";
    assert_int_equal(rh_writer_open(&w, "/dev/full", &e), RH_OK);
    assert_int_equal(rh_writer_put(&w, "x", 1, &e), RH_OK); /* still in the buffer */
    assert_int_equal(rh_writer_commit(&w, &e), RH_EIO);
    assert_non_null(strstr(e.message, "/dev/full"));
    assert_non_null(strstr(e.message, "No space left"));

    snprintf(path, sizeof path, "%s", scratch_write(&dir, "kept", "kept", 4));
    int before = scratch_count(&dir);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rh_status status = rh_writer_open(&w, path, &e);
    for (int i = 0; i < 10 && status == RH_OK; i++) status = rh_writer_put(&w, block, sizeof block, &e);
    if (status) rh_writer_discard(&w);
    else status = rh_writer_commit(&w, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, RH_EIO);
    assert_non_null(strstr(e.message, path));
    assert_content(path, "kept");
    assert_int_equal(scratch_count(&dir), before);
}

static void joins_paths(void **state)
{
    (void)state;
    static const char *const joins[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "a", "/b", "/b" }, { "", "b", "b" }, { "/", "b", "/b" },
    };
    static const char *const dirs[][2] = {
        { "a/b", "a" }, { "b", "." }, { "/b", "/" }, { "a/b/c", "a/b" }, { "a//b", "a" }, { "//b", "/" },
    };
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        char *path = rh_path_join(joins[i][0], joins[i][1]);
        assert_string_equal(path, joins[i][2]);
        free(path);
    }
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *path = rh_path_dir(dirs[i][0]);
        assert_string_equal(path, dirs[i][1]);
        free(path);
    }
}

static void makes_folders(void **state)
{
    (void)state;
    rh_error e;
    char a[600], abc[600], below[600];
    snprintf(a, sizeof a, "%s", scratch_path(&dir, "A"));
    snprintf(abc, sizeof abc, "%s", scratch_path(&dir, "A/B/C/"));
    assert_int_equal(rh_make_dirs(abc, &e), RH_OK);
    assert_int_equal(rh_make_dirs(abc, &e), RH_OK);
    assert_true(rh_is_dir(abc));
    assert_false(rh_is_file(abc));
    snprintf(below, sizeof below, "%s", scratch_write(&dir, "plain", "", 0));
    strcat(below, "/x");
    assert_int_equal(rh_make_dirs(below, &e), RH_EIO);
    assert_int_equal(rmdir(abc), 0);
    assert_int_equal(rmdir(scratch_path(&dir, "A/B")), 0);
    assert_int_equal(rmdir(a), 0);
}

static void hashes(void **state)
{
    (void)state;
    static const char *const cases[][2] = { /* FIPS 180-4 */
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[65];
        size_t n = strlen(cases[i][0]);
        rh_sha256_bytes(hex, cases[i][0], n);
        assert_string_equal(hex, cases[i][1]);
        rh_sha256 *h = rh_sha256_new();
        for (size_t j = 0; j < n; j++) rh_sha256_add(h, cases[i][0] + j, 1);
        rh_sha256_hex(h, hex);
        assert_string_equal(hex, cases[i][1]);
        rh_sha256_free(h);
        assert_int_equal(rh_sha256_file(hex, scratch_write(&dir, "hashed", cases[i][0], n), NULL), RH_OK);
        assert_string_equal(hex, cases[i][1]);
    }
    char hex[65];
    assert_int_equal(rh_sha256_file(hex, "/nowhere", NULL), RH_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps),          cmocka_unit_test(notices_change),
        cmocka_unit_test(reads_whole),   cmocka_unit_test(writes_atomically),
        cmocka_unit_test(follows_links), cmocka_unit_test(refuses_places),
        cmocka_unit_test(survives_full_disk), cmocka_unit_test(joins_paths),
        cmocka_unit_test(makes_folders), cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

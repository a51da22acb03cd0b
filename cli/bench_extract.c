/* bench_extract.c - extraction of a mean difference at all layers, and a whole process from its
 * start to its first token. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench.h"
#include "concepts/concepts.h"

/* ---- pairs ---------------------------------------------------------------------------------- */

/* 128 distinct pairs that differ in their last words: what contrastive pairs look like. */
static void built_in_pairs(rh_str *out)
{
    static const char *const when[] = {"Last spring", "One evening", "Before dawn", "After lunch"};
    static const char *const who[] = {"my sister", "the pilot", "our teacher", "a reporter"};
    static const char *const what[] = {"found a small museum", "opened the best bakery", "visited a quiet garden",
                                       "described the oldest bridge", "left a crowded market", "painted the new library",
                                       "built a famous hotel", "remembered a narrow street"};
    static const char *const where[] = {"Chicago", "Boston", "Madrid", "Cairo", "Seoul"};
    size_t n = 0;
    rh_str_puts(out, "positive,negative\n");
    for (size_t a = 0; a < CLI_COUNT(when); a++)
        for (size_t b = 0; b < CLI_COUNT(who); b++)
            for (size_t k = 0; k < CLI_COUNT(what); k++)
                rh_str_printf(out, "%s %s %s in San Francisco,%s %s %s in %s\n", when[a], who[b], what[k], when[a], who[b],
                              what[k], where[n++ % CLI_COUNT(where)]);
}

static rh_status write_built_in(char **path, rh_error *err)
{
    const char *folder = getenv("TMPDIR");
    rh_str name = {0}, text = {0};
    rh_status status = RH_OK;
    rh_str_printf(&name, "%s/rhumb-pairs-XXXXXX", folder && folder[0] ? folder : "/tmp");
    built_in_pairs(&text);
    if (name.failed || text.failed) status = rh_fail_nomem(err);
    int fd = status ? -1 : mkstemp(name.data);
    if (!status && fd < 0) status = rh_fail_errno(err, "make", name.data);
    if (!status && write(fd, text.data, text.len) != (ssize_t)text.len) status = rh_fail_errno(err, "write", name.data);
    if (fd >= 0) close(fd);
    if (status && fd >= 0) unlink(name.data);
    rh_str_free(&text);
    if (status) rh_str_free(&name);
    *path = name.data;
    return status;
}

/* `dim("path")`, the path quoted. */
static void dim_of(rh_str *out, const char *path)
{
    rh_str_puts(out, "dim(\"");
    for (; *path; path++) {
        if (*path == '"' || *path == '\\') rh_str_puts(out, "\\");
        rh_str_add(out, path, 1);
    }
    rh_str_puts(out, "\")");
}

/* ---- extraction ----------------------------------------------------------------------------- */

static rh_status extract_once(bench_result *out, const bench_setup *s, const char *expr, rh_error *err)
{
    rh_concepts_options o = {.progress = cli_progress, .progress_data = s->c, .no_share = s->no_share};
    rh_program_input in = {.expr = expr, .layers = "all", .bare_value = true};
    rh_concepts *concepts = NULL;
    rh_program *program = NULL;
    rh_evaluation *value = NULL;
    rh_status status = rh_concepts_new(&concepts, s->m, &o, err);
    double begun = rh_seconds();
    if (!status) status = rh_program_compile(&program, &in, rh_concepts_resolver(concepts), &s->c->diags, err);
    if (!status) status = rh_program_eval(&value, program, &s->c->diags, err);
    double spent = rh_seconds() - begun;
    if (!status) {
        rh_extract_stats stats = rh_concepts_stats(concepts);
        if (out->seconds == 0 || spent < out->seconds) out->seconds = spent;
        out->pairs = (double)stats.prompts / 2;
        out->asked = (double)stats.tokens;
        out->computed = (double)stats.computed;
    }
    rh_evaluation_free(value);
    rh_program_free(program);
    rh_concepts_free(concepts);
    return status;
}

rh_status bench_extract(bench_result *out, const bench_setup *s, rh_error *err)
{
    char *own = NULL;
    rh_str expr = {0};
    rh_status status = s->pairs ? RH_OK : write_built_in(&own, err);
    dim_of(&expr, s->pairs ? s->pairs : own ? own : "");
    if (!status && expr.failed) status = rh_fail_nomem(err);
    double first = rh_seconds();
    for (int32_t r = 0; r < s->repeats && !status && !bench_enough(r, first); r++) status = extract_once(out, s, expr.data, err);
    cli_clear_bar(s->c);
    out->tokens = out->asked;
    out->flops = bench_block_flops(&s->m->config, out->computed);
    if (own) unlink(own);
    free(own);
    rh_str_free(&expr);
    return status;
}

/* ---- start ---------------------------------------------------------------------------------- */

/* This program again, for one token; its output is thrown away. */
static rh_status run_once(char *const *argv, rh_error *err)
{
    extern char **environ;
    posix_spawn_file_actions_t files;
    pid_t pid = 0;
    int how = 0;
    if (posix_spawn_file_actions_init(&files)) return rh_fail_nomem(err);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed) return rh_fail(err, RH_EIO, "cannot start this program again: %s", strerror(failed));
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) { }
    if (cli_interrupted()) return rh_fail(err, RH_ECANCELLED, "interrupted");
    if (!WIFEXITED(how) || WEXITSTATUS(how)) return rh_fail(err, RH_EIO, "a run of `rhumb steer` failed");
    return RH_OK;
}

rh_status bench_start(bench_result *out, const bench_setup *s, rh_error *err)
{
    static const char *const device[] = {"auto", "cpu", "cuda"}, *const isa[] = {"best", "generic", "avx2", "avx512"};
    const cli_common *common = &s->c->common;
    char threads[16], expr[48];
    if (!s->m->tokenizer) return rh_fail(err, RH_EUNSUPPORTED, "start needs a model with a tokenizer");
    snprintf(threads, sizeof threads, "%d", common->threads);
    snprintf(expr, sizeof expr, "random(1) @ %d", s->action.layer);
    char *argv[] = {"rhumb", "steer", (char *)s->model_path, expr, "-p", "Hello", "--max-tokens", "1", "--threads", threads,
                    "--device", (char *)device[common->device], "--isa", (char *)isa[common->isa],
                    common->exact ? "--exact" : NULL, NULL};
    double first = rh_seconds();
    for (int32_t r = 0; r < s->repeats + 1 && !bench_enough(r, first); r++) { /* one more: the first may read from the disk */
        double begun = rh_seconds();
        RH_TRY(run_once(argv, err));
        double spent = rh_seconds() - begun;
        if (r == 0 || spent < out->seconds) out->seconds = spent;
    }
    return RH_OK;
}

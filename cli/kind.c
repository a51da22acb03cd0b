#include "cli/kind.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/files/gguf.h"
#include "engine/files/safetensors.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static bool folder_has(const char *folder, const char *name)
{
    char *path = rh_path_join(folder, name);
    bool has = path && rh_is_file(path);
    free(path);
    return has;
}

static cli_file_kind gguf_kind(const char *path)
{
    rh_gguf *g = NULL;
    rh_bytes architecture = {0};
    cli_file_kind kind = CLI_IS_MODEL;
    if (rh_gguf_open_repeats(&g, path, NULL)) return kind;
    if (!rh_gguf_string(&architecture, g, "general.architecture", NULL) && architecture.len == 13 &&
        !memcmp(architecture.data, "controlvector", 13))
        kind = CLI_IS_VECTOR;
    rh_gguf_close(g);
    return kind;
}

static cli_file_kind safetensors_kind(const char *path)
{
    static const char *const sae[] = {"W_enc", "w_enc", "encoder.weight", NULL};
    rh_safetensors *s = NULL;
    cli_file_kind kind = CLI_IS_VECTOR;
    if (rh_safetensors_open(&s, path, NULL)) return kind;
    for (int i = 0; sae[i]; i++)
        if (rh_safetensors_find(s, sae[i])) kind = CLI_IS_SAE;
    rh_safetensors_close(s);
    return kind;
}

cli_file_kind cli_kind_of(const char *path)
{
    if (rh_is_dir(path)) {
        bool sae = folder_has(path, "cfg.json") || folder_has(path, "params.npz") || folder_has(path, "params.safetensors") ||
                   folder_has(path, "sae_weights.safetensors") || folder_has(path, "sae.safetensors");
        return sae && !folder_has(path, "model.safetensors") ? CLI_IS_SAE : CLI_IS_MODEL;
    }
    if (ends_with(path, ".npz") || ends_with(path, "cfg.json")) return CLI_IS_SAE;
    if (ends_with(path, ".npy")) return CLI_IS_VECTOR;
    if (ends_with(path, ".safetensors")) return safetensors_kind(path);
    if (ends_with(path, ".gguf")) return gguf_kind(path);
    return CLI_IS_MODEL;
}

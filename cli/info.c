/* info.c - `rhumb info FILE`: what a vector file is, or a model (info_model.c), or an SAE (sae_info.c). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/file.h"
#include "cli/info.h"
#include "cli/kind.h"
#include "cli/models.h"
#include "cli/sae.h"
#include "cli/text.h"
#include "engine/files/vectorfile.h"

/* ---- vectors ------------------------------------------------------------------------------ */

static rh_status provenance(json_t **out, const rh_vectorfile *v, const char *path, rh_error *err)
{
    *out = NULL;
    return v->metadata ? rh_json_parse(out, v->metadata, strlen(v->metadata), path, err) : RH_OK;
}

static void vector_text(rh_str *out, const rh_vectorfile *f, const char *path, json_t *meta)
{
    const rh_vector *v = f->vector;
    const char *expression = json_string_value(json_object_get(meta, "expression"));
    json_t *model = json_object_get(meta, "model");
    rh_str_printf(out, "vector       %s\n", path);
    if (expression) rh_str_printf(out, "expression   %s\n", expression);
    rh_str_printf(out, "site         %s, width %d\n", rh_hook_name(v->hook), v->d);
    if (v->layers[0] < 0) rh_str_printf(out, "layers       none: the same at every layer; norm %.6g\n", rh_norm(v->data, v->d));
    else rh_str_printf(out, "layers       %d\n", v->n_layers);
    for (int32_t i = 0; i < v->n_layers && v->layers[0] >= 0; i++)
        rh_str_printf(out, "  direction.%-4d norm %.6g\n", v->layers[i], rh_norm(v->data + (size_t)i * (size_t)v->d, v->d));
    if (json_is_object(model)) {
        const char *name = json_string_value(json_object_get(model, "name"));
        const char *print = json_string_value(json_object_get(model, "fingerprint"));
        rh_str_printf(out, "model        %s\n", name ? name : "?");
        if (print) rh_str_printf(out, "fingerprint  %s\n", print);
    } else if (f->model_hint) {
        rh_str_printf(out, "model        %s (hint)\n", f->model_hint);
    }
    size_t i;
    json_t *source;
    json_array_foreach(json_object_get(meta, "sources"), i, source) {
        const char *kind = json_string_value(json_object_get(source, "kind"));
        const char *from = json_string_value(json_object_get(source, "path"));
        const char *sha = json_string_value(json_object_get(source, "sha256"));
        const json_t *feature = json_object_get(json_object_get(source, "options"), "index");
        rh_str_printf(out, "%s%s %s", i ? "             " : "sources      ", kind ? kind : "?", from ? from : "");
        if (json_is_integer(feature)) rh_str_printf(out, "[%lld]", (long long)json_integer_value(feature));
        rh_str_printf(out, "%s%s\n", sha ? "  sha256 " : "", sha ? sha : "");
    }
    const char *created = json_string_value(json_object_get(meta, "created"));
    if (created) rh_str_printf(out, "created      %s\n", created);
}

static json_t *vector_json(const rh_vectorfile *f, const char *path, json_t *meta)
{
    const rh_vector *v = f->vector;
    json_t *layers = json_array(), *norms = json_array();
    for (int32_t i = 0; i < v->n_layers; i++) {
        if (v->layers[i] >= 0) json_array_append_new(layers, json_integer(v->layers[i]));
        json_array_append_new(norms, cli_json_number(rh_norm(v->data + (size_t)i * (size_t)v->d, v->d)));
    }
    json_t *o = json_pack("{s:s, s:o, s:i, s:s, s:b, s:o, s:o}", "kind", "vector", "path",
                          cli_json_text(path, strlen(path)), "d", v->d, "hook", rh_hook_name(v->hook), "constant",
                          v->layers[0] < 0, "layers", layers, "norms", norms);
    if (meta) json_object_set(o, "provenance", meta);
    if (f->model_hint) json_object_set_new(o, "model_hint", cli_json_text(f->model_hint, strlen(f->model_hint)));
    return o;
}

static rh_status info_vector(cli *c, const char *path, rh_error *err)
{
    rh_vectorfile f = {0};
    json_t *meta = NULL;
    rh_str out = {0};
    rh_status status = rh_vectorfile_read(&f, path, NULL, err);
    if (!status) status = provenance(&meta, &f, path, err);
    if (!status && c->common.json) status = cli_print_json(c, vector_json(&f, path, meta), err);
    else if (!status) {
        vector_text(&out, &f, path, meta);
        status = cli_print_str(c, &out, err);
    }
    json_decref(meta);
    rh_vectorfile_free(&f);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const char *word = args->items[0];
    char *path = NULL;
    RH_TRY(cli_resolve_model(&path, c, word, err));
    cli_file_kind kind = cli_kind_of(path);
    rh_status status = RH_OK;
    if (kind == CLI_IS_SAE) status = cli_info_sae(c, path, err);
    else if (kind == CLI_IS_VECTOR) status = info_vector(c, path, err);
    else status = cli_info_model(c, path, flags, err);
    free(path);
    return status;
}

#define AT(field) offsetof(cli_info_flags, field)
static const cli_option OPTIONS[] = {
    {"metadata", 0, CLI_FLAG, AT(metadata), NULL, "a GGUF's keys and values too", 0, 0, NULL},
    {"tensors", 0, CLI_FLAG, AT(tensors), NULL, "every tensor with its type and shape too", 0, 0, NULL},
};

const cli_verb CLI_INFO = {
    .name = "info", .brief = "what a model, a vector file or a sparse autoencoder is", .arguments = "MODEL|VECTOR|SAE",
    .about = "Shows a model's family, sizes, sites and their widths, tensor types, tokenizer and fingerprint, a "
             "vector file's layers, norms and provenance, or a sparse autoencoder's format, shapes, site and activation. The weights are not read.",
    .examples = "  rhumb info smollm2\n  rhumb info city.safetensors --json\n  rhumb info layer_20/width_16k/average_l0_91/params.npz\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(cli_info_flags),
    .min_args = 1, .max_args = 1, .run = run};

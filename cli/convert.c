/* convert.c - `rhumb convert IN OUT`: a saved vector in another format, its provenance kept
 * where the format can say it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/kind.h"
#include "cli/sae.h"
#include "cli/text.h"
#include "cli/when.h"
#include "engine/files/vectorfile.h"

typedef struct convert_flags {
    const char *out, *name, *hint;
    cli_ints layers;
} convert_flags;

/* The layers asked for; a constant vector is placed at each of them. */
static rh_status pick_layers(rh_vector **out, const rh_vector *v, const cli_ints *layers, rh_error *err)
{
    rh_vector *picked = NULL;
    bool constant = v->layers[0] < 0;
    for (size_t i = 0; i < layers->n; i++) {
        if (i && layers->items[i] <= layers->items[i - 1])
            return rh_fail(err, RH_EVALUE, "--layer: layers must ascend, and %d follows %d", layers->items[i],
                           layers->items[i - 1]);
        if (constant || rh_vector_at(v, layers->items[i]).data) continue;
        rh_fail(err, RH_ESITE, "the vector does not exist at layer %d", layers->items[i]);
        if (v->n_layers == 1) rh_hint(err, "it lives at layer %d", v->layers[0]);
        else rh_hint(err, "it has %d layers, from %d to %d", v->n_layers, v->layers[0], v->layers[v->n_layers - 1]);
        return RH_ESITE;
    }
    RH_TRY(rh_vector_new(&picked, v->d, v->hook, layers->items, (int32_t)layers->n, err));
    for (size_t i = 0; i < layers->n; i++)
        memcpy(picked->data + i * (size_t)v->d, constant ? v->data : rh_vector_at(v, layers->items[i]).data,
               sizeof(float) * (size_t)v->d);
    *out = picked;
    return RH_OK;
}

/* Provenance for a file that brings none: where it was read from, and that file's hash. */
static rh_status new_metadata(char **out, const rh_vectorfile *f, const rh_vector *v, const char *path, rh_error *err)
{
    char sha[65], created[CLI_WHEN];
    rh_str expression = {0};
    RH_TRY(rh_sha256_file(sha, path, err));
    cli_when(created);
    rh_str_printf(&expression, "load(\"%s\")", path);
    json_t *source = json_pack("{s:s, s:o, s:s, s:{}}", "kind", "load", "path", cli_json_text(path, strlen(path)), "sha256",
                               sha, "options");
    json_t *o = json_pack("{s:i, s:o, s:n, s:s, s:[o], s:{}, s:s}", "version", 1, "expression",
                          cli_json_text(expression.data ? expression.data : "", expression.len), "model", "hook",
                          rh_hook_name(v->hook), "sources", source, "stats", "created", created);
    if (o && f->model_hint)
        json_object_set_new(o, "model_hint", cli_json_text(f->model_hint, strlen(f->model_hint)));
    *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    rh_str_free(&expression);
    return *out ? RH_OK : rh_fail_nomem(err);
}

/* What a GGUF can say of the model: how many layers, and a word for which. */
static void model_of(const char *metadata, int32_t *layers, char hint[128])
{
    json_t *o = metadata ? json_loads(metadata, 0, NULL) : NULL, *model = json_object_get(o, "model");
    const char *name = json_string_value(json_object_get(model, "name"));
    json_int_t n = json_integer_value(json_object_get(model, "layers"));
    *layers = n > 0 && n < 100000 ? (int32_t)n : 0;
    if (name) snprintf(hint, 128, "%s", name);
    json_decref(o);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const convert_flags *f = flags;
    const char *in = args->items[0], *out = args->n > 1 ? args->items[1] : f->out;
    rh_vectorfile file = {0};
    rh_vector *picked = NULL;
    char *metadata = NULL, hint[128] = "";
    int32_t n_model_layers = 0;
    if (!out) return cli_wrong(c, err, "convert needs a file to write");
    if (args->n > 1 && f->out) return cli_wrong(c, err, "give OUT or --output, not both");
    if (cli_kind_of(in) == CLI_IS_SAE) {
        if (f->layers.n || f->name || f->hint)
            return cli_wrong(c, err, "--layer, --name and --model-hint are for vectors, and '%s' is a sparse autoencoder", in);
        return cli_convert_sae(c, in, out, err);
    }

    rh_status status = rh_vectorfile_read(&file, in, f->name, err);
    if (status) goto done;
    if (f->layers.n) status = pick_layers(&picked, file.vector, &f->layers, err);
    if (status) goto done;
    const rh_vector *v = picked ? picked : file.vector;
    if (!file.metadata) status = new_metadata(&metadata, &file, v, in, err);
    if (status) goto done;
    model_of(file.metadata, &n_model_layers, hint);
    if (file.model_hint) snprintf(hint, sizeof hint, "%s", file.model_hint);
    if (f->hint) snprintf(hint, sizeof hint, "%s", f->hint);
    status = rh_vectorfile_write(out, v, file.metadata ? file.metadata : metadata, hint[0] ? hint : NULL,
                                 n_model_layers, err);
    if (status) goto done;
    if (c->common.json)
        status = cli_print_json(c, json_pack("{s:o, s:i, s:i, s:s}", "path", cli_json_text(out, strlen(out)), "layers",
                                             v->layers[0] < 0 ? 0 : v->n_layers, "d", v->d, "hook", rh_hook_name(v->hook)),
                                err);
    else cli_note(c, "%s written", out);
done:
    free(metadata);
    rh_vector_free(picked);
    rh_vectorfile_free(&file);
    return status;
}

#define AT(field) offsetof(convert_flags, field)
static const cli_option OPTIONS[] = {
    {"output", 'o', CLI_TEXT, AT(out), "FILE", "the file to write, if not given as OUT", 0, 0, NULL},
    {"layer", 0, CLI_INTS, AT(layers), "L,…", "only these layers; places a vector that has none", 0, 100000, NULL},
    {"name", 0, CLI_TEXT, AT(name), "TENSOR", "take this tensor of the file", 0, 0, NULL},
    {"model-hint", 0, CLI_TEXT, AT(hint), "WORD", "controlvector.model_hint of a GGUF (default: the model's name, if known)",
     0, 0, NULL},
};

const cli_verb CLI_CONVERT = {
    .name = "convert", .brief = "vectors between safetensors, GGUF and npy; SAEs to SAELens' format", .arguments = "IN OUT",
    .about = "Reads a vector and writes it in the format of OUT's ending: .safetensors (with provenance), .gguf (a control "
             "vector that llama.cpp applies at the same place; no layer 0, only resid_post), .npy (one layer, bare). A sparse autoencoder of any format is "
             "written as SAELens saves it: into the folder OUT, or into one file if OUT ends in .safetensors.",
    .examples = "  rhumb convert city.safetensors city.gguf\n  rhumb convert v.npy v.safetensors --layer 16\n"
                "  rhumb convert layer_20/width_16k/average_l0_91/params.npz -o sae-20\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(convert_flags),
    .min_args = 1, .max_args = 2, .run = run};

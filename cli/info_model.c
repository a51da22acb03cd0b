/* info_model.c - what a model file is. */
#include <stdlib.h>
#include <string.h>

#include "cli/info.h"
#include "cli/models.h"
#include "cli/text.h"
#include "engine/kv.h"
#include "engine/plan_memory.h"
#include "engine/weights.h"

static int64_t n_tensors(const rh_model *m)
{
    return m->gguf ? rh_gguf_n_tensors(m->gguf) : m->safetensors ? rh_safetensors_n(m->safetensors) : 0;
}

static const rh_tensor *tensor_at(const rh_model *m, int64_t i)
{
    return m->gguf ? rh_gguf_tensor(m->gguf, i) : rh_safetensors_tensor(m->safetensors, i);
}

/* Tensors grouped by storage type, in order of appearance. */
typedef struct type_row { const char *name; int64_t count; double bytes, elements; } type_row;
typedef struct type_table { type_row rows[64]; size_t n; double bytes; } type_table;

static const char *type_name(const rh_tensor *t)
{
    return t->dtype == RH_DTYPE_NONE ? t->raw_type : rh_dtype_get(t->dtype)->name;
}

static void count_type(type_table *out, const rh_tensor *t)
{
    size_t r = 0;
    double elements = 1;
    for (int d = 0; d < t->n_dims; d++) elements *= (double)t->shape[d];
    while (r < out->n && strcmp(out->rows[r].name, type_name(t))) r++;
    if (r == CLI_COUNT(out->rows)) return;
    if (r == out->n) out->rows[out->n++].name = type_name(t);
    out->rows[r].count++;
    out->rows[r].bytes += (double)t->size;
    out->rows[r].elements += elements;
    out->bytes += (double)t->size;
}

static void count_types(type_table *out, const rh_model *m)
{
    memset(out, 0, sizeof *out);
    for (int64_t i = 0; i < n_tensors(m); i++) count_type(out, tensor_at(m, i));
}

/* Matrices that are multiplied in another form than the file's: bitsandbytes' NF4, and --quantize. */
static void count_made(type_table *out, const rh_model *m)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < m->made.n; i++) count_type(out, &m->made.items[i].tensor);
}

static void types_text(rh_str *out, const char *label, const type_table *types)
{
    char size[32];
    for (size_t i = 0; i < types->n; i++) {
        cli_size_text(size, types->rows[i].bytes);
        rh_str_printf(out, "%-12s %-8s %5lld tensors  %10s\n", i ? "" : label, types->rows[i].name,
                      (long long)types->rows[i].count, size);
    }
}

static json_t *types_json(const type_table *types)
{
    json_t *rows = json_object();
    for (size_t i = 0; i < types->n; i++)
        json_object_set_new(rows, types->rows[i].name,
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)types->rows[i].count, "bytes",
                                      (json_int_t)types->rows[i].bytes, "elements", (json_int_t)types->rows[i].elements));
    return rows;
}

static const char *tokenizer_kind(const rh_model *m, char buffer[64])
{
    rh_bytes kind = {0}, pre = {0};
    if (!m->tokenizer) return "none";
    if (!m->gguf || rh_gguf_string(&kind, m->gguf, "tokenizer.ggml.model", NULL)) return rh_tokenizer_kind(m->tokenizer);
    bool bpe = kind.len == 4 && !memcmp(kind.data, "gpt2", 4);
    if (!bpe) return "SentencePiece";
    if (rh_gguf_string(&pre, m->gguf, "tokenizer.ggml.pre", NULL)) pre = (rh_bytes){"", 0};
    snprintf(buffer, 64, "byte-level BPE%s%.*s", pre.len ? ", " : "", (int)(pre.len < 32 ? pre.len : 32), pre.data);
    return buffer;
}

/* "0..4, 6..10": the layers that see only a window. */
static void local_layers(rh_str *out, const rh_model_config *k)
{
    for (int32_t l = 0; l < k->n_layers;) {
        if (!k->local[l]) {
            l++;
            continue;
        }
        int32_t end = l;
        while (end + 1 < k->n_layers && k->local[end + 1]) end++;
        rh_str_printf(out, out->len ? ", %d" : "%d", l);
        if (end > l) rh_str_printf(out, "..%d", end);
        l = end + 1;
    }
}

static size_t suggested(const char *names[5], double values[5], const rh_generation_config *g)
{
    static const char *const all[] = {"temperature", "top-k", "top-p", "min-p", "repetition-penalty"};
    const double given[] = {g->temperature, g->top_k, g->top_p, g->min_p, g->repetition};
    size_t n = 0;
    for (size_t i = 0; g->samples && i < 5; i++)
        if (given[i] >= 0) names[n] = all[i], values[n++] = given[i];
    return n;
}

/* A folder's generation_config.json: its stop ids count everywhere, its sampling only if it is asked for. */
static void generation_text(rh_str *out, const rh_model *m)
{
    const char *names[5];
    double values[5];
    const size_t n = suggested(names, values, &m->generation);
    for (int i = 0; i < m->generation.n_stops; i++) rh_str_printf(out, "%s %d", i ? "," : "\nstops at    ", m->generation.stops[i]);
    for (size_t i = 0; i < n; i++) rh_str_printf(out, "%s --%s %g", i ? "" : "\nsuggested   ", names[i], values[i]);
    if (n) rh_str_puts(out, " (not used unless given)");
}

static json_t *generation_json(const rh_model *m)
{
    const char *names[5];
    double values[5];
    const size_t n = suggested(names, values, &m->generation);
    json_t *stops = json_array(), *sampling = json_object();
    for (int i = 0; i < m->generation.n_stops; i++) json_array_append_new(stops, json_integer(m->generation.stops[i]));
    for (size_t i = 0; i < n; i++) json_object_set_new(sampling, names[i], cli_json_number(values[i]));
    return json_pack("{s:o, s:o}", "stops", stops, "suggested", sampling);
}

/* An index whose total is wrong: no tensor is missing, or the model had not opened. */
static void index_text(rh_str *out, const rh_model *m)
{
    const int64_t says = rh_safetensors_declared(m->safetensors), holds = rh_safetensors_bytes(m->safetensors);
    if (says >= 0 && says != holds)
        rh_str_printf(out, "\nindex        its total_size is %lld bytes, the shards' tensors have %lld; all that it names are there",
                      (long long)says, (long long)holds);
}

/* What a GPU needs to have, with a context of so many tokens. */
static rh_memory_plan device_plan(const rh_model *m)
{
    enum { TOKENS = 2048 };
    const rh_model_config *k = &m->config;
    const int32_t len = k->n_ctx < TOKENS ? k->n_ctx : TOKENS;
    rh_memory_plan p = {.weights = rh_weights_bytes(m, rh_family_by_name(k->family), RH_DTYPE_NONE), .step = rh_plan_step(k, len, 1)};
    rh_plan_caches(&p, k, k->n_layers, rh_kv_type(m), 1, len);
    return p;
}

static void device_text(rh_str *out, const rh_model *m)
{
    const rh_memory_plan p = device_plan(m);
    char all[32], weights[32], cache[32], step[32], tokens[32];
    cli_size_text(all, (double)rh_plan_total(&p));
    cli_size_text(weights, (double)p.weights);
    cli_size_text(cache, (double)rh_plan_cache(&p));
    cli_size_text(step, (double)p.step);
    cli_count_text(tokens, p.len);
    rh_str_printf(out, "on a GPU     %s: weights %s, keys and values of %s tokens %s, a step %s\n", all, weights, tokens, cache, step);
}

static json_t *device_json(const rh_model *m)
{
    const rh_memory_plan p = device_plan(m);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "tokens", (json_int_t)p.len, "bytes", (json_int_t)rh_plan_total(&p), "weights",
                     (json_int_t)p.weights, "keys_and_values", (json_int_t)rh_plan_cache(&p), "step", (json_int_t)p.step);
}

static void model_text(rh_str *out, const rh_model *m, const cli_info_flags *f)
{
    const rh_model_config *k = &m->config;
    char a[32], b[32], buffer[64];
    type_table types;
    rh_str local = {0};
    count_types(&types, m);
    rh_str_printf(out, "model        %s\n", m->name);
    rh_str_printf(out, "file         %s\n", m->path);
    cli_count_text(a, m->n_params);
    cli_size_text(b, types.bytes);
    rh_str_printf(out, "family       %s, %s parameters in %s\n", k->family, a, b);
    rh_str_printf(out, "shape        %d layers of d %d; %d heads, %d for keys and values, of %d; feed-forward %d\n",
                  k->n_layers, k->d_model, k->n_heads, k->n_kv_heads, k->head_dim, k->d_ff);
    cli_count_text(a, k->n_vocab);
    cli_count_text(b, k->n_ctx);
    rh_str_printf(out, "vocabulary   %s tokens%s\n", a, k->tied ? ", embedding tied to the logits" : "");
    rh_str_printf(out, "context      %s tokens", b);
    cli_size_text(b, (double)rh_kv_position_bytes(m, rh_kv_type(m)));
    rh_str_printf(out, "; keys and values of one: %s, as float%d\n", b, rh_kv_type(m) == RH_F16 ? 16 : 32);
    device_text(out, m);
    local_layers(&local, k);
    if (local.len) rh_str_printf(out, "window       %d tokens in layers %s\n", k->window, local.data);
    rh_str_free(&local);
    rh_str_printf(out, "tokenizer    %s", tokenizer_kind(m, buffer));
    if (m->tokenizer) {
        rh_str_printf(out, "; BOS %d%s, EOS %d", rh_tokenizer_bos(m->tokenizer),
                      rh_tokenizer_adds_bos(m->tokenizer) ? "" : " (not added)", rh_tokenizer_eos(m->tokenizer));
        rh_str_printf(out, "\nchat         %s", rh_chat_name(rh_tokenizer_chat(m->tokenizer)));
    }
    if (!m->gguf) {
        generation_text(out, m);
        index_text(out, m);
    }
    rh_str_puts(out, "\nsites        ");
    for (int h = 0; h < RH_N_HOOKS; h++)
        rh_str_printf(out, "%s%s %d", h ? ", " : "", rh_hook_name((rh_hook)h), rh_model_width(m, (rh_hook)h));
    rh_str_printf(out, "\nlayers       0..%d\n", k->n_layers - 1);
    rh_str_printf(out, "fingerprint  %s\n", m->fingerprint);
    types_text(out, "tensors", &types);
    count_made(&types, m);
    types_text(out, "computed as", &types);
    if (f->tensors)
        for (int64_t i = 0; i < n_tensors(m); i++) {
            const rh_tensor *t = tensor_at(m, i);
            rh_str_printf(out, "%s%s %s [", i ? "  " : "\n  ", t->name, type_name(t));
            for (int d = 0; d < t->n_dims; d++) rh_str_printf(out, "%s%lld", d ? ", " : "", (long long)t->shape[d]);
            rh_str_puts(out, "]\n");
        }
    if (f->metadata && m->gguf)
        for (int64_t i = 0; i < rh_gguf_n_keys(m->gguf); i++) {
            rh_str value = {0};
            const char *key = rh_gguf_key(m->gguf, i, &value);
            rh_str_printf(out, "%s%s = ", i ? "  " : "\n  ", key);
            cli_visible(out, value.data ? value.data : "", value.len);
            rh_str_puts(out, "\n");
            out->failed |= value.failed;
            rh_str_free(&value);
        }
}

static json_t *tensor_list_json(const rh_model *m)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n_tensors(m); i++) {
        const rh_tensor *t = tensor_at(m, i);
        json_t *shape = json_array();
        for (int d = 0; d < t->n_dims; d++) json_array_append_new(shape, json_integer(t->shape[d]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I}", "name", cli_json_text(t->name, strlen(t->name)),
                                              "type", type_name(t), "shape", shape, "bytes", (json_int_t)t->size));
    }
    return list;
}

static json_t *metadata_json(const rh_model *m)
{
    json_t *o = json_object();
    for (int64_t i = 0; m->gguf && i < rh_gguf_n_keys(m->gguf); i++) {
        rh_str value = {0};
        const char *key = rh_gguf_key(m->gguf, i, &value);
        json_object_set_new(o, key, cli_json_text(value.data ? value.data : "", value.len));
        rh_str_free(&value);
    }
    return o;
}

static json_t *model_json(const rh_model *m, const cli_info_flags *f)
{
    const rh_model_config *k = &m->config;
    char buffer[64];
    type_table types;
    count_types(&types, m);
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:I, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i}", "kind",
                          "model", "name", cli_json_text(m->name, strlen(m->name)), "path",
                          cli_json_text(m->path, strlen(m->path)), "family", k->family, "parameters",
                          (json_int_t)m->n_params, "fingerprint", m->fingerprint, "layers", k->n_layers, "d_model",
                          k->d_model, "heads", k->n_heads, "kv_heads", k->n_kv_heads, "head_dim", k->head_dim, "d_ff",
                          k->d_ff, "vocabulary", k->n_vocab, "context", k->n_ctx, "tied", k->tied, "window", k->window);
    json_object_set_new(o, "kv", json_pack("{s:s, s:I}", "type", rh_dtype_get(rh_kv_type(m))->name, "bytes_per_position",
                                           (json_int_t)rh_kv_position_bytes(m, rh_kv_type(m))));
    json_object_set_new(o, "on_gpu", device_json(m));
    json_t *sites = json_object(), *local = json_array();
    for (int h = 0; h < RH_N_HOOKS; h++)
        json_object_set_new(sites, rh_hook_name((rh_hook)h), json_integer(rh_model_width(m, (rh_hook)h)));
    for (int32_t l = 0; l < k->n_layers; l++)
        if (k->local[l]) json_array_append_new(local, json_integer(l));
    json_object_set_new(o, "local_layers", local);
    json_object_set_new(o, "sites", sites);
    json_object_set_new(o, "tensor_types", types_json(&types));
    count_made(&types, m);
    json_object_set_new(o, "computed_as", types_json(&types));
    if (m->tokenizer)
        json_object_set_new(o, "tokenizer",
                            json_pack("{s:s, s:i, s:i, s:b, s:s}", "kind", tokenizer_kind(m, buffer), "bos",
                                      rh_tokenizer_bos(m->tokenizer), "eos", rh_tokenizer_eos(m->tokenizer), "adds_bos",
                                      rh_tokenizer_adds_bos(m->tokenizer), "chat",
                                      rh_chat_name(rh_tokenizer_chat(m->tokenizer))));
    else json_object_set_new(o, "tokenizer", json_null());
    if (!m->gguf) json_object_set_new(o, "generation", generation_json(m));
    if (!m->gguf && rh_safetensors_declared(m->safetensors) >= 0)
        json_object_set_new(o, "index", json_pack("{s:I, s:I}", "total_size", (json_int_t)rh_safetensors_declared(m->safetensors),
                                                  "bytes", (json_int_t)rh_safetensors_bytes(m->safetensors)));
    json_object_set_new(o, "metadata", metadata_json(m));
    if (f->tensors) json_object_set_new(o, "tensors", tensor_list_json(m));
    return o;
}

rh_status cli_info_model(cli *c, const char *word, const cli_info_flags *f, rh_error *err)
{
    rh_model *m = NULL;
    rh_str out = {0};
    rh_status status = cli_open_model(&m, c, word, true, err);
    if (!status && c->common.json) status = cli_print_json(c, model_json(m, f), err);
    else if (!status) {
        model_text(&out, m, f);
        status = cli_print_str(c, &out, err);
    }
    rh_model_free(m);
    return status;
}

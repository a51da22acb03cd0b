/* sae_info.c - `rhumb info SAE` and `rhumb convert SAE`. */
#include <string.h>

#include "cli/sae.h"
#include "cli/text.h"
#include "engine/sae.h"

static void site_text(rh_str *out, const rh_sae_facts *f)
{
    rh_str_puts(out, "site         ");
    if (f->layer >= 0) rh_str_printf(out, "layer %d", f->layer);
    else rh_str_puts(out, "layer unknown");
    if (f->hook_known) rh_str_printf(out, ", %s", rh_hook_name(f->hook));
    else rh_str_printf(out, ", hook %s", f->hook_name[0] ? "of no name here" : "unknown");
    if (f->transcoder && f->hook_out_known) rh_str_printf(out, " to %s", rh_hook_name(f->hook_out));
    if (f->hook_name[0]) rh_str_printf(out, " (%s)", f->hook_name);
    rh_str_puts(out, "\n");
}

static void activation_text(rh_str *out, const rh_sae_facts *f)
{
    rh_str_printf(out, "activation   %s", rh_sae_kind_name(f->kind));
    if (f->k) rh_str_printf(out, ", k %d", f->k);
    if (f->has_threshold) rh_str_puts(out, ", a threshold for each feature");
    if (f->rescale) rh_str_puts(out, ", in units of the decoder row's norm");
    rh_str_puts(out, "\n");
    rh_str_printf(out, "input        %s%s\n", f->norm == RH_SAE_NORM_NONE ? "as it is" : rh_sae_norm_name(f->norm),
                  f->subtract_b_dec ? ", b_dec subtracted" : "");
}

static void text(rh_str *out, const rh_sae *s)
{
    const rh_sae_facts *f = rh_sae_about(s);
    char a[32], b[32];
    rh_str_printf(out, "SAE          %s%s\n", rh_sae_format_name(f->format), f->transcoder ? ", a transcoder" : "");
    rh_str_printf(out, "file         %s\n", rh_sae_path(s));
    cli_count_text(a, f->d_sae);
    rh_str_printf(out, "shape        %s features of d %d", a, f->d_in);
    if (f->d_out != f->d_in) rh_str_printf(out, ", decoded to %d", f->d_out);
    rh_str_printf(out, "%s\n", f->skip ? ", and a skip connection" : "");
    site_text(out, f);
    rh_str_printf(out, "model        %s\n", f->model[0] ? f->model : "unknown");
    activation_text(out, f);
    cli_size_text(a, (double)f->matrix_bytes);
    cli_size_text(b, (double)f->encode_bytes);
    rh_str_printf(out, "weights      %s, stored as %s\n", a, rh_dtype_get(f->dtype)->name);
    rh_str_printf(out, "memory       %s to encode, beside what is read where the file has it\n", b);
}

static json_t *or_null(const char *text) { return text[0] ? cli_json_text(text, strlen(text)) : json_null(); }

static json_t *json(const rh_sae *s)
{
    const rh_sae_facts *f = rh_sae_about(s);
    json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:i, s:i, s:i, s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:I, s:I}", "kind", "sae",
                          "format", rh_sae_format_name(f->format), "path", cli_json_text(rh_sae_path(s), strlen(rh_sae_path(s))),
                          "architecture", rh_sae_kind_name(f->kind), "d_in", f->d_in, "d_out", f->d_out, "d_sae", f->d_sae,
                          "normalize_activations", rh_sae_norm_name(f->norm), "apply_b_dec_to_input", f->subtract_b_dec,
                          "rescale_acts_by_decoder_norm", f->rescale, "transcoder", f->transcoder, "skip", f->skip, "threshold",
                          f->has_threshold, "dtype", rh_dtype_get(f->dtype)->name, "bytes", (json_int_t)f->matrix_bytes,
                          "encode_bytes", (json_int_t)f->encode_bytes);
    if (!o) return NULL;
    json_object_set_new(o, "layer", f->layer >= 0 ? json_integer(f->layer) : json_null());
    json_object_set_new(o, "hook", f->hook_known ? json_string(rh_hook_name(f->hook)) : json_null());
    json_object_set_new(o, "hook_out", f->hook_out_known ? json_string(rh_hook_name(f->hook_out)) : json_null());
    json_object_set_new(o, "hook_name", or_null(f->hook_name));
    json_object_set_new(o, "model", or_null(f->model));
    json_object_set_new(o, "k", f->k ? json_integer(f->k) : json_null());
    return o;
}

rh_status cli_info_sae(cli *c, const char *path, rh_error *err)
{
    rh_sae *s = NULL;
    rh_str out = {0};
    rh_status status = rh_sae_open(&s, path, RH_SAE_FACTS, err);
    if (!status && c->common.json) status = cli_print_json(c, json(s), err);
    else if (!status) {
        text(&out, s);
        status = cli_print_str(c, &out, err);
    }
    rh_sae_free(s);
    return status;
}

rh_status cli_convert_sae(cli *c, const char *in, const char *out, rh_error *err)
{
    rh_sae *s = NULL;
    rh_status status = rh_sae_open(&s, in, RH_SAE_ROWS, err);
    if (!status) status = rh_sae_write(out, s, err);
    if (!status && c->common.json)
        status = cli_print_json(c, json_pack("{s:o, s:s, s:i, s:i}", "path", cli_json_text(out, strlen(out)), "architecture",
                                             rh_sae_kind_name(rh_sae_about(s)->kind), "d_in", rh_sae_about(s)->d_in, "d_sae",
                                             rh_sae_about(s)->d_sae), err);
    else if (!status) cli_note(c, "%s written", out);
    rh_sae_free(s);
    return status;
}

#include "cli/trace_prompts.h"

#include <stdlib.h>
#include <string.h>

rh_status cli_check_trace_input(cli *c, const cli_trace_input *in, rh_error *err)
{
    int kinds = (in->texts.n > 0) + (in->ids.n > 0) + (in->file != NULL) + (in->prompt.messages != NULL);
    if (kinds == 1) return RH_OK;
    return cli_wrong(c, err, kinds ? "give one of --prompt, --messages, --tokens and --tokens-file"
                                   : "trace needs a prompt: -p TEXT, --messages FILE, --tokens IDS or --tokens-file FILE");
}

void cli_prompts_free(cli_prompts *p)
{
    for (int32_t i = 0; i < p->n; i++) rh_prompt_free(&p->items[i]);
    free(p->items);
    free(p->text);
    cli_messages_free(&p->messages);
    *p = (cli_prompts){0};
}

static rh_status from_texts(cli_prompts *out, const rh_model *m, const cli_trace_input *in, rh_error *err)
{
    rh_prompt_options o;
    cli_prompt_flags flags = in->prompt;
    if (!m->tokenizer) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a text", m->name),
                         err, "give token ids: --tokens 1,2,3");
    }
    if (flags.messages) RH_TRY(cli_messages_read(&out->messages, &flags, err));
    cli_prompt_options(&o, &flags);
    if (flags.messages) {
        RH_TRY(rh_prompt_make(&out->items[0], m, out->messages.text, out->messages.len, &o, err));
        out->n = 1;
    }
    for (size_t i = 0; i < in->texts.n; i++) {
        const char *text = in->texts.items[i];
        size_t len = strlen(text);
        if (!strcmp(text, "-")) {
            if (out->text) return rh_fail(err, RH_EVALUE, "stdin can be only one prompt");
            RH_TRY(cli_read_text(&out->text, &len, "-", true, err));
            text = out->text;
        }
        RH_TRY(rh_prompt_make(&out->items[i], m, text, len, &o, err));
        out->n++;
    }
    return RH_OK;
}

/* Ids as a prompt: no token covers a text, so masks on texts match nothing. */
static rh_status set_ids(rh_prompt *p, int32_t n, rh_error *err)
{
    p->ids = rh_calloc((size_t)n, sizeof *p->ids);
    p->tokens = rh_calloc((size_t)n, sizeof *p->tokens);
    if (!p->ids || !p->tokens) return rh_fail_nomem(err);
    p->n = n;
    p->user = "";
    return RH_OK;
}

static rh_status from_ids(cli_prompts *out, const cli_ints *ids, rh_error *err)
{
    out->n = 1;
    RH_TRY(set_ids(&out->items[0], (int32_t)ids->n, err));
    for (size_t i = 0; i < ids->n; i++) out->items[0].ids[i] = out->items[0].tokens[i].id = ids->items[i];
    return RH_OK;
}

static rh_status from_list(rh_prompt *p, const json_t *list, int32_t number, const char *path, rh_error *err)
{
    if (!json_is_array(list)) return rh_fail(err, RH_EFORMAT, "'%s': prompt %d is no list of token ids", path, number);
    if (json_array_size(list) > INT32_MAX) return rh_fail(err, RH_ELIMIT, "'%s': prompt %d is too long", path, number);
    RH_TRY(set_ids(p, (int32_t)json_array_size(list), err));
    for (int32_t i = 0; i < p->n; i++) {
        const json_t *id = json_array_get(list, (size_t)i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < INT32_MIN || value > INT32_MAX)
            return rh_fail(err, RH_EFORMAT, "'%s': item %d of prompt %d is no token id", path, i, number);
        p->ids[i] = p->tokens[i].id = (int32_t)value;
    }
    return RH_OK;
}

static rh_status from_json(cli_prompts *out, const json_t *all, bool flat, const char *path, rh_error *err)
{
    size_t n = flat ? 1 : json_array_size(all);
    if (n > INT32_MAX) return rh_fail(err, RH_ELIMIT, "'%s' holds too many prompts", path);
    out->items = rh_calloc(n, sizeof *out->items);
    if (!out->items) return rh_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        out->n = (int32_t)i + 1;
        RH_TRY(from_list(&out->items[i], flat ? all : json_array_get(all, i), (int32_t)i, path, err));
    }
    return RH_OK;
}

static rh_status from_file(cli_prompts *out, const char *path, rh_error *err)
{
    json_t *all = NULL;
    RH_TRY(rh_json_load(&all, path, err));
    rh_status status = RH_OK;
    if (!json_is_array(all) || json_array_size(all) == 0)
        status = rh_fail(err, RH_EFORMAT, "'%s' holds no list of token ids and no list of such lists", path);
    else status = from_json(out, all, json_is_integer(json_array_get(all, 0)), path, err);
    json_decref(all);
    return status;
}

static rh_status check(const cli_prompts *p, const rh_model *m, rh_error *err)
{
    for (int32_t i = 0; i < p->n; i++) {
        const rh_prompt *one = &p->items[i];
        if (one->n == 0) return rh_fail(err, RH_EVALUE, "prompt %d has no tokens", i);
        if (one->n > m->config.n_ctx)
            return rh_fail(err, RH_ELIMIT, "prompt %d has %d tokens, and the model's context is %d", i, one->n, m->config.n_ctx);
        for (int32_t k = 0; k < one->n; k++)
            if (one->ids[k] < 0 || one->ids[k] >= m->config.n_vocab)
                return rh_fail(err, RH_EVALUE, "token %d of prompt %d is %d, and the vocabulary has ids 0..%d", k, i,
                               one->ids[k], m->config.n_vocab - 1);
    }
    return RH_OK;
}

rh_status cli_read_prompts(cli_prompts *out, const rh_model *m, const cli_trace_input *in, rh_error *err)
{
    if (in->file) {
        RH_TRY(from_file(out, in->file, err));
    } else {
        out->items = rh_calloc(in->texts.n ? in->texts.n : 1, sizeof *out->items);
        if (!out->items) return rh_fail_nomem(err);
        if (in->texts.n || in->prompt.messages) RH_TRY(from_texts(out, m, in, err));
        else RH_TRY(from_ids(out, &in->ids, err));
    }
    return check(out, m, err);
}

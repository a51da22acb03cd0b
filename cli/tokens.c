/* tokens.c - `rhumb tokens MODEL TEXT`: ids, pieces and the bytes they cover. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/messages.h"
#include "cli/models.h"
#include "cli/prompt.h"
#include "cli/text.h"

typedef struct tokens_flags {
    cli_prompt_flags prompt;
    const char *file;
    bool bos;
} tokens_flags;

static json_t *tokens_json(const rh_model *m, const rh_tokens *t)
{
    json_t *ids = json_array(), *pieces = json_array(), *offsets = json_array();
    for (size_t i = 0; i < t->n; i++) {
        rh_bytes piece = rh_token_piece(m->tokenizer, t->items[i].id);
        json_array_append_new(ids, json_integer(t->items[i].id));
        json_array_append_new(pieces, cli_json_text(piece.data, piece.len));
        json_array_append_new(offsets, json_pack("[i,i]", (int)t->items[i].start, (int)t->items[i].end));
    }
    return json_pack("{s:o, s:o, s:o}", "ids", ids, "pieces", pieces, "offsets", offsets);
}

/* One row a token: id, bytes, the piece as the vocabulary spells it. */
static rh_status print_table(cli *c, const rh_model *m, const rh_tokens *t, rh_error *err)
{
    rh_str out = {0};
    char bytes[32];
    for (size_t i = 0; i < t->n; i++) {
        const rh_token *token = &t->items[i];
        rh_bytes piece = rh_token_piece(m->tokenizer, token->id);
        snprintf(bytes, sizeof bytes, "%d..%d", token->start, token->end);
        rh_str_printf(&out, "%8d  %-12s ", token->id, token->start < token->end ? bytes : "-");
        cli_visible(&out, piece.data, piece.len);
        rh_str_puts(&out, "\n");
    }
    rh_str_printf(&out, "%zu token%s\n", t->n, t->n == 1 ? "" : "s");
    return cli_print_str(c, &out, err);
}

static rh_status tokens_of(rh_tokens *out, const rh_model *m, const tokens_flags *f, const char *text, size_t len,
                           rh_error *err)
{
    const rh_tokenizer *t = m->tokenizer;
    if (cli_wants_chat(&f->prompt)) {
        rh_prompt p = {0};
        rh_prompt_options o;
        rh_status status = RH_OK;
        cli_prompt_options(&o, &f->prompt);
        RH_TRY(rh_prompt_make(&p, m, text, len, &o, err));
        for (int32_t i = 0; i < p.n && !status; i++) status = rh_tokens_push(out, p.tokens[i], err);
        rh_prompt_free(&p);
        return status;
    }
    if (f->bos) {
        if (rh_tokenizer_bos(t) < 0) return rh_fail(err, RH_EUNSUPPORTED, "the tokenizer of this model has no BOS token");
        RH_TRY(rh_tokens_push(out, (rh_token){.id = rh_tokenizer_bos(t)}, err));
    }
    return rh_tokenize(t, out, text, len, f->prompt.special, 0, err);
}

static rh_status one_text(cli *c, const rh_model *m, const tokens_flags *f, const char *text, size_t len, bool json,
                          rh_error *err)
{
    rh_tokens t = {0};
    rh_status status = tokens_of(&t, m, f, text, len, err);
    if (!status) status = json ? cli_print_json(c, tokens_json(m, &t), err) : print_table(c, m, &t, err);
    rh_tokens_free(&t);
    return status;
}

/* A line of --file is one JSON string. */
static rh_status file_line(cli *c, const rh_model *m, const tokens_flags *f, const char *path, int line, const char *text,
                           size_t len, rh_error *err)
{
    json_error_t fault;
    rh_status status = RH_OK;
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
    if (!json_is_string(value)) {
        status = value ? rh_fail(err, RH_EFORMAT, "this is no JSON string")
                       : rh_fail(err, RH_EFORMAT, "this is no JSON string: %s", fault.text);
        rh_hint(err, "each line is one text in JSON, such as \"San Francisco\\n\"");
        rh_place(err, path, line, 0);
    } else {
        status = one_text(c, m, f, json_string_value(value), json_string_length(value), true, err);
        if (status == RH_EVALUE) rh_place(err, path, line, 0);
    }
    json_decref(value);
    return status;
}

static rh_status whole_file(cli *c, const rh_model *m, const tokens_flags *f, rh_error *err)
{
    char *text = NULL;
    size_t len = 0;
    rh_status status = RH_OK;
    RH_TRY(cli_read_text(&text, &len, f->file, false, err));
    int line = 0;
    for (size_t at = 0; at < len && !status;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - (text + at)) : len - at;
        line++;
        size_t blank = 0;
        while (blank < n && strchr(" \t\r", text[at + blank])) blank++;
        if (blank < n) status = file_line(c, m, f, strcmp(f->file, "-") ? f->file : "<stdin>", line, text + at, n, err);
        at += n + 1;
        if (!status && cli_interrupted()) status = rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    free(text);
    return status;
}

static rh_status chat(cli *c, const rh_model *m, const tokens_flags *f, rh_error *err)
{
    tokens_flags own = *f;
    cli_messages messages = {0};
    rh_status status = cli_messages_read(&messages, &own.prompt, err);
    if (!status) status = one_text(c, m, &own, messages.text, messages.len, c->common.json, err);
    cli_messages_free(&messages);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const tokens_flags *f = flags;
    rh_model *m = NULL;
    char *text = NULL;
    size_t len = 0;
    rh_status status = RH_OK;
    const char *given = args->n > 1 ? args->items[1] : NULL;
    if (f->file && given) return cli_wrong(c, err, "give a TEXT or --file, not both");
    if (f->prompt.messages && (f->file || given)) return cli_wrong(c, err, "--messages stands for the text: leave TEXT and --file out");
    if (!f->file && !given && !f->prompt.messages && !cli_stdin_is_given()) return cli_wrong(c, err, "tokens needs a TEXT, --file, or a text on stdin");
    if (f->bos && cli_wants_chat(&f->prompt))
        return cli_wrong(c, err, "--bos and --chat exclude each other: a chat template has its own BOS");

    status = cli_open_model(&m, c, args->items[0], true, err);
    if (!status && !m->tokenizer)
        status = rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer", m->name);
    if (status) goto done;
    if (f->prompt.messages) {
        status = chat(c, m, f, err);
    } else if (f->file) {
        status = whole_file(c, m, f, err);
    } else if (given && strcmp(given, "-")) {
        status = one_text(c, m, f, given, strlen(given), c->common.json, err);
    } else {
        status = cli_read_text(&text, &len, "-", false, err);
        if (!status) status = one_text(c, m, f, text, len, c->common.json, err);
    }
done:
    free(text);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(tokens_flags, field)
static const cli_option OPTIONS[] = {
    {"file", 0, CLI_TEXT, AT(file), "FILE", "many texts: one JSON string a line in, one object {ids, pieces, offsets} a "
     "line out; - is stdin", 0, 0, NULL},
    {"bos", 0, CLI_FLAG, AT(bos), NULL, "put the BOS token in front", 0, 0, NULL},
    CLI_PROMPT_OPTIONS(tokens_flags, prompt),
    CLI_MESSAGES_OPTION(tokens_flags, prompt),
};

const cli_verb CLI_TOKENS = {
    .name = "tokens", .brief = "a text as token ids and pieces", .arguments = "MODEL [TEXT]",
    .about = "Shows the tokens of TEXT, or of stdin exactly as it is: id, the bytes it covers (start..end), and the "
             "piece as the vocabulary spells it. No BOS is added and control tokens in the text are plain text, unless "
             "--bos, --chat or --special asks for it. --json: {ids, pieces, offsets}.",
    .examples = "  rhumb tokens smollm2 'San Francisco'\n"
                "  rhumb tokens gemma3-270m --json --special '<start_of_turn>user'\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(tokens_flags),
    .min_args = 1, .max_args = 2, .run = run};

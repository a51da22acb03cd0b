#include "cli/messages.h"

#include <stdlib.h>
#include <string.h>

void cli_messages_free(cli_messages *m)
{
    free(m->turns);
    json_decref(m->root);
    *m = (cli_messages){0};
}

typedef enum role { SYSTEM, USER, ASSISTANT, N_ROLES } role;

static rh_status read_message(role *out, const char **text, size_t *len, const json_t *message, size_t number, const char *path,
                              rh_error *err)
{
    static const char *const names[] = {"system", "user", "assistant"};
    const char *name = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    *out = SYSTEM;
    while (name && *out < N_ROLES && strcmp(name, names[*out])) *out = (role)(*out + 1);
    if (!name || *out == N_ROLES)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s': message %zu has %s%.40s", path, number, name ? "the role " : "no role",
                                 name ? name : ""), err, "the roles are system, user and assistant");
    if (!json_is_string(content)) return rh_fail(err, RH_EFORMAT, "'%s': message %zu has no \"content\" that is a text", path, number);
    if (*out == SYSTEM && number > 1)
        return rh_fail(err, RH_EFORMAT, "'%s': message %zu is a system text, which only the first can be", path, number);
    *text = json_string_value(content);
    *len = json_string_length(content);
    return RH_OK;
}

static rh_status read_all(cli_messages *out, cli_prompt_flags *flags, const char *path, rh_error *err)
{
    const size_t n = json_array_size(out->root);
    role last = ASSISTANT;
    if (n == 0 || n > INT32_MAX)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' holds no list of messages", path), err,
                         "[{\"role\": \"user\", \"content\": \"Name a city.\"}, …]");
    out->turns = rh_calloc(n, sizeof *out->turns);
    if (!out->turns) return rh_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const char *text = NULL;
        size_t len = 0;
        RH_TRY(read_message(&last, &text, &len, json_array_get(out->root, i), i + 1, path, err));
        if (last == SYSTEM && flags->system) return rh_fail(err, RH_EVALUE, "'%s' has a system text, and --system is another", path);
        if (last == SYSTEM) flags->system = text;
        else if (i + 1 < n) out->turns[flags->n_turns++] = (rh_chat_turn){last == ASSISTANT, text, len};
        out->text = text;
        out->len = len;
    }
    if (last != USER)
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s': the last message is not the user's", path), err,
                         "the model's answer to it is what follows the prompt");
    flags->turns = out->turns;
    return RH_OK;
}

rh_status cli_messages_read(cli_messages *out, cli_prompt_flags *flags, rh_error *err)
{
    const bool is_stdin = !strcmp(flags->messages, "-");
    const char *path = is_stdin ? "<stdin>" : flags->messages;
    char *text = NULL;
    size_t len = 0;
    RH_TRY(cli_read_text(&text, &len, flags->messages, false, err));
    rh_status status = rh_json_parse(&out->root, text, len, path, err);
    free(text);
    if (!status) status = read_all(out, flags, path, err);
    return status;
}

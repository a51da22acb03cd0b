/* messages.h - a chat of several turns from a file, for tokens, steer and trace. */
#ifndef RH_CLI_MESSAGES_H
#define RH_CLI_MESSAGES_H

#include "base/json.h"
#include "cli/prompt.h"

#define CLI_MESSAGES_OPTION(type, field)                                                                              \
    {"messages", 0, CLI_TEXT, offsetof(type, field.messages), "FILE",                                                 \
     "a chat instead of a text: a JSON list of {\"role\", \"content\"}, system (first, optional), user and assistant, " \
     "the user last; - is stdin; implies --chat", 0, 0, NULL}

typedef struct cli_messages {
    json_t *root;        /* has the texts */
    rh_chat_turn *turns; /* all but the last */
    const char *text;    /* the last, a user's */
    size_t len;
} cli_messages;

/* Reads flags->messages; flags->turns, n_turns and, if the file has one, system are set from it and borrow from out.
 * RH_EFORMAT with the message's number. Owner: cli_messages_free, also after a failure. */
rh_status cli_messages_read(cli_messages *out, cli_prompt_flags *flags, rh_error *err);
void cli_messages_free(cli_messages *m);

#endif

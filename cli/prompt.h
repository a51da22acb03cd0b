/* prompt.h - the flags by which a text becomes a prompt, shared by tokens, steer and trace. */
#ifndef RH_CLI_PROMPT_H
#define RH_CLI_PROMPT_H

#include "cli/cli.h"
#include "concepts/concepts.h"

typedef struct cli_prompt_flags {
    bool chat, special, no_bos, double_bos;
    int32_t template_;  /* 0: the model's own, else index in CLI_TEMPLATES */
    const char *system;
    const char *messages; /* tokens, steer and trace; the next two are read from it (cli/messages.h) */
    const rh_chat_turn *turns;
    int32_t n_turns;
} cli_prompt_flags;

extern const char *const CLI_TEMPLATES[];

#define CLI_PROMPT_OPTIONS(type, field)                                                                               \
    {"chat", 0, CLI_FLAG, offsetof(type, field.chat), NULL,                                                           \
     "the text is a user's turn, set in the model's chat template", 0, 0, NULL},                                      \
    {"system", 0, CLI_TEXT, offsetof(type, field.system), "TEXT",                                                     \
     "system text of the chat (\"\": none; default: the template's own); implies --chat", 0, 0, NULL},               \
    {"chat-template", 0, CLI_CHOICE, offsetof(type, field.template_), "NAME",                                         \
     "auto (default: the model's own), gemma, chatml, llama3, mistral ([INST], as in the model's template), or "        \
     "none: the prompt is the text as it is, even with --chat; implies --chat", 0, 0, CLI_TEMPLATES},                                 \
    {"special", 0, CLI_FLAG, offsetof(type, field.special), NULL,                                                     \
     "control tokens spelled in the text become tokens", 0, 0, NULL}

/* For prompts that get a BOS by the tokenizer's own rule. */
#define CLI_BOS_OPTIONS(type, field)                                                                                  \
    {"no-bos", 0, CLI_FLAG, offsetof(type, field.no_bos), NULL, "leave out the BOS token", 0, 0, NULL},              \
    {"double-bos", 0, CLI_FLAG, offsetof(type, field.double_bos), NULL,                                               \
     "BOS twice, as a template and a tokenizer that each add one do (some notebooks)", 0, 0, NULL}

bool cli_wants_chat(const cli_prompt_flags *f);
void cli_prompt_options(rh_prompt_options *out, const cli_prompt_flags *f);

#endif

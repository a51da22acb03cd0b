#include "cli/prompt.h"

enum { AUTO, GEMMA, CHATML, LLAMA3, MISTRAL, NONE };
const char *const CLI_TEMPLATES[] = {"auto", "gemma", "chatml", "llama3", "mistral", "none", NULL};

bool cli_wants_chat(const cli_prompt_flags *f) { return f->chat || f->system || f->template_ || f->messages; }

void cli_prompt_options(rh_prompt_options *out, const cli_prompt_flags *f)
{
    static const rh_chat template_[] = {[AUTO] = RH_CHAT_NONE, [GEMMA] = RH_CHAT_GEMMA, [CHATML] = RH_CHAT_CHATML,
                                        [LLAMA3] = RH_CHAT_LLAMA3, [MISTRAL] = RH_CHAT_MISTRAL, [NONE] = RH_CHAT_NONE};
    *out = (rh_prompt_options){.chat = cli_wants_chat(f) && f->template_ != NONE,
                               .template_ = template_[f->template_],
                               .system = f->system,
                               .before = f->turns,
                               .n_before = f->n_turns,
                               .special = f->special,
                               .no_bos = f->no_bos,
                               .double_bos = f->double_bos};
}

#include "cli/prompt.h"

const char *const CLI_TEMPLATES[] = {"auto", "gemma", "chatml", "llama3", NULL};

bool cli_wants_chat(const cli_prompt_flags *f) { return f->chat || f->system || f->template_; }

void cli_prompt_options(rh_prompt_options *out, const cli_prompt_flags *f)
{
    static const rh_chat template_[] = {RH_CHAT_NONE, RH_CHAT_GEMMA, RH_CHAT_CHATML, RH_CHAT_LLAMA3};
    *out = (rh_prompt_options){.chat = cli_wants_chat(f),
                               .template_ = template_[f->template_],
                               .system = f->system,
                               .special = f->special,
                               .no_bos = f->no_bos,
                               .double_bos = f->double_bos};
}

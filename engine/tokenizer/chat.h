/* chat.h - what the files that spell a chat share; only for chat*.c. */
#ifndef RH_ENGINE_TOKENIZER_CHAT_H
#define RH_ENGINE_TOKENIZER_CHAT_H

#include "engine/tokenizer/vocab.h"

/* ---- chat_line.c: tokens of a chat while they are put together ----------------------------- */

/* Text goes through the tokenizer as one string between control tokens, as it would if the template
 * had been rendered: a newline of the template's merges with one of the user's. */
typedef struct rh_chat_line {
    const rh_tokenizer *t;
    rh_bytes template; /* the model's own, if it is of this family; else length 0 */
    rh_tokens *out;
    size_t had;        /* of out, in front of the chat */
    bool special;
    const rh_chat_turn *before; /* [n_before] */
    int32_t n_before;
    rh_bytes user;     /* the last turn's text */
    rh_str text;       /* since the last control token */
    bool has_user;             /* the user's own text is in it, */
    size_t user_from, user_to; /* from here to there, */
    int32_t user_at;           /* and what is left out in front of it */
    size_t user_begin, user_end; /* tokens of out: the user's own */
    rh_error *err;
} rh_chat_line;

void rh_chat_add(rh_chat_line *l, const char *text);
void rh_chat_add_bytes(rh_chat_line *l, rh_bytes text);
/* Turn i of n_before + 1, of which the last is the user's own. */
void rh_chat_add_turn(rh_chat_line *l, int32_t i, bool trim);
/* Take whitespace away from the end of the text, back to `from`. */
void rh_chat_trim_end(rh_chat_line *l, size_t from);
/* The text so far as tokens, then the token. */
rh_status rh_chat_control(rh_chat_line *l, const char *piece);
rh_status rh_chat_put(rh_chat_line *l, int32_t id);
rh_status rh_chat_flush(rh_chat_line *l);

bool rh_chat_is_assistant(const rh_chat_line *l, int32_t i);
/* RH_EVALUE: turns that do not go user, assistant, user, …; some templates refuse them. */
rh_status rh_chat_alternates(const rh_chat_line *l);
/* Python's str.strip(), which Jinja's trim is. */
rh_bytes rh_chat_trimmed(rh_bytes text);

/* ---- chat_template.c: what a template says, found in its text, never by running it ----------- */

/* Offset of needle in b at or after from; b.len if absent. */
size_t rh_bytes_find(rh_bytes b, size_t from, const char *needle);
bool rh_bytes_have(rh_bytes b, const char *needle);
/* A Jinja string literal's inside, unescaped. */
void rh_jinja_unescape(rh_str *out, rh_bytes literal);
/* Does the template put BOS in front? Where there is none, the family's own does or does not. */
bool rh_template_has_bos(rh_bytes template, const rh_tokenizer *t, bool family);
/* "content'] | trim" or "content | trim": most ChatML templates take the text as it is. */
bool rh_template_trims(rh_bytes template);
/* The system text a ChatML template puts in if there is none, appended. */
bool rh_template_system(rh_str *out, rh_bytes template);

/* ---- chat_inst.c: [INST] … [/INST], as Mistral's models and Llama 2 have it ------------------ */

/* "' [INST] ' + message['content'] + ' [/INST]'": what an output of the template is put together from. */
typedef struct rh_chat_term {
    enum { RH_TERM_LITERAL, RH_TERM_CONTENT, RH_TERM_SYSTEM, RH_TERM_BOS, RH_TERM_EOS } kind;
    bool trimmed;
    rh_bytes literal; /* in the template, escapes and all */
} rh_chat_term;
typedef struct rh_chat_phrase { rh_chat_term terms[8]; int n; } rh_chat_phrase;

typedef struct rh_inst { /* borrows the template */
    bool bos;                   /* once, in front of everything */
    rh_chat_phrase user, assistant;
    rh_chat_phrase user_system; /* a turn of the user's with the system text; n 0: there is none */
    bool system_last;           /* it is the last turn, as of Mistral 7B v0.3; else the first */
    rh_chat_phrase content;     /* Llama 2: what message['content'] is of the first turn, with <<SYS>> */
} rh_inst;
/* False: not of this kind, or something in it that is not understood: never guessed. */
bool rh_inst_read(rh_inst *out, rh_bytes template);
rh_status rh_inst_chat(rh_chat_line *l, const char *system);

#endif

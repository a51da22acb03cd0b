/* damage.h - a small model or vector file with damages, written as one line of text:
 *
 *   BASE: EDIT; EDIT; ...            what the fuzzer draws, and what is kept of it
 *   BASE: EDIT; ... -> refused "x"   in the kept cases: the message has to contain x
 *   BASE: EDIT; ... -> opens
 *
 * BASE is a row of damage_bases. An EDIT names a file of it; TEXT is "..." with \xNN, \" and \\:
 *
 *   put FILE AT TEXT           overwrite bytes
 *   cut FILE SIZE              shorten
 *   join FILE TEXT             append
 *   head FILE AT DROP TEXT     replace bytes of the header so that the rest stays in order: a
 *                              safetensors' length of header, a GGUF's padding and counts follow
 *   swap FILE TEXT TEXT        as head, where the first text stands
 *   nest FILE AT N TEXT        as head: the text N times
 *   file FILE TEXT             a new file, or all of it
 *   remove FILE | folder FILE | link FILE TARGET
 *
 * Files are put down for each case and mended before the next. */
#ifndef RH_TEST_DAMAGE_H
#define RH_TEST_DAMAGE_H

#include "base/mem.h"
#include "support/scratch.h"

enum { DAMAGE_FILES = 8 };

typedef struct damage_file {
    char name[64];
    rh_str good, now;
    bool touched;
} damage_file;

typedef struct damage_base {
    const char *name, *entry; /* entry: the file to open; "": the folder */
    enum { DAMAGE_MODEL = 0, DAMAGE_VECTOR, DAMAGE_TOKENIZER } kind;
    scratch at;
    damage_file files[DAMAGE_FILES];
    int n;
} damage_base;

/* All bases, read from tests/data/models or made. NULL-terminated by a row without a name. */
damage_base *damage_bases_open(void);
void damage_bases_close(damage_base *all);
damage_file *damage_file_of(damage_base *b, const char *name);

/* Puts the line's files down. false: the line makes no sense, *why says where. *base is mended by
 * damage_mend before another line. expect: what stands behind "->", or "". */
bool damage_apply(damage_base **base, damage_base *all, const char *line, const char **expect, const char **why);
void damage_mend(damage_base *b);

/* One text of a line, from its quote on: appended to out; the end, or NULL. */
const char *damage_text(rh_str *out, const char *p);
void damage_quote(rh_str *out, const char *bytes, size_t n);

/* Draws a line from (seed, round). */
void damage_draw(rh_str *line, damage_base *all, uint64_t seed, uint64_t round);

/* Opens what `b` holds in every way there is, and runs a few tokens. false: a promise is broken,
 * what says which. message: the error's, or "" if it opened. */
bool damage_try(const damage_base *b, char message[1024], const char **what);

#endif

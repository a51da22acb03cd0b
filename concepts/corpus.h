/* corpus.h - texts streamed from files: plain text, or JSON lines (.jsonl, .ndjson: a string, or an object with
 * "text"), each also with gzip (told by its first bytes). Knows files; no tokens, no model.
 *
 * What is longer than RH_CORPUS_PIECE comes in pieces: cut behind the last empty line, else the last line, else
 * the last blank, else between code points. Memory is bounded by the longest line of JSON (RH_CORPUS_LINE). */
#ifndef RH_CONCEPTS_CORPUS_H
#define RH_CONCEPTS_CORPUS_H

#include "base/error.h"

enum { RH_CORPUS_PIECE = 8 << 10, RH_CORPUS_LINE = 64 << 20 }; /* bytes */

typedef struct rh_corpus rh_corpus; /* owner: rh_corpus_free */

/* Paths are copied. RH_EIO: a file is missing, or a folder; nothing else is read yet. */
rh_status rh_corpus_open(rh_corpus **out, const char *const *paths, int n, rh_error *err);
/* The next document: valid UTF-8 without NUL, \r\n made \n, not blank; borrowed until the next call. *end: there are no
 * more. RH_EFORMAT, with file and line: JSON that is broken or has no text, bytes that are no text, gzip
 * that is damaged or cut off. RH_ELIMIT: a line of JSON beyond RH_CORPUS_LINE. */
rh_status rh_corpus_next(rh_corpus *c, const char **text, size_t *len, bool *end, rh_error *err);
rh_status rh_corpus_skip(rh_corpus *c, int64_t documents, rh_error *err); /* RH_EVALUE: there are fewer */
int64_t rh_corpus_at(const rh_corpus *c);        /* documents given */
int64_t rh_corpus_repaired(const rh_corpus *c);  /* bytes so far that were no UTF-8, now U+FFFD */
void rh_corpus_bytes(const rh_corpus *c, int64_t *read, int64_t *all); /* of the files, as stored */
/* SHA-256 over what the files hold, in their order: reads them all. RH_EIO: one is a pipe. */
rh_status rh_corpus_hash(char out[65], const rh_corpus *c, rh_error *err);
void rh_corpus_free(rh_corpus *c);

#endif

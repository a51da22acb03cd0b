/* book.h - a book and what it includes, read and parsed. Knows files and trees; nothing of what
 * names mean. */
#ifndef RH_DSL_BOOK_H
#define RH_DSL_BOOK_H

#include "dsl/names.h"
#include "dsl/parser.h"

enum { RH_MAX_BOOK = 4 << 20, RH_MAX_INCLUDES = 64 }; /* bytes of a book; depth of includes */

typedef struct rh_book_file { /* read already, or being read */
    uint64_t device, inode;
    const char *path;
    bool open;                /* being read: meeting it again is a cycle */
} rh_book_file;

typedef struct rh_book {
    rh_arena *arena;          /* borrowed */
    rh_scope scope;
    rh_statement **actions;   /* of the first book, not of included ones */
    size_t n_actions, actions_capacity;
    const rh_statement *model, *layer; /* of the first book; NULL: none */
    rh_book_file *files;
    size_t n_files, files_capacity;
} rh_book;

/* Errors of the text go into diags, with RH_OK; RH_ENOMEM is returned. text NULL: read path. */
rh_status rh_book_read(rh_book *b, const char *path, const char *text, rh_diags *diags);
void rh_book_free(rh_book *b);
/* A source in the arena, name and text copied. NULL: no memory. */
rh_source *rh_source_new(rh_arena *a, const char *name, const char *text, size_t len);

/* A path as a book or expression wrote it, against that book's folder; malloc, NULL: no memory. */
char *rh_path_beside(const rh_source *source, rh_slice path);

#endif

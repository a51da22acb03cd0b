/* folder_help.h - the committed folders, copied file by file into a scratch folder. */
#ifndef RH_TEST_TOKENIZER_FOLDER_HELP_H
#define RH_TEST_TOKENIZER_FOLDER_HELP_H

#include "base/file.h"
#include "help.h"
#include "support/scratch.h"

#define HUB RH_TEST_DATA "/tokenizer/hub/"
enum { N_FOLDER_FILES = 4 };
extern const char *const folder_files[N_FOLDER_FILES]; /* the first two hold the vocabulary */

/* The folder's tokenizer files, those of the vocabulary from another folder. */
void copy_folder(scratch *s, const char *name, const char *vocabulary);

#endif

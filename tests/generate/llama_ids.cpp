// llama_ids.cpp - ids of many strings by llama.cpp's own tokenizer, in one load of the model.
// Answers equal `llama-tokenize --no-bos --ids` (special) and the same with --no-parse-special (plain).
//
//   L=path/to/llama.cpp, built in L/build:
//   c++ -std=c++17 -O2 -I$L/include -I$L/ggml/include llama_ids.cpp -o llama_ids -L$L/build/bin -lllama
//
//   llama_ids MODEL plain|special < strings > ids
// stdin: each string as a little-endian u32 length and its bytes. stdout: a line of ids a string.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "llama.h"

static void quiet(ggml_log_level, const char *, void *) {}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: llama_ids MODEL plain|special < strings > ids\n");
        return 2;
    }
    bool special = strcmp(argv[2], "special") == 0;
    llama_log_set(quiet, nullptr);
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model *model = llama_model_load_from_file(argv[1], params);
    if (!model) {
        fprintf(stderr, "llama_ids: cannot load '%s'\n", argv[1]);
        return 1;
    }
    const llama_vocab *vocab = llama_model_get_vocab(model);
    uint8_t head[4];
    std::vector<char> text;
    std::vector<llama_token> ids;
    while (fread(head, 1, 4, stdin) == 4) {
        uint32_t n = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
        text.resize(n + 1);
        if (fread(text.data(), 1, n, stdin) != n) {
            fprintf(stderr, "llama_ids: a string is cut off\n");
            return 1;
        }
        ids.resize(n + 8);
        int32_t k = llama_tokenize(vocab, text.data(), (int32_t)n, ids.data(), (int32_t)ids.size(),
                                   false, special);
        if (k < 0) {
            fprintf(stderr, "llama_ids: more ids than bytes\n");
            return 1;
        }
        for (int32_t i = 0; i < k; i++) printf(i ? " %d" : "%d", ids[i]);
        printf("\n");
    }
    llama_model_free(model);
    return 0;
}

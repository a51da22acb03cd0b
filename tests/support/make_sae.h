/* make_sae.h - a random SAE that fits a test's model, in a folder as SAELens saves it. */
#ifndef RH_TEST_MAKE_SAE_H
#define RH_TEST_MAKE_SAE_H

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "engine/files/safetensors.h"

typedef struct made_sae {
    const char *architecture;  /* as SAELens spells it */
    const char *normalize;     /* NULL: none */
    const char *more;          /* further members of cfg.json, with a leading comma; NULL */
    const char *hook, *out;    /* "blocks.1.hook_resid_post"; out NULL: the same */
    int32_t d_in, d_out, d_sae;
    uint64_t seed;
} made_sae;

typedef struct made_tensor { const char *name; int32_t rows, cols; double mean, spread; } made_tensor;

static inline void made_check(rh_status status, const char *path, const rh_error *err)
{
    if (!status) return;
    fprintf(stderr, "%s: %s\n", path, err->message);
    abort();
}

/* Weights whose features are active on about a third of rows of length √d_in. */
static inline void make_sae(const char *folder, const made_sae *m)
{
    const bool gated = !strcmp(m->architecture, "gated"), jump = strstr(m->architecture, "jumprelu") != NULL;
    const bool skip = strstr(m->architecture, "skip") != NULL;
    const double w = 1 / sqrt(m->d_in);
    const made_tensor all[] = {
        {"W_enc", m->d_in, m->d_sae, 0, w}, {"W_dec", m->d_sae, m->d_out, 0, 2 * w}, {"b_dec", 1, m->d_out, 0, 0.2},
        {gated ? "b_gate" : "b_enc", 1, m->d_sae, -0.4, 0.1}, {"threshold", 1, jump ? m->d_sae : 0, 0.3, 0.1},
        {"b_mag", 1, gated ? m->d_sae : 0, 0, 0.1}, {"r_mag", 1, gated ? m->d_sae : 0, 0, 0.3},
        {"W_skip", m->d_out, skip ? m->d_in : 0, 0, w},
    };
    enum { N = sizeof all / sizeof *all };
    rh_safetensors_entry entries[N];
    char path[700];
    rh_error err;
    rh_st_writer *writer = NULL;
    int64_t n = 0;
    if (mkdir(folder, 0777) && errno != EEXIST) perror(folder);
    snprintf(path, sizeof path, "%s/cfg.json", folder);
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    fprintf(f, "{\"architecture\": \"%s\", \"d_in\": %d, \"d_sae\": %d, \"dtype\": \"float32\", \"normalize_activations\": \"%s\", ",
            m->architecture, m->d_in, m->d_sae, m->normalize ? m->normalize : "none");
    if (m->out) fprintf(f, "\"d_out\": %d, ", m->d_out);
    fprintf(f, "\"apply_b_dec_to_input\": %s, \"reshape_activations\": \"none\"%s, \"metadata\": {\"hook_name\": \"%s\"",
            m->out ? "false" : "true", m->more ? m->more : "", m->hook);
    if (m->out) fprintf(f, ", \"hook_name_out\": \"%s\"", m->out);
    fprintf(f, "}}\n");
    fclose(f);
    for (int i = 0; i < N; i++)
        if (all[i].cols) {
            entries[n] = (rh_safetensors_entry){.name = all[i].name, .dtype = RH_F32, .n_dims = all[i].rows == 1 ? 1 : 2};
            entries[n].shape[0] = all[i].rows == 1 ? all[i].cols : all[i].rows;
            entries[n++].shape[1] = all[i].cols;
        }
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", folder);
    made_check(rh_st_writer_open(&writer, path, entries, n, NULL, 0, &err), path, &err);
    for (int i = 0; i < N; i++)
        for (int64_t j = 0; j < (int64_t)all[i].rows * all[i].cols; j++) {
            float x = (float)(all[i].mean + all[i].spread * rh_random_normal(m->seed, (uint64_t)i, (uint64_t)j));
            if (i == 4) x = fabsf(x);
            made_check(rh_st_writer_put(writer, &x, sizeof x, &err), path, &err);
        }
    made_check(rh_st_writer_commit(writer, &err), path, &err);
}

static inline void made_sae_remove(const char *folder)
{
    char path[700];
    snprintf(path, sizeof path, "%s/cfg.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", folder);
    unlink(path);
    rmdir(folder);
}

#endif

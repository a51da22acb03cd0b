/* fake_resolver.h - a model of 42 layers, width 16 (attn_z 24), whose vectors are seeded noise:
 * a function of (what is asked, hook, layer), so that a test can compute them too. */
#ifndef RH_TEST_FAKE_RESOLVER_H
#define RH_TEST_FAKE_RESOLVER_H

#include "dsl/program.h"

enum { FAKE_D = 16, FAKE_Z = 24, FAKE_LAYERS = 42, FAKE_REQUESTS = 64 };

typedef struct fake_resolver {
    rh_resolver resolver;         /* self points to this */
    int describes, computes;      /* calls */
    int n_requests;               /* of the last compute */
    struct { char text[64]; rh_hook hook; int n_layers, first, last, d; } requests[FAKE_REQUESTS];
    bool fail_memory;             /* compute answers RH_ENOMEM */
    bool cancel;                  /* compute answers RH_ECANCELLED */
} fake_resolver;

/* Files for load():
 *   sf.safetensors 31, rain20.safetensors 20, other20.safetensors 20, attn.safetensors 20.attn_out,
 *   z.safetensors 20.attn_z, fam.safetensors 14..18, fam2.gguf 3 and 7, const.npy constant,
 *   narrow.npy constant of width 8, zero.npy zeros, huge.npy 3e38, wide31.safetensors 31 with width 99,
 *   deep.safetensors layer 77; others do not exist.
 * dim("missing.csv") cannot be described, dim("bad.csv") not computed (bad.csv:3), dim("nan.csv")
 * is not finite. pca("labels.csv") is refused. resid_norm(q) is at least 10, and infinite for q = 0.25. token("San Francisco") is two tokens. */
void fake_init(fake_resolver *f);
void fake_no_model(fake_resolver *f);

/* Row [d] for an atom as the resolver would give it: text is the path or text, "" where there is none;
 * options as in the spec, defaults too. */
void fake_vector(float *out, const rh_atom_spec *spec, rh_hook hook, int32_t layer, int32_t d);

#endif

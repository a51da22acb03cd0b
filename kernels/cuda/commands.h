/* commands.h - a step as a list: which launcher, with which arguments (kernels.h). Plain data: nothing here knows CUDA.
 *
 * An op only appends. When something must come back to the host the list is fused (fuse.h) and run (graph.c): lists
 * that are equal byte for byte do the same, so one that was met before is replayed as a graph. */
#ifndef RH_KERNELS_CUDA_COMMANDS_H
#define RH_KERNELS_CUDA_COMMANDS_H

#include "kernels/cuda/kernels.h"

typedef struct rh_cuda_command {
    rh_cuda_launcher launch;
    const char *name;   /* for messages; static */
    size_t at, bytes;   /* arguments: where in the list's data */
} rh_cuda_command;

typedef struct rh_cuda_commands { /* zero to start; rh_cuda_commands_free */
    rh_cuda_command *items;
    size_t n, capacity;
    uint8_t *data;      /* arguments, each at a multiple of 16, gaps zero */
    size_t used, room;
} rh_cuda_commands;

/* The new last command's arguments, zeroed, until the next call; NULL: no memory, the list is as it was. */
void *rh_cuda_commands_add(rh_cuda_commands *l, rh_cuda_launcher launch, const char *name, size_t bytes);
/* As it stands in another list. */
bool rh_cuda_commands_add_copy(rh_cuda_commands *l, const rh_cuda_commands *from, size_t i);
bool rh_cuda_commands_copy(rh_cuda_commands *to, const rh_cuda_commands *from); /* to is emptied first */
bool rh_cuda_commands_equal(const rh_cuda_commands *a, const rh_cuda_commands *b);
uint64_t rh_cuda_commands_hash(const rh_cuda_commands *l); /* equal lists have equal ones */
void rh_cuda_commands_clear(rh_cuda_commands *l);          /* keeps its memory */
void rh_cuda_commands_remove(rh_cuda_commands *l, size_t i);
void rh_cuda_commands_free(rh_cuda_commands *l);

static inline void *rh_cuda_arguments(const rh_cuda_commands *l, size_t i) { return l->data + l->items[i].at; }

#endif

/* graph.h - checked expressions as a graph: equal values are one node, every node comes after
 * those it is made of, so that no walk needs recursion. Places are part of a node; what a
 * floating node is worth at some layer is plan.h's business. Knows no syntax. */
#ifndef RH_DSL_GRAPH_H
#define RH_DSL_GRAPH_H

#include "dsl/program.h"

typedef enum rh_op {
    RH_OP_NUMBER,
    RH_OP_ATOM,
    RH_OP_SUM,      /* sum_i coef[i] in[i]; all scalars, or all vectors */
    RH_OP_AT,       /* in[0], placed at or selected to the site */
    RH_OP_FREE,     /* in[0] without its site */
    RH_OP_SCALE,    /* scalar in[0] * vector in[1] */
    RH_OP_TIMES,    /* scalar in[0] * scalar in[1] */
    RH_OP_DIVIDE,   /* in[0] / scalar in[1] */
    RH_OP_UNIT, RH_OP_NORM,
    RH_OP_RESCALE,  /* vector in[0] to norm in[1] */
    RH_OP_DOT, RH_OP_COS, RH_OP_ANGLE,
    RH_OP_PROJ, RH_OP_REJECT, /* vector in[0] onto vector or span in[1] */
    RH_OP_SPAN,
    RH_OP_SLERP     /* in[0] to in[1] by scalar in[2] */
} rh_op;

/* Sums, @ and free() pass linear forms through; all else ends them. */
bool rh_op_is_linear(rh_op op);
const char *rh_op_name(rh_op op); /* for explain */

typedef struct rh_place_at { rh_hook hook; int32_t n; const int32_t *layers; } rh_place_at;

typedef struct rh_atom {
    rh_atom_spec spec;
    rh_atom_info info;    /* if described */
    bool asked, ok, reported;
    rh_status status;     /* why not ok */
    const char *message, *hint;
    int32_t site;         /* of the info; -1 */
} rh_atom;

typedef struct rh_node {
    rh_op op;
    rh_value_kind kind;
    rh_place_kind place;
    int32_t site;         /* pinned, family; else -1 */
    int32_t d;            /* vector, span: width. A scalar that floats: the width its site must have. 0: any */
    int32_t inner_d;      /* width of the vectors that a scalar is computed from; 0: not known yet */
    int32_t n_in;
    const int32_t *in;
    const double *coef;   /* SUM */
    const rh_atom_model *model; /* that a part of it was made on; NULL: not known */
    double number;        /* NUMBER */
    int32_t atom;         /* ATOM, else -1 */
    rh_range range;
    int32_t next;         /* in its hash bucket */
} rh_node;

typedef struct rh_graph {
    rh_arena *arena;      /* borrowed */
    rh_node *nodes;
    size_t n, capacity;
    int32_t *buckets;     /* index + 1 of a chain's head */
    size_t n_buckets;
    rh_place_at *sites;
    size_t n_sites, sites_capacity;
    rh_atom *atoms;
    size_t n_atoms, atoms_capacity;
    int32_t *atom_buckets;
    size_t n_atom_buckets;
} rh_graph;

/* Each returns the index of an equal one if there is one, else of a new one; -1: no memory.
 * in, coef and layers are copied; strings of a spec are borrowed (from the arena). */
int32_t rh_graph_node(rh_graph *g, const rh_node *node);
int32_t rh_graph_site(rh_graph *g, rh_hook hook, int32_t n, const int32_t *layers);
int32_t rh_graph_atom(rh_graph *g, const rh_atom_spec *spec);
void rh_graph_free(rh_graph *g);

/* open [n]: does the node take a width from its context? random() does, and what is made of it
 * alone. */
void rh_graph_find_open(const rh_graph *g, bool *open);

/* "31", "14..18", "3, 7"; with the hook if `hook`: "31.attn_out". */
enum { RH_SITE_TEXT = 96 };
void rh_site_text(char out[RH_SITE_TEXT], const rh_place_at *site, bool hook);

#endif

/* state_buffer.h - hidden states in random order: a ring of rows that is drawn from in passes, each a fresh
 * permutation; after a pass the oldest part gives way to new rows, so that every row is drawn as often as it stays.
 * Rows are centred and scaled to a mean norm of √d by what the first of them are like, and kept in bf16 (an error of
 * 2⁻⁹ of each number: a millionth of the variance). One that is longer than 4√d is shortened to that: models have states
 * of two hundred times the mean norm at some tokens, and by a gradient of the square of that Adam would measure all others
 * for a thousand steps. Knows rows; where they come from is the source's affair. */
#ifndef RH_PROBES_STATE_BUFFER_H
#define RH_PROBES_STATE_BUFFER_H

#include "probes/state_source.h"

enum { RH_STATE_LONGEST = 4 }; /* √d */

typedef struct rh_state_buffer {
    int32_t d, rows;       /* capacity */
    int32_t reuse;         /* passes a row stays for */
    uint64_t seed;
    uint16_t *z;           /* [rows, d] bf16 */
    int32_t *order;        /* [rows] of this pass */
    float *mean;           /* [d] */
    double scale;          /* z = (x - mean) scale */
    int64_t filled;        /* rows there are, until it is full */
    int64_t oldest;        /* the next to be replaced */
    int64_t pass, drawn;   /* drawn: of this pass */
} rh_state_buffer;

/* rows at least 1; fewer tokens in the corpus than that: it holds them all and is never refilled. */
rh_status rh_state_buffer_new(rh_state_buffer **out, int32_t d, int32_t rows, int32_t reuse, uint64_t seed, rh_error *err);
void rh_state_buffer_free(rh_state_buffer *b);
int64_t rh_state_buffer_bytes(int32_t d, int32_t rows);

/* Rows in place of the oldest. The first ones say what mean and scale are. RH_EVALUE: those are all alike. */
rh_status rh_state_buffer_add(rh_state_buffer *b, const rh_state_rows *r, rh_error *err);

/* z [n, d]: the next rows; reads the source where it must. go_on (may be NULL) is asked after each of its batches:
 * false is RH_ECANCELLED, and then the buffer goes on where it was. */
typedef bool (*rh_go_on)(void *data, int64_t filled, int64_t wanted);
rh_status rh_state_buffer_draw(float *z, int32_t n, rh_state_buffer *b, rh_state_source *s, rh_go_on go_on, void *data, rh_error *err);
/* After the fields were set from elsewhere: the order of the pass. */
void rh_state_buffer_restore(rh_state_buffer *b);

#endif

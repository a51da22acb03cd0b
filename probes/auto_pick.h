/* auto_pick.h - choosing among settings: frontier, knee, interval. Numbers only. */
#ifndef RH_PROBES_AUTO_PICK_H
#define RH_PROBES_AUTO_PICK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rh_knee_point {
    double value;    /* more is better */
    double cost;     /* less is better, >= 0 */
    bool healthy;    /* may be picked */
    bool frontier;   /* out: healthy, and no other healthy point is as good in both and better in one */
} rh_knee_point;

/* Marks the frontier and returns the knee: the frontier's point furthest above the straight line from doing
 * nothing (value 0, cost 0) to its dearest point, both axes scaled to the frontier's largest; value
 * counts twice. Ties: the cheaper. -1: no healthy point has a value above `least`. Points whose value or
 * cost is NaN are not healthy. */
int32_t rh_knee(rh_knee_point *const *points, int32_t n, double least);

/* Fisher's exact test, one-sided: the chance of k hits or more among n texts, if the k + l hits fell by luck on these n
 * and the other m. 1 if n or m is 0. */
double rh_luck(int64_t k, int64_t n, int64_t l, int64_t m);

/* Wilson's interval of k of n at 95 %: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z 1.959964; 0..1 if n is 0. */
void rh_wilson(double *lo, double *hi, int64_t k, int64_t n);

#endif

/* screen.h - the codes of a screen: made by screen_codes.c, used by screen.c. Private to them. */
#ifndef RH_KERNELS_CPU_SCREEN_H
#define RH_KERNELS_CPU_SCREEN_H

#include "kernels/cpu/cpu.h"

struct rh_screen {
    const uint8_t *data; /* [rows] of row_bytes, the caller's */
    rh_dtype type;
    size_t row_bytes;
    int32_t rows, cols, wide, n_panels;
    int8_t *codes;           /* [n_panels][wide/4][16][4] */
    rh_screen_panel *panels; /* [n_panels] */
};

#define RH_SCREEN_UP (1 + 1.0 / 1048576) /* times what was computed in double: not below what it stands for */

/* Of x [wide], which is mixed by that, the codes of an input, -63 .. 63: x = scale code + what error is the length of;
 * norm: x's; sum, squares: of the codes. Where float32 is at its ends, all codes are 0, and error is all of x or
 * infinite. */
typedef struct rh_screen_coded { double scale, norm, error; int32_t sum, squares; } rh_screen_coded;
rh_screen_coded rh_screen_code_input(int8_t *out, float *x, int32_t wide);

#endif

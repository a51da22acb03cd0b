/* scratch_dir.h - one folder, dir, for all tests of a program: scratch_setup and scratch_teardown go around the group. */
#ifndef RH_TEST_SCRATCH_DIR_H
#define RH_TEST_SCRATCH_DIR_H

#include "support/scratch.h"

static scratch dir;

static int scratch_setup(void **state)
{
    (void)state;
    scratch_open(&dir);
    return 0;
}

static int scratch_teardown(void **state)
{
    (void)state;
    scratch_close(&dir);
    return 0;
}

#endif

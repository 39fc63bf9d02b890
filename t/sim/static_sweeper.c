
/*
 * What the sweeper keeps beside its configuration, one for each node of the
 * simulation.
 */

#include "background/sweeper.c"

#include "world.h"


sim_static_t  sim_sweeper_statics[] = {
    { &sweeper, sizeof(sweeper) },
    { NULL, 0 }
};


/* The same of what the auditor compares in Redis. */

#include "background/audit.c"

#include "world.h"


sim_static_t  sim_audit_statics[] = {
    { &side, sizeof(side) },
    { NULL, 0 }
};


/* The same of the auditor's base plans. */

#include "background/audit_plan.c"

#include "world.h"


sim_static_t  sim_audit_plan_statics[] = {
    { &base, sizeof(base) },
    { NULL, 0 }
};

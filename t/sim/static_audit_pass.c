
/* The same of the auditor's pass. */

#include "background/audit_pass.c"

#include "world.h"


sim_static_t  sim_audit_pass_statics[] = {
    { &lines_audit, sizeof(lines_audit) },
    { &skips, sizeof(skips) },
    { NULL, 0 }
};

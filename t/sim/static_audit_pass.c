
/* The same of the auditor's. */

#include "operation/audit_pass.c"

#include "world.h"


sim_static_t  sim_audit_statics[] = {
    { &lines_audit, sizeof(lines_audit) },
    { NULL, 0 }
};


/* The same of the auditor's. */

#include "operation/audit.c"

#include "world.h"


sim_static_t  sim_audit_statics[] = {
    { &audit, sizeof(audit) },
    { NULL, 0 }
};

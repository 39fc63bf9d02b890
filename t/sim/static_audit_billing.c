
/* The same of what it compares with billing. */

#include "operation/audit_billing.c"

#include "world.h"


sim_static_t  sim_audit_billing_statics[] = {
    { &lines_audit_side, sizeof(lines_audit_side) },
    { NULL, 0 }
};

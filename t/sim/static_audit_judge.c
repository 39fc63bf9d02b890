
/* The same of what it looks at. */

#include "background/audit_judge.c"

#include "world.h"


sim_static_t  sim_audit_judge_statics[] = {
    { &lines_audit_side, sizeof(lines_audit_side) },
    { NULL, 0 }
};


/*
 * What the auditor found: where Redis and billing, or two records, disagree.
 */

#include "admin/routes.h"
#include "api/ask.h"
#include "api/json.h"


lines_tells(lines_admin_ask_audit, audit_ask)


lines_asks(lines_admin_read_audit, void *none, audit_show)
{
    return lines_json_ok(ctx, "{'running':%B,'began':%V,'ended':%V,"
                         "'disagreements':[%A]}",
                         (ngx_uint_t) (reply->running != 0), &reply->began,
                         &reply->ended, &reply->found);
}

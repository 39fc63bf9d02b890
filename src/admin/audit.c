
/*
 * What the auditor found: where Redis and billing, or two records, disagree.
 */

#include "admin/routes.h"
#include "api/ask.h"
#include "api/json.h"


lines_tells(lines_admin_ask_audit, audit_ask)


lines_asks(lines_admin_read_audit, void *none, audit_show)
{
    ngx_uint_t    i;
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{'running':%B,'began':%V,'ended':%V,"
                   "'disagreements':[", (ngx_uint_t) (reply->running != 0),
                   &reply->began, &reply->ended);

    for (i = 0; i < reply->found.n; i++) {
        lines_json_add(&json, ",%V", &reply->found.elts[i]);
    }

    lines_json_add(&json, "]}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


/*
 * Whether Redis is the database that it was, and the operator's word that it
 * is the one from now on.
 */

#include "admin/routes.h"
#include "api/ask.h"
#include "api/json.h"
#include "http/router.h"
#include "operation/database.h"


/* known: what this node remembers, of the last time that it was fine */

lines_answered(database_show, void *none, database_check)
{
    ngx_str_t           known_id;
    ngx_uint_t          held;
    lines_database_t    known;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    lines_database_saw(lmcf, reply);

    (void) lines_database_state(lmcf, &known);

    held = (reply->is == LINES_DATABASE_CHECK_HELD);

    known_id.data = known.id;
    known_id.len = known.len;

    return lines_json_ok(ctx, "{'status':'%s','reason':%J,'id':%J,"
                         "'watermark':%L,'known':{'id':%J,'watermark':%L}}",
                         held ? "held" : "ok", &reply->reason, &reply->id,
                         reply->watermark, &known_id, known.watermark);
}


/* GET, or the operator's word by POST */

ngx_int_t
lines_admin_database(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    if (lmcf->billing == NULL) {
        return lines_refuse(ctx, 404, "Nobody looks which database it is: "
                            "there is no lines_billing");
    }

    /* what a node does not know it cannot compare: billing is asked first */

    if (lines_database_state(lmcf, NULL) == LINES_DATABASE_UNTOLD) {
        return lines_unavailable(r, ctx, 5);
    }

    return lines_database_look(lmcf, &ctx->caller,
                               ctx->route->method == NGX_HTTP_POST,
                               database_show, ctx);
}

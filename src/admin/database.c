
/*
 * Whether Redis is the database that it was, and the operator's word that it
 * is the one from now on.
 */

#include "admin/routes.h"
#include "api/json.h"
#include "operation/database.h"


static ngx_int_t database_ask(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t confirm);
static ngx_int_t database_show(void *data,
    lines_database_check_reply_t *reply);


ngx_int_t
lines_admin_database(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return database_ask(r, ctx, 0);
}


ngx_int_t
lines_admin_confirm_database(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return database_ask(r, ctx, 1);
}


static ngx_int_t
database_ask(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t confirm)
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

    return lines_database_look(lmcf, &ctx->caller, confirm, database_show,
                               ctx);
}


/* known: what this node remembers, of the last time that it was fine */

static ngx_int_t
database_show(void *data, lines_database_check_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t           reason, id, known_id;
    ngx_uint_t          held;
    lines_database_t    known;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(ctx->request);

    lines_database_saw(lmcf, reply);

    (void) lines_database_state(lmcf, &known);

    held = (reply->is == LINES_DATABASE_CHECK_HELD);

    ngx_str_null(&reason);

    if (held) {
        reason = reply->reason;
    }

    id = reply->id;
    known_id.data = known.id;
    known_id.len = known.len;

    return lines_json_ok(ctx, "{'status':'%s','reason':%J,'id':%J,"
                         "'watermark':%L,'known':{'id':%J,'watermark':%L}}",
                         held ? "held" : "ok", &reason, &id,
                         reply->watermark, &known_id, known.watermark);
}

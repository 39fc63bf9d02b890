
/*
 * GET lines/:phone_number: a line of an account, by its number.
 */

#include "account/routes.h"
#include "api/ask.h"
#include "api/client.h"
#include "api/turn.h"
#include "events/wait.h"
#include "http/steps.h"


typedef struct {
    lines_waiting_t  waiting;
    int64_t          from;       /* of its lines, newest first */
    lines_turn_t    *turn;       /* NULL: the first of them are looked at */
} account_line_t;


const lines_body_input_t  lines_account_line_input =
    lines_body_input(account_line_t, lines_in_wait(account_line_t, waiting));


ngx_int_t
lines_account_line_number(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_is_e164(&ctx->params[0])
           ? NGX_OK
           : lines_refuse(ctx, 400, "phone_number must be in E.164, as "
                          "+14155551234");
}


static ngx_int_t
account_line_unknown(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 404, "Line not found");
}


static ngx_int_t
account_line_run(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return NGX_OK;
}


/* an account may have ten thousand, and ask for a number that none has */

ngx_int_t
lines_account_line_turn(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    account_line_t  *own = ctx->data;

    if (own->from == 0) {
        return NGX_OK;
    }

    if (own->turn == NULL) {
        own->turn = lines_turn_create(ctx, &ctx->identity.tenant,
                                      account_line_run);
    }

    return own->turn ? lines_turn_take(own->turn) : NGX_ERROR;
}


/* some of them at a time, until there is one */

lines_asks(lines_account_line_find, account_line_t *own, line_find,
           .tenant = ctx->identity.tenant, .number = ctx->params[0],
           .from = own->from)
{
    if (own->turn) {
        lines_turn_end(own->turn);
    }

    if (reply->id.len) {
        own->waiting.line = reply->id;
        return NGX_OK;
    }

    if (reply->next == 0) {
        return account_line_unknown(ctx);
    }

    own->from = reply->next;
    lines_again_from(ctx, lines_account_line_turn);

    return NGX_OK;
}


/* as the list shows it */

lines_answered(account_line_read, account_line_t *own, line_list)
{
    ngx_str_t  *item, *unclear;

    if (reply->items.n != 2) {
        return account_line_unknown(ctx);
    }

    if (reply->unclear.n == 2) {
        unclear = reply->unclear.elts;
        lines_lapse_look(r, &ctx->identity.tenant, &unclear[0], &unclear[1]);
    }

    item = reply->items.elts;

    return lines_wait_answer(ctx, "{'status':'OK','line':%V}", &item[0]);
}


ngx_int_t
lines_account_line_get(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    account_line_t  *own = ctx->data;

    return lines_line_list(&ctx->caller, account_line_read, ctx,
                           .tenant = ctx->identity.tenant,
                           .ids.n = 1, .ids.elts = &own->waiting.line,
                           .list = ngx_string("account"));
}


#include "admin/admin.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/id.h"
#include "http/router.h"
#include "http/text.h"


/* what a path's first parameter is the id of, by the path's first word */

typedef struct {
    const char    *path;
    ngx_uint_t   (*valid)(ngx_str_t *id);
    const char    *prefix;     /* of a tenant; of others in the index */
    const char    *invalid;
    const char    *unknown;
} thing_t;


static ngx_uint_t
is_ticket(ngx_str_t *id)
{
    return id->len <= 15 && ngx_atoi(id->data, id->len) != NGX_ERROR;
}


static const thing_t  things[] = {
    { "workspaces/", lines_is_tenant, "w:",
      "Invalid workspace id", "Workspace not found" },
    { "accounts/", lines_is_tenant, "a:",
      "Invalid account id", "Account not found" },
    { "lines/", lines_is_id, "",
      "Invalid line id", "Line not found" },
    { "operations/", lines_is_id, "",
      "Invalid operation id", "Operation not found" },
    { "tickets/", is_ticket, "ticket.",
      "Invalid ticket id", "Ticket not found" },
    { "numbers/", lines_is_e164, "",
      "Invalid phone number", "Number not found" },
    { "plans/", lines_is_tenant, "",
      "Invalid plan", NULL }
};


static const thing_t *
find_thing(lines_ctx_t *ctx)
{
    const thing_t  *thing;

    thing = things;

    while (ngx_strncmp(ctx->route->path.data, thing->path,
                       ngx_strlen(thing->path))
           != 0)
    {
        thing++;
    }

    return thing;
}


ngx_int_t
lines_admin_id(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    const thing_t  *thing;

    thing = find_thing(ctx);

    if (!thing->valid(&ctx->params[0])) {
        return lines_refuse(ctx, 400, thing->invalid);
    }

    return ngx_strchr(thing->prefix, ':')
           ? lines_redis_format(r->pool, &ctx->identity.tenant, "%s%V",
                                thing->prefix, &ctx->params[0])
           : NGX_OK;
}


lines_answered(owner_found, void *none, ix_get)
{
    ctx->identity.tenant = reply->tenant;

    return reply->tenant.len < 3 ? lines_admin_unknown(ctx) : NGX_OK;
}


ngx_int_t
lines_admin_owner(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  id;

    rc = lines_admin_id(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    if (lines_redis_format(r->pool, &id, "%s%V", find_thing(ctx)->prefix,
                           &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_ix_get(&ctx->caller, owner_found, ctx, .id = id);
}


lines_asks(lines_admin_tenant_exists, void *none, tenant_known,
           .tenant = ctx->identity.tenant)
{
    return reply->known == 1 ? NGX_OK : lines_admin_unknown(ctx);
}


ngx_int_t
lines_admin_unknown(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 404, find_thing(ctx)->unknown);
}


ngx_int_t
lines_admin_conflict(lines_ctx_t *ctx, const char *name, ngx_str_t *state,
    const char *text)
{
    lines_json_t  json = { .pool = ctx->request->pool };

    lines_json_add(&json, "{'error':'");
    lines_json_add(&json, text, state);
    lines_json_add(&json, "','%s':'%V'}", name, state);

    return lines_json_answer(ctx, NGX_HTTP_CONFLICT, &json);
}


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "api/input.h"
#include "auth/bearer.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/digest.h"
#include "store/calls.h"


static ngx_int_t admin_tenant(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *kind, const char *error);
static ngx_int_t admin_tenant_found(void *data,
    lines_tenant_exists_reply_t *reply);
static ngx_int_t admin_tenant_deleting(void *data,
    lines_tenant_deleting_reply_t *reply);


char *
lines_admin_token(ngx_conf_t *cf, lines_loc_conf_t *llcf)
{
    ngx_str_t  token;

    static lines_param_t  params[] = {
        { .name = ngx_string("token_file"), .type = LINES_PARAM_SECRET },
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_admin",
        .params = params
    };

    if (lines_params(cf, &directive, 1, &token) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    llcf->own = ngx_palloc(cf->pool, LINES_SHA256_LEN);

    if (llcf->own == NULL || lines_sha256(&token, llcf->own) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
lines_admin_authorize(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             digest[LINES_SHA256_LEN];
    ngx_str_t          token;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (r->headers_in.authorization
        && lines_bearer_header(&r->headers_in.authorization->value, &token)
           == NGX_OK
        && lines_sha256(&token, digest) == NGX_OK
        && lines_equal(digest, llcf->own, LINES_SHA256_LEN))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: the operator's token is missing or wrong");

    return lines_unauthorized(r, ctx, "Bearer");
}


ngx_int_t
lines_admin_workspace(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_tenant(r, ctx, "w", "Invalid workspace id");
}


ngx_int_t
lines_admin_account(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_tenant(r, ctx, "a", "Invalid account id");
}


static ngx_int_t
admin_tenant(ngx_http_request_t *r, lines_ctx_t *ctx, const char *kind,
    const char *error)
{
    if (!lines_is_tenant(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
    }

    return lines_redis_format(r->pool, &ctx->identity.tenant, "%s:%V", kind,
                              &ctx->params[0]);
}


ngx_int_t
lines_admin_tenant_exists(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = lines_tenant_exists(&ctx->caller, admin_tenant_found, ctx,
                             .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_tenant_deleting(&ctx->caller, admin_tenant_deleting, ctx,
                                 .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_tenant_found(void *data, lines_tenant_exists_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->exists == 1 ? NGX_OK
                              : lines_admin_no_tenant(ctx->request, ctx);
}


static ngx_int_t
admin_tenant_deleting(void *data, lines_tenant_deleting_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->deleting == 0 ? NGX_OK
                                : lines_admin_no_tenant(ctx->request, ctx);
}


ngx_int_t
lines_admin_no_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                       ctx->identity.tenant.data[0] == 'w'
                       ? "Workspace not found"
                       : "Account not found");
}

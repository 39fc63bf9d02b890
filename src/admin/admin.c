
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "api/input.h"
#include "auth/bearer.h"
#include "directive/params.h"
#include "http/digest.h"


static ngx_int_t admin_tenant(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *kind, const char *error);
static ngx_int_t admin_tenant_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_tenant_deleting(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


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

    llcf->token.data = ngx_palloc(cf->pool, LINES_SHA256_LEN);
    if (llcf->token.data == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->token.len = LINES_SHA256_LEN;

    if (lines_sha256(&token, llcf->token.data) != NGX_OK) {
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
        && lines_equal(digest, llcf->token.data, LINES_SHA256_LEN))
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
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "EXISTS");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 2, argv, admin_tenant_found);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "HEXISTS");
    ngx_str_set(&argv[2], "deleting");

    return lines_command(r, ctx, 3, argv, admin_tenant_deleting);
}


static ngx_int_t
admin_tenant_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 1) {
        return NGX_OK;
    }

    return lines_admin_no_tenant(r, ctx);
}


static ngx_int_t
admin_tenant_deleting(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        return NGX_OK;
    }

    return lines_admin_no_tenant(r, ctx);
}


ngx_int_t
lines_admin_no_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                       ctx->identity.tenant.data[0] == 'w'
                       ? "Workspace not found"
                       : "Account not found");
}

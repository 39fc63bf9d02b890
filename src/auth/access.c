
#include "auth/access.h"
#include "auth/hide.h"
#include "auth/identity.h"
#include "http/answer.h"
#include "http/carrier.h"
#include "http/headers.h"
#include "http/steps.h"
#include "http/text.h"


static ngx_int_t access_located(ngx_http_request_t *r);
static ngx_int_t access_content(ngx_http_request_t *r);
static ngx_int_t access_check(ngx_http_request_t *r);
static ngx_int_t access_judge(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t access_end(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static void access_told(ngx_http_request_t *r);
static void access_finish(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status);
static ngx_int_t access_refuse(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status);


/* private to its module, which tells it to whoever has the list */

static ngx_http_handler_pt
access_allow(ngx_conf_t *cf)
{
    ngx_array_t                *handlers, saved;
    ngx_module_t               *module;
    ngx_http_module_t          *ctx;
    ngx_http_handler_pt         handler;
    ngx_http_core_main_conf_t  *cmcf;

    module = lines_find_module(cf, "ngx_http_access_module");

    if (module == NULL) {
        return NULL;
    }

    ctx = module->ctx;
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handlers = &cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers;
    saved = *handlers;
    handler = NULL;

    if (ngx_array_init(handlers, cf->temp_pool, 1,
                       sizeof(ngx_http_handler_pt))
        == NGX_OK
        && ctx->postconfiguration(cf) == NGX_OK
        && handlers->nelts == 1)
    {
        handler = *(ngx_http_handler_pt *) handlers->elts;
    }

    *handlers = saved;

    return handler;
}


ngx_int_t
lines_access_init(ngx_conf_t *cf)
{
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    lmcf->auth_request = lines_find_module(cf, "ngx_http_auth_request_module");

    lines_access_warn(cf);

    if (!lmcf->auth) {
        return NGX_OK;
    }

    lmcf->allow = access_allow(cf);

    /*
     * In rewrite before return and rewrite.  nginx' own allow and deny go right
     * before us, whatever other modules were loaded: who is denied need not
     * learn whether a key is good.
     */

    if (lines_add_handler(cf, NGX_HTTP_ACCESS_PHASE, access_check, lmcf->allow)
        != NGX_OK
        || lines_add_handler(cf, NGX_HTTP_REWRITE_PHASE, access_located, NULL)
           != NGX_OK
        || lines_add_handler(cf, NGX_HTTP_CONTENT_PHASE, access_content, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * What is refused for want of a workspace, or as nobody can tell, is no end
 * under "satisfy any", and no status that nginx keeps until all were asked:
 * then, and where no phase's handler runs, it is answered.
 */

void
lines_access_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_http_phase_handler_t   *ph;
    ngx_http_core_main_conf_t  *cmcf;

    if (!lmcf->auth) {
        return;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    for (ph = cmcf->phase_engine.handlers; ph->checker; ph++) {
        if (ph->checker == ngx_http_core_post_access_phase) {
            ph->checker = access_end;
        }
    }
}


/*
 * A subrequest has no access phase.  It is checked where it finds its
 * location, whoever makes it: auth_request, SSI, mirror.  A request waits for
 * that phase, but does not take along who it was by other rules.
 */

static ngx_int_t
access_located(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    lines_ctx_t               *ctx;
    ngx_http_core_loc_conf_t  *clcf;
    lines_loc_conf_t          *llcf;
    lines_main_conf_t         *lmcf;

#if (NGX_HTTP_CACHE)

    /* a named location finds that of the location from which it came */

    if (r->cache) {
        ctx = lines_get_ctx(r);

        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->left = r->cache;
    }

#endif

    /* a subrequest has the variables of its request, but another identity */

    lines_forget_computed(r);

    llcf = lines_get_loc_conf(r);

    if (llcf->auth == NULL) {
        return NGX_DECLINED;
    }

    if (r == r->main) {
        ctx = lines_find_ctx(r);

        if (ctx
            && ctx->identity.settled
            && !lines_same_rules(r, &ctx->identity, llcf->auth->methods,
                                 llcf->auth->stale))
        {
            ngx_memzero(&ctx->identity, sizeof(lines_identity_t));
            lines_forget_computed(r);
        }

        return NGX_DECLINED;
    }

    /* calls of the module itself run on requests of nobody's; others make
       requests without a client, too, but for somebody (nchan) */

    if (lines_carrier_find(r)) {
        return NGX_DECLINED;
    }

    lmcf = lines_get_main_conf(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY
        && lmcf->allow
        && lmcf->allow(r) == NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = access_check(r);

    return (rc == NGX_OK) ? NGX_DECLINED : (rc == NGX_AGAIN) ? NGX_DONE : rc;
}


/* flag: the subrequest asks for its parent, as auth_request's do */

static ngx_uint_t
access_stands_in(ngx_http_request_t *r)
{
    void               *data;
    lines_main_conf_t  *lmcf;

    if (r == r->main || r->post_subrequest == NULL) {
        return 0;
    }

    lmcf = lines_get_main_conf(r);

    if (lmcf->auth_request == NULL) {
        return 0;
    }

    data = ngx_http_get_module_ctx(r->parent, (*lmcf->auth_request));

    return data != NULL && r->post_subrequest->data == data;
}


/* auth_request asks whether, not what: there need not be anything */

static ngx_int_t
access_content(ngx_http_request_t *r)
{
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->auth == NULL || !access_stands_in(r)) {
        return NGX_DECLINED;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


/*
 * Flag: it was resumed, or redirected internally to a location like the first;
 * or is a subrequest, made for somebody: the same headers, by the same rules.
 */

static ngx_uint_t
access_same(ngx_http_request_t *r, lines_ctx_t *ctx, lines_auth_conf_t *auth)
{
    lines_ctx_t         *pctx;
    ngx_http_request_t  *pr;

    for (pr = r; pr; pr = pr->parent) {

        pctx = lines_find_ctx(pr);

        if (pctx == NULL
            || !lines_same_rules(r, &pctx->identity, auth->methods,
                                 auth->stale))
        {
            continue;
        }

        if (pr != r) {
            ctx->identity = pctx->identity;
            lines_forget_computed(r);
        }

        return 1;
    }

    return 0;
}


/*
 * NGX_OK: it may pass; NGX_AGAIN: it waits; NGX_DONE: it was refused, and
 * answered; NGX_DECLINED: nobody asks; or a status.
 */

static ngx_int_t
access_check(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    lines_ctx_t        *ctx;
    lines_loc_conf_t   *llcf;
    lines_auth_conf_t  *auth;

    llcf = lines_get_loc_conf(r);
    auth = llcf->auth;

    if (auth == NULL) {
        return NGX_DECLINED;
    }

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (lines_caller_busy(&ctx->caller)) {
        return NGX_AGAIN;
    }

    if (!access_same(r, ctx, auth)) {
        rc = lines_authenticate(r, ctx, auth->methods, auth->stale,
                                lines_settle);

        if (rc == NGX_AGAIN) {
            return lines_phase_wait(r, ctx);
        }

        if (rc != NGX_OK || !ctx->identity.settled) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return access_judge(r, ctx);
}


/* 0: it may pass */

static ngx_uint_t
access_status(lines_identity_t *identity, lines_auth_conf_t *auth)
{
    /* a person is enough for "clerk" only; elsewhere a tenant is meant */

    return (identity->rc == NGX_OK
            && (identity->tenant.len || auth->methods == LINES_AUTH_CLERK))
           ? 0 : lines_identity_status(identity);
}


/* flag: nobody can tell, or would not look */

static ngx_uint_t
access_later(ngx_uint_t status)
{
    return status == NGX_HTTP_SERVICE_UNAVAILABLE
           || status == NGX_HTTP_TOO_MANY_REQUESTS;
}


/* what became of it is the parent's identity, unless that has one by rules of
   its own; one that was refused gives way to one that was not */

static ngx_int_t
access_tell(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status)
{
    ngx_http_request_t  *pr;
    lines_ctx_t         *pctx;
    lines_loc_conf_t    *llcf, *pllcf;

    pr = r->parent;
    llcf = lines_get_loc_conf(r);
    pllcf = lines_get_loc_conf(pr);

    pctx = lines_get_ctx(pr);
    if (pctx == NULL) {
        return NGX_ERROR;
    }

    if (pllcf->auth == NULL
        || (status == 0
            && pctx->identity.settled
            && access_status(&pctx->identity, pllcf->auth)))
    {
        pctx->identity = ctx->identity;

        (void) lines_settle(pr, pctx, ctx->identity.rc);

        if (status == 0 && lines_hide(pr, pctx, llcf->auth->hide) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (access_later(status)) {

        /* auth_request would make 500 of it */

        pctx->api = pllcf->api ? pllcf->api : llcf->dialect;
        pctx->asked = r;
        pr->write_event_handler = access_told;
    }

    return NGX_OK;
}


static ngx_int_t
access_judge(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t                 status;
    ngx_http_core_loc_conf_t  *clcf;
    lines_loc_conf_t          *llcf;
    lines_identity_t          *identity;

    llcf = lines_get_loc_conf(r);
    identity = &ctx->identity;
    identity->cache = llcf->cache;

    status = access_status(identity, llcf->auth);

    if (status == 0 && !identity->planned) {
        identity->planned = 1;

        if (lines_tenant_plan(r, ctx) == NGX_AGAIN) {
            return lines_phase_wait(r, ctx);
        }
    }

    if (access_stands_in(r) && access_tell(r, ctx, status) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status == 0) {
        return lines_hide(r, ctx, llcf->auth->hide) == NGX_OK
               ? NGX_OK
               : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* an API's location speaks as it does */

    ctx->api = llcf->api ? llcf->api : llcf->dialect;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r == r->main
        && clcf->satisfy == NGX_HTTP_SATISFY_ANY
        && status != NGX_HTTP_UNAUTHORIZED)
    {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines access: %ui, unless another lets it pass",
                       status);
        return NGX_HTTP_FORBIDDEN;
    }

    return access_refuse(r, ctx, status);
}


/* all were asked: nginx' own end of the access phase, with our words */

static ngx_int_t
access_end(ngx_http_request_t *r, ngx_http_phase_handler_t *ph)
{
    ngx_uint_t         status;
    lines_ctx_t       *ctx;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);
    ctx = lines_find_ctx(r);

    if (r->access_code == 0 || ctx == NULL) {
        return ngx_http_core_post_access_phase(r, ph);
    }

    status = ctx->untold ? ctx->asked->headers_out.status
             : (llcf->auth && ctx->identity.settled)
               ? access_status(&ctx->identity, llcf->auth) : 0;

    if (status == 0 || status == NGX_HTTP_UNAUTHORIZED) {
        return ngx_http_core_post_access_phase(r, ph);
    }

    r->access_code = 0;

    access_finish(r, ctx, status);

    return NGX_OK;
}


/* the subrequest has ended: so, or with what its error_page says */

static void
access_told(ngx_http_request_t *r)
{
    ngx_uint_t                 status;
    lines_ctx_t               *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = lines_find_ctx(r);

    if (!ctx->asked->done) {
        return;
    }

    status = ctx->asked->headers_out.status;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines access: auth_request had %ui instead of an answer",
                   status);

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (access_later(status)) {

        if (clcf->satisfy != NGX_HTTP_SATISFY_ANY) {
            access_finish(r, ctx, status);
            return;
        }

        /* another may yet let it pass: as the phase does after 403 */

        ctx->untold = 1;

        if (r->access_code == 0) {
            r->access_code = NGX_HTTP_FORBIDDEN;
        }

        r->phase_handler++;
    }

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


static void
access_finish(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status)
{
    ngx_int_t  rc;

    rc = access_refuse(r, ctx, status);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* NGX_DONE: answered, in the dialect of ctx->api; or what is to be answered */

static ngx_int_t
access_refuse(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status)
{
    ngx_uint_t                 page;
    ngx_http_core_loc_conf_t  *clcf, *server;
    ngx_http_core_srv_conf_t  *cscf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    server = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    page = lines_has_error_page(r, status);

    if (access_stands_in(r)) {

        /* auth_request knows two answers that are no error; the server's pages
           are left to the request that this stands for */

        if (status == NGX_HTTP_BAD_REQUEST) {
            status = NGX_HTTP_FORBIDDEN;
        }

        page = lines_has_error_page(r, status)
               && clcf->error_pages != server->error_pages;
    }

    if (page
        || (r == r->main
            && status == NGX_HTTP_UNAUTHORIZED
            && (clcf->satisfy == NGX_HTTP_SATISFY_ANY || clcf->auth_delay)))
    {
        /* under "satisfy any" another may yet let the request pass; and
           "auth_delay" is the phase's */

        ctx->refused_with = status;

        if ((status == NGX_HTTP_UNAUTHORIZED
             && lines_ask(r, lines_challenge(ctx)) != NGX_OK)
            || (access_later(status)
                && lines_retry_after(r, (status == NGX_HTTP_TOO_MANY_REQUESTS)
                                        ? ctx->identity.retry : 1)
                   != NGX_OK))
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return status;
    }

    return lines_phase_done(r, ctx,
                            lines_refuse_identity(r, ctx, status,
                                                  lines_challenge(ctx)));
}

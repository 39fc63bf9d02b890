
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_carrier.h"
#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_check.h"
#include "ngx_http_lines_listing.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_lines_id.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_PROBE_TIMEOUT  10000

/* beyond the probe's own time: until another node may try */
#define NGX_HTTP_LINES_CHECK_SPARE    5000

/* how often a request that waits for another's check asks for its result */
#define NGX_HTTP_LINES_CHECK_POLL     100


typedef struct {
    ngx_http_request_t               *request;
    ngx_http_lines_ctx_t             *ctx;
    ngx_http_lines_checkup_args_t     args;
    ngx_http_lines_checkup_t         *checkup;   /* while it runs */
    ngx_str_t                         since;     /* Redis' time; empty: the
                                                    first try */
    ngx_event_t                       timer;
    ngx_msec_t                        start;
} ngx_http_lines_check_t;


static ngx_int_t ngx_http_lines_check_id(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_check_begin(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_check_ask(ngx_http_lines_check_t *check);
static ngx_int_t ngx_http_lines_check_told(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_check_wait(ngx_http_lines_check_t *check,
    redisReply *reply);
static void ngx_http_lines_check_again(ngx_event_t *ev);
static ngx_int_t ngx_http_lines_check_run(ngx_http_lines_check_t *check,
    redisReply *reply);
static void ngx_http_lines_check_done(void *data, ngx_int_t rc,
    ngx_str_t *status, ngx_str_t *failures, ngx_str_t *when);
static ngx_int_t ngx_http_lines_check_answer(ngx_http_lines_check_t *check,
    ngx_str_t *status, ngx_str_t *failures, ngx_str_t *when);
static ngx_int_t ngx_http_lines_check_unknown(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static void ngx_http_lines_check_cleanup(void *data);


ngx_http_lines_step_pt  ngx_http_lines_check_steps[] = {
    ngx_http_lines_authenticate_session,       /* 401 */
    ngx_http_lines_limit_identity,             /* 429 */
    ngx_http_lines_discard_body,
    ngx_http_lines_check_id,                   /* 400 */
    ngx_http_lines_check_begin,                /* 400, 404 */
    NULL
};


char *
ngx_http_lines_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lines_main_conf_t *lmcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i, plain;

    if (lmcf->probe.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lmcf->probe_timeout = NGX_HTTP_LINES_PROBE_TIMEOUT;

    plain = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_lines_carrier_is_plain(&value[i])) {
            plain = 1;
            continue;
        }

        s.data = value[i].data + sizeof("timeout=") - 1;
        s.len = value[i].len - (sizeof("timeout=") - 1);

        n = NGX_ERROR;

        if (value[i].len > sizeof("timeout=") - 1
            && ngx_strncmp(value[i].data, "timeout=", sizeof("timeout=") - 1)
               == 0)
        {
            n = ngx_parse_time(&s, 0);
        }

        if (n <= 0 || n > 5 * 60 * 1000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"lines_probe\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        lmcf->probe_timeout = n;
    }

    lmcf->probe = value[1];

    return ngx_http_lines_carrier_require(cf, lmcf,
                                          NGX_HTTP_LINES_LOCATION_PROBE,
                                          &value[0], &value[1], plain);
}


static ngx_int_t
ngx_http_lines_check_id(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  id;

    if (ngx_http_lines_query(r, "id", &id) != NGX_OK || id.len == 0) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    "id is required");
    }

    if (!ngx_lines_is_id(&id)) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    "Invalid line id");
    }

    ctx->params[0] = id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_check_begin(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_lines_check_t      *check;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(r);

    if (lmcf->probe.len == 0) {

        if (ngx_http_lines_retry_after(r, 60) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                    NULL, "Line checks are not configured");
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lines_check_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    check = cln->data;
    ngx_memzero(check, sizeof(ngx_http_lines_check_t));

    check->request = r;
    check->ctx = ctx;
    check->start = ngx_current_msec;
    check->args.line = ctx->params[0];
    check->args.request_id = ctx->request_id;

    check->timer.handler = ngx_http_lines_check_again;
    check->timer.data = check;
    check->timer.log = r->connection->log;

    cln->handler = ngx_http_lines_check_cleanup;
    ctx->data = check;

    check->args.id.len = NGX_LINES_ID_LEN;
    check->args.id.data = ngx_pnalloc(r->pool, NGX_LINES_ID_LEN);

    if (check->args.id.data == NULL
        || ngx_lines_id(check->args.id.data) != NGX_OK
        || ngx_lines_redis_format(r->pool, &check->args.keys[0],
                                  "lines:{%V}:line:%V",
                                  &ctx->identity.tenant, &check->args.line)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &check->args.keys[1],
                                  "lines:{%V}:check:%V",
                                  &ctx->identity.tenant, &check->args.line)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_check_ask(check);
}


static ngx_int_t
ngx_http_lines_check_ask(ngx_http_lines_check_t *check)
{
    ngx_str_t                    args[6];
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(check->request);

    args[0] = check->args.keys[0];
    args[1] = check->args.keys[1];
    args[3] = check->args.id;
    args[5] = check->since;

    if (ngx_lines_redis_format(check->request->pool, &args[2], "lines:{%V}:t",
                               &check->ctx->identity.tenant)
        != NGX_OK
        || ngx_lines_redis_format(check->request->pool, &args[4], "%M",
                                  lmcf->probe_timeout
                                  + NGX_HTTP_LINES_CHECK_SPARE)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_eval(check->request, check->ctx,
                               &ngx_lines_script_line_check, 3, 6, args,
                               ngx_http_lines_check_told);
}


static ngx_int_t
ngx_http_lines_check_told(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_str_t                word, status, failures, when;
    ngx_http_lines_check_t  *check;

    check = ctx->data;
    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "begin")) {
        return ngx_http_lines_check_run(check, reply);
    }

    if (ngx_http_lines_is(&word, "wait")) {
        return ngx_http_lines_check_wait(check, reply);
    }

    if (ngx_http_lines_is(&word, "result")) {
        status = ngx_http_lines_reply_str(reply, 1);
        failures = ngx_http_lines_reply_str(reply, 2);
        when = ngx_http_lines_reply_str(reply, 3);

        return ngx_http_lines_check_answer(check, &status, &failures, &when);
    }

    if (ngx_http_lines_is(&word, "inactive")) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    "Line is not active");
    }

    if (ngx_http_lines_is(&word, "unconfigured")) {
        status = ngx_http_lines_reply_str(reply, 1);

        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    ngx_http_lines_is(&status, "email")
                                    ? "Line has no email address configured"
                                    : "Line has no phone number configured");
    }

    return ngx_http_lines_check_unknown(r, ctx);
}


static ngx_int_t
ngx_http_lines_check_wait(ngx_http_lines_check_t *check, redisReply *reply)
{
    ngx_http_request_t          *r;
    ngx_http_lines_main_conf_t  *lmcf;

    r = check->request;
    lmcf = ngx_http_lines_get_main_conf(r);

    if (check->since.len == 0
        && ngx_http_lines_reply_copy(r, reply, 1, &check->since) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the one that is waited for, and one more whose node died */

    if (ngx_current_msec - check->start
        > 2 * (lmcf->probe_timeout + NGX_HTTP_LINES_CHECK_SPARE))
    {
        return ngx_http_lines_unavailable(r, check->ctx, 1);
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines check: another runs");

    ngx_add_timer(&check->timer, NGX_HTTP_LINES_CHECK_POLL);

    return NGX_AGAIN;
}


static void
ngx_http_lines_check_again(ngx_event_t *ev)
{
    ngx_http_lines_check_t *check = ev->data;

    ngx_http_set_log_request(check->request->connection->log,
                             check->request);

    ngx_http_lines_resume(check->request, check->ctx,
                          ngx_http_lines_check_ask(check));
}


static ngx_int_t
ngx_http_lines_check_run(ngx_http_lines_check_t *check, redisReply *reply)
{
    ngx_http_request_t  *r;

    r = check->request;

    check->args.document = ngx_http_lines_reply_str(reply, 1);

    check->checkup = ngx_http_lines_checkup_start(
                                            ngx_http_lines_get_main_conf(r),
                                            &check->args,
                                            ngx_http_lines_check_done, check);

    ngx_str_null(&check->args.document);

    if (check->checkup == NULL) {
        return ngx_http_lines_unavailable(r, check->ctx, 1);
    }

    return NGX_AGAIN;
}


static void
ngx_http_lines_check_done(void *data, ngx_int_t rc, ngx_str_t *status,
    ngx_str_t *failures, ngx_str_t *when)
{
    ngx_http_lines_check_t *check = data;

    ngx_http_request_t  *r;

    r = check->request;
    check->checkup = NULL;

    ngx_http_set_log_request(r->connection->log, r);

    if (rc == NGX_OK) {
        rc = ngx_http_lines_check_answer(check, status, failures, when);

    } else if (rc == NGX_DECLINED) {
        rc = ngx_http_lines_check_unknown(r, check->ctx);

    } else {
        rc = ngx_http_lines_unavailable(r, check->ctx, 1);
    }

    ngx_http_lines_resume(r, check->ctx, rc);
}


/* nobody is notified here: the line's own state says what there is to know */

static ngx_int_t
ngx_http_lines_check_answer(ngx_http_lines_check_t *check, ngx_str_t *status,
    ngx_str_t *failures, ngx_str_t *when)
{
    return ngx_http_lines_answer_format(check->request, check->ctx,
               NGX_HTTP_OK,
               "{\"success\":true,\"lineId\":\"%V\",\"status\":\"%V\","
               "\"failures\":%V,\"checkedAt\":\"%V\","
               "\"shouldNotify\":false,\"notificationSent\":false}",
               &check->args.line, status, failures, when);
}


static ngx_int_t
ngx_http_lines_check_unknown(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                                "Line not found");
}


static void
ngx_http_lines_check_cleanup(void *data)
{
    ngx_http_lines_check_t *check = data;

    if (check->timer.timer_set) {
        ngx_del_timer(&check->timer);
    }

    if (check->checkup) {
        ngx_http_lines_checkup_detach(check->checkup);
    }
}

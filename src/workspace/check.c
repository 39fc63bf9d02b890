
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/listing.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/guard.h"
#include "http/id.h"
#include "http/steps.h"
#include "http/text.h"
#include "limit/limit.h"
#include "store/calls.h"
#include "workspace/check.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


#define LINES_PROBE_TIMEOUT  10000

/* beyond the probe's own time: until another node may try */
#define LINES_CHECK_SPARE    5000

/* how often a request that waits for another's check asks for its result */
#define LINES_CHECK_POLL     100


typedef struct {
    ngx_http_request_t   *request;
    lines_ctx_t          *ctx;
    lines_checkup_args_t  args;
    lines_checkup_t      *checkup;   /* while it runs */
    ngx_str_t             since;     /* Redis' time; empty: the
                                        first try */
    ngx_event_t           timer;
    ngx_msec_t            start;
} lines_check_t;


static ngx_int_t check_id(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t check_begin(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t check_ask(lines_check_t *check);
static ngx_int_t check_told(void *data, lines_line_check_reply_t *reply);
static ngx_int_t check_wait(lines_check_t *check, ngx_str_t *now);
static void check_again(ngx_event_t *ev);
static ngx_int_t check_run(lines_check_t *check, ngx_str_t *document);
static void check_done(void *data, ngx_int_t rc, ngx_str_t *status,
    ngx_str_t *failures, ngx_str_t *when);
static ngx_int_t check_answer(lines_check_t *check, ngx_str_t *status,
    ngx_str_t *failures, ngx_str_t *when);
static ngx_int_t check_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);
static void check_cleanup(void *data);


lines_step_pt  lines_check_steps[] = {
    check_id,                         /* 400 */
    check_begin,                      /* 400, 404 */
    NULL
};


static lines_param_t  probe_params[] = {
    lines_param_msec("timeout", lines_main_conf_t, probe_timeout,
                     1, 5 * 60 * 1000, LINES_PROBE_TIMEOUT),
    lines_param_plain(lines_main_conf_t, probe_plain),
    lines_param_end
};


static lines_directive_t  probe_directive = {
    .name = "lines_probe",
    .params = probe_params
};


char *
lines_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t  *value;

    if (lmcf->probe.len) {
        return "is duplicate";
    }

    if (lines_params(cf, &probe_directive, 2, lmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    lmcf->probe = value[1];

    return lines_location(cf, lmcf,
                          &(lines_location_t) { .name = value[0],
                                                .uri = value[1],
                                                .plain = lmcf->probe_plain });
}


static ngx_int_t
check_id(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  id;

    if (lines_query(r, "id", &id) != NGX_OK || id.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "id is required");
    }

    if (!lines_is_id(&id)) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid line id");
    }

    ctx->params[0] = id;

    return NGX_OK;
}


static ngx_int_t
check_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_pool_cleanup_t  *cln;
    lines_check_t       *check;
    lines_main_conf_t   *lmcf;

    lmcf = lines_get_main_conf(r);

    if (lmcf->probe.len == 0) {

        ctx->retry_after = 60;

        return lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                           "Line checks are not configured");
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_check_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    check = cln->data;
    ngx_memzero(check, sizeof(lines_check_t));

    check->request = r;
    check->ctx = ctx;
    check->start = ngx_current_msec;
    check->args.tenant = ctx->identity.tenant;
    check->args.line = ctx->params[0];
    check->args.request_id = ctx->request_id;

    check->timer.handler = check_again;
    check->timer.data = check;
    check->timer.log = r->connection->log;

    cln->handler = check_cleanup;
    ctx->data = check;

    check->args.id.len = LINES_ID_LEN;
    check->args.id.data = ngx_pnalloc(r->pool, LINES_ID_LEN);

    if (check->args.id.data == NULL
        || lines_id(check->args.id.data) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return check_ask(check);
}


static ngx_int_t
check_ask(lines_check_t *check)
{
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(check->request);

    return lines_line_check(&check->ctx->caller, check_told, check->ctx,
                            .tenant = check->args.tenant,
                            .line = check->args.line, .id = check->args.id,
                            .ttl = lmcf->probe_timeout + LINES_CHECK_SPARE,
                            .since = check->since);
}


static ngx_int_t
check_told(void *data, lines_line_check_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_check_t       *check;
    ngx_http_request_t  *r;

    check = ctx->data;
    r = ctx->request;

    switch (reply->is) {

    case LINES_LINE_CHECK_BEGIN:
        return check_run(check, &reply->document);

    case LINES_LINE_CHECK_WAIT:
        return check_wait(check, &reply->now);

    case LINES_LINE_CHECK_RESULT:
        return check_answer(check, &reply->health, &reply->failures,
                            &reply->when);

    case LINES_LINE_CHECK_INACTIVE:
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Line is not active");

    case LINES_LINE_CHECK_UNCONFIGURED:
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           lines_is(&reply->channel, "email")
                           ? "Line has no email address configured"
                           : "Line has no phone number configured");
    }

    return check_unknown(r, ctx);
}


static ngx_int_t
check_wait(lines_check_t *check, ngx_str_t *now)
{
    ngx_http_request_t  *r;
    lines_main_conf_t   *lmcf;

    r = check->request;
    lmcf = lines_get_main_conf(r);

    if (check->since.len == 0) {
        check->since = *now;
    }

    /* the one that is waited for, and one more whose node died */

    if (ngx_current_msec - check->start
        > 2 * (lmcf->probe_timeout + LINES_CHECK_SPARE))
    {
        return lines_unavailable(r, check->ctx, 1);
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines check: another runs");

    ngx_add_timer(&check->timer, LINES_CHECK_POLL);

    return NGX_AGAIN;
}


static void
check_again(ngx_event_t *ev)
{
    lines_check_t *check = ev->data;

    ngx_http_set_log_request(check->request->connection->log, check->request);

    lines_resume(check->request, check->ctx, check_ask(check));
}


static ngx_int_t
check_run(lines_check_t *check, ngx_str_t *document)
{
    ngx_http_request_t  *r;

    r = check->request;

    check->args.document = *document;

    check->checkup = lines_checkup_start(lines_get_main_conf(r), &check->args,
                                         check_done, check);

    ngx_str_null(&check->args.document);

    if (check->checkup == NULL) {
        return lines_unavailable(r, check->ctx, 1);
    }

    return NGX_AGAIN;
}


static void
check_done(void *data, ngx_int_t rc, ngx_str_t *status, ngx_str_t *failures,
    ngx_str_t *when)
{
    lines_check_t *check = data;

    ngx_http_request_t  *r;

    r = check->request;
    check->checkup = NULL;

    ngx_http_set_log_request(r->connection->log, r);

    if (rc == NGX_OK) {
        rc = check_answer(check, status, failures, when);

    } else if (rc == NGX_DECLINED) {
        rc = check_unknown(r, check->ctx);

    } else {
        rc = lines_unavailable(r, check->ctx, 1);
    }

    lines_resume(r, check->ctx, rc);
}


/* nobody is notified here: the line's own state says what there is to know */

static ngx_int_t
check_answer(lines_check_t *check, ngx_str_t *status, ngx_str_t *failures,
    ngx_str_t *when)
{
    return lines_answer_format(check->request, check->ctx, NGX_HTTP_OK,
                       "{\"success\":true,\"lineId\":\"%V\",\"status\":\"%V\","
                       "\"failures\":%V,\"checkedAt\":\"%V\","
                       "\"shouldNotify\":false,\"notificationSent\":false}",
                       &check->args.line, status, failures, when);
}


static ngx_int_t
check_unknown(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL, "Line not found");
}


static void
check_cleanup(void *data)
{
    lines_check_t *check = data;

    if (check->timer.timer_set) {
        ngx_del_timer(&check->timer);
    }

    if (check->checkup) {
        lines_checkup_detach(check->checkup);
    }
}

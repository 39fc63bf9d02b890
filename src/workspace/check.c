
/*
 * GET lines/check-availability: does a line work, right now?  The probe is
 * called on a carrier: the client may leave, and the line learns of the result
 * all the same.
 */

#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/id.h"
#include "http/location.h"
#include "http/steps.h"
#include "http/strict.h"
#include "http/text.h"
#include "http/trace.h"
#include "workspace/routes.h"


#define LINES_PROBE_TIMEOUT  10000

/* beyond the probe's own time: until another node may try */
#define LINES_CHECK_SPARE    5000

/* how often a request that waits for another's check asks for its result */
#define LINES_CHECK_POLL     100

/* of a probe's answer: how deep, of how many containers; what is kept of its
   failures: how many, bytes of each */
#define LINES_HEALTH_DEPTH       16
#define LINES_HEALTH_CONTAINERS  256
#define LINES_HEALTH_FAILURES    16
#define LINES_HEALTH_FAILURE     256


typedef struct lines_checkup_s  lines_checkup_t;


typedef struct {
    lines_ctx_t          *ctx;
    ngx_str_t             id;
    ngx_str_t             line;
    lines_checkup_t      *checkup;   /* while it runs */
    ngx_str_t             since;     /* Redis' time; empty: the
                                        first try */
    ngx_event_t           timer;
    ngx_msec_t            start;
} lines_check_t;


/* the call of the probe, of the carrier's pool */

struct lines_checkup_s {
    lines_main_conf_t    *lmcf;
    lines_carrier_t      *carrier;   /* its id is the line's */
    ngx_str_t             tenant;
    ngx_str_t             id;
    ngx_str_t             status;    /* healthy, down */
    ngx_str_t             failures;  /* a JSON array of strings */
    ngx_str_t             when;
    lines_caller_t        caller;
    lines_check_t        *check;     /* NULL: nobody waits */
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


static ngx_uint_t
health_good(json_t *status)
{
    size_t              i;
    const char         *word;
    static const char  *good[] = { "healthy", "ok", "up", "pass" };

    word = json_string_value(status);

    for (i = 0; word && i < sizeof(good) / sizeof(good[0]); i++) {
        if (ngx_strcmp(word, good[i]) == 0) {
            return 1;
        }
    }

    return status == NULL;
}


/* of a stranger's list as much as may be shown: strings, not too many */

static json_t *
health_object(json_t *object)
{
    int      rc;
    size_t   i;
    json_t  *list, *failures, *failure;

    rc = 0;
    list = json_object_get(object, "failures");
    failures = json_array();

    for (i = 0; i < ngx_min(json_array_size(list), LINES_HEALTH_FAILURES); i++)
    {
        failure = json_array_get(list, i);

        rc |= json_is_string(failure)
              && json_string_length(failure) <= LINES_HEALTH_FAILURE
              ? json_array_append(failures, failure)
              : json_array_append_new(failures, json_string("unnamed"));
    }

    if (i == 0 && !health_good(json_object_get(object, "status"))) {
        rc = json_array_append_new(failures,
                                   json_string("probe_reported_down"));
    }

    if (rc != 0) {
        json_decref(failures);
        return NULL;
    }

    return failures;
}


/*
 * The status code has spoken first: 2xx is healthy, unless the body, an object,
 * says otherwise: by "status" (healthy, ok, up and pass are good, as in
 * application/health+json) or by "failures", an array of strings.  A body that
 * is neither empty nor an object is a failure of its own.
 */

static json_t *
health_read(ngx_str_t *body)
{
    size_t      i;
    json_t     *object, *failures;
    ngx_int_t   rc;

    i = 0;

    while (i < body->len && memchr(" \t\r\n", body->data[i], 4)) {
        i++;
    }

    if (i == body->len) {
        return json_array();
    }

    rc = lines_strict_json_object(body, LINES_HEALTH_DEPTH,
                                  LINES_HEALTH_CONTAINERS, &object);

    if (rc == NGX_DECLINED) {
        return json_pack("[s]", "probe_answer_invalid");
    }

    if (rc != NGX_OK) {
        return NULL;
    }

    failures = health_object(object);

    json_decref(object);

    return failures;
}


/*
 * What a probe's answer says about a line: why it is down, or an empty array.
 * NULL: nothing, or no memory.
 */

static json_t *
health_failures(lines_checkup_t *checkup, lines_result_t *result)
{
    const char  *failure;

    if (result->transport == LINES_COMPLETE) {
        return result->status < 200 || result->status > 299
               ? json_pack("[o]", json_sprintf("probe_status_%d",
                                               (int) result->status))
               : health_read(&result->body);
    }

    if (result->elapsed >= checkup->lmcf->probe_timeout) {
        failure = "probe_timeout";

    } else if (result->transport != LINES_UNSENT) {
        failure = "probe_no_answer";

    } else if (!lines_location_refused(checkup->lmcf, "lines_probe")) {
        failure = "probe_unreachable";

    } else {
        return NULL;
    }

    return json_pack("[s]", failure);
}


/* a check that is not made must not keep others waiting */

static void
checkup_revoke(lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *line,
    ngx_str_t *id)
{
    lines_caller_t  caller;

    lines_caller_init(&caller, lmcf->redis, NULL, ngx_cycle->log);

    (void) lines_forget_line_health(&caller, .tenant = *tenant, .line = *line,
                                    .id = *id, .failures = ngx_string("[]"));
}


/* nobody is notified here: the line's own state says what there is to know */

static ngx_int_t
check_answer(lines_check_t *check, ngx_str_t *status, ngx_str_t *failures,
    ngx_str_t *when)
{
    return lines_json_ok(check->ctx, "{'success':true,'lineId':'%V',"
                         "'status':'%V','failures':%V,'checkedAt':'%V',"
                         "'shouldNotify':false,'notificationSent':false}",
                         &check->line, status, failures, when);
}


static void
checkup_end(lines_checkup_t *checkup, ngx_int_t rc)
{
    lines_ctx_t         *ctx;
    lines_check_t       *check;
    ngx_http_request_t  *r;

    check = checkup->check;

    if (check) {
        check->checkup = NULL;
        ctx = check->ctx;
        r = ctx->request;

        ngx_http_set_log_request(r->connection->log, r);

        rc = rc == NGX_OK ? check_answer(check, &checkup->status,
                                         &checkup->failures, &checkup->when)
             : rc == NGX_DECLINED ? lines_refuse(ctx, 404, "Line not found")
             : lines_unavailable(r, ctx, 1);

        lines_resume(r, ctx, rc);
    }

    lines_carrier_destroy(checkup->carrier);
}


static void
checkup_resume(lines_caller_t *caller, ngx_int_t rc)
{
    checkup_end(ngx_queue_data(caller, lines_checkup_t, caller), rc);
}


static ngx_int_t
checkup_stored(void *data, lines_line_health_reply_t *reply)
{
    lines_checkup_t *checkup = data;

    checkup->when = reply->when;

    return reply->is == LINES_LINE_HEALTH_UNKNOWN ? NGX_DECLINED : NGX_OK;
}


static void
checkup_answered(void *data, lines_result_t *result)
{
    lines_checkup_t *checkup = data;

    json_t           *failures;
    ngx_int_t         rc;
    ngx_str_t        *text;
    lines_carrier_t  *carrier;

    carrier = checkup->carrier;
    text = &checkup->failures;

    failures = health_failures(checkup, result);

    if (json_array_size(failures)) {
        ngx_str_set(&checkup->status, "down");

    } else {
        ngx_str_set(&checkup->status, "healthy");
    }

    text->len = json_dumpb(failures, NULL, 0, JSON_COMPACT);
    text->data = text->len ? ngx_pnalloc(carrier->pool, text->len) : NULL;

    if (text->data) {
        (void) json_dumpb(failures, (char *) text->data, text->len,
                          JSON_COMPACT);
    }

    json_decref(failures);

    if (text->data == NULL) {
        checkup_revoke(checkup->lmcf, &checkup->tenant, &carrier->id,
                       &checkup->id);
        checkup_end(checkup, NGX_ERROR);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0, "lines check: %V %V",
                   &checkup->status, text);

    lines_caller_init(&checkup->caller, checkup->lmcf->redis, carrier->pool,
                      carrier->log);

    checkup->caller.id = &carrier->id;
    checkup->caller.resume = checkup_resume;

    rc = lines_line_health(&checkup->caller, checkup_stored, checkup,
                           .tenant = checkup->tenant, .line = carrier->id,
                           .id = checkup->id, .failures = *text,
                           .health = checkup->status);

    if (rc != NGX_AGAIN) {
        checkup_end(checkup, rc);
    }
}


static ngx_int_t
checkup_call(lines_checkup_t *checkup, ngx_str_t *document,
    ngx_str_t *request_id)
{
    ngx_keyval_t  headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("Accept"), ngx_string("application/json") },
        { ngx_string("X-Request-Id"), *request_id }
    };

    lines_call_t  call = {
        .method = NGX_HTTP_POST,
        .uri = checkup->lmcf->probe,
        .headers = headers,
        .nheaders = sizeof(headers) / sizeof(headers[0]),
        .body = *document,
        .timeout = checkup->lmcf->probe_timeout
    };

    return lines_carrier_call(checkup->carrier, &call, checkup_answered,
                              checkup);
}


static ngx_int_t
checkup_start(lines_check_t *check, ngx_str_t *document)
{
    ngx_str_t           trace, *tenant;
    lines_carrier_t    *carrier;
    lines_checkup_t    *checkup;
    lines_main_conf_t  *lmcf;

    tenant = &check->ctx->identity.tenant;
    lmcf = lines_get_main_conf(check->ctx->request);

    carrier = lines_carrier_create(lmcf, &check->line, ngx_cycle->log);
    if (carrier == NULL) {
        goto failed;
    }

    checkup = ngx_pcalloc(carrier->pool, sizeof(lines_checkup_t));
    if (checkup == NULL) {
        goto failed;
    }

    checkup->lmcf = lmcf;
    checkup->carrier = carrier;
    checkup->check = check;
    checkup->tenant.len = tenant->len;
    checkup->tenant.data = ngx_pstrdup(carrier->pool, tenant);
    checkup->id.len = check->id.len;
    checkup->id.data = ngx_pstrdup(carrier->pool, &check->id);

    trace = lines_traceparent(check->ctx->request);

    if (trace.len) {
        carrier->trace.len = trace.len;
        carrier->trace.data = ngx_pstrdup(carrier->pool, &trace);
    }

    if (checkup->tenant.data
        && checkup->id.data
        && (trace.len == 0 || carrier->trace.data)
        && checkup_call(checkup, document, &check->ctx->request_id)
           == NGX_AGAIN)
    {
        check->checkup = checkup;
        return NGX_AGAIN;
    }

failed:

    checkup_revoke(lmcf, tenant, &check->line, &check->id);

    if (carrier) {
        lines_carrier_destroy(carrier);
    }

    return lines_unavailable(check->ctx->request, check->ctx, 1);
}


static ngx_int_t
check_wait(lines_check_t *check, ngx_str_t *now)
{
    ngx_http_request_t  *r;
    lines_main_conf_t   *lmcf;

    r = check->ctx->request;
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


lines_answered(check_told, lines_check_t *check, line_check)
{
    switch (reply->is) {

    case LINES_LINE_CHECK_BEGIN:
        return checkup_start(check, &reply->document);

    case LINES_LINE_CHECK_WAIT:
        return check_wait(check, &reply->now);

    case LINES_LINE_CHECK_RESULT:
        return check_answer(check, &reply->health, &reply->failures,
                            &reply->when);

    case LINES_LINE_CHECK_INACTIVE:
        return lines_refuse(ctx, 400, "Line is not active");

    case LINES_LINE_CHECK_UNCONFIGURED:
        return lines_refuse(ctx, 400,
                            lines_is(&reply->channel, "email")
                            ? "Line has no email address configured"
                            : "Line has no phone number configured");
    }

    return lines_refuse(ctx, 404, "Line not found");
}


static ngx_int_t
check_ask(lines_check_t *check)
{
    lines_ctx_t  *ctx;

    ctx = check->ctx;

    return lines_line_check(&ctx->caller, check_told, ctx,
                .tenant = ctx->identity.tenant, .line = check->line,
                .id = check->id, .since = check->since,
                .ttl = lines_get_main_conf(ctx->request)->probe_timeout
                       + LINES_CHECK_SPARE);
}


static void
check_again(ngx_event_t *ev)
{
    lines_check_t *check = ev->data;

    ngx_http_request_t  *r;

    r = check->ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    lines_resume(r, check->ctx, check_ask(check));
}


static void
check_cleanup(void *data)
{
    lines_check_t *check = data;

    if (check->timer.timer_set) {
        ngx_del_timer(&check->timer);
    }

    if (check->checkup) {
        check->checkup->check = NULL;
    }
}


ngx_int_t
lines_check_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            line;
    ngx_pool_cleanup_t  *cln;
    lines_check_t       *check;

    rc = lines_query(r, "id", &line);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK || line.len == 0) {
        return lines_refuse(ctx, 400, "id is required");
    }

    if (!lines_is_id(&line)) {
        return lines_refuse(ctx, 400, "Invalid line id");
    }

    if (lines_get_main_conf(r)->probe.len == 0) {

        ctx->retry_after = 60;

        return lines_refuse(ctx, 503, "Line checks are not configured");
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_check_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    check = cln->data;
    ngx_memzero(check, sizeof(lines_check_t));

    check->ctx = ctx;
    check->start = ngx_current_msec;
    check->line = line;

    check->timer.handler = check_again;
    check->timer.data = check;
    check->timer.log = r->connection->log;

    cln->handler = check_cleanup;
    ctx->data = check;

    check->id.len = LINES_ID_LEN;
    check->id.data = ngx_pnalloc(r->pool, LINES_ID_LEN);

    if (check->id.data == NULL || lines_id(check->id.data) != NGX_OK) {
        return NGX_ERROR;
    }

    return check_ask(check);
}

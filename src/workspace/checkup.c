
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/guard.h"
#include "store/calls.h"
#include "workspace/check.h"
#include "workspace/health.h"


struct lines_checkup_s {
    lines_main_conf_t    *lmcf;
    lines_carrier_t      *carrier;
    lines_checkup_args_t  args;
    lines_health_t        health;
    lines_caller_t        caller;
    ngx_str_t             when;
    lines_checked_pt      done;    /* NULL: nobody waits */
    void                 *data;
};


static ngx_int_t checkup_copy(lines_checkup_t *checkup,
    lines_checkup_args_t *args);
static ngx_int_t checkup_call(lines_checkup_t *checkup,
    lines_checkup_args_t *args);
static void checkup_answered(void *data, lines_result_t *result);
static ngx_int_t checkup_stored(void *data, lines_line_health_reply_t *reply);
static void checkup_resume(lines_caller_t *caller, ngx_int_t rc);
static void checkup_end(lines_checkup_t *checkup, ngx_int_t rc);
static void checkup_revoke(lines_main_conf_t *lmcf,
    lines_checkup_args_t *args);


lines_checkup_t *
lines_checkup_start(lines_main_conf_t *lmcf, lines_checkup_args_t *args,
    lines_checked_pt done, void *data)
{
    lines_carrier_t  *carrier;
    lines_checkup_t  *checkup;

    carrier = lines_carrier_create(lmcf, &args->line, ngx_cycle->log);
    if (carrier == NULL) {
        checkup_revoke(lmcf, args);
        return NULL;
    }

    checkup = ngx_pcalloc(carrier->pool, sizeof(lines_checkup_t));

    if (checkup == NULL) {
        goto failed;
    }

    checkup->lmcf = lmcf;
    checkup->carrier = carrier;
    checkup->done = done;
    checkup->data = data;

    if (checkup_copy(checkup, args) != NGX_OK
        || checkup_call(checkup, args) != NGX_AGAIN)
    {
        goto failed;
    }

    return checkup;

failed:

    checkup_revoke(lmcf, args);
    lines_carrier_destroy(carrier);

    return NULL;
}


/* what is needed after the call has begun */

static ngx_int_t
checkup_copy(lines_checkup_t *checkup, lines_checkup_args_t *args)
{
    ngx_uint_t  i;
    ngx_str_t  *from[] = { &args->id, &args->tenant, &args->line };
    ngx_str_t  *to[] = { &checkup->args.id, &checkup->args.tenant,
                         &checkup->args.line };

    for (i = 0; i < 3; i++) {
        to[i]->len = from[i]->len;
        to[i]->data = ngx_pstrdup(checkup->carrier->pool, from[i]);

        if (to[i]->data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
checkup_call(lines_checkup_t *checkup, lines_checkup_args_t *args)
{
    lines_call_t  call;
    lines_call_header_t   headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("Accept"), ngx_string("application/json") },
        { ngx_string("X-Request-Id"), args->request_id }
    };

    ngx_memzero(&call, sizeof(lines_call_t));

    call.method = NGX_HTTP_POST;
    call.uri = checkup->lmcf->probe;
    call.headers = headers;
    call.nheaders = sizeof(headers) / sizeof(headers[0]);
    call.body = args->document;
    call.timeout = checkup->lmcf->probe_timeout;

    return lines_carrier_call(checkup->carrier, &call, checkup_answered,
                              checkup);
}


static void
checkup_answered(void *data, lines_result_t *result)
{
    lines_checkup_t *checkup = data;

    ngx_int_t    rc;
    ngx_str_t    health;
    ngx_pool_t  *pool;

    pool = checkup->carrier->pool;

    if (result->transport == LINES_COMPLETE) {
        rc = lines_health_read(pool, result->status, &result->body,
                               &checkup->health);

    } else if (result->elapsed >= checkup->lmcf->probe_timeout) {
        rc = lines_health_down(pool, "probe_timeout", &checkup->health);

    } else if (result->transport == LINES_UNSENT
               && lines_location_refused(checkup->lmcf, "lines_probe"))
    {
        /* that tells nothing of the line */
        rc = NGX_ERROR;

    } else if (result->transport == LINES_UNSENT) {
        rc = lines_health_down(pool, "probe_unreachable", &checkup->health);

    } else {
        rc = lines_health_down(pool, "probe_no_answer", &checkup->health);
    }

    if (rc != NGX_OK) {
        checkup_revoke(checkup->lmcf, &checkup->args);
        checkup_end(checkup, NGX_ERROR);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, checkup->carrier->log, 0,
                   "lines check: healthy:%ui %V", checkup->health.healthy,
                   &checkup->health.failures);

    lines_caller_init(&checkup->caller, checkup->lmcf->redis, pool,
                      checkup->carrier->log);

    checkup->caller.id = &checkup->args.line;
    checkup->caller.resume = checkup_resume;

    if (checkup->health.healthy) {
        ngx_str_set(&health, "healthy");

    } else {
        ngx_str_set(&health, "down");
    }

    rc = lines_line_health(&checkup->caller, checkup_stored, checkup,
                           .tenant = checkup->args.tenant,
                           .line = checkup->args.line, .id = checkup->args.id,
                           .failures = checkup->health.failures,
                           .health = health);

    if (rc != NGX_AGAIN) {
        checkup_end(checkup, rc);
    }
}


static ngx_int_t
checkup_stored(void *data, lines_line_health_reply_t *reply)
{
    lines_checkup_t *checkup = data;

    checkup->when = reply->when;

    return reply->is == LINES_LINE_HEALTH_UNKNOWN ? NGX_DECLINED : NGX_OK;
}


static void
checkup_resume(lines_caller_t *caller, ngx_int_t rc)
{
    checkup_end(ngx_queue_data(caller, lines_checkup_t, caller), rc);
}


static void
checkup_end(lines_checkup_t *checkup, ngx_int_t rc)
{
    ngx_str_t         status;
    lines_checked_pt  done;

    if (checkup->health.healthy) {
        ngx_str_set(&status, "healthy");

    } else {
        ngx_str_set(&status, "down");
    }

    done = checkup->done;
    checkup->done = NULL;

    if (done) {
        done(checkup->data, rc, &status, &checkup->health.failures,
             &checkup->when);
    }

    lines_carrier_destroy(checkup->carrier);
}


void
lines_checkup_detach(lines_checkup_t *checkup)
{
    checkup->done = NULL;
}


/* a check that is not made must not keep others waiting */

static void
checkup_revoke(lines_main_conf_t *lmcf, lines_checkup_args_t *args)
{
    lines_caller_t  caller;

    lines_caller_init(&caller, lmcf->redis, NULL, ngx_cycle->log);

    (void) lines_forget_line_health(&caller, .tenant = args->tenant,
                                    .line = args->line, .id = args->id,
                                    .failures = ngx_string("[]"));
}

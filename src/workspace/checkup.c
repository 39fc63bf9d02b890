
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/carrier.h"
#include "store/scripts.h"
#include "workspace/check.h"
#include "workspace/health.h"


struct lines_checkup_s {
    lines_main_conf_t    *lmcf;
    lines_carrier_t      *carrier;
    lines_checkup_args_t  args;
    lines_health_t        health;
    lines_checked_pt      done;    /* NULL: nobody waits */
    void                 *data;
};


static ngx_int_t checkup_copy(lines_checkup_t *checkup,
    lines_checkup_args_t *args);
static ngx_int_t checkup_call(lines_checkup_t *checkup,
    lines_checkup_args_t *args);
static void checkup_answered(void *data, lines_result_t *result);
static void checkup_stored(void *data, redisReply *reply);
static void checkup_end(lines_checkup_t *checkup, ngx_int_t rc,
    ngx_str_t *when);
static void checkup_revoke(lines_main_conf_t *lmcf,
    lines_checkup_args_t *args);
static void checkup_revoked(void *data, redisReply *reply);


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
    ngx_str_t  *from[] = { &args->id, &args->keys[0], &args->keys[1] };
    ngx_str_t  *to[] = { &checkup->args.id, &checkup->args.keys[0],
                         &checkup->args.keys[1] };

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
    ngx_str_t    args[5];
    ngx_pool_t  *pool;

    pool = checkup->carrier->pool;

    if (result->transport == LINES_COMPLETE) {
        rc = lines_health_read(pool, result->status, &result->body,
                               &checkup->health);

    } else if (result->elapsed >= checkup->lmcf->probe_timeout) {
        rc = lines_health_down(pool, "probe_timeout", &checkup->health);

    } else if (result->transport == LINES_UNSENT
               && lines_carrier_refused(checkup->lmcf,
                                               LINES_LOCATION_PROBE))
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
        checkup_end(checkup, NGX_ERROR, NULL);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, checkup->carrier->log, 0,
                   "lines check: healthy:%ui %V", checkup->health.healthy,
                   &checkup->health.failures);

    args[0] = checkup->args.keys[0];
    args[1] = checkup->args.keys[1];
    args[2] = checkup->args.id;
    args[4] = checkup->health.failures;

    if (checkup->health.healthy) {
        ngx_str_set(&args[3], "healthy");

    } else {
        ngx_str_set(&args[3], "down");
    }

    if (lines_redis_eval(checkup->lmcf->redis, &lines_script_line_health, 2, 5,
                         args, checkup_stored, checkup)
        == NULL)
    {
        checkup_end(checkup, NGX_ERROR, NULL);
    }
}


static void
checkup_stored(void *data, redisReply *reply)
{
    lines_checkup_t *checkup = data;

    ngx_str_t  word, when;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {

        if (reply) {
            ngx_log_error(NGX_LOG_ERR, checkup->carrier->log, 0,
                          "lines: Redis refused: %*s", (size_t) reply->len,
                          reply->str);
        }

        checkup_end(checkup, NGX_ERROR, NULL);
        return;
    }

    word = lines_reply_str(reply, 0);
    when = lines_reply_str(reply, 1);

    if (lines_is(&word, "unknown")) {
        checkup_end(checkup, NGX_DECLINED, NULL);
        return;
    }

    checkup_end(checkup, NGX_OK, &when);
}


static void
checkup_end(lines_checkup_t *checkup, ngx_int_t rc, ngx_str_t *when)
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
        done(checkup->data, rc, &status, &checkup->health.failures, when);
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
    ngx_str_t  argv[5];

    argv[0] = args->keys[0];
    argv[1] = args->keys[1];
    argv[2] = args->id;
    ngx_str_set(&argv[3], "");
    ngx_str_set(&argv[4], "[]");

    (void) lines_redis_eval(lmcf->redis, &lines_script_line_health, 2, 5, argv,
                            checkup_revoked, NULL);
}


static void
checkup_revoked(void *data, redisReply *reply)
{
}

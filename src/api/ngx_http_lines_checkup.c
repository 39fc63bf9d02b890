
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_check.h"
#include "ngx_http_lines_carrier.h"
#include "ngx_lines_health.h"
#include "ngx_lines_scripts.h"


struct ngx_http_lines_checkup_s {
    ngx_http_lines_main_conf_t     *lmcf;
    ngx_http_lines_carrier_t       *carrier;
    ngx_http_lines_checkup_args_t   args;
    ngx_lines_health_t              health;
    ngx_http_lines_checked_pt       done;      /* NULL: nobody waits */
    void                           *data;
};


static ngx_int_t ngx_http_lines_checkup_copy(
    ngx_http_lines_checkup_t *checkup, ngx_http_lines_checkup_args_t *args);
static ngx_int_t ngx_http_lines_checkup_call(
    ngx_http_lines_checkup_t *checkup, ngx_http_lines_checkup_args_t *args);
static void ngx_http_lines_checkup_answered(void *data,
    ngx_http_lines_result_t *result);
static void ngx_http_lines_checkup_stored(void *data, redisReply *reply);
static void ngx_http_lines_checkup_end(ngx_http_lines_checkup_t *checkup,
    ngx_int_t rc, ngx_str_t *when);
static void ngx_http_lines_checkup_revoke(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_checkup_args_t *args);
static void ngx_http_lines_checkup_revoked(void *data, redisReply *reply);


ngx_http_lines_checkup_t *
ngx_http_lines_checkup_start(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_checkup_args_t *args, ngx_http_lines_checked_pt done,
    void *data)
{
    ngx_http_lines_carrier_t  *carrier;
    ngx_http_lines_checkup_t  *checkup;

    carrier = ngx_http_lines_carrier_create(lmcf, &args->line,
                                            ngx_cycle->log);
    if (carrier == NULL) {
        ngx_http_lines_checkup_revoke(lmcf, args);
        return NULL;
    }

    checkup = ngx_pcalloc(carrier->pool, sizeof(ngx_http_lines_checkup_t));

    if (checkup == NULL) {
        goto failed;
    }

    checkup->lmcf = lmcf;
    checkup->carrier = carrier;
    checkup->done = done;
    checkup->data = data;

    if (ngx_http_lines_checkup_copy(checkup, args) != NGX_OK
        || ngx_http_lines_checkup_call(checkup, args) != NGX_AGAIN)
    {
        goto failed;
    }

    return checkup;

failed:

    ngx_http_lines_checkup_revoke(lmcf, args);
    ngx_http_lines_carrier_destroy(carrier);

    return NULL;
}


/* what is needed after the call has begun */

static ngx_int_t
ngx_http_lines_checkup_copy(ngx_http_lines_checkup_t *checkup,
    ngx_http_lines_checkup_args_t *args)
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
ngx_http_lines_checkup_call(ngx_http_lines_checkup_t *checkup,
    ngx_http_lines_checkup_args_t *args)
{
    ngx_http_lines_call_t          call;
    ngx_http_lines_call_header_t   headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("Accept"), ngx_string("application/json") },
        { ngx_string("X-Request-Id"), args->request_id }
    };

    ngx_memzero(&call, sizeof(ngx_http_lines_call_t));

    call.method = NGX_HTTP_POST;
    call.uri = checkup->lmcf->probe;
    call.headers = headers;
    call.nheaders = sizeof(headers) / sizeof(headers[0]);
    call.body = args->document;
    call.timeout = checkup->lmcf->probe_timeout;

    return ngx_http_lines_carrier_call(checkup->carrier, &call,
                                       ngx_http_lines_checkup_answered,
                                       checkup);
}


static void
ngx_http_lines_checkup_answered(void *data, ngx_http_lines_result_t *result)
{
    ngx_http_lines_checkup_t *checkup = data;

    ngx_int_t    rc;
    ngx_str_t    args[5];
    ngx_pool_t  *pool;

    pool = checkup->carrier->pool;

    if (result->transport == NGX_HTTP_LINES_COMPLETE) {
        rc = ngx_lines_health_read(pool, result->status, &result->body,
                                   &checkup->health);

    } else if (result->elapsed >= checkup->lmcf->probe_timeout) {
        rc = ngx_lines_health_down(pool, "probe_timeout", &checkup->health);

    } else if (result->transport == NGX_HTTP_LINES_UNSENT
               && ngx_http_lines_carrier_refused(checkup->lmcf,
                                               NGX_HTTP_LINES_LOCATION_PROBE))
    {
        /* that tells nothing of the line */
        rc = NGX_ERROR;

    } else if (result->transport == NGX_HTTP_LINES_UNSENT) {
        rc = ngx_lines_health_down(pool, "probe_unreachable",
                                   &checkup->health);

    } else {
        rc = ngx_lines_health_down(pool, "probe_no_answer",
                                   &checkup->health);
    }

    if (rc != NGX_OK) {
        ngx_http_lines_checkup_revoke(checkup->lmcf, &checkup->args);
        ngx_http_lines_checkup_end(checkup, NGX_ERROR, NULL);
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

    if (ngx_lines_redis_eval(checkup->lmcf->redis,
                             &ngx_lines_script_line_health, 2, 5, args,
                             ngx_http_lines_checkup_stored, checkup)
        == NULL)
    {
        ngx_http_lines_checkup_end(checkup, NGX_ERROR, NULL);
    }
}


static void
ngx_http_lines_checkup_stored(void *data, redisReply *reply)
{
    ngx_http_lines_checkup_t *checkup = data;

    ngx_str_t  word, when;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {

        if (reply) {
            ngx_log_error(NGX_LOG_ERR, checkup->carrier->log, 0,
                          "lines: Redis refused: %*s", (size_t) reply->len,
                          reply->str);
        }

        ngx_http_lines_checkup_end(checkup, NGX_ERROR, NULL);
        return;
    }

    word = ngx_http_lines_reply_str(reply, 0);
    when = ngx_http_lines_reply_str(reply, 1);

    if (ngx_http_lines_is(&word, "unknown")) {
        ngx_http_lines_checkup_end(checkup, NGX_DECLINED, NULL);
        return;
    }

    ngx_http_lines_checkup_end(checkup, NGX_OK, &when);
}


static void
ngx_http_lines_checkup_end(ngx_http_lines_checkup_t *checkup, ngx_int_t rc,
    ngx_str_t *when)
{
    ngx_str_t                   status;
    ngx_http_lines_checked_pt   done;

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

    ngx_http_lines_carrier_destroy(checkup->carrier);
}


void
ngx_http_lines_checkup_detach(ngx_http_lines_checkup_t *checkup)
{
    checkup->done = NULL;
}


/* a check that is not made must not keep others waiting */

static void
ngx_http_lines_checkup_revoke(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_checkup_args_t *args)
{
    ngx_str_t  argv[5];

    argv[0] = args->keys[0];
    argv[1] = args->keys[1];
    argv[2] = args->id;
    ngx_str_set(&argv[3], "");
    ngx_str_set(&argv[4], "[]");

    (void) ngx_lines_redis_eval(lmcf->redis, &ngx_lines_script_line_health,
                                2, 5, argv, ngx_http_lines_checkup_revoked,
                                NULL);
}


static void
ngx_http_lines_checkup_revoked(void *data, redisReply *reply)
{
}

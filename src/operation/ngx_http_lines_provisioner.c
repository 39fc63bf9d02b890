
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_payment.h"
#include "ngx_http_lines_provisioner.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_PROVISIONER_TIMEOUT  15000


static ngx_int_t ngx_http_lines_provisioner_send(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_tell_line(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_tell_result(ngx_http_lines_operation_t *op,
    ngx_http_lines_result_t *result);
static ngx_int_t ngx_http_lines_tell_announced(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_tell_hinted(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_told(ngx_http_lines_operation_t *op,
    const char *word);
static ngx_int_t ngx_http_lines_tell_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);


char *
ngx_http_lines_provisioner_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lines_main_conf_t *lmcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   plain;

    if (lmcf->provisioner.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    plain = 0;

    if (cf->args->nelts == 3) {

        if (!ngx_http_lines_carrier_is_plain(&value[2])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"lines_provisioner\"", &value[2]);
            return NGX_CONF_ERROR;
        }

        plain = 1;
    }

    lmcf->provisioner = value[1];

    return ngx_http_lines_carrier_require(cf, lmcf,
                                          NGX_HTTP_LINES_LOCATION_PROVISIONER,
                                          &value[0], &value[1], plain);
}


ngx_int_t
ngx_http_lines_provisioner_tell(ngx_http_lines_operation_t *op,
    ngx_str_t *json, ngx_http_lines_operation_result_pt result)
{
    op->json = *json;

    return ngx_http_lines_operation_call_other(op,
                                               ngx_http_lines_provisioner_send,
                                               result);
}


static ngx_int_t
ngx_http_lines_provisioner_send(ngx_http_lines_operation_t *op)
{
    ngx_http_lines_call_t         call;
    ngx_http_lines_call_header_t  headers[3];

    ngx_memzero(&call, sizeof(ngx_http_lines_call_t));

    ngx_str_set(&headers[0].name, "Content-Type");
    ngx_str_set(&headers[0].value, "application/json");
    ngx_str_set(&headers[1].name, "Idempotency-Key");
    headers[1].value = op->id;
    ngx_str_set(&headers[2].name, "X-Lines-Tenant");
    headers[2].value = op->tenant;

    call.method = NGX_HTTP_POST;
    call.uri = op->lmcf->provisioner;
    call.headers = headers;
    call.nheaders = 3;
    call.body = op->json;
    call.timeout = NGX_HTTP_LINES_PROVISIONER_TIMEOUT;

    return ngx_http_lines_carrier_call(op->carrier, &call,
                                       ngx_http_lines_operation_other_answered,
                                       op);
}


ngx_int_t
ngx_http_lines_provisioner_verdict(ngx_http_lines_result_t *result)
{
    if (result->transport != NGX_HTTP_LINES_COMPLETE) {
        return NGX_AGAIN;
    }

    if (result->status >= 200 && result->status < 300) {
        return NGX_OK;
    }

    switch (result->status) {

    case 408:
    case 409:
    case 425:
    case 429:
        return NGX_AGAIN;
    }

    return result->status >= 400 && result->status < 500 ? NGX_DECLINED
                                                         : NGX_AGAIN;
}


/* the step "tell" of a workspace's line */

ngx_int_t
ngx_http_lines_payment_tell(ngx_http_lines_operation_t *op)
{
    ngx_str_t  argv[4], line;

    if (op->lmcf->provisioner.len == 0) {
        return ngx_http_lines_told(op, "taken");
    }

    line = ngx_http_lines_operation_get(op, "line");

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = ngx_http_lines_operation_key(op, "line:%V", &line);
    ngx_str_set(&argv[2], "json");
    ngx_str_set(&argv[3], "status");

    return ngx_http_lines_operation_command(op, 4, argv,
                                            ngx_http_lines_tell_line);
}


static ngx_int_t
ngx_http_lines_tell_line(ngx_http_lines_operation_t *op, redisReply *reply)
{
    ngx_str_t  json, status;

    json = ngx_http_lines_reply_str(reply, 0);
    status = ngx_http_lines_reply_str(reply, 1);

    /* an operator may have reported it, meanwhile */

    if (json.len == 0 || !ngx_http_lines_is(&status, "provisioning")) {
        return ngx_http_lines_told(op, "taken");
    }

    json.data = ngx_pstrdup(op->pool, &json);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_lines_provisioner_tell(op, &json,
                                           ngx_http_lines_tell_result);
}


static ngx_int_t
ngx_http_lines_tell_result(ngx_http_lines_operation_t *op,
    ngx_http_lines_result_t *result)
{
    ngx_int_t  rc;
    ngx_str_t  argv[3], id, line;

    rc = ngx_http_lines_provisioner_verdict(result);

    if (rc == NGX_AGAIN) {
        return ngx_http_lines_operation_again(op);
    }

    if (rc == NGX_OK) {
        return ngx_http_lines_told(op, "taken");
    }

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: the provisioner refused, %ui",
                  &op->id, result->status);

    /* the refund's index and hint, before what they point at */

    line = ngx_http_lines_operation_get(op, "line");

    ngx_str_set(&argv[0], "SET");
    argv[2] = op->tenant;

    if (ngx_http_lines_refund_id(op->pool, &line, &id) != NGX_OK
        || ngx_lines_redis_format(op->pool, &argv[1], "lines:{ix:%V}", &id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_command(op, 3, argv,
                                            ngx_http_lines_tell_announced);
}


static ngx_int_t
ngx_http_lines_tell_announced(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  args[3], id, line;

    line = ngx_http_lines_operation_get(op, "line");

    if (ngx_http_lines_refund_id(op->pool, &line, &id) != NGX_OK
        || ngx_http_lines_due(op->pool, &op->tenant, &id, &args[0], &args[1])
           != NGX_OK
        || ngx_lines_redis_format(op->pool, &args[2], "%M", op->conf->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_due_add, 1, 3,
                                         args, ngx_http_lines_tell_hinted);
}


static ngx_int_t
ngx_http_lines_tell_hinted(ngx_http_lines_operation_t *op, redisReply *reply)
{
    return ngx_http_lines_told(op, "refused");
}


static ngx_int_t
ngx_http_lines_told(ngx_http_lines_operation_t *op, const char *word)
{
    ngx_str_t  args[NGX_HTTP_LINES_LINE_KEYS + 1 + 7], *argv, line, id;

    line = ngx_http_lines_operation_get(op, "line");

    if (ngx_http_lines_payment_keys(op, args) != NGX_OK
        || ngx_http_lines_refund_id(op->pool, &line, &id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[NGX_HTTP_LINES_LINE_KEYS] =
                              ngx_http_lines_operation_key(op, "op:%V", &id);

    argv = &args[NGX_HTTP_LINES_LINE_KEYS + 1];

    if (ngx_http_lines_operation_guard(op, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    argv[3] = op->id;
    argv[4].data = (u_char *) word;
    argv[4].len = ngx_strlen(word);
    ngx_str_set(&argv[5], "provisioning_failed");
    argv[6] = id;

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_told,
                                         NGX_HTTP_LINES_LINE_KEYS + 1,
                                         NGX_HTTP_LINES_LINE_KEYS + 8,
                                         args, ngx_http_lines_tell_ended);
}


static ngx_int_t
ngx_http_lines_tell_ended(ngx_http_lines_operation_t *op, redisReply *reply)
{
    ngx_str_t  refund, line, argv[3], done = ngx_string("done");

    refund = ngx_http_lines_reply_str(reply, 1);

    if (refund.len) {
        (void) ngx_http_lines_operation_spawn(op->lmcf, &op->tenant, &refund,
                                              0, 0);

        line = ngx_http_lines_operation_get(op, "line");

        ngx_str_set(&argv[0], "ZREM");
        ngx_str_set(&argv[1], "lines:{prov}");

        if (ngx_lines_redis_format(op->pool, &argv[2], "%V %V", &op->tenant,
                                   &line)
            == NGX_OK)
        {
            ngx_http_lines_operation_forget(op, 3, argv);
        }
    }

    return ngx_http_lines_operation_enter(op, &done);
}

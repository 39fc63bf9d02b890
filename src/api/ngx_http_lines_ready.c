
/*
 * Readiness, from what this worker knows already: cheap enough to be asked
 * each second by each balancer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_ready.h"
#include "ngx_http_lines_workspace.h"


static ngx_int_t ngx_http_lines_ready(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


static ngx_http_lines_step_pt  ngx_http_lines_ready_steps[] = {
    ngx_http_lines_discard_body,
    ngx_http_lines_ready,
    NULL
};


static ngx_http_lines_route_t  ngx_http_lines_ready_routes[] = {

    { NGX_HTTP_GET, ngx_string(""),
      ngx_http_lines_ready_steps, ngx_string("ready") },

    { 0, ngx_null_string, NULL, ngx_null_string }
};


ngx_http_lines_api_t  ngx_http_lines_ready_api = {
    ngx_string("ready"),
    ngx_http_lines_plain_error,
    ngx_http_lines_ready_routes,
    0
};


static ngx_int_t
ngx_http_lines_ready(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_lines_redis_status_t     status;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(r);

    ngx_lines_redis_status(lmcf->redis, &status);

    return ngx_http_lines_answer_format(r, ctx,
               status.connected ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE,
               "{\"ready\":%s,\"redis\":{\"status\":\"%s\","
               "\"warnings\":[%s%s%s]}}",
               status.connected ? "true" : "false",
               status.connected ? "ok" : "unreachable",
               status.evicts ? "\"maxmemory-policy is not noeviction\"" : "",
               status.evicts && status.no_aof ? "," : "",
               status.no_aof ? "\"append-only file is off\"" : "");
}

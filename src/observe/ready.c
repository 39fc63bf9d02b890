
/*
 * Readiness, from what this worker knows already: see api/health.c.
 */

#include "api/health.h"
#include "auth/dialect.h"
#include "http/body.h"
#include "observe/observe.h"


static ngx_int_t
ready(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t    fine;
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{");

    fine = lines_health_add(&json, lines_get_main_conf(r));

    lines_json_add(&json, ",'version':{'lines':'%s','nginx':'%s',"
                   "'hiredis':'%V'}}", LINES_VERSION, NGINX_VERSION,
                   &lines_redis_hiredis);

    return lines_json_answer(ctx, fine ? NGX_HTTP_OK
                                       : NGX_HTTP_SERVICE_UNAVAILABLE, &json);
}


static lines_route_t  ready_routes[] = {

    { NGX_HTTP_GET, ngx_string(""), ngx_string("ready"),
      { NULL, NULL, NULL, lines_discard_body },
      (lines_step_pt []) { ready, NULL }, NULL },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


lines_api_t  lines_ready_api = {
    ngx_string("ready"),
    lines_plain_error,
    ready_routes,
    0,
    NULL
};

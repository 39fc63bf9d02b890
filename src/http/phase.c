
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/phase.h"
#include "http/steps.h"


static void phase_resume(ngx_http_request_t *r, ngx_int_t rc);


ngx_int_t
lines_phase_wait(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ctx->resume = phase_resume;

    if (lines_watch_client(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


static void
phase_resume(ngx_http_request_t *r, ngx_int_t rc)
{
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines phase: resumed with %i", rc);

    if (rc == NGX_OK) {
        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_core_run_phases;

        ngx_http_core_run_phases(r);
        return;
    }

    lines_finalize(r, ctx, rc);
}


ngx_int_t
lines_phase_done(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_finalize(r, ctx, NGX_DONE);

    return NGX_DONE;
}


ngx_uint_t
lines_has_error_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if ((ngx_uint_t) page[i].status == status) {
            return 1;
        }
    }

    return 0;
}

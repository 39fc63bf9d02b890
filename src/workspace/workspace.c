
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/headers.h"
#include "workspace/workspace.h"


ngx_int_t
lines_business_error(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t http_status, const char *status, const char *message,
    const char *redirect)
{
    if (redirect == NULL) {
        return lines_answer_format(r, ctx, http_status,
                    "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\"}",
                    status, message);
    }

    return lines_answer_format(r, ctx, http_status,
                     "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\","
                     "\"redirect\":\"%s\"}", status, message, redirect);
}


/*
 * Below the URL that the client asked, as it wrote it: the location may be one
 * that only rewrites lead to.  Where that URL has another end, below the
 * location.
 */

ngx_int_t
lines_line_request_location(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                    *p;
    uintptr_t                  escape;
    ngx_str_t                  path, value;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  end = ngx_string("/line-requests");

    path = r->unparsed_uri;

    /* nginx takes a fragment for no part of the path, either */

    for (p = path.data; p < path.data + path.len; p++) {
        if (*p == '?' || *p == '#') {
            path.len = p - path.data;
            break;
        }
    }

    /* "//" at the front would be a host; "\\" is as good, to browsers */

    if (path.len >= end.len
        && ngx_strncmp(path.data + path.len - end.len, end.data, end.len) == 0
        && path.data[0] == '/'
        && path.data[1] != '/'
        && path.data[1] != '\\')
    {
        if (lines_redis_format(r->pool, &value, "%V/%V", &path, id) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return lines_add_header(r, "Location", &value);
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    escape = 2 * ngx_escape_uri(NULL, clcf->name.data, clcf->name.len,
                                NGX_ESCAPE_URI);

    path.len = clcf->name.len + escape;
    path.data = ngx_pnalloc(r->pool, path.len);

    if (path.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_escape_uri(path.data, clcf->name.data, clcf->name.len,
                          NGX_ESCAPE_URI);

    if (lines_redis_format(r->pool, &value, "%Vline-requests/%V", &path, id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_add_header(r, "Location", &value);
}

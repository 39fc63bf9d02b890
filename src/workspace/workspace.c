
#include "api/json.h"
#include "http/headers.h"
#include "workspace/workspace.h"


ngx_int_t
lines_subscription_required(lines_ctx_t *ctx, const char *message)
{
    return lines_json(ctx, NGX_HTTP_FORBIDDEN, "{'success':false,"
                      "'status':'subscription_required','message':'%s',"
                      "'redirect':'/billing'}", message);
}


ngx_int_t
lines_line_request_unknown(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 404, "Line request not found");
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
    ngx_str_t                  path, value, *name;
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

    if (path.len < end.len
        || ngx_strncmp(path.data + path.len - end.len, end.data, end.len) != 0
        || path.data[0] != '/'
        || path.data[1] == '/'
        || path.data[1] == '\\')
    {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        name = &clcf->name;

        path.data = ngx_pnalloc(r->pool, 3 * name->len + end.len);
        if (path.data == NULL) {
            return NGX_ERROR;
        }

        p = (u_char *) ngx_escape_uri(path.data, name->data, name->len,
                                      NGX_ESCAPE_URI);
        p = ngx_cpymem(p, end.data + 1, end.len - 1);
        path.len = p - path.data;
    }

    if (lines_redis_format(r->pool, &value, "%V/%V", &path, id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_add_header(r, "Location", &value);
}

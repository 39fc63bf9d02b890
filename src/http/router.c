
#include "http/answer.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/text.h"


static ngx_uint_t
match(ngx_str_t path, ngx_str_t pattern, ngx_str_t *params)
{
    ngx_str_t  segment, name;

    /* no row ends with a slash; of a path it would be lost below */

    if (path.len && path.data[path.len - 1] == '/') {
        return 0;
    }

    while (pattern.len) {
        name = lines_split(&pattern, '/');
        segment = lines_split(&path, '/');

        if (segment.len && name.data[0] == ':') {
            *params++ = segment;

        } else if (!lines_same(&segment, &name)) {
            return 0;
        }
    }

    return path.len == 0;
}


#define has_params(path)                                                      \
    (ngx_strlchr((path)->data, (path)->data + (path)->len, ':') != NULL)


/* the row of a method and the path under the location's prefix; or NULL, and
   all methods that the path has.  One that is named as it is, is no parameter:
   such rows come first. */

static lines_route_t *
route_find(ngx_http_request_t *r, ngx_uint_t method, ngx_str_t *params,
    ngx_uint_t *methods)
{
    ngx_str_t          path, *prefix;
    ngx_uint_t         named;
    lines_route_t     *found;
    lines_loc_conf_t  *llcf;

    named = 0;
    *methods = 0;

    ngx_str_set(&path, "");
    llcf = lines_get_loc_conf(r);
    prefix = &llcf->prefix;

    if (prefix->len) {

        /* after "rewrite ... break" the URI may be another's */

        if (r->uri.len < prefix->len
            || ngx_memcmp(r->uri.data, prefix->data, prefix->len) != 0)
        {
            return NULL;
        }

        path.data = r->uri.data + prefix->len;
        path.len = r->uri.len - prefix->len;
    }

    for (found = llcf->api->routes; found->steps; found++) {

        if (named && has_params(&found->path)) {
            continue;
        }

        if (match(path, found->path, params)) {

            if (found->method == method) {
                return found;
            }

            *methods |= found->method;
            named = !has_params(&found->path);
        }
    }

    return NULL;
}


ngx_int_t
lines_route_allow(ngx_http_request_t *r, ngx_str_t *allow)
{
    ngx_str_t   params[LINES_MAX_PARAMS];
    ngx_uint_t  methods;

    (void) route_find(r, 0, params, &methods);

    if (methods == 0) {
        return NGX_DECLINED;
    }

    if (lines_redis_format(r->pool, allow, "%s%s%s%s%s",
                           methods & NGX_HTTP_GET ? ", GET, HEAD" : "",
                           methods & NGX_HTTP_POST ? ", POST" : "",
                           methods & NGX_HTTP_PUT ? ", PUT" : "",
                           methods & NGX_HTTP_PATCH ? ", PATCH" : "",
                           methods & NGX_HTTP_DELETE ? ", DELETE" : "")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* no comma before the first */

    allow->data += 2;
    allow->len -= 2;

    return NGX_OK;
}


/* NGX_OK, or NGX_DONE where it answered 404 or 405 (with Allow) */

static ngx_int_t
route(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t       allow;
    ngx_uint_t      methods;
    lines_route_t  *found;

    found = route_find(r, (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET
                                                       : r->method,
                       ctx->params, &methods);
    if (found) {
        ctx->route = found;
        return NGX_OK;
    }

    if (methods == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL, "Not found");
    }

    if (lines_route_allow(r, &allow) != NGX_OK
        || lines_add_header(r, "Allow", &allow) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_error(r, ctx, NGX_HTTP_NOT_ALLOWED, NULL,
                       "Method not allowed");
}


static ngx_int_t
content_handler(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    lines_ctx_t  *ctx;

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->api = lines_get_loc_conf(r)->api;
    ctx->resume = lines_run;

    /* the steps end the request, now or later: nginx is told so at once */
    r->main->count++;

    rc = route(r, ctx);

    if (rc == NGX_OK) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines route: %V %V", &ctx->api->name,
                       &ctx->route->name);

        ctx->first = 0;
        ctx->step = ctx->route->steps;
    }

    lines_run(r, ctx, rc);

    return NGX_DONE;
}


char *
lines_set_api(ngx_conf_t *cf, lines_loc_conf_t *llcf, lines_api_t *api)
{
    ngx_str_t                 *value;
    ngx_uint_t                 slash, whole;
    ngx_http_core_loc_conf_t  *clcf;
    lines_main_conf_t         *lmcf;

    if (llcf->api == api) {
        return "is duplicate";
    }

    value = cf->args->elts;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (llcf->api || clcf->handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": location \"%V\" has another handler "
                           "already", &value[0], &clcf->name);
        return NGX_CONF_ERROR;
    }

    slash = (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/');
    whole = (clcf->exact_match || clcf->named);

#if (NGX_PCRE)
    whole |= (clcf->regex != NULL);
#endif

    if (api->routes[0].path.len && (whole || clcf->noname || !slash)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be in a prefix location that ends "
                           "with \"/\", not in \"%V\"", &value[0],
                           &clcf->name);
        return NGX_CONF_ERROR;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    lmcf->used = 1;

    llcf->api = api;
    clcf->handler = content_handler;

    /* the prefix without its slash is ours as well, and 404 */

    clcf->auto_redirect |= slash;

    /* of a URI that an exact, a named or a regex location takes, all is it */

    if (!whole) {
        llcf->prefix = clcf->name;
    }

    return NGX_CONF_OK;
}


char *
lines_merge_api(ngx_conf_t *cf, lines_loc_conf_t *prev, lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /*
     * "if" and "limit_except" are blocks of the location's own, and the API
     * answers there as well; a nested location has a handler of its own, or
     * none.
     */

    if (clcf->noname) {
        conf->api = prev->api;
        conf->prefix = prev->prefix;
        conf->own = prev->own;
    }

    if (conf->api == NULL) {
        return NGX_CONF_OK;
    }

    if (clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = content_handler;
    }

    /* a block may have one, as of "proxy_pass" in "if": it goes there */

    if (clcf->handler && clcf->handler != content_handler && !clcf->noname) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has another handler besides the "
                      "\"%V\" API of lines", &clcf->name, &conf->api->name);
        return NGX_CONF_ERROR;
    }

    /*
     * The bound of an API's bodies is client_max_body_size in its location and
     * in its blocks, so that whatever else reads them (mirror, proxy_pass in
     * "if", another module) reads no more.  nginx' core is merged before us:
     * locations nested in an API's have inherited theirs by now.
     */

    if (conf->api->body_limit) {
        clcf->client_max_body_size = conf->api->body_limit;
    }

    return NGX_CONF_OK;
}

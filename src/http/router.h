
/*
 * Which API answers where, and which of its endpoints.
 */

#ifndef _LINES_HTTP_ROUTER_H_INCLUDED_
#define _LINES_HTTP_ROUTER_H_INCLUDED_


#include "http/context.h"


/* an endpoint */

struct lines_route_s {
    ngx_uint_t      method;    /* NGX_HTTP_GET is HEAD as well */
    ngx_str_t       path;      /* under the location's prefix;
                                  ":name" is one segment */
    ngx_str_t       name;      /* for metrics and logs */
    lines_step_pt   first[5];  /* who may, how often, what about, what becomes
                                  of the body, and who writes it down; NULL:
                                  nothing */
    lines_step_pt  *steps;     /* then; ends with NULL */
    const void     *input;     /* what its body holds, to one of them */
};


/* how a dialect says "no", as JSON: error is a short code, or NULL */

typedef ngx_int_t (*lines_error_pt)(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);


struct lines_api_s {
    ngx_str_t       name;        /* workspace, account, admin, … */
    lines_error_pt  error;
    lines_route_t  *routes;      /* ends with an empty path */
    size_t          body_limit;  /* of bodies */

    /* refuses, as a step does, a body that came and is not what is read, with
       400 and why; NULL: lines_error() does */
    ngx_int_t     (*bad_body)(ngx_http_request_t *r, lines_ctx_t *ctx,
                        const char *why);
};


/*
 * The setter of a directive that makes a location answer for an API: a prefix
 * location that ends with "/", or, where the API has a route with an empty
 * path, any.
 */

char *lines_set_api(ngx_conf_t *cf, lines_loc_conf_t *llcf, lines_api_t *api);

/* the methods that the API in r's location has for its path, as in Allow;
   NGX_DECLINED: it has no such path */
ngx_int_t lines_route_allow(ngx_http_request_t *r, ngx_str_t *allow);

/* the API in blocks of the location; call it when the rest is merged */
char *lines_merge_api(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);


#endif /* _LINES_HTTP_ROUTER_H_INCLUDED_ */

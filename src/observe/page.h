
/*
 * Files that are served as they are: read with the configuration, so that they
 * are whole until a reload, on each node under the same ETag.  Conditions,
 * ranges and gzip are nginx' own affair.
 */

#ifndef _LINES_OBSERVE_PAGE_H_INCLUDED_
#define _LINES_OBSERVE_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_str_t  body;
    ngx_str_t  type;        /* without its charset, which is utf-8 */
    ngx_str_t  etag;
    time_t     modified;    /* 0: not told */
} lines_page_t;


/*
 * The setter's check of a directive that takes a location's handler:
 * NGX_CONF_ERROR having logged.
 */
char *lines_page_location(ngx_conf_t *cf, const char *directive,
    ngx_http_core_loc_conf_t *clcf);

/*
 * Reads all of a file, with a zero behind it, into body and modified; a relative
 * name is made that of a file beside nginx.conf.  what: "page", say, and hint:
 * what to do where it is not there.  NGX_ERROR having logged.
 */
ngx_int_t lines_page_read(ngx_conf_t *cf, const char *directive,
    const char *what, const char *hint, ngx_str_t *file, lines_page_t *page);

/* of its body; NGX_ERROR without memory */
ngx_int_t lines_page_etag(ngx_conf_t *cf, lines_page_t *page);

/* a content handler's answer to GET and HEAD, with the policy as its
   Content-Security-Policy; 405 to others */
ngx_int_t lines_page_send(ngx_http_request_t *r, lines_page_t *page,
    ngx_str_t *policy);


#endif /* _LINES_OBSERVE_PAGE_H_INCLUDED_ */

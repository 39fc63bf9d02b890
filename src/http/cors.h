
/*
 * lines_cors: which other sites' pages may ask, and read the answers (CORS, in
 * the Fetch standard).  A preflight is answered before authentication and
 * before all limits: it says what the configuration says, and costs less than
 * counting it would; a page could not even read the 429.
 *
 * Headers are added where all others are known, an upstream's and the
 * operator's: ours are the only ones.
 */

#ifndef _LINES_HTTP_CORS_H_INCLUDED_
#define _LINES_HTTP_CORS_H_INCLUDED_


#include "http/context.h"


struct lines_cors_s {
    ngx_array_t  *list;           /* ngx_str_t, as written; NULL: the location's
                                     authorized_party */
    ngx_str_t    *origins;        /* those that it comes to */
    ngx_uint_t    norigins;
    ngx_uint_t    credentials;    /* flag */
    ngx_int_t     max_age;        /* seconds */
    ngx_uint_t    off;            /* flag: not here, whatever stands above */
};


/*
 * lines_cors [origin=ORIGIN ...] [credentials] [max_age=10m]
 * lines_cors off
 */
char *lines_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* parties: the location's authorized_party */
char *lines_cors_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf, ngx_str_t *parties, ngx_uint_t nparties);

/* postconfiguration, after all that has a handler in the rewrite phase */
ngx_int_t lines_cors_init(ngx_conf_t *cf);

/* the headers of an answer, as the last of those who add some */
ngx_int_t lines_cors_headers(ngx_http_request_t *r);


#endif /* _LINES_HTTP_CORS_H_INCLUDED_ */

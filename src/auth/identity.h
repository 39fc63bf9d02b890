
/*
 * Who asks, in variables.  A subrequest that is authenticated itself has an
 * identity of its own; any other sees that of its parent.
 *
 * An identity is not known before authentication, and may be another one after
 * an internal redirect, or in a subrequest.  What is computed from it, by map,
 * js_set and the like, is not cacheable either: it is computed whenever it is
 * read.  What reads it before authentication gets nothing, and a warning says
 * so.
 *
 *   $lines_tenant         w:ID or a:ID; empty before or without authentication
 *   $lines_tenant_plan    its plan
 *   $lines_key_id         SHA-256 of the API key, in hex
 *   $lines_user           the user of a session token (its sub)
 *   $lines_auth           how it was authenticated: key, clerk
 *   $lines_auth_failure   why it was not
 */

#ifndef _LINES_AUTH_IDENTITY_H_INCLUDED_
#define _LINES_AUTH_IDENTITY_H_INCLUDED_


#include "http/context.h"


/* preconfiguration */
ngx_int_t lines_identity_init(ngx_conf_t *cf);

/* init_process: watches all variables that nginx caches; finds out where
   authentication stands among the phases */
ngx_int_t lines_identity_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);

/* the tenant of the identity that a request shows, or without one the user;
   NULL: nobody */
ngx_str_t *lines_identity_who(ngx_http_request_t *r);

/* what its location's lines_auth says of caches, or, without one, that by which
   the request became known */
lines_cache_e lines_caches(ngx_http_request_t *r);

#if (NGX_HTTP_CACHE)

/*
 * Flag: the key of r->cache says who asks as only the module may.  What is
 * read of the identity while a key is made becomes a part of it, behind its
 * text (ctx->keyed), unless pages are the same for all; that text may have
 * bytes of the client's.
 */
ngx_uint_t lines_key_forged(ngx_http_request_t *r);

#endif

/* for those that read a variable without regard to its cacheability: call it
   wherever the identity is another one than before */
void lines_forget_computed(ngx_http_request_t *r);

/*
 * As ngx_http_complex_value().  late: flag, the value depends on an identity,
 * or on what auth_request sets.  wait: flag, for who can wait: NGX_DECLINED
 * where the value is late, and the identity is not settled; then nothing has
 * been cached, and nobody is warned.
 */
ngx_int_t lines_try_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_uint_t wait, ngx_str_t *value, ngx_uint_t *late);

/* flag, at configuration: it names a variable of the identity */
ngx_uint_t lines_names_identity(ngx_conf_t *cf, ngx_http_complex_value_t *cv);


#endif /* _LINES_AUTH_IDENTITY_H_INCLUDED_ */


/*
 * A bucket in Redis: its key, how gcra.lua is asked, what it replies.
 */

#ifndef _LINES_LIMIT_BUCKET_H_INCLUDED_
#define _LINES_LIMIT_BUCKET_H_INCLUDED_


#include "limit/limit.h"
#include "store/calls.h"


/*
 * The key of a request's bucket; NGX_DECLINED: there is nothing to count by,
 * at least not yet.  wait: flag, authentication may come, and what depends on
 * it is left for then.  late: flag, it depends on who asks.
 */
ngx_int_t lines_limit_key(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_t *limit, ngx_uint_t wait, ngx_str_t *key, ngx_uint_t *late);

/* what gcra.lua is asked for a limit and a bucket's key; nothing is copied */
void lines_limit_args(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t need,
    ngx_uint_t extra, lines_gcra_args_t *args);

/* a reply of gcra.lua; NGX_ERROR where it is none */
ngx_int_t lines_limit_parse(lines_gcra_reply_t *reply, lines_rate_t *rate,
    lines_gcra_t *result);


#endif /* _LINES_LIMIT_BUCKET_H_INCLUDED_ */

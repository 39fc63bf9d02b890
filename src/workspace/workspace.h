
/*
 * The workspace dialect: its routes, and how it says "no".
 */

#ifndef _LINES_WORKSPACE_WORKSPACE_H_INCLUDED_
#define _LINES_WORKSPACE_WORKSPACE_H_INCLUDED_


#include "http/context.h"
#include "store/calls.h"


/* 403 with the way to billing */
ngx_int_t lines_subscription_required(lines_ctx_t *ctx, const char *message);

/* 404 */
ngx_int_t lines_line_request_unknown(lines_ctx_t *ctx);

/* of a line that awaits no payment: its status, its payment, whether one is
   required, its document */
#define LINES_LINE_REQUEST                                                    \
    "{'success':true,'status':'%V','paymentStatus':'%V',"                     \
    "'paymentRequired':%B,'line':%V}"

/* the header Location of a 201: where the request with that id is read */
ngx_int_t lines_line_request_location(ngx_http_request_t *r, ngx_str_t *id);


#endif /* _LINES_WORKSPACE_WORKSPACE_H_INCLUDED_ */


/*
 * Who asks: a token of lines_admin's file, or a session that was opened with
 * one, so that a page need not keep it.
 */

#ifndef _LINES_ADMIN_SESSION_H_INCLUDED_
#define _LINES_ADMIN_SESSION_H_INCLUDED_


#include "http/context.h"


/*
 * The first step: 401 unless one of the tokens was sent, or the cookie of a
 * session and no Authorization, 403 where a session's request may be that of
 * another site's page, or where the operator may only read and the request does
 * more.  ctx->operator is set.
 */
lines_step_t  lines_admin_authorize;

/* POST, GET and DELETE session */
lines_step_t  lines_admin_begin_session, lines_admin_show_session,
    lines_admin_end_session;


#endif /* _LINES_ADMIN_SESSION_H_INCLUDED_ */


/*
 * Server-sent events: what is written into a tenant's journal, as it is, for as
 * long as the client stays and may.  A stream has a place in the journal, and
 * nothing else: it reads from there on (scripts/events_page.lua) as it comes and
 * whenever there is news, a page at a time, and the next one once the client has
 * taken that.
 *
 *     lines_stream_begin    from where on; what happens from here is heard of
 *     lines_stream_renew    who asks is still who may
 *     lines_stream_say      Redis knows that somebody waits
 *     lines_stream_read     what there is is sent; from here to lines_stream_renew
 *
 * It ends as an answer does, and the client comes again with the last id that it
 * has: when its key, or its tenant's plan or subscription, is another one, or
 * gone, when its token is over, and when the worker exits.
 */

#ifndef _LINES_EVENTS_STREAM_H_INCLUDED_
#define _LINES_EVENTS_STREAM_H_INCLUDED_


#include "http/context.h"


lines_step_t  lines_stream_begin, lines_stream_renew, lines_stream_say,
    lines_stream_read;

/* of the line that the path names first */
lines_step_t  lines_stream_begin_line;


#endif /* _LINES_EVENTS_STREAM_H_INCLUDED_ */

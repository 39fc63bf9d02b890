
/*
 * A client that waits for a line to change, in place of asking again and again:
 * GET with "wait" (seconds) and If-None-Match.  What it is told is read by the
 * steps of its endpoint, when it comes and each time that there is news; in
 * between it has nothing of Redis, and no part in anything.
 *
 *     lines_read_input      reads "wait" into a struct that begins with this
 *     lines_wait_renewed    who asks is still who may
 *     lines_wait_begin      what happens from here on is heard of
 *     ...                   the endpoint's own, which end with
 *     lines_wait_answer()
 */

#ifndef _LINES_EVENTS_WAIT_H_INCLUDED_
#define _LINES_EVENTS_WAIT_H_INCLUDED_


#include "api/input.h"
#include "api/json.h"


#define LINES_WAIT_MOST  60    /* s */


typedef struct lines_wait_s  lines_wait_t;

typedef struct {
    int64_t        seconds;    /* 0: it does not */
    ngx_str_t      line;       /* id, set before lines_wait_begin */
    lines_wait_t  *wait;       /* NULL: it does not, or not yet */
} lines_waiting_t;

#define lines_in_wait(conf, field)                                            \
    lines_in_number("wait", conf, field.seconds, 1, LINES_WAIT_MOST,          \
                    "wait must be from 1 to 60")


/* steps; ctx->data begins with a lines_waiting_t */
lines_step_t  lines_wait_renewed, lines_wait_begin;

/* flag: it waited, and was woken */
ngx_uint_t lines_waited(lines_waiting_t *waiting);

/*
 * The end of these steps, as lines_json_ok() with an ETag: 200, or what the
 * client knows already: then it waits, from lines_wait_renewed on, or 304.
 */
ngx_int_t lines_wait_answer(lines_ctx_t *ctx, const char *fmt, ...);


#endif /* _LINES_EVENTS_WAIT_H_INCLUDED_ */

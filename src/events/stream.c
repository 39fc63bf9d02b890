
#include "api/turn.h"
#include "auth/auth.h"
#include "events/listeners.h"
#include "events/parked.h"
#include "events/stream.h"
#include "http/answer.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/text.h"
#include "store/calls.h"


/* entries that are looked at, and may be in memory: 40 KB */
#define LINES_STREAM_PAGE      100

/* ms between two signs of life, from and to: proxies wait for 60 s */
#define LINES_STREAM_BEAT      10000
#define LINES_STREAM_BEATS     15000

/* ms until what Redis did not answer is asked again, from and to */
#define LINES_STREAM_AGAIN     1000
#define LINES_STREAM_AGAINS    2000

/* ms until a client comes again, from and to: all of a worker's at once else */
#define LINES_STREAM_RETRY     1000
#define LINES_STREAM_RETRIES   5000

/* ms in which a client must have taken what was sent */
#define LINES_STREAM_SLOW      30000

/* its key is looked up again in the request's pool, so often at the most */
#define LINES_STREAM_RENEWALS  32

#define LINES_STREAM_ID        15    /* digits */


typedef struct {
    lines_listener_t   listener;
    lines_ctx_t       *ctx;          /* NULL: it has left */
    ngx_event_t        timer;        /* of the next sign of life, or of its
                                        end */
    int64_t            position;     /* in the journal; -1: its end */
    int64_t            told;         /* that the client knows */
    int64_t            until;        /* ms: then its token is over; 0: never */
    ngx_uint_t         methods;      /* by which it was authenticated */
    ngx_msec_t         since;        /* it was begun, */
    ngx_msec_t         sent;         /* what is on its way was sent, */
    ngx_msec_t         due;          /* and a sign of life is to be, where there
                                        is nothing else */
    ngx_buf_t          buf;
    ngx_chain_t        out;
    u_char            *text;         /* of buf, or NULL: sign has it */
    lines_turn_t      *turn;         /* NULL: one page was all, so far */
    u_char             sign[sizeof(":\nid: \n\n") + LINES_STREAM_ID];

    unsigned           renewals:8;
    unsigned           idle:1;       /* nothing is under way */
    unsigned           blocked:1;    /* but what the client has to take */
    unsigned           read:1;       /* there may be news */
    unsigned           said:1;       /* ... as it looks by itself */
    unsigned           more:1;       /* ... and another page before them */
    unsigned           unsure:1;     /* it could not be renewed, */
    unsigned           behind:1;     /* ... or not read */
} lines_stream_t;


static ngx_str_t  stream_type = ngx_string("text/event-stream");
static ngx_str_t  stream_no = ngx_string("no");


static ngx_msec_t
stream_random(ngx_msec_t from, ngx_msec_t to)
{
    return from + (ngx_msec_t) ngx_random() % (to - from);
}


static void
stream_leave(lines_stream_t *s)
{
    lines_ctx_t  *ctx;

    ctx = s->ctx;

    if (ctx == NULL) {
        return;
    }

    s->ctx = NULL;

    lines_listeners_leave(&s->listener);
    lines_parked_leave(LINES_PARKED_STREAM);

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    if (s->since) {
        ctx->waited += ngx_current_msec - s->since;
    }
}


/* before the request is logged */

static void
stream_cleanup(void *data)
{
    lines_stream_t *s = data;

    if (s->ctx) {
        lines_caller_detach(&s->ctx->caller);
        stream_leave(s);
    }

    if (s->text) {
        ngx_free(s->text);
        s->text = NULL;
    }
}


/* it ends, and the client comes again */

static ngx_int_t
stream_end(lines_stream_t *s)
{
    lines_ctx_t         *ctx;
    ngx_http_request_t  *r;

    ctx = s->ctx;
    r = ctx->request;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines stream: \"%V\" ends", &s->listener.tenant);

    stream_leave(s);

    if (ngx_exiting) {
        r->keepalive = 0;
    }

    ngx_memzero(&s->buf, sizeof(ngx_buf_t));

    s->buf.last_buf = 1;
    s->buf.last_in_chain = 1;

    return lines_end(r, ctx, &s->out);
}


/* a worker that is told to go exits as soon as its connections do */

static ngx_uint_t
stream_over(lines_stream_t *s)
{
    ngx_time_t  *tp;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return 1;
    }

    tp = ngx_timeofday();

    return s->until && s->until <= (int64_t) tp->sec * 1000 + (int64_t) tp->msec;
}


/* ms until a sign of life; not more than 0: now */

static ngx_msec_int_t
stream_due(lines_stream_t *s)
{
    return (ngx_msec_int_t) (s->due - ngx_current_msec);
}


/* who is told of other lines' news again and again is sent nothing by that */

static void
stream_timer(lines_stream_t *s)
{
    int64_t         left;
    ngx_msec_t      ms;
    ngx_time_t     *tp;
    ngx_msec_int_t  due;

    due = stream_due(s);

    ms = (s->behind || s->unsure)
         ? stream_random(LINES_STREAM_AGAIN, LINES_STREAM_AGAINS)
         : due > 0 ? (ngx_msec_t) due
                   : stream_random(LINES_STREAM_BEAT, LINES_STREAM_BEATS);

    if (s->until) {
        tp = ngx_timeofday();
        left = s->until - ((int64_t) tp->sec * 1000 + (int64_t) tp->msec);

        /* the clock of timers is another one */

        ms = (left < (int64_t) ms) ? (ngx_msec_t) (left > 0 ? left : 100) : ms;
    }

    ngx_add_timer(&s->timer, ms);
}


static ngx_int_t stream_sent(lines_stream_t *s, ngx_int_t rc);


static void
stream_writer(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    lines_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lines_module);

    rc = lines_part(r, NULL);

    if (rc != NGX_AGAIN) {
        lines_resume(r, ctx, stream_sent(ctx->data, rc));
    }
}


static ngx_int_t
stream_send(lines_stream_t *s, u_char *p, u_char *last)
{
    ngx_memzero(&s->buf, sizeof(ngx_buf_t));

    s->buf.pos = p;
    s->buf.last = last;
    s->buf.temporary = 1;
    s->buf.flush = 1;
    s->buf.last_in_chain = 1;

    s->sent = ngx_current_msec;
    s->due = s->sent + stream_random(LINES_STREAM_BEAT, LINES_STREAM_BEATS);

    return stream_sent(s, lines_part(s->ctx->request, &s->out));
}


/* with a place in the journal that is further on, though the client was told
   nothing of what lies before: it is not to come again from where that is gone */

static ngx_int_t
stream_sign(lines_stream_t *s)
{
    u_char  *p;

    p = ngx_cpymem(s->sign, ":\n", 2);

    if (s->told != s->position) {
        p = ngx_sprintf(p, "id: %L\n", s->position);
        s->told = s->position;
    }

    *p++ = '\n';

    return stream_send(s, s->sign, p);
}


/* all is sent; a step's result, and that of what is done once Redis answered */

static ngx_int_t
stream_next(lines_stream_t *s)
{
    s->listener.told |= s->unsure ? LINES_TOLD_ALL : 0;

    if (stream_over(s)) {
        return stream_end(s);
    }

    if (!s->behind && !s->unsure) {

        if (stream_due(s) <= 0) {
            return stream_sign(s);
        }

        if (s->read || s->listener.told) {
            lines_again_from(s->ctx, lines_stream_renew);
            return NGX_OK;
        }
    }

    s->idle = 1;
    stream_timer(s);

    return NGX_AGAIN;
}


static ngx_int_t
stream_sent(lines_stream_t *s, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = s->ctx->request;

    if (rc == NGX_AGAIN) {
        s->blocked = 1;
        r->write_event_handler = stream_writer;

        return NGX_AGAIN;
    }

    s->blocked = 0;
    r->write_event_handler = ngx_http_request_empty_handler;

    /* what a filter keeps without a word has no bound */

    if (rc != NGX_OK || s->buf.pos != s->buf.last) {
        return NGX_ERROR;
    }

    if (s->text) {
        ngx_free(s->text);
        s->text = NULL;
    }

    return stream_next(s);
}


static void
stream_go(lines_stream_t *s)
{
    lines_ctx_t  *ctx;

    ctx = s->ctx;
    s->idle = 0;

    lines_again_from(ctx, lines_stream_renew);
    lines_resume(ctx->request, ctx, NGX_OK);
}


static void
stream_wake(lines_listener_t *listener)
{
    lines_stream_t *s = (lines_stream_t *) listener;

    lines_ctx_t  *ctx;

    ctx = s->ctx;

    if (s->idle) {
        stream_go(s);
        return;
    }

    /* what a client does not take is not waited for, if it is to end */

    if (s->blocked && (ngx_exiting || (listener->told & LINES_TOLD_WHO))) {
        lines_resume(ctx->request, ctx, NGX_ERROR);
    }
}


static void
stream_timer_handler(ngx_event_t *ev)
{
    lines_stream_t *s = ev->data;

    lines_ctx_t  *ctx;

    ctx = s->ctx;

    /* there is one at any time: for its sake a worker that exits stays until the
       stream has ended */

    stream_timer(s);

    if (s->idle) {
        stream_go(s);
        return;
    }

    if (s->blocked
        && (stream_over(s) || ngx_current_msec - s->sent > LINES_STREAM_SLOW))
    {
        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "lines: a stream of \"%V\" is cut off: the client does "
                      "not take what is sent", &s->listener.tenant);

        lines_resume(ctx->request, ctx, NGX_ERROR);
    }
}


static ngx_int_t
stream_begin(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *line)
{
    ngx_int_t            rc;
    lines_stream_t      *s;
    ngx_table_elt_t     *h;
    ngx_http_cleanup_t  *cln;

    if (r != r->main) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "A stream of events is no part of another answer");
    }

    cln = ngx_http_cleanup_add(r, sizeof(lines_stream_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    s = cln->data;
    ngx_memzero(s, sizeof(lines_stream_t));

    s->position = -1;

    h = lines_find_header(r, "last-event-id");

    if (h && h->value.len) {
        s->position = h->value.len <= LINES_STREAM_ID
                      ? ngx_atoof(h->value.data, h->value.len) : NGX_ERROR;

        if (s->position == NGX_ERROR) {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                               "Last-Event-ID is not one that was given out");
        }
    }

    rc = lines_parked_take(r, ctx, LINES_PARKED_STREAM);

    if (rc != NGX_OK) {
        return rc;
    }

    s->ctx = ctx;
    s->told = s->position;
    s->methods = ctx->identity.rules.methods;
    s->until = ctx->identity.until;
    s->read = 1;
    s->due = ngx_current_msec + LINES_STREAM_BEATS;
    s->out.buf = &s->buf;

    s->timer.handler = stream_timer_handler;
    s->timer.data = s;
    s->timer.log = r->connection->log;

    s->listener.tenant = ctx->identity.tenant;
    s->listener.key_id = ctx->identity.key_id;
    s->listener.wake = stream_wake;
    s->listener.journal = 1;

    if (line) {
        s->listener.line = *line;
    }

    lines_listeners_join(&s->listener);

    /* its key may have been revoked since it was looked at */

    if (s->listener.key_id.len) {
        s->listener.told = LINES_TOLD_ALL;
    }

    stream_timer(s);

    cln->handler = stream_cleanup;
    ctx->data = s;

    return NGX_OK;
}


ngx_int_t
lines_stream_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return stream_begin(r, ctx, NULL);
}


ngx_int_t
lines_stream_begin_line(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return stream_begin(r, ctx, &ctx->params[0]);
}


static ngx_int_t
stream_renewed(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    lines_stream_t *s = ctx->data;

    /* nobody knows: the next time */

    if (rc == NGX_ERROR) {
        s->unsure = 1;
        return stream_next(s);
    }

    (void) lines_settle(r, ctx, rc);

    if (rc != NGX_OK
        || !lines_same(&ctx->identity.tenant, &s->listener.tenant))
    {
        return stream_end(s);
    }

    s->until = ctx->identity.until;

    return NGX_OK;
}


ngx_int_t
lines_stream_renew(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stream_t *s = ctx->data;

    ngx_uint_t  told;

    /* what is told from here on is looked at after this */

    told = s->listener.told;
    s->listener.told = 0;

    s->read |= (told != 0 || s->behind);
    s->behind = 0;
    s->unsure = 0;

    if (ctx->begun && (stream_over(s) || (told & LINES_TOLD_WHO))) {
        return stream_end(s);
    }

    if (!(told & (LINES_TOLD_WHO|LINES_TOLD_ALL))) {
        return NGX_OK;
    }

    ctx->caller.pool = r->pool;

    if (!ctx->begun) {
        return ctx->route->first[0](r, ctx);
    }

    if (++s->renewals > LINES_STREAM_RENEWALS) {
        return stream_end(s);
    }

    return lines_authenticate(r, ctx, s->methods, 0, stream_renewed);
}


static ngx_int_t
stream_said(void *data, lines_wait_put_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    lines_stream_t  *s;

    s = ctx->data;

    if (reply == NULL) {
        s->listener.said = 0;

        if (!ctx->begun) {
            return lines_unavailable(ctx->request, ctx, 1);
        }
    }

    return NGX_OK;
}


/* what this one finds by itself then, others may have missed as well */

ngx_int_t
lines_stream_say(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stream_t *s = ctx->data;

    ngx_int_t  rc;

    /* replies are gone once they are read: nothing is to grow with time */

    ctx->caller.pool = NULL;

    if (!lines_listeners_say(&s->listener)) {
        return NGX_OK;
    }

    s->said = !s->read;
    s->read = 1;

    rc = lines_try_wait_put(&ctx->caller, stream_said, ctx,
                            .tenant = s->listener.tenant,
                            .ms = LINES_LISTENERS_KNOWN);

    return rc == NGX_DECLINED ? stream_said(ctx, NULL) : rc;
}


static ngx_int_t
stream_gone(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    /* the client is told when it comes again */

    if (ctx->begun) {
        return stream_end(ctx->data);
    }

    return lines_error(r, ctx, 410, "events_gone",
                       "What follows Last-Event-ID is not kept any more: "
                       "connect without it, then list all anew");
}


/* the headers, NGX_OK; how long a client is to wait before it comes again, and
   from where it begins */

static ngx_int_t
stream_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    lines_stream_t  *s = ctx->data;

    /* nginx before this one is not to keep what is sent */

    if (lines_add_header(r, "X-Accel-Buffering", &stream_no) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = lines_begin(r, ctx, NGX_HTTP_OK, &stream_type);

    if (rc == NGX_OK) {
        s->since = ngx_current_msec ? ngx_current_msec : 1;
    }

    return rc;
}


static ngx_int_t
stream_texts(lines_stream_t *s, lines_events_page_reply_t *reply,
    ngx_uint_t first)
{
    size_t       size;
    u_char      *p;
    ngx_str_t   *text;
    ngx_uint_t   i;

    text = reply->texts.elts;
    size = first ? sizeof("retry: \nid: \n\n") + 2 * NGX_INT64_LEN : 0;

    for (i = 0; i < reply->texts.n; i++) {
        size += text[i].len;
    }

    if (size == 0) {
        return stream_next(s);
    }

    p = ngx_alloc(size, s->timer.log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    s->text = p;

    if (first) {
        p = ngx_sprintf(p, "retry: %M\nid: %L\n\n",
                        stream_random(LINES_STREAM_RETRY,
                                      LINES_STREAM_RETRIES),
                        s->told);
    }

    for (i = 0; i < reply->texts.n; i++) {
        p = ngx_cpymem(p, text[i].data, text[i].len);
    }

    if (reply->texts.n) {
        s->told = s->position;
    }

    return stream_send(s, s->text, p);
}


static ngx_int_t
stream_page(void *data, lines_events_page_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_int_t        rc;
    ngx_uint_t       first;
    lines_stream_t  *s;

    s = ctx->data;
    first = !ctx->begun;

    if (s->turn) {
        lines_turn_end(s->turn);
    }

    if (reply == NULL) {

        if (first) {
            return lines_unavailable(ctx->request, ctx, 1);
        }

        s->behind = 1;
        return stream_next(s);
    }

    if (reply->is == LINES_EVENTS_PAGE_GONE) {
        return stream_gone(ctx->request, ctx);
    }

    if (s->said && reply->position != s->position) {
        lines_listeners_missed(&s->listener);
    }

    s->said = 0;
    s->more = (reply->more == 1);
    s->read = s->more;

    if (s->told == -1) {
        s->told = reply->position;
    }

    s->position = reply->position;

    if (first) {
        rc = stream_answer(ctx->request, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return stream_texts(s, reply, first);
}


static ngx_int_t
stream_ask(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stream_t *s = ctx->data;

    ngx_int_t  rc;

    s->read = 0;

    rc = lines_try_events_page(&ctx->caller, stream_page, ctx,
                               .tenant = s->listener.tenant,
                               .after = s->position < 0 ? NULL : &s->position,
                               .line = s->listener.line,
                               .most = LINES_STREAM_PAGE);

    return rc == NGX_DECLINED ? stream_page(ctx, NULL) : rc;
}


/* the next time: it is Redis that takes its time, and the client is not to come
   again for that */

static ngx_int_t
stream_late(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stream_t *s = ctx->data;

    s->behind = 1;

    return stream_next(s);
}


/* who comes again may have missed ten thousand, and all its others, too: from
   the second page on they are read by turns, as lists are */

ngx_int_t
lines_stream_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stream_t *s = ctx->data;

    if (!s->read) {
        return stream_next(s);
    }

    if (!s->more) {
        return stream_ask(r, ctx);
    }

    if (s->turn == NULL) {
        s->turn = lines_turn_create(ctx, &s->listener.tenant, stream_ask);

        if (s->turn == NULL) {
            return NGX_ERROR;
        }

        s->turn->late = stream_late;
    }

    return lines_turn_take(s->turn);
}


/*
 * See the header for who owns what.  The order of things here was found by
 * trial: nginx's core must never find anything of a client in this request,
 * nor a way to free it.
 */

#include "http/carrier.h"
#include "http/headers.h"
#include "http/text.h"


static ngx_int_t carrier_open(lines_carrier_t *carrier);
static ngx_int_t carrier_post(ngx_http_request_t *sr, void *data,
    ngx_int_t rc);
static void carrier_next(ngx_event_t *ev);
static void carrier_timer(ngx_event_t *ev);
static ngx_uint_t carrier_abort(lines_carrier_t *carrier);
static void carrier_free(lines_carrier_t *carrier);


static u_char *
carrier_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char  *p;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", operation: \"%V\"",
                        &lines_carrier_of(log)->id);
}


lines_carrier_t *
lines_carrier_create(lines_main_conf_t *lmcf, ngx_str_t *id, ngx_log_t *log)
{
    ngx_pool_t       *pool;
    ngx_event_t       event;
    lines_carrier_t  *carrier;

    if (lmcf->carrier_ctx == NULL) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: no server has the internal locations");
        return NULL;
    }

    /* the pool outlives whoever asks: it must not log to their connection */

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    carrier = ngx_palloc(pool, sizeof(lines_carrier_t));
    if (carrier == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    event = (ngx_event_t) { .data = carrier, .log = &carrier->own_log };

    *carrier = (lines_carrier_t) {
        .pool = pool,
        .log = &carrier->own_log,
        .id = { id->len, ngx_pstrdup(pool, id) },
        .lmcf = lmcf,
        .own_log = *ngx_cycle->log,
        .post = { carrier_post, carrier },
        .next = event,
        .timer = event
    };

    carrier->own_log.handler = carrier_log;
    carrier->own_log.data = &carrier->log_ctx;
    carrier->own_log.action = NULL;

    carrier->next.handler = carrier_next;
    carrier->timer.handler = carrier_timer;

    if (carrier->id.data) {
        carrier->connection = ngx_get_connection(0, carrier->log);
    }

    if (carrier->connection == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    if (carrier_open(carrier) != NGX_OK) {
        carrier_free(carrier);
        return NULL;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines carrier %V: create %p", &carrier->id, carrier);

    return carrier;
}


static void
carrier_stray(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_ALERT, ev->log, 0,
                  "lines: an event on a carrier's connection");
}


static ngx_int_t
carrier_open(lines_carrier_t *carrier)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = carrier->connection;

    c->fd = (ngx_socket_t) -1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    carrier->own_log.connection = c->number;
    carrier->log_ctx.connection = c;

    c->log = carrier->log;
    c->read->log = carrier->log;
    c->write->log = carrier->log;

    c->read->handler = carrier_stray;
    c->write->handler = carrier_stray;

    /* else nginx adds the descriptor that there is none of to epoll */

    c->read->active = 1;
    c->write->active = 1;
    c->write->ready = 1;

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    carrier->sockaddr.sin_family = AF_INET;
    carrier->sockaddr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->sockaddr = (struct sockaddr *) &carrier->sockaddr;
    c->socklen = sizeof(struct sockaddr_in);
    ngx_str_set(&c->addr_text, "127.0.0.1");
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;

    carrier->hc.conf_ctx = carrier->lmcf->carrier_ctx;
    c->data = &carrier->hc;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    carrier->request = r;

    c->data = r;
    c->pool = r->pool;

    /* core can neither terminate nor free it */
    r->blocked = 1;

    r->method = NGX_HTTP_GET;
    r->method_name = ngx_http_core_get_method;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");
    ngx_str_set(&r->request_line, "GET / HTTP/1.1");
    ngx_str_set(&r->uri, "/");
    r->unparsed_uri = r->uri;

    r->read_event_handler = ngx_http_request_empty_handler;
    r->write_event_handler = ngx_http_request_empty_handler;
    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;

    /* as if limit_req and limit_conn had let it pass: they are for clients,
       and a delay would wait for an event of this connection */

    r->limit_req_status = 1;
    r->limit_conn_status = 1;

    return ngx_list_init(&r->headers_in.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t));
}


/* the directive's location that a call to uri goes to; NULL: none */

static lines_location_t *
find_location(lines_main_conf_t *lmcf, ngx_str_t *uri)
{
    lines_location_t  *location, *found;

    found = NULL;

    for (location = lmcf->locations; location; location = location->next) {

        if (uri->len < location->uri.len
            || ngx_memcmp(uri->data, location->uri.data, location->uri.len)
               != 0)
        {
            continue;
        }

        /* of two directives with one location, the stricter */

        if (found == NULL
            || location->uri.len > found->uri.len
            || (location->uri.len == found->uri.len && !location->plain))
        {
            found = location;
        }
    }

    return found;
}


static ngx_int_t
call_header(ngx_http_request_t *sr, ngx_str_t *name, ngx_str_t *value)
{
    u_char           *p;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    /* a header's value comes from the network now and then */

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x20 || value->data[i] == 0x7f) {
            return NGX_ERROR;
        }
    }

    h = ngx_list_push(&sr->headers_in.headers);
    p = ngx_pnalloc(sr->pool, 2 * name->len + value->len + 1);

    if (h == NULL || p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->lowcase_key = p;
    h->hash = ngx_hash_strlow(p, name->data, name->len);
    h->key.data = p + name->len;
    h->key.len = name->len;
    h->value.data = h->key.data + name->len;
    h->value.len = value->len;

    ngx_sprintf(h->key.data, "%V%V%Z", name, value);

    return NGX_OK;
}


/*
 * Gives a subrequest that was just created method, headers and body of its
 * own.  NGX_ERROR: out of memory, or a header with control characters.
 */

static ngx_int_t
call_edit(ngx_http_request_t *sr, lines_call_t *call,
    lines_carrier_t *carrier)
{
    u_char        buffer[NGX_OFF_T_LEN];
    ngx_buf_t    *b;
    ngx_str_t     value;
    ngx_uint_t    i, named;
    ngx_chain_t  *cl;

    static ngx_str_t  request_id = ngx_string("X-Request-Id");
    static ngx_str_t  trace = ngx_string("traceparent");
    static ngx_str_t  length = ngx_string("Content-Length");

    /* it is created as a GET */

    sr->method = call->method;

    if (call->method == NGX_HTTP_POST) {
        ngx_str_set(&sr->method_name, "POST");

    } else if (call->method == NGX_HTTP_DELETE) {
        ngx_str_set(&sr->method_name, "DELETE");
    }

    ngx_memzero(&sr->headers_in, sizeof(ngx_http_headers_in_t));

    sr->headers_in.content_length_n = -1;
    sr->headers_in.keep_alive_n = -1;

    /* a body of its own, be it empty, so that nginx looks for no other */

    sr->request_body = ngx_pcalloc(sr->pool, sizeof(ngx_http_request_body_t));

    if (sr->request_body == NULL
        || ngx_list_init(&sr->headers_in.headers, sr->pool, 8,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    named = 0;

    for (i = 0; i < call->nheaders; i++) {

        named |= lines_is_nocase(&call->headers[i].key, "X-Request-Id");

        if (call_header(sr, &call->headers[i].key, &call->headers[i].value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (!named && call_header(sr, &request_id, &carrier->id) != NGX_OK) {
        return NGX_ERROR;
    }

    if (carrier->trace.len
        && call_header(sr, &trace, &carrier->trace) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (call->body.len || call->method == NGX_HTTP_POST) {

        sr->headers_in.content_length_n = call->body.len;

        value.data = buffer;
        value.len = ngx_sprintf(buffer, "%uz", call->body.len) - buffer;

        if (call_header(sr, &length, &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (call->body.len == 0) {
        return NGX_OK;
    }

    b = ngx_create_temp_buf(sr->pool, call->body.len);
    cl = ngx_alloc_chain_link(sr->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, call->body.data, call->body.len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    *cl = (ngx_chain_t) { .buf = b };

    sr->request_body->buf = b;
    sr->request_body->bufs = cl;

    return NGX_OK;
}


ngx_int_t
lines_carrier_call(lines_carrier_t *carrier, lines_call_t *call,
    lines_call_pt handler, void *data)
{
    ngx_str_t            uri, args;
    ngx_http_request_t  *r, *sr;

    if (carrier->calling || carrier->destroyed || carrier->timer.timer_set) {
        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: a call on a busy carrier");
        return NGX_ERROR;
    }

    carrier->location = find_location(carrier->lmcf, &call->uri);

    if (carrier->location == NULL) {
        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: a call to \"%V\", which no directive names",
                      &call->uri);
        return NGX_ERROR;
    }

    carrier->entered = 0;
    carrier->passed = 0;

    r = carrier->request;

    uri.len = call->uri.len;
    uri.data = ngx_pstrdup(r->pool, &call->uri);
    args.len = call->args.len;
    args.data = args.len ? ngx_pstrdup(r->pool, &call->args) : uri.data;

    if (uri.data == NULL
        || args.data == NULL
        || ngx_http_subrequest(r, &uri, &args, &sr, &carrier->post,
                               NGX_HTTP_SUBREQUEST_IN_MEMORY
                               |NGX_HTTP_SUBREQUEST_BACKGROUND)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the subrequest is posted only: it runs below */

    if (call_edit(sr, call, carrier) != NGX_OK) {
        r->posted_requests = NULL;
        r->count--;
        return NGX_ERROR;
    }

    ngx_memzero(&carrier->result, sizeof(lines_result_t));

    carrier->subrequest = sr;
    carrier->of = call->of;
    carrier->peer = call->peer;
    carrier->peer_len = call->peer_len;
    carrier->peer_name = call->peer_name;
    carrier->handler = handler;
    carrier->data = data;
    carrier->start = ngx_current_msec;
    carrier->calling = 1;

    if (call->timeout) {
        ngx_add_timer(&carrier->timer, call->timeout);
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines carrier %V: %V \"%V\", %uz bytes", &carrier->id,
                   &sr->method_name, &uri, call->body.len);

    ngx_http_run_posted_requests(carrier->connection);

    return NGX_AGAIN;
}


/* NULL: an answer, whole */

static const char *
call_incomplete(ngx_http_request_t *sr, ngx_int_t rc, off_t len)
{
    ngx_http_upstream_t  *u;

    u = sr->upstream;

    if (rc != NGX_OK) {
        return "ended by nginx";
    }

    if (u == NULL || sr->headers_out.status == 0) {
        return "without an upstream or a status";
    }

    if (sr->connection->error) {
        return "connection error";
    }

    /* a 200 is what nginx says of a body that broke off, too */

    if (u->buffering) {
        if (u->pipe == NULL
            || !u->pipe->upstream_done
            || u->pipe->downstream_error)
        {
            return "its buffered body broke off";
        }

    } else if (u->length != 0) {
        return "its body broke off";
    }

    if (u->headers_in.content_length_n != -1
        && u->headers_in.content_length_n != len)
    {
        return "another length than its header says";
    }

    return NULL;
}


/* what became of it; strings stay in the subrequest */

static void
call_result(lines_carrier_t *carrier, ngx_http_request_t *sr, ngx_int_t rc)
{
    time_t                when;
    ngx_str_t             body;
    const char           *why;
    ngx_table_elt_t      *h;
    lines_result_t       *result;
    ngx_http_upstream_t  *u;

    u = sr->upstream;
    result = &carrier->result;

    result->retry_after = -1;
    result->elapsed = ngx_current_msec - carrier->start;

    ngx_str_null(&body);

    if (sr->out && sr->out->buf) {
        body.data = sr->out->buf->pos;
        body.len = sr->out->buf->last - sr->out->buf->pos;
    }

    why = call_incomplete(sr, rc, body.len);

    if (why) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                       "lines call %V: no answer, %s, sent:%d", &carrier->id,
                       why, u && u->request_sent);

        result->transport = (u && u->request_sent)
                            ? LINES_UNKNOWN
                            : LINES_UNSENT;
        result->begun = u ? u->headers_in.status_n : 0;
        return;
    }

    result->transport = LINES_COMPLETE;
    result->status = sr->headers_out.status;
    result->headers = &u->headers_in.headers;
    result->body = body;

    h = lines_header_in(result->headers, "retry-after", NULL);

    if (h) {
        when = ngx_atotm(h->value.data, h->value.len);

        if (when == NGX_ERROR) {
            when = ngx_parse_http_time(h->value.data, h->value.len);
            when = (when == NGX_ERROR) ? -1 : ngx_max(when - ngx_time(), 0);
        }

        result->retry_after = when;
    }
}


/* nginx may call it more than once, unless it returns NGX_OK */

static ngx_int_t
carrier_post(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    lines_carrier_t  *carrier = data;

    lines_result_t  *result;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines carrier %V: end rc:%i status:%ui", &carrier->id, rc,
                   sr->headers_out.status);

    if (carrier->subrequest != sr) {
        return NGX_OK;
    }

    carrier->subrequest = NULL;

    /* only what comes of the request that the guard let go is an answer: no
       file, and nothing that a redirect put in its place */

    if (rc == NGX_OK
        && (!carrier->passed || sr->uri_changes != carrier->uri_changes))
    {
        rc = NGX_ERROR;
    }

    call_result(carrier, sr, rc);

    result = &carrier->result;

    if (result->transport != LINES_COMPLETE) {
        ngx_log_error(NGX_LOG_ERR, carrier->log, 0,
                      "lines: call to \"%V\" %s (%i, %ui)", &sr->uri,
                      result->transport == LINES_UNSENT
                      ? "was not sent"
                      : "has no whole answer", rc, sr->headers_out.status);
    }

    /* what an error leaves in the connection would reach the next call, or
       leave a timer behind */

    sr->connection->error = 0;
    sr->buffered = 0;

    if (carrier->timer.timer_set) {
        ngx_del_timer(&carrier->timer);
    }

    ngx_post_event(&carrier->next, &ngx_posted_events);

    return NGX_OK;
}


void
lines_carrier_wait(lines_carrier_t *carrier, ngx_msec_t delay,
    lines_wait_pt handler, void *data)
{
    if (carrier->calling || carrier->destroyed || carrier->timer.timer_set) {
        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: a wait on a busy carrier");
        return;
    }

    carrier->wait = handler;
    carrier->data = data;

    ngx_add_timer(&carrier->timer, delay);
}


void
lines_carrier_queue(lines_carrier_t *carrier, ngx_queue_t *queue,
    ngx_uint_t rank, ngx_msec_t delay, lines_wait_pt handler, void *data)
{
    ngx_queue_t  *q;

    lines_carrier_wait(carrier, delay, handler, data);

    q = ngx_queue_last(queue);

    while (q != queue && lines_carrier_queued(q)->rank > rank) {
        q = ngx_queue_prev(q);
    }

    ngx_queue_insert_after(q, &carrier->queue);

    carrier->rank = rank;
    carrier->start = ngx_current_msec;
    carrier->queued = 1;
    carrier->late = 0;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines carrier %V: waits for its turn, rank:%ui, %M ms",
                   &carrier->id, rank, delay);
}


static void
carrier_unqueue(lines_carrier_t *carrier)
{
    if (carrier->queued) {
        ngx_queue_remove(&carrier->queue);
        carrier->queued = 0;
    }
}


void
lines_carrier_turn(lines_carrier_t *carrier)
{
    carrier_unqueue(carrier);
    ngx_del_timer(&carrier->timer);

    carrier->wait(carrier->data);
}


static void
carrier_next(ngx_event_t *ev)
{
    lines_carrier_t  *carrier = ev->data;

    u_char        *body;
    lines_call_pt  handler;

    if (carrier->destroyed) {

        if (carrier->subrequest) {
            /* a call that cannot be aborted: its end comes here again */
            return;
        }

        carrier_free(carrier);
        return;
    }

    handler = carrier->handler;

    carrier->handler = NULL;
    carrier->calling = 0;
    carrier->of = NULL;

    body = carrier->result.body.data;

    handler(carrier->data, &carrier->result);

    /* a long operation would gather all of its answers; the carrier itself
       goes with an event, and is still there */

    if (body) {
        (void) ngx_pfree(carrier->request->pool, body);
    }
}


static void
carrier_timer(ngx_event_t *ev)
{
    lines_carrier_t  *carrier = ev->data;

    lines_wait_pt  wait;

    if (!carrier->calling) {
        wait = carrier->wait;
        carrier->wait = NULL;

        carrier->late = carrier->queued;
        carrier_unqueue(carrier);

        wait(carrier->data);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, carrier->log, 0,
                  "lines: call timed out after %M ms",
                  ngx_current_msec - carrier->start);

    if (!carrier_abort(carrier)) {
        /* no upstream to close: the location answers in the end, or not */
        return;
    }

    ngx_post_event(&carrier->next, &ngx_posted_events);
}


/*
 * What ngx_http_terminate_request() does to subrequests: the upstream's own
 * cleanup closes its connection and gives up the subrequest's reference.
 */

static ngx_uint_t
carrier_abort(lines_carrier_t *carrier)
{
    ngx_http_request_t   *sr;
    ngx_http_upstream_t  *u;
    ngx_http_cleanup_pt   cleanup;

    sr = carrier->subrequest;

    if (sr == NULL) {
        return 1;
    }

    u = sr->upstream;

    if (u == NULL || u->cleanup == NULL || *u->cleanup == NULL) {
        return 0;
    }

    call_result(carrier, sr, NGX_ERROR);

    carrier->subrequest = NULL;

    cleanup = *u->cleanup;
    cleanup(sr);

    sr->connection->error = 0;
    sr->buffered = 0;

    return 1;
}


void
lines_carrier_destroy(lines_carrier_t *carrier)
{
    if (carrier->destroyed) {
        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: carrier is destroyed twice");
        return;
    }

    carrier->destroyed = 1;

    carrier_unqueue(carrier);

    if (carrier->timer.timer_set) {
        ngx_del_timer(&carrier->timer);
    }

    (void) carrier_abort(carrier);

    ngx_post_event(&carrier->next, &ngx_posted_events);
}


static void
carrier_free(lines_carrier_t *carrier)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = carrier->connection;
    r = carrier->request;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines carrier %V: free %p", &carrier->id, carrier);

    if (r) {

        if (r->count != 1
            || r->posted_requests
            || carrier->timer.timer_set
            || c->read->timer_set
            || c->write->timer_set
            || c->read->posted
            || c->write->posted)
        {
            /* freeing what is still referred to would be worse than a leak */

            ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                          "lines: carrier is not idle: count:%d "
                          "timers:%d,%d posted:%d,%d", r->count,
                          c->read->timer_set, c->write->timer_set,
                          c->read->posted, c->write->posted);
            return;
        }

        r->logged = 1;
        r->blocked = 0;

        ngx_http_free_request(r, 0);
    }

    c->destroyed = 1;
    c->pool = NULL;
    c->data = NULL;

    c->read->active = 0;
    c->write->active = 0;
    c->read->closed = 1;
    c->write->closed = 1;

    /* as ngx_get_connection() was told: methods that keep a table of
       descriptors look themselves up in it */

    c->fd = 0;
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    ngx_destroy_pool(carrier->pool);
}


lines_carrier_t *
lines_carrier_of(ngx_log_t *log)
{
    return log->handler == carrier_log
           ? ngx_queue_data(log->data, lines_carrier_t, log_ctx)
           : NULL;
}

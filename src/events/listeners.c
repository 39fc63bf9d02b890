
#include "events/listeners.h"
#include "http/text.h"


#define LINES_LISTENERS_PLACES  512

/* so many are woken at a time, then others have their turn */
#define LINES_LISTENERS_TURN    64
#define LINES_LISTENERS_NEXT    1      /* ms */

/* where all are woken, so many at a time: 10,000 within two seconds */
#define LINES_LISTENERS_PACE    10
#define LINES_LISTENERS_AWAY    250    /* that Redis cannot be asked */


/* of this worker */

static struct {
    lines_main_conf_t  *lmcf;
    ngx_queue_t         places[LINES_LISTENERS_PLACES];    /* by tenant's hash */
    ngx_queue_t         due;
    ngx_event_t         wake;
    ngx_event_t         all;       /* they become due, from */
    ngx_uint_t          next;      /* this place on, */
    ngx_uint_t          left;      /* in so many of them */
    ngx_connection_t   *exiting;   /* by which nginx says that it begins to */
} listeners;


static ngx_queue_t *
listeners_place(ngx_str_t *tenant)
{
    return &listeners.places[ngx_murmur_hash2(tenant->data, tenant->len)
                           % LINES_LISTENERS_PLACES];
}


void
lines_listeners_join(lines_listener_t *listener)
{
    listener->woken = 0;
    listener->said = 0;
    listener->told = 0;

    ngx_queue_insert_tail(listeners_place(&listener->tenant), &listener->queue);
}


void
lines_listeners_leave(lines_listener_t *listener)
{
    ngx_queue_remove(&listener->queue);

    if (listener->woken) {
        listener->woken = 0;
        ngx_queue_remove(&listener->due);
    }
}


/* who said it last is the first of its tenant's in their place */

ngx_uint_t
lines_listeners_say(lines_listener_t *listener)
{
    ngx_queue_t       *q, *place;
    lines_listener_t  *other;

    place = listeners_place(&listener->tenant);

    for (q = ngx_queue_head(place); q != place; q = ngx_queue_next(q)) {
        other = ngx_queue_data(q, lines_listener_t, queue);

        if (!lines_same(&other->tenant, &listener->tenant)) {
            continue;
        }

        if (other->said
            && ngx_current_msec - other->said_at < LINES_LISTENERS_SAY)
        {
            return 0;
        }

        break;
    }

    listener->said = 1;
    listener->said_at = ngx_current_msec;

    ngx_queue_remove(&listener->queue);
    ngx_queue_insert_head(place, &listener->queue);

    return 1;
}


static void
listeners_due(lines_listener_t *listener, ngx_uint_t why)
{
    listener->told |= why;

    if (listener->woken) {
        return;
    }

    listener->woken = 1;
    ngx_queue_insert_tail(&listeners.due, &listener->due);

    if (!listeners.wake.timer_set) {
        ngx_post_event(&listeners.wake, &ngx_posted_events);
    }
}


/* one of them may take others along, which leave the queue then */

static void
listeners_wake_handler(ngx_event_t *ev)
{
    ngx_uint_t       n;
    ngx_queue_t     *q;
    lines_listener_t  *listener;

    for (n = 0;
         n < LINES_LISTENERS_TURN && !ngx_queue_empty(&listeners.due);
         n++)
    {
        q = ngx_queue_head(&listeners.due);
        listener = ngx_queue_data(q, lines_listener_t, due);

        ngx_queue_remove(q);
        listener->woken = 0;

        listener->wake(listener);
    }

    if (!ngx_queue_empty(&listeners.due) && !ev->timer_set) {
        ngx_add_timer(ev, LINES_LISTENERS_NEXT);
    }
}


/*
 * All of them, and no herd.  A look in vain would be an error to its client: as
 * long as Redis is away they wait for it, and for no longer than each may.
 */

static void
listeners_all_handler(ngx_event_t *ev)
{
    ngx_uint_t             n;
    ngx_queue_t           *q, *place;
    lines_listener_t      *listener;
    lines_redis_status_t   status;

    lines_redis_status(listeners.lmcf->redis, &status);

    if (!status.serves && !ngx_exiting) {
        ngx_add_timer(ev, LINES_LISTENERS_AWAY);
        return;
    }

    for (n = 0; listeners.left && n < LINES_LISTENERS_TURN; listeners.left--) {
        place = &listeners.places[listeners.next];

        for (q = ngx_queue_head(place); q != place; q = ngx_queue_next(q)) {
            listener = ngx_queue_data(q, lines_listener_t, queue);

            /* whether Redis knows still that it waits is not known */

            listener->said = 0;
            listeners_due(listener, LINES_TOLD_ALL);
            n++;
        }

        listeners.next = (listeners.next + 1) % LINES_LISTENERS_PLACES;
    }

    if (listeners.left) {
        ngx_add_timer(ev, LINES_LISTENERS_PACE);
    }
}


/* what began before goes on, and once around from here */

static void
listeners_all(void)
{
    listeners.left = LINES_LISTENERS_PLACES;

    if (listeners.all.timer_set) {
        ngx_del_timer(&listeners.all);
    }

    ngx_add_timer(&listeners.all, 1);
}


/* line: that one; NULL: the journal */

static ngx_uint_t
listeners_meant(lines_listener_t *listener, ngx_str_t *line)
{
    return line ? !listener->journal && lines_same(&listener->line, line)
                : listener->journal;
}


static void
listeners_told_tenant(ngx_str_t *tenant, ngx_str_t *line, ngx_uint_t why)
{
    ngx_queue_t     *q, *place;
    lines_listener_t  *listener;

    place = listeners_place(tenant);

    for (q = ngx_queue_head(place); q != place; q = ngx_queue_next(q)) {
        listener = ngx_queue_data(q, lines_listener_t, queue);

        if (lines_same(&listener->tenant, tenant)
            && (why == LINES_TOLD_WHO || listeners_meant(listener, line)))
        {
            listeners_due(listener, why);
        }
    }
}


void
lines_listeners_missed(lines_listener_t *listener)
{
    listeners_told_tenant(&listener->tenant, NULL, LINES_TOLD_NEWS);
}


static void
listeners_told_key(ngx_str_t *id)
{
    ngx_uint_t       i;
    ngx_queue_t     *q, *place;
    lines_listener_t  *listener;

    for (i = 0; i < LINES_LISTENERS_PLACES; i++) {
        place = &listeners.places[i];

        for (q = ngx_queue_head(place); q != place; q = ngx_queue_next(q)) {
            listener = ngx_queue_data(q, lines_listener_t, queue);

            if (lines_same(&listener->key_id, id)) {
                listeners_due(listener, LINES_TOLD_WHO);
            }
        }
    }
}


void
lines_listeners_told(ngx_str_t *message)
{
    ngx_str_t  word, tenant, rest;

    if (listeners.lmcf == NULL) {
        return;
    }

    if (message == NULL) {
        listeners_all();
        return;
    }

    rest = *message;
    word = lines_word(&rest);

    if (lines_is(&word, "line")) {
        tenant = lines_word(&rest);
        listeners_told_tenant(&tenant, &rest, LINES_TOLD_NEWS);

    } else if (lines_is(&word, "event")) {
        listeners_told_tenant(&rest, NULL, LINES_TOLD_NEWS);

    } else if (lines_is(&word, "hooks")) {
        /* of who delivers */

    } else if (message->len > 2 && message->data[1] == ':') {
        listeners_told_tenant(message, NULL, LINES_TOLD_WHO);

    } else {
        listeners_told_key(message);
    }
}


/* as nginx tells a connection that idles */

static void
listeners_exiting(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close) {
        c->close = 0;
        listeners_all();
    }
}


static void
listeners_stub(ngx_event_t *ev)
{
    /* void */
}


ngx_int_t
lines_listeners_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t         i;
    ngx_socket_t       s;
    ngx_connection_t  *c;

    for (i = 0; i < LINES_LISTENERS_PLACES; i++) {
        ngx_queue_init(&listeners.places[i]);
    }

    ngx_queue_init(&listeners.due);

    listeners.wake.handler = listeners_wake_handler;
    listeners.wake.data = &listeners;
    listeners.wake.log = cycle->log;

    listeners.all.handler = listeners_all_handler;
    listeners.all.data = &listeners;
    listeners.all.log = cycle->log;
    listeners.all.cancelable = 1;

    /* nothing ever comes on it */

    s = ngx_socket(AF_UNIX, SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    c->idle = 1;
    c->read->handler = listeners_exiting;
    c->read->log = cycle->log;
    c->write->handler = listeners_stub;
    c->write->log = cycle->log;

    listeners.exiting = c;
    listeners.lmcf = lmcf;

    return NGX_OK;
}


void
lines_listeners_exit_process(void)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    c = listeners.exiting;

    if (c == NULL) {
        return;
    }

    listeners.lmcf = NULL;
    listeners.exiting = NULL;

    s = c->fd;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    (void) ngx_close_socket(s);
}

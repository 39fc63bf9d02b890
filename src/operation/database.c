
#include "billing/billing.h"
#include "http/carrier.h"
#include "http/text.h"
#include "http/zone.h"
#include "operation/database.h"


#define LINES_DATABASE_LOOK    1000      /* ms between two looks of a node */
#define LINES_DATABASE_RETRY   5000      /* the anchor could not be read */
#define LINES_DATABASE_MINUTE  60000
#define LINES_DATABASE_ANCHOR  300000    /* between two writes of it */


/* of each worker; the first goes on looking */

typedef struct {
    lines_main_conf_t  *lmcf;
    lines_caller_t      caller;
    ngx_event_t         timer;
    lines_carrier_t    *carrier;         /* a call about the anchor runs */
    uint32_t            of;              /* which Redis, and deployment */
    ngx_uint_t          looked;          /* flag: this worker has */
} database_watch_t;


static lines_database_found_t *database_found(lines_database_area_t *area);
static ngx_int_t database_asked(void *data,
    lines_database_check_reply_t *reply);
static void database_tick(ngx_event_t *ev);
static ngx_int_t database_looked(void *data,
    lines_database_check_reply_t *reply);
static ngx_int_t database_anchor(lines_billing_kind_e kind, ngx_str_t *id,
    int64_t watermark, lines_billing_pt handler);
static void database_told(void *data, lines_billing_result_t *result);
static void database_remember(ngx_str_t *text);
static void database_written(void *data, lines_billing_result_t *result);


static database_watch_t  watch;


#define database_area(lmcf)                                                   \
    ((lines_database_area_t *) lines_zone_area(lmcf, LINES_ZONE_DATABASE))

#define database_lock(lmcf)    ngx_shmtx_lock(&lines_zone_pool(lmcf)->mutex)
#define database_unlock(lmcf)  ngx_shmtx_unlock(&lines_zone_pool(lmcf)->mutex)


void *
lines_database_init_area(ngx_slab_pool_t *shpool)
{
    return ngx_slab_calloc(shpool, sizeof(lines_database_area_t));
}


ngx_int_t
lines_database_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    if (lmcf->billing == NULL) {
        return NGX_OK;
    }

    watch.lmcf = lmcf;

    ngx_crc32_init(watch.of);
    ngx_crc32_update(&watch.of, lmcf->redis_conf.name.data,
                     lmcf->redis_conf.name.len);
    ngx_crc32_update(&watch.of, lmcf->billing->deployment.data,
                     lmcf->billing->deployment.len);
    ngx_crc32_final(watch.of);

    lines_caller_init(&watch.caller, lmcf->redis, NULL, cycle->log);

    watch.timer.handler = database_tick;
    watch.timer.data = lmcf;
    watch.timer.log = cycle->log;
    watch.timer.cancelable = 1;

    ngx_add_timer(&watch.timer, 1);

    return NGX_OK;
}


void
lines_database_exit_process(lines_main_conf_t *lmcf)
{
    if (watch.lmcf == NULL) {
        return;
    }

    if (watch.timer.timer_set) {
        ngx_del_timer(&watch.timer);
    }

    lines_caller_detach(&watch.caller);
}


lines_database_e
lines_database_state(lines_main_conf_t *lmcf, lines_database_t *known)
{
    lines_database_t         now;
    lines_database_found_t  *found;

    if (lmcf->billing == NULL) {
        return LINES_DATABASE_FINE;
    }

    database_lock(lmcf);

    now = database_area(lmcf)->known;
    found = database_found(database_area(lmcf));

    if (found) {
        now.found = *found;
    }

    database_unlock(lmcf);

    if (known) {
        *known = now;
    }

    if (now.found.reason[0]) {
        return LINES_DATABASE_HELD;
    }

    /* it may be that a reload came to it, after others had it */

    if (now.found.looked) {
        return watch.looked ? LINES_DATABASE_FINE : LINES_DATABASE_UNKNOWN;
    }

    return lmcf->billing->anchor.len && (now.len || !now.told)
           ? LINES_DATABASE_UNTOLD : LINES_DATABASE_UNKNOWN;
}


static lines_database_found_t *
database_found(lines_database_area_t *area)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_min(area->n, LINES_DATABASES); i++) {
        if (area->found[i].of == watch.of) {
            return &area->found[i];
        }
    }

    return NULL;
}


ngx_uint_t
lines_database_ours(lines_main_conf_t *lmcf)
{
    return lmcf->billing == NULL
           || (watch.looked && !lines_database_alone(lmcf));
}


ngx_uint_t
lines_database_alone(lines_main_conf_t *lmcf)
{
    lines_database_t  known;

    return lines_database_state(lmcf, &known) == LINES_DATABASE_HELD
           && known.found.alone;
}


ngx_int_t
lines_database_meet(lines_main_conf_t *lmcf, lines_caller_t *caller)
{
    return lines_database_state(lmcf, NULL) == LINES_DATABASE_UNKNOWN
           ? lines_database_ask(lmcf, caller) : NGX_OK;
}


ngx_int_t
lines_database_ask(lines_main_conf_t *lmcf, lines_caller_t *caller)
{
    return lines_database_look(lmcf, caller, 0, database_asked, lmcf);
}


static ngx_int_t
database_asked(void *data, lines_database_check_reply_t *reply)
{
    lines_database_saw(data, reply);

    return NGX_OK;
}


ngx_int_t
lines_database_look(lines_main_conf_t *lmcf, lines_caller_t *caller,
    ngx_uint_t confirm, lines_database_check_pt done, void *data)
{
    u_char            id[LINES_ID_LEN];
    int64_t           after;
    lines_database_t  known;

    (void) lines_database_state(lmcf, &known);

    if (lines_id(id) != NGX_OK) {
        return NGX_ERROR;
    }

    after = LINES_DATABASE_ANCHOR;

    return lines_database_check(caller, done, data,
               .known.data = known.id, .known.len = known.len,
               .watermark = known.watermark,
               .id.data = id, .id.len = LINES_ID_LEN,
               .raise = known.len
                        && lines_zone_since(known.rose)
                           >= LINES_DATABASE_MINUTE,
               .confirm = confirm,
               .after = (caller == &watch.caller && watch.carrier == NULL
                         && lmcf->billing->anchor.len)
                        ? &after : NULL,
               .deployment = lmcf->billing->deployment);
}


void
lines_database_saw(lines_main_conf_t *lmcf,
    lines_database_check_reply_t *reply)
{
    size_t                   len;
    ngx_uint_t               was, held;
    lines_database_t        *known;
    lines_database_area_t   *area;
    lines_database_found_t  *found;

    area = database_area(lmcf);
    known = &area->known;
    held = (reply->is == LINES_DATABASE_CHECK_HELD);

    database_lock(lmcf);

    found = database_found(area);

    if (found == NULL) {
        found = &area->found[area->n++ % LINES_DATABASES];
        ngx_memzero(found, sizeof(lines_database_found_t));
        found->of = watch.of;
    }

    was = (found->reason[0] != 0);

    found->alone = (held && reply->whose.len);

    if (held) {
        len = ngx_min(reply->reason.len, LINES_DATABASE_REASON);

        ngx_memcpy(found->reason, reply->reason.data, len);
        found->reason[len] = '\0';

    } else if (reply->id.len == LINES_ID_LEN) {

        /* of replies that overtake each other the highest counts */

        if (known->len == 0
            || ngx_memcmp(known->id, reply->id.data, LINES_ID_LEN) != 0
            || reply->watermark > known->watermark)
        {
            ngx_memcpy(known->id, reply->id.data, LINES_ID_LEN);

            known->len = LINES_ID_LEN;
            known->watermark = reply->watermark;
            known->rose = ngx_current_msec;
        }

        found->born = reply->born;
        found->reason[0] = '\0';
        found->looked = 1;
    }

    database_unlock(lmcf);

    watch.looked = 1;

    if (held && !was && reply->whose.len) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: Redis is not the database that it was, but that "
                      "of deployment \"%V\", which goes on with it: nothing is "
                      "canceled, refunded or charged by this node until "
                      "lines_redis is right, or it is confirmed, by POST "
                      "database/confirm of lines_admin", &reply->whose);

    } else if (held && !was) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: Redis is not the database that it was (%V): "
                      "nothing is canceled, refunded or charged until it is "
                      "confirmed, by POST database/confirm of lines_admin",
                      &reply->reason);

    } else if (was && !held) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines: Redis is the database, and no longer held");
    }
}


static void
database_tick(ngx_event_t *ev)
{
    ngx_str_t             none;
    ngx_msec_t            delay;
    lines_database_e      state;
    lines_database_t      known;
    lines_redis_status_t  status;

    if (ngx_exiting || ngx_quit || ngx_terminate || watch.lmcf->redis == NULL)
    {
        return;
    }

    /* one worker of a node is enough, once all know where they are */

    if (ngx_worker != 0 && watch.looked) {
        return;
    }

    delay = LINES_DATABASE_LOOK;
    state = lines_database_state(watch.lmcf, &known);

    if (state == LINES_DATABASE_UNTOLD && known.len == 0) {

        /* before anything is believed that Redis says */

        ngx_str_null(&none);

        if (ngx_worker == 0 && watch.carrier == NULL) {
            (void) database_anchor(LINES_BILLING_CUSTOMER, &none, 0,
                                   database_told);
            delay = LINES_DATABASE_RETRY;
        }

        ngx_add_timer(ev, delay);
        return;
    }

    lines_redis_status(watch.lmcf->redis, &status);

    if (!status.serves) {

        /* the first look is not to come a second late */

        if (!watch.looked) {
            delay = 10;
        }

    } else if (!lines_caller_busy(&watch.caller)) {
        (void) lines_database_look(watch.lmcf, &watch.caller, 0,
                                   database_looked, NULL);
    }

    ngx_add_timer(ev, delay);
}


static ngx_int_t
database_looked(void *data, lines_database_check_reply_t *reply)
{
    lines_database_saw(watch.lmcf, reply);

    if (reply->is == LINES_DATABASE_CHECK_FINE && reply->anchor) {
        (void) database_anchor(LINES_BILLING_ANCHOR, &reply->id,
                               reply->watermark, database_written);
    }

    return NGX_OK;
}


static ngx_int_t
database_anchor(lines_billing_kind_e kind, ngx_str_t *id, int64_t watermark,
    lines_billing_pt handler)
{
    ngx_str_t             text, name = ngx_string("database");
    lines_carrier_t      *carrier;
    lines_billing_ask_t   ask;

    carrier = lines_carrier_create(watch.lmcf, &name, ngx_cycle->log);
    if (carrier == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ask, sizeof(lines_billing_ask_t));

    ask.kind = kind;
    ask.id = watch.lmcf->billing->anchor;

    if (id->len
        && (lines_redis_format(carrier->pool, &text, "%V %L", id, watermark)
            != NGX_OK
            || lines_redis_format(carrier->pool, &ask.key,
                                  "lines:database:%V:%L", id, watermark)
               != NGX_OK
            || lines_form(carrier->pool, &ask.body,
                          { "metadata[lines_database]", text })
               != NGX_OK))
    {
        goto failed;
    }

    if (lines_billing_ask(carrier, &ask, handler, NULL) == NGX_AGAIN) {
        watch.carrier = carrier;
        return NGX_OK;
    }

failed:

    lines_carrier_destroy(carrier);

    return NGX_ERROR;
}


static void
database_told(void *data, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK && !result->customer->deleted) {
        database_remember(&result->customer->database);

    } else if (result->outcome == LINES_STRIPE_OK
               || result->outcome == LINES_STRIPE_MISSING)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: \"anchor=%V\" of \"lines_billing\" is no "
                      "customer: a node that has forgotten its database "
                      "takes any", &watch.lmcf->billing->anchor);

        database_remember(NULL);
    }

    lines_carrier_destroy(watch.carrier);
    watch.carrier = NULL;

    /* known now, if it is: nobody waits for the next look */

    if (watch.timer.timer_set && database_area(watch.lmcf)->known.told) {
        ngx_del_timer(&watch.timer);
        ngx_add_timer(&watch.timer, 1);
    }
}


/* "ID WATERMARK"; an anchor that was never written says nothing */

static void
database_remember(ngx_str_t *text)
{
    off_t              watermark;
    lines_database_t  *area;

    area = &database_area(watch.lmcf)->known;
    watermark = NGX_ERROR;

    if (text
        && text->len > LINES_ID_LEN + 1
        && text->data[LINES_ID_LEN] == ' '
        && lines_is_id(&(ngx_str_t) { LINES_ID_LEN, text->data }))
    {
        watermark = ngx_atoof(text->data + LINES_ID_LEN + 1,
                              text->len - LINES_ID_LEN - 1);
    }

    if (text && text->len && watermark == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "lines: customer \"%V\" names no database: \"%V\"",
                      &watch.lmcf->billing->anchor, text);
    }

    database_lock(watch.lmcf);

    area->told = 1;

    if (watermark != NGX_ERROR && area->len == 0) {
        ngx_memcpy(area->id, text->data, LINES_ID_LEN);

        area->len = LINES_ID_LEN;
        area->watermark = watermark;
        area->rose = ngx_current_msec;
    }

    database_unlock(watch.lmcf);
}


static void
database_written(void *data, lines_billing_result_t *result)
{
    /* what went wrong is in the log; it is written again before long */

    lines_carrier_destroy(watch.carrier);
    watch.carrier = NULL;
}

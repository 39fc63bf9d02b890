
/*
 * How the auditor goes on.  Each tick of the timer takes the lease anew, writes
 * down where the pass is, and makes one step, or its next part.  What a step
 * finds is a doubt at first: the step is made once more, and only what is found
 * twice counts (audit_found.lua).
 */

#include "background/audit_pass.h"
#include "http/metrics.h"
#include "http/text.h"
#include "operation/database.h"
#include "operation/operation.h"


#define LINES_AUDIT_FOUND   200                    /* that are listed */
#define LINES_AUDIT_TRIES   4                      /* of what always fails */


static void audit_tick(ngx_event_t *ev);
static ngx_int_t audit_turned(void *data, lines_audit_turn_reply_t *reply);
static void audit_resume(lines_caller_t *caller, ngx_int_t rc);
static void audit_stop(void);
static ngx_int_t audit_stumble(void);
static ngx_uint_t audit_skips(ngx_str_t *skip, ngx_str_t *name);
static ngx_int_t audit_place(const char *phase, ngx_str_t *cursor);
static ngx_int_t audit_told(void *data, lines_audit_found_reply_t *reply);
static void audit_log(lines_audit_found_t *found);


#define audit_name(kind)  ngx_string(#kind),

ngx_str_t  lines_audit_kinds[LINES_AUDITS] = {
    LINES_EACH_AUDIT(audit_name)
};

lines_audit_t  lines_audit;

static lines_audit_t *const  audit = &lines_audit;


/* what is passed over until the step is done; the last is only tried again */

static struct {
    ngx_uint_t  tries;
    ngx_uint_t  n;
    ngx_str_t   names[LINES_AUDIT_SKIPS];
    u_char      text[LINES_AUDIT_SKIPS][LINES_AUDIT_NAME];
} skips;


void
lines_audit_begin(ngx_cycle_t *cycle, lines_main_conf_t *lmcf,
    const lines_audit_phase_t *phases, ngx_uint_t n, void (*forget)(void))
{
    ngx_memzero(audit, sizeof(lines_audit));
    ngx_memzero(&skips, sizeof(skips));

    audit->lmcf = lmcf;
    audit->conf = lmcf->operation;
    audit->phases = phases;
    audit->nphases = n;
    audit->forget = forget;
    audit->limit = LINES_AUDIT_LIMIT;

    audit->me.data = audit->name;
    audit->me.len = ngx_sprintf(audit->name, "%08xD%08xD",
                               (uint32_t) ngx_random(),
                               (uint32_t) (ngx_random() ^ ngx_pid))
                   - audit->name;

    audit->timer.handler = audit_tick;
    audit->timer.data = audit;
    audit->timer.log = cycle->log;
    audit->timer.cancelable = 1;

    ngx_add_timer(&audit->timer, 1 + ngx_random() % audit->conf->sweep);
}


void
lines_audit_exit_process(void)
{
    if (audit->lmcf == NULL) {
        return;
    }

    audit_stop();

    if (audit->timer.timer_set) {
        ngx_del_timer(&audit->timer);
    }
}


/* a step, or the next part of one: only for who holds the lease */

static void
audit_tick(ngx_event_t *ev)
{
    u_char                text[NGX_INT32_LEN];
    ngx_str_t             phase, cursor, servers;
    lines_redis_status_t  status;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        audit_stop();
        return;
    }

    ngx_str_null(&phase);
    ngx_str_null(&cursor);

    audit->away = 1;

    /* the step that was under way is left, and its lease */

    if (!lines_database_ours(audit->lmcf)) {
        lines_audit_run(NGX_DECLINED);
        return;
    }

    if (audit->pool == NULL) {
        phase = audit->phase;
        cursor = audit->cursor;

        audit->next = NULL;
        audit->rest = NULL;
        audit->doubt = 0;
        audit->looked = 0;
        ngx_str_null(&audit->item);
        audit->pool = ngx_create_pool(4096, ngx_cycle->log);

        if (audit->pool == NULL) {
            lines_audit_run(NGX_ERROR);
            return;
        }

        lines_caller_init(&audit->caller, audit->lmcf->redis, audit->pool,
                          ngx_cycle->log);
        audit->caller.resume = audit_resume;

        if (ngx_array_init(&audit->reads, audit->pool, 4,
                           sizeof(lines_audit_read_t))
            != NGX_OK)
        {
            lines_audit_run(NGX_ERROR);
            return;
        }
    }

    lines_redis_status(audit->lmcf->redis, &status);

    servers.data = text;
    servers.len = status.servers
                  ? (size_t) (ngx_sprintf(text, "%uD", status.servers) - text)
                  : 0;

    lines_audit_run(lines_audit_turn(&audit->caller, audit_turned, NULL,
                                     .me = audit->me,
                                     .lease = audit->conf->lease,
                                     .pass = audit->conf->pass,
                                     .servers = servers, .phase = phase,
                                     .cursor = cursor,
                                     .skipped = audit->skipped,
                                     .began = audit->began));
}


static ngx_int_t
audit_turned(void *data, lines_audit_turn_reply_t *reply)
{
    lines_metrics_area_t  *area;

    area = lines_zone_area(audit->lmcf, LINES_ZONE_METRICS);
    area->audited = reply->ended / 1000;

    if (reply->is != LINES_AUDIT_TURN_MINE) {
        return NGX_DECLINED;
    }

    audit->away = 0;
    audit->skipped = 0;

    if (audit->next) {
        return NGX_OK;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines audit: %V \"%V\" again:%ui", &reply->phase,
                   &reply->cursor, audit->again);

    ngx_str_null(&audit->phase);

    audit->began = reply->began;
    audit->since = reply->since;
    audit->cursor = reply->cursor;

    for (audit->at = 0; audit->at < audit->nphases; audit->at++) {
        if (lines_is(&reply->phase, audit->phases[audit->at].name)) {
            audit->next = audit->phases[audit->at].step;
            return NGX_OK;
        }
    }

    /* of another release: from the beginning */

    ngx_str_null(&audit->cursor);

    return audit_place(audit->phases[0].name, &audit->cursor);
}


static void
audit_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc == NGX_ERROR || !lines_caller_busy(caller)) {
        lines_audit_run(rc);
    }
}


/* besides, of a turn: NGX_DECLINED, it is not ours */

void
lines_audit_run(ngx_int_t rc)
{
    while (rc == NGX_OK) {
        rc = audit->next();
    }

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_ERROR && audit->next && !audit->away) {
        audit->again = 0;
        rc = audit_stumble();

    } else if (rc == NGX_DONE) {
        audit->again = audit->doubt && !audit->again;

        /* until then its page is the same one, when it is read again */

        if (!audit->again) {
            audit->limit = ngx_min(audit->limit * 2, LINES_AUDIT_LIMIT);
            skips.n = 0;
            skips.tries = 0;
        }
    }

    if (rc != NGX_DONE || audit->again) {
        ngx_str_null(&audit->phase);
        ngx_str_null(&audit->cursor);
    }

    if (rc != NGX_DONE) {
        audit->again = 0;
    }

    audit_stop();

    ngx_add_timer(&audit->timer, rc == NGX_DONE
                                ? audit->conf->audit
                                : ngx_max(audit->conf->sweep,
                                          audit->conf->audit));
}


static void
audit_stop(void)
{
    lines_audit_put_down();

    if (audit->pool) {
        lines_caller_detach(&audit->caller);
        ngx_destroy_pool(audit->pool);
        audit->pool = NULL;
        audit->forget();
    }
}


/*
 * A step has failed, and Redis and billing answer: what it looked at is tried a
 * few times, then shown, and passed over; or all of its page, where that is not
 * known, or is too much (NGX_DONE: the place is the next page's, or where the
 * page itself is not to be had, the next phase's).
 */

static ngx_int_t
audit_stumble(void)
{
    ngx_str_t            none = ngx_null_string, *last;
    ngx_uint_t           one;
    lines_audit_found_t  found;

    last = &skips.names[skips.n];

    if (skips.tries == 0 || !audit_skips(last, &audit->item)) {
        last->data = skips.text[skips.n];
        last->len = ngx_min(audit->item.len, LINES_AUDIT_NAME);

        if (last->len) {
            ngx_memcpy(last->data, audit->item.data, last->len);
        }

        skips.tries = 0;
    }

    if (++skips.tries < LINES_AUDIT_TRIES || audit->at + 1 == audit->nphases) {
        return NGX_ERROR;
    }

    one = last->len && skips.n < LINES_AUDIT_SKIPS - 1;

    found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_unread, .tenant = none,
        .id = one ? *last : lines_op_text("page"),
        .here = lines_op_text(audit->phases[audit->at].name),
        .there = lines_op_text("it cannot be read")
    };

    lines_audit_report(&audit->caller, &found);

    audit->skipped = 1;
    skips.tries = 0;

    if (one) {
        skips.n++;
        return NGX_ERROR;
    }

    skips.n = 0;

    return audit->phase.len ? NGX_DONE : lines_audit_onwards();
}


/* of one that is longer there is only what it begins with */

static ngx_uint_t
audit_skips(ngx_str_t *skip, ngx_str_t *name)
{
    ngx_str_t  begin;

    begin.data = name->data;
    begin.len = ngx_min(name->len, LINES_AUDIT_NAME);

    return lines_same(&begin, skip);
}


ngx_uint_t
lines_audit_item(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < skips.n; i++) {
        if (audit_skips(&skips.names[i], name)) {
            return 0;
        }
    }

    audit->item = *name;

    return 1;
}


ngx_int_t
lines_audit_later(lines_audit_step_pt next)
{
    audit->next = next;
    ngx_add_timer(&audit->timer, audit->conf->audit);

    return NGX_AGAIN;
}


ngx_int_t
lines_audit_at(ngx_str_t *cursor)
{
    return audit_place(audit->phases[audit->at].name, cursor);
}


ngx_int_t
lines_audit_onwards(void)
{
    ngx_str_t  none = ngx_null_string;

    audit->anew = 0;

    return audit_place(audit->phases[audit->at + 1].name, &none);
}


static ngx_int_t
audit_place(const char *phase, ngx_str_t *cursor)
{
    if (cursor->len > sizeof(audit->place)) {
        return NGX_ERROR;
    }

    audit->phase = lines_op_text(phase);

    if (cursor->len) {
        ngx_memmove(audit->place, cursor->data, cursor->len);
    }

    audit->cursor.data = audit->place;
    audit->cursor.len = cursor->len;

    return NGX_DONE;
}


ngx_int_t
lines_audit_bill(lines_billing_ask_t *ask, lines_billing_pt done)
{
    ngx_str_t  id = ngx_string("audit");

    if (audit->carrier == NULL) {
        audit->carrier = lines_carrier_create(audit->lmcf, &id, ngx_cycle->log);
    }

    ask->rank = LINES_BUDGET_LAST;

    return audit->carrier
           ? lines_billing_ask(audit->carrier, ask, done, NULL)
           : NGX_ERROR;
}


void
lines_audit_put_down(void)
{
    if (audit->carrier) {
        lines_carrier_destroy(audit->carrier);
        audit->carrier = NULL;
    }
}


/*
 * What is refused, cannot be read, or is too large (which is told as no answer
 * at all) will be so each time.  So is what the key may not read, as long as it
 * may read another list.
 */

ngx_int_t
lines_audit_failed(lines_billing_result_t *result)
{
    audit->away = !(lines_stripe_refused(result->outcome)
                    || (result->outcome == LINES_STRIPE_ALERT
                        && !audit->barred)
                    || (result->outcome == LINES_STRIPE_UNKNOWN
                        && result->status < 500));

    return NGX_ERROR;
}


lines_audit_read_t *
lines_audit_push(void)
{
    lines_audit_read_t  *read;

    read = audit->reads.nelts < LINES_AUDIT_READS
           ? ngx_array_push(&audit->reads) : NULL;

    if (read) {
        ngx_memzero(read, sizeof(lines_audit_read_t));
    }

    return read;
}


ngx_str_t
lines_audit_keep(ngx_str_t *text)
{
    ngx_str_t  kept;

    kept.data = text->len ? ngx_pstrdup(audit->pool, text) : NULL;
    kept.len = kept.data ? text->len : 0;

    return kept;
}


#define audit_args(found, once, begins)                                       \
    .kind = lines_audit_kinds[(found)->kind],                                 \
    .outcome = lines_op_text((found)->repaired ? "repaired" : "shown"),       \
    .tenant = (found)->tenant, .id = (found)->id,                             \
    .subscription = (found)->subscription, .here = (found)->here,             \
    .there = (found)->there, .most = LINES_AUDIT_FOUND, .sure = once,         \
    .first = begins

void
lines_audit_report(lines_caller_t *caller, lines_audit_found_t *found)
{
    audit_log(found);

    (void) lines_forget_audit_found(caller, audit_args(found, 1, 0));
}


ngx_int_t
lines_audit_find(lines_audit_found_t *found)
{
    ngx_uint_t  first;

    first = !audit->again && !audit->looked;
    audit->looked = 1;

    return lines_audit_found(&audit->caller, audit_told, found,
                             audit_args(found, 0, first));
}


static ngx_int_t
audit_told(void *data, lines_audit_found_reply_t *reply)
{
    lines_audit_found_t *found = data;

    if (reply->is == LINES_AUDIT_FOUND_DOUBT) {
        audit->doubt = 1;
        return NGX_OK;
    }

    audit_log(found);

    /*
     * The inventory looks itself, and takes the number back; but no sooner than
     * it would anyway, where a ticket has a lease of it by now.
     */

    if (found->operation.len) {
        (void) lines_forget_audit_number_due(&audit->caller,
                                             .tenant = found->tenant,
                                             .operation = found->operation);
    }

    return found->act ? found->act() : NGX_OK;
}


static void
audit_log(lines_audit_found_t *found)
{
    ngx_uint_t  level;

    level = found->repaired ? NGX_LOG_WARN : NGX_LOG_ERR;

    lines_metrics_inc(audit[found->kind]);

    ngx_log_error(level, ngx_cycle->log, 0,
                  "lines audit: %V, %s: \"%V\" of \"%V\", subscription \"%V\": "
                  "\"%V\", but \"%V\"", &lines_audit_kinds[found->kind],
                  found->repaired ? "repaired" : "shown", &found->id,
                  &found->tenant, &found->subscription, &found->here,
                  &found->there);
}


ngx_int_t
lines_audit_findings(ngx_str_t *tenant, ngx_str_t *operation,
    lines_list_t *findings)
{
    ngx_str_t            *f;
    ngx_int_t             rc;
    ngx_uint_t            i, kind;
    lines_audit_found_t  *found;

    rc = NGX_OK;

    for (i = 0; i + 4 < findings->n; i += 5) {
        f = &findings->elts[i];

        for (kind = 0; kind < LINES_AUDITS - 1; kind++) {
            if (lines_same(&lines_audit_kinds[kind], &f[0])) {
                break;
            }
        }

        found = ngx_palloc(audit->pool, sizeof(lines_audit_found_t));
        if (found == NULL) {
            return NGX_ERROR;
        }

        *found = (lines_audit_found_t) {
            .kind = kind, .repaired = lines_is(&f[1], "repaired"),
            .tenant = *tenant, .id = f[2], .here = f[3], .there = f[4]
        };

        if (operation && found->repaired) {
            found->operation = *operation;
        }

        rc = lines_audit_find(found);
        if (rc != NGX_AGAIN) {
            return NGX_ERROR;
        }
    }

    return rc;
}

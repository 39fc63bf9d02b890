
#include "background/survey.h"
#include "background/sweeper.h"
#include "http/metrics.h"
#include "http/text.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_SURVEY_READ   5000    /* ms at the most */
#define LINES_SURVEY_HOLD   5000    /* ms, renewed */
#define LINES_SURVEY_RATE   1000    /* tenants and operations a second */
#define LINES_SURVEY_BATCH  16      /* operations at a time */
#define LINES_SURVEY_LINES  50      /* that get another layout in a call */
#define LINES_SURVEY_LISTED 5000    /* that are stuck: more tell no more */
#define LINES_SURVEY_CURSOR 256


/*
 * What is gone over: all tenants; those that have, or had, an orphan, and may
 * be deleted; and what is listed as stuck, of which records may be lost.
 */

enum {
    SURVEY_TENANTS = 0,
    SURVEY_ORPHANED,
    SURVEY_STUCK,
    SURVEY_LISTS
};


/* some operations of a tenant, and those of it that are left to look at */

typedef struct {
    ngx_str_t       tenant;
    lines_list_t    ids;
} survey_ops_t;

typedef struct survey_left_s  survey_left_t;

struct survey_left_s {
    survey_ops_t    ops;
    survey_left_t  *next;
};


static ngx_int_t survey_known(void *data, lines_survey_read_reply_t *reply);
static void survey_begin(void);
static ngx_int_t survey_inventory(void *data, lines_inv_count_reply_t *reply);
static void survey_resume(lines_caller_t *caller, ngx_int_t rc);
static void survey_pace(ngx_event_t *ev);
static void survey_hold(void);
static void survey_next(void);
static ngx_int_t survey_scan(void);
static ngx_int_t survey_page(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t survey_orphaned(void *data,
    lines_orphaned_scan_reply_t *reply);
static ngx_int_t survey_members(ngx_str_t *cursor, lines_list_t *members);
static ngx_int_t survey_listed(void *data, lines_stuck_page_reply_t *reply);
static ngx_int_t survey_stuck(void *data, lines_ops_survey_reply_t *reply);
static ngx_int_t survey_tenant(ngx_str_t *tenant);
static ngx_int_t survey_sent(ngx_int_t rc);
static ngx_int_t survey_layout(ngx_str_t *tenant);
static ngx_int_t survey_laid_out(void *data, lines_lines_layout_reply_t *reply);
static ngx_int_t survey_counted(void *data,
    lines_tenant_survey_reply_t *reply);
static ngx_int_t survey_orphan(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t survey_seen(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t survey_dropped(void *data);
static ngx_int_t survey_again(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t survey_leave(ngx_str_t *tenant, lines_list_t *ids);
static ngx_int_t survey_look(void);
static ngx_int_t survey_operations(void *data, lines_ops_survey_reply_t *reply);
static void survey_end(void);
static void survey_stop(void);


static struct {
    lines_main_conf_t  *lmcf;
    ngx_log_t          *log;
    ngx_msec_t          interval;
    ngx_event_t         timer;
    lines_caller_t      asker;     /* of what is known */

    uint64_t            now;       /* Redis' clock, ms */
    uint64_t            at;        /* of the last pass, s */
    lines_metrics_survey_t  known;

    /* the pass under way */

    lines_caller_t      caller;
    ngx_event_t         pace;
    ngx_pool_t         *pool;      /* of a page, and of its replies */
    ngx_pool_t         *seen_pool; /* NULL: there is no pass */
    ngx_rbtree_t        seen;      /* tenants */
    ngx_rbtree_node_t   sentinel;
    survey_left_t      *left;      /* of the page */
    ngx_uint_t          looked;    /* at so many since the last pause */
    uint64_t            oldest;    /* operation, begun at, ms */
    lines_metrics_survey_t  sums;
    ngx_str_t           cursor;    /* empty: that was the last page */
    u_char              cursor_text[LINES_SURVEY_CURSOR];
    ngx_uint_t          list;      /* that pages are of */
    ngx_uint_t          listed;    /* so many that are stuck */
    ngx_uint_t          failed;    /* flag */
} survey;


#define survey_field(from, to)  ngx_string("moves:" #from ":" #to),

/* of a tenant's hash */

static ngx_str_t  survey_fields[] = {
    LINES_EACH_MOVE(survey_field)
};


static void
survey_handler(ngx_event_t *ev)
{
    lines_redis_status_t  status;

    if (ngx_exiting || survey.lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(survey.lmcf->redis, &status);

    /* tenants are on all primaries of a cluster */

    if (status.connected
        && !lines_caller_busy(&survey.asker)
        && survey.seen_pool == NULL)
    {
        (void) lines_survey_read(&survey.asker, survey_known, NULL,
                                 .interval = survey.interval,
                                 .hold = LINES_SURVEY_HOLD);
    }

    ngx_add_timer(ev,
                  ngx_min(survey.interval / 2, LINES_SURVEY_READ) + 1);
}


/* those that went there less those that left */

void
lines_survey_states(lines_metrics_survey_t *survey,
    ngx_atomic_int_t states[LINES_STATES])
{
    ngx_uint_t        i;
    ngx_atomic_int_t  n;

#define survey_ends(from, to)  { LINES_STATE_##from, LINES_STATE_##to },

    static const struct {
        ngx_uint_t  from;
        ngx_uint_t  to;
    } moves[] = {
        LINES_EACH_MOVE(survey_ends)
    };

    ngx_memzero(states, LINES_STATES * sizeof(ngx_atomic_int_t));

    for (i = 0; i < LINES_MOVES; i++) {
        n = survey->values[LINES_SURVEY_RAW + i];
        states[moves[i].from] -= n;
        states[moves[i].to] += n;
    }

    for (i = 0; i < LINES_STATES; i++) {
        states[i] = ngx_max(states[i], 0);
    }
}


void
lines_survey_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    /* one worker of a node is enough */

    if (ngx_worker != 0) {
        return;
    }

    survey.lmcf = lmcf;
    survey.log = cycle->log;

    /* without lines_metrics there still are hints to look for */

    survey.interval = lmcf->operation->walk_every;

    if (lmcf->survey) {
        survey.interval = ngx_min(survey.interval, lmcf->survey);
    }

    lines_caller_init(&survey.asker, lmcf->redis, NULL, cycle->log);
    lines_caller_init(&survey.caller, lmcf->redis, NULL, cycle->log);

    survey.caller.resume = survey_resume;

    survey.timer.handler = survey_handler;
    survey.timer.data = &survey;
    survey.timer.log = cycle->log;
    survey.timer.cancelable = 1;

    survey.pace.handler = survey_pace;
    survey.pace.data = &survey;
    survey.pace.log = cycle->log;
    survey.pace.cancelable = 1;

    ngx_add_timer(&survey.timer, 200 + ngx_random() % 300);
}


void
lines_survey_exit_process(void)
{
    if (survey.lmcf == NULL) {
        return;
    }

    if (survey.timer.timer_set) {
        ngx_del_timer(&survey.timer);
    }

    lines_caller_detach(&survey.asker);
    survey_stop();
}


static uint64_t
survey_number(ngx_str_t *value)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    return n > 0 ? (uint64_t) n : 0;
}


static void
survey_publish(void)
{
    lines_metrics_area_t  *area;

    area = lines_zone_area(survey.lmcf, LINES_ZONE_METRICS);

    /* by the node's clock, which tells its age */

    if (survey.at) {
        survey.known.at = ngx_time() - (time_t) (survey.now / 1000 - survey.at);
    }

    area->survey = survey.known;
}


/* fields are the numbers of values, and "at" */

static ngx_int_t
survey_known(void *data, lines_survey_read_reply_t *reply)
{
    ngx_int_t   n;
    ngx_str_t  *pair;
    ngx_uint_t  i;

    survey.now = reply->now;
    survey.at = 0;
    ngx_memzero(&survey.known, sizeof(lines_metrics_survey_t));

    for (i = 0; i + 1 < reply->pairs.n; i += 2) {
        pair = &reply->pairs.elts[i];

        if (lines_is(&pair[0], "at")) {
            survey.at = survey_number(&pair[1]);
            continue;
        }

        n = ngx_atoi(pair[0].data, pair[0].len);

        if (n >= 0 && n < LINES_SURVEY_VALUES) {
            survey.known.values[n] = survey_number(&pair[1]);
        }
    }

    survey_publish();

    if (reply->is == LINES_SURVEY_READ_OURS) {
        survey_begin();
    }

    return NGX_OK;
}


static void
survey_begin(void)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey.log, 0, "lines survey: begins");

    ngx_memzero(&survey.sums, sizeof(lines_metrics_survey_t));

    survey.failed = 0;
    survey.looked = 0;
    survey.oldest = 0;
    survey.list = SURVEY_TENANTS;
    survey.listed = 0;
    survey.left = NULL;

    survey.cursor.data = survey.cursor_text;
    survey.cursor.len = 1;
    survey.cursor_text[0] = '0';

    ngx_rbtree_init(&survey.seen, &survey.sentinel,
                    ngx_str_rbtree_insert_value);

    survey.seen_pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, survey.log);
    survey.caller.pool = survey.seen_pool;

    if (survey.seen_pool
        && lines_try_inv_count(&survey.caller, survey_inventory, NULL)
           != NGX_AGAIN)
    {
        survey_stop();
    }
}


static ngx_int_t
survey_inventory(void *data, lines_inv_count_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply == NULL) {
        for (i = LINES_SURVEY_FREE; i <= LINES_SURVEY_QUARANTINED; i++) {
            survey.sums.values[i] = survey.known.values[i];
        }

        return NGX_OK;
    }

    survey.sums.values[LINES_SURVEY_FREE] = reply->free;
    survey.sums.values[LINES_SURVEY_LEASED] = reply->leased;
    survey.sums.values[LINES_SURVEY_ASSIGNED] = reply->assigned;
    survey.sums.values[LINES_SURVEY_QUARANTINED] = reply->quarantined;

    return NGX_OK;
}


static void
survey_free(ngx_pool_t **pool)
{
    if (*pool) {
        ngx_destroy_pool(*pool);
        *pool = NULL;
    }
}


static void
survey_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc == NGX_ERROR) {
        survey.failed = 1;
    }

    if (lines_caller_busy(caller)) {
        return;
    }

    if (survey.failed) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey.log, 0,
                       "lines survey: given up");
        survey_stop();
        return;
    }

    /* Redis is there for requests: nobody waits for this */

    if (survey.looked >= LINES_SURVEY_RATE / 20) {
        ngx_add_timer(&survey.pace, survey.looked * 1000 / LINES_SURVEY_RATE);
        survey.looked = 0;
        return;
    }

    survey_next();
}


static void
survey_pace(ngx_event_t *ev)
{
    survey_hold();
    survey_next();
}


/* who has died is followed by another before long */

static void
survey_hold(void)
{
    (void) lines_forget_survey_hold(&survey.asker, .ms = LINES_SURVEY_HOLD);
}


/* the next operations of the page, the next page, the next list */

static void
survey_next(void)
{
    ngx_int_t  rc;

    if (survey.left) {
        rc = survey_look();

    } else if (survey.cursor.len == 0 && ++survey.list == SURVEY_LISTS) {
        survey_end();
        rc = NGX_DONE;

    } else {
        rc = survey_scan();
    }

    if (rc != NGX_AGAIN) {
        survey_stop();
    }
}


static ngx_int_t
survey_scan(void)
{
    ngx_str_t  first = ngx_string("0");

    survey_free(&survey.pool);

    survey.pool = ngx_create_pool(8192, survey.log);
    survey.caller.pool = survey.pool;

    if (survey.pool == NULL) {
        return NGX_ERROR;
    }

    survey_hold();

    switch (survey.list) {

    case SURVEY_TENANTS:
        return lines_tenants_scan(&survey.caller, survey_page, NULL,
                                  .cursor = survey.cursor);

    case SURVEY_ORPHANED:
        return lines_orphaned_scan(&survey.caller, survey_orphaned, NULL,
                                   .cursor = survey.cursor.len ? survey.cursor
                                                               : first);

    default: /* SURVEY_STUCK */
        return lines_try_stuck_page(&survey.caller, survey_listed, NULL,
                                .from = survey.cursor,
                                .most = LINES_SURVEY_BATCH);
    }
}


static ngx_int_t
survey_page(void *data, lines_tenants_scan_reply_t *reply)
{
    return survey_members(&reply->cursor, &reply->members);
}


static ngx_int_t
survey_orphaned(void *data, lines_orphaned_scan_reply_t *reply)
{
    return survey_members(&reply->cursor, &reply->members);
}


static ngx_int_t
survey_members(ngx_str_t *cursor, lines_list_t *members)
{
    ngx_uint_t  i;

    if (cursor->len == 0 || cursor->len > sizeof(survey.cursor_text)) {
        return NGX_ERROR;
    }

    survey.cursor.len = lines_is(cursor, "0") ? 0 : cursor->len;
    ngx_memcpy(survey.cursor.data, cursor->data, cursor->len);

    for (i = 0; i < members->n; i++) {
        if (members->elts[i].len
            && survey_tenant(&members->elts[i]) == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* the list is a hint: the records know */

static ngx_int_t
survey_listed(void *data, lines_stuck_page_reply_t *reply)
{
    ngx_str_t   *member, tenant, id;
    ngx_uint_t   i;

    /* the tenants' lists tell of most */

    if (reply == NULL) {
        survey.cursor.len = 0;
        return NGX_OK;
    }

    if (reply->cursor.len > sizeof(survey.cursor_text)) {
        return NGX_ERROR;
    }

    survey.cursor.len = survey.listed < LINES_SURVEY_LISTED
                        ? reply->cursor.len : 0;

    if (survey.cursor.len) {
        ngx_memcpy(survey.cursor.data, reply->cursor.data, survey.cursor.len);
    }

    survey.looked += reply->members.n;

    for (i = 0; i < reply->members.n; i++) {
        member = &reply->members.elts[i];

        id = *member;
        tenant = lines_word(&id);

        if (survey_sent(lines_try_ops_survey(&survey.caller, survey_stuck,
                                             member, .tenant = tenant,
                                             .ids.n = 1, .ids.elts = &id))
            == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
survey_stuck(void *data, lines_ops_survey_reply_t *reply)
{
    ngx_str_t *member = data;

    if (reply == NULL) {
        return survey_sent(NGX_DECLINED);
    }

    if (reply->stuck) {
        survey.listed++;
        return NGX_OK;
    }

    (void) lines_forget_stuck_drop(&survey.caller, .member = *member,
                                   .age = survey.lmcf->operation->lease);

    return NGX_OK;
}


/* SSCAN may show a tenant twice, and it must count once */

static ngx_int_t
survey_tenant(ngx_str_t *tenant)
{
    uint32_t         hash;
    ngx_str_node_t  *node;

    hash = ngx_crc32_long(tenant->data, tenant->len);

    if (ngx_str_rbtree_lookup(&survey.seen, tenant, hash)) {
        return survey.list == SURVEY_ORPHANED
               ? lines_ops_read(&survey.caller, survey_seen, tenant,
                                .tenant = *tenant)
               : NGX_OK;
    }

    node = ngx_pcalloc(survey.seen_pool, sizeof(ngx_str_node_t));
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->node.key = hash;
    node->str.len = tenant->len;
    node->str.data = ngx_pstrdup(survey.seen_pool, tenant);

    if (node->str.data == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_insert(&survey.seen, &node->node);

    survey.looked++;

    /* of one that was deleted an operation may be left, which gives back */

    if (survey.list == SURVEY_ORPHANED) {
        return lines_ops_read(&survey.caller, survey_orphan, tenant,
                              .tenant = *tenant);
    }

    survey.sums.values[LINES_SURVEY_TENANTS]++;

    return survey_sent(lines_try_tenant_survey(&survey.caller, survey_counted,
                                               tenant, .tenant = *tenant,
                                               .fields.n = LINES_MOVES,
                                               .fields.elts = survey_fields));
}


/*
 * What cannot be read, as while a cluster's slot moves, and that may be so for
 * days, is passed over and counted.
 */

static ngx_int_t
survey_sent(ngx_int_t rc)
{
    if (rc != NGX_DECLINED) {
        return rc;
    }

    survey.sums.values[LINES_SURVEY_SKIPPED]++;

    return NGX_OK;
}


/*
 * What was written before this release: a few lines, then others' turn.  Where
 * it cannot be done now, the next pass does it, and this one goes on.
 */

static ngx_int_t
survey_layout(ngx_str_t *tenant)
{
    return lines_try_lines_layout(&survey.caller, survey_laid_out, tenant,
                                  .tenant = *tenant,
                                  .most = LINES_SURVEY_LINES);
}


static ngx_int_t
survey_laid_out(void *data, lines_lines_layout_reply_t *reply)
{
    if (reply && reply->left == 1) {
        (void) survey_layout(data);
    }

    return NGX_OK;
}


static ngx_int_t
survey_counted(void *data, lines_tenant_survey_reply_t *reply)
{
    ngx_str_t *tenant = data;

    ngx_uint_t   i;

    if (reply == NULL) {
        return survey_sent(NGX_DECLINED);
    }

    if (reply->counts.n != LINES_MOVES) {
        return NGX_ERROR;
    }

    survey.sums.values[LINES_SURVEY_UNTOLD] += reply->untold;

    for (i = 0; i < LINES_MOVES; i++) {
        survey.sums.values[LINES_SURVEY_RAW + i] +=
                                   survey_number(&reply->counts.elts[i]);
    }

    if (!lines_is(&reply->layout, "2")
        && survey.lmcf->redis_conf.layout == 2)
    {
        (void) survey_layout(tenant);
    }

    return survey_leave(tenant, &reply->operations);
}


static ngx_int_t
survey_orphan(void *data, lines_ops_read_reply_t *reply)
{
    return reply->ids.n ? survey_leave(data, &reply->ids)
                        : survey_seen(data, reply);
}


/*
 * A tenant without an operation is not to be looked at for an orphan any more.
 * One may begin just then: whoever begins it lists the tenant before, and once
 * more after, and whoever takes it away looks once more.
 */

static ngx_int_t
survey_seen(void *data, lines_ops_read_reply_t *reply)
{
    ngx_str_t *tenant = data;

    return reply->ids.n
           ? NGX_OK
           : lines_then_orphaned_rem(&survey.caller, survey_dropped, tenant,
                                     .tenant = *tenant);
}


static ngx_int_t
survey_dropped(void *data)
{
    ngx_str_t *tenant = data;

    return lines_ops_read(&survey.caller, survey_again, tenant,
                          .tenant = *tenant);
}


static ngx_int_t
survey_again(void *data, lines_ops_read_reply_t *reply)
{
    ngx_str_t *tenant = data;

    return reply->ids.n
           ? lines_orphaned_add(&survey.caller, NULL, NULL, .tenant = *tenant)
           : NGX_OK;
}


static ngx_int_t
survey_leave(ngx_str_t *tenant, lines_list_t *ids)
{
    survey_left_t  *left;

    if (ids->n == 0) {
        return NGX_OK;
    }

    left = ngx_palloc(survey.pool, sizeof(survey_left_t));
    if (left == NULL) {
        return NGX_ERROR;
    }

    left->ops.tenant = *tenant;
    left->ops.ids = *ids;
    left->next = survey.left;

    survey.left = left;

    return NGX_OK;
}


static ngx_int_t
survey_look(void)
{
    survey_ops_t   *ops;
    survey_left_t  *left = survey.left;

    ops = ngx_palloc(survey.pool, sizeof(survey_ops_t));
    if (ops == NULL) {
        return NGX_ERROR;
    }

    ops->tenant = left->ops.tenant;
    ops->ids.n = ngx_min(left->ops.ids.n, LINES_SURVEY_BATCH);

    left->ops.ids.n -= ops->ids.n;

    ops->ids.elts = &left->ops.ids.elts[left->ops.ids.n];

    if (left->ops.ids.n == 0) {
        survey.left = left->next;
    }

    survey.looked += ops->ids.n;

    return lines_try_ops_survey(&survey.caller, survey_operations, ops,
                                .tenant = ops->tenant, .ids.n = ops->ids.n,
                                .ids.elts = ops->ids.elts);
}


/* those that go on need their hints: one that has ended meanwhile has none */

static ngx_int_t
survey_operations(void *data, lines_ops_survey_reply_t *reply)
{
    survey_ops_t *ops = data;

    ngx_int_t     n;
    ngx_str_t    *place;
    ngx_uint_t    i;
    lines_list_t  ids;

    if (reply == NULL) {
        return survey_sent(NGX_DECLINED);
    }

    survey.sums.values[LINES_SURVEY_OPERATIONS] += reply->running;
    survey.sums.values[LINES_SURVEY_STUCK] += reply->stuck;

    if (reply->oldest > 0
        && (survey.oldest == 0 || (uint64_t) reply->oldest < survey.oldest))
    {
        survey.oldest = reply->oldest;
    }

    ids.n = 0;
    ids.elts = ops->ids.elts;

    for (i = 0; i < reply->unfinished.n; i++) {
        place = &reply->unfinished.elts[i];
        n = ngx_atoi(place->data, place->len);

        if (n < (ngx_int_t) i || (ngx_uint_t) n >= ops->ids.n) {
            return NGX_ERROR;
        }

        ids.elts[ids.n++] = ops->ids.elts[n];
    }

    lines_sweeper_ensure_hints(&survey.caller, survey.lmcf, &ops->tenant, &ids);

    return NGX_OK;
}


/* the sums: to Redis, and shown */

static void
survey_end(void)
{
    u_char        *p, text[(LINES_SURVEY_VALUES + 1) * 2 * NGX_INT64_LEN];
    ngx_str_t      pairs[2 * (LINES_SURVEY_VALUES + 1)], *pair;
    ngx_uint_t     i;
    ngx_atomic_t  *sums, *known;

    /* the list of stuck ones may have lost some, or their tenants' lists */

    survey.sums.values[LINES_SURVEY_STUCK] =
                      ngx_max(survey.sums.values[LINES_SURVEY_STUCK],
                              survey.listed);

    if (survey.oldest && survey.oldest < survey.now) {
        survey.sums.values[LINES_SURVEY_OLDEST] =
                                         (survey.now - survey.oldest) / 1000;
    }

    for (i = 0; i < LINES_MOVES; i++) {
        sums = &survey.sums.values[i];
        known = &survey.known.values[i];

        /* what is not seen by this pass is not new to the next one */

        if (survey.sums.values[LINES_SURVEY_SKIPPED]) {
            sums[LINES_SURVEY_RAW] = ngx_max(sums[LINES_SURVEY_RAW],
                                             known[LINES_SURVEY_RAW]);
        }

        sums[LINES_SURVEY_SHOWN] = known[LINES_SURVEY_SHOWN];

        if (sums[LINES_SURVEY_RAW] > known[LINES_SURVEY_RAW]) {
            sums[LINES_SURVEY_SHOWN] += sums[LINES_SURVEY_RAW]
                                        - known[LINES_SURVEY_RAW];
        }
    }

    survey.at = survey.now / 1000;
    survey.known = survey.sums;

    survey_publish();

    p = text;
    pair = pairs;

    for (i = 0; i < LINES_SURVEY_VALUES; i++, pair += 2) {
        pair[0].data = p;
        p = ngx_sprintf(p, "%ui", i);
        pair[0].len = p - pair[0].data;

        pair[1].data = p;
        p = ngx_sprintf(p, "%uA", survey.known.values[i]);
        pair[1].len = p - pair[1].data;
    }

    ngx_str_set(&pair[0], "at");
    pair[1].data = p;
    pair[1].len = ngx_sprintf(p, "%uL", survey.at) - p;

    (void) lines_forget_survey_put(&survey.asker, .pairs.elts = pairs,
                                   .pairs.n = pair + 2 - pairs);
    (void) lines_forget_survey_release(&survey.asker);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, survey.log, 0,
                   "lines survey: %uA tenants",
                   survey.sums.values[LINES_SURVEY_TENANTS]);
}


static void
survey_stop(void)
{
    if (survey.pace.timer_set) {
        ngx_del_timer(&survey.pace);
    }

    lines_caller_detach(&survey.caller);

    survey_free(&survey.pool);
    survey_free(&survey.seen_pool);
}

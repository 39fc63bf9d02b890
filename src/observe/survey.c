
/*
 * Asks for what is known, shows it, and has it added up anew when it is old, by
 * a pass over all tenants: pages of them, and of each what its hash and its
 * unfinished operations say.
 */

#include "http/metrics.h"
#include "http/text.h"
#include "observe/survey.h"
#include "store/calls.h"


#define LINES_SURVEY_READ   5000    /* ms at the most */
#define LINES_SURVEY_HOLD   60000
#define LINES_SURVEY_OPS    5000    /* looked at in a pass */
#define LINES_SURVEY_BATCH  64      /* at a time */


/* an operation that is still to be looked at */

typedef struct {
    ngx_str_t           tenant;
    ngx_str_t           id;
} survey_op_t;


static void survey_handler(ngx_event_t *ev);
static ngx_int_t survey_time(void *data, lines_time_reply_t *reply);
static ngx_int_t survey_known(void *data, lines_survey_read_reply_t *reply);
static void survey_publish(void);
static ngx_int_t survey_claimed(void *data, lines_survey_claim_reply_t *reply);
static ngx_int_t survey_inventory(void *data, lines_inv_count_reply_t *reply);
static void survey_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t survey_next(lines_caller_t *caller);
static ngx_int_t survey_page(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t survey_tenant(ngx_str_t *tenant);
static ngx_int_t survey_counts(void *data, lines_tenant_moves_reply_t *reply);
static ngx_int_t survey_operations(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t survey_operation(void *data, lines_op_survey_reply_t *reply);
static void survey_end(void);
static void survey_stop(void);
static void survey_free(ngx_pool_t **pool);
static uint64_t survey_number(ngx_str_t *value);


static struct {
    lines_main_conf_t  *lmcf;
    ngx_log_t          *log;
    ngx_event_t         timer;
    lines_caller_t      asker;     /* of what is known */

    uint64_t            now;       /* Redis' clock, ms */
    uint64_t            at;        /* of the last pass, s */
    lines_metrics_survey_t  known;

    /* the pass under way */

    lines_caller_t      caller;
    ngx_pool_t         *pool;      /* of a page, and of its replies */
    ngx_pool_t         *seen_pool;
    ngx_rbtree_t        seen;      /* tenants */
    ngx_rbtree_node_t   sentinel;
    ngx_array_t         ops;       /* of a page */
    ngx_uint_t          looked;    /* at so many of all */
    uint64_t            oldest;    /* begun at, ms */
    lines_metrics_survey_t  sums;
    ngx_str_t           cursor;    /* empty: that was the last page */
    u_char              cursor_text[24];
    ngx_uint_t          failed;    /* flag */
} survey;


#define survey_field(from, to)  ngx_string("moves:" #from ":" #to),

/* of a tenant's hash */

static ngx_str_t  survey_fields[] = {
    LINES_EACH_MOVE(survey_field)
};


ngx_int_t
lines_survey_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    /* one worker of a node is enough */

    if (lmcf->survey == 0 || ngx_worker != 0) {
        return NGX_OK;
    }

    survey.lmcf = lmcf;
    survey.log = cycle->log;

    lines_caller_init(&survey.asker, lmcf->redis, NULL, cycle->log);
    lines_caller_init(&survey.caller, lmcf->redis, NULL, cycle->log);

    survey.caller.resume = survey_resume;

    survey.timer.handler = survey_handler;
    survey.timer.data = &survey;
    survey.timer.log = cycle->log;
    survey.timer.cancelable = 1;

    ngx_add_timer(&survey.timer, 200 + ngx_random() % 300);

    return NGX_OK;
}


void
lines_survey_exit_process(lines_main_conf_t *lmcf)
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


static void
survey_handler(ngx_event_t *ev)
{
    lines_redis_status_t  status;

    if (ngx_exiting || survey.lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(survey.lmcf->redis, &status);

    if (status.connected
        && !lines_caller_busy(&survey.asker)
        && !lines_caller_busy(&survey.caller))
    {
        (void) lines_time(&survey.asker, survey_time, NULL);
    }

    ngx_add_timer(ev,
                  ngx_min(survey.lmcf->survey / 2, LINES_SURVEY_READ) + 1);
}


static ngx_int_t
survey_time(void *data, lines_time_reply_t *reply)
{
    survey.now = lines_time_ms(reply);

    return lines_survey_read(&survey.asker, survey_known, NULL);
}


/* fields are the numbers of values, and "at" */

static ngx_int_t
survey_known(void *data, lines_survey_read_reply_t *reply)
{
    ngx_int_t   n;
    ngx_str_t  *pair;
    ngx_uint_t  i;

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

    if (survey.now < (survey.at * 1000) + survey.lmcf->survey) {
        return NGX_OK;
    }

    return lines_survey_claim(&survey.asker, survey_claimed, NULL,
                              .ms = LINES_SURVEY_HOLD);
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


static ngx_int_t
survey_claimed(void *data, lines_survey_claim_reply_t *reply)
{
    if (reply->ok.len == 0) {
        return NGX_OK;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey.log, 0, "lines survey: begins");

    ngx_memzero(&survey.sums, sizeof(lines_metrics_survey_t));

    survey.failed = 0;
    survey.looked = 0;
    survey.ops.nelts = 0;
    survey.oldest = 0;

    survey.cursor.data = survey.cursor_text;
    survey.cursor.len = 1;
    survey.cursor_text[0] = '0';

    ngx_rbtree_init(&survey.seen, &survey.sentinel,
                    ngx_str_rbtree_insert_value);

    survey.seen_pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, survey.log);
    if (survey.seen_pool == NULL) {
        return NGX_OK;
    }

    survey.caller.pool = survey.seen_pool;

    if (lines_inv_count(&survey.caller, survey_inventory, NULL)
        != NGX_AGAIN)
    {
        survey_stop();
    }

    return NGX_OK;
}


static ngx_int_t
survey_inventory(void *data, lines_inv_count_reply_t *reply)
{
    survey.sums.values[LINES_SURVEY_FREE] = reply->free;
    survey.sums.values[LINES_SURVEY_LEASED] = reply->leased;
    survey.sums.values[LINES_SURVEY_ASSIGNED] = reply->assigned;
    survey.sums.values[LINES_SURVEY_QUARANTINED] = reply->quarantined;

    return NGX_OK;
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

    } else if (survey.ops.nelts == 0 && survey.cursor.len == 0) {
        survey_end();

    } else if (survey_next(caller) == NGX_OK) {
        return;
    }

    survey_stop();
}


/* operations, a few at a time: requests need places in flight as well; then the
   next page of tenants */

static ngx_int_t
survey_next(lines_caller_t *caller)
{
    ngx_uint_t    n;
    survey_op_t  *op;

    for (n = 0; n < LINES_SURVEY_BATCH && survey.ops.nelts; n++) {
        op = (survey_op_t *) survey.ops.elts + --survey.ops.nelts;

        if (lines_op_survey(caller, survey_operation, NULL,
                            .tenant = op->tenant, .id = op->id)
            != NGX_AGAIN)
        {
            return NGX_ERROR;
        }
    }

    if (n) {
        return NGX_OK;
    }

    survey_free(&survey.pool);

    survey.pool = ngx_create_pool(8192, survey.log);
    caller->pool = survey.pool;

    return survey.pool
           && ngx_array_init(&survey.ops, survey.pool, 8, sizeof(survey_op_t))
              == NGX_OK
           && lines_tenants_scan(caller, survey_page, NULL,
                                 .cursor = survey.cursor)
              == NGX_AGAIN
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
survey_page(void *data, lines_tenants_scan_reply_t *reply)
{
    ngx_str_t   *tenant;
    ngx_uint_t   i;

    if (reply->cursor.len == 0
        || reply->cursor.len > sizeof(survey.cursor_text))
    {
        return NGX_ERROR;
    }

    survey.cursor.len = lines_is(&reply->cursor, "0") ? 0 : reply->cursor.len;
    ngx_memcpy(survey.cursor.data, reply->cursor.data, reply->cursor.len);

    for (i = 0; i < reply->members.n; i++) {
        tenant = &reply->members.elts[i];

        if (tenant->len && survey_tenant(tenant) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

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
        return NGX_OK;
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

    survey.sums.values[LINES_SURVEY_TENANTS]++;

    if (lines_tenant_moves(&survey.caller, survey_counts, NULL,
                           .tenant = *tenant, .fields.n = LINES_MOVES,
                           .fields.elts = survey_fields)
        != NGX_AGAIN)
    {
        return NGX_ERROR;
    }

    return lines_ops_read(&survey.caller, survey_operations, tenant,
                          .tenant = *tenant);
}


static ngx_int_t
survey_counts(void *data, lines_tenant_moves_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply->counts.n != LINES_MOVES) {
        return NGX_ERROR;
    }

    for (i = 0; i < LINES_MOVES; i++) {
        survey.sums.values[LINES_SURVEY_RAW + i] +=
                                   survey_number(&reply->counts.elts[i]);
    }

    return NGX_OK;
}


static ngx_int_t
survey_operations(void *data, lines_ops_read_reply_t *reply)
{
    ngx_str_t *tenant = data;

    ngx_uint_t    i;
    survey_op_t  *op;

    for (i = 0; i < reply->ids.n; i++) {

        /* there may be more of them than it pays to look at */

        if (survey.looked == LINES_SURVEY_OPS) {
            survey.sums.values[LINES_SURVEY_OPERATIONS] += reply->ids.n - i;
            break;
        }

        survey.looked++;

        if (reply->ids.elts[i].len) {
            op = ngx_array_push(&survey.ops);
            if (op == NULL) {
                return NGX_ERROR;
            }

            *op = (survey_op_t) { *tenant, reply->ids.elts[i] };
        }
    }

    return NGX_OK;
}


static ngx_int_t
survey_operation(void *data, lines_op_survey_reply_t *reply)
{
    uint64_t  begun;

    if (reply->step.len == 0 || lines_is(&reply->step, "done")) {
        return NGX_OK;
    }

    survey.sums.values[reply->stuck.len ? LINES_SURVEY_STUCK
                                 : LINES_SURVEY_OPERATIONS]++;

    begun = survey_number(&reply->begun);

    if (begun && (survey.oldest == 0 || begun < survey.oldest)) {
        survey.oldest = begun;
    }

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

    if (survey.oldest && survey.oldest < survey.now) {
        survey.sums.values[LINES_SURVEY_OLDEST] =
                                         (survey.now - survey.oldest) / 1000;
    }

    for (i = 0; i < LINES_MOVES; i++) {
        sums = &survey.sums.values[i];
        known = &survey.known.values[i];

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
    lines_caller_detach(&survey.caller);

    survey_free(&survey.pool);
    survey_free(&survey.seen_pool);
}


static void
survey_free(ngx_pool_t **pool)
{
    if (*pool) {
        ngx_destroy_pool(*pool);
        *pool = NULL;
    }
}


static uint64_t
survey_number(ngx_str_t *value)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    return n > 0 ? (uint64_t) n : 0;
}

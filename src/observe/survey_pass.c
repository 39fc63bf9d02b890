
/*
 * The pass: pages of tenants, and of each what its hash and its unfinished
 * operations say.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "observe/survey_pass.h"
#include "store/calls.h"


#define LINES_SURVEY_OPS    5000    /* looked at in a pass */
#define LINES_SURVEY_BATCH  16      /* of a tenant at a time */


static void survey_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t survey_inventory(void *data, lines_inv_count_reply_t *reply);
static void survey_next(lines_survey_t *survey);
static ngx_int_t survey_page(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t survey_first(lines_survey_t *survey, ngx_str_t *tenant);
static ngx_int_t survey_tenant(lines_survey_t *survey, ngx_str_t *tenant);
static ngx_int_t survey_counts(void *data, lines_tenant_moves_reply_t *reply);
static ngx_int_t survey_operations(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t survey_operation(void *data, lines_op_survey_reply_t *reply);


/* a tenant whose operations were asked for */

typedef struct {
    lines_survey_t  *survey;
    ngx_str_t        name;
    ngx_str_t       *ids;    /* n are left to be read */
    ngx_uint_t       n;
    ngx_uint_t       pending;
} lines_survey_tenant_t;


static ngx_int_t survey_batch(lines_survey_tenant_t *st);


lines_survey_move_t
    lines_survey_moves[LINES_SURVEY_MOVES] =
{
    { ngx_string("new"), ngx_string("awaiting_payment"),
      ngx_string("moves:new:awaiting_payment") },
    { ngx_string("new"), ngx_string("provisioning"),
      ngx_string("moves:new:provisioning") },
    { ngx_string("new"), ngx_string("active"),
      ngx_string("moves:new:active") },
    { ngx_string("awaiting_payment"), ngx_string("provisioning"),
      ngx_string("moves:awaiting_payment:provisioning") },
    { ngx_string("awaiting_payment"), ngx_string("canceled"),
      ngx_string("moves:awaiting_payment:canceled") },
    { ngx_string("provisioning"), ngx_string("active"),
      ngx_string("moves:provisioning:active") },
    { ngx_string("provisioning"), ngx_string("failed"),
      ngx_string("moves:provisioning:failed") },
    { ngx_string("provisioning"), ngx_string("canceled"),
      ngx_string("moves:provisioning:canceled") },
    { ngx_string("active"), ngx_string("canceled"),
      ngx_string("moves:active:canceled") },
    { ngx_string("active"), ngx_string("released"),
      ngx_string("moves:active:released") }
};

void
lines_survey_init(lines_survey_t *survey)
{
    lines_caller_init(&survey->caller, survey->lmcf->redis, NULL, survey->log);

    survey->caller.resume = survey_resume;
}


void
lines_survey_start(lines_survey_t *survey)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey->log, 0, "lines survey: begins");

    ngx_memzero(survey->sums, sizeof(survey->sums));

    survey->failed = 0;
    survey->ops = 0;
    survey->oldest = 0;
    survey->nseen = 0;
    survey->seen_size = 0;
    survey->seen = NULL;

    survey->cursor[0] = '0';
    survey->cursor_len = 1;

    survey->seen_pool = ngx_create_pool(4096, survey->log);
    if (survey->seen_pool == NULL) {
        return;
    }

    survey->caller.pool = survey->seen_pool;

    if (lines_inv_count(&survey->caller, survey_inventory, survey)
        != NGX_AGAIN)
    {
        lines_survey_stop(survey);
    }
}


/* once nothing is under way: the next page of tenants, or the end */

static void
survey_resume(lines_caller_t *caller, ngx_int_t rc)
{
    lines_survey_t  *survey;

    survey = ngx_queue_data(caller, lines_survey_t, caller);

    if (rc == NGX_ERROR) {
        survey->failed = 1;
    }

    if (!lines_caller_busy(caller)) {
        survey_next(survey);
    }
}


static ngx_int_t
survey_inventory(void *data, lines_inv_count_reply_t *reply)
{
    lines_survey_t *survey = data;

    survey->sums[LINES_SURVEY_FREE] = reply->free;
    survey->sums[LINES_SURVEY_LEASED] = reply->leased;
    survey->sums[LINES_SURVEY_ASSIGNED] = reply->assigned;
    survey->sums[LINES_SURVEY_QUARANTINED] = reply->quarantined;

    return NGX_OK;
}


static void
survey_next(lines_survey_t *survey)
{
    if (survey->pool) {
        ngx_destroy_pool(survey->pool);
        survey->pool = NULL;
    }

    if (survey->failed) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey->log, 0,
                       "lines survey: given up");
        lines_survey_stop(survey);
        return;
    }

    if (survey->cursor_len == 0) {
        survey->end(survey);
        return;
    }

    survey->pool = ngx_create_pool(8192, survey->log);

    if (survey->pool == NULL) {
        lines_survey_stop(survey);
        return;
    }

    survey->caller.pool = survey->pool;

    if (lines_tenants_scan(&survey->caller, survey_page, survey,
                           .cursor.data = survey->cursor,
                           .cursor.len = survey->cursor_len)
        != NGX_AGAIN)
    {
        lines_survey_stop(survey);
    }
}


static ngx_int_t
survey_page(void *data, lines_tenants_scan_reply_t *reply)
{
    lines_survey_t *survey = data;

    ngx_int_t   rc;
    ngx_str_t  *tenant;
    ngx_uint_t  i;

    if (reply->cursor.len == 0 || reply->cursor.len > sizeof(survey->cursor)) {
        return NGX_ERROR;
    }

    survey->cursor_len = 0;

    if (!lines_is(&reply->cursor, "0")) {
        survey->cursor_len = reply->cursor.len;
        ngx_memcpy(survey->cursor, reply->cursor.data, reply->cursor.len);
    }

    for (i = 0; i < reply->members.n; i++) {
        tenant = &reply->members.elts[i];

        if (tenant->len == 0) {
            continue;
        }

        rc = survey_first(survey, tenant);

        if (rc == NGX_OK) {
            rc = survey_tenant(survey, tenant);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* SSCAN may show a tenant twice, and it must count once: NGX_DECLINED */

static ngx_int_t
survey_first(lines_survey_t *survey, ngx_str_t *tenant)
{
    uint64_t    hash, *seen, *old;
    ngx_uint_t  i, n, size;

    hash = ((uint64_t) ngx_murmur_hash2(tenant->data, tenant->len) << 32)
           | ngx_crc32_long(tenant->data, tenant->len);
    hash |= 1;

    if (survey->nseen * 2 >= survey->seen_size) {
        size = survey->seen_size ? survey->seen_size * 2 : 1024;

        seen = ngx_pcalloc(survey->seen_pool, size * sizeof(uint64_t));
        if (seen == NULL) {
            return NGX_ERROR;
        }

        old = survey->seen;

        for (n = 0; n < survey->seen_size; n++) {
            if (old[n]) {
                for (i = old[n] % size; seen[i]; i = (i + 1) % size) {
                    /* void */
                }

                seen[i] = old[n];
            }
        }

        if (old) {
            (void) ngx_pfree(survey->seen_pool, old);
        }

        survey->seen = seen;
        survey->seen_size = size;
    }

    for (i = hash % survey->seen_size;
         survey->seen[i];
         i = (i + 1) % survey->seen_size)
    {
        if (survey->seen[i] == hash) {
            return NGX_DECLINED;
        }
    }

    survey->seen[i] = hash;
    survey->nseen++;

    return NGX_OK;
}


static ngx_int_t
survey_tenant(lines_survey_t *survey, ngx_str_t *tenant)
{
    ngx_str_t               fields[LINES_SURVEY_MOVES];
    ngx_uint_t              i;
    lines_survey_tenant_t  *st;

    survey->sums[LINES_SURVEY_TENANTS]++;

    st = ngx_pcalloc(survey->pool, sizeof(lines_survey_tenant_t));
    if (st == NULL) {
        return NGX_ERROR;
    }

    st->survey = survey;
    st->name = *tenant;

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        fields[i] = lines_survey_moves[i].field;
    }

    if (lines_tenant_moves(&survey->caller, survey_counts, survey,
                           .tenant = *tenant, .fields.n = LINES_SURVEY_MOVES,
                           .fields.elts = fields)
        != NGX_AGAIN)
    {
        return NGX_ERROR;
    }

    return lines_ops_read(&survey->caller, survey_operations, st,
                          .tenant = *tenant);
}


static ngx_int_t
survey_counts(void *data, lines_tenant_moves_reply_t *reply)
{
    lines_survey_t *survey = data;

    ngx_uint_t  i;

    if (reply->counts.n != LINES_SURVEY_MOVES) {
        return NGX_ERROR;
    }

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        survey->sums[LINES_SURVEY_RAW + i] +=
                                   lines_survey_number(&reply->counts.elts[i]);
    }

    return NGX_OK;
}


static ngx_int_t
survey_operations(void *data, lines_ops_read_reply_t *reply)
{
    lines_survey_tenant_t *st = data;

    lines_survey_t  *survey;

    survey = st->survey;

    /* there may be more of them than it pays to look at */

    st->ids = reply->ids.elts;
    st->n = ngx_min(reply->ids.n, LINES_SURVEY_OPS - survey->ops);

    survey->ops += st->n;
    survey->sums[LINES_SURVEY_OPERATIONS] += reply->ids.n - st->n;

    return survey_batch(st);
}


/* a few at a time: requests need places in flight as well */

static ngx_int_t
survey_batch(lines_survey_tenant_t *st)
{
    lines_survey_t  *survey;
    ngx_str_t        tenant;
    ngx_str_t        id;

    survey = st->survey;
    tenant = st->name;

    while (st->n && st->pending < LINES_SURVEY_BATCH && !survey->failed) {
        id = st->ids[--st->n];

        if (id.len == 0) {
            continue;
        }

        if (lines_op_survey(&survey->caller, survey_operation, st,
                            .tenant = tenant, .id = id)
            != NGX_AGAIN)
        {
            return NGX_ERROR;
        }

        st->pending++;
    }

    return NGX_OK;
}


static ngx_int_t
survey_operation(void *data, lines_op_survey_reply_t *reply)
{
    lines_survey_tenant_t *st = data;

    uint64_t         begun;
    lines_survey_t  *survey;

    survey = st->survey;
    st->pending--;

    if (reply->step.len && !lines_is(&reply->step, "done")) {

        survey->sums[reply->stuck.len ? LINES_SURVEY_STUCK
                                      : LINES_SURVEY_OPERATIONS]++;

        begun = lines_survey_number(&reply->begun);

        if (begun && (survey->oldest == 0 || begun < survey->oldest)) {
            survey->oldest = begun;
        }
    }

    return survey_batch(st);
}


void
lines_survey_stop(lines_survey_t *survey)
{
    lines_caller_detach(&survey->caller);

    if (survey->pool) {
        ngx_destroy_pool(survey->pool);
        survey->pool = NULL;
    }

    if (survey->seen_pool) {
        ngx_destroy_pool(survey->seen_pool);
        survey->seen_pool = NULL;
    }
}


uint64_t
lines_survey_number(ngx_str_t *value)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    return n > 0 ? (uint64_t) n : 0;
}

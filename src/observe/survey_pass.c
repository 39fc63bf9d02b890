
/*
 * The pass: pages of tenants, and of each what its hash and its unfinished
 * operations say.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "observe/survey_pass.h"
#include "store/scripts.h"


#define LINES_SURVEY_PAGE   "50"
#define LINES_SURVEY_OPS    5000    /* looked at in a pass */
#define LINES_SURVEY_BATCH  16      /* of a tenant at a time */


static void survey_inventory(void *data, redisReply *reply);
static void survey_next(lines_survey_t *survey);
static void survey_page(void *data, redisReply *reply);
static ngx_uint_t survey_first(lines_survey_t *survey, ngx_str_t *tenant);
static void survey_tenant(lines_survey_t *survey, ngx_str_t *tenant);
static void survey_counts(void *data, redisReply *reply);
static void survey_operations(void *data, redisReply *reply);
static void survey_operation(void *data, redisReply *reply);
static void survey_send(lines_survey_t *survey, ngx_uint_t argc,
    ngx_str_t *argv, lines_redis_handler_pt handler, void *data);


/* a tenant whose operations were asked for */

typedef struct {
    lines_survey_t  *survey;
    ngx_str_t        name;
    ngx_str_t       *ids;    /* n are left to be read */
    ngx_uint_t       n;
    ngx_uint_t       pending;
} lines_survey_tenant_t;


static void survey_batch(lines_survey_tenant_t *st);


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
lines_survey_start(lines_survey_t *survey)
{
    ngx_str_t  args[4];

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, survey->log, 0, "lines survey: begins");

    ngx_memzero(survey->sums, sizeof(survey->sums));

    survey->passing = 1;
    survey->failed = 0;
    survey->pending = 0;
    survey->ops = 0;
    survey->oldest = 0;
    survey->nseen = 0;
    survey->seen_size = 0;
    survey->seen = NULL;

    survey->cursor[0] = '0';
    survey->cursor_len = 1;

    survey->seen_pool = ngx_create_pool(4096, survey->log);
    if (survey->seen_pool == NULL) {
        survey->passing = 0;
        return;
    }

    ngx_str_set(&args[0], "lines:{inv}:free");
    ngx_str_set(&args[1], "lines:{inv}:leased");
    ngx_str_set(&args[2], "lines:{inv}:assigned");
    ngx_str_set(&args[3], "lines:{inv}:quarantined");

    if (lines_redis_eval(survey->lmcf->redis, &lines_script_inv_count, 4, 4,
                         args, survey_inventory, survey)
        != NULL)
    {
        survey->pending++;

    } else {
        survey->failed = 1;
    }

    survey_next(survey);
}


static void
survey_inventory(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    ngx_uint_t  i;

    survey->pending--;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 4)
    {
        survey->failed = 1;

    } else {
        for (i = 0; i < 4; i++) {
            survey->sums[LINES_SURVEY_FREE + i] = lines_survey_number(
                                                            reply->element[i]);
        }
    }

    survey_next(survey);
}


/* nothing is pending: the next page of tenants, or the end */

static void
survey_next(lines_survey_t *survey)
{
    ngx_str_t  argv[5];

    if (survey->pending) {
        return;
    }

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

    ngx_str_set(&argv[0], "SSCAN");
    ngx_str_set(&argv[1], "lines:{tenants}");
    argv[2].data = survey->cursor;
    argv[2].len = survey->cursor_len;
    ngx_str_set(&argv[3], "COUNT");
    ngx_str_set(&argv[4], LINES_SURVEY_PAGE);

    survey->pool = ngx_create_pool(8192, survey->log);

    if (survey->pool == NULL) {
        survey->failed = 1;

    } else {
        survey_send(survey, 5, argv, survey_page, survey);
    }

    if (survey->failed) {
        lines_survey_stop(survey);
    }
}


static void
survey_page(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    ngx_str_t    tenant;
    ngx_uint_t   i;
    redisReply  *cursor, *page;

    survey->pending--;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY
        || (size_t) reply->element[0]->len > sizeof(survey->cursor))
    {
        survey->failed = 1;
        survey_next(survey);
        return;
    }

    cursor = reply->element[0];
    page = reply->element[1];

    survey->cursor_len = cursor->len;
    ngx_memcpy(survey->cursor, cursor->str, cursor->len);

    if (cursor->len == 1 && cursor->str[0] == '0') {
        survey->cursor_len = 0;
    }

    for (i = 0; i < page->elements; i++) {
        tenant = lines_reply_str(page, i);

        if (tenant.len && survey_first(survey, &tenant)) {
            survey_tenant(survey, &tenant);
        }
    }

    survey_next(survey);
}


/* SSCAN may show a tenant twice, and it must count once */

static ngx_uint_t
survey_first(lines_survey_t *survey, ngx_str_t *tenant)
{
    uint64_t     hash, *seen, *old;
    ngx_uint_t   i, n, size;

    hash = ((uint64_t) ngx_murmur_hash2(tenant->data, tenant->len) << 32)
           | ngx_crc32_long(tenant->data, tenant->len);
    hash |= 1;

    if (survey->nseen * 2 >= survey->seen_size) {
        size = survey->seen_size ? survey->seen_size * 2 : 1024;

        seen = ngx_pcalloc(survey->seen_pool, size * sizeof(uint64_t));
        if (seen == NULL) {
            survey->failed = 1;
            return 0;
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
            return 0;
        }
    }

    survey->seen[i] = hash;
    survey->nseen++;

    return 1;
}


static void
survey_tenant(lines_survey_t *survey, ngx_str_t *tenant)
{
    ngx_str_t               argv[2 + LINES_SURVEY_MOVES];
    ngx_uint_t              i;
    lines_survey_tenant_t  *st;

    survey->sums[LINES_SURVEY_TENANTS]++;

    st = ngx_pcalloc(survey->pool, sizeof(lines_survey_tenant_t));

    if (st == NULL
        || lines_redis_format(survey->pool, &st->name, "%V", tenant) != NGX_OK
        || lines_redis_format(survey->pool, &argv[1], "lines:{%V}:t", tenant)
           != NGX_OK)
    {
        survey->failed = 1;
        return;
    }

    st->survey = survey;

    ngx_str_set(&argv[0], "HMGET");

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        argv[2 + i] = lines_survey_moves[i].field;
    }

    survey_send(survey, 2 + LINES_SURVEY_MOVES, argv, survey_counts, survey);

    if (lines_redis_format(survey->pool, &argv[1], "lines:{%V}:ops", tenant)
        != NGX_OK)
    {
        survey->failed = 1;
        return;
    }

    ngx_str_set(&argv[0], "SMEMBERS");

    survey_send(survey, 2, argv, survey_operations, st);
}


static void
survey_counts(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    ngx_uint_t  i;

    survey->pending--;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != LINES_SURVEY_MOVES)
    {
        survey->failed = 1;

    } else {
        for (i = 0; i < LINES_SURVEY_MOVES; i++) {
            survey->sums[LINES_SURVEY_RAW + i] += lines_survey_number(
                                                            reply->element[i]);
        }
    }

    survey_next(survey);
}


static void
survey_operations(void *data, redisReply *reply)
{
    lines_survey_tenant_t *st = data;

    ngx_str_t        id;
    ngx_uint_t       i;
    lines_survey_t  *survey;

    survey = st->survey;
    survey->pending--;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        survey->failed = 1;
        survey_next(survey);
        return;
    }

    st->ids = ngx_palloc(survey->pool,
                         (reply->elements + 1) * sizeof(ngx_str_t));
    if (st->ids == NULL) {
        survey->failed = 1;
        survey_next(survey);
        return;
    }

    for (i = 0; i < reply->elements; i++) {

        if (survey->ops++ >= LINES_SURVEY_OPS) {

            /* there are more of them than it pays to look at */

            survey->sums[LINES_SURVEY_OPERATIONS]++;
            continue;
        }

        id = lines_reply_str(reply, i);

        if (lines_redis_format(survey->pool, &st->ids[st->n++],
                               "lines:{%V}:op:%V", &st->name, &id)
            != NGX_OK)
        {
            survey->failed = 1;
            break;
        }
    }

    survey_batch(st);
    survey_next(survey);
}


/* a few at a time: requests need places in flight as well */

static void
survey_batch(lines_survey_tenant_t *st)
{
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "step");
    ngx_str_set(&argv[3], "begun");
    ngx_str_set(&argv[4], "stuck");

    while (st->n && st->pending < LINES_SURVEY_BATCH && !st->survey->failed) {
        argv[1] = st->ids[--st->n];

        survey_send(st->survey, 5, argv, survey_operation, st);
        st->pending++;
    }
}


static void
survey_operation(void *data, redisReply *reply)
{
    lines_survey_tenant_t *st = data;

    uint64_t         begun;
    ngx_str_t        step, stuck;
    lines_survey_t  *survey;

    survey = st->survey;
    survey->pending--;
    st->pending--;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 3)
    {
        survey->failed = 1;
        survey_next(survey);
        return;
    }

    step = lines_reply_str(reply, 0);
    stuck = lines_reply_str(reply, 2);

    if (step.len && !lines_is(&step, "done")) {

        survey->sums[stuck.len ? LINES_SURVEY_STUCK
                               : LINES_SURVEY_OPERATIONS]++;

        begun = lines_survey_number(reply->element[1]);

        if (begun && (survey->oldest == 0 || begun < survey->oldest)) {
            survey->oldest = begun;
        }
    }

    survey_batch(st);
    survey_next(survey);
}


void
lines_survey_stop(lines_survey_t *survey)
{
    if (survey->pool) {
        ngx_destroy_pool(survey->pool);
        survey->pool = NULL;
    }

    if (survey->seen_pool) {
        ngx_destroy_pool(survey->seen_pool);
        survey->seen_pool = NULL;
    }

    survey->passing = 0;
}


static void
survey_send(lines_survey_t *survey, ngx_uint_t argc, ngx_str_t *argv,
    lines_redis_handler_pt handler, void *data)
{
    if (lines_redis_command(survey->lmcf->redis, argc, argv, handler, data)
        == NULL)
    {
        survey->failed = 1;
        return;
    }

    survey->pending++;
}


uint64_t
lines_survey_number(redisReply *reply)
{
    off_t  n;

    if (reply->type == REDIS_REPLY_INTEGER) {
        return reply->integer > 0 ? (uint64_t) reply->integer : 0;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        return 0;
    }

    n = ngx_atoof((u_char *) reply->str, reply->len);

    return n > 0 ? (uint64_t) n : 0;
}


/*
 * Asks for what is known, shows it, and has it added up anew when it is old.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "observe/survey_pass.h"


/* its fields are numbers: another set of them is under another key */
#define LINES_SURVEY_KEY    "lines:{survey}:2"
#define LINES_SURVEY_LEASE  "lines:{survey}:lease"

#define LINES_SURVEY_READ   5000    /* ms at the most */
#define LINES_SURVEY_HOLD   60000


static void survey_handler(ngx_event_t *ev);
static void survey_time(void *data, redisReply *reply);
static void survey_known(void *data, redisReply *reply);
static void survey_publish(lines_survey_t *survey);
static void survey_claim(lines_survey_t *survey);
static void survey_claimed(void *data, redisReply *reply);
static void survey_end(lines_survey_t *survey);
static void survey_nothing(void *data, redisReply *reply);


static lines_survey_t  the_survey;


ngx_int_t
lines_survey_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_survey_t  *survey;

    /* one worker of a node is enough */

    if (lmcf->survey == 0 || ngx_worker != 0) {
        return NGX_OK;
    }

    survey = &the_survey;

    survey->lmcf = lmcf;
    survey->log = cycle->log;
    survey->end = survey_end;

    survey->timer.handler = survey_handler;
    survey->timer.data = survey;
    survey->timer.log = cycle->log;
    survey->timer.cancelable = 1;

    ngx_add_timer(&survey->timer, 200 + ngx_random() % 300);

    return NGX_OK;
}


void
lines_survey_exit_process(lines_main_conf_t *lmcf)
{
    if (the_survey.timer.timer_set) {
        ngx_del_timer(&the_survey.timer);
    }

    lines_survey_stop(&the_survey);
}


static void
survey_handler(ngx_event_t *ev)
{
    ngx_str_t             argv[2];
    lines_redis_status_t  status;
    lines_survey_t       *survey;

    survey = ev->data;

    if (ngx_exiting || survey->lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(survey->lmcf->redis, &status);

    if (status.connected && !survey->asking && !survey->passing) {

        ngx_str_set(&argv[0], "TIME");

        if (lines_redis_command(survey->lmcf->redis, 1, argv, survey_time,
                                survey)
            != NULL)
        {
            survey->asking = 1;
        }
    }

    ngx_add_timer(ev,
                  ngx_min(survey->lmcf->survey / 2, LINES_SURVEY_READ) + 1);
}


static void
survey_time(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    ngx_str_t  argv[2];

    survey->asking = 0;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2)
    {
        return;
    }

    survey->now = lines_survey_number(reply->element[0]) * 1000
                  + lines_survey_number(reply->element[1]) / 1000;

    ngx_str_set(&argv[0], "HGETALL");
    ngx_str_set(&argv[1], LINES_SURVEY_KEY);

    if (lines_redis_command(survey->lmcf->redis, 2, argv, survey_known, survey)
        != NULL)
    {
        survey->asking = 1;
    }
}


/* fields are the numbers of values, and "at" */

static void
survey_known(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    ngx_int_t    n;
    ngx_uint_t   i;
    redisReply  *field;

    survey->asking = 0;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }

    survey->at = 0;
    ngx_memzero(survey->known, sizeof(survey->known));

    for (i = 0; i + 1 < reply->elements; i += 2) {
        field = reply->element[i];

        if (field->type != REDIS_REPLY_STRING) {
            continue;
        }

        if (field->len == 2 && ngx_strncmp(field->str, "at", 2) == 0) {
            survey->at = lines_survey_number(reply->element[i + 1]);
            continue;
        }

        n = ngx_atoi((u_char *) field->str, field->len);

        if (n >= 0 && n < LINES_SURVEY_VALUES) {
            survey->known[n] = lines_survey_number(reply->element[i + 1]);
        }
    }

    survey_publish(survey);

    if (survey->now >= (survey->at * 1000) + survey->lmcf->survey) {
        survey_claim(survey);
    }
}


static void
survey_publish(lines_survey_t *survey)
{
    ngx_uint_t               i;
    lines_metrics_survey_t  *shown;

    shown = &((lines_metrics_area_t *) lines_zone_area(survey->lmcf,
                                                  LINES_ZONE_METRICS))->survey;

    for (i = 0; i < LINES_SURVEY_VALUES; i++) {
        shown->values[i] = (ngx_atomic_uint_t) survey->known[i];
    }

    /* by the node's clock, which tells its age */

    shown->at = survey->at
                ? (ngx_atomic_uint_t) (ngx_time()
                                       - (time_t) (survey->now / 1000
                                                   - survey->at))
                : 0;
}


static void
survey_claim(lines_survey_t *survey)
{
    u_char     ms[NGX_INT_T_LEN];
    ngx_str_t  argv[6];

    ngx_str_set(&argv[0], "SET");
    ngx_str_set(&argv[1], LINES_SURVEY_LEASE);
    ngx_str_set(&argv[2], "1");
    ngx_str_set(&argv[3], "NX");
    ngx_str_set(&argv[4], "PX");

    argv[5].data = ms;
    argv[5].len = ngx_sprintf(ms, "%d", LINES_SURVEY_HOLD) - ms;

    if (lines_redis_command(survey->lmcf->redis, 6, argv, survey_claimed,
                            survey)
        != NULL)
    {
        survey->asking = 1;
    }
}


static void
survey_claimed(void *data, redisReply *reply)
{
    lines_survey_t *survey = data;

    survey->asking = 0;

    if (reply && reply->type == REDIS_REPLY_STATUS) {
        lines_survey_start(survey);
    }
}


/* the sums: to Redis, and shown */

static void
survey_end(lines_survey_t *survey)
{
    u_char      numbers[LINES_SURVEY_VALUES + 1][2][NGX_INT64_LEN];
    uint64_t    raw;
    ngx_str_t   argv[4 + 2 * LINES_SURVEY_VALUES];
    ngx_uint_t  i, n;

    if (survey->oldest && survey->oldest < survey->now) {
        survey->sums[LINES_SURVEY_OLDEST] = (survey->now - survey->oldest)
                                            / 1000;
    }

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        raw = survey->sums[LINES_SURVEY_RAW + i];

        survey->sums[LINES_SURVEY_SHOWN + i] =
                            survey->known[LINES_SURVEY_SHOWN + i];

        if (raw > survey->known[LINES_SURVEY_RAW + i]) {
            survey->sums[LINES_SURVEY_SHOWN + i] +=
                         raw - survey->known[LINES_SURVEY_RAW + i];
        }
    }

    survey->at = survey->now / 1000;
    ngx_memcpy(survey->known, survey->sums, sizeof(survey->known));

    survey_publish(survey);

    n = 0;
    ngx_str_set(&argv[n], "HSET");
    n++;
    ngx_str_set(&argv[n], LINES_SURVEY_KEY);
    n++;

    for (i = 0; i < LINES_SURVEY_VALUES; i++) {
        argv[n].data = numbers[i][0];
        argv[n].len = ngx_sprintf(numbers[i][0], "%ui", i) - numbers[i][0];
        n++;

        argv[n].data = numbers[i][1];
        argv[n].len = ngx_sprintf(numbers[i][1], "%uL", survey->known[i])
                      - numbers[i][1];
        n++;
    }

    ngx_str_set(&argv[n], "at");
    n++;

    argv[n].data = numbers[i][1];
    argv[n].len = ngx_sprintf(numbers[i][1], "%uL", survey->at)
                  - numbers[i][1];
    n++;

    (void) lines_redis_command(survey->lmcf->redis, n, argv, survey_nothing,
                               NULL);

    ngx_str_set(&argv[0], "DEL");
    ngx_str_set(&argv[1], LINES_SURVEY_LEASE);

    (void) lines_redis_command(survey->lmcf->redis, 2, argv, survey_nothing,
                               NULL);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, survey->log, 0,
                   "lines survey: %ui tenants", survey->nseen);

    lines_survey_stop(survey);
}


static void
survey_nothing(void *data, redisReply *reply)
{
}

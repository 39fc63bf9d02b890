
/*
 * Asks for what is known, shows it, and has it added up anew when it is old.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/metrics.h"
#include "http/text.h"
#include "observe/survey_pass.h"
#include "store/calls.h"


#define LINES_SURVEY_READ   5000    /* ms at the most */
#define LINES_SURVEY_HOLD   60000


static void survey_handler(ngx_event_t *ev);
static ngx_int_t survey_time(void *data, lines_time_reply_t *reply);
static ngx_int_t survey_known(void *data, lines_survey_read_reply_t *reply);
static void survey_publish(lines_survey_t *survey);
static ngx_int_t survey_claimed(void *data, lines_survey_claim_reply_t *reply);
static void survey_end(lines_survey_t *survey);


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

    lines_caller_init(&survey->asker, lmcf->redis, NULL, cycle->log);
    lines_survey_init(survey);

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
    lines_survey_t  *survey;

    survey = &the_survey;

    if (survey->lmcf == NULL) {
        return;
    }

    if (survey->timer.timer_set) {
        ngx_del_timer(&survey->timer);
    }

    lines_caller_detach(&survey->asker);
    lines_survey_stop(survey);
}


static void
survey_handler(ngx_event_t *ev)
{
    lines_survey_t       *survey;
    lines_redis_status_t  status;

    survey = ev->data;

    if (ngx_exiting || survey->lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(survey->lmcf->redis, &status);

    if (status.connected
        && !lines_caller_busy(&survey->asker)
        && !lines_caller_busy(&survey->caller))
    {
        (void) lines_time(&survey->asker, survey_time, survey);
    }

    ngx_add_timer(ev,
                  ngx_min(survey->lmcf->survey / 2, LINES_SURVEY_READ) + 1);
}


static ngx_int_t
survey_time(void *data, lines_time_reply_t *reply)
{
    lines_survey_t *survey = data;

    survey->now = lines_time_ms(reply);

    return lines_survey_read(&survey->asker, survey_known, survey);
}


/* fields are the numbers of values, and "at" */

static ngx_int_t
survey_known(void *data, lines_survey_read_reply_t *reply)
{
    lines_survey_t *survey = data;

    ngx_int_t   n;
    ngx_str_t  *pair;
    ngx_uint_t  i;

    survey->at = 0;
    ngx_memzero(survey->known, sizeof(survey->known));

    for (i = 0; i + 1 < reply->pairs.n; i += 2) {
        pair = &reply->pairs.elts[i];

        if (lines_is(&pair[0], "at")) {
            survey->at = lines_survey_number(&pair[1]);
            continue;
        }

        n = ngx_atoi(pair[0].data, pair[0].len);

        if (n >= 0 && n < LINES_SURVEY_VALUES) {
            survey->known[n] = lines_survey_number(&pair[1]);
        }
    }

    survey_publish(survey);

    if (survey->now < (survey->at * 1000) + survey->lmcf->survey) {
        return NGX_OK;
    }

    return lines_survey_claim(&survey->asker, survey_claimed, survey,
                              .ms = LINES_SURVEY_HOLD);
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


static ngx_int_t
survey_claimed(void *data, lines_survey_claim_reply_t *reply)
{
    lines_survey_t *survey = data;

    if (reply->ok.len) {
        lines_survey_start(survey);
    }

    return NGX_OK;
}


/* the sums: to Redis, and shown */

static void
survey_end(lines_survey_t *survey)
{
    u_char                       numbers[LINES_SURVEY_VALUES + 1][2]
                                        [NGX_INT64_LEN];
    uint64_t                     raw;
    ngx_str_t                    pairs[LINES_SURVEY_VALUES + 1][2];
    ngx_uint_t                   i;

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

    for (i = 0; i < LINES_SURVEY_VALUES; i++) {
        pairs[i][0].data = numbers[i][0];
        pairs[i][0].len = ngx_sprintf(numbers[i][0], "%ui", i) - numbers[i][0];
        pairs[i][1].data = numbers[i][1];
        pairs[i][1].len = ngx_sprintf(numbers[i][1], "%uL", survey->known[i])
                          - numbers[i][1];
    }

    ngx_str_set(&pairs[i][0], "at");
    pairs[i][1].data = numbers[i][1];
    pairs[i][1].len = ngx_sprintf(numbers[i][1], "%uL", survey->at)
                      - numbers[i][1];

    (void) lines_forget_survey_put(&survey->asker, .pairs.n = 2 * (i + 1),
                                   .pairs.elts = pairs[0]);
    (void) lines_forget_survey_release(&survey->asker);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, survey->log, 0,
                   "lines survey: %ui tenants", survey->nseen);

    lines_survey_stop(survey);
}

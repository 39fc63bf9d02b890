
/*
 * A pass over all tenants, which adds up what they have.
 */

#ifndef _LINES_OBSERVE_SURVEY_PASS_H_INCLUDED_
#define _LINES_OBSERVE_SURVEY_PASS_H_INCLUDED_


#include "observe/survey.h"
#include "store/caller.h"


typedef struct lines_survey_s {
    lines_main_conf_t  *lmcf;
    ngx_log_t          *log;
    ngx_event_t         timer;
    lines_caller_t      asker;     /* of what is known */

    uint64_t            now;       /* Redis' clock, ms */
    uint64_t            at;        /* of the last pass, s */
    uint64_t            known[LINES_SURVEY_VALUES];

    /* the pass under way */

    lines_caller_t      caller;
    ngx_pool_t         *pool;      /* of a page, and of its replies */
    ngx_pool_t         *seen_pool;
    uint64_t           *seen;      /* hashes of tenants */
    ngx_uint_t          nseen;
    ngx_uint_t          seen_size;
    ngx_uint_t          ops;
    uint64_t            oldest;    /* begun at, ms */
    uint64_t            sums[LINES_SURVEY_VALUES];
    u_char              cursor[24];
    size_t              cursor_len;

    /* once the sums are those of a whole pass; a pass that fails just ends */
    void              (*end)(struct lines_survey_s *survey);

    ngx_uint_t          failed;    /* flag */
} lines_survey_t;


void lines_survey_init(lines_survey_t *survey);

/* begins a pass */
void lines_survey_start(lines_survey_t *survey);

/* frees what a pass holds */
void lines_survey_stop(lines_survey_t *survey);

/* 0 where it is none */
uint64_t lines_survey_number(ngx_str_t *value);


#endif /* _LINES_OBSERVE_SURVEY_PASS_H_INCLUDED_ */

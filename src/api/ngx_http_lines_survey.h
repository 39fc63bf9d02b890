
/*
 * Numbers that no counter knows: lines by state, the inventory, operations
 * under way.  One worker of the fleet adds them up at a time, tenant by
 * tenant, and leaves the sums in Redis; every node reads them there and shows
 * them with their age.
 *
 * Moves of lines are counted by the scripts that make them, so that their sum
 * is exact however many answers were lost.  The sum goes down where a tenant
 * is deleted; what is shown as a counter does not.
 */

#ifndef _NGX_HTTP_LINES_SURVEY_H_INCLUDED_
#define _NGX_HTTP_LINES_SURVEY_H_INCLUDED_


#include "ngx_http_lines_metrics.h"


#define NGX_HTTP_LINES_SURVEY_MOVES  10


typedef enum {
    NGX_HTTP_LINES_SURVEY_TENANTS = 0,
    NGX_HTTP_LINES_SURVEY_OPERATIONS,      /* unfinished, not stuck */
    NGX_HTTP_LINES_SURVEY_STUCK,
    NGX_HTTP_LINES_SURVEY_OLDEST,          /* s */
    NGX_HTTP_LINES_SURVEY_FREE,            /* the inventory */
    NGX_HTTP_LINES_SURVEY_LEASED,
    NGX_HTTP_LINES_SURVEY_ASSIGNED,
    NGX_HTTP_LINES_SURVEY_QUARANTINED,

    /* moves as they are found, then as they are shown */

    NGX_HTTP_LINES_SURVEY_RAW,
    NGX_HTTP_LINES_SURVEY_SHOWN = NGX_HTTP_LINES_SURVEY_RAW
                                  + NGX_HTTP_LINES_SURVEY_MOVES,
    NGX_HTTP_LINES_SURVEY_VALUES = NGX_HTTP_LINES_SURVEY_SHOWN
                                   + NGX_HTTP_LINES_SURVEY_MOVES
} ngx_http_lines_survey_e;


typedef struct {
    ngx_str_t    from;
    ngx_str_t    to;
    ngx_str_t    field;                    /* of the tenant's hash */
} ngx_http_lines_survey_move_t;

extern ngx_http_lines_survey_move_t
    ngx_http_lines_survey_moves[NGX_HTTP_LINES_SURVEY_MOVES];


ngx_int_t ngx_http_lines_survey_init_process(ngx_cycle_t *cycle,
    ngx_http_lines_main_conf_t *lmcf);
void ngx_http_lines_survey_exit_process(ngx_http_lines_main_conf_t *lmcf);


#endif /* _NGX_HTTP_LINES_SURVEY_H_INCLUDED_ */

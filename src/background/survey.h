
/*
 * The pass over all tenants: one worker of the fleet makes it at a time, and no
 * faster than Redis notices.  It adds up what no counter knows, lines by state,
 * the inventory, operations under way, and leaves the sums in Redis; every node
 * reads them there and shows them with their age.  On its way it gives lines of
 * a layout before this one's, and unfinished operations hints that were lost.
 *
 * Moves of lines are counted by the scripts that make them, so that their sum
 * is exact however many answers were lost.  The sum goes down where a tenant
 * is deleted; what is shown as a counter does not.
 */

#ifndef _LINES_BACKGROUND_SURVEY_H_INCLUDED_
#define _LINES_BACKGROUND_SURVEY_H_INCLUDED_


#include "http/metrics.h"
#include "store/calls.h"


/* states of lines, which are new before */

#define lines_survey_state(state)  LINES_STATE_##state,

enum {
    LINES_STATE_new,
    LINES_EACH_COUNTED(lines_survey_state)
    LINES_STATES
};


/* moves of lines that are counted */

#define lines_survey_move(from, to)  LINES_MOVE_##from##_##to,

enum {
    LINES_EACH_MOVE(lines_survey_move)
};


typedef enum {
    LINES_SURVEY_TENANTS = 0,
    LINES_SURVEY_OPERATIONS,      /* unfinished, not stuck */
    LINES_SURVEY_STUCK,
    LINES_SURVEY_OLDEST,          /* s */
    LINES_SURVEY_FREE,            /* the inventory */
    LINES_SURVEY_LEASED,
    LINES_SURVEY_ASSIGNED,
    LINES_SURVEY_QUARANTINED,

    /* moves as they are found, then as they are shown */

    LINES_SURVEY_RAW,
    LINES_SURVEY_SHOWN = LINES_SURVEY_RAW + LINES_MOVES,
    LINES_SURVEY_SKIPPED = LINES_SURVEY_SHOWN + LINES_MOVES,

    LINES_SURVEY_UNTOLD,          /* events of webhooks that failed, and are to
                                     be told again */
    LINES_SURVEY_VALUES           /* Redis knows them by their place: a new one
                                     is the last */
} lines_survey_e;


/* lines in each state, as the survey found their moves */
void lines_survey_states(lines_metrics_survey_t *survey,
    ngx_atomic_int_t states[LINES_STATES]);

void lines_survey_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_survey_exit_process(void);


#endif /* _LINES_BACKGROUND_SURVEY_H_INCLUDED_ */


/*
 * The auditor: a slow pass over both sides, all the time, by one worker of the
 * fleet.  What disagrees is looked at twice, counted, listed, and repaired by
 * the operation that an event would begin where that is certain.
 */

#ifndef _LINES_BACKGROUND_AUDIT_H_INCLUDED_
#define _LINES_BACKGROUND_AUDIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "http/conf.h"
#include "store/caller.h"


/* kinds of disagreements: conf/admin.md says what each is */

#define LINES_EACH_AUDIT(kind)                                                \
    kind(orphan)                                                              \
    kind(unpaid)                                                              \
    kind(suspended)                                                           \
    kind(released)                                                            \
    kind(credited)                                                            \
    kind(disputed)                                                            \
    kind(plan)                                                                \
    kind(shared)                                                              \
    kind(number)                                                              \
    kind(window)                                                              \
    kind(counter)                                                             \
    kind(pending)                                                             \
    kind(record)                                                              \
    kind(unread)                                                              \
    kind(hint)

#define lines_audit_kind(kind)  LINES_AUDIT_##kind,

typedef enum {
    LINES_EACH_AUDIT(lines_audit_kind)
    LINES_AUDITS
} lines_audit_e;

extern ngx_str_t  lines_audit_kinds[LINES_AUDITS];


/* what is listed: strings may be empty */

typedef struct {
    lines_audit_e   kind;
    ngx_uint_t      repaired;      /* flag: or is being so; else shown */
    ngx_str_t       tenant;
    ngx_str_t       id;            /* line, number, operation or counter */
    ngx_str_t       subscription;
    ngx_str_t       here;          /* what Redis says */
    ngx_str_t       there;         /* what billing, or another record, says */
    ngx_str_t       operation;     /* that holds a number, and is gone */
    ngx_int_t     (*act)(void);    /* what follows of it; NULL: nothing more */
} lines_audit_found_t;

/* counts it, and lists it; nobody waits */
void lines_audit_report(lines_caller_t *caller, lines_audit_found_t *found);

/* one worker of a node passes, where there is billing */
void lines_audit_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_audit_exit_process(void);


#endif /* _LINES_BACKGROUND_AUDIT_H_INCLUDED_ */

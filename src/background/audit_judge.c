
/*
 * The auditor judges: whether a subscription and its line disagree, and whether
 * somebody sees to it.
 */

#include "background/audit_judge.h"
#include "http/text.h"
#include "operation/database.h"
#include "operation/operation.h"


static ngx_int_t judge_free(void *data, lines_audit_flight_reply_t *reply);
static ngx_int_t judge_acted(lines_look_t *look);


static lines_audit_t *const       audit = &lines_audit;
static lines_audit_side_t *const  side = &lines_audit_side;

lines_audit_side_t  lines_audit_side;


void
lines_audit_look(lines_look_t *look, ngx_int_t (*judged)(lines_look_t *look))
{
    ngx_memzero(look, sizeof(lines_look_t));

    look->lmcf = audit->lmcf;
    look->caller = &audit->caller;
    look->pool = audit->pool;
    look->log = ngx_cycle->log;
    look->judge = 1;
    look->end = judged;
}


ngx_uint_t
lines_audit_disagrees(lines_look_t *look)
{
    ngx_uint_t            same;
    lines_sub_e           sub;
    lines_database_t      database;
    lines_audit_found_t  *found;

    sub = lines_op_sub(&look->status);
    same = lines_same(&look->line.subscription, &look->subscription);

    found = &side->found;

    *found = (lines_audit_found_t) {
        .repaired = 1, .tenant = look->tenant, .id = look->id,
        .subscription = look->subscription, .here = look->line.status,
        .there = look->status, .act = lines_audit_act
    };

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        found->kind = LINES_AUDIT_orphan;

        /* a database that was emptied knows nothing of what it sold */

        found->repaired = lines_database_state(look->lmcf, &database)
                          == LINES_DATABASE_FINE
                          && look->created * 1000 >= database.found.born
                          && !look->lost;

        if (look->lost) {
            ngx_str_set(&found->here, "its tenant is lost");

        } else if (look->line.status.len == 0) {
            ngx_str_set(&found->here, "no such line");

        } else if (!same) {
            ngx_str_set(&found->here, "its line has another one");
        }

        return 1;
    }

    /* of one that ended, and was not released, nobody says what is due */

    if (look->follows == LINES_FOLLOWS_RELEASE
        || (same && look->line.ended.len && !look->line.reading.len
            && (sub == LINES_SUB_LIVE || sub == LINES_SUB_OVERDUE)))
    {
        found->kind = LINES_AUDIT_released;
        found->repaired = (look->follows == LINES_FOLLOWS_RELEASE);
        found->here = lines_op_text(look->line.released.len ? "released"
                                                            : "ended");

        return 1;
    }

    if (look->follows != LINES_FOLLOWS_LAPSE || look->line.reading.len) {
        return 0;
    }

    if (sub == LINES_SUB_LIVE) {
        found->kind = LINES_AUDIT_suspended;
        ngx_str_set(&found->here, "suspended");

        return 1;
    }

    found->kind = LINES_AUDIT_unpaid;

    return sub == LINES_SUB_ENDED
           || (sub == LINES_SUB_OVERDUE && look->line.suspended.len == 0);
}


ngx_int_t
lines_audit_unseen(void)
{
    ngx_str_t   ids[3];
    ngx_uint_t  i;

    static const char  *derived[] = { "refund:", "orphan:", "lapse:" };

    for (i = 0; i < 3; i++) {
        if (lines_derive_id(audit->pool, derived[i],
                            i ? &side->look.subscription : &side->look.id,
                            &ids[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return lines_audit_flight(&audit->caller, judge_free, NULL,
                              .tenant = side->found.tenant, .ids.elts = ids,
                              .ids.n = 3);
}


static ngx_int_t
judge_free(void *data, lines_audit_flight_reply_t *reply)
{
    return reply->unfinished ? NGX_OK : lines_audit_find(&side->found);
}


ngx_int_t
lines_audit_act(void)
{
    if (!side->found.repaired) {
        return NGX_OK;
    }

    side->look.judge = 0;
    side->look.end = judge_acted;

    return lines_look(&side->look);
}


static ngx_int_t
judge_acted(lines_look_t *look)
{
    return NGX_OK;
}

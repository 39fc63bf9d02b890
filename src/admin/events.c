
/*
 * What happened in a workspace or an account: its journal, as it is written
 * down.
 */

#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"


#define LINES_EVENTS_PAGE  100


typedef struct {
    int64_t  before;    /* an entry's id; 0: from the latest on */
    int64_t  limit;
} events_t;


const lines_body_input_t  lines_admin_events_input =
    lines_body_input(events_t,
        lines_in_number("limit", events_t, limit, 1, LINES_EVENTS_PAGE,
                        "limit must be from 1 to 100"),
        lines_in_number("cursor", events_t, before, 1, 9007199254740991,
                        "cursor is not one that was given out"));


lines_asks(lines_admin_show_events, events_t *events, journal_page,
           .tenant = ctx->identity.tenant,
           .before = events->before ? &events->before : NULL,
           .most = events->limit ? events->limit : LINES_EVENTS_PAGE,
           .look = LINES_EVENTS_PAGE)
{
    return lines_json_ok(ctx, "{'events':[%A],'cursor':%J}", &reply->entries,
                         &reply->cursor);
}

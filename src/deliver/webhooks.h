
/*
 * Endpoints of both APIs: webhooks, as their tenants make, change and see
 * them.
 */

#ifndef _LINES_DELIVER_WEBHOOKS_H_INCLUDED_
#define _LINES_DELIVER_WEBHOOKS_H_INCLUDED_


#include "api/input.h"


extern const lines_body_input_t  lines_webhook_create_input,
    lines_webhook_change_input, lines_webhook_replay_input, lines_webhook_own;

/* webhooks are offered here, and what the path names may be one */
lines_step_t  lines_webhook_offered;

/* POST, PATCH: what was said of a URL and of types */
lines_step_t  lines_webhook_check;

lines_step_t  lines_webhook_create, lines_webhook_list, lines_webhook_show,
    lines_webhook_change, lines_webhook_delete, lines_webhook_rotate,
    lines_webhook_calls, lines_webhook_replay;

/* who delivers is to look at them, */
lines_step_t  lines_webhook_due, lines_webhook_tell;

/* and the client is answered: made, changed, asked for once more */
lines_step_t  lines_webhook_made, lines_webhook_changed, lines_webhook_replayed;


#endif /* _LINES_DELIVER_WEBHOOKS_H_INCLUDED_ */

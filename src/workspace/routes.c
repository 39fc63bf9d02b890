
/*
 * The endpoints of workspaces: who may, what it is about,
 * what becomes of its body, and then the steps that answer.
 */

#include "api/listing.h"
#include "auth/auth.h"
#include "auth/dialect.h"
#include "deliver/webhooks.h"
#include "events/stream.h"
#include "events/wait.h"
#include "http/body.h"
#include "limit/limit.h"
#include "workspace/routes.h"


#define LINES_WORKSPACE_BODY  (64 * 1024)

/* of a row, what follows its path */
#define row(name, who, about, body, input, ...)                               \
    ngx_string(name),                                                         \
    { lines_authenticate_##who, lines_limit_identity, about, body },          \
    (lines_step_pt[]) { __VA_ARGS__, NULL }, input


static lines_route_t  workspace_routes[] = {

    { NGX_HTTP_POST, ngx_string("line-requests"),
      row("line_request_create", workspace, NULL, lines_read_optional_json,
          &lines_create_input, lines_read_input, lines_create_validate,
          lines_create_check, lines_create_decide, lines_create_announce,
          lines_create_begin) },

    { NGX_HTTP_GET, ngx_string("line-requests"),
      row("line_request_list", workspace, NULL, lines_discard_body, NULL,
          lines_line_request_list, lines_listing_run) },

    { NGX_HTTP_GET, ngx_string("line-requests/:id"),
      row("line_request_get", workspace, lines_line_request_id,
          lines_discard_body, &lines_request_read_input, lines_read_input,
          lines_line_request_wait, lines_wait_renewed, lines_wait_begin,
          lines_line_request_shown, lines_line_request_get,
          lines_line_request_get) },

    { NGX_HTTP_GET, ngx_string("line-requests/:id/events"),
      row("line_request_events", workspace, lines_line_request_id,
          lines_discard_body, NULL, lines_line_request_known,
          lines_stream_begin_line, lines_stream_renew, lines_stream_say,
          lines_stream_read) },

    { NGX_HTTP_GET, ngx_string("events"),
      row("events", workspace, NULL, lines_discard_body, NULL,
          lines_stream_begin, lines_stream_renew, lines_stream_say,
          lines_stream_read) },

    { NGX_HTTP_POST, ngx_string("line-requests/:id"),
      row("line_request_manage", workspace, lines_line_request_id,
          lines_read_optional_json, &lines_action_input, lines_read_input,
          lines_action_read, lines_action_decide, lines_action_hint,
          lines_action_wish, lines_action_start, lines_action_show) },

    { NGX_HTTP_GET, ngx_string("lines/by-user"),
      row("lines_by_user", workspace, NULL, lines_discard_body, NULL,
          lines_by_user, lines_listing_run) },

    { NGX_HTTP_GET, ngx_string("lines/check-availability"),
      row("line_check", session, NULL, lines_discard_body, NULL,
          lines_check_begin) },

    { NGX_HTTP_GET, ngx_string("webhooks"),
      row("webhook_list", workspace, lines_webhook_offered, lines_discard_body,
          NULL, lines_webhook_list) },

    { NGX_HTTP_POST, ngx_string("webhooks"),
      row("webhook_create", workspace, lines_webhook_offered,
          lines_read_optional_json, &lines_webhook_create_input,
          lines_read_input, lines_webhook_check, lines_webhook_create,
          lines_webhook_due, lines_webhook_made) },

    { NGX_HTTP_GET, ngx_string("webhooks/:id"),
      row("webhook_get", workspace, lines_webhook_offered, lines_discard_body,
          NULL, lines_webhook_show) },

    { NGX_HTTP_PATCH, ngx_string("webhooks/:id"),
      row("webhook_change", workspace, lines_webhook_offered,
          lines_read_optional_json, &lines_webhook_change_input,
          lines_read_input, lines_webhook_check, lines_webhook_change,
          lines_webhook_due, lines_webhook_tell, lines_webhook_changed) },

    { NGX_HTTP_DELETE, ngx_string("webhooks/:id"),
      row("webhook_delete", workspace, lines_webhook_offered,
          lines_discard_body, NULL, lines_webhook_delete) },

    { NGX_HTTP_POST, ngx_string("webhooks/:id/secret"),
      row("webhook_secret", workspace, lines_webhook_offered,
          lines_discard_body, &lines_webhook_own, lines_read_input,
          lines_webhook_rotate) },

    { NGX_HTTP_GET, ngx_string("webhooks/:id/deliveries"),
      row("webhook_deliveries", workspace, lines_webhook_offered,
          lines_discard_body, NULL, lines_webhook_calls) },

    { NGX_HTTP_POST, ngx_string("webhooks/:id/replay"),
      row("webhook_replay", workspace, lines_webhook_offered,
          lines_read_optional_json, &lines_webhook_replay_input,
          lines_read_input, lines_webhook_replay, lines_webhook_due,
          lines_webhook_tell, lines_webhook_replayed) },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


lines_api_t  lines_workspace_api = {
    ngx_string("workspace"),
    lines_plain_error,
    workspace_routes,
    LINES_WORKSPACE_BODY,
    NULL
};


/*
 * The operator's endpoints: who may, what it is about, what becomes of its
 * body, and then the steps that answer.
 */

#include "admin/admin.h"
#include "admin/operators.h"
#include "admin/routes.h"
#include "admin/session.h"
#include "api/listing.h"
#include "auth/dialect.h"
#include "directive/params.h"
#include "http/body.h"
#include "http/router.h"


#define LINES_ADMIN_BODY  (256 * 1024)

/* of a row, what follows its path; take: with a body */

#define row(name, about, input, ...)                                          \
    ngx_string("admin_" name),                                                \
    { lines_admin_authorize, NULL, about, lines_discard_body,                 \
      lines_admin_log },                                                      \
    (lines_step_pt[]) { __VA_ARGS__, NULL }, input

#define take(name, about, input, ...)                                         \
    ngx_string("admin_" name),                                                \
    { lines_admin_authorize, NULL, about, lines_read_json, lines_admin_log }, \
    (lines_step_pt[]) { __VA_ARGS__, NULL }, input

/* the same, if there is one */

#define take_if(name, about, input, ...)                                      \
    ngx_string("admin_" name),                                                \
    { lines_admin_authorize, NULL, about, lines_read_optional_json,           \
      lines_admin_log },                                                      \
    (lines_step_pt[]) { __VA_ARGS__, NULL }, input

/* of workspaces and accounts, and of plans */

#define PUT_TENANT(of)                                                        \
    take("put_" #of, lines_admin_id, &lines_admin_##of##_input,               \
         lines_read_input, lines_admin_index_tenant, lines_admin_put_tenant,  \
         lines_admin_tell_rates, lines_admin_index_again,                     \
         lines_admin_show_##of)

#define GET_TENANT(of)                                                        \
    row("get_" #of, lines_admin_id, NULL, lines_admin_tenant_exists,          \
        lines_admin_show_##of)

#define DELETE_TENANT(of)                                                     \
    row("delete_" #of, lines_admin_id, &lines_admin_deletion_own,             \
        lines_read_input, lines_admin_delete_tenant, lines_admin_list_page,   \
        lines_admin_delete_page, lines_admin_forget_tenant,                   \
        lines_admin_end_tenant, lines_admin_show_deleted)

#define ADD_KEY                                                               \
    take_if("add_key", lines_admin_id, &lines_admin_key_input,                \
            lines_read_input, lines_admin_check_key,                          \
            lines_admin_tenant_exists, lines_admin_make_key,                  \
            lines_admin_confirm_key)

#define PUT_KEY                                                               \
    take("put_key", lines_admin_id, &lines_admin_key_input,                   \
         lines_read_input, lines_admin_check_key, lines_admin_put_key,        \
         lines_admin_tell_key, lines_admin_show_key)

#define LIST_KEYS                                                             \
    row("list_keys", lines_admin_id, &lines_admin_key_list_own,               \
        lines_read_input, lines_admin_tenant_exists, lines_admin_list_keys,   \
        lines_admin_read_keys)

#define REVOKE_KEY                                                            \
    row("revoke_key", lines_admin_id, &lines_admin_deletion_own,              \
        lines_read_input, lines_admin_find_key, lines_admin_look_for_key,     \
        lines_admin_delete_page, lines_admin_unlist_key,                      \
        lines_admin_delete_page, lines_admin_show_revoked)

#define LIST_LINES                                                            \
    row("list_tenant_lines", lines_admin_id, NULL, lines_admin_tenant_exists, \
        lines_admin_list_lines, lines_listing_run)

#define LIST_EVENTS                                                           \
    row("list_events", lines_admin_id, &lines_admin_events_input,             \
        lines_read_input, lines_admin_tenant_exists, lines_admin_show_events)

#define PUT_LIMIT(about)                                                      \
    take("put_limit", about, &lines_admin_rate_input, lines_admin_id,         \
         lines_admin_find_limit, lines_read_input, lines_admin_name_rate,     \
         lines_admin_write_rate, lines_admin_put_rate, lines_admin_tell_rates, \
         lines_admin_show_put)

#define own_limit(name, about, ...)                                           \
    row(name, about, &lines_admin_rate_own, lines_admin_id,                   \
        lines_admin_find_limit, lines_read_input, lines_admin_name_rate,      \
        __VA_ARGS__)

#define GET_LIMIT(about)                                                      \
    own_limit("get_limit", about, lines_admin_show_rate)
#define DELETE_LIMIT(about)                                                   \
    own_limit("delete_limit", about, lines_admin_delete_rate,                 \
              lines_admin_tell_rates, lines_admin_show_deleted_rate)


static lines_route_t  admin_routes[] = {

    { NGX_HTTP_PUT, ngx_string("workspaces/:id"), PUT_TENANT(workspace) },
    { NGX_HTTP_GET, ngx_string("workspaces/:id"), GET_TENANT(workspace) },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id"), DELETE_TENANT(workspace) },
    { NGX_HTTP_POST, ngx_string("workspaces/:id/keys"), ADD_KEY },
    { NGX_HTTP_GET, ngx_string("workspaces/:id/keys"), LIST_KEYS },
    { NGX_HTTP_PUT, ngx_string("workspaces/:id/keys/:key"), PUT_KEY },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/keys/:key"), REVOKE_KEY },

    { NGX_HTTP_PUT, ngx_string("accounts/:id"), PUT_TENANT(account) },
    { NGX_HTTP_GET, ngx_string("accounts/:id"), GET_TENANT(account) },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id"), DELETE_TENANT(account) },
    { NGX_HTTP_POST, ngx_string("accounts/:id/keys"), ADD_KEY },
    { NGX_HTTP_GET, ngx_string("accounts/:id/keys"), LIST_KEYS },
    { NGX_HTTP_PUT, ngx_string("accounts/:id/keys/:key"), PUT_KEY },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id/keys/:key"), REVOKE_KEY },

    { NGX_HTTP_GET, ngx_string("operations"),
      row("list_operations", NULL, &lines_admin_stuck_input, lines_read_input,
          lines_admin_list_operations, lines_admin_read_operations,
          lines_admin_show_operations) },
    { NGX_HTTP_GET, ngx_string("operations/:id"),
      row("show_operation", NULL, &lines_admin_story_own, lines_read_input,
          lines_admin_owner, lines_admin_read_operation,
          lines_admin_show_story) },
    { NGX_HTTP_POST, ngx_string("operations/:id/retry"),
      row("retry_operation", NULL, &lines_admin_story_own, lines_read_input,
          lines_admin_owner, lines_admin_clear_stuck, lines_admin_due_now,
          lines_admin_retry, lines_admin_read_operation,
          lines_admin_show_operation) },
    { NGX_HTTP_POST, ngx_string("operations/:id/resolve"),
      take("resolve_operation", NULL, &lines_admin_resolve_input,
           lines_read_input, lines_admin_owner, lines_admin_resolve,
           lines_admin_due_now, lines_admin_retry, lines_admin_read_operation,
           lines_admin_show_operation) },

    { NGX_HTTP_GET, ngx_string("database"),
      row("get_database", NULL, NULL, lines_admin_database) },
    { NGX_HTTP_POST, ngx_string("database/confirm"),
      row("confirm_database", NULL, NULL, lines_admin_database) },
    { NGX_HTTP_GET, ngx_string("audit"),
      row("show_audit", NULL, NULL, lines_admin_read_audit) },
    { NGX_HTTP_POST, ngx_string("audit"),
      row("begin_audit", NULL, NULL, lines_admin_ask_audit,
          lines_admin_read_audit) },

    { NGX_HTTP_GET, ngx_string("audit-log"),
      row("show_audit_log", NULL, &lines_admin_log_input, lines_read_input,
          lines_admin_show_log) },

    { NGX_HTTP_GET, ngx_string("workspaces/:id/lines"), LIST_LINES },
    { NGX_HTTP_GET, ngx_string("accounts/:id/lines"), LIST_LINES },
    { NGX_HTTP_GET, ngx_string("workspaces/:id/events"), LIST_EVENTS },
    { NGX_HTTP_GET, ngx_string("accounts/:id/events"), LIST_EVENTS },

    { NGX_HTTP_GET, ngx_string("lines"),
      row("list_lines", NULL, NULL, lines_admin_list_work,
          lines_listing_run) },
    { NGX_HTTP_POST, ngx_string("lines/:id/status"),
      take("line_status", NULL, &lines_admin_status_input, lines_read_input,
           lines_admin_owner, lines_admin_announce, lines_admin_report) },
    { NGX_HTTP_POST, ngx_string("lines/:id/usage"),
      take("line_usage", NULL, &lines_admin_usage_input, lines_read_input,
           lines_admin_owner, lines_admin_set_usage) },
    { NGX_HTTP_POST, ngx_string("lines/:id/release"),
      row("line_release", NULL, &lines_admin_release_own, lines_read_input,
          lines_admin_owner, lines_admin_announce, lines_admin_release,
          lines_admin_show_released) },
    { NGX_HTTP_GET, ngx_string("lines/:id/refund"),
      row("show_refund", NULL, &lines_admin_refund_input, lines_read_input,
          lines_admin_owner, lines_admin_read_refund, lines_admin_count_refund,
          lines_admin_show_refund) },
    { NGX_HTTP_POST, ngx_string("lines/:id/refund"),
      take_if("line_refund", NULL, &lines_admin_refund_ask_input,
              lines_read_input, lines_admin_owner, lines_admin_read_refund,
              lines_admin_count_refund, lines_admin_compare_refund,
              lines_admin_begin_refund, lines_admin_refund,
              lines_admin_show_refunding) },

    { NGX_HTTP_POST, ngx_string("numbers"),
      take("add_numbers", NULL, &lines_admin_add_input, lines_read_input,
           lines_admin_add_numbers) },
    { NGX_HTTP_GET, ngx_string("numbers"),
      row("list_numbers", NULL, &lines_admin_numbers_input, lines_read_input,
          lines_admin_list_numbers) },
    { NGX_HTTP_DELETE, ngx_string("numbers/:number"),
      row("delete_number", NULL, NULL, lines_admin_id,
          lines_admin_delete_number) },
    { NGX_HTTP_POST, ngx_string("tickets/:id"),
      take("move_ticket", NULL, &lines_admin_ticket_input, lines_admin_id,
           lines_read_input, lines_admin_name_ticket, lines_admin_owner,
           lines_admin_read_ticket, lines_admin_assign_number,
           lines_admin_move_ticket) },

    { NGX_HTTP_PUT, ngx_string("workspaces/:id/limits/:limit"),
      PUT_LIMIT(lines_admin_id) },
    { NGX_HTTP_GET, ngx_string("workspaces/:id/limits/:limit"),
      GET_LIMIT(lines_admin_id) },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/limits/:limit"),
      DELETE_LIMIT(lines_admin_id) },
    { NGX_HTTP_PUT, ngx_string("accounts/:id/limits/:limit"),
      PUT_LIMIT(lines_admin_id) },
    { NGX_HTTP_GET, ngx_string("accounts/:id/limits/:limit"),
      GET_LIMIT(lines_admin_id) },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id/limits/:limit"),
      DELETE_LIMIT(lines_admin_id) },
    { NGX_HTTP_PUT, ngx_string("plans/:plan/limits/:limit"), PUT_LIMIT(NULL) },
    { NGX_HTTP_GET, ngx_string("plans/:plan/limits/:limit"), GET_LIMIT(NULL) },
    { NGX_HTTP_DELETE, ngx_string("plans/:plan/limits/:limit"),
      DELETE_LIMIT(NULL) },
    { NGX_HTTP_POST, ngx_string("session"),
      row("begin_session", NULL, NULL, lines_admin_begin_session) },
    { NGX_HTTP_GET, ngx_string("session"),
      row("show_session", NULL, NULL, lines_admin_show_session) },
    { NGX_HTTP_DELETE, ngx_string("session"),
      row("end_session", NULL, NULL, lines_admin_end_session) },
    { NGX_HTTP_GET, ngx_string("node"),
      row("show_node", NULL, NULL, lines_admin_show_node) },

    { NGX_HTTP_GET, ngx_string("limits"),
      row("list_limits", NULL, NULL, lines_admin_list_limits) },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


static lines_api_t  admin_api = {
    ngx_string("admin"),
    lines_plain_error,
    admin_routes,
    LINES_ADMIN_BODY,
    lines_admin_log_bad_body
};


char *
lines_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    char         *rv;
    ngx_array_t  *operators;

    static lines_param_t  params[] = {
        lines_param_other("token_file", 0, lines_operators_read, NULL),
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_admin",
        .params = params
    };

    rv = lines_set_api(cf, llcf, &admin_api);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = lines_params(cf, &directive, 1, &operators);

    llcf->own = operators;

    return rv;
}

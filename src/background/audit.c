
/*
 * What the auditor's pass goes over, in this order: billing's side
 * (audit_billing.c), and here Redis' own records: each tenant's lines, windows,
 * tickets and counters, and the inventory.
 */

#include "background/audit_billing.h"
#include "http/text.h"
#include "operation/operation.h"


#define LINES_AUDIT_PAGE    100                    /* lines, numbers, … */
#define LINES_AUDIT_KEEP    (7 * 86400000LL)


/* what a tenant has pages of */

enum {
    AUDIT_LINES = 0,
    AUDIT_WINDOW,
    AUDIT_TICKETS,
    AUDIT_LISTS
};


static void audit_forget(void);
static ngx_int_t audit_tenants(void);
static ngx_int_t audit_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_uint_t audit_reads(lines_audit_step_pt rest);
static ngx_int_t audit_tenant(void);
static ngx_int_t audit_counted(void *data, lines_audit_tenant_reply_t *reply);
static ngx_int_t audit_gone(void *data, lines_tenants_rem_reply_t *reply);
static ngx_int_t audit_known(void *data, lines_tenant_known_reply_t *reply);
static ngx_int_t audit_page(void);
static ngx_int_t audit_paged(void *data, lines_audit_page_reply_t *reply);
static ngx_int_t audit_lines(void *data, lines_audit_lines_reply_t *reply);
static ngx_int_t audit_indexed(void *data, lines_ix_get_reply_t *reply);
static ngx_int_t audit_unindexed(void *data,
    lines_line_billed_reply_t *reply);
static ngx_int_t audit_hinted(void *data, lines_prov_ensure_reply_t *reply);
static ngx_int_t audit_unhinted(void *data, lines_line_billed_reply_t *reply);
static ngx_int_t audit_held(void *data, lines_audit_held_reply_t *reply);
static ngx_int_t audit_numbers(void);
static ngx_int_t audit_assigned(void *data,
    lines_audit_numbers_reply_t *reply);
static ngx_int_t audit_number(void);
static ngx_int_t audit_numbered(void *data,
    lines_audit_number_reply_t *reply);
static ngx_int_t audit_end(void);
static ngx_int_t audit_done(void);


static const char  *audit_lists[] = { "lines", "window", "tickets" };

/* the first ones: as lists[] of audit_billing.c */

static const lines_audit_phase_t  audit_phases[] = {
    { "subscriptions", lines_audit_list },
    { "ended", lines_audit_list },
    { "refunds", lines_audit_list },
    { "credits", lines_audit_list },
    { "disputes", lines_audit_list },
    { "tenants", audit_tenants },
    { "numbers", audit_numbers },
    { "end", audit_end }
};


static lines_audit_t *const  audit = &lines_audit;

static struct {
    lines_list_t  members;      /* tenants; numbers that are assigned, with
                                   operation, tenant and ticket */
    ngx_uint_t    n;            /* and how many are done with */

    /* of a tenant */
    ngx_str_t     tenant;
    ngx_str_t     version;
    lines_list_t  places;
    ngx_uint_t    list;
    int64_t       from;
} side;


void
lines_audit_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    /* one worker of a node is enough */

    if (lmcf->billing && lmcf->operation->audit && ngx_worker == 0) {
        lines_audit_begin(cycle, lmcf, audit_phases,
                          sizeof(audit_phases) / sizeof(audit_phases[0]),
                          audit_forget);
    }
}


static void
audit_forget(void)
{
    ngx_memzero(&side, sizeof(side));
    lines_audit_forget();
}


/* Redis' side: tenants, each by itself. */

static ngx_int_t
audit_tenants(void)
{
    if (audit->cursor.len == 0) {
        ngx_str_set(&audit->cursor, "0");
    }

    return lines_tenants_scan(&audit->caller, audit_scanned, NULL,
                              .cursor = audit->cursor);
}


static ngx_int_t
audit_scanned(void *data, lines_tenants_scan_reply_t *reply)
{
    side.members = reply->members;
    side.n = 0;
    audit->next = audit_tenant;

    return (lines_is(&reply->cursor, "0")
            ? lines_audit_onwards()
            : lines_audit_at(&reply->cursor))
           == NGX_DONE
           ? NGX_OK : NGX_ERROR;
}


/* Another page of lines may have more to read than there is room for. */

static ngx_uint_t
audit_reads(lines_audit_step_pt rest)
{
    if (audit->reads.nelts + LINES_AUDIT_PAGE < LINES_AUDIT_READS) {
        return 0;
    }

    audit->n = 0;
    audit->next = lines_audit_read;
    audit->rest = rest;

    return 1;
}


static ngx_int_t
audit_tenant(void)
{
    if (side.n == side.members.n) {
        audit->n = 0;
        audit->next = lines_audit_read;

        return NGX_OK;
    }

    if (audit_reads(audit_tenant)) {
        return NGX_OK;
    }

    side.tenant = side.members.elts[side.n++];
    ngx_str_null(&side.version);

    return side.tenant.len && lines_audit_item(&side.tenant)
           ? lines_audit_tenant(&audit->caller, audit_counted, NULL,
                                .tenant = side.tenant, .since = audit->began)
           : NGX_OK;
}


/* before its lines are read, and after */

static ngx_int_t
audit_counted(void *data, lines_audit_tenant_reply_t *reply)
{
    if (reply->version.len == 0 || side.version.len) {
        audit->next = audit_tenant;

        /* whoever listed it was late: it was deleted meanwhile */

        if (reply->gone.len) {
            return lines_tenants_rem(&audit->caller, audit_gone, NULL,
                                     .tenant = side.tenant);
        }

        return lines_audit_findings(&side.tenant, NULL, &reply->findings);
    }

    if (reply->unlisted.len && audit->lmcf->billing->plans.nelts) {
        lines_audit_plan_push(&side.tenant);
    }

    side.version = reply->version;
    side.places.n = 0;
    side.list = AUDIT_LINES;
    side.from = 0;
    audit->next = audit_page;

    return NGX_OK;
}


/* another of its name may have been made, and listed, just before */

static ngx_int_t
audit_gone(void *data, lines_tenants_rem_reply_t *reply)
{
    return lines_tenant_known(&audit->caller, audit_known, NULL,
                              .tenant = side.tenant);
}


static ngx_int_t
audit_known(void *data, lines_tenant_known_reply_t *reply)
{
    return reply->known
           ? lines_tenants_add(&audit->caller, NULL, NULL,
                               .tenant = side.tenant)
           : NGX_OK;
}


static ngx_int_t
audit_page(void)
{
    ngx_int_t  rc;
    ngx_str_t  key;

    if (audit_reads(audit_page)) {
        return NGX_OK;
    }

    audit->item = side.tenant;

    switch (side.list) {

    case AUDIT_LINES:
        rc = lines_key_lines(audit->pool, &key, &side.tenant);
        break;

    case AUDIT_WINDOW:
        rc = lines_key_window(audit->pool, &key, &side.tenant);
        break;

    case AUDIT_TICKETS:
        rc = lines_key_tickets(audit->pool, &key, &side.tenant);
        break;

    default:
        return lines_audit_tenant(&audit->caller, audit_counted, NULL,
                                  .tenant = side.tenant,
                                  .since = audit->began,
                                  .version = side.version,
                                  .places = side.places);
    }

    return rc == NGX_OK
           ? lines_audit_page(&audit->caller, audit_paged, NULL,
                              .lines_key = key, .from = side.from,
                              .to = side.from + LINES_AUDIT_PAGE - 1)
           : NGX_ERROR;
}


static ngx_int_t
audit_paged(void *data, lines_audit_page_reply_t *reply)
{
    ngx_uint_t  list;

    list = side.list;
    side.from += reply->ids.n;

    /* a workspace has neither windows nor tickets */

    if (reply->ids.n < LINES_AUDIT_PAGE) {
        side.from = 0;
        side.list = side.tenant.data[0] == 'a' ? list + 1 : AUDIT_LISTS;
    }

    return reply->ids.n
           ? lines_audit_lines(&audit->caller, audit_lines, NULL,
                               .tenant = side.tenant, .ids = reply->ids,
                               .list = lines_op_text(audit_lists[list]),
                               .since = audit->began, .sums = side.places)
           : NGX_OK;
}


static ngx_int_t
audit_lines(void *data, lines_audit_lines_reply_t *reply)
{
    ngx_uint_t           i;
    lines_audit_read_t  *read;

    side.places = reply->places;

    for (i = 0; i + 2 < reply->unlisted.n; i += 3) {

        read = lines_audit_push();
        if (read == NULL) {
            break;
        }

        *read = (lines_audit_read_t) {
            .of = LINES_AUDIT_OF_LINE, .tenant = side.tenant,
            .id = reply->unlisted.elts[i],
            .subscription = reply->unlisted.elts[i + 1],
            .doubt = (reply->unlisted.elts[i + 2].len != 0)
        };
    }

    if (lines_audit_findings(&side.tenant, NULL, &reply->findings)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    /* what leads to them is in other slots, which may have lost it */

    for (i = 0; i < reply->live.n; i++) {
        if (lines_ix_get(&audit->caller, audit_indexed, &reply->live.elts[i],
                         .id = reply->live.elts[i])
            != NGX_AGAIN)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < reply->work.n; i++) {
        if (lines_prov_ensure(&audit->caller, audit_hinted,
                              &reply->work.elts[i], .tenant = side.tenant,
                              .at = audit->began, .id = reply->work.elts[i])
            != NGX_AGAIN)
        {
            return NGX_ERROR;
        }
    }

    return reply->numbers.n
           ? lines_audit_held(&audit->caller, audit_held, NULL,
                              .tenant = side.tenant,
                              .numbers = reply->numbers)
           : NGX_OK;
}


/* it may have ended since it was seen, and its tenant be gone */

static ngx_int_t
audit_indexed(void *data, lines_ix_get_reply_t *reply)
{
    ngx_str_t *id = data;

    return reply->tenant.data
           ? NGX_OK
           : lines_line_billed(&audit->caller, audit_unindexed, id,
                               .tenant = side.tenant, .id = *id);
}


static ngx_int_t
audit_unindexed(void *data, lines_line_billed_reply_t *reply)
{
    ngx_str_t *id = data;

    lines_audit_found_t  found = {
        .kind = LINES_AUDIT_hint, .repaired = 1, .tenant = side.tenant,
        .id = *id, .here = ngx_string("no index"), .there = reply->status
    };

    if (reply->status.len == 0 || reply->released.len || reply->ended.len) {
        return NGX_OK;
    }

    lines_audit_report(&audit->caller, &found);

    return lines_ix_put(&audit->caller, NULL, NULL, .id = *id,
                        .tenant = side.tenant);
}


/* one that is not there any more is dropped from the list as it is read */

static ngx_int_t
audit_hinted(void *data, lines_prov_ensure_reply_t *reply)
{
    ngx_str_t *id = data;

    return reply->added
           ? lines_line_billed(&audit->caller, audit_unhinted, id,
                               .tenant = side.tenant, .id = *id)
           : NGX_OK;
}


static ngx_int_t
audit_unhinted(void *data, lines_line_billed_reply_t *reply)
{
    ngx_str_t *id = data;

    lines_audit_found_t  found = {
        .kind = LINES_AUDIT_hint, .repaired = 1, .tenant = side.tenant,
        .id = *id, .here = ngx_string("not in the list of work"),
        .there = reply->status
    };

    if (lines_status(&reply->status) == LINES_PROVISIONING
        && reply->released.len == 0
        && reply->ended.len == 0)
    {
        lines_audit_report(&audit->caller, &found);
    }

    return NGX_OK;
}


static ngx_int_t
audit_held(void *data, lines_audit_held_reply_t *reply)
{
    return lines_audit_findings(&side.tenant, NULL, &reply->findings);
}


/* The inventory: whoever it says holds a number knows it. */

static ngx_int_t
audit_numbers(void)
{
    return lines_audit_numbers(&audit->caller, audit_assigned, NULL,
                               .from = audit->cursor,
                               .most = LINES_AUDIT_PAGE);
}


static ngx_int_t
audit_assigned(void *data, lines_audit_numbers_reply_t *reply)
{
    side.members = reply->held;
    side.n = 0;
    audit->next = audit_number;

    return (reply->cursor.len ? lines_audit_at(&reply->cursor)
                              : lines_audit_onwards())
           == NGX_DONE
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
audit_number(void)
{
    ngx_str_t  *held;

    do {
        if (side.n + 3 >= side.members.n) {
            return NGX_DONE;
        }

        held = &side.members.elts[side.n];
        side.n += 4;

    } while (!lines_audit_item(held));

    return lines_audit_number(&audit->caller, audit_numbered, held,
                              .number = held[0], .operation = held[1],
                              .tenant = held[2], .ticket = held[3]);
}


static ngx_int_t
audit_numbered(void *data, lines_audit_number_reply_t *reply)
{
    ngx_str_t *held = data;

    return lines_audit_findings(&held[2], &held[1], &reply->findings);
}


static ngx_int_t
audit_done(void)
{
    return NGX_DONE;
}


static ngx_int_t
audit_end(void)
{
    audit->next = audit_done;

    return lines_audit_end(&audit->caller, NULL, NULL,
                           .keep = LINES_AUDIT_KEEP, .began = audit->began);
}

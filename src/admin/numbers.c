
/*
 * The operator's numbers: POST, GET, DELETE numbers.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "api/json.h"
#include "http/answer.h"
#include "http/text.h"
#include "store/calls.h"


#define LINES_NUMBERS_MAX    1000
#define LINES_NUMBERS_PAGE   100


typedef struct {
    ngx_str_t                   state;      /* wanted; empty: any */
    ngx_str_t                   from;       /* after this number */
    int64_t                     limit;
    ngx_uint_t                  more;       /* flag */
    lines_numbers_page_reply_t  page;
    lines_numbers_read_reply_t  read;       /* "STATE WORKER …" of each */
    lines_inv_count_reply_t     counts;
} numbers_t;

typedef struct {
    ngx_str_t  number;
    ngx_str_t  worker;
} pair_t;


static ngx_int_t numbers_added(void *data, lines_inv_add_reply_t *reply);
static ngx_uint_t is_cursor(ngx_str_t *value);
static ngx_int_t numbers_deleted(void *data, lines_inv_delete_reply_t *reply);


ngx_int_t
lines_admin_numbers_add(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t      i, n;
    json_t     *list;
    ngx_int_t   rc;
    pair_t     *pairs;

    static const lines_input_t  inputs[] = {
        lines_in_string("phone_number", pair_t, number, 16, lines_is_e164,
                        "phone_number must be an E.164 number such as "
                        "+14155551234", .flags = LINES_REQUIRED),
        lines_in_text("worker_id", pair_t, worker, 128, .is = lines_is_graph,
                      .bad = "worker_id must have printable ASCII characters "
                             "only",
                      .absent = "worker_id is required",
                      .flags = LINES_REQUIRED),
        lines_input_end
    };

    list = json_object_get(ctx->body, "numbers");
    n = json_array_size(list);

    if (n == 0 || n > LINES_NUMBERS_MAX) {
        return lines_refuse(ctx, 400, "numbers must be a list of 1 to 1000 "
                            "objects");
    }

    pairs = ngx_palloc(r->pool, n * sizeof(pair_t));
    if (pairs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        rc = lines_read_members(r, ctx, json_array_get(list, i), inputs,
                                &pairs[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return lines_inv_add(&ctx->caller, numbers_added, ctx, .numbers.n = 2 * n,
                         .numbers.elts = &pairs->number);
}


static ngx_int_t
numbers_added(void *data, lines_inv_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return lines_json_ok(ctx, "{'added':%L,'present':%L}", reply->added,
                         reply->present);
}


ngx_int_t
lines_admin_numbers_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_str_t    key, from;
    ngx_uint_t   i;
    numbers_t   *numbers;

    static const lines_input_t  inputs[] = {
        lines_in_number("limit", numbers_t, limit, 1, LINES_NUMBERS_MAX,
                        "limit must be from 1 to 1000"),
        lines_in_string("cursor", numbers_t, from, 15, is_cursor,
                        "cursor is not one that was given out"),
        lines_in_word("state", numbers_t, state,
                      "state must be free, leased, assigned or quarantined",
                      .words = { "free", "leased", "assigned",
                                 "quarantined" }),
        lines_input_end
    };

    /* in quarantine a number's score is an instant: looked for in all */

    static const struct {
        const char  *name;
        ngx_int_t  (*key)(ngx_pool_t *pool, ngx_str_t *key);
    } states[] = {
        { "free", lines_key_inv_free },
        { "leased", lines_key_inv_leased },
        { "assigned", lines_key_inv_assigned },
        { NULL, lines_key_inv_all }
    };

    numbers = ngx_pcalloc(r->pool, sizeof(numbers_t));
    if (numbers == NULL) {
        return NGX_ERROR;
    }

    ctx->data = numbers;
    numbers->limit = LINES_NUMBERS_PAGE;

    rc = lines_read_query(r, ctx, inputs, numbers);

    if (rc != NGX_OK) {
        return rc;
    }

    i = 0;

    while (states[i].name && !lines_is(&numbers->state, states[i].name)) {
        i++;
    }

    ngx_str_set(&from, "-");

    if (states[i].key(r->pool, &key) != NGX_OK
        || (numbers->from.len
            && lines_redis_format(r->pool, &from, "(+%V", &numbers->from)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    rc = lines_inv_thaw(&ctx->caller, NULL, NULL);

    if (rc == NGX_AGAIN) {
        rc = lines_keep_inv_count(&ctx->caller, &numbers->counts);
    }

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_keep_numbers_page(&ctx->caller, &numbers->page,
                                   .inv_all_key = key,
                                   .most = numbers->limit + 1, .from = from);
}


static ngx_uint_t
is_cursor(ngx_str_t *value)
{
    return ngx_atoof(value->data, value->len) != NGX_ERROR;
}


ngx_int_t
lines_admin_numbers_entries(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_list_t  *page;
    numbers_t     *numbers = ctx->data;

    page = &numbers->page.numbers;

    if (page->n > (ngx_uint_t) numbers->limit) {
        page->n = numbers->limit;
        numbers->more = 1;
    }

    return page->n ? lines_keep_numbers_read(&ctx->caller, &numbers->read,
                                             .numbers = *page)
                   : NGX_OK;
}


ngx_int_t
lines_admin_numbers_show(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t                 entry, state, worker, cursor, *number;
    ngx_uint_t                i, n;
    numbers_t                *numbers = ctx->data;
    lines_json_t              json = { .pool = r->pool };
    lines_inv_count_reply_t  *counts;

    counts = &numbers->counts;
    number = numbers->page.numbers.elts;
    n = numbers->page.numbers.n;

    if (numbers->read.entries.n != n) {
        return NGX_ERROR;
    }

    lines_json_add(&json, "{'numbers':[");

    for (i = 0; i < n; i++) {
        entry = numbers->read.entries.elts[i];
        state = lines_word(&entry);
        worker = lines_word(&entry);

        /* else it is in another state, or gone by now */

        if (worker.len
            && (numbers->state.len == 0 || lines_same(&numbers->state, &state)))
        {
            lines_json_add(&json, ",{'phone_number':'%V','worker_id':%J,"
                           "'state':'%V'}", &number[i], &worker, &state);
        }
    }

    ngx_str_null(&cursor);

    if (numbers->more) {
        cursor.data = number[n - 1].data + 1;
        cursor.len = number[n - 1].len - 1;
    }

    lines_json_add(&json, "],'cursor':%J,'counts':{'free':%L,'leased':%L,"
                   "'assigned':%L,'quarantined':%L}}", &cursor, counts->free,
                   counts->leased, counts->assigned, counts->quarantined);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_admin_numbers_delete(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_inv_delete(&ctx->caller, numbers_deleted, ctx,
                            .number = ctx->params[0]);
}


static ngx_int_t
numbers_deleted(void *data, lines_inv_delete_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    switch (reply->is) {

    case LINES_INV_DELETE_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_INV_DELETE_HELD:
        return lines_admin_conflict(ctx, "state", &reply->state,
                                    "A number that is %V cannot be deleted");
    }

    return lines_json_ok(ctx, "{'phone_number':'%V','deleted':true}",
                         &ctx->params[0]);
}


/*
 * The operator's numbers: POST, GET, DELETE numbers.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/text.h"


#define LINES_NUMBERS_MAX    1000
#define LINES_NUMBERS_PAGE   100
#define LINES_NUMBERS_BATCH  50     /* added by a script: below a millisecond */


typedef struct {
    ngx_str_t  state;      /* wanted; empty: any */
    ngx_str_t  from;       /* after this number */
    int64_t    limit;      /* 0: as many as fit a page */
} numbers_t;

typedef struct {
    ngx_str_t  number;
    ngx_str_t  worker;
} pair_t;

typedef struct {
    json_t    *pairs;
    pair_t    *left;
    size_t     nleft;
    int64_t    added;
    int64_t    present;
} added_t;


static ngx_int_t numbers_add(lines_ctx_t *ctx);


static ngx_uint_t
is_cursor(ngx_str_t *value)
{
    return ngx_atoof(value->data, value->len) != NGX_ERROR;
}


const lines_body_input_t  lines_admin_numbers_input =
    lines_body_input(numbers_t,
        lines_in_number("limit", numbers_t, limit, 1, LINES_NUMBERS_MAX,
                        "limit must be from 1 to 1000"),
        lines_in_string("cursor", numbers_t, from, 15, is_cursor,
                        "cursor is not one that was given out"),
        lines_in_word("state", numbers_t, state,
                      "state must be free, leased, assigned or quarantined",
                      .words = { "free", "leased", "assigned",
                                 "quarantined" }));


static const lines_input_t  pair_inputs[] = {
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

const lines_body_input_t  lines_admin_add_input =
    lines_body_input(added_t,
        lines_in_list("numbers", added_t, pairs, 1, LINES_NUMBERS_MAX,
                      pair_inputs, "numbers must be a list of 1 to 1000 "
                      "objects", .flags = LINES_REQUIRED));


ngx_int_t
lines_admin_add_numbers(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t      i;
    added_t    *added = ctx->data;
    ngx_int_t   rc;

    added->nleft = json_array_size(added->pairs);

    added->left = ngx_palloc(r->pool, added->nleft * sizeof(pair_t));
    if (added->left == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < added->nleft; i++) {
        rc = lines_read_members(r, ctx, json_array_get(added->pairs, i),
                                pair_inputs, &added->left[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return numbers_add(ctx);
}


lines_answered(numbers_added, added_t *added, inv_add)
{
    added->added += reply->added;
    added->present += reply->present;

    return added->nleft
           ? numbers_add(ctx)
           : lines_json_ok(ctx, "{'added':%L,'present':%L}", added->added,
                           added->present);
}


/* each by itself: whose call fails half way repeats it */

static ngx_int_t
numbers_add(lines_ctx_t *ctx)
{
    size_t    n;
    pair_t   *pairs;
    added_t  *added = ctx->data;

    n = ngx_min(added->nleft, LINES_NUMBERS_BATCH);
    pairs = added->left;

    added->left += n;
    added->nleft -= n;

    return lines_inv_add(&ctx->caller, numbers_added, ctx, .numbers.n = 2 * n,
                         .numbers.elts = &pairs->number);
}


lines_asks(lines_admin_list_numbers, numbers_t *numbers, inv_page,
           .state = numbers->state, .from = numbers->from,
           .most = numbers->limit ? numbers->limit : LINES_NUMBERS_PAGE,
           .rest = lines_get_main_conf(r)->quarantine)
{
    ngx_str_t    *number;
    ngx_uint_t    i;
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{'numbers':[");

    for (i = 0; i + 2 < reply->listed.n; i += 3) {
        number = &reply->listed.elts[i];

        lines_json_add(&json, ",{'phone_number':'%V','worker_id':%J,"
                       "'state':'%V'}", &number[0], &number[1], &number[2]);
    }

    lines_json_add(&json, "],'cursor':%J,'counts':{'free':%L,'leased':%L,"
                   "'assigned':%L,'quarantined':%L}}", &reply->cursor,
                   reply->free, reply->leased, reply->assigned,
                   reply->quarantined);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


lines_asks(lines_admin_delete_number, void *none, inv_delete,
           .number = ctx->params[0],
           .rest = lines_get_main_conf(r)->quarantine)
{
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

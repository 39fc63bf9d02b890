
/*
 * The operator's numbers: POST, GET, DELETE numbers.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/numbers.h"
#include "admin/routes.h"
#include "api/input.h"
#include "api/listing.h"
#include "http/answer.h"
#include "http/text.h"
#include "store/calls.h"


#define LINES_NUMBERS_MAX    1000
#define LINES_NUMBERS_PAGE   100


typedef struct {
    ngx_str_t                 state;      /* wanted; empty: any */
    ngx_str_t                 key;        /* of the list */
    ngx_str_t                 from;       /* after this number */
    ngx_uint_t                limit;
    ngx_uint_t                more;       /* flag */
    lines_list_t              numbers;
    ngx_str_t                *entries;    /* of each */
    lines_inv_count_reply_t  *counts;
} lines_numbers_t;


static ngx_int_t numbers_add(ngx_http_request_t *r, lines_ctx_t *ctx);
static const char *numbers_entry(json_t *entry, ngx_str_t *number,
    ngx_str_t *worker);
static ngx_int_t numbers_added(void *data, lines_inv_add_reply_t *reply);
static ngx_int_t numbers_parse(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_counted(void *data, lines_inv_count_reply_t *reply);
static ngx_int_t numbers_listed(void *data, lines_numbers_page_reply_t *reply);
static ngx_int_t numbers_entries(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_read(void *data, lines_numbers_read_reply_t *reply);
static ngx_int_t numbers_answer(ngx_http_request_t *r, lines_ctx_t *ctx);
static u_char *numbers_item(u_char *p, ngx_str_t *number, ngx_str_t *entry,
    ngx_str_t *state);
static ngx_int_t numbers_delete(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_deleted(void *data, lines_inv_delete_reply_t *reply);


lines_step_pt  lines_admin_add_numbers_steps[] = {
    numbers_add,                /* 400 */
    NULL
};


lines_step_pt  lines_admin_list_numbers_steps[] = {
    numbers_parse,              /* 400 */
    numbers_page,
    numbers_entries,
    numbers_answer,
    NULL
};


lines_step_pt  lines_admin_delete_number_steps[] = {
    numbers_delete,             /* 400, 404, 409 */
    NULL
};


static ngx_int_t
numbers_add(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t       i, n;
    json_t      *list;
    ngx_str_t   *pairs;
    const char  *error;

    list = json_object_get(ctx->body, "numbers");
    n = json_array_size(list);

    if (!json_is_array(list) || n == 0 || n > LINES_NUMBERS_MAX) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "numbers must be a list of 1 to 1000 objects");
    }

    pairs = ngx_palloc(r->pool, 2 * n * sizeof(ngx_str_t));
    if (pairs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        error = numbers_entry(json_array_get(list, i), &pairs[2 * i],
                              &pairs[2 * i + 1]);
        if (error) {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
        }
    }

    return lines_inv_add(&ctx->caller, numbers_added, ctx, .numbers.n = 2 * n,
                         .numbers.elts = pairs);
}


static const char *
numbers_entry(json_t *entry, ngx_str_t *number, ngx_str_t *worker)
{
    size_t       i;
    const char  *error;

    static const lines_text_t  text = lines_text("worker_id", 128);

    if (!json_is_object(entry)
        || lines_member(entry, "phone_number", 16, number) != NGX_OK
        || !lines_is_e164(number))
    {
        return "phone_number must be an E.164 number such as +14155551234";
    }

    error = lines_text_member(entry, &text, worker);

    if (error) {
        return error;
    }

    if (worker->len == 0) {
        return "worker_id is required";
    }

    for (i = 0; i < worker->len; i++) {
        if (worker->data[i] <= ' ' || worker->data[i] >= 0x7f) {
            return "worker_id must have printable ASCII characters only";
        }
    }

    return NULL;
}


static ngx_int_t
numbers_added(void *data, lines_inv_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                               "{\"added\":%L,\"present\":%L}", reply->added,
                               reply->present);
}


static ngx_int_t
numbers_parse(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         n;
    ngx_str_t         value;
    lines_numbers_t  *numbers;

    numbers = ngx_pcalloc(r->pool, sizeof(lines_numbers_t));
    if (numbers == NULL) {
        return NGX_ERROR;
    }

    ctx->data = numbers;

    numbers->limit = LINES_NUMBERS_PAGE;

    if (lines_query(r, "limit", &value) == NGX_OK) {
        n = ngx_atoi(value.data, value.len);

        if (n < 1 || n > LINES_NUMBERS_MAX) {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                               "limit must be from 1 to 1000");
        }

        numbers->limit = n;
    }

    if (lines_query(r, "cursor", &value) == NGX_OK) {

        if (value.len == 0
            || value.len > 15
            || ngx_atoof(value.data, value.len) == NGX_ERROR)
        {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                               "cursor is not one that was given out");
        }

        numbers->from = value;
    }

    if (lines_query(r, "state", &value) == NGX_OK) {
        numbers->state = value;

        if (lines_is(&value, "free")) {
            return lines_key_inv_free(r->pool, &numbers->key);
        }

        if (lines_is(&value, "leased")) {
            return lines_key_inv_leased(r->pool, &numbers->key);
        }

        if (lines_is(&value, "assigned")) {
            return lines_key_inv_assigned(r->pool, &numbers->key);
        }

        if (!lines_is(&value, "quarantined")) {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                               "state must be free, leased, assigned or "
                               "quarantined");
        }
    }

    /* in quarantine a number's score is an instant: looked for in all */

    return lines_key_inv_all(r->pool, &numbers->key);
}


static ngx_int_t
numbers_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_numbers_t  *numbers;
    ngx_str_t         from;

    numbers = ctx->data;

    rc = lines_inv_thaw(&ctx->caller, NULL, NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    rc = lines_inv_count(&ctx->caller, numbers_counted, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&from, "-");

    if (numbers->from.len
        && lines_redis_format(r->pool, &from, "(+%V", &numbers->from)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_numbers_page(&ctx->caller, numbers_listed, ctx,
                              .inv_all_key = numbers->key,
                              .most = numbers->limit + 1, .from = from);
}


static ngx_int_t
numbers_counted(void *data, lines_inv_count_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_numbers_t  *numbers;

    numbers = ctx->data;
    numbers->counts = reply;

    return NGX_OK;
}


static ngx_int_t
numbers_listed(void *data, lines_numbers_page_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_numbers_t  *numbers;

    numbers = ctx->data;

    numbers->numbers = reply->numbers;

    if (reply->numbers.n > numbers->limit) {
        numbers->numbers.n = numbers->limit;
        numbers->more = 1;
    }

    return NGX_OK;
}


static ngx_int_t
numbers_entries(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_numbers_t  *numbers;

    numbers = ctx->data;

    if (numbers->numbers.n == 0) {
        return NGX_OK;
    }

    return lines_numbers_read(&ctx->caller, numbers_read, ctx,
                              .numbers = numbers->numbers);
}


static ngx_int_t
numbers_read(void *data, lines_numbers_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_numbers_t  *numbers;

    numbers = ctx->data;

    numbers->entries = reply->entries.elts;

    return reply->entries.n == numbers->numbers.n ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
numbers_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t            len;
    u_char           *p, *start;
    ngx_str_t         json, *number, *last;
    ngx_uint_t        i;
    lines_numbers_t  *numbers;

    numbers = ctx->data;
    number = numbers->numbers.elts;

    len = sizeof("{\"numbers\":[],\"cursor\":\"\",\"counts\":{\"free\":,"
                 "\"leased\":,\"assigned\":,\"quarantined\":}}")
          + 5 * NGX_INT64_LEN;

    for (i = 0; i < numbers->numbers.n; i++) {
        len += sizeof("{\"phone_number\":\"\",\"worker_id\":\"\","
                      "\"state\":\"quarantined\"},") + number[i].len
               + 6 * numbers->entries[i].len;
    }

    json.data = ngx_pnalloc(r->pool, len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(json.data, "{\"numbers\":[", sizeof("{\"numbers\":[") - 1);

    for (i = 0; i < numbers->numbers.n; i++) {
        start = p;

        if (p[-1] == '}') {
            *p++ = ',';
        }

        p = numbers_item(p, &number[i], &numbers->entries[i],
                         &numbers->state);
        if (p == NULL) {
            p = start;
        }
    }

    p = ngx_cpymem(p, "],\"cursor\":", sizeof("],\"cursor\":") - 1);

    if (numbers->more) {
        last = &number[numbers->numbers.n - 1];
        p = ngx_sprintf(p, "\"%*s\"", last->len - 1, last->data + 1);

    } else {
        p = ngx_cpymem(p, "null", 4);
    }

    p = ngx_sprintf(p,
                    ",\"counts\":{\"free\":%L,\"leased\":%L,"
                    "\"assigned\":%L,\"quarantined\":%L}}",
                    numbers->counts->free, numbers->counts->leased,
                    numbers->counts->assigned, numbers->counts->quarantined);

    json.len = p - json.data;

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


/* entry is "state worker …"; NULL: it is in another state, or gone by now */

static u_char *
numbers_item(u_char *p, ngx_str_t *number, ngx_str_t *entry, ngx_str_t *state)
{
    u_char    *s, *last;
    ngx_str_t  is, worker;

    last = entry->data + entry->len;
    s = entry->len ? ngx_strlchr(entry->data, last, ' ') : NULL;

    if (s == NULL) {
        return NULL;
    }

    is.data = entry->data;
    is.len = s - entry->data;

    if (state->len
        && (state->len != is.len
            || ngx_strncmp(state->data, is.data, is.len) != 0))
    {
        return NULL;
    }

    worker.data = s + 1;
    s = ngx_strlchr(worker.data, last, ' ');
    worker.len = (s ? s : last) - worker.data;

    p = ngx_sprintf(p, "{\"phone_number\":\"%V\",\"worker_id\":\"", number);
    p = (u_char *) ngx_escape_json(p, worker.data, worker.len);

    return ngx_sprintf(p, "\",\"state\":\"%V\"}", &is);
}


static ngx_int_t
numbers_delete(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (!lines_is_e164(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid phone number");
    }

    return lines_inv_delete(&ctx->caller, numbers_deleted, ctx,
                            .number = ctx->params[0]);
}


static ngx_int_t
numbers_deleted(void *data, lines_inv_delete_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    switch (reply->is) {

    case LINES_INV_DELETE_UNKNOWN:
        return lines_error(ctx->request, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Number not found");

    case LINES_INV_DELETE_HELD:
        return lines_answer_format(ctx->request, ctx, NGX_HTTP_CONFLICT,
                        "{\"error\":\"A number that is %V cannot be deleted\","
                        "\"state\":\"%V\"}", &reply->state, &reply->state);
    }

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                               "{\"phone_number\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}

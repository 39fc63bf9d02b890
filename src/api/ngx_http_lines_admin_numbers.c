
/*
 * The operator's numbers: POST, GET, DELETE numbers.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_admin_numbers.h"
#include "ngx_http_lines_admin.h"
#include "ngx_http_lines_inventory.h"
#include "ngx_http_lines_listing.h"
#include "ngx_lines_input.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_NUMBERS_MAX    1000
#define NGX_HTTP_LINES_NUMBERS_PAGE   100


typedef struct {
    ngx_str_t    state;            /* wanted; empty: any */
    ngx_str_t    key;              /* of the list */
    ngx_str_t    from;             /* after this number */
    ngx_uint_t   limit;
    ngx_uint_t   more;             /* flag */
    ngx_uint_t   n;
    ngx_str_t   *numbers;
    ngx_str_t   *entries;
    int64_t      counts[4];        /* free, leased, assigned, quarantined */
} ngx_http_lines_numbers_t;


static ngx_int_t ngx_http_lines_numbers_add(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static const char *ngx_http_lines_numbers_entry(json_t *entry,
    ngx_str_t *number, ngx_str_t *worker);
static ngx_int_t ngx_http_lines_numbers_added(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_numbers_parse(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_numbers_page(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_numbers_thawed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_numbers_counted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_numbers_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_numbers_entries(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_numbers_read(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_numbers_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static u_char *ngx_http_lines_numbers_item(u_char *p, ngx_str_t *number,
    ngx_str_t *entry, ngx_str_t *state);
static ngx_int_t ngx_http_lines_numbers_delete(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_numbers_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);


ngx_http_lines_step_pt  ngx_http_lines_admin_add_numbers_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_read_json,
    ngx_http_lines_numbers_add,                /* 400 */
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_admin_list_numbers_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_discard_body,
    ngx_http_lines_numbers_parse,              /* 400 */
    ngx_http_lines_numbers_page,
    ngx_http_lines_numbers_entries,
    ngx_http_lines_numbers_answer,
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_admin_delete_number_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_discard_body,
    ngx_http_lines_numbers_delete,             /* 400, 404, 409 */
    NULL
};


static ngx_int_t
ngx_http_lines_numbers_add(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    size_t       i, n;
    json_t      *list;
    ngx_str_t   *args;
    const char  *error;

    list = json_object_get(ctx->body, "numbers");
    n = json_array_size(list);

    if (!json_is_array(list) || n == 0 || n > NGX_HTTP_LINES_NUMBERS_MAX) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                   "numbers must be a list of 1 to 1000 objects");
    }

    args = ngx_palloc(r->pool, (3 + 2 * n) * sizeof(ngx_str_t));
    if (args == NULL) {
        return NGX_ERROR;
    }

    args[0] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_NUMBERS];
    args[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];
    args[2] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ALL];

    for (i = 0; i < n; i++) {
        error = ngx_http_lines_numbers_entry(json_array_get(list, i),
                                             &args[3 + 2 * i],
                                             &args[4 + 2 * i]);
        if (error) {
            return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                        error);
        }
    }

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_add, 3,
                               3 + 2 * n, args, ngx_http_lines_numbers_added);
}


static const char *
ngx_http_lines_numbers_entry(json_t *entry, ngx_str_t *number,
    ngx_str_t *worker)
{
    size_t       i;
    const char  *error;

    static const ngx_lines_text_t  text = ngx_lines_text("worker_id", 128);

    if (!json_is_object(entry)
        || ngx_lines_member(entry, "phone_number", 16, number) != NGX_OK
        || !ngx_lines_is_e164(number))
    {
        return "phone_number must be an E.164 number such as +14155551234";
    }

    error = ngx_lines_text_member(entry, &text, worker);

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
ngx_http_lines_numbers_added(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return NGX_ERROR;
    }

    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
                                        "{\"added\":%L,\"present\":%L}",
                                        (int64_t) reply->element[0]->integer,
                                        (int64_t) reply->element[1]->integer);
}


static ngx_int_t
ngx_http_lines_numbers_parse(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  n;
    ngx_str_t                  value;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_numbers_t));
    if (numbers == NULL) {
        return NGX_ERROR;
    }

    ctx->data = numbers;

    numbers->limit = NGX_HTTP_LINES_NUMBERS_PAGE;
    numbers->key = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ALL];

    if (ngx_http_lines_query(r, "limit", &value) == NGX_OK) {
        n = ngx_atoi(value.data, value.len);

        if (n < 1 || n > NGX_HTTP_LINES_NUMBERS_MAX) {
            return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                        "limit must be from 1 to 1000");
        }

        numbers->limit = n;
    }

    if (ngx_http_lines_query(r, "cursor", &value) == NGX_OK) {

        if (value.len == 0 || value.len > 15
            || ngx_atoof(value.data, value.len) == NGX_ERROR)
        {
            return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                       "cursor is not one that was given out");
        }

        numbers->from = value;
    }

    if (ngx_http_lines_query(r, "state", &value) != NGX_OK) {
        return NGX_OK;
    }

    numbers->state = value;

    if (ngx_http_lines_is(&value, "free")) {
        numbers->key = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];

    } else if (ngx_http_lines_is(&value, "leased")) {
        numbers->key = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_LEASED];

    } else if (ngx_http_lines_is(&value, "assigned")) {
        numbers->key = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ASSIGNED];

    } else if (!ngx_http_lines_is(&value, "quarantined")) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                   "state must be free, leased, assigned or quarantined");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_numbers_page(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                  args[7];
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    args[0] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_NUMBERS];
    args[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];
    args[2] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_QUARANTINED];

    rc = ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_thaw, 3, 3, args,
                             ngx_http_lines_numbers_thawed);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    args[0] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];
    args[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_LEASED];
    args[2] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ASSIGNED];
    args[3] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_QUARANTINED];

    rc = ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_count, 4, 4, args,
                             ngx_http_lines_numbers_counted);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* in quarantine a number's score is an instant: looked for in all */

    ngx_str_set(&args[0], "ZRANGEBYLEX");
    args[1] = numbers->key;
    ngx_str_set(&args[2], "-");
    ngx_str_set(&args[3], "+");
    ngx_str_set(&args[4], "LIMIT");
    ngx_str_set(&args[5], "0");

    if (numbers->from.len
        && ngx_lines_redis_format(r->pool, &args[2], "(+%V", &numbers->from)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_lines_redis_format(r->pool, &args[6], "%ui", numbers->limit + 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 7, args,
                                  ngx_http_lines_numbers_listed);
}


static ngx_int_t
ngx_http_lines_numbers_thawed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_numbers_counted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t                 i;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4) {
        return NGX_ERROR;
    }

    for (i = 0; i < 4; i++) {
        numbers->counts[i] = reply->element[i]->integer;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_numbers_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t                 i;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    numbers->n = ngx_min(reply->elements, numbers->limit);
    numbers->more = (reply->elements > numbers->limit);

    numbers->numbers = ngx_palloc(r->pool,
                                  (2 * numbers->n + 1) * sizeof(ngx_str_t));
    if (numbers->numbers == NULL) {
        return NGX_ERROR;
    }

    numbers->entries = numbers->numbers + numbers->n;

    for (i = 0; i < numbers->n; i++) {
        if (ngx_http_lines_reply_copy(r, reply, i, &numbers->numbers[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_numbers_entries(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t                 *argv;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    if (numbers->n == 0) {
        return NGX_OK;
    }

    argv = ngx_palloc(r->pool, (2 + numbers->n) * sizeof(ngx_str_t));
    if (argv == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_NUMBERS];
    ngx_memcpy(&argv[2], numbers->numbers, numbers->n * sizeof(ngx_str_t));

    return ngx_http_lines_command(r, ctx, 2 + numbers->n, argv,
                                  ngx_http_lines_numbers_read);
}


static ngx_int_t
ngx_http_lines_numbers_read(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_uint_t                 i;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    for (i = 0; i < numbers->n; i++) {
        if (ngx_http_lines_reply_copy(r, reply, i, &numbers->entries[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_numbers_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    size_t                     len;
    u_char                    *p, *start;
    ngx_str_t                  json, *last;
    ngx_uint_t                 i;
    ngx_http_lines_numbers_t  *numbers;

    numbers = ctx->data;

    len = sizeof("{\"numbers\":[],\"cursor\":\"\",\"counts\":{\"free\":,"
                 "\"leased\":,\"assigned\":,\"quarantined\":}}")
          + 5 * NGX_INT64_LEN;

    for (i = 0; i < numbers->n; i++) {
        len += sizeof("{\"phone_number\":\"\",\"worker_id\":\"\","
                      "\"state\":\"quarantined\"},")
               + numbers->numbers[i].len + 6 * numbers->entries[i].len;
    }

    json.data = ngx_pnalloc(r->pool, len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(json.data, "{\"numbers\":[", sizeof("{\"numbers\":[") - 1);

    for (i = 0; i < numbers->n; i++) {
        start = p;

        if (p[-1] == '}') {
            *p++ = ',';
        }

        p = ngx_http_lines_numbers_item(p, &numbers->numbers[i],
                                        &numbers->entries[i],
                                        &numbers->state);
        if (p == NULL) {
            p = start;
        }
    }

    p = ngx_cpymem(p, "],\"cursor\":", sizeof("],\"cursor\":") - 1);

    if (numbers->more) {
        last = &numbers->numbers[numbers->n - 1];
        p = ngx_sprintf(p, "\"%*s\"", last->len - 1, last->data + 1);

    } else {
        p = ngx_cpymem(p, "null", 4);
    }

    p = ngx_sprintf(p, ",\"counts\":{\"free\":%L,\"leased\":%L,"
                       "\"assigned\":%L,\"quarantined\":%L}}",
                    numbers->counts[0], numbers->counts[1],
                    numbers->counts[2], numbers->counts[3]);

    json.len = p - json.data;

    return ngx_http_lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


/* entry is "state worker …"; NULL: it is in another state, or gone by now */

static u_char *
ngx_http_lines_numbers_item(u_char *p, ngx_str_t *number, ngx_str_t *entry,
    ngx_str_t *state)
{
    u_char     *s, *last;
    ngx_str_t   is, worker;

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
ngx_http_lines_numbers_delete(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  args[5];

    if (!ngx_lines_is_e164(&ctx->params[0])) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    "Invalid phone number");
    }

    args[0] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_NUMBERS];
    args[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];
    args[2] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_QUARANTINED];
    args[3] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ALL];
    args[4] = ctx->params[0];

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_delete, 4, 5,
                               args, ngx_http_lines_numbers_deleted);
}


static ngx_int_t
ngx_http_lines_numbers_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  word, state;

    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "unknown")) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                                    "Number not found");
    }

    if (ngx_http_lines_is(&word, "held")) {
        state = ngx_http_lines_reply_str(reply, 1);

        return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                   "{\"error\":\"A number that is %V cannot be deleted\","
                   "\"state\":\"%V\"}", &state, &state);
    }

    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
                                        "{\"phone_number\":\"%V\","
                                        "\"deleted\":true}", &ctx->params[0]);
}

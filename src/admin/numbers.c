
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
#include "operation/inventory.h"
#include "store/scripts.h"


#define LINES_NUMBERS_MAX    1000
#define LINES_NUMBERS_PAGE   100


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
} lines_numbers_t;


static ngx_int_t numbers_add(ngx_http_request_t *r, lines_ctx_t *ctx);
static const char *numbers_entry(json_t *entry, ngx_str_t *number,
    ngx_str_t *worker);
static ngx_int_t numbers_added(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t numbers_parse(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_thawed(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t numbers_counted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t numbers_listed(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t numbers_entries(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t numbers_answer(ngx_http_request_t *r, lines_ctx_t *ctx);
static u_char *numbers_item(u_char *p, ngx_str_t *number, ngx_str_t *entry,
    ngx_str_t *state);
static ngx_int_t numbers_delete(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t numbers_deleted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


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
    ngx_str_t   *args;
    const char  *error;

    list = json_object_get(ctx->body, "numbers");
    n = json_array_size(list);

    if (!json_is_array(list) || n == 0 || n > LINES_NUMBERS_MAX) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "numbers must be a list of 1 to 1000 objects");
    }

    args = ngx_palloc(r->pool, (3 + 2 * n) * sizeof(ngx_str_t));
    if (args == NULL) {
        return NGX_ERROR;
    }

    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_FREE];
    args[2] = lines_inventory[LINES_INV_ALL];

    for (i = 0; i < n; i++) {
        error = numbers_entry(json_array_get(list, i), &args[3 + 2 * i],
                              &args[4 + 2 * i]);
        if (error) {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
        }
    }

    return lines_eval(r, ctx, &lines_script_inv_add, 3, 3 + 2 * n, args,
                      numbers_added);
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
numbers_added(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"added\":%L,\"present\":%L}",
                               (int64_t) reply->element[0]->integer,
                               (int64_t) reply->element[1]->integer);
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
    numbers->key = lines_inventory[LINES_INV_ALL];

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

    if (lines_query(r, "state", &value) != NGX_OK) {
        return NGX_OK;
    }

    numbers->state = value;

    if (lines_is(&value, "free")) {
        numbers->key = lines_inventory[LINES_INV_FREE];

    } else if (lines_is(&value, "leased")) {
        numbers->key = lines_inventory[LINES_INV_LEASED];

    } else if (lines_is(&value, "assigned")) {
        numbers->key = lines_inventory[LINES_INV_ASSIGNED];

    } else if (!lines_is(&value, "quarantined")) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                        "state must be free, leased, assigned or quarantined");
    }

    return NGX_OK;
}


static ngx_int_t
numbers_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t         args[7];
    lines_numbers_t  *numbers;

    numbers = ctx->data;

    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_FREE];
    args[2] = lines_inventory[LINES_INV_QUARANTINED];

    rc = lines_eval(r, ctx, &lines_script_inv_thaw, 3, 3, args,
                    numbers_thawed);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    args[0] = lines_inventory[LINES_INV_FREE];
    args[1] = lines_inventory[LINES_INV_LEASED];
    args[2] = lines_inventory[LINES_INV_ASSIGNED];
    args[3] = lines_inventory[LINES_INV_QUARANTINED];

    rc = lines_eval(r, ctx, &lines_script_inv_count, 4, 4, args,
                    numbers_counted);

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
        && lines_redis_format(r->pool, &args[2], "(+%V", &numbers->from)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lines_redis_format(r->pool, &args[6], "%ui", numbers->limit + 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 7, args, numbers_listed);
}


static ngx_int_t
numbers_thawed(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
numbers_counted(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t        i;
    lines_numbers_t  *numbers;

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
numbers_listed(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t        i;
    lines_numbers_t  *numbers;

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
        if (lines_reply_copy(r, reply, i, &numbers->numbers[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
numbers_entries(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        *argv;
    lines_numbers_t  *numbers;

    numbers = ctx->data;

    if (numbers->n == 0) {
        return NGX_OK;
    }

    argv = ngx_palloc(r->pool, (2 + numbers->n) * sizeof(ngx_str_t));
    if (argv == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = lines_inventory[LINES_INV_NUMBERS];
    ngx_memcpy(&argv[2], numbers->numbers, numbers->n * sizeof(ngx_str_t));

    return lines_command(r, ctx, 2 + numbers->n, argv, numbers_read);
}


static ngx_int_t
numbers_read(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t        i;
    lines_numbers_t  *numbers;

    numbers = ctx->data;

    for (i = 0; i < numbers->n; i++) {
        if (lines_reply_copy(r, reply, i, &numbers->entries[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
numbers_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t            len;
    u_char           *p, *start;
    ngx_str_t         json, *last;
    ngx_uint_t        i;
    lines_numbers_t  *numbers;

    numbers = ctx->data;

    len = sizeof("{\"numbers\":[],\"cursor\":\"\",\"counts\":{\"free\":,"
                 "\"leased\":,\"assigned\":,\"quarantined\":}}")
          + 5 * NGX_INT64_LEN;

    for (i = 0; i < numbers->n; i++) {
        len += sizeof("{\"phone_number\":\"\",\"worker_id\":\"\","
                      "\"state\":\"quarantined\"},") + numbers->numbers[i].len
               + 6 * numbers->entries[i].len;
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

        p = numbers_item(p, &numbers->numbers[i], &numbers->entries[i],
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

    p = ngx_sprintf(p,
                    ",\"counts\":{\"free\":%L,\"leased\":%L,"
                    "\"assigned\":%L,\"quarantined\":%L}}", numbers->counts[0],
                    numbers->counts[1], numbers->counts[2],
                    numbers->counts[3]);

    json.len = p - json.data;

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


/* entry is "state worker …"; NULL: it is in another state, or gone by now */

static u_char *
numbers_item(u_char *p, ngx_str_t *number, ngx_str_t *entry, ngx_str_t *state)
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
numbers_delete(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  args[5];

    if (!lines_is_e164(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid phone number");
    }

    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_FREE];
    args[2] = lines_inventory[LINES_INV_QUARANTINED];
    args[3] = lines_inventory[LINES_INV_ALL];
    args[4] = ctx->params[0];

    return lines_eval(r, ctx, &lines_script_inv_delete, 4, 5, args,
                      numbers_deleted);
}


static ngx_int_t
numbers_deleted(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  word, state;

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "unknown")) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Number not found");
    }

    if (lines_is(&word, "held")) {
        state = lines_reply_str(reply, 1);

        return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                        "{\"error\":\"A number that is %V cannot be deleted\","
                        "\"state\":\"%V\"}", &state, &state);
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"phone_number\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}

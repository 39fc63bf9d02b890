
#include "http/digest.h"
#include "http/failpoint.h"
#include "http/text.h"
#include "operation/record.h"


#define LINES_RECLAIM_DELAY  400
#define LINES_RECLAIMS       6
#define LINES_OP_ID          24


#define point_text(name, text)  text,

static const char  *points[] = { LINES_EACH_POINT(point_text) };


ngx_str_t
lines_op_text(const char *text)
{
    ngx_str_t  value;

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    return value;
}


/*
 * With a zero at its end; data is NULL where there is no memory, or there was
 * none for the value.
 */

static ngx_str_t
op_copy(lines_op_t *op, ngx_str_t *value)
{
    ngx_str_t  copy;

    copy.len = value->len;
    copy.data = NULL;

    if (value->len == 0 || value->data) {
        copy.data = ngx_pcalloc(op->pool, value->len + 1);
    }

    if (copy.data && value->len) {
        ngx_memcpy(copy.data, value->data, value->len);
    }

    return copy;
}


ngx_str_t
lines_op_number(lines_op_t *op, int64_t number)
{
    ngx_str_t  value;

    value = lines_form_number(number);

    return op_copy(op, &value);
}


static ngx_keyval_t *
op_find_field(lines_op_t *op, const char *name)
{
    ngx_uint_t     i;
    ngx_keyval_t  *field;

    field = op->fields.elts;

    for (i = 0; i < op->fields.nelts; i++) {
        if (lines_is(&field[i].key, name)) {
            return &field[i];
        }
    }

    return NULL;
}


ngx_str_t
lines_op_get(lines_op_t *op, const char *name)
{
    ngx_keyval_t  *field;

    static const ngx_str_t  none = ngx_null_string;

    field = op_find_field(op, name);

    return field ? field->value : none;
}


int64_t
lines_op_get_number(lines_op_t *op, const char *name)
{
    off_t      n;
    ngx_str_t  value;

    value = lines_op_get(op, name);

    n = ngx_atoof(value.data, value.len);

    return n == NGX_ERROR ? 0 : n;
}


ngx_int_t
lines_op_set(lines_op_t *op, const char *name, ngx_str_t *value)
{
    ngx_str_t      key, copy;
    ngx_keyval_t  *field;

    copy = op_copy(op, value);
    if (copy.data == NULL) {
        return NGX_ERROR;
    }

    field = op_find_field(op, name);

    if (field == NULL) {
        key = lines_op_text(name);
        key = op_copy(op, &key);

        if (key.data == NULL) {
            return NGX_ERROR;
        }

        field = ngx_array_push(&op->fields);
        if (field == NULL) {
            return NGX_ERROR;
        }

        field->key = key;
    }

    field->value = copy;

    return NGX_OK;
}


ngx_int_t
lines_op_enter(lines_op_t *op, const char *step)
{
    ngx_str_t  kind, name;

    if (!lines_is(&op->step, step)) {
        op->repeats = 0;
    }

    name = lines_op_text(step);

    if (lines_op_set(op, "step", &name) != NGX_OK) {
        return NGX_ERROR;
    }

    op->step = lines_op_get(op, "step");
    op->attempt = lines_op_get_number(op, "attempt");

    kind = lines_op_get(op, "kind");

    if (lines_redis_format(op->pool, &op->point, "%V.%V", &kind, &op->step)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (op->at = 0; op->at < LINES_POINTS; op->at++) {
        if (lines_is(&op->point, points[op->at])) {
            break;
        }
    }

    return NGX_OK;
}


ngx_int_t
lines_op_answered(lines_op_t *op, const char *step, ngx_str_t *status,
    ngx_str_t *answer)
{
    if (lines_op_set(op, "answer_status", status) != NGX_OK
        || lines_op_set(op, "answer", answer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_enter(op, step);
}


ngx_int_t
lines_op_over(void *op)
{
    return lines_op_enter(op, "done");
}


void
lines_op_renewed(lines_op_t *op)
{
    op->now = lines_op_now(op);
    op->claimed = ngx_current_msec;
}


int64_t
lines_op_now(lines_op_t *op)
{
    return op->now + (int64_t) (ngx_current_msec - op->claimed);
}


/* not by what an answer, or Redis, took to come; nor by what seconds hide */

void
lines_op_dated(lines_op_t *op, int64_t at)
{
    int64_t  off;

    off = ngx_max(at - lines_op_now(op) / 1000, 0)
          + ngx_min(at - op->asked / 1000, 0);

    op->ahead = off > 1 || off < -1 ? off : 0;
    op->dated = 1;
}


ngx_str_t
lines_op_ahead(lines_op_t *op)
{
    return op->dated ? lines_op_number(op, op->ahead)
                     : lines_op_get(op, "ahead");
}


void
lines_op_post(lines_op_t *op, ngx_int_t rc)
{
    if (rc == NGX_AGAIN) {
        return;
    }

    op->rc = rc;

    ngx_post_event(&op->next, &ngx_posted_events);
}


ngx_int_t
lines_op_wait(lines_op_t *op, ngx_msec_t delay, lines_op_run_pt wake)
{
    op->wake = wake;

    ngx_add_timer(&op->next, delay);

    return NGX_AGAIN;
}


static void
op_resume(lines_caller_t *caller, ngx_int_t rc)
{
    lines_op_post(ngx_queue_data(caller, lines_op_t, caller), rc);
}


/* what became of the write is unknown: the record knows */

static ngx_int_t
op_failed(lines_caller_t *caller)
{
    lines_op_t  *op = ngx_queue_data(caller, lines_op_t, caller);

    if (op->kind == NULL || op->reclaims++ == LINES_RECLAIMS) {
        return NGX_ERROR;
    }

    return lines_op_wait(op, LINES_RECLAIM_DELAY, lines_op_take);
}


static ngx_int_t
op_lost(lines_caller_t *caller)
{
    lines_op_t  *op = ngx_queue_data(caller, lines_op_t, caller);

    lines_op_log(op, NGX_LOG_INFO, "lost in \"%V\"", &op->point);

    op->lost = 1;

    return NGX_DONE;
}


/* what it was decided upon is seen anew */

static ngx_int_t
op_woken(lines_caller_t *caller)
{
    return lines_op_take(ngx_queue_data(caller, lines_op_t, caller));
}


/* a claim has a failpoint of its own */

static void
op_sending(lines_caller_t *caller, lines_store_call_t *call)
{
    lines_op_t  *op = ngx_queue_data(caller, lines_op_t, caller);

    lines_op_debug(op, "%V in %V", &call->name, &op->point);

    if (call->script && !op->claiming) {
        LINES_FAILPOINT_STEP("op.write.before", &op->point);
    }
}


static void
op_heard(lines_caller_t *caller, lines_store_call_t *call, ngx_uint_t good)
{
    lines_op_t  *op = ngx_queue_data(caller, lines_op_t, caller);

    if (good && call->script && !op->claiming) {
        LINES_FAILPOINT_STEP("op.write.after", &op->point);
    }

    op->claiming = 0;
}


void
lines_op_caller(lines_op_t *op)
{
    lines_caller_init(&op->caller, op->lmcf->redis, op->pool, op->log);

    op->caller.id = &op->id;
    op->caller.resume = op_resume;
    op->caller.failed = op_failed;
    op->caller.lost = op_lost;
    op->caller.woken = op_woken;
    op->caller.sending = op_sending;
    op->caller.heard = op_heard;
}


ngx_int_t
lines_op_forget(lines_op_t *op)
{
    lines_tell_e  told;

    /* but for what is final: that the provisioner took it, or will not */

    told = op->seen.told;
    ngx_memzero(&op->seen, sizeof(lines_op_seen_t));
    op->seen.told = told;

    return NGX_OK;
}


ngx_int_t
lines_op_take(lines_op_t *op)
{
    op->claimed = ngx_current_msec;
    op->claiming = 1;

    return lines_op_claim(&op->caller, lines_op_claimed, op,
                          .tenant = op->tenant, .id = op->id,
                          .lease = op->conf->lease, .fence = op->fence,
                          .afresh = 1);
}


static ngx_int_t
op_read(lines_op_t *op, lines_list_t *fields)
{
    ngx_str_t               name, *field;
    ngx_uint_t              i;
    const lines_op_kind_t  *kind;

    op->fields.nelts = 0;

    field = fields->elts;

    for (i = 0; i + 1 < fields->n; i += 2) {

        /* names come from our own scripts; they end with a zero */

        if (lines_op_set(op, (char *) field[i].data, &field[i + 1]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    op->fence = lines_op_get_number(op, "fence");
    op->kind = NULL;

    name = lines_op_get(op, "kind");

    for (kind = op->conf->kinds; kind->name; kind++) {
        if (lines_is(&name, kind->name)) {
            op->kind = kind;
        }
    }

    name = lines_op_get(op, "step");

    if (lines_op_enter(op, name.data ? (char *) name.data : "") != NGX_OK) {
        return NGX_ERROR;
    }

    if (lines_is(&op->step, "done")) {
        return NGX_OK;
    }

    LINES_FAILPOINT_STEP("op.claim.after", &op->point);

    if (op->kind == NULL) {
        lines_op_log(op, NGX_LOG_ALERT, "unknown kind \"%V\"", &op->point);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
lines_op_claimed(void *data, lines_op_claim_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_int_t   rc;
    ngx_uint_t  fence;

    op->unknown = (reply->is == LINES_OP_CLAIM_NONE);
    op->lost = (reply->is == LINES_OP_CLAIM_BUSY);

    if (op->unknown || op->lost) {
        return NGX_DONE;
    }

    /* all may have gone on since it was seen, or written */

    ngx_str_null(&op->document);

    (void) lines_op_forget(op);

    op->now = reply->now;
    op->lag = ngx_current_msec - op->claimed;

    fence = op->fence;
    rc = op_read(op, &reply->fields);

    /* whoever held it in between may have sent it */

    if (op->fence != fence) {
        op->unsent = 0;
    }

    return rc;
}


/* its lease is as young as the begin, and nothing has been written since */

ngx_int_t
lines_op_leased(lines_op_t *op, lines_op_begun_t *begun)
{
    op->now = begun->now;
    op->claimed = begun->sent;
    op->lag = ngx_current_msec - op->claimed;
    op->seen.checked = begun->checked;
    op->document = op_copy(op, &begun->document);

    if (op->document.data == NULL) {
        return NGX_ERROR;
    }

    if (op_read(op, &begun->fields) != NGX_OK) {
        return NGX_ERROR;
    }

    op->unsent = op->attempt;

    return NGX_OK;
}


static ngx_int_t
op_written(void *data, lines_op_step_reply_t *reply)
{
    lines_op_t  *op = data;

    if (lines_op_enter(op, op->next_step) != NGX_OK) {
        return NGX_ERROR;
    }

    return op->rest == LINES_NO_REST
           ? NGX_OK : lines_op_rested(op, op->rest);
}


/*
 * The copy has the fields at once: where the write is not acknowledged, all of
 * it is read again, or dropped.
 */

ngx_int_t
lines_op_write(lines_op_t *op, const char *next, int64_t rest,
    lines_op_field_t *field)
{
    ngx_str_t   pairs[2 * LINES_OP_FIELDS];
    ngx_uint_t  n;

    if (rest == LINES_NO_REST) {
        lines_op_renewed(op);
    }

    for (n = 0; field->name; field++) {
        if (lines_op_set(op, field->name, &field->value) != NGX_OK) {
            return NGX_ERROR;
        }

        pairs[n++] = lines_op_text(field->name);
        pairs[n++] = field->value;
    }

    op->next_step = next;
    op->rest = rest;

    return lines_op_step(&op->caller, op_written, op, lines_op_held(op),
                         .next_step = lines_op_text(next),
                         .lease = op->conf->lease,
                         .rest = rest == LINES_NO_REST ? NULL : &rest,
                         .fields.n = n, .fields.elts = pairs);
}


/* the hint after the record: until then a sooner one has seen to it */

ngx_int_t
lines_op_rested(lines_op_t *op, ngx_msec_t delay)
{
    lines_op_debug(op, "rests in %V for %L", &op->point, (int64_t) delay);

    (void) lines_forget_due_rest(&op->caller, lines_op_member(op),
                                 .ago = ngx_current_msec - op->caller.start,
                                 .delay = delay);

    return NGX_DONE;
}


int64_t
lines_due_shard(ngx_str_t *id)
{
    return ngx_crc32_short(id->data, id->len) % LINES_DUE_SHARDS;
}


void
lines_op_hint(lines_op_t *op, ngx_str_t *id, ngx_msec_t delay)
{
    (void) lines_forget_due_add(&op->caller, .shard = lines_due_shard(id),
                                .tenant = op->tenant, .id = *id,
                                .delay = delay);
}


ngx_int_t
lines_derive_id(ngx_pool_t *pool, const char *prefix, ngx_str_t *name,
    ngx_str_t *id)
{
    u_char     *hex;
    ngx_str_t   text;

    hex = ngx_pnalloc(pool, LINES_SHA256_LEN * 2);

    if (hex == NULL
        || lines_redis_format(pool, &text, "%s%V", prefix, name) != NGX_OK
        || lines_sha256_hex(&text, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->data = hex;
    id->len = LINES_OP_ID;

    return NGX_OK;
}


#include "api/idempotency.h"
#include "api/input.h"
#include "api/json.h"
#include "http/headers.h"
#include "http/steps.h"
#include "operation/operation.h"


#define LINES_IDEMPOTENCY_KEY_MAX  255

#define LINES_BEGIN_TRIES          3


/* one key, however often it is given */

static ngx_int_t
idempotency_header(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *member,
    ngx_str_t *key)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    for (h = lines_find_header(r, "idempotency-key");
         h;
         h = lines_next_header(r, "idempotency-key", h))
    {
        rc = lines_check_text(r, ctx, "Idempotency-Key", &h->value,
                              LINES_IDEMPOTENCY_KEY_MAX);

        if (rc != NGX_OK) {
            return rc;
        }

        if (h->value.len == 0) {
            return lines_refuse(ctx, 400, "Idempotency-Key must not be empty");
        }

        if (key->len == 0) {
            *key = h->value;
            continue;
        }

        if (!lines_same(key, &h->value)) {
            return lines_refuse(ctx, 400,
                                member->len
                                ? "Idempotency-Key and idempotencyKey differ"
                                : "Idempotency-Key is given twice, and "
                                "differs");
        }
    }

    return NGX_OK;
}


/* the parts with their lengths, so that no two lists look the same */

static ngx_int_t
idempotency_digest(ngx_pool_t *pool, ngx_uint_t n, ngx_str_t *parts,
    ngx_str_t *hex)
{
    ngx_str_t     text;
    ngx_uint_t    i;
    lines_json_t  list = { .pool = pool };

    for (i = 0; i < n; i++) {
        lines_json_add(&list, "%L:%V", (int64_t) parts[i].len, &parts[i]);
    }

    text.data = list.start;
    text.len = list.last - list.start;

    return list.failed ? NGX_ERROR : lines_hash(pool, &text, hex);
}


ngx_int_t
lines_idempotency_init(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *endpoint, ngx_str_t *member, ngx_uint_t nfields,
    ngx_str_t *fields, lines_idempotency_t *idem)
{
    ngx_int_t    rc;
    ngx_str_t    parts[2], hex;

    idem->key = *member;

    rc = idempotency_header(r, ctx, member, &idem->key);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_null(&idem->fingerprint);

    parts[0].data = (u_char *) endpoint;
    parts[0].len = ngx_strlen(endpoint);
    parts[1] = idem->key;

    if (idempotency_digest(r->pool, 2, parts, &hex) != NGX_OK
        || lines_key_idem(r->pool, &idem->record, &ctx->identity.tenant, &hex)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (idem->key.len == 0) {
        return NGX_OK;
    }

    return idempotency_digest(r->pool, nfields, fields, &idem->fingerprint);
}


ngx_int_t
lines_idempotency_read(lines_ctx_t *ctx, lines_idempotency_t *idem)
{
    ngx_str_t  none = ngx_null_string;

    return lines_keep_idem_read(&ctx->caller, &idem->recorded,
                                .tenant = ctx->identity.tenant,
                                .idem_key = idem->key.len ? idem->record
                                                          : none);
}


void
lines_idempotency_of(lines_idempotency_t *idem, ngx_str_t *made)
{
    if (!lines_same(&idem->recorded.made, made)) {
        ngx_str_null(&idem->recorded.operation);
    }
}


ngx_int_t
lines_idempotency_announce(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = lines_ix_put(&ctx->caller, NULL, NULL, .id = *id,
                      .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_due_put(&ctx->caller, NULL, NULL,
                         .shard = lines_due_shard(id),
                         .delay = lines_get_main_conf(ctx->request)
                                  ->operation->due,
                         .tenant = ctx->identity.tenant, .id = *id);
}


ngx_int_t
lines_idempotency_again(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, lines_step_pt step)
{
    if (++idem->tries == LINES_BEGIN_TRIES) {
        return lines_unavailable(r, ctx, 1);
    }

    lines_again_from(ctx, step);

    return NGX_OK;
}


ngx_int_t
lines_idempotency_same(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, ngx_str_t *fingerprint)
{
    return lines_same(fingerprint, &idem->fingerprint)
           ? NGX_OK
           : lines_refuse(ctx, 422, "This idempotency key was used for "
                          "another request");
}


ngx_int_t
lines_idempotency_replayed(ngx_http_request_t *r)
{
    static ngx_str_t  yes = ngx_string("true");

    return lines_add_header(r, "Idempotency-Replayed", &yes);
}

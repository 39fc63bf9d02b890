
#include "directive/params.h"
#include "http/answer.h"
#include "http/digest.h"
#include "http/headers.h"
#include "http/metrics.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/text.h"
#include "limit/concurrency.h"
#include "limit/limit.h"


#define LINES_CONCURRENCY_SHARE    8       /* of the zone: an eighth */
#define LINES_CONCURRENCY_EACH     8       /* requests to a tenant's place */
#define LINES_CONCURRENCY_BURY     1000    /* ms between looks for the dead */
#define LINES_CONCURRENCY_WARNING  10000   /* ms between two warnings */
#define LINES_CONCURRENCY_RETRY    1       /* s */

/* "NAME TENANT" */
#define LINES_CONCURRENCY_KEY      136


struct lines_concurrency_s {
    ngx_str_t   name;        /* of the count; empty: that of all others */
    ngx_uint_t  tenant;      /* so many at once */
    ngx_uint_t  dry_run;     /* flags */
    ngx_uint_t  off;
};


/* a tenant that has any */

typedef struct {
    union {
        ngx_str_node_t  node;      /* its string is text */
        ngx_queue_t     spare;
    };

    ngx_uint_t          count;
    u_char              text[LINES_CONCURRENCY_KEY];
} concurrency_node_t;


/* a request */

typedef struct {
    ngx_queue_t          queue;    /* of its worker's, or of the spare ones */
    concurrency_node_t  *node;
    uint32_t             owner;    /* its worker's number among the master's
                                      processes */
    uint32_t             serial;   /* 0: spare */
    ngx_uint_t           besides;  /* flag: another one is its request's */
} concurrency_hold_t;


typedef struct {
    ngx_queue_t  holds;
    ngx_pid_t    pid;              /* 0: nobody's */
} concurrency_owner_t;


typedef struct {
    ngx_rbtree_t         rbtree;
    ngx_rbtree_node_t    sentinel;
    ngx_queue_t          nodes;    /* spare ones */
    ngx_queue_t          holds;
    ngx_uint_t           held;
    ngx_uint_t           besides;  /* of those */
    ngx_msec_t           buried;   /* when the dead were last looked for */
    uint32_t             serial;
    concurrency_owner_t  owners[NGX_MAX_PROCESSES];
} concurrency_area_t;


/* of a request's pool */

typedef struct {
    concurrency_hold_t  *hold;     /* NULL: it does not count */
    uint32_t             serial;
    ngx_uint_t           besides;
    ngx_str_t            key;
} concurrency_claim_t;


ngx_str_t  lines_concurrency_outcomes[LINES_METRICS_CONCURRENCY] = {
    ngx_string("refused"),
    ngx_string("refused_dry_run"),
    ngx_string("uncounted")
};


static lines_concurrency_t  concurrency_default = {
    .tenant = LINES_CONCURRENCY_TENANT
};


static lines_param_t  concurrency_params[] = {
    lines_param_number("tenant", lines_concurrency_t, tenant,
                       1, NGX_MAX_INT32_VALUE, 0),
    lines_param_word("name", lines_concurrency_t, name, LINES_LIMIT_NAME_MAX,
                     0),
    lines_param_flag("dry_run", lines_concurrency_t, dry_run),
    lines_param_end
};


static lines_directive_t  concurrency_directive = {
    .name = "lines_concurrency",
    .params = concurrency_params
};


/* of this worker */

static struct {
    concurrency_area_t   *area;
    ngx_slab_pool_t      *shpool;
    concurrency_owner_t  *owner;
    ngx_msec_t            warned;
} keeper;


char *
lines_concurrency(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t            *value;
    lines_concurrency_t  *limit;

    if (llcf->concurrency) {
        return "is duplicate";
    }

    limit = ngx_pcalloc(cf->pool, sizeof(lines_concurrency_t));
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->concurrency = limit;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && lines_is(&value[1], "off")) {
        limit->off = 1;
        return NGX_CONF_OK;
    }

    if (lines_params(cf, &concurrency_directive, 1, limit) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return limit->tenant ? NGX_CONF_OK
                         : "needs \"tenant=\", as in \"tenant=100\"";
}


void *
lines_concurrency_init_area(ngx_slab_pool_t *shpool)
{
    ngx_uint_t           i, n;
    concurrency_area_t  *area;
    concurrency_hold_t  *holds;
    concurrency_node_t  *nodes;

    n = (ngx_uint_t) (shpool->end - shpool->start) / LINES_CONCURRENCY_SHARE
        / (sizeof(concurrency_node_t)
           + LINES_CONCURRENCY_EACH * sizeof(concurrency_hold_t));

    area = ngx_slab_calloc(shpool, sizeof(concurrency_area_t));
    nodes = ngx_slab_calloc(shpool, n * sizeof(concurrency_node_t));
    holds = ngx_slab_calloc(shpool, n * LINES_CONCURRENCY_EACH
                                    * sizeof(concurrency_hold_t));

    if (area == NULL || nodes == NULL || holds == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&area->rbtree, &area->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&area->nodes);
    ngx_queue_init(&area->holds);

    for (i = 0; i < n; i++) {
        ngx_queue_insert_tail(&area->nodes, &nodes[i].spare);
    }

    for (i = 0; i < n * LINES_CONCURRENCY_EACH; i++) {
        ngx_queue_insert_tail(&area->holds, &holds[i].queue);
    }

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        ngx_queue_init(&area->owners[i].holds);
    }

    return area;
}


static ngx_int_t
concurrency_precontent(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    lines_ctx_t  *ctx;

    /* an API authenticates by itself, in a step; what stands for a request, or
       is a part of its answer, has no say in whether it may be served */

    ctx = (r == r->main) ? lines_find_ctx(r) : NULL;

    if (ctx == NULL || lines_get_loc_conf(r)->api) {
        return NGX_DECLINED;
    }

    rc = lines_concurrency_take(r, ctx);

    return rc == NGX_OK ? NGX_DECLINED : lines_phase_done(r, ctx, rc);
}


ngx_int_t
lines_concurrency_init(ngx_conf_t *cf)
{
    return lines_add_handler(cf, NGX_HTTP_PRECONTENT_PHASE,
                             concurrency_precontent, NULL);
}


static void
concurrency_free(concurrency_hold_t *hold)
{
    concurrency_area_t  *area;
    concurrency_node_t  *node;

    area = keeper.area;
    node = hold->node;

    hold->serial = 0;

    ngx_queue_remove(&hold->queue);
    ngx_queue_insert_head(&area->holds, &hold->queue);

    area->held--;
    area->besides -= hold->besides;

    if (--node->count == 0) {
        ngx_rbtree_delete(&area->rbtree, &node->node.node);
        ngx_queue_insert_head(&area->nodes, &node->spare);
    }
}


static void
concurrency_empty(concurrency_owner_t *owner)
{
    while (!ngx_queue_empty(&owner->holds)) {
        concurrency_free(ngx_queue_data(ngx_queue_head(&owner->holds),
                                        concurrency_hold_t, queue));
    }

    owner->pid = 0;
}


/*
 * The master gives a process the place of one that is gone, and of no other:
 * old and new workers of a reload have places of their own.
 */

void
lines_concurrency_init_process(lines_main_conf_t *lmcf)
{
    keeper.area = lines_zone_area(lmcf, LINES_ZONE_CONCURRENCY);
    keeper.shpool = lines_zone_pool(lmcf);
    keeper.owner = &keeper.area->owners[ngx_process_slot];

    ngx_shmtx_lock(&keeper.shpool->mutex);

    concurrency_empty(keeper.owner);

    keeper.owner->pid = ngx_pid;

    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


void
lines_concurrency_exit_process(void)
{
    if (keeper.owner == NULL) {
        return;
    }

    /* a fast shutdown leaves requests as they are */

    ngx_shmtx_lock(&keeper.shpool->mutex);

    concurrency_empty(keeper.owner);

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    keeper.owner = NULL;
}


ngx_int_t
lines_counted_as(lines_ctx_t *ctx, ngx_str_t *value)
{
    u_char             hex[LINES_SHA256_LEN * 2];
    lines_identity_t  *identity;

    identity = &ctx->identity;
    *value = identity->tenant;

    /* a session without a workspace is its user's own affair */

    return value->len
           || (identity->user.len
               && lines_sha256_hex(&identity->user, hex) == NGX_OK
               && lines_redis_format(ctx->request->pool, value, "u:%*s",
                                     sizeof(hex), hex)
                  == NGX_OK)
           ? NGX_OK : NGX_DECLINED;
}


static void
concurrency_release(void *data)
{
    concurrency_claim_t *claim = data;

    concurrency_hold_t  *hold;

    hold = claim->hold;

    if (hold == NULL || keeper.owner == NULL) {
        return;
    }

    claim->hold = NULL;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    if (hold->owner == (uint32_t) ngx_process_slot
        && hold->serial == claim->serial)
    {
        concurrency_free(hold);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


/* flag: a request, or who it is made for, counts already; they share a pool */

static ngx_uint_t
concurrency_claimed(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_pool_cleanup_t   *cln;
    concurrency_claim_t  *claim;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == concurrency_release) {
            claim = cln->data;

            if (claim->hold && lines_same(&claim->key, key)) {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * A worker that was killed has its place taken, as a rule: not so an old one
 * after a reload.  Flag: something was given back.
 */

static ngx_uint_t
concurrency_bury(void)
{
    ngx_uint_t            i, held;
    concurrency_area_t   *area;
    concurrency_owner_t  *owner;

    area = keeper.area;

    if (lines_zone_since(area->buried) < LINES_CONCURRENCY_BURY) {
        return 0;
    }

    area->buried = ngx_current_msec;
    held = area->held;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        owner = &area->owners[i];

        if (owner->pid && kill(owner->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            concurrency_empty(owner);
        }
    }

    return area->held != held;
}


static ngx_int_t
concurrency_try(concurrency_claim_t *claim, uint32_t hash, ngx_uint_t most)
{
    ngx_queue_t         *q;
    concurrency_area_t  *area;
    concurrency_hold_t  *hold;
    concurrency_node_t  *node;

    area = keeper.area;

    node = (concurrency_node_t *) ngx_str_rbtree_lookup(&area->rbtree,
                                                        &claim->key, hash);

    if (node && node->count >= most) {
        return NGX_BUSY;
    }

    if (ngx_queue_empty(&area->holds)
        || (node == NULL && ngx_queue_empty(&area->nodes)))
    {
        return NGX_DECLINED;
    }

    if (node == NULL) {
        q = ngx_queue_head(&area->nodes);
        ngx_queue_remove(q);

        node = ngx_queue_data(q, concurrency_node_t, spare);

        ngx_memcpy(node->text, claim->key.data, claim->key.len);

        node->count = 0;
        node->node.node.key = hash;
        node->node.str.len = claim->key.len;
        node->node.str.data = node->text;

        ngx_rbtree_insert(&area->rbtree, &node->node.node);
    }

    q = ngx_queue_head(&area->holds);
    ngx_queue_remove(q);
    ngx_queue_insert_head(&keeper.owner->holds, q);

    if (++area->serial == 0) {
        area->serial = 1;
    }

    hold = ngx_queue_data(q, concurrency_hold_t, queue);

    hold->node = node;
    hold->owner = ngx_process_slot;
    hold->serial = area->serial;
    hold->besides = claim->besides;

    node->count++;
    area->held++;
    area->besides += hold->besides;

    claim->hold = hold;
    claim->serial = hold->serial;

    return NGX_OK;
}


/* NGX_OK: it counts; NGX_BUSY: as many do as may; NGX_DECLINED: no place */

static ngx_int_t
concurrency_hold(concurrency_claim_t *claim, ngx_uint_t most)
{
    uint32_t   hash;
    ngx_int_t  rc;

    hash = ngx_murmur_hash2(claim->key.data, claim->key.len);

    ngx_shmtx_lock(&keeper.shpool->mutex);

    rc = concurrency_try(claim, hash, most);

    if (rc != NGX_OK && concurrency_bury()) {
        rc = concurrency_try(claim, hash, most);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    return rc;
}


/* one of many is a warning */

static ngx_uint_t
concurrency_level(void)
{
    if (keeper.warned
        && ngx_current_msec - keeper.warned < LINES_CONCURRENCY_WARNING)
    {
        return NGX_LOG_INFO;
    }

    keeper.warned = ngx_current_msec;

    return NGX_LOG_WARN;
}


static void
concurrency_uncounted(ngx_http_request_t *r)
{
    ngx_uint_t  level;

    lines_metrics_inc(concurrency[LINES_CONCURRENCY_UNCOUNTED]);

    level = concurrency_level();

    ngx_log_error(level, r->connection->log, 0,
                  "lines: \"lines_zone\" is too small to count all "
                  "requests at once: some pass uncounted");
}


/* as limit_reject() */

static ngx_int_t
concurrency_refuse(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *key)
{
    ngx_uint_t         level;
    lines_api_t       *dialect;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);
    level = concurrency_level();

    ctx->crowded = 1;

    lines_metrics_inc(concurrency[LINES_CONCURRENCY_REFUSED]);

    ngx_log_error(level, r->connection->log, 0,
                  "lines: too many requests at once of \"%V\"", key);

    dialect = llcf->api ? llcf->api : llcf->dialect;

    if (dialect == NULL
        || lines_has_error_page(r, NGX_HTTP_TOO_MANY_REQUESTS))
    {
        ctx->rc = NGX_HTTP_TOO_MANY_REQUESTS;

        return lines_retry_after(r, LINES_CONCURRENCY_RETRY) == NGX_OK
               ? NGX_DONE : NGX_ERROR;
    }

    ctx->api = dialect;
    ctx->retry_after = LINES_CONCURRENCY_RETRY;

    return lines_error(r, ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                       "concurrency_limit_reached",
                       "Too many requests at once: wait for some to be "
                       "answered");
}


/* all that may fail is done before anything counts; NULL: it counts already, or
   cannot */

static ngx_int_t
concurrency_claim(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *who,
    concurrency_claim_t **claim)
{
    ngx_str_t            key;
    ngx_pool_cleanup_t  *cln;

    *claim = NULL;

    key.len = name->len + 1 + who->len;
    key.data = ngx_pnalloc(r->pool, key.len);

    if (key.data == NULL) {
        return NGX_ERROR;
    }

    (void) lines_pair(key.data, name, who);

    if (key.len > LINES_CONCURRENCY_KEY || concurrency_claimed(r, &key)) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(concurrency_claim_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    *claim = cln->data;
    **claim = (concurrency_claim_t) { .key = key };

    cln->handler = concurrency_release;

    return NGX_OK;
}


ngx_int_t
lines_concurrency_besides(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *name, ngx_uint_t most)
{
    ngx_int_t             rc;
    ngx_str_t             who;
    concurrency_claim_t  *claim;

    if (keeper.owner == NULL || lines_counted_as(ctx, &who) != NGX_OK) {
        return NGX_OK;
    }

    if (concurrency_claim(r, name, &who, &claim) != NGX_OK) {
        return NGX_ERROR;
    }

    if (claim == NULL) {
        return NGX_OK;
    }

    claim->besides = 1;

    rc = concurrency_hold(claim, most);

    if (rc == NGX_DECLINED) {
        concurrency_uncounted(r);
        rc = NGX_OK;
    }

    return rc;
}


ngx_int_t
lines_concurrency_take(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_str_t             who;
    lines_limit_state_t  *state;
    concurrency_claim_t  *claim;
    lines_concurrency_t  *limit;

    limit = lines_get_loc_conf(r)->concurrency;
    limit = limit ? limit : &concurrency_default;
    state = ctx->limit;

    /* what shows a rejection is not rejected as well */

    if (limit->off
        || ctx->crowded
        || (state && state->rejected)
        || keeper.owner == NULL
        || lines_counted_as(ctx, &who) != NGX_OK)
    {
        return NGX_OK;
    }

    if (concurrency_claim(r, &limit->name, &who, &claim) != NGX_OK) {
        return NGX_ERROR;
    }

    if (claim == NULL) {
        return NGX_OK;
    }

    rc = concurrency_hold(claim, limit->tenant);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines concurrency: \"%V\" of %ui: %i", &claim->key,
                   limit->tenant, rc);

    if (rc == NGX_BUSY && limit->dry_run) {

        /* it counts, for those that are not so patient */

        lines_metrics_inc(concurrency[LINES_CONCURRENCY_DRY]);

        rc = concurrency_hold(claim, NGX_MAX_INT_T_VALUE);
    }

    if (rc == NGX_BUSY) {
        return concurrency_refuse(r, ctx, &claim->key);
    }

    if (rc == NGX_DECLINED) {
        concurrency_uncounted(r);
    }

    return NGX_OK;
}


ngx_uint_t
lines_concurrency_held(lines_main_conf_t *lmcf)
{
    concurrency_area_t  *area;

    area = lines_zone_area(lmcf, LINES_ZONE_CONCURRENCY);

    return area->held - area->besides;
}

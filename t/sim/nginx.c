
/*
 * What the engine needs of nginx's core: pools, lists, text, timers.  They do
 * what nginx' own do (src/core), but pools belong to the node that made them:
 * a node that is killed takes them along.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ctype.h>
#include <stdio.h>

#include "world.h"


#if defined(__SANITIZE_ADDRESS__)
#define POOL_BLOCK  0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_BLOCK  0
#endif
#endif

#ifndef POOL_BLOCK
#define POOL_BLOCK  4096    /* 0: each piece by itself, for the sanitizer */
#endif


typedef struct block_s  block_t;

struct block_s {
    block_t  *next;
    size_t    used;
    size_t    size;
    u_char    data[];
};

typedef struct {
    ngx_pool_t    pool;
    ngx_queue_t   queue;     /* of the node's */
    block_t      *blocks;    /* the newest first */
} node_pool_t;


volatile ngx_msec_t    ngx_current_msec;
volatile ngx_time_t   *ngx_cached_time;
volatile ngx_cycle_t  *ngx_cycle;

ngx_rbtree_t           ngx_event_timer_rbtree;
uint32_t               ngx_crc32_table256[256];  /* of no text: they decide */
ngx_queue_t            ngx_posted_events;
ngx_queue_t            ngx_posted_next_events;
ngx_uint_t             ngx_exiting, ngx_worker;
ngx_pid_t              ngx_pid;
sig_atomic_t           ngx_terminate, ngx_quit;

static uint32_t        crc_table[16];
uint32_t              *ngx_crc32_table_short = crc_table;


static u_char *put_number(u_char *p, u_char *last, uint64_t n, u_char zero,
    ngx_uint_t hex, ngx_uint_t width);


void
sim_nginx_init(void)
{
    ngx_uint_t  i, j;

    static ngx_time_t   now;
    static ngx_log_t    log;
    static ngx_cycle_t  cycle;

    for (i = 0; i < 16; i++) {
        crc_table[i] = i;

        for (j = 0; j < 4; j++) {
            crc_table[i] = (crc_table[i] >> 1)
                           ^ (crc_table[i] & 1 ? 0xedb88320 : 0);
        }
    }

    log.log_level = NGX_LOG_INFO;
    cycle.log = &log;

    ngx_cycle = &cycle;
    ngx_cached_time = &now;
}


void
sim_nginx_debug(void)
{
    /* what nginx says of events has addresses: no two runs say the same */

    ngx_cycle->log->log_level = NGX_LOG_DEBUG
                                | (NGX_LOG_DEBUG_ALL & ~(NGX_LOG_DEBUG_EVENT
                                                          |NGX_LOG_DEBUG_CORE));
}


void
sim_nginx_set_time(int64_t us, int64_t skew)
{
    ngx_current_msec = us / 1000;

    us += skew;
    ngx_cached_time->sec = us / 1000000;
    ngx_cached_time->msec = us / 1000 % 1000;
}


/* it stands still while a node does something */

void
ngx_time_update(void)
{
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    node_pool_t  *p;

    p = calloc(1, sizeof(node_pool_t));
    if (p == NULL) {
        abort();
    }

    p->pool.log = log;

    ngx_queue_insert_tail(sim_pools(), &p->queue);

    return &p->pool;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    block_t             *block;
    node_pool_t         *p = (node_pool_t *) pool;
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    ngx_queue_remove(&p->queue);

    while (p->blocks) {
        block = p->blocks;
        p->blocks = block->next;
        free(block);
    }

    free(p);
}


/* of a node that is no more */

void
sim_pools_destroy(ngx_queue_t *pools)
{
    node_pool_t  *p;

    while (!ngx_queue_empty(pools)) {
        p = ngx_queue_data(ngx_queue_head(pools), node_pool_t, queue);
        ngx_destroy_pool(&p->pool);
    }
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    size_t        most;
    void         *data;
    block_t      *block;
    node_pool_t  *p = (node_pool_t *) pool;

    block = p->blocks;

    if (POOL_BLOCK) {
        size = (size + 15) & ~(size_t) 15;
    }

    if (block == NULL || block->size - block->used < size || !POOL_BLOCK) {
        most = ngx_max(size, POOL_BLOCK);

        block = malloc(sizeof(block_t) + most);
        if (block == NULL) {
            abort();
        }

        block->next = p->blocks;
        block->used = 0;
        block->size = most;

        p->blocks = block;
    }

    data = block->data + block->used;
    block->used += size;

    return data;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    return memset(ngx_palloc(pool, size), 0, size);
}


ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    return NGX_DECLINED;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_palloc(pool, sizeof(ngx_pool_cleanup_t));

    cln->data = size ? ngx_palloc(pool, size) : NULL;
    cln->handler = NULL;
    cln->next = pool->cleanup;

    pool->cleanup = cln;

    return cln;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}


ngx_array_t *
ngx_array_create(ngx_pool_t *pool, ngx_uint_t n, size_t size)
{
    ngx_array_t  *a;

    a = ngx_palloc(pool, sizeof(ngx_array_t));

    return ngx_array_init(a, pool, n, size) == NGX_OK ? a : NULL;
}


void *
ngx_array_push(ngx_array_t *a)
{
    return ngx_array_push_n(a, 1);
}


void *
ngx_array_push_n(ngx_array_t *a, ngx_uint_t n)
{
    void  *elts;

    if (a->nelts + n > a->nalloc) {
        elts = ngx_palloc(a->pool, (a->nalloc + n) * 2 * a->size);

        ngx_memcpy(elts, a->elts, a->nelts * a->size);

        a->elts = elts;
        a->nalloc = (a->nalloc + n) * 2;
    }

    a->nelts += n;

    return (u_char *) a->elts + (a->nelts - n) * a->size;
}


ngx_list_t *
ngx_list_create(ngx_pool_t *pool, ngx_uint_t n, size_t size)
{
    ngx_list_t  *list;

    list = ngx_palloc(pool, sizeof(ngx_list_t));

    return ngx_list_init(list, pool, n, size) == NGX_OK ? list : NULL;
}


void *
ngx_list_push(ngx_list_t *l)
{
    ngx_list_part_t  *last = l->last;

    if (last->nelts == l->nalloc) {
        abort();
    }

    return (char *) last->elts + l->size * last->nelts++;
}


/*
 * A list in order does for the tree of timers: a node has a few dozen.  Others
 * need not be balanced.
 */

void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *prev, *next;

    if (tree != &ngx_event_timer_rbtree) {
        node->left = tree->sentinel;
        node->right = tree->sentinel;

        if (tree->root == tree->sentinel) {
            tree->root = node;
        } else {
            tree->insert(tree->root, node, tree->sentinel);
        }

        return;
    }

    prev = NULL;
    next = tree->root;

    while (next && (ngx_rbtree_key_int_t) (next->key - node->key) <= 0) {
        prev = next;
        next = next->right;
    }

    node->left = prev;
    node->right = next;

    if (prev) {
        prev->right = node;
    } else {
        tree->root = node;
    }

    if (next) {
        next->left = node;
    }
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    if (node->left) {
        node->left->right = node->right;
    } else {
        tree->root = node->right;
    }

    if (node->right) {
        node->right->left = node->left;
    }
}


static ngx_int_t
str_node_cmp(uint32_t hash, ngx_str_t *str, ngx_rbtree_node_t *node)
{
    ngx_str_t *other = &((ngx_str_node_t *) node)->str;

    if (hash != node->key) {
        return hash < node->key ? -1 : 1;
    }

    if (str->len != other->len) {
        return str->len < other->len ? -1 : 1;
    }

    return ngx_memcmp(str->data, other->data, str->len);
}


void
ngx_str_rbtree_insert_value(ngx_rbtree_node_t *at, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_str_t          *str = &((ngx_str_node_t *) node)->str;
    ngx_rbtree_node_t **next;

    for ( ;; ) {
        next = str_node_cmp(node->key, str, at) < 0 ? &at->left : &at->right;

        if (*next == sentinel) {
            *next = node;
            return;
        }

        at = *next;
    }
}


ngx_str_node_t *
ngx_str_rbtree_lookup(ngx_rbtree_t *tree, ngx_str_t *str, uint32_t hash)
{
    ngx_int_t           rc;
    ngx_rbtree_node_t  *node;

    for (node = tree->root; node != tree->sentinel;
         node = rc < 0 ? node->left : node->right)
    {
        rc = str_node_cmp(hash, str, node);

        if (rc == 0) {
            return (ngx_str_node_t *) node;
        }
    }

    return NULL;
}


/* the first timer of the node at hand that is due, or NULL */

ngx_event_t *
sim_timer_first(void)
{
    return ngx_event_timer_rbtree.root
           ? ngx_rbtree_data(ngx_event_timer_rbtree.root, ngx_event_t, timer)
           : NULL;
}


u_char *
ngx_pstrdup(ngx_pool_t *pool, ngx_str_t *src)
{
    u_char  *dst;

    dst = ngx_pnalloc(pool, src->len);

    if (src->len) {
        ngx_memcpy(dst, src->data, src->len);
    }

    return dst;
}


u_char *
ngx_cpystrn(u_char *dst, u_char *src, size_t n)
{
    if (n == 0) {
        return dst;
    }

    while (--n && *src) {
        *dst++ = *src++;
    }

    *dst = '\0';

    return dst;
}


ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    return strncasecmp((char *) s1, (char *) s2, n);
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    static const u_char  hex[] = "0123456789abcdef";

    while (len--) {
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src++ & 0xf];
    }

    return dst;
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    abort();
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    return ngx_atoof(line, n);
}


off_t
ngx_atoof(u_char *line, size_t n)
{
    off_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0'
            || *line > '9'
            || value > (NGX_MAX_OFF_T_VALUE - (*line - '0')) / 10)
        {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


uintptr_t
ngx_escape_json(u_char *dst, u_char *src, size_t size)
{
    if (dst == NULL) {
        return 0;
    }

    while (size--) {
        *dst++ = *src++;
    }

    return (uintptr_t) dst;
}


/* of the types, NGX_ESCAPE_URI_COMPONENT alone: RFC 3986's unreserved stay */

uintptr_t
ngx_escape_uri(u_char *dst, u_char *src, size_t size, ngx_uint_t type)
{
    static const u_char  hex[] = "0123456789ABCDEF";

    if (dst == NULL || type != NGX_ESCAPE_URI_COMPONENT) {
        abort();
    }

    for ( /* void */ ; size; size--, src++) {

        if ((*src < 0x80 && isalnum(*src)) || (*src && strchr("-._~", *src))) {
            *dst++ = *src;
            continue;
        }

        *dst++ = '%';
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src & 0xf];
    }

    return (uintptr_t) dst;
}


time_t
ngx_parse_http_time(u_char *value, size_t len)
{
    struct tm  tm;

    ngx_memzero(&tm, sizeof(tm));

    return len && strptime((char *) value, "%a, %d %b %Y %T GMT", &tm)
           ? timegm(&tm) : NGX_ERROR;
}


u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return p;
}


u_char * ngx_cdecl
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return p;
}


u_char *
ngx_vslprintf(u_char *buf, u_char *last, const char *fmt, va_list args)
{
    size_t      len, slen;
    u_char     *p, zero;
    int64_t     i64;
    uint64_t    ui64;
    ngx_str_t  *v;
    ngx_uint_t  width, sign, hex;

    while (*fmt && buf < last) {

        if (*fmt != '%') {
            *buf++ = *fmt++;
            continue;
        }

        i64 = 0;
        ui64 = 0;
        zero = *++fmt == '0' ? '0' : ' ';
        width = 0;
        sign = 1;
        hex = 0;
        slen = (size_t) -1;

        while (*fmt >= '0' && *fmt <= '9') {
            width = width * 10 + (*fmt++ - '0');
        }

        for ( ;; fmt++) {
            if (*fmt == 'u') {
                sign = 0;

            } else if (*fmt == 'x' || *fmt == 'X') {
                hex = 1;
                sign = 0;

            } else if (*fmt == '*') {
                slen = va_arg(args, size_t);

            } else {
                break;
            }
        }

        switch (*fmt) {

        case 'V':
        case 's':

            if (*fmt == 'V') {
                v = va_arg(args, ngx_str_t *);
                p = v->data;
                len = v->len;

            } else {
                p = va_arg(args, u_char *);
                len = slen == (size_t) -1 ? ngx_strlen(p) : slen;
            }

            len = ngx_min(len, (size_t) (last - buf));

            if (len) {
                buf = ngx_cpymem(buf, p, len);
            }

            fmt++;
            continue;

        case 'O':
        case 'T':
        case 'L':
            i64 = va_arg(args, int64_t);
            ui64 = i64;
            break;

        case 'M':
            ui64 = va_arg(args, ngx_msec_t);
            sign = 0;
            break;

        case 'A':
        case 'z':
        case 'i':
        case 'l':
            i64 = va_arg(args, ngx_int_t);
            ui64 = i64;
            break;

        case 'd':
        case 'D':
        case 'P':
            i64 = va_arg(args, int);
            ui64 = (uint32_t) i64;
            break;

        case 'p':
            ui64 = (uintptr_t) va_arg(args, void *);
            hex = 1;
            sign = 0;
            break;

        case 'c':
            *buf++ = va_arg(args, int);
            fmt++;
            continue;

        case 'Z':
            *buf++ = '\0';
            fmt++;
            continue;

        case '%':
            *buf++ = '%';
            fmt++;
            continue;

        default:
            fprintf(stderr, "no such format: \"%s\"\n", fmt);
            abort();
        }

        fmt++;

        if (sign && i64 < 0) {
            *buf++ = '-';
            ui64 = -(uint64_t) i64;
        }

        buf = put_number(buf, last, ui64, zero, hex, width);
    }

    return buf;
}


static u_char *
put_number(u_char *p, u_char *last, uint64_t n, u_char zero, ngx_uint_t hex,
    ngx_uint_t width)
{
    int   len;
    char  text[32];

    len = snprintf(text, sizeof(text), hex ? "%llx" : "%llu",
                   (unsigned long long) n);

    while ((ngx_uint_t) len < width && p < last) {
        *p++ = zero;
        width--;
    }

    len = ngx_min((size_t) len, (size_t) (last - p));

    return ngx_cpymem(p, text, len);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    u_char    text[4096], *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text) - 1, fmt, args);
    va_end(args);

    *p = '\0';

    sim_logged(level, (char *) text);
}


/* the module's own, of files that are not linked */

ngx_int_t
lines_redis_format(ngx_pool_t *pool, ngx_str_t *value, const char *fmt, ...)
{
    u_char    text[16384], *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    if (p == text + sizeof(text)) {
        return NGX_ERROR;
    }

    value->len = p - text;
    value->data = ngx_pnalloc(pool, value->len);
    ngx_memcpy(value->data, text, value->len);

    return NGX_OK;
}


#include "auth/failures.h"
#include "directive/params.h"
#include "http/text.h"
#include "http/zone.h"


#define LINES_FAILURES_SHARE  64      /* of the zone */
#define LINES_FAILURES_WAYS   8       /* places that an address may have */
#define LINES_FAILURES_MAX    1000    /* a second */


typedef struct {
    uint64_t  network;
    uint64_t  owes;      /* µs: until when it has used up what it may: as the
                            TAT of limit/gcra.h */
    uint32_t  family;    /* 0: free */
} failures_entry_t;


typedef struct {
    ngx_uint_t         sets;
    uint64_t           until;    /* nobody owes anything after that */
    failures_entry_t  *entries;
} failures_area_t;


#define failures_same(a, b) \
    ((a)->family == (b)->family && (a)->network == (b)->network)


char *
lines_failures_set(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    lines_failures_t *rate = field;

    ngx_int_t   n;
    ngx_uint_t  seconds;

    *rate = (lines_failures_t) { .interval = 0 };

    if (lines_is(value, "unlimited")) {
        return NGX_CONF_OK;
    }

    if (value->len <= 3 || ngx_strncmp(value->data + value->len - 3, "r/", 2)) {
        return LINES_PARAM_INVALID;
    }

    seconds = (value->data[value->len - 1] == 's') ? 1
              : (value->data[value->len - 1] == 'm') ? 60
              : 0;

    n = ngx_atoi(value->data, value->len - 3);

    if (seconds == 0 || n < 1 || n > LINES_FAILURES_MAX) {
        return LINES_PARAM_INVALID;
    }

    rate->interval = seconds * 1000000 / n;
    rate->burst = ngx_max(n / seconds, 1);

    return NGX_CONF_OK;
}


void *
lines_failures_init_area(ngx_slab_pool_t *shpool)
{
    failures_area_t  *area;

    area = ngx_slab_calloc(shpool, sizeof(failures_area_t));
    if (area == NULL) {
        return NULL;
    }

    area->sets = (ngx_uint_t) (shpool->end - shpool->start)
                 / LINES_FAILURES_SHARE
                 / (LINES_FAILURES_WAYS * sizeof(failures_entry_t));

    area->entries = ngx_slab_calloc(shpool, area->sets * LINES_FAILURES_WAYS
                                            * sizeof(failures_entry_t));

    return area->entries ? area : NULL;
}


/* an IPv4 address is the same in either guise */

static void
failures_network(ngx_connection_t *c, failures_entry_t *like)
{
    struct sockaddr_in   *sin;

#if (NGX_HAVE_INET6)
    u_char               *p;
    struct sockaddr_in6  *sin6;
#endif

    *like = (failures_entry_t) { .family = AF_UNIX };

    if (c->sockaddr == NULL) {
        return;
    }

    switch (c->sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) c->sockaddr;
        p = sin6->sin6_addr.s6_addr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            like->family = AF_INET;
            ngx_memcpy(&like->network, p + 12, 4);
            break;
        }

        like->family = AF_INET6;
        ngx_memcpy(&like->network, p, 8);
        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) c->sockaddr;
        like->family = AF_INET;
        ngx_memcpy(&like->network, &sin->sin_addr.s_addr, 4);
        break;
    }
}


/* that of the same network, or, where there is none, of who owes least */

static failures_entry_t *
failures_find(failures_area_t *area, failures_entry_t *like)
{
    uint32_t           hash;
    ngx_uint_t         i;
    failures_entry_t  *set, *entry;

    hash = ngx_murmur_hash2((u_char *) &like->network, sizeof(uint64_t))
           + like->family;

    set = &area->entries[hash % area->sets * LINES_FAILURES_WAYS];
    entry = set;

    for (i = 0; i < LINES_FAILURES_WAYS; i++) {

        if (failures_same(&set[i], like)) {
            return &set[i];
        }

        if (set[i].owes < entry->owes) {
            entry = &set[i];
        }
    }

    return entry;
}


ngx_msec_t
lines_failures_wait(lines_main_conf_t *lmcf, ngx_connection_t *c,
    lines_failures_t *rate)
{
    uint64_t           now, most, owes;
    failures_area_t   *area;
    failures_entry_t  *entry, like;

    area = lines_zone_area(lmcf, LINES_ZONE_FAILURES);
    now = (uint64_t) ngx_current_msec * 1000;

    if (rate->interval == 0 || now >= area->until) {
        return 0;
    }

    failures_network(c, &like);

    ngx_shmtx_lock(&lines_zone_pool(lmcf)->mutex);

    entry = failures_find(area, &like);
    owes = failures_same(entry, &like) ? entry->owes : 0;

    ngx_shmtx_unlock(&lines_zone_pool(lmcf)->mutex);

    most = now + (rate->burst - 1) * rate->interval;

    return owes > most ? (ngx_msec_t) ((owes - most) / 1000 + 1) : 0;
}


void
lines_failures_add(lines_main_conf_t *lmcf, ngx_connection_t *c,
    lines_failures_t *rate)
{
    uint64_t           now;
    failures_area_t   *area;
    failures_entry_t  *entry, like;

    if (rate->interval == 0) {
        return;
    }

    area = lines_zone_area(lmcf, LINES_ZONE_FAILURES);
    now = (uint64_t) ngx_current_msec * 1000;

    failures_network(c, &like);

    ngx_shmtx_lock(&lines_zone_pool(lmcf)->mutex);

    entry = failures_find(area, &like);

    if (!failures_same(entry, &like)) {
        *entry = like;
    }

    entry->owes = ngx_max(entry->owes, now) + rate->interval;
    area->until = ngx_max(area->until, entry->owes);

    ngx_shmtx_unlock(&lines_zone_pool(lmcf)->mutex);
}


/*
 * lines_zone: what the workers of a node share.  Each room keeps an area of
 * its own in it, allocated from the zone's slab when the zone is new; after a
 * reload old and new workers use the same areas, so that their layout carries
 * a version.
 */

#ifndef _LINES_HTTP_ZONE_H_INCLUDED_
#define _LINES_HTTP_ZONE_H_INCLUDED_


#include "http/conf.h"


/* raised with each change of what an area of the zone holds */
#define LINES_ZONE_VERSION  22


typedef enum {
    LINES_ZONE_KEYS = 0,      /* auth: API keys, Clerk's tokens */
    LINES_ZONE_JWKS,          /* auth: Clerk's keys */
    LINES_ZONE_LIMITS,        /* limit: leases, last known rates */
    LINES_ZONE_METRICS,       /* http: counters */
    LINES_ZONE_DATABASE,      /* operation: which one Redis is */
    LINES_ZONE_SWEEP,         /* operation: who looked last at what is due */
    LINES_ZONE_CONCURRENCY,   /* limit: requests at once */
    LINES_ZONE_FAILURES,      /* auth: tokens that failed, by address */
    LINES_ZONE_AREAS
} lines_zone_area_e;


struct lines_zone_s {         /* itself in shared memory */
    ngx_uint_t  version;
    ngx_uint_t  configured;    /* configurations so far, counted by
                                  the master; see main_conf_t */
    void       *areas[LINES_ZONE_AREAS];
};


/* makes an area in a new zone; NULL: no memory */
typedef void *(*lines_zone_init_pt)(ngx_slab_pool_t *shpool);

/* who makes an area; called in preconfiguration */
void lines_zone_register(lines_zone_area_e area, lines_zone_init_pt init);


/* lines_zone NAME:SIZE */
char *lines_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* a zone of the default name and size where the directive is absent */
ngx_int_t lines_zone_default(ngx_conf_t *cf, lines_main_conf_t *lmcf);

#define lines_zone_area(lmcf, area) \
    ((lmcf)->zone->areas[area])

#define lines_zone_pool(lmcf) \
    ((ngx_slab_pool_t *) (lmcf)->shm_zone->shm.addr)

/*
 * ms since an instant, by this worker's clock, that any worker may have
 * written.  A clock stands while its worker is busy, so that what another did
 * may lie in the future: 0 then.
 */

ngx_msec_t lines_zone_since(ngx_msec_t then);


#endif /* _LINES_HTTP_ZONE_H_INCLUDED_ */

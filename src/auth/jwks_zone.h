
/*
 * What workers share of an issuer's keys: nobody but auth/jwks.c
 * includes this.
 */

#ifndef _LINES_AUTH_JWKS_ZONE_H_INCLUDED_
#define _LINES_AUTH_JWKS_ZONE_H_INCLUDED_


#include "auth/jwks.h"


#define lines_jwks_due(when) \
    ((ngx_msec_int_t) (ngx_current_msec - (when)) >= 0)


/* the start of the zone's area JWKS */

typedef struct {
    ngx_queue_t  entries;
    ngx_queue_t  spare;
} lines_jwks_area_t;


void *lines_jwks_init_area(ngx_slab_pool_t *shpool);

/*
 * Finds or makes jwks->entry.  What the location leads to may have changed
 * with the configuration: whichever worker of a new one comes here first takes
 * jwks->first for itself, so that keys are known before the first client
 * comes, and what an older configuration is fetching is of no use.  The others,
 * and one that takes the place of a dead worker, do not: a node asks once.
 * NGX_ERROR: no room in the zone.
 */

ngx_int_t lines_jwks_enter(lines_jwks_t *jwks);


/*
 * With the zone locked: how old the set is.  A worker's clock stands while it
 * is busy, so that another's fetch may have begun in its future: 0 then.
 */

ngx_msec_t lines_jwks_age(lines_jwks_entry_t *entry);

/* with the zone locked: a mark whose worker is late or dead falls */

void lines_jwks_look(lines_jwks_entry_t *entry);

/*
 * With the zone locked: the keys are to be fetched, for the sake of their age.
 * Workers of an old configuration leave that to those of the new one.
 */

ngx_uint_t lines_jwks_wanted(lines_jwks_t *jwks, lines_jwks_entry_t *entry);

/*
 * With the zone locked, and no fetch under way: returns the number of the next
 * one, and in *own the same if it is the caller's to begin.  Workers of an old
 * configuration, whose issuer may be another, have those of the new one ask.
 */

ngx_uint_t lines_jwks_mark(lines_jwks_t *jwks, lines_jwks_entry_t *entry,
    ngx_uint_t *own);


/*
 * A fetch ended, with a set or without.  NGX_DECLINED: another was begun since,
 * this one's result is of no use.  NGX_ERROR: no room, the old set stays.
 */

ngx_int_t lines_jwks_end(lines_jwks_t *jwks, ngx_uint_t fetch,
    ngx_msec_t start, lines_jwk_set_t *set, ngx_uint_t *changed);

/* the zone's set, copied; sets jwks->generation */

u_char *lines_jwks_copy(lines_jwks_t *jwks, ngx_pool_t *pool);


#endif /* _LINES_AUTH_JWKS_ZONE_H_INCLUDED_ */

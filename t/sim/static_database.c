
/* The same of the watch over the database; and the zone, without a lock. */

#include "operation/database.c"

#include "world.h"


sim_static_t  sim_database_statics[] = {
    { &watch, sizeof(watch) },
    { NULL, 0 }
};


void
ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
}


/* http/zone.h */

ngx_msec_t
lines_zone_since(ngx_msec_t then)
{
    return ngx_current_msec - then;
}


/* http/id.h */

ngx_int_t
lines_id(u_char *id)
{
    uint64_t  high, low;

    high = sim_random((uint64_t) 1 << 48);
    low = sim_random((uint64_t) 1 << 48);

    (void) ngx_sprintf(id, "%012xL%012xL", high, low);

    return NGX_OK;
}


ngx_uint_t
lines_is_id(ngx_str_t *id)
{
    return id->len == LINES_ID_LEN;
}

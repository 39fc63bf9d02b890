
/*
 * The internal locations that the module's own calls go to: looked at once the
 * configuration is whole.  What becomes of a call is decided by the guard.
 */

#ifndef _LINES_HTTP_LOCATION_H_INCLUDED_
#define _LINES_HTTP_LOCATION_H_INCLUDED_


#include "http/carrier.h"


/* a directive names the location (copied); its URI must begin with "/" */
char *lines_location(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_t *location);

/* the location that the directive of that name has; NULL: it is absent */
lines_location_t *lines_location_of(lines_main_conf_t *lmcf, const char *name);

/* flag: the last call from this worker to that directive's was not let go */
ngx_uint_t lines_location_refused(lines_main_conf_t *lmcf, const char *name);

/*
 * At postconfiguration: finds the server block that has all of the locations,
 * saves it as lmcf->carrier_ctx, looks whether they are sound, and sets the
 * guard.  Messages name the directive, its file and line.
 */
ngx_int_t lines_locations_init(ngx_conf_t *cf, lines_main_conf_t *lmcf);


#endif /* _LINES_HTTP_LOCATION_H_INCLUDED_ */

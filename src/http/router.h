
/*
 * Which API answers where, and which of its endpoints.
 */

#ifndef _LINES_HTTP_ROUTER_H_INCLUDED_
#define _LINES_HTTP_ROUTER_H_INCLUDED_


#include "http/request.h"


/*
 * The setter of a directive that makes a location answer for an API: a prefix
 * location that ends with "/", or, where the API has a route with an empty
 * path, any.
 */

char *lines_set_api(ngx_conf_t *cf, lines_loc_conf_t *llcf, lines_api_t *api);

/* the API in blocks of the location; call it when the rest is merged */
char *lines_merge_api(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);

/*
 * Once all is merged.  The bound of an API's bodies is client_max_body_size in
 * its location and in its blocks, so that whatever else reads them (mirror,
 * proxy_pass in "if", another module) reads no more.  Locations nested in an
 * API's have inherited theirs by now.
 */
void lines_api_locations(lines_main_conf_t *lmcf);



#endif /* _LINES_HTTP_ROUTER_H_INCLUDED_ */

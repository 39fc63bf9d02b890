
#ifndef _LINES_API_HEALTH_H_INCLUDED_
#define _LINES_API_HEALTH_H_INCLUDED_


#include "api/json.h"


/*
 * Members of an object: whether this worker can serve, which is returned, and
 * why not, for each dependency.  Nobody is waited for.
 */
ngx_uint_t lines_health_add(lines_json_t *json, lines_main_conf_t *lmcf);


#endif /* _LINES_API_HEALTH_H_INCLUDED_ */


/*
 * Session tokens whose signature was looked at and is wrong, by the address
 * that showed them, on one node: a stranger has a signature verified for each
 * that he makes up, which costs what thirty requests do.  In a table of
 * lines_zone that does not grow; where it is full, who owes least is forgotten.
 *
 * An address is that of the connection (realip may have set it), of IPv6 its
 * /64; all Unix sockets are one.
 */

#ifndef _LINES_AUTH_FAILURES_H_INCLUDED_
#define _LINES_AUTH_FAILURES_H_INCLUDED_


#include "http/conf.h"


typedef struct {
    uint64_t    interval;    /* µs in which one more may fail; 0: any number */
    ngx_uint_t  burst;       /* so many at once */
} lines_failures_t;


/*
 * Sets a lines_failures_t, as directive/params.h has it: "10r/s", "30r/m", or
 * "unlimited"; as many at once as a second brings.
 */
char *lines_failures_set(ngx_conf_t *cf, ngx_str_t *value, void *field);

/* the zone's area */
void *lines_failures_init_area(ngx_slab_pool_t *shpool);

/* ms until a signature may be verified for this client; 0: now */
ngx_msec_t lines_failures_wait(lines_main_conf_t *lmcf, ngx_connection_t *c,
    lines_failures_t *rate);

/* one was, and is wrong */
void lines_failures_add(lines_main_conf_t *lmcf, ngx_connection_t *c,
    lines_failures_t *rate);


#endif /* _LINES_AUTH_FAILURES_H_INCLUDED_ */

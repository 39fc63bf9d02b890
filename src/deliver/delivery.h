
/*
 * One event on its way to one webhook: the name is resolved, all of its
 * addresses are looked at, one of them is called, and what came of it is
 * written down.
 */

#ifndef _LINES_DELIVER_DELIVERY_H_INCLUDED_
#define _LINES_DELIVER_DELIVERY_H_INCLUDED_


#include "deliver/conf.h"
#include "store/caller.h"


/* as hook_claim.lua says it; copied */

typedef struct {
    ngx_str_t   tenant;
    ngx_str_t   hook;      /* id */
    ngx_str_t   event;
    ngx_str_t   tries;
    ngx_str_t   url;
    ngx_str_t   secret;    /* sealed, as the one before; that may be empty */
    ngx_str_t   before;
    ngx_str_t   body;
} lines_delivery_item_t;

/* of a URL that webhooks may have: they point into it */

typedef struct {
    ngx_str_t   host;      /* without the port */
    ngx_uint_t  port;
    ngx_str_t   uri;       /* its path and query string; never empty */
} lines_delivery_url_t;


/* in seconds, all tries of an event take three days */
#define LINES_DELIVERY_TRIES  11

#define LINES_DELIVERY_WHOSE  128


/* NULL: it is one; else what is wrong, to the client */
const char *lines_delivery_url(lines_hooks_conf_t *hcf, ngx_str_t *text,
    lines_delivery_url_t *url);

/* whose a secret is, for its seal, in buf: "TENANT ID"; NGX_ERROR: too long */
ngx_int_t lines_delivery_whose(u_char buf[LINES_DELIVERY_WHOSE],
    ngx_str_t *tenant, ngx_str_t *hook, ngx_str_t *whose);

/*
 * NGX_OK: done(data) is called once, perhaps before this returns, when what
 * came of it is written; NGX_ERROR: it is not, and the event is told again
 * once its lease is over.
 */
ngx_int_t lines_delivery_start(lines_main_conf_t *lmcf,
    lines_delivery_item_t *item, void (*done)(void *data), void *data);

/* how long one may take (ms) */
ngx_msec_t lines_delivery_lease(lines_main_conf_t *lmcf);

/* how long one may have to wait for its next try (ms) */
ngx_msec_t lines_delivery_longest(lines_main_conf_t *lmcf);

void lines_delivery_init_process(void);

/* at the worker's end: nobody hears of what is under way */
void lines_delivery_exit_process(void);


#endif /* _LINES_DELIVER_DELIVERY_H_INCLUDED_ */

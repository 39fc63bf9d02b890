
/*
 * GET lines/check-availability: does a line work, right now?
 */

#ifndef _LINES_WORKSPACE_CHECK_H_INCLUDED_
#define _LINES_WORKSPACE_CHECK_H_INCLUDED_


#include "http/conf.h"


/* lines_probe URI [timeout=10s] */
char *lines_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/*
 * What a call of the probe found, and Redis keeps on the line.  rc: NGX_OK;
 * NGX_DECLINED, the line is gone; NGX_ERROR, it could not be kept.
 */

typedef void (*lines_checked_pt)(void *data, ngx_int_t rc, ngx_str_t *status,
    ngx_str_t *failures, ngx_str_t *when);

typedef struct lines_checkup_s  lines_checkup_t;


/* all of it is copied */

typedef struct {
    ngx_str_t  id;         /* of the check */
    ngx_str_t  tenant;
    ngx_str_t  line;       /* the line's id */
    ngx_str_t  document;   /* the line as JSON */
    ngx_str_t  request_id;
} lines_checkup_args_t;


/*
 * Calls the probe on a carrier: the client may leave, and the line learns of
 * the result all the same.  done is called once, later, unless it was
 * detached.  NULL: no memory or no connection, and the check is taken back.
 */

lines_checkup_t *lines_checkup_start(lines_main_conf_t *lmcf,
    lines_checkup_args_t *args, lines_checked_pt done, void *data);

void lines_checkup_detach(lines_checkup_t *checkup);


#endif /* _LINES_WORKSPACE_CHECK_H_INCLUDED_ */


/*
 * GET lines/check-availability: what it calls.
 */

#ifndef _LINES_WORKSPACE_CHECK_H_INCLUDED_
#define _LINES_WORKSPACE_CHECK_H_INCLUDED_



/* lines_probe URI [timeout=10s] */
char *lines_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _LINES_WORKSPACE_CHECK_H_INCLUDED_ */

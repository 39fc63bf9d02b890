
/*
 * Failpoints, in debug builds only (make FAILPOINTS=1): the directive
 * "lines_failpoint NAME[:N]" kills the worker by SIGKILL when it passes the
 * named point for the Nth time (default 1).  Each directive fires once for the
 * whole of nginx: the count is shared by the workers and outlives them, so
 * that the worker that takes over is not killed again.
 *
 * "lines_failpoint /FILE" has both in a file of 128 bytes that nginx maps: what
 * is left, a machine's word, each pass takes one, and who makes it 0 is killed;
 * and the name, "" for any point.  So a test arms it while nginx runs.  What
 * passes is logged as well.
 *
 * A point is placed as a statement: LINES_FAILPOINT("name");
 * names are literals, "flow.step.before" and "flow.step.after" by custom.
 */

#ifndef _LINES_HTTP_FAILPOINT_H_INCLUDED_
#define _LINES_HTTP_FAILPOINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#if (LINES_FAILPOINTS)

#define LINES_FAILPOINT(name) \
    lines_failpoint_pass(name, NULL)

/* "name" + "." + step, of an ngx_str_t *: one point for each step's name */
#define LINES_FAILPOINT_STEP(name, step) \
    lines_failpoint_pass(name, step)

void lines_failpoint_pass(const char *name, ngx_str_t *step);

/* lines_failpoint NAME[:N] | /FILE, http level, may be repeated */
char *lines_failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#define LINES_FAILPOINT_COMMANDS         \
    { ngx_string("lines_failpoint"),     \
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1, \
      lines_failpoint,                   \
      NGX_HTTP_MAIN_CONF_OFFSET,         \
      0,                                 \
      NULL },

#else

#define LINES_FAILPOINT(name)
#define LINES_FAILPOINT_STEP(name, step)
#define LINES_FAILPOINT_COMMANDS

#endif


#endif /* _LINES_HTTP_FAILPOINT_H_INCLUDED_ */


/*
 * Failpoints, in debug builds only (make FAILPOINTS=1): what passes one may be
 * killed there, by the directive of t/module/failpoint.c.
 *
 * A point is placed as a statement: LINES_FAILPOINT("name");
 * names are literals, "flow.step.before" and "flow.step.after" by custom.
 */

#ifndef _LINES_HTTP_FAILPOINT_H_INCLUDED_
#define _LINES_HTTP_FAILPOINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#if (LINES_FAILPOINTS)

#define LINES_FAILPOINT(name) \
    lines_failpoint_pass(name, NULL)

/* "name" + "." + step, of an ngx_str_t *: one point for each step's name */
#define LINES_FAILPOINT_STEP(name, step) \
    lines_failpoint_pass(name, step)

void lines_failpoint_pass(const char *name, ngx_str_t *step);

#else

#define LINES_FAILPOINT(name)
#define LINES_FAILPOINT_STEP(name, step)

#endif


#endif /* _LINES_HTTP_FAILPOINT_H_INCLUDED_ */


#ifndef _LINES_OPERATION_SWEEPER_H_INCLUDED_
#define _LINES_OPERATION_SWEEPER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "http/conf.h"


/* the sweeper of this worker; Redis has been created before */
ngx_int_t lines_op_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_op_exit_process(lines_main_conf_t *lmcf);


#endif /* _LINES_OPERATION_SWEEPER_H_INCLUDED_ */

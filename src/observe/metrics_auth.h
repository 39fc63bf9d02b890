
#ifndef _LINES_OBSERVE_METRICS_AUTH_H_INCLUDED_
#define _LINES_OBSERVE_METRICS_AUTH_H_INCLUDED_


#include "observe/metrics_text.h"


/* families of authentication; those of session tokens and their issuers' keys
   where there is a lines_clerk */
void lines_metrics_auth(lines_metrics_out_t *out, lines_main_conf_t *lmcf);


#endif /* _LINES_OBSERVE_METRICS_AUTH_H_INCLUDED_ */

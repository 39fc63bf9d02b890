
#ifndef _LINES_OBSERVE_READY_H_INCLUDED_
#define _LINES_OBSERVE_READY_H_INCLUDED_


#include "http/router.h"


/* lines_ready: 200 or 503, with a reason for each dependency */
extern lines_api_t  lines_ready_api;


#endif /* _LINES_OBSERVE_READY_H_INCLUDED_ */

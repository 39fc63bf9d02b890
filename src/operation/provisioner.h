
/*
 * lines_provisioner: an internal location that is told of each line that is
 * to be provisioned, once for all by its idempotency key.
 */

#ifndef _LINES_OPERATION_PROVISIONER_H_INCLUDED_
#define _LINES_OPERATION_PROVISIONER_H_INCLUDED_


#include "http/carrier.h"
#include "operation/decide.h"


/* POSTs the line as JSON, id is Idempotency-Key; as lines_carrier_call() */

ngx_int_t lines_provisioner_call(lines_carrier_t *carrier, ngx_str_t *id,
    ngx_str_t *tenant, ngx_str_t *json, lines_call_pt handler, void *data);

/*
 * TAKEN: 2xx, it is provisioned, or will be.  REFUSED: for good.  NOT: not
 * known, or not now.
 */
lines_tell_e lines_provisioner_verdict(lines_result_t *result);


/* lines_provisioner URI; conf is the main configuration */
char *lines_provisioner_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _LINES_OPERATION_PROVISIONER_H_INCLUDED_ */


/*
 * lines_operations: all times in milliseconds.
 */

#ifndef _LINES_OPERATION_CONF_H_INCLUDED_
#define _LINES_OPERATION_CONF_H_INCLUDED_


#include "http/conf.h"


#define LINES_POLLS  8


typedef struct lines_op_kind_s  lines_op_kind_t;


struct lines_op_conf_s {
    ngx_msec_t   lease;        /* lease=20s: outlasts any one call */
    ngx_msec_t   sweep;        /* sweep=5s: between two looks */
    ngx_msec_t   due;          /* due=30s: first due instant */
    ngx_msec_t   budget;       /* budget=3s: a client waits so long */
    ngx_msec_t   reconcile;    /* reconcile=5s: once per line, by GET */
    ngx_msec_t   reader;       /* reader=1s: a GET waits so long */
    ngx_msec_t   retry;        /* retry=5s: first rest after a failure,
                                  doubled up to four times that */
    ngx_msec_t   absent;       /* absent=30s: between two look-ups */
    ngx_msec_t   resend;       /* resend=23h: no call is sent later */
    ngx_msec_t   hint;         /* hint=5m: an idle hint is kept so long */
    ngx_msec_t   late;         /* late=5s: a begin's not_after */
    ngx_msec_t   walk_every;   /* walk=1m: lost hints are looked for,
                                  by the survey */
    ngx_msec_t   poll[LINES_POLLS];  /* poll=1m,5m,30m */
    ngx_uint_t   npolls;
    ngx_msec_t   audit;        /* audit=500ms: between two steps of the
                                  auditor; 0: off */
    ngx_msec_t   pass;         /* pass=10m: from begin to begin of a pass */
    ngx_msec_t   every;        /* every=1h: then */
    ngx_msec_t   dead;         /* dead=23h5m: the last look */
    ngx_uint_t   batch;        /* batch=16: operations at once that the
                                  sweeper of a worker carries */
    ngx_uint_t   said;         /* parameters: several directives may */

    const lines_op_kind_t  *kinds;   /* operation/kinds.c */

    /* of this worker */
    ngx_queue_t  running;      /* lines_op_t */
    ngx_uint_t   sweeping;     /* of them without a client */
    ngx_uint_t   backlog;      /* flag: more was due than batch */
    ngx_event_t  sweeper;
};


/* no rest is longer: what says so was written by another clock */
#define lines_op_longest(conf)                                                \
    ngx_max((conf)->every, (conf)->poll[(conf)->npolls - 1])


/* lines_operations lease=… sweep=… …; conf is the main configuration */
char *lines_operations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* create_main_conf, with the defaults */
lines_op_conf_t *lines_op_create_conf(ngx_conf_t *cf);


#endif /* _LINES_OPERATION_CONF_H_INCLUDED_ */

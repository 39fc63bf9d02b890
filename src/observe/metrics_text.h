
/*
 * The text of metrics, family by family, in a chain of buffers.
 */

#ifndef _LINES_OBSERVE_METRICS_TEXT_H_INCLUDED_
#define _LINES_OBSERVE_METRICS_TEXT_H_INCLUDED_


#include "http/metrics.h"


#define LINES_METRICS_LABELS  256


typedef struct {
    ngx_pool_t            *pool;
    ngx_chain_t           *first;
    ngx_chain_t           *last;
    off_t                  len;
    lines_metrics_area_t  *area;
    ngx_uint_t             open;    /* flag: OpenMetrics */
    ngx_uint_t             failed;
} lines_metrics_out_t;


/* of memory that does not suffice out->failed speaks, once for all calls */

void lines_metrics_print(lines_metrics_out_t *out, const char *fmt, ...);

/* name without the suffix of a counter */
void lines_metrics_family(lines_metrics_out_t *out, const char *name,
    const char *type, const char *help);

/* a family of one sample */
void lines_metrics_single(lines_metrics_out_t *out, const char *name,
    const char *type, const char *help, ngx_atomic_uint_t value);

/* samples of a histogram, at that offset in a slot; none where it is empty
   and has labels */
void lines_metrics_histogram(lines_metrics_out_t *out, const char *name,
    ngx_str_t *labels, size_t offset);

/* name i of a registry as one or two labels; labels->data has room for
   LINES_METRICS_LABELS */
void lines_metrics_labels(lines_metrics_out_t *out, ngx_uint_t registry,
    ngx_uint_t i, const char *first, const char *second, ngx_str_t *labels);

/* flag: Accept asks for OpenMetrics */
ngx_uint_t lines_metrics_wants_open(ngx_http_request_t *r);

/* over all slots */
ngx_atomic_uint_t lines_metrics_sum(lines_metrics_out_t *out, size_t offset);

#define lines_metrics_of(out, field) \
    lines_metrics_sum(out,           \
                           offsetof(lines_metrics_slot_t, field))


#endif /* _LINES_OBSERVE_METRICS_TEXT_H_INCLUDED_ */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/headers.h"
#include "observe/metrics_text.h"


#define LINES_METRICS_BUFFER  16384


static const char  *metrics_les[] = {
    "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5",
    "1.0", "2.0", "5.0", "10.0", "+Inf"
};


/* a counter's family has its suffix in Prometheus' text only */

void
lines_metrics_family(lines_metrics_out_t *out, const char *name,
    const char *type, const char *help)
{
    const char  *suffix;

    suffix = (type[0] == 'c' && !out->open) ? "_total" : "";

    lines_metrics_print(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix,
                        help, name, suffix, type);
}


void
lines_metrics_single(lines_metrics_out_t *out, const char *name,
    const char *type, const char *help, ngx_atomic_uint_t value)
{
    lines_metrics_family(out, name, type, help);

    lines_metrics_print(out, "%s%s %uA\n", name,
                        type[0] == 'c' ? "_total" : "", value);
}


void
lines_metrics_histogram(lines_metrics_out_t *out, const char *name,
    ngx_str_t *labels, size_t offset)
{
    const char        *comma;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count, sum, values[LINES_METRICS_BUCKETS + 1];

    count = 0;

    for (i = 0; i <= LINES_METRICS_BUCKETS; i++) {
        count += lines_metrics_sum(out,
                                   offset
                                   + offsetof(lines_histogram_t, buckets[i]));
        values[i] = count;
    }

    if (count == 0 && labels->len) {
        return;
    }

    comma = labels->len ? "," : "";

    for (i = 0; i <= LINES_METRICS_BUCKETS; i++) {
        lines_metrics_print(out, "%s_bucket{%V%sle=\"%s\"} %uA\n", name,
                            labels, comma, metrics_les[i], values[i]);
    }

    sum = lines_metrics_sum(out, offset + offsetof(lines_histogram_t, sum));

    lines_metrics_print(out,
                        labels->len
                        ? "%s_sum{%V} %uA.%03uA\n%s_count{%V} %uA\n"
                        : "%s_sum%V %uA.%03uA\n%s_count%V %uA\n", name, labels,
                        sum / 1000, sum % 1000, name, labels, count);
}


ngx_atomic_uint_t
lines_metrics_sum(lines_metrics_out_t *out, size_t offset)
{
    u_char             *slot;
    ngx_uint_t          i;
    ngx_atomic_uint_t   sum;

    sum = 0;

    for (i = 0; i < LINES_METRICS_SLOTS; i++) {
        slot = (u_char *) &out->area->slots[i];
        sum += *(ngx_atomic_t *) (slot + offset);
    }

    return sum;
}


void
lines_metrics_print(lines_metrics_out_t *out, const char *fmt, ...)
{
    u_char       *p;
    va_list       args;
    ngx_buf_t    *b;
    ngx_uint_t    tries;
    ngx_chain_t  *cl;

    if (out->failed) {
        return;
    }

    for (tries = 0; tries < 2; tries++) {

        if (out->last) {
            b = out->last->buf;

            va_start(args, fmt);
            p = ngx_vslprintf(b->last, b->end, fmt, args);
            va_end(args);

            if (p < b->end) {
                out->len += p - b->last;
                b->last = p;
                return;
            }
        }

        cl = ngx_alloc_chain_link(out->pool);
        b = ngx_create_temp_buf(out->pool, LINES_METRICS_BUFFER);

        if (cl == NULL || b == NULL) {
            break;
        }

        cl->buf = b;
        cl->next = NULL;

        if (out->last) {
            out->last->next = cl;

        } else {
            out->first = cl;
        }

        out->last = cl;
    }

    out->failed = 1;
}


/* "a b" as two labels; names are ours or checked, and need no escapes */

void
lines_metrics_labels(lines_metrics_out_t *out, ngx_uint_t registry,
    ngx_uint_t i, const char *first, const char *second, ngx_str_t *labels)
{
    u_char     *sp;
    ngx_str_t   name, a, b;

    name.len = out->area->registries[registry].names[i].len;
    name.data = out->area->registries[registry].names[i].data;

    a = name;
    ngx_str_null(&b);

    sp = ngx_strlchr(name.data, name.data + name.len, ' ');

    if (sp) {
        a.len = sp - name.data;
        b.data = sp + 1;
        b.len = name.data + name.len - b.data;
    }

    if (second == NULL) {
        labels->len = ngx_snprintf(labels->data, LINES_METRICS_LABELS,
                                   "%s=\"%V\"", first, &a) - labels->data;
        return;
    }

    labels->len = ngx_snprintf(labels->data, LINES_METRICS_LABELS,
                               "%s=\"%V\",%s=\"%V\"", first, &a, second, &b)
                  - labels->data;
}


/* Prometheus names it first; whoever refuses it writes q=0 */

ngx_uint_t
lines_metrics_wants_open(ngx_http_request_t *r)
{
    u_char           *p, *end, *last;
    ngx_table_elt_t  *h;
    static u_char     type[] = "application/openmetrics-text";

    h = lines_find_header(r, "accept");

    if (h == NULL) {
        return 0;
    }

    p = ngx_strlcasestrn(h->value.data, h->value.data + h->value.len, type,
                         sizeof(type) - 2);
    if (p == NULL) {
        return 0;
    }

    last = h->value.data + h->value.len;

    end = ngx_strlchr(p, last, ',');
    if (end == NULL) {
        end = last;
    }

    for ( /* void */ ; p + 3 <= end; p++) {
        if (p[0] == 'q' && p[1] == '=' && p[2] == '0') {

            for (p += 3; p < end; p++) {
                if (*p >= '1' && *p <= '9') {
                    return 1;
                }
            }

            return 0;
        }
    }

    return 1;
}


/*
 * What the fuzzers share: the world of t/fuzz/nginx.c, and inputs taken apart.
 */

#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <stdio.h>
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/context.h"


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* what must hold */
#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: must %s\n", __FILE__, __LINE__,           \
                    #condition);                                              \
            __builtin_trap();                                                 \
        }                                                                     \
    } while (0)


/* what is left of an input; what it has no more of is empty, or 0 */

typedef struct {
    const u_char  *p;
    const u_char  *last;
} fuzz_t;

ngx_uint_t fuzz_byte(fuzz_t *in);
int64_t fuzz_int(fuzz_t *in);

/* up to a line feed, or all; a copy of just that length */
ngx_str_t fuzz_line(fuzz_t *in);
ngx_str_t fuzz_rest(fuzz_t *in);


/* all of a text is there to be read */
void fuzz_touch(ngx_str_t *text);


/* a request as nginx has it when a handler is called, and its context */

typedef struct {
    ngx_pool_t          *pool;
    ngx_http_request_t  *r;
    lines_ctx_t         *ctx;
} fuzz_request_t;

fuzz_request_t fuzz_request(void);
void fuzz_request_header(fuzz_request_t *request, const char *name,
    ngx_str_t value);

/* all pools are gone */
void fuzz_end(void);


/* what the module answered last: 0 is nothing yet */

extern ngx_uint_t   fuzz_status;
extern const char  *fuzz_message;


#endif /* _FUZZ_H_INCLUDED_ */

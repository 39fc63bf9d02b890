
/*
 * "lines_allocations FILE" maps a file of 128 bytes, four words and a name: how
 * many allocations are left until one fails, once (0: none does); how many have
 * failed; how many the worker has made since; what jansson holds.  The name is
 * of the one that failed last.  So a test has each allocation of a request fail
 * in its turn.
 *
 * What is counted is what the module itself asks for, of nginx (the linker sends
 * its calls here, see FAILING in the Makefile), and what hiredis and jansson ask
 * for.  What nginx allocates on its own account, to read a request or to send an
 * answer, is not: a call of it that fails so is one that returns NGX_ERROR; nor
 * is what OpenSSL does.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <dlfcn.h>
#include <jansson.h>


typedef struct {
    ngx_atomic_t  left;
    ngx_atomic_t  failed;
    ngx_atomic_t  made;
    ngx_atomic_t  json;
    u_char        name[128 - 4 * sizeof(ngx_atomic_t)];
} allocation_shared_t;


char *lines_allocations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

static ngx_uint_t fails(const char *name, void *from);
static void *json_get(size_t size);
static void json_put(void *p);


static allocation_shared_t  *shared;


char *
lines_allocations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_fd_t    fd;
    ngx_str_t  *value;

    value = cf->args->elts;

    fd = ngx_open_file(value[1].data, NGX_FILE_RDWR, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return "cannot open the file";
    }

    shared = mmap(NULL, sizeof(allocation_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED, fd, 0);

    (void) ngx_close_file(fd);

    if (shared == MAP_FAILED) {
        shared = NULL;
        return "cannot map the file";
    }

    json_set_alloc_funcs(json_get, json_put);

    return NGX_CONF_OK;
}


static ngx_uint_t
fails(const char *name, void *from)
{
    Dl_info  info;

    if (shared == NULL || shared->left == 0) {
        return 0;
    }

    (void) ngx_atomic_fetch_add(&shared->made, 1);

    if (ngx_atomic_fetch_add(&shared->left, -1) != 1) {
        return 0;
    }

    ngx_memzero(&info, sizeof(Dl_info));
    (void) dladdr(from, &info);

    (void) ngx_snprintf(shared->name, sizeof(shared->name), "%s at 0x%xL%Z",
                        name, (int64_t) ((u_char *) from
                                         - (u_char *) info.dli_fbase));

    (void) ngx_atomic_fetch_add(&shared->failed, 1);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "lines: allocation fails: %s", shared->name);

    return 1;
}


#define fail(name)  fails(name, __builtin_return_address(0))

#define wrap(type, name, given, passed)                                       \
    type __real_##name given;                                                 \
    type __wrap_##name given;                                                 \
                                                                              \
    type                                                                      \
    __wrap_##name given                                                       \
    {                                                                         \
        return fail(#name) ? NULL : __real_##name passed;                     \
    }

wrap(void *, ngx_palloc, (ngx_pool_t *pool, size_t size), (pool, size))
wrap(void *, ngx_pcalloc, (ngx_pool_t *pool, size_t size), (pool, size))
wrap(void *, ngx_pnalloc, (ngx_pool_t *pool, size_t size), (pool, size))
wrap(void *, ngx_alloc, (size_t size, ngx_log_t *log), (size, log))
wrap(void *, ngx_calloc, (size_t size, ngx_log_t *log), (size, log))
wrap(ngx_pool_t *, ngx_create_pool, (size_t size, ngx_log_t *log), (size, log))
wrap(u_char *, ngx_pstrdup, (ngx_pool_t *pool, ngx_str_t *src), (pool, src))
wrap(ngx_array_t *, ngx_array_create,
     (ngx_pool_t *pool, ngx_uint_t n, size_t size), (pool, n, size))
wrap(void *, ngx_array_push, (ngx_array_t *a), (a))
wrap(void *, ngx_array_push_n, (ngx_array_t *a, ngx_uint_t n), (a, n))
wrap(ngx_list_t *, ngx_list_create,
     (ngx_pool_t *pool, ngx_uint_t n, size_t size), (pool, n, size))
wrap(void *, ngx_list_push, (ngx_list_t *list), (list))
wrap(ngx_pool_cleanup_t *, ngx_pool_cleanup_add,
     (ngx_pool_t *pool, size_t size), (pool, size))
wrap(ngx_http_cleanup_t *, ngx_http_cleanup_add,
     (ngx_http_request_t *r, size_t size), (r, size))
wrap(ngx_chain_t *, ngx_alloc_chain_link, (ngx_pool_t *pool), (pool))
wrap(ngx_buf_t *, ngx_create_temp_buf, (ngx_pool_t *pool, size_t size),
     (pool, size))
wrap(ngx_chain_t *, ngx_chain_get_free_buf,
     (ngx_pool_t *pool, ngx_chain_t **free), (pool, free))
wrap(void *, ngx_slab_alloc, (ngx_slab_pool_t *pool, size_t size),
     (pool, size))
wrap(void *, ngx_slab_alloc_locked, (ngx_slab_pool_t *pool, size_t size),
     (pool, size))
wrap(void *, ngx_slab_calloc, (ngx_slab_pool_t *pool, size_t size),
     (pool, size))
wrap(void *, ngx_slab_calloc_locked, (ngx_slab_pool_t *pool, size_t size),
     (pool, size))
wrap(void *, malloc, (size_t size), (size))
wrap(void *, realloc, (void *p, size_t size), (p, size))
wrap(char *, strdup, (const char *s), (s))


/*
 * hiredis takes it for granted that it can have an empty string of its own, in
 * place of a large one that it gave back (assert() in redisReaderFeed(), NULL in
 * the buffer of what is sent): without it the worker ends, which is not the
 * module's to mend.
 */

#define SDS_EMPTY  8

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
    return n * size > SDS_EMPTY && fail("calloc") ? NULL
                                                  : __real_calloc(n, size);
}


/* what would not be sent, begun or read for want of memory */

#define wrap_error(name, given, passed)                                       \
    ngx_int_t __real_##name given;                                            \
    ngx_int_t __wrap_##name given;                                            \
                                                                              \
    ngx_int_t                                                                 \
    __wrap_##name given                                                       \
    {                                                                         \
        return fail(#name) ? NGX_ERROR : __real_##name passed;                \
    }

wrap_error(ngx_http_subrequest,
           (ngx_http_request_t *r, ngx_str_t *uri, ngx_str_t *args,
            ngx_http_request_t **sr, ngx_http_post_subrequest_t *ps,
            ngx_uint_t flags),
           (r, uri, args, sr, ps, flags))
wrap_error(ngx_http_send_header, (ngx_http_request_t *r), (r))
wrap_error(ngx_http_output_filter, (ngx_http_request_t *r, ngx_chain_t *in),
           (r, in))
wrap_error(ngx_http_complex_value,
           (ngx_http_request_t *r, ngx_http_complex_value_t *cv,
            ngx_str_t *value),
           (r, cv, value))


/*
 * jansson's reader loses a byte of what it reads where its buffer cannot grow
 * (lex_save()), and then reads past its end: what is as large as that buffer may
 * be is there, always.
 */

static void *
json_get(size_t size)
{
    void        *p;
    ngx_uint_t   buffer;

    buffer = size >= 32 && (size & (size - 1)) == 0;

    p = !buffer && fail("jansson") ? NULL : __real_malloc(size);

    if (p && shared) {
        (void) ngx_atomic_fetch_add(&shared->json, 1);
    }

    return p;
}


static void
json_put(void *p)
{
    if (p && shared) {
        (void) ngx_atomic_fetch_add(&shared->json, -1);
    }

    free(p);
}


/* Test::More's little sister, for programs that prove runs. */

#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_config.h>
#include <ngx_core.h>


static unsigned  tap_tests, tap_failures;


__attribute__((format(printf, 2, 3), unused)) static int ok(int passed,
    const char *fmt, ...)
{
    va_list  args;

    tap_failures += !passed;

    printf("%sok %u - ", passed ? "" : "not ", ++tap_tests);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);

    return passed;
}


__attribute__((unused)) static void is_str(ngx_str_t *got,
    const char *expected, const char *name)
{
    if (!ok(got->len == strlen(expected)
            && (got->len == 0 || memcmp(got->data, expected, got->len) == 0),
            "%s", name))
    {
        printf("#   got: %.*s\n#   expected: %s\n", (int) got->len,
               got->len ? (char *) got->data : "", expected);
    }
}


__attribute__((unused)) static ngx_str_t str(const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return s;
}


/*
 * A copy on the heap of exactly that length, so that a sanitizer sees any
 * byte that is read beyond it.
 */

__attribute__((unused)) static ngx_str_t exact(const void *data, size_t len)
{
    ngx_str_t  s;

    s.len = len;
    s.data = malloc(len ? len : 1);

    if (s.data == NULL) {
        abort();
    }

    if (len) {
        memcpy(s.data, data, len);
    }

    return s;
}


__attribute__((unused)) static int done_testing(void)
{
    printf("1..%u\n", tap_tests);

    return tap_failures ? 1 : 0;
}


#endif /* _TAP_H_INCLUDED_ */


#include "tap.h"
#include "store/resp.h"


static void
encoded(ngx_uint_t argc, ngx_str_t *argv, const char *expected, size_t len,
    const char *name)
{
    u_char      *p, *start;
    size_t       room;
    ngx_uint_t   i;

    /* exactly what is promised: the sanitizer sees any byte beyond */

    room = lines_resp_len(argc, argv);
    start = malloc(room);

    if (start == NULL) {
        abort();
    }

    p = lines_resp_array(start, argc);

    for (i = 0; i < argc; i++) {
        p = lines_resp_string(p, argv[i].data, argv[i].len);
    }

    *p = '\0';

    ok((size_t) (p - start) < room, "%s: fits", name);
    ok((size_t) (p - start) == len && memcmp(start, expected, len) == 0,
       "%s: as Redis reads it", name);

    free(start);
}


int
main(void)
{
    u_char     *big;
    ngx_str_t   argv[12];
    ngx_uint_t  i;

    argv[0] = str("PING");
    encoded(1, argv, "*1\r\n$4\r\nPING\r\n", 14, "one string");

    argv[0] = str("GET");
    argv[1] = str("lines:{w:org_1}:t");
    encoded(2, argv, "*2\r\n$3\r\nGET\r\n$17\r\nlines:{w:org_1}:t\r\n", 37,
            "two strings");

    argv[1].data = (u_char *) "a\0b\r\n$1\r\nc";
    argv[1].len = 10;
    encoded(2, argv, "*2\r\n$3\r\nGET\r\n$10\r\na\0b\r\n$1\r\nc\r\n", 30,
            "bytes of all kinds");

    ngx_str_null(&argv[1]);
    encoded(2, argv, "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 19, "an empty string");

    for (i = 0; i < 12; i++) {
        argv[i] = str("x");
    }

    encoded(12, argv,
           "*12\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n"
           "$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n"
           "$1\r\nx\r\n", 5 + 12 * 7, "a two-digit number of strings");

    big = malloc(100000 + 17);

    if (big == NULL) {
        abort();
    }

    memset(big, 'y', 100000 + 17);
    memcpy(big, "*1\r\n$100000\r\n", 13);
    memcpy(big + 13 + 100000, "\r\n", 2);

    argv[0].data = big + 13;
    argv[0].len = 100000;
    encoded(1, argv, (char *) big, 13 + 100000 + 2, "a long string");

    free(big);

    return done_testing();
}

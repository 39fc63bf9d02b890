
/*
 * Maps of clusters: as Redis 7.0 told them, forms of other versions, and what
 * is none.  Replies are written as they come over the wire, a space for CRLF.
 */

#include "tap.h"
#include "store/cluster_map.h"


#define ID1  "f6c7e0c1886d8074bd3eb70fd27eaf19c4350717"
#define ID2  "76feb7551dbdda23555d8519f57c5af5f9445f80"
#define ID3  "0abd6f377ce800d634c7a0ecfedf54e032c9f3f7"

#define NODE(n, id, port, endpoint, role, health)                             \
    "*" n " $2 id $40 " id " $4 port :" port " $2 ip $9 127.0.0.1 "           \
    "$8 endpoint " endpoint " $4 role " role " $18 replication-offset :14 "   \
    "$6 health " health " "

#define LOCAL   "$9 127.0.0.1"
#define MASTER  "$6 master"
#define ONLINE  "$6 online"

#define FIRST   "$5 slots *4 :0 :5460 :5462 :10000 "
#define SECOND  "$5 slots *4 :5461 :5461 :10001 :16383 "


static lines_cluster_map_t  map;


/* the caller frees it; NULL: hiredis does not read it */

static redisReply *
wire(const char *text)
{
    char         *p;
    void         *reply;
    size_t        len;
    redisReader  *reader;
    char         *copy;

    len = strlen(text);
    copy = malloc(2 * len + 1);

    if (copy == NULL) {
        abort();
    }

    for (p = copy; *text; text++) {
        if (*text == ' ') {
            *p++ = '\r';
            *p++ = '\n';

        } else {
            *p++ = *text;
        }
    }

    reader = redisReaderCreate();

    if (redisReaderFeed(reader, copy, p - copy) != REDIS_OK
        || redisReaderGetReply(reader, &reply) != REDIS_OK)
    {
        reply = NULL;
    }

    redisReaderFree(reader);
    free(copy);

    return reply;
}


static ngx_int_t
shards_of(const char *text, ngx_uint_t secure)
{
    ngx_int_t    rc;
    redisReply  *reply;

    reply = wire(text);

    if (reply == NULL) {
        printf("# cannot be read: %.60s\n", text);
        return NGX_ABORT;
    }

    rc = lines_cluster_read_shards(&map, reply, secure);

    freeReplyObject(reply);

    return rc;
}


static ngx_int_t
slots_of(const char *text)
{
    ngx_int_t    rc;
    redisReply  *reply;

    reply = wire(text);

    if (reply == NULL) {
        printf("# cannot be read: %.60s\n", text);
        return NGX_ABORT;
    }

    rc = lines_cluster_read_slots(&map, reply);

    freeReplyObject(reply);

    return rc;
}


/* "host:port" of who has it; "-": nobody */

static const char *
owner(ngx_uint_t slot)
{
    lines_cluster_address_t  *address;

    static char  text[LINES_CLUSTER_HOST + 16];

    if (map.owners[slot] == 0) {
        return "-";
    }

    address = &map.nodes[map.owners[slot] - 1];

    snprintf(text, sizeof(text), "%.*s:%d", (int) address->len,
             (char *) address->host, (int) address->port);

    return text;
}


static int
is_owner(ngx_uint_t slot, const char *expected)
{
    return strcmp(owner(slot), expected) == 0;
}


static int
are_owners(const char *first, const char *second)
{
    return map.nnodes == 2
           && is_owner(0, first)
           && is_owner(5460, first)
           && is_owner(5461, second)
           && is_owner(5462, first)
           && is_owner(10000, first)
           && is_owner(10001, second)
           && is_owner(16383, second);
}


static void
test_shards(void)
{
    ok(shards_of("*2 "
                 "*4 " SECOND "$5 nodes *1 "
                 "*16 $2 id $40 " ID2 " $4 port :7902 $2 ip " LOCAL
                 " $8 endpoint " LOCAL " $8 hostname $10 r2.example $4 role "
                 MASTER " $18 replication-offset :0 $6 health " ONLINE " "
                 "*4 " FIRST "$5 nodes *2 "
                 NODE("14", ID1, "7901", LOCAL, MASTER, ONLINE)
                 NODE("14", ID3, "7903", LOCAL, "$7 replica", "$7 loading"), 0)
       == NGX_OK
       && are_owners("127.0.0.1:7901", "127.0.0.1:7902"),
       "Redis 7.0: two primaries and a replica");

    ok(shards_of("*3 "
                 "*4 $5 slots *0 $5 nodes *1 "
                 NODE("14", ID1, "7901", "$1 ?", MASTER, ONLINE)
                 "*4 " FIRST "$5 nodes *1 "
                 NODE("14", ID3, "7903", "$1 ?", MASTER, ONLINE)
                 "*4 " SECOND "$5 nodes *1 "
                 NODE("14", ID2, "7902", "$10 R2.Example", MASTER, ONLINE), 0)
       == NGX_OK
       && are_owners("127.0.0.1:7903", "r2.example:7902"),
       "... after a failover: who has no slots is none; without a name, which "
       "is asked for, an address; small letters");

    ok(shards_of("*2 "
                 "*4 " SECOND "$5 nodes *1 "
                 NODE("14", ID2, "7902", "$0 ", MASTER, ONLINE)
                 "*4 " FIRST "$5 nodes *1 "
                 NODE("14", ID1, "7901", "$-1", MASTER, ONLINE), 0) == NGX_OK
       && are_owners(":7901", ":7902"),
       "... behind NAT: they are where the one is that was asked");

    ok(shards_of("*2 "
                 "*4 " FIRST "$5 nodes *2 "
                 NODE("14", ID1, "7901", LOCAL, MASTER, "$4 fail")
                 NODE("14", ID3, "7903", LOCAL, MASTER, ONLINE)
                 "*4 " SECOND "$5 nodes *1 "
                 NODE("14", ID2, "7902", LOCAL, MASTER, ONLINE), 0) == NGX_OK
       && are_owners("127.0.0.1:7903", "127.0.0.1:7902"),
       "... the primary that failed is named beside the one that is");

    ok(shards_of("*2 "
                 "*4 $5 slots *8 :0 :5460 :5462 :10000 :0 :5460 :5462 :10000 "
                 "$5 nodes *1 " NODE("14", ID1, "7901", LOCAL, MASTER, ONLINE)
                 "*4 " SECOND "$5 nodes *1 "
                 NODE("14", ID2, "7902", LOCAL, MASTER, ONLINE), 0) == NGX_OK
       && are_owners("127.0.0.1:7901", "127.0.0.1:7902"),
       "Redis 8: the same ranges again and again");

    ok(shards_of("*1 "
                 "*4 " FIRST "$5 nodes *1 "
                 NODE("14", ID1, "7901", LOCAL, MASTER, "$4 fail"), 0)
       == NGX_OK
       && map.nnodes == 1
       && is_owner(0, "127.0.0.1:7901") && is_owner(5461, "-"),
       "... it alone is one yet; the slots of others are nobody's");

    ok(shards_of("*1 *4 $5 slots *2 $1 0 $5 16383 $5 nodes *1 "
                 NODE("14", ID1, "7901", LOCAL, MASTER, ONLINE), 0) == NGX_OK
       && map.nnodes == 1 && is_owner(16383, "127.0.0.1:7901"),
       "the numbers of slots as strings");

    ok(shards_of("*1 *6 $2 id $40 " ID3 " $5 nodes *1 "
                 "*20 $2 id $40 " ID1 " $8 tls-port :7801 $4 port :7901 $2 ip "
                 LOCAL " $8 endpoint $3 ::1 $4 role " MASTER
                 " $17 availability-zone $1 a $18 replication-offset :14 "
                 "$6 health " ONLINE " $1 x *1 $1 y $5 slots *2 :0 :16383 ", 1)
       == NGX_OK
       && map.nnodes == 1 && is_owner(77, "::1:7801"),
       "later versions: more members, another order; IPv6; the port of TLS");

    ok(shards_of("*1 *4 $5 slots *2 :0 :16383 $5 nodes *1 "
                 "*8 $2 id $40 " ID1 " $8 tls-port :7801 $2 ip " LOCAL
                 " $4 role " MASTER " ", 0) == NGX_ERROR,
       "one that serves TLS alone, asked for the other port");

    ok(shards_of("*2 *4 $5 slots *2 :0 :99 $5 nodes *1 "
                 "*8 $2 id $40 " ID1 " $8 tls-port :7801 $2 ip " LOCAL
                 " $4 role " MASTER " "
                 "*4 $5 slots *2 :100 :16383 $5 nodes *1 "
                 NODE("14", ID2, "7902", LOCAL, MASTER, ONLINE), 0) == NGX_OK
       && map.unusable && map.nnodes == 1
       && is_owner(99, "-") && is_owner(100, "127.0.0.1:7902"),
       "... beside another one: that one's slots are served");

    ok(shards_of("*2 *4 $5 slots *2 :0 :99 $5 nodes *1 "
                 NODE("14", ID1, "7901", LOCAL, "$7 replica", ONLINE)
                 "*4 $5 slots *2 :100 :16383 $5 nodes *1 "
                 NODE("14", ID2, "7902", LOCAL, MASTER, ONLINE), 0) == NGX_OK
       && map.unusable && is_owner(99, "-")
       && is_owner(100, "127.0.0.1:7902"),
       "a shard that has no primary");

    ok(shards_of("*0 ", 0) == NGX_OK && map.nnodes == 0 && !map.unusable
       && is_owner(0, "-"),
       "a node that knows of nobody");
}


static void
test_slots(void)
{
    ok(slots_of("*4 "
                "*3 :0 :5460 *4 " LOCAL " :7901 $40 " ID1 " *0 "
                "*4 :5461 :5461 *4 " LOCAL " :7902 $40 " ID2
                " *2 $8 hostname $10 r2.example *4 " LOCAL " :7904 $40 " ID3
                " *0 "
                "*3 :5462 :10000 *4 " LOCAL " :7901 $40 " ID1 " *0 "
                "*3 :10001 :16383 *4 " LOCAL " :7902 $40 " ID2
                " *2 $8 hostname $10 r2.example ") == NGX_OK
       && are_owners("127.0.0.1:7901", "127.0.0.1:7902"),
       "Redis 7.0: CLUSTER SLOTS");

    ok(slots_of("*4 "
                "*3 :0 :5460 *4 $-1 :7901 $40 " ID1 " *2 $2 ip " LOCAL " "
                "*3 :5461 :5461 *4 $-1 :7902 $40 " ID2 " *2 $2 ip " LOCAL " "
                "*3 :5462 :10000 *4 $-1 :7901 $40 " ID1 " *2 $2 ip " LOCAL " "
                "*3 :10001 :16383 *4 $-1 :7902 $40 " ID2 " *2 $2 ip " LOCAL " ")
       == NGX_OK
       && are_owners(":7901", ":7902"),
       "... behind NAT: their addresses are not those of clients");

    ok(slots_of("*2 "
                "*3 :0 :5460 *4 $1 ? :7901 $40 " ID1 " *2 $2 ip " LOCAL " "
                "*3 :5461 :5461 *4 $10 r2.example :7902 $40 " ID2
                " *2 $2 ip " LOCAL " ") == NGX_OK
       && is_owner(0, "127.0.0.1:7901") && is_owner(5461, "r2.example:7902")
       && is_owner(5462, "-"),
       "... one without a name");

    ok(slots_of("*1 *3 :0 :16383 *3 " LOCAL " :7901 $40 " ID1 " ") == NGX_OK
       && is_owner(9, "127.0.0.1:7901"), "Redis 6: nodes without more");

    ok(slots_of("*1 *3 :0 :16383 *2 " LOCAL " :7901 ") == NGX_OK
       && is_owner(9, "127.0.0.1:7901"), "Redis 3: host and port");

    ok(slots_of("*2 *3 :0 :99 *2 " LOCAL " :0 "
                "*3 :100 :16383 *2 " LOCAL " :7902 ") == NGX_OK
       && map.unusable && map.slot == 0 && map.nnodes == 1
       && is_owner(99, "-") && is_owner(100, "127.0.0.1:7902"),
       "one without a port");

    ok(slots_of("*2 *3 :0 :99 *2 $3 a/b :1 "
                "*3 :100 :16384 *2 " LOCAL " :7902 ") == NGX_ERROR,
       "... beside what is none");

    ok(slots_of("*0 ") == NGX_OK && map.nnodes == 0, "none");
}


static void
test_wrong(void)
{
    size_t  i;

    static const char  *shards[] = {
        "+OK ", "$2 hi ", ":1 ", "$-1 ", "*-1 ", "-ERR no ", "*1 :1 ",
        "*1 *0 ", "*1 $-1 ", "*1 *1 $5 slots ", "*1 *2 $5 slots *0 ",
        "*1 *2 $5 nodes *0 ",
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *0 ",
        "*1 *4 $5 slots :0 $5 nodes *0 ",
        "*1 *4 $5 slots *0 $5 nodes :0 ",
        "*1 *4 $5 slots *1 :0 $5 nodes *0 ",
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 :1 ",
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 *0 ",
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "7901", LOCAL, "$7 replica", ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "7901", LOCAL, ":1", ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "0", LOCAL, MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "65536", LOCAL, MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "-1", LOCAL, MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "9223372036854775807", LOCAL, MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "7901", ":1", MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "7901", "$3 a/b", MASTER, ONLINE),
        "*1 *4 $5 slots *2 :0 :1 $5 nodes *1 "
        NODE("14", ID1, "7901", "$3 a\"b", MASTER, ONLINE),
#define SLOTS(n, text)                                                        \
        "*1 *4 $5 slots *" n " " text " $5 nodes *1 "                         \
        NODE("14", ID1, "7901", LOCAL, MASTER, ONLINE)
        SLOTS("2", ":1 :0"), SLOTS("2", ":-1 :0"), SLOTS("2", ":0 :16384"),
        SLOTS("2", ":16384 :16384"), SLOTS("2", "$1 x :1"),
        SLOTS("2", "$-1 :1"), SLOTS("2", "$0  :1"), SLOTS("2", "$2 -1 :1"),
        SLOTS("2", ":-9223372036854775808 :9223372036854775807"),
        SLOTS("2", "$20 99999999999999999999 :1"), SLOTS("3", ":0 :1 :2"),
        SLOTS("4", ":0 :5 :5 :6"), SLOTS("2", ":0 *1 :1"),
    };

    static const char  *slots[] = {
        "+OK ", ":1 ", "*-1 ", "-ERR no ", "*1 :1 ", "*1 *0 ",
        "*1 *2 :0 :1 ", "*1 *3 :0 :1 :2 ", "*1 *3 :0 :1 *0 ",
        "*1 *3 :0 :1 *1 " LOCAL " ", "*1 *3 :0 :1 *2 " LOCAL " :0 ",
        "*1 *3 :0 :1 *2 " LOCAL " $-1 ", "*1 *3 :0 :1 *2 *0 :1 ",
        "*1 *3 $-1 :1 *2 " LOCAL " :1 ", "*1 *3 :1 :0 *2 " LOCAL " :1 ",
        "*1 *3 :0 :16384 *2 " LOCAL " :1 ",
        "*2 *3 :0 :1 *2 " LOCAL " :1 *3 :1 :2 *2 " LOCAL " :2 ",
    };

    for (i = 0; i < sizeof(shards) / sizeof(shards[0]); i++) {
        ok(shards_of(shards[i], 0) == NGX_ERROR, "no shards: %s", shards[i]);
    }

    for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        ok(slots_of(slots[i]) == NGX_ERROR, "no slots: %s", slots[i]);
    }

    ok(slots_of("*1 *3 :0 :1 *4 $1 ? :7901 $40 " ID1 " :1 ") == NGX_OK
       && is_owner(0, ":7901"), "what is said of a node besides may be odd");
}


/* so many primaries, of a slot each, in turn */

static char *
many(ngx_uint_t n, ngx_uint_t ranges)
{
    char        *text, *p;
    ngx_uint_t   i;

    text = malloc(ranges * 64 + 32);

    if (text == NULL) {
        abort();
    }

    p = text + sprintf(text, "*%u ", (unsigned) ranges);

    for (i = 0; i < ranges; i++) {
        p += sprintf(p, "*3 :%u :%u *2 $8 10.0.0.%u :%u ", (unsigned) i,
                     (unsigned) i, (unsigned) (i % 2),
                     (unsigned) (i % n + 1));
    }

    return text;
}


static void
test_many(void)
{
    char                     *text, host[LINES_CLUSTER_HOST + 1];
    lines_cluster_address_t   address;

    text = many(LINES_CLUSTER_NODES, LINES_CLUSTER_SLOTS);
    ok(slots_of(text) == NGX_OK && map.nnodes == LINES_CLUSTER_NODES
       && is_owner(16383, "10.0.0.1:512"), "as many as there is room for");
    free(text);

    text = many(LINES_CLUSTER_NODES + 1, LINES_CLUSTER_NODES + 1);
    ok(slots_of(text) == NGX_ERROR, "one more");
    free(text);

    memset(host, 'a', sizeof(host));

    ok(lines_cluster_set_address(&address, (u_char *) host,
                                 LINES_CLUSTER_HOST, 1) == NGX_OK
       && address.len == LINES_CLUSTER_HOST, "the longest host");
    ok(lines_cluster_set_address(&address, (u_char *) host,
                                 LINES_CLUSTER_HOST + 1, 1) == NGX_ERROR,
       "a longer one");
}


static void
test_redirections(void)
{
    size_t                    i;
    ngx_int_t                 slot;
    ngx_str_t                 s;
    lines_cluster_address_t   address;

    static const struct {
        const char  *text;
        ngx_int_t    slot;
        const char  *host;
        int          port;
    } good[] = {
        { "MOVED 15495 127.0.0.1:7902", 15495, "127.0.0.1", 7902 },
        { "ASK 0 127.0.0.1:7902", 0, "127.0.0.1", 7902 },
        { "MOVED 3300 :7902", 3300, "", 7902 },
        { "MOVED 3300 ?:7901", 3300, "", 0 },
        { "MOVED 16383 R2.example:1", 16383, "r2.example", 1 },
        { "MOVED 1 2001:db8::1:6379", 1, "2001:db8::1", 6379 },
        { "MOVED 1 fe80::1%eth0:65535", 1, "fe80::1%eth0", 65535 },
    };

    static const char  *bad[] = {
        "", "MOVED", "MOVED ", "MOVED 1", "MOVED 1 ", "MOVED 1 a", "MOVED 1 a:",
        "MOVED 1 :", "MOVED  1 a:1", "MOVED x a:1", "MOVED -1 a:1",
        "MOVED 16384 a:1", "MOVED 99999999999999999999 a:1", "MOVED 1 a:0",
        "MOVED 1 a:65536", "MOVED 1 a:1 ", "MOVED 1 a b:1", "MOVED 1 a/:1",
        "MOVED 1 a:99999999999999999999", "MOVED 1 \"a\":1", "MOVED 1 [::1]:1",
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        s = exact(good[i].text, strlen(good[i].text));
        slot = lines_cluster_read_redirection(&address, s.data, s.len);

        ok(slot == good[i].slot
           && address.port == good[i].port
           && address.len == strlen(good[i].host)
           && memcmp(address.host, good[i].host, address.len) == 0,
           "%s", good[i].text);

        free(s.data);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = exact(bad[i], strlen(bad[i]));
        ok(lines_cluster_read_redirection(&address, s.data, s.len)
           == NGX_ERROR, "no redirection: \"%s\"", bad[i]);
        free(s.data);
    }
}


/* as CLUSTER KEYSLOT says */

static void
test_keys(void)
{
    size_t               i;
    ngx_str_t            part;
    ngx_uint_t           n;
    lines_cluster_key_t  whole, parts;

    static const struct {
        const char  *text;
        ngx_int_t    slot;
    } keys[] = {
        { "123456789", 12739 },
        { "foo", 12182 },
        { "{user1000}.following", 3443 },
        { "lines:{w:1}:t", 4532 },
        { "foo{}{bar}", 8363 },
        { "foo{{bar}}zap", 4015 },
        { "foo{bar}{zap}", 5061 },
        { "", 0 },
    };

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        memset(&whole, 0, sizeof(whole));
        memset(&parts, 0, sizeof(parts));

        part = str(keys[i].text);
        lines_cluster_key_add(&whole, &part);

        for (n = 0; keys[i].text[n]; n++) {
            part.data = (u_char *) keys[i].text + n;
            part.len = 1;
            lines_cluster_key_add(&parts, &part);
        }

        ok(lines_cluster_key_slot(&whole) == keys[i].slot
           && lines_cluster_key_slot(&parts) == keys[i].slot,
           "the slot of \"%s\", whole and in parts", keys[i].text);
    }
}


/* a reply of any shape: types, lengths and numbers as they fall */

static redisReply *
any(unsigned *seed, ngx_uint_t depth)
{
    size_t       i;
    redisReply  *reply;

    static const char  *words[] = {
        "slots", "nodes", "endpoint", "ip", "port", "tls-port", "role",
        "master", "health", "online", "127.0.0.1", "?", "", "0", "16383", "x"
    };

    reply = calloc(1, sizeof(redisReply));

    if (reply == NULL) {
        abort();
    }

    switch (rand_r(seed) % (depth ? 8 : 5)) {

    case 0:
        reply->type = REDIS_REPLY_NIL;
        break;

    case 1:
        reply->type = REDIS_REPLY_INTEGER;
        reply->integer = rand_r(seed) % 20000 - 100;
        break;

    case 2:
    case 3:
    case 4:
        reply->type = REDIS_REPLY_STRING;
        reply->str = strdup(words[rand_r(seed) % 16]);
        reply->len = strlen(reply->str);
        break;

    default:
        reply->type = REDIS_REPLY_ARRAY;
        reply->elements = rand_r(seed) % 7;
        reply->element = calloc(reply->elements + 1, sizeof(redisReply *));

        for (i = 0; i < reply->elements; i++) {
            reply->element[i] = any(seed, depth - 1);
        }
    }

    return reply;
}


static void
test_any(void)
{
    unsigned     seed, i;
    ngx_int_t    rc;
    ngx_uint_t   odd;
    redisReply  *reply;

    seed = 1;
    odd = 0;

    for (i = 0; i < 200000; i++) {
        reply = any(&seed, 4);

        rc = i % 2 ? lines_cluster_read_slots(&map, reply)
                   : lines_cluster_read_shards(&map, reply, i / 2 % 2);

        odd += rc != NGX_OK && rc != NGX_ERROR;

        freeReplyObject(reply);
    }

    ok(odd == 0, "200,000 replies of any shape");
}


int
main(void)
{
    test_keys();
    test_shards();
    test_slots();
    test_wrong();
    test_many();
    test_redirections();
    test_any();

    return done_testing();
}


#include "deliver/address.h"


typedef struct {
    uint32_t    net;
    ngx_uint_t  bits;
} address_net_t;

typedef struct {
    u_char      net[16];
    ngx_uint_t  bits;
} address_net6_t;


/* IANA's registry of special-purpose addresses, and what is no unicast */

static const address_net_t  address_special[] = {
    { 0x00000000,  8 },    /* this network */
    { 0x0a000000,  8 },    /* private */
    { 0x64400000, 10 },    /* shared: carriers' NAT */
    { 0x7f000000,  8 },    /* loopback */
    { 0xa9fe0000, 16 },    /* link-local */
    { 0xac100000, 12 },    /* private */
    { 0xc0000000, 24 },    /* protocol assignments */
    { 0xc0000200, 24 },    /* documentation */
    { 0xc0586300, 24 },    /* 6to4 relays */
    { 0xc0a80000, 16 },    /* private */
    { 0xc6120000, 15 },    /* benchmarks */
    { 0xc6336400, 24 },    /* documentation */
    { 0xcb007100, 24 },    /* documentation */
    { 0xe0000000,  4 },    /* multicast */
    { 0xf0000000,  4 }     /* reserved, broadcast */
};


/* global unicast is 2000::/3, but for these */

static const address_net6_t  address_special6[] = {
    { { 0x20, 0x01 }, 23 },                /* Teredo, ORCHID, and the like */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32 },    /* documentation */
    { { 0x3f, 0xfe }, 16 },                /* 6bone, returned */
    { { 0x3f, 0xff }, 20 }                 /* documentation */
};

static const address_net6_t  address_unicast6 = { { 0x20 }, 3 };

/* what stands for an IPv4 address, and where that begins */

static const struct {
    address_net6_t  net;
    ngx_uint_t      at;
} address_within[] = {
    { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96 }, 12 },
    { { { 0x00, 0x64, 0xff, 0x9b }, 96 }, 12 },
    { { { 0x20, 0x02 }, 16 }, 2 }
};


static ngx_uint_t
address_is_global(uint32_t addr)
{
    ngx_uint_t            i;
    const address_net_t  *net;

    for (i = 0; i < sizeof(address_special) / sizeof(address_net_t); i++) {
        net = &address_special[i];

        if ((addr ^ net->net) >> (32 - net->bits) == 0) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
address_is_in(const u_char *addr, const address_net6_t *net)
{
    ngx_uint_t  n, rest;

    n = net->bits / 8;
    rest = net->bits % 8;

    return ngx_memcmp(addr, net->net, n) == 0
           && (rest == 0 || (addr[n] ^ net->net[n]) >> (8 - rest) == 0);
}


static ngx_uint_t
address_is_global6(const u_char *addr)
{
    uint32_t       within;
    ngx_uint_t     i;
    const u_char  *p;

    for (i = 0; i < sizeof(address_within) / sizeof(address_within[0]); i++) {

        if (address_is_in(addr, &address_within[i].net)) {
            p = addr + address_within[i].at;
            within = (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];

            return address_is_global(within);
        }
    }

    for (i = 0; i < sizeof(address_special6) / sizeof(address_net6_t); i++) {
        if (address_is_in(addr, &address_special6[i])) {
            return 0;
        }
    }

    return address_is_in(addr, &address_unicast6);
}


ngx_uint_t
lines_address_global(struct sockaddr *sockaddr, ngx_array_t *allow)
{
    struct sockaddr_in   *sin;
    struct sockaddr_in6  *sin6;

    if (allow && ngx_cidr_match(sockaddr, allow) == NGX_OK) {
        return 1;
    }

    switch (sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return address_is_global(ntohl(sin->sin_addr.s_addr));

    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        return address_is_global6(sin6->sin6_addr.s6_addr);
    }

    return 0;
}

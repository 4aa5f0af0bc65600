/* Records of the DNS, as far as servers are found with them. */
#pragma once

#include "lib/base/addr.h"

enum {
    DNS_NAME_MAX = 256, /* bytes of a name as text, with its end mark */
    DNS_WORD_MAX = 64,
    DNS_RECORDS_MAX = 16 /* of one answer; more are left out */
};

enum dns_type {
    DNS_ADDR, /* A and AAAA together, the better ones first */
    DNS_SRV,  /* RFC 2782 */
    DNS_NAPTR /* RFC 3403 */
};

struct dns_record {
    enum dns_type type;
    struct addr addr;             /* ADDR; port 0 */
    uint16_t order, weight, port; /* SRV: priority is `order`. NAPTR: preference is
                                     `weight` */
    char name[DNS_NAME_MAX];      /* SRV: target. NAPTR: replacement */
    char flags[DNS_WORD_MAX], service[DNS_WORD_MAX];
    bool has_regexp;
};

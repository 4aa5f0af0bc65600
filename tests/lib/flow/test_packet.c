/* Headers of captured packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/flow/packet.h"

/* 192.0.2.1:1000 -> 192.0.2.2:3478, one byte more in the IP header (padded options), four in
 * the TCP header, "hello", and two bytes of link padding. */
static const uint8_t tcp4[] = {0x46, 0,    0,    53,   0,   1,    0x40, 0, 64, 6, 0, 0,
                               192,  0,    2,    1,    192, 0,    2,    2, 1,  1, 1, 0, /**/
                               0x03, 0xe8, 0x0d, 0x96, 0,   0,    0,    7, 0,  0, 0, 9,
                               0x60, 0x18, 1,    0,    0,   0,    0,    0, 1,  1, 1, 0,
                               'h',  'e',  'l',  'l',  'o', 0xEE, 0xEE};
static const uint8_t udp6[] = {
    0x60, 0,    0,    0,    0, 20, 0, 64,                                /**/
    0x20, 1,    0xd,  0xb8, 0, 0,  0, 0,  0,   0,   0,   0,  0, 0, 0, 1, /**/
    0x20, 1,    0xd,  0xb8, 0, 0,  0, 0,  0,   0,   0,   0,  0, 0, 0, 2, /**/
    17,   0,    1,    4,    0, 0,  0, 0, /* hop-by-hop, then UDP */
    0x03, 0xe8, 0x0d, 0x96, 0, 12, 0, 0,  'p', 'i', 'n', 'g'};
static const uint8_t ether4[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00};
static const uint8_t vlan4[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0, 5, 8, 0};
static const uint8_t sll4[] = {0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00};
static const uint8_t sll2[] = {0x08, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0};
static const uint8_t null4[] = {2, 0, 0, 0};

/* Parses link header and packet from memory of exactly their size. */
static int parse(struct packet *out, uint8_t **mem, int link, struct slice head,
                 struct slice packet)
{
    size_t len = head.len + packet.len;
    *mem = malloc(len ? len : 1);
    if (head.len > 0) {
        memcpy(*mem, head.p, head.len);
    }
    memcpy(*mem + head.len, packet.p, packet.len);
    return packet_parse(out, link, slice_of(*mem, len));
}

static void every_link_type_leads_to_the_same_packet(void **state)
{
    (void)state;
    const struct {
        int link;
        struct slice head;
    } links[] = {
        {PACKET_LINK_RAW,      {NULL, 0}              },
        {PACKET_LINK_RAW_LIVE, {NULL, 0}              },
        {PACKET_LINK_NULL,     {null4, sizeof null4}  },
        {PACKET_LINK_ETHERNET, {ether4, sizeof ether4}},
        {PACKET_LINK_ETHERNET, {vlan4, sizeof vlan4}  },
        {PACKET_LINK_SLL,      {sll4, sizeof sll4}    },
        {PACKET_LINK_SLL2,     {sll2, sizeof sll2}    },
    };
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        struct packet p;
        uint8_t *mem;
        assert_int_equal(
            parse(&p, &mem, links[i].link, links[i].head, slice_of(tcp4, sizeof tcp4)), 0);
        char text[ADDR_TEXT_MAX];
        assert_string_equal(addr_text(&p.from, text), "192.0.2.1:1000");
        assert_string_equal(addr_text(&p.to, text), "192.0.2.2:3478");
        assert_int_equal(p.proto, PACKET_TCP);
        assert_int_equal(p.seq, 7);
        assert_int_equal(p.ack, 9);
        assert_int_equal(p.flags, TCP_PSH | TCP_ACK);
        assert_true(slice_eq(p.payload, slice_str("hello"))); /* and not the link's padding */
        assert_int_equal(p.cut, 0);
        free(mem);
    }
}

static void reads_udp_behind_ip6_extensions(void **state)
{
    (void)state;
    struct packet p;
    uint8_t *mem;
    struct slice none = {NULL, 0};
    assert_int_equal(parse(&p, &mem, PACKET_LINK_RAW, none, slice_of(udp6, sizeof udp6)), 0);
    char text[ADDR_TEXT_MAX];
    assert_string_equal(addr_text(&p.to, text), "[2001:db8::2]:3478");
    assert_int_equal(p.proto, PACKET_UDP);
    assert_true(slice_eq(p.payload, slice_str("ping")));
    free(mem);
}

/* Every cut is either an error or a packet that says how much payload is missing. */
static void a_truncated_packet_never_reads_past_its_end(void **state)
{
    (void)state;
    const struct slice whole[] = {
        {tcp4, sizeof tcp4 - 2},
        {udp6, sizeof udp6    }
    };
    const size_t payload[] = {5, 4};
    for (size_t k = 0; k < 2; k++) {
        for (size_t n = 0; n <= whole[k].len; n++) {
            struct packet p;
            uint8_t *mem;
            int err =
                parse(&p, &mem, PACKET_LINK_RAW, slice_of(NULL, 0), slice_of(whole[k].p, n));
            bool has_headers = n >= whole[k].len - payload[k];
            assert_int_equal(err, has_headers ? 0 : ERR_SHORT);
            if (has_headers) {
                assert_int_equal(p.payload.len + p.cut, payload[k]);
                assert_int_equal(p.cut, whole[k].len - n);
            }
            free(mem);
        }
    }
}

static int parse_changed(size_t at, uint8_t value)
{
    uint8_t copy[sizeof tcp4];
    memcpy(copy, tcp4, sizeof copy);
    copy[at] = value;
    struct packet p;
    return packet_parse(&p, PACKET_LINK_RAW, slice_of(copy, sizeof copy));
}

static void contradictions_and_strangers_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_changed(0, 0x44), ERR_MALFORMED);       /* header under 20 bytes */
    assert_int_equal(parse_changed(0, 0x56), ERR_MALFORMED);       /* IP version 5 */
    assert_int_equal(parse_changed(3, 20), ERR_MALFORMED);         /* ends inside the header */
    assert_int_equal(parse_changed(6, 0x20), ERR_UNSUPPORTED);     /* more fragments */
    assert_int_equal(parse_changed(7, 0x01), ERR_UNSUPPORTED);     /* a later fragment */
    assert_int_equal(parse_changed(9, 1), ERR_UNSUPPORTED);        /* ICMP */
    assert_int_equal(parse_changed(24 + 12, 0x40), ERR_MALFORMED); /* TCP header of 16 bytes */
    assert_int_equal(parse_changed(24 + 12, 0xF0), ERR_SHORT);     /* TCP header past the end */
    struct packet p;
    assert_int_equal(packet_parse(&p, 105, slice_of(tcp4, sizeof tcp4)), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_link_type_leads_to_the_same_packet),
        cmocka_unit_test(reads_udp_behind_ip6_extensions),
        cmocka_unit_test(a_truncated_packet_never_reads_past_its_end),
        cmocka_unit_test(contradictions_and_strangers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

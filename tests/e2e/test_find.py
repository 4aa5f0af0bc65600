"""Servers found by name (RFC 5928), with a name server of the test's own: causeway-conform asks
causeway-edge, and only finds it when it follows the records; causeway-meet takes its relay there."""
import contextlib
import json
import re
import subprocess

import pytest

from conftest import TIMEOUT_S
from dns_server import NAPTR, SRV, A, DnsServer, a, aaaa, naptr, srv
from test_meet import meet, offer  # noqa: F401  (meet is a fixture)

pytestmark = pytest.mark.sanitized
EDGE = "127.0.0.2"


@pytest.fixture
def edge(programs):
    p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user", "turn:secret",
                 "--log", "json")
    return int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])


@pytest.fixture
def dns(edge):
    """Everything leads to the edge; what a wrong turn leads to has no server."""
    zone = {
        "naptr.test": [naptr(20, 1, "S", "RELAY:turn.tcp", "wrong.test"),
                       naptr(10, 9, "S", "RELAY:turn.udp", "wrong.test"),
                       naptr(10, 1, "", "RELAY:turn.udp", "next.test"),
                       naptr(1, 1, "S", "SIP+D2U", "wrong.test")],
        "next.test": [naptr(1, 1, "S", "RELAY:turn.udp", "_relays.test")],
        "_relays.test": [srv(2, 0, 9, "wrong.test"), srv(1, 0, edge, "edge.test")],
        "_turn._udp.srv.test": [srv(7, 100, 9, "wrong.test"), srv(3, 1, edge, "edge.test")],
        "_turn._tcp.srv.test": [srv(1, 1, 9, "wrong.test")],
        "_turn._tcp.tcp.test": [srv(1, 0, edge, "edge.test"), srv(0, 1, 9, "wrong.test")],
        "srv.test": [a("127.0.0.9")],
        "_stun._udp.stun.test": [srv(1, 1, edge, "edge.test")],
        "plain.test": [a(EDGE)],
        # No route leads to the first one.
        "both.test": [aaaa("2001:db8::1"), a(EDGE)],
        "edge.test": [a(EDGE)],
        "wrong.test": [a("127.0.0.9")],
    }
    with contextlib.closing(DnsServer(zone)) as server:
        yield server


def conform(build, where, *options):
    return subprocess.run([build / "cmd/conform/causeway-conform", where, "--only",
                           "stun.binding.success", "--json", *options],
                          capture_output=True, text=True, timeout=TIMEOUT_S)


@pytest.mark.parametrize("where, asked", [
    ("turn:naptr.test", [("naptr.test", NAPTR), ("next.test", NAPTR), ("_relays.test", SRV),
                         ("edge.test", A)]),
    ("turn:srv.test", [("srv.test", NAPTR), ("_turn._udp.srv.test", SRV), ("edge.test", A)]),
    ("turn:srv.test?transport=udp", [("_turn._udp.srv.test", SRV), ("edge.test", A)]),
    ("stun:stun.test", [("_stun._udp.stun.test", SRV), ("edge.test", A)]),
    ("turn:plain.test:{}", [("plain.test", A)]),
    ("plain.test:{}", [("plain.test", A)]),
    ("turn:both.test:{}", [("both.test", A)]),
])
def test_what_is_asked_and_who_is_found(build, edge, dns, where, asked):
    got = conform(build, where.format(edge), "--dns", dns.addr)
    assert got.returncode == 0, got.stdout + got.stderr
    seen = json.loads(got.stdout)
    assert seen["server"] == f"{EDGE}:{edge}" and seen["passed"] > 0
    # AAAA is asked beside A.
    assert [q for q in dns.asked if q[1] in (A, SRV, NAPTR)] == asked


@pytest.mark.parametrize("where", ["turn:{}:{}", "{}:{}", "turn:{}:{}?transport=tcp"])
def test_an_address_asks_nobody(build, edge, dns, where):
    got = conform(build, where.format(EDGE, edge), "--dns", dns.addr)
    assert got.returncode == 0, got.stdout + got.stderr
    assert not dns.asked


@pytest.mark.parametrize("where, words", [
    ("turn:nowhere.test", "no such server: the DNS names none"),
    ("turn:silent.test:3478", "no such server: the DNS names none"),
    ("turns:plain.test", "plain UDP and TCP are what is checked"),
    ("turn://plain.test", "without //"),
    ("turn:plain.test?transport=sctp", "neither udp nor tcp"),
    ("plain.test:99999", "the port is no number"),
])
def test_what_is_wrong_is_said(build, dns, where, words):
    got = conform(build, where, "--dns", dns.addr)
    assert got.returncode == 2 and words in got.stderr, got.stderr


@pytest.mark.parametrize("where", ["turn:tcp.test?transport=tcp", "turn:tcp.test",
                                   "turn:plain.test:{}", "turn:{edge}:{}"])
def test_meet_finds_its_relay(meet, edge, dns, where):  # noqa: F811
    """The first server of two refuses: the next one is tried."""
    m = meet("--allow-unencrypted-media", "--turn", where.format(edge, edge=EDGE), "--dns",
             dns.addr, "--turn-user", "turn:secret")
    status, _, body = m.caller.invite("demo", offer())
    assert status == 200 and re.search(rf"a=candidate:.* {EDGE} \d+ typ relay", body), body
    m.wait_event("relay-server", server=f"{EDGE}:{edge}")
    if "tcp.test" in where:
        m.wait_event("relay-server", server="127.0.0.9:9")
    m.caller.close()


def test_meet_goes_on_without_a_relay_that_nobody_has(meet, dns):  # noqa: F811
    m = meet("--allow-unencrypted-media", "--turn", "turn:nowhere.test", "--dns", dns.addr,
             "--turn-user", "turn:secret")
    assert m.caller.invite("demo", offer())[0] == 200
    m.wait_event("relay-lost")
    m.wait_event("share-without-relay")


@pytest.mark.parametrize("where, words", [
    ("turns:example.org", "TCP without TLS"), ("turn:example.org?transport=udp", "TCP without TLS"),
    ("stun:example.org", "TCP without TLS"), ("example.org", "none of turn:")])
def test_meet_says_what_it_cannot_use(programs, where, words):
    m = programs("meet", "--check", "--space", "demo", "--turn", where, "--turn-user", "a:b")
    assert m.wait() == 2 and words in "\n".join(m.lines)

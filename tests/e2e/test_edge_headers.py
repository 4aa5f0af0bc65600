"""What of a datagram's IP header passes through a UDP relay, read on the far side, and what comes
back when it does not arrive (RFC 8656 11.5, 13 to 16)."""
import contextlib
import hashlib
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Net

pytestmark = pytest.mark.sanitized
SEND, DATA_IND, FAMILY, DONT_FRAGMENT, DATA, ICMP = 6, 7, 0x17, 0x1A, 0x13, 0x8004
PORT, MTU = 3478, 1500
CHANNEL, CHANNEL_NUMBER = 9, 0xC
# Their addresses for the edge, clients and peers, by family.
EDGE = {4: "127.0.0.2", 6: "fd00::2"}
CLIENT = {4: "127.0.0.4", 6: "fd00::4"}
PEER = {4: "127.0.0.3", 6: "fd00::3"}
ways = pytest.mark.parametrize("client, peer", [(4, 4), (4, 6), (6, 4), (6, 6)])


@pytest.fixture(scope="module")
def net():
    with contextlib.closing(Net(*(f"{a[6]}/128" for a in (EDGE, CLIENT, PEER)))) as net:
        subprocess.run(["ip", "link", "set", "lo", "mtu", str(MTU)], check=True,
                       preexec_fn=net.join)
        yield net


@pytest.fixture
def edge(programs, net):
    p = programs("edge", "--listen", f"{EDGE[4]}:{PORT}", "--listen", f"[{EDGE[6]}]:{PORT}",
                 "--relay-address", EDGE[4], "--relay-address", EDGE[6], "--realm", "TANDBERG",
                 "--user", "turn:secret", "--peer-allow", "127.0.0.0/8", "--peer-allow",
                 "fd00::/8", "--log", "json", preexec_fn=net.join)
    p.wait_event("ready")
    return p


@pytest.fixture
def opened(net):
    """opened(function, ...): what it gives, made in the namespace, closed afterwards."""
    with ThreadPoolExecutor(1, initializer=net.join) as there, contextlib.ExitStack() as stack:
        yield lambda f, *a: stack.enter_context(contextlib.closing(there.submit(f, *a).result()))


OPTIONS = {4: (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_TTL, socket.IP_RECVTOS,
               getattr(socket, "IP_RECVTTL", 12)),
           6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_UNICAST_HOPS,
               socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT)}


class Udp(socket.socket):
    """A UDP socket that sets and reads its datagrams' TOS and TTL."""

    def __init__(self, host, family):
        super().__init__({4: socket.AF_INET, 6: socket.AF_INET6}[family], socket.SOCK_DGRAM)
        self.level, self.tos, self.ttl, tos_in, ttl_in = OPTIONS[family]
        self.settimeout(TIMEOUT_S)
        self.bind((host, 0))
        self.setsockopt(self.level, tos_in, 1)
        self.setsockopt(self.level, ttl_in, 1)

    def header(self, tos, ttl):
        self.setsockopt(self.level, self.tos, tos)
        self.setsockopt(self.level, self.ttl, ttl)

    def take(self):
        """(bytes, TOS, TTL, from)"""
        got, more, _, sender = self.recvmsg(65536, 256)
        by_kind = {kind: value[0] for level, kind, value in more if level == self.level}
        ttl = by_kind[socket.IP_TTL if self.level == socket.IPPROTO_IP else socket.IPV6_HOPLIMIT]
        return got, by_kind[self.tos], ttl, sender[:2]


class UdpTurn(tc.Turn):
    """tc.Turn over UDP."""

    def __init__(self, family, user="turn", password="secret", realm=b"TANDBERG"):
        self.s = Udp(CLIENT[family], family)
        self.s.connect((EDGE[family], PORT))
        self.user, self.realm, self.nonce = user.encode(), realm, None
        self.key = hashlib.md5(self.user + b":" + realm + b":" + password.encode()).digest()

    def recv(self):
        return tc.Message(self.s.recv(65536))


def relay_for(turn, peer, *more):
    """Allocates a relay of that family and permits the peer."""
    want = [(tc.TRANSPORT, bytes([tc.UDP, 0, 0, 0])), *more]
    want += [(FAMILY, b"\2\0\0\0")] if peer == 6 else []
    first = turn.ask(tc.ALLOCATE, *want, signed=False)
    turn.realm, turn.nonce = first.attrs[tc.REALM], first.attrs[tc.NONCE]
    answer = turn.ask(tc.ALLOCATE, *want)
    assert answer.code == 0
    assert turn.permit(PEER[peer]) == 0
    return tc.read_addr(answer.attrs[tc.RELAYED], answer.tid)


def send_to(turn, address, data, *more):
    """A Send indication, which is not signed."""
    turn.send(SEND | 0x10, [(tc.PEER, lambda tid: tc.xor_addr(*address, tid)), *more,
                            (DATA, data)], signed=False)


def bind_channel(turn, address):
    number = struct.pack(">HH", 0x4000, 0)
    assert turn.ask(CHANNEL, (CHANNEL_NUMBER, number),
                    (tc.PEER, lambda tid: tc.xor_addr(*address, tid))).code == 0


@ways
def test_tos_and_ttl_go_on_both_ways(edge, opened, client, peer):
    turn, far = opened(UdpTurn, client), opened(Udp, PEER[peer], peer)
    relay = relay_for(turn, peer)
    at = far.getsockname()[:2]
    turn.s.header(0xB9, 33)  # EF, and ECT(1)
    send_to(turn, at, b"by Send")
    assert far.take() == (b"by Send", 0xB9, 32, relay)
    far.header(0x2B, 21)
    far.sendto(b"back", relay)
    got, tos, ttl, _ = turn.s.take()
    assert (got[-4:], tos, ttl) == (b"back", 0x2B, 20)
    turn.s.header(0, 64)
    bind_channel(turn, at)
    turn.s.header(0x03, 200)
    turn.s.send(struct.pack(">HH", 0x4000, 4) + b"chan")
    assert far.take() == (b"chan", 0x03, 199, relay)
    far.header(0xFF, 2)
    far.sendto(b"back", relay)
    assert turn.s.take()[:3] == (struct.pack(">HH", 0x4000, 4) + b"back", 0xFF, 1)


@ways
def test_the_last_hop_ends_at_the_relay(edge, opened, client, peer):
    turn, far = opened(UdpTurn, client), opened(Udp, PEER[peer], peer)
    relay = relay_for(turn, peer)
    at = far.getsockname()[:2]
    for ttl in (1, 2):
        turn.s.header(0, ttl)
        send_to(turn, at, b"%d" % ttl)
    assert far.take()[:3] == (b"2", 0, 1)
    for ttl in (1, 2):
        far.header(0, ttl)
        far.sendto(b"%d" % ttl, relay)
    got, _, ttl, _ = turn.s.take()
    assert (got[-4:-3], ttl) == (b"2", 1)  # padded


def test_replies_are_the_systems_own(edge, opened):
    turn = opened(UdpTurn, 4)
    turn.s.header(0xB8, 9)
    turn.send(tc.BINDING, [], signed=False)
    _, tos, ttl, _ = turn.s.take()
    assert tos == 0 and ttl > 9


def icmp_of(message, address):
    """(type, code, data) of a Data indication about that peer."""
    assert (message.cls, message.method) == (1, DATA_IND) and DATA not in message.attrs
    assert tc.read_addr(message.attrs[tc.PEER], message.tid) == address
    assert message.attrs[ICMP][:2] == b"\0\0"
    return struct.unpack(">BBI", message.attrs[ICMP][2:])


def tcp_turn(family):
    return tc.Turn((EDGE[family], PORT))


@pytest.mark.parametrize("over", [UdpTurn, tcp_turn])
@ways
def test_an_unreachable_port_is_told(edge, opened, client, peer, over):
    turn, gone = opened(over, client), opened(Udp, PEER[peer], peer)
    relay_for(turn, peer)
    at = gone.getsockname()[:2]
    gone.close()
    for _ in range(3):
        send_to(turn, at, b"anybody?")
        assert icmp_of(turn.recv(), at) == ((3, 3, 0) if peer == 4 else (1, 4, 0))
    # And what comes after that arrives.
    far = opened(Udp, PEER[peer], peer)
    send_to(turn, far.getsockname()[:2], b"you")
    assert far.take()[0] == b"you"


def raw_udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    s.settimeout(TIMEOUT_S)
    return s


def df_at(raw, port):
    """Of the next datagram to that port: is DF in its header?"""
    while True:
        packet = raw.recv(65536)
        if struct.unpack(">H", packet[22:24])[0] == port:
            return bool(packet[6] & 0x40)


@pytest.mark.parametrize("over", [UdpTurn, tcp_turn])
def test_dont_fragment_sets_df_and_nothing_else_does(edge, opened, over):
    turn, raw, far = opened(over, 4), opened(raw_udp), opened(Udp, PEER[4], 4)
    relay_for(turn, 4, (DONT_FRAGMENT, b""))
    at = far.getsockname()[:2]
    for df in (False, True, True, False):
        send_to(turn, at, b"x", *([(DONT_FRAGMENT, b"")] if df else []))
        assert df_at(raw, at[1]) is df


@pytest.mark.parametrize("over, client, peer, told", [
    (UdpTurn, 4, 4, (3, 4, MTU)), (tcp_turn, 4, 4, (3, 4, MTU)), (tcp_turn, 6, 6, (2, 0, MTU)),
    (UdpTurn, 6, 6, None), (UdpTurn, 4, 6, None), (UdpTurn, 6, 4, None)])
def test_too_big_with_dont_fragment_is_told(edge, opened, over, client, peer, told):
    """Where RFC 8656 13 has DONT-FRAGMENT ignored, it arrives in fragments all the same."""
    turn, far = opened(over, client), opened(Udp, PEER[peer], peer)
    relay_for(turn, peer)
    at = far.getsockname()[:2]
    big = b"b" * 2000
    send_to(turn, at, big, (DONT_FRAGMENT, b""))
    if told:
        # IPv4 does not say which port of the peer it was, if the host's own link is too small.
        assert icmp_of(turn.recv(), at if peer == 6 else (at[0], 0)) == told
        send_to(turn, at, big)
    assert far.take()[0] == big


def test_tcp_clients_datagrams_have_no_tos(edge, opened):
    turn, far = opened(tcp_turn, 4), opened(Udp, PEER[4], 4)
    turn.s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
    turn.s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 5)
    relay = relay_for(turn, 4)
    send_to(turn, far.getsockname()[:2], b"x")
    _, tos, ttl, _ = far.take()
    assert tos == 0 and ttl > 5
    far.header(0xFF, 1)  # a stream has no hops of its datagrams: this one arrives
    far.sendto(b"back", relay)
    assert turn.exactly(20 + 12 + 4 + 4).endswith(b"back")


def test_metrics_count_icmp(programs, opened, net):
    p = programs("edge", "--listen", f"{EDGE[4]}:{PORT}", "--user", "turn:secret", "--realm",
                 "TANDBERG", "--peer-allow", "127.0.0.0/8", "--log", "json", "--metrics",
                 "127.0.0.1:9641", "--udp-buffer", "1000000000", preexec_fn=net.join)
    cut = p.wait_event("udp-buffer-cut")
    assert cut["asked"] == 1000000000 > cut["got"] > 0
    p.wait_event("ready")
    turn = opened(UdpTurn, 4)
    relay_for(turn, 4)
    send_to(turn, (PEER[4], 9), b"anybody?")
    assert icmp_of(turn.recv(), (PEER[4], 9)) == (3, 3, 0)
    page = opened(socket.create_connection, ("127.0.0.1", 9641))
    page.settimeout(TIMEOUT_S)
    page.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    text = b""
    while more := page.recv(65536):
        text += more
    assert b"causeway_icmp_total 1\n" in text

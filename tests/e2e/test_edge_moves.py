"""causeway-edge: one allocation with relays of both families, and allocations that move with their
clients (RFC 8016), with coturn's client as well."""
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Net, Program

pytestmark = pytest.mark.sanitized
EDGE4, EDGE6, PEER4, PEER6 = "127.0.0.2", "fd00::2", "127.0.0.3", "fd00::3"
PORT, PEER_PORT = 3478, 3480  # in a namespace of their own
ALSO, TICKET, FAMILY, CHANNEL_NUMBER = 0x8000, 0x8030, 0x17, 0xC
IP6 = bytes([2, 0, 0, 0])


@pytest.fixture(scope="module")
def net():
    with contextlib.closing(Net(f"{EDGE6}/128", f"{PEER6}/128")) as net:
        yield net


@pytest.fixture
def edge(programs, net, tmp_path):
    p = programs("edge", "--listen", f"{EDGE4}:{PORT}", "--listen", f"[{EDGE6}]:{PORT}",
                 "--relay-address", EDGE4, "--relay-address", EDGE6, "--realm", "TANDBERG",
                 "--user", "turn:secret", "--peer-allow", "127.0.0.0/8", "--peer-allow",
                 "fd00::/8", "--relay-to-relay", "--mobility", "--log", "json",
                 "--control", tmp_path / "control", preexec_fn=net.join)
    p.wait_event("ready")
    p.control = tmp_path / "control"
    return p


def inside(net, work):
    """work() in the namespace: a thread of its own joins it."""
    out = []

    def run():
        try:
            net.join()
            out.append(work())
        except BaseException as e:  # also what pytest.fail raises
            out.append(e)

    t = threading.Thread(target=run)
    t.start()
    t.join(3 * TIMEOUT_S)
    assert out, "it hangs"
    if isinstance(out[0], BaseException):
        raise out[0]


def session(edge):
    s = socket.socket(socket.AF_UNIX)
    with contextlib.closing(s):
        s.connect(str(edge.control))
        s.sendall(b'{"do":"sessions"}\n')
        got = b""
        while not got.endswith(b"\n"):
            got += s.recv(65536)
    (only,) = json.loads(got)["sessions"]
    return only


def begin(c, transport, *more):
    """The answer to Allocate."""
    want = (tc.TRANSPORT, bytes([transport, 0, 0, 0]))
    first = c.ask(tc.ALLOCATE, want, signed=False)
    c.realm, c.nonce = first.attrs[tc.REALM], first.attrs[tc.NONCE]
    answer = c.ask(tc.ALLOCATE, want, *more)
    assert answer.code == 0
    return answer


def moved(server, ticket, nonce, code=0):
    """A new connection, on which the ticket has been presented."""
    c = tc.Turn(server, nonce=nonce)
    answer = c.ask(tc.REFRESH, (TICKET, ticket))
    assert answer.code == code
    return c, answer


def peer_addr(at):
    return (tc.PEER, lambda tid: tc.xor_addr(*at[:2], tid))


def udp_peer(host):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, 0))
    s.settimeout(TIMEOUT_S)
    return s


def relays_of(answer):
    """Every XOR-RELAYED-ADDRESS; Message keeps one."""
    out, at = [], 20
    while at < len(answer.raw):
        code, n = struct.unpack(">HH", answer.raw[at:at + 4])
        if code == tc.RELAYED:
            out.append(tc.read_addr(answer.raw[at + 4:at + 4 + n], answer.tid))
        at += 4 + n + -n % 4
    return out


@pytest.mark.parametrize("host", [EDGE4, EDGE6])
def test_one_allocation_reaches_peers_of_both_families(net, edge, host):
    def work():
        c = tc.Turn((host, PORT))
        relays = relays_of(begin(c, tc.UDP, (ALSO, IP6)))
        assert [r[0] for r in relays] == [EDGE4, EDGE6]
        at = session(edge)
        assert at["relay"].startswith(EDGE4) and at["relay2"].startswith(f"[{EDGE6}]")
        for i, at in enumerate([PEER4, PEER6]):
            peer = udp_peer(at)
            bind = (CHANNEL_NUMBER, struct.pack(">HH", 0x4000 + i, 0))
            assert c.ask(tc.CHANNEL, bind, peer_addr(peer.getsockname())).code == 0
            c.s.sendall(struct.pack(">HH", 0x4000 + i, 4) + b"ping")
            data, relay = peer.recvfrom(100)
            assert (data, relay[:2]) == (b"ping", relays[i])
            peer.sendto(b"pong", relay)
            assert c.exactly(8) == struct.pack(">HH", 0x4000 + i, 4) + b"pong"
        lifetime0 = (tc.LIFETIME, struct.pack(">I", 0))
        assert c.ask(tc.REFRESH, lifetime0, (FAMILY, IP6)).code == 0
        assert "relay2" not in session(edge)
        assert c.ask(tc.REFRESH, (FAMILY, IP6)).code == 443
        assert c.ask(tc.REFRESH).code == 0
    inside(net, work)
    assert edge.wait_event("relay-end")["why"] == "released"


def test_tcp_relays_of_both_families(net, edge):
    def work():
        c = tc.Turn((EDGE4, PORT))
        relays = relays_of(begin(c, tc.TCP, (ALSO, IP6)))
        for host, relay in zip([PEER4, PEER6], relays):
            assert c.permit(host) == 0
            peer = socket.create_connection(relay, TIMEOUT_S, source_address=(host, 0))
            cid = c.recv().attrs[tc.CONNECTION_ID]
            data = tc.Turn((EDGE6, PORT), nonce=c.nonce)
            assert data.ask(tc.CONNECTION_BIND, (tc.CONNECTION_ID, cid)).code == 0
            peer.sendall(b"hello")
            assert data.exactly(5) == b"hello"
    inside(net, work)


@pytest.mark.parametrize("there", [EDGE4, EDGE6])
def test_an_allocation_follows_its_client(net, edge, there):
    def work():
        c, peer = tc.Turn((EDGE4, PORT)), udp_peer(PEER4)
        answer = begin(c, tc.UDP, (TICKET, b""))
        relay = relays_of(answer)[0]
        bind = (CHANNEL_NUMBER, struct.pack(">HH", 0x4000, 0))
        assert c.ask(tc.CHANNEL, bind, peer_addr(peer.getsockname())).code == 0
        new, answer = moved((there, PORT), answer.attrs[TICKET], c.nonce)
        peer.sendto(b"old1", relay)  # until the new one is used
        assert c.exactly(8)[4:] == b"old1"
        new.s.sendall(struct.pack(">HH", 0x4000, 4) + b"here")
        assert peer.recv(100) == b"here"
        peer.sendto(b"new1", relay)
        assert new.exactly(8)[4:] == b"new1"
        assert c.s.recv(1) == b""  # the server closed it
        assert session(edge)["client"].endswith(f":{new.s.getsockname()[1]}")
        # And the connection may go first.
        ticket = answer.attrs[TICKET]
        new.close()
        edge.wait_event("away")
        assert session(edge)["away"] is True
        again, _ = moved((EDGE4, PORT), ticket, c.nonce)
        peer.sendto(b"new2", relay)
        assert again.exactly(8)[4:] == b"new2"
        moved((EDGE4, PORT), bytes(32), c.nonce, 400)
    inside(net, work)
    assert edge.wait_event("move")["was"].startswith("127.0.0.1:")


ROWS = {"udp": [], "udp-send": ["-s"], "tcp": ["-t"], "tcp-relay": ["-T"]}


@pytest.mark.skipif(not shutil.which("turnutils_uclient"), reason="needs Debian's coturn")
@pytest.mark.parametrize("row", ROWS)
def test_uclient_moves(net, edge, row):
    peer = Program(shutil.which("turnutils_peer"), ["-L", PEER4, "-p", PEER_PORT],
                   preexec_fn=net.join)
    try:
        got = subprocess.run(
            ["turnutils_uclient", "-M", "-u", "turn", "-w", "secret", "-p", str(PORT), "-n", "5",
             "-e", PEER4, "-r", str(PEER_PORT), *ROWS[row], EDGE4], capture_output=True, text=True,
            timeout=3 * TIMEOUT_S, preexec_fn=net.join)
    finally:
        peer.process.kill()
        peer.wait()
    text = got.stdout + got.stderr
    assert got.returncode == 0 and "Total lost packets 0 (0.000000%)" in text, text
    edge.wait_event("move")

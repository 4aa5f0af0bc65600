"""causeway-edge and TCP relays (RFC 6062): both directions, order, backpressure, refusals."""
import contextlib
import hashlib
import select
import socket
import subprocess
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S

pytestmark = pytest.mark.sanitized
EDGE, PEER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def edge(programs):
    """start(*options): the edge's address, with loopback peers allowed."""
    def start(*more, allow="127.0.0.0/8"):
        allowed = ["--peer-allow", allow] if allow else []
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG",
                     "--user",
                     "turn:secret", "--user", "other:secret2", "--log", "json", *allowed, *more)
        start.program = p
        return EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    return start


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.enter_context(contextlib.closing(thing))


def peer_to(relay, opened, host=PEER):
    return opened(socket.create_connection(relay, TIMEOUT_S, source_address=(host, 0)))


def attempt_of(control):
    m = control.recv()
    assert (m.method, m.cls) == (tc.CONNECTION_ATTEMPT, 1) and m.signed_by(control.key)
    return m


def bound(server, control, cid, opened, **other):
    data = opened(tc.Turn(server, nonce=control.nonce, **other))
    return data, data.ask(tc.CONNECTION_BIND, (tc.CONNECTION_ID, cid))


def joined(server, opened, *, host=PEER):
    """(control, the peer's socket, the client's data connection), all the way."""
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.permit(host) == 0
    peer = peer_to(relay, opened, host)
    m = attempt_of(control)
    assert tc.read_addr(m.attrs[tc.PEER], m.tid) == peer.getsockname()
    data, answer = bound(server, control, m.attrs[tc.CONNECTION_ID], opened)
    assert answer.code == 0
    return control, peer, data


def read_all(sock):
    got = b""
    while more := sock.recv(65536):
        got += more
    return got


def test_what_the_peer_says_first_is_kept_in_order(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.permit(PEER) == 0
    peer = peer_to(relay, opened)
    early = bytes(range(256)) * 400
    peer.sendall(early)
    data, answer = bound(server, control, attempt_of(control).attrs[tc.CONNECTION_ID], opened)
    assert answer.code == 0
    peer.sendall(b"late")
    assert data.exactly(len(early) + 4) == early + b"late"
    data.s.sendall(b"back")
    assert peer.recv(4) == b"back"


def test_bytes_behind_connection_bind_reach_the_peer(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.permit(PEER) == 0
    peer = peer_to(relay, opened)
    cid = attempt_of(control).attrs[tc.CONNECTION_ID]
    data = opened(tc.Turn(server, nonce=control.nonce))
    # One segment: the request, and at once what is for the peer. It looks like STUN, too.
    other = opened(tc.Turn(server))
    sent = []
    data_socket, data.s = data.s, type("Tap", (), {"sendall": lambda _, b: sent.append(b)})()
    data.send(tc.CONNECTION_BIND, [(tc.CONNECTION_ID, cid)])
    data.s = data_socket
    data.s.sendall(sent[0] + sent[0])
    assert data.recv().code == 0
    other.s, taken = peer, sent[0]
    assert other.exactly(len(taken)) == taken


def test_half_close_is_carried_through(edge, opened):
    _, peer, data = joined(edge(), opened)
    peer.sendall(b"request")
    peer.shutdown(socket.SHUT_WR)
    assert read_all(data.s) == b"request"
    data.s.sendall(b"answer")
    data.s.shutdown(socket.SHUT_WR)
    assert read_all(peer) == b"answer"


def test_connect_goes_out_from_the_relay_itself(edge, opened):
    server = edge()
    with socket.create_server((PEER, 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        control = opened(tc.Turn(server))
        relay = control.allocate()
        answer = control.connect_to(*listener.getsockname())
        assert answer.code == 0
        peer, address = listener.accept()
        opened(peer)
        assert address == relay
        peer.sendall(b"early")
        assert control.connect_to(*listener.getsockname()).code == 446
        data, bind = bound(server, control, answer.attrs[tc.CONNECTION_ID], opened)
        assert bind.code == 0 and data.exactly(5) == b"early"
        data.s.sendall(b"to peer")
        assert peer.recv(7) == b"to peer"


def test_connect_to_a_closed_port_is_answered_447(edge, opened):
    server = edge()
    with socket.create_server((PEER, 0)) as s:
        closed = s.getsockname()
    control = opened(tc.Turn(server))
    control.allocate()
    assert control.connect_to(*closed).code == 447


def pattern(n, seed):
    block = hashlib.sha512(seed).digest() * 1024
    return (block * (n // len(block) + 1))[:n]


@pytest.mark.parametrize("way", ["to client", "to peer"])
def test_a_reader_that_waits_blocks_the_sender_and_loses_nothing(edge, opened, way):
    _, peer, data = joined(edge(), opened)
    source, sink = (peer, data.s) if way == "to client" else (data.s, peer)
    total = 40 * 1024 * 1024
    text = memoryview(pattern(total, way.encode()))
    source.setblocking(False)
    sent = 0
    # Nobody reads: the sender stops when every buffer on the way is full.
    while sent < total and select.select([], [source], [], 1.0)[1]:
        sent += source.send(text[sent:sent + 65536])
    assert sent < 30 * 1024 * 1024, "the edge takes all it gets, whether it is read or not"
    digest, got = hashlib.sha256(), 0
    while got < total:
        readable, writable, _ = select.select([sink], [source] if sent < total else [], [],
                                              TIMEOUT_S)
        assert readable or writable, f"stuck after {got} bytes"
        if writable:
            sent += source.send(text[sent:sent + 65536])
        if readable:
            part = sink.recv(262144)
            assert part
            digest.update(part)
            got += len(part)
    assert digest.digest() == hashlib.sha256(text).digest()


def test_connection_bind_is_for_the_right_id_and_user_only(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.permit(PEER) == 0
    peer_to(relay, opened)
    cid = attempt_of(control).attrs[tc.CONNECTION_ID]
    wrong = bytes([cid[0], cid[1], cid[2], cid[3] ^ 1])
    assert bound(server, control, wrong, opened)[1].code == 400
    other = dict(user="other", password="secret2")
    assert bound(server, control, cid, opened, **other)[1].code == 441
    assert bound(server, control, cid, opened, password="guess")[1].code == 401
    assert control.ask(tc.CONNECTION_BIND, (tc.CONNECTION_ID, cid)).code == 400
    assert bound(server, control, cid, opened)[1].code == 0
    assert bound(server, control, cid, opened)[1].code == 400, "bound a second time"


def refused(relay, host=PEER):
    with socket.create_connection(relay, TIMEOUT_S, source_address=(host, 0)) as s:
        try:
            return s.recv(1) == b""
        except ConnectionResetError:
            return True


def test_peers_without_permission_are_turned_away(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.permit("127.0.0.4") == 0
    assert refused(relay)
    edge.program.wait_event("deny", why="no permission")


def test_accept_any_asks_for_no_permission_but_for_the_policy(edge, opened):
    server = edge("--tcp-accept", "any", "--peer-deny", "127.0.0.5/32")
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert refused(relay, "127.0.0.5")
    peer_to(relay, opened)
    attempt_of(control)


@pytest.mark.parametrize("host, code", [
    ("127.0.0.1", 403), ("0.0.0.0", 403), ("10.0.0.1", 403), ("169.254.169.254", 403),
    ("192.168.1.1", 403), ("224.0.0.1", 403), (EDGE, 403),
    ("::1", 443), ("::ffff:127.0.0.1", 443), ("64:ff9b::7f00:1", 443)])
def test_special_addresses_are_refused(edge, opened, host, code):
    server = edge(allow=None)
    control = opened(tc.Turn(server))
    control.allocate()
    assert control.connect_to(host, server[1]).code == code
    assert control.permit(host) == code


@pytest.mark.parametrize("host", ["::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
                                  "2002:7f00:1::", "::127.0.0.1", "fe80::1", "fd00::1", "ff02::1"])
def test_special_ipv6_addresses_are_refused(edge, opened, host):
    server = edge("--relay-address", "::1", allow="127.0.0.0/8")
    control = opened(tc.Turn(server))
    want = [(tc.TRANSPORT, b"\6\0\0\0"), (0x17, b"\2\0\0\0")]
    control.nonce = control.ask(tc.ALLOCATE, *want, signed=False).attrs[tc.NONCE]
    assert control.ask(tc.ALLOCATE, *want).code == 0
    assert control.connect_to(host, server[1]).code == 403


def test_own_listener_is_refused_whatever_is_allowed(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    relay = control.allocate()
    assert control.connect_to(*server).code == 403
    assert control.connect_to(*relay).code == 403
    assert control.permit(EDGE) == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "127.9.9.9"])
def test_a_wildcard_listener_is_no_peer_at_any_address(programs, opened, host):
    p = programs("edge", "--listen", "0.0.0.0:0", "--relay-address", EDGE,
                 "--realm", "TANDBERG",
                 "--user", "turn:secret", "--peer-allow", "0.0.0.0/0", "--log", "json")
    port = int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    control = opened(tc.Turn((EDGE, port)))
    control.allocate()
    assert control.connect_to(host, port).code == 403


def test_a_busy_client_does_not_fill_the_log(edge, opened):
    server = edge()
    control = opened(tc.Turn(server))
    control.allocate()
    want = (tc.PEER, lambda tid: tc.xor_addr(PEER, 0, tid))
    begun, rounds = time.monotonic(), 3000
    for _ in range(rounds // 50):
        for _ in range(50):
            control.send(tc.PERMISSION, [want])
        for _ in range(50):
            assert control.recv().code == 0
    control.close()
    elapsed = time.monotonic() - begun
    lines = [e for e in edge.program.events if e["event"] == "permission"]
    assert 0 < len(lines) <= 200 * (elapsed + 2)
    assert len(lines) < rounds or elapsed > 10


def test_the_end_of_the_control_connection_ends_everything(edge, opened):
    control, peer, data = joined(edge(), opened)
    control.close()
    with contextlib.suppress(ConnectionResetError):
        assert data.s.recv(1) == b""
    with contextlib.suppress(ConnectionResetError):
        assert peer.recv(1) == b""
    edge.program.wait_event("release")


@pytest.mark.parametrize("text, words", [
    ("listen = 127.0.0.1\nuser = a:b\n", ["edge.conf:1", "listen"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nrelay-ports = 5-x\n", ["edge.conf:3", "relay-ports"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\npeer-allow = 10.0.0.1/8\n",
     ["edge.conf:3", "peer-allow"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nno-such = 1\n", ["edge.conf:3", "no-such"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nuser = a:c\n", ["user", "twice"]),
    ("listen = 127.0.0.1:3478\n", ["user"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nexternal-address = 2001:db8::1\n",
     ["edge.conf:3", "external-address"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nexternal-address = 0.0.0.0\n",
     ["edge.conf:3", "external-address"]),
    ("listen = 127.0.0.1:3478\nuser = a:b\nrelay-ports = 3000-4000\nrelay-to-relay = on\n",
     ["edge.conf:1", "relay-to-relay"]),
])
def test_check_names_file_line_and_key(build, tmp_path, text, words):
    conf = tmp_path / "edge.conf"
    conf.write_text(text)
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 2
    assert all(w in got.stderr for w in words), got.stderr


def test_a_relay_address_that_is_not_ours_is_named_at_the_start(programs):
    p = programs("edge", "--listen", f"{EDGE}:0", "--user", "a:b",
                 "--relay-address",
                 "203.0.113.9", "--log", "json")
    assert p.wait() == 1
    p.wait_event("relay-address-failed", addr="203.0.113.9")


def test_check_passes_a_right_one_and_reads_the_user_file(build, tmp_path):
    (tmp_path / "users").write_text("# people\nturn:secret\n\nother:s:e\n")
    conf = tmp_path / "edge.conf"
    conf.write_text("listen = 127.0.0.1:3478\nuser-file = users\n")
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 0, got.stderr
    (tmp_path / "users").write_text("turn:secret\nnonsense\n")
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 2 and "users:2" in got.stderr

"""causeway-edge over TLS: beside plain TCP on one port, and joined to plain peers (RFC 6062)."""
import contextlib
import hashlib
import select
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, make_cert, wait_until

pytestmark = pytest.mark.sanitized
EDGE, PEER = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, cert):
    """start(*options): the edge's address; the certificate is `cert`."""
    def start(*more, cert=cert):
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG",
                     "--user",
                     "turn:secret", "--peer-allow", "127.0.0.0/8", "--log", "json",
                     "--tls-cert", cert[0], "--tls-key", cert[1], *more)
        start.program = p
        return EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    return start


@pytest.fixture
def tls(cert):
    context = ssl.create_default_context(cafile=cert[0])
    context.set_alpn_protocols(["stun.turn"])
    return context


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.enter_context(contextlib.closing(thing))


def joined(server, opened, control_tls, data_tls, early=b""):
    """(control, the peer's socket, the client's data connection); `early` is sent by the peer
    before the bind."""
    control = opened(tc.Turn(server, tls=control_tls))
    relay = control.allocate()
    assert control.permit(PEER) == 0
    peer = opened(socket.create_connection(relay, TIMEOUT_S, source_address=(PEER, 0)))
    attempt = control.recv()
    assert attempt.method == tc.CONNECTION_ATTEMPT
    peer.sendall(early)
    data = opened(tc.Turn(server, nonce=control.nonce, tls=data_tls))
    cid = attempt.attrs[tc.CONNECTION_ID]
    assert data.ask(tc.CONNECTION_BIND, (tc.CONNECTION_ID, cid)).code == 0
    return control, peer, data


def pattern(n, seed):
    block = hashlib.sha512(seed).digest() * 1024
    return (block * (n // len(block) + 1))[:n]


def exchange(left, right, n):
    """n bytes each way, compared; at the same time where the sockets are plain. One TLS session
    must not be used by two threads at once: OpenSSL's objects have no lock of their own."""
    wrong = []

    def send(sock, seed):
        sock.sendall(pattern(n, seed))

    def read(sock, seed):
        got = bytearray()
        while len(got) < n and (more := sock.recv(65536)):
            got += more
        if got != pattern(n, seed):
            wrong.append(f"{seed}: {len(got)} bytes")

    def together(*jobs):
        work = [threading.Thread(target=f, args=a, daemon=True) for f, a in jobs]
        for t in work:
            t.start()
        for t in work:
            t.join(3 * TIMEOUT_S)
        assert not any(t.is_alive() for t in work) and not wrong, wrong

    there = ((send, (left, b"left")), (read, (right, b"left")))
    back = ((send, (right, b"right")), (read, (left, b"right")))
    if any(isinstance(s, ssl.SSLSocket) for s in (left, right)):
        together(*there)
        together(*back)
    else:
        together(*there, *back)


@pytest.mark.parametrize("data_tls", [True, False], ids=["data-tls", "data-plain"])
@pytest.mark.parametrize("control_tls", [True, False], ids=["control-tls", "control-plain"])
def test_five_megabytes_each_way_and_what_came_before_the_bind(edge, opened, tls, control_tls,
                                                               data_tls):
    early = bytes(range(256)) * 400
    _, peer, data = joined(edge(), opened, control_tls and tls, data_tls and tls, early)
    assert data.exactly(len(early)) == early
    exchange(data.s, peer, 5 * 1024 * 1024)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_carry_half_close_from_the_client(edge, opened, tls, version):
    tls.minimum_version = tls.maximum_version = version
    _, peer, data = joined(edge(), opened, tls, tls)
    assert data.s.version() == version.name.replace("_", ".")
    data.s.sendall(b"the last words")
    # close_notify, and no waiting for the answer; Python's unwrap() would wait.
    data.s.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        data.s.unwrap()
    peer.settimeout(TIMEOUT_S)
    got = b""
    while more := peer.recv(100):
        got += more
    assert got == b"the last words"


def test_half_close_of_the_peer_is_close_notify_and_the_way_back_stays_open(edge, opened, tls):
    _, peer, data = joined(edge(), opened, tls, tls)
    data.s.suppress_ragged_eofs = False  # an end without close_notify raises
    peer.sendall(b"request")
    peer.shutdown(socket.SHUT_WR)
    assert data.exactly(7) == b"request"
    assert data.s.recv(1) == b""
    data.s.sendall(b"answer")
    assert peer.recv(100) == b"answer"


def test_a_cut_stream_ends_the_peers_after_all_that_came(edge, opened, tls):
    _, peer, data = joined(edge(), opened, tls, tls)
    data.s.sendall(pattern(300000, b"cut"))
    # FIN without close_notify.
    socket.socket.shutdown(data.s, socket.SHUT_WR)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while more := peer.recv(65536):
            got += more
    assert got == pattern(300000, b"cut")
    edge.program.wait_event("close")


@pytest.mark.parametrize("way", ["to client", "to peer"])
def test_a_reader_that_waits_blocks_the_sender_and_loses_nothing(edge, opened, tls, way):
    _, peer, data = joined(edge(), opened, tls, tls)
    source, sink = (peer, data.s) if way == "to client" else (data.s, peer)
    total, sent = 40 * 1024 * 1024, 0
    text = memoryview(pattern(total, way.encode()))
    source.setblocking(False)

    def send_some():
        try:
            return source.send(text[sent:sent + 16384])
        except (ssl.SSLWantWriteError, BlockingIOError):
            return 0
    # Nobody reads: the sender stops when every buffer on the way is full.
    while sent < total and select.select([], [source], [], 1.0)[1]:
        sent += send_some()
    assert sent < 30 * 1024 * 1024, "the edge takes all it gets, whether it is read or not"
    rest = threading.Thread(target=lambda: (source.settimeout(TIMEOUT_S),
                                            source.sendall(text[sent:])), daemon=True)
    rest.start()
    digest, got = hashlib.sha256(), 0
    sink.settimeout(TIMEOUT_S)
    while got < total:
        part = sink.recv(262144)
        assert part, f"ended after {got} bytes"
        digest.update(part)
        got += len(part)
    rest.join(TIMEOUT_S)
    assert digest.digest() == hashlib.sha256(text).digest()


def s_client(server, *options):
    return subprocess.run(["openssl", "s_client", "-connect", f"{server[0]}:{server[1]}", *options],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT_S)


def test_alpn(edge):
    server = edge()
    assert "ALPN protocol: stun.turn" in s_client(server, "-alpn", "h2,stun.turn").stdout
    got = s_client(server)
    assert got.returncode == 0 and "No ALPN negotiated" in got.stdout
    # RFC 7301 3.2: who wants something else only is told so.
    got = s_client(server, "-alpn", "http/1.1")
    assert got.returncode != 0 and "no application protocol" in got.stderr
    edge.program.wait_event("tls-failed")


def test_old_tls_is_refused(edge):
    got = s_client(edge(), "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert got.returncode != 0


def test_plain_and_tls_come_in_pieces_to_one_port(edge, opened, tls):
    server = edge()
    plain = opened(tc.Turn(server))
    secure = opened(tc.Turn(server, tls=tls))
    assert secure.s.selected_alpn_protocol() == "stun.turn"
    for client in (plain, secure):
        assert client.ask(tc.BINDING, signed=False).code == 0
    # The first byte alone does not say which it is.
    bio_in, bio_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    shake = tls.wrap_bio(bio_in, bio_out, server_hostname=EDGE)
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try:
            shake.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in bio_out.read():
                s.send(bytes([byte]))
            bio_in.write(s.recv(65536))
    assert shake.version() == "TLSv1.3"


@pytest.mark.parametrize("first", [b"\x80 no STUN", b"\x16\x04abc" * 9,
                                   b"\x16\x03\x01\xff\xff" + b"x" * 70000,
                                   b"\x16\x03\x01\0\x05\x01\0\xff\xff\xff"])
def test_what_is_neither_is_closed(edge, opened, first):
    server = edge()
    s = opened(socket.create_connection(server, TIMEOUT_S))
    with contextlib.suppress(ConnectionError):
        s.sendall(first)
        while s.recv(100):  # an alert may come
            pass
    assert opened(tc.Turn(server)).ask(tc.BINDING, signed=False).code == 0


def test_who_says_nothing_is_closed(edge, opened, tls):
    server = edge("--idle", "5")
    begun = time.monotonic()
    silent = opened(socket.create_connection(server, TIMEOUT_S))
    up = opened(tls.wrap_socket(socket.create_connection(server, TIMEOUT_S),
                                server_hostname="turn.test"))
    half = opened(socket.create_connection(server, TIMEOUT_S))
    half.sendall(b"\x16\x03\x01")
    for s in (silent, up, half):
        with contextlib.suppress(ConnectionError):
            assert s.recv(1) == b""
    assert time.monotonic() - begun > 4


def test_handshakes_of_one_address_are_limited(edge, opened, tls):
    server = edge()
    halves = [opened(socket.create_connection(server, TIMEOUT_S)) for _ in range(64)]
    for s in halves:
        s.sendall(b"\x16\x03\x01")
    refused = opened(socket.create_connection(server, TIMEOUT_S))

    def is_refused():
        with contextlib.suppress(ConnectionError):
            refused.sendall(b"\x16\x03\x01")
            return refused.recv(1) == b""
        return True
    assert is_refused()
    edge.program.wait_event("door-refused", why="too many handshakes from one address")
    for s in halves:
        s.close()

    def passes():
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            tls.wrap_socket(socket.create_connection(server, TIMEOUT_S),
                            server_hostname="turn.test").close()
            return True
        return False
    wait_until("the limit is free again", passes)


def test_reload_brings_a_new_certificate_and_drops_nothing(edge, opened, tls, tmp_path):
    first = make_cert(tmp_path, "first")
    server = edge(cert=first)
    old = ssl.create_default_context(cafile=first[0])
    _, peer, data = joined(server, opened, old, old)
    cert, key = make_cert(tmp_path, "second")
    first[1].write_bytes(key.read_bytes())
    edge.program.process.send_signal(signal.SIGHUP)  # the files do not match now
    assert "cannot use" in edge.program.wait_event("reload-failed")["why"]
    opened(tc.Turn(server, tls=old))
    first[0].write_bytes(cert.read_bytes())
    edge.program.process.send_signal(signal.SIGHUP)
    edge.program.wait_event("reloaded")
    with pytest.raises(ssl.SSLCertVerificationError):
        tc.Turn(server, tls=old)
    opened(tc.Turn(server, tls=ssl.create_default_context(cafile=cert)))
    exchange(data.s, peer, 100000)


@pytest.mark.parametrize("options, words", [
    (["cert"], ["tls-cert", "tls-key go together"]),
    (["cert", "other-key"], ["cannot use", "other.key"]),
    (["missing", "key"], ["cannot use the certificate", "missing.pem"]),
    (["key", "key"], ["cannot use the certificate"])])
def test_check_opens_the_files_and_compares_them(build, tmp_path, cert, options, words):
    tmp_path /= "d" * 80  # the name at the path's end is shown all the same
    tmp_path.mkdir()
    files = {"cert": cert[0], "key": cert[1], "missing": tmp_path / "missing.pem",
             "other-key": make_cert(tmp_path, "other")[1]}
    text = "listen = 127.0.0.1:3478\nuser = a:b\n"
    for name, value in zip(("tls-cert", "tls-key"), options):
        text += f"{name} = {files[value]}\n"
    conf = tmp_path / "edge.conf"
    conf.write_text(text)
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 2
    assert all(w in got.stderr for w in ["edge.conf:3", *words]), got.stderr

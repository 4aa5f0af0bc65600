"""causeway-edge and what is no proper message: it goes on answering, and holds nothing for it."""
import contextlib
import os
import random
import re
import select
import socket
import ssl
import struct
import subprocess

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, make_cert, wait_until

pytestmark = pytest.mark.sanitized
EDGE = "127.0.0.2"
METHODS = [tc.BINDING, tc.ALLOCATE, tc.REFRESH, 6, tc.PERMISSION, tc.CHANNEL, tc.CONNECT,
           tc.CONNECTION_BIND]
ATTRS = [tc.USERNAME, tc.INTEGRITY, tc.ERROR, 0xC, tc.LIFETIME, tc.PEER, 0x13, tc.REALM, tc.NONCE,
         0x17, 0x18, tc.TRANSPORT, 0x1A, 0x1C, 0x1D, 0x1E, 0x22, tc.CONNECTION_ID, 0x8000, 0x8002,
         0x8030, tc.FINGERPRINT, 0x7FFF]


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, cert):
    # Memory that the sanitizer sets aside when it is freed would count as well.
    quiet = os.environ["ASAN_OPTIONS"] + ":quarantine_size_mb=1"
    p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user", "turn:secret",
                 "--peer-allow", "127.0.0.0/8", "--log", "json", "--max-accepts", "0",
                 "--tls-cert", cert[0], "--tls-key", cert[1], env=os.environ | {"ASAN_OPTIONS": quiet})
    return p, (EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1]))


def proper(rng):
    """A request with some attributes, sizes and values as they come."""
    body = b""
    for _ in range(rng.randrange(6)):
        n = rng.choice([0, 1, 4, 8, 20, 32, rng.randrange(200)])
        body += tc.attr(rng.choice(ATTRS), rng.randbytes(n))
    method = rng.choice(METHODS)
    head = struct.pack(">HHI", method & 15 | rng.choice([0, 0, 0, 0x10, 0x100, 0x110]), len(body),
                       tc.COOKIE)
    return head + rng.randbytes(12) + body


def improper(rng):
    m = bytearray(proper(rng))
    how = rng.randrange(5)
    if how == 0:
        return bytes(m[:rng.randrange(len(m))])
    if how == 1:
        for _ in range(1 + rng.randrange(8)):
            m[rng.randrange(len(m))] ^= 1 << rng.randrange(8)
    elif how == 2:
        m[2:4] = struct.pack(">H", rng.choice([0, 1, 3, 4, 0x7FFC, 0xFFFF, rng.randrange(65536)]))
    elif how == 3:  # the first byte says ChannelData, TLS, DTLS, PROXY or nothing at all
        m = bytearray([rng.choice([0x40, 0x4F, 0x16, 0x14, 0x3F, 0x50, 0x0D, rng.randrange(256)])])
        m += rng.randbytes(rng.randrange(1400))
    return bytes(m)


def answers(server, **more):
    with contextlib.closing(tc.Turn(server, **more)) as client:
        return client.ask(tc.BINDING, signed=False).code == 0 and client.allocate(tc.UDP)


def answers_udp(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        ask = struct.pack(">HHI", tc.BINDING, 0, tc.COOKIE) + os.urandom(12)

        def once():  # the queue may still be full of garbage
            s.sendto(ask, server)
            with contextlib.suppress(TimeoutError):
                return s.recv(2000)[8:20] == ask[8:]
        return wait_until("an answer over UDP", once)


def test_datagrams(edge):
    rng = random.Random(1)
    program, server = edge
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(server)
        for n in range(8000):
            s.send(improper(rng))
            if n % 1000 == 0:
                assert answers_udp(server)
        m = proper(rng) + tc.attr(tc.USERNAME, b"turn")
        for n in range(len(m)):
            s.send(m[:n])
    assert answers_udp(server) and answers(server)
    assert program.process.poll() is None


def send_stream(s, rng):
    """Until the edge has had enough of it, or we have."""
    with contextlib.suppress(OSError):
        for _ in range(40):
            s.sendall(improper(rng))
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass


def test_streams(edge):
    rng = random.Random(2)
    _, server = edge
    for n in range(300):
        with socket.create_connection(server, TIMEOUT_S) as s:
            send_stream(s, rng)
        if n % 50 == 0:
            assert answers(server)
    assert answers(server) and answers_udp(server)


def test_streams_inside_tls(edge, cert):
    rng = random.Random(3)
    _, server = edge
    tls = ssl.create_default_context(cafile=cert[0])
    for _ in range(60):
        with socket.create_connection(server, TIMEOUT_S) as plain:
            with contextlib.suppress(OSError), tls.wrap_socket(plain, server_hostname=EDGE) as s:
                send_stream(s, rng)
    assert answers(server, tls=tls) and answers(server)


def test_a_handshake_cut_or_changed_anywhere(edge, cert):
    rng = random.Random(4)
    _, server = edge
    tls = ssl.create_default_context(cafile=cert[0])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.wrap_bio(into, out, server_hostname=EDGE).do_handshake()
    hello = out.read()
    for n in range(0, len(hello), 7):
        changed = bytearray(hello)
        changed[n] ^= 1 << rng.randrange(8)
        for data in (hello[:n], bytes(changed), bytes(changed) + rng.randbytes(200)):
            with socket.create_connection(server, TIMEOUT_S) as s:
                s.sendall(data)
    assert answers(server, tls=tls)


class Association:
    """`openssl s_client`: what is written in one go is one record's."""

    def __init__(self, server):
        self.p = subprocess.Popen(
            ["openssl", "s_client", "-dtls1_2", "-quiet", "-connect", f"{server[0]}:{server[1]}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)

    def answers(self):
        """Asked again, as over UDP: s_client may have read the question together with what was
        before it, and so sent both as one."""
        ask = struct.pack(">HHI", tc.BINDING, 0, tc.COOKIE) + os.urandom(12)

        def once():
            self.p.stdin.write(ask)
            while select.select([self.p.stdout], [], [], 0.1)[0]:
                got = os.read(self.p.stdout.fileno(), 65536)
                assert got, "the association has ended"
                if ask[8:] in got:
                    return True
            return False
        return wait_until("an answer over DTLS", once)

    def send(self, data):
        self.p.stdin.write(data)
        return self.answers()

    def close(self):
        self.p.kill()
        self.p.communicate()


def test_messages_inside_dtls(edge):
    rng = random.Random(5)
    program, server = edge
    with contextlib.closing(Association(server)) as client:
        assert client.answers()
        for _ in range(80):
            assert client.send(improper(rng) or b"\0")
        m = proper(rng) + tc.attr(tc.USERNAME, b"turn")
        for n in range(1, len(m), 5):
            assert client.send(m[:n])
    assert answers_udp(server) and answers(server)
    assert program.process.poll() is None


def record(rng):
    """DTLS as far as its header says."""
    body = rng.randbytes(rng.choice([0, 1, 12, 25, rng.randrange(1300)]))
    if body and rng.randrange(2):  # a piece of a handshake's message, of any length and place
        body = bytes([rng.choice([1, 2, 3, 11, 16, 20, rng.randrange(256)])]) + body[1:]
    n = rng.choice([len(body), len(body), 0, 0xFFFF, rng.randrange(65536)])
    head = bytes([rng.choice([20, 21, 22, 22, 22, 23, 24, 25])]) + rng.choice(
        [b"\xfe\xfd", b"\xfe\xff", b"\xfe\xfc", rng.randbytes(2)])
    epoch = rng.choice([0, 0, 1, rng.randrange(65536)])
    return head + struct.pack(">HHIH", epoch, 0, rng.randrange(1 << 32), n) + body


def test_datagrams_that_begin_as_dtls(edge):
    rng = random.Random(6)
    program, server = edge
    with contextlib.closing(Association(server)) as client, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        assert client.answers()
        s.connect(server)
        for n in range(6000):
            s.send(b"".join(record(rng) for _ in range(rng.choice([1, 1, 1, 3])))[:1450])
            if n % 1000 == 0:
                assert answers_udp(server)
        whole = record(rng)
        for n in range(len(whole)):
            s.send(whole[:n])
        assert answers_udp(server) and client.answers()
    assert answers(server)
    assert program.process.poll() is None


def resident_kib(program):
    with open(f"/proc/{program.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def flood(server, first, n):
    """Three Allocates without credentials from each of `n` addresses."""
    ask = tc.attr(tc.TRANSPORT, bytes([tc.UDP, 0, 0, 0]))
    for i in range(first, first + n):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((f"127.{1 + i % 200}.{i // 200 % 250}.{1 + i % 250}", 0))
            for _ in range(3):
                s.sendto(struct.pack(">HHI", tc.ALLOCATE, len(ask), tc.COOKIE) + os.urandom(12) +
                         ask, server)


def test_a_flood_of_allocates_from_many_addresses_leaves_memory_flat(edge):
    program, server = edge
    flood(server, 0, 3000)
    assert answers_udp(server)
    before = resident_kib(program)
    flood(server, 3000, 15000)
    assert answers_udp(server)
    # 70 bytes kept of each address would be more.
    assert resident_kib(program) - before < 1024
    assert answers(server)
    program.wait_event("alloc")
    assert len([e for e in program.events if e.get("event") == "alloc"]) == 1

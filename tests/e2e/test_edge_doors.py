"""One TCP port for everything: what a connection is told by its first bytes, proxies that say who
their clients are, and a web server behind the same port."""
import contextlib
import ipaddress
import shutil
import socket
import ssl
import struct
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Program, free_port, make_cert, wait_until

pytestmark = pytest.mark.sanitized
EDGE, PEER = "127.0.0.2", "127.0.0.3"
XOR_MAPPED = 0x20


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, cert):
    """start(*options): the edge's address; the certificate is `cert`."""
    def start(*more, tls=True):
        files = ["--tls-cert", cert[0], "--tls-key", cert[1]] if tls else []
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user",
                     "turn:secret", "--peer-allow", "127.0.0.0/8", "--log", "json",
                     "--log-level", "debug", *files, *more)
        start.program = p
        return EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    return start


@pytest.fixture
def tls(cert):
    return ssl.create_default_context(cafile=cert[0])


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.enter_context(contextlib.closing(thing))


def v1(client, server="192.0.2.9:443"):
    (host, port), (to, to_port) = client.rsplit(":", 1), server.rsplit(":", 1)
    kind = "TCP6" if ":" in host else "TCP4"
    return f"PROXY {kind} {host} {to} {port} {to_port}\r\n".encode()


def v2(client, command=1, tlvs=b""):
    host, port = client.rsplit(":", 1)
    ip = ipaddress.ip_address(host)
    body = ip.packed + bytes(len(ip.packed)) + struct.pack(">HH", int(port), 443) + tlvs
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, 0x11 if ip.version == 4 else 0x21]) +
            struct.pack(">H", len(body)) + body)


def who(client):
    """The client's address as the edge sees it."""
    answer = client.ask(tc.BINDING, signed=False)
    assert answer.code == 0
    host, port = tc.read_addr(answer.attrs[XOR_MAPPED], answer.tid)
    return f"{host}:{port}"


HEADERS = [("v1", v1("198.51.100.7:4711"), "198.51.100.7:4711"),
           ("v1-ip6", v1("2001:db8::7:4711", "2001:db8::9:443"), "2001:db8::7:4711"),
           ("v1-mapped", v1("::ffff:198.51.100.7:4711", "2001:db8::9:443"), "198.51.100.7:4711"),
           ("v2", v2("198.51.100.7:4711"), "198.51.100.7:4711"),
           ("v2-ip6", v2("2001:db8::7:4711", tlvs=b"\x04\0\1x"), "2001:db8::7:4711")]


@pytest.mark.parametrize("inside", ["plain", "tls"])
@pytest.mark.parametrize("header, want", [h[1:] for h in HEADERS], ids=[h[0] for h in HEADERS])
def test_a_proxy_names_its_client(edge, opened, tls, header, want, inside):
    server = edge("--proxy-from", "127.0.0.1/32")
    client = opened(tc.Turn(server, first=header, tls=tls if inside == "tls" else None))
    assert who(client) == want
    client.allocate()
    shown = f"[{want.rsplit(':', 1)[0]}]:4711" if want.count(":") > 1 else want
    assert edge.program.wait_event("alloc")["client"] == shown
    assert edge.program.wait_event("proxied", client=shown)["proxy"].startswith("127.0.0.1:")


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2("198.51.100.7:4711", command=0)],
                         ids=["unknown", "local"])
def test_a_proxy_that_speaks_for_itself_is_the_client(edge, opened, header):
    client = opened(tc.Turn(edge("--proxy-from", "127.0.0.0/8"), first=header))
    host, port = client.s.getsockname()
    assert who(client) == f"{host}:{port}"


def test_the_header_may_come_in_pieces_and_with_what_follows(edge, opened, tls):
    server = edge("--proxy-from", "127.0.0.1/32")
    for header in (v1("198.51.100.7:4711"), v2("198.51.100.7:4711")):
        s = opened(socket.create_connection(server, TIMEOUT_S))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        binding = b"\0\1\0\0" + struct.pack(">I", tc.COOKIE) + b"x" * 12
        for byte in header[:-1]:
            s.send(bytes([byte]))
        s.sendall(header[-1:] + binding + binding)
        answers = b""
        while answers.count(b"x" * 12) < 2:
            more = s.recv(1000)
            assert more
            answers += more


def ends(sock):
    with contextlib.suppress(ConnectionError):
        while sock.recv(1000):
            pass
    return True


@pytest.mark.parametrize("header, why", [
    (b"\0\1\0\0" + bytes(16), "no PROXY header"),
    (b"\x16\3\1\0\5\1", "no PROXY header"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 5 66666\r\n", "broken PROXY header"),
    (b"PROXY " + b"x" * 200, "broken PROXY header"),
    (v2("198.51.100.7:4711", tlvs=b"\3\0\4abcd"), "broken PROXY header"),
    (v1("198.51.100.7:1") + v1("198.51.100.7:1"), "second PROXY header"),
    (v1("198.51.100.7:1") + b"SSH-2.0-x\r\n", "no known protocol")])
def test_a_proxy_that_does_not_keep_to_it_is_refused(edge, opened, header, why):
    server = edge("--proxy-from", "127.0.0.1/32", "--metrics", "127.0.0.1:0")
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(header)
    assert ends(s)
    edge.program.wait_event("door-refused", why=why)
    assert f'causeway_refusals_total{{reason="{why}"}} 1' in metrics(edge.program)


def metrics(program):
    host, port = program.wait_event("metrics-listening")["addr"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT_S) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while more := s.recv(65536):
            text += more
    return text.decode()


@pytest.mark.parametrize("networks", [[], ["--proxy-from", "127.0.0.9/32"]])
@pytest.mark.parametrize("header", [v1("198.51.100.7:4711"), v2("198.51.100.7:4711")],
                         ids=["v1", "v2"])
def test_nobody_else_may_name_a_client(edge, opened, header, networks):
    server = edge(*networks)
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(header + b"\0\1\0\0" + bytes(16))
    assert ends(s)
    edge.program.wait_event("door-refused", why="PROXY header from an address not in proxy-from")
    # And needs none.
    client = opened(tc.Turn(server))
    assert who(client) == "{}:{}".format(*client.s.getsockname())


def test_limits_count_the_proxied_address(edge, opened):
    """64 handshakes at once from one address; a proxy has many clients."""
    server = edge("--proxy-from", "127.0.0.1/32")
    for i in range(65):
        s = opened(socket.create_connection(server, TIMEOUT_S))
        s.sendall(v1(f"198.51.100.{i}:5") + b"\x16\3\1")
    same = [opened(socket.create_connection(server, TIMEOUT_S)) for _ in range(65)]
    for s in same:
        s.sendall(v1("203.0.113.1:5") + b"\x16\3\1")
    gone = edge.program.wait_event("door-refused", why="too many handshakes from one address")
    assert gone["client"] == "203.0.113.1:5"


DRIPS = [("silent", b""), ("stun", b"\0\1\0\x40\x21\x12\xa4\x42" + bytes(60)), ("proxy-1", b"PROXY TCP4 1.2.3.4"),
         ("proxy-2", v2("1.2.3.4:5")[:20]), ("tls", b"\x16\3\1\2\0\1\0\1\xfc" + bytes(100)),
         ("proxied", v1("1.2.3.4:5")), ("proxied-tls", v1("1.2.3.4:5") + b"\x16\3\1\2\0\1\0")]


@pytest.mark.parametrize("text", [d[1] for d in DRIPS], ids=[d[0] for d in DRIPS])
def test_who_drips_is_closed_in_time(edge, opened, text):
    """A byte now and then must not keep a place among the connections."""
    from_proxy = text.startswith((b"PROXY", b"\r\n"))
    server = edge("--first-message", "3", *(["--proxy-from", "127.0.0.1/32"] if from_proxy else []))
    s = opened(socket.create_connection(server, TIMEOUT_S))
    begun = time.monotonic()
    s.settimeout(0.2)
    at = 0
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < begun + TIMEOUT_S:
            s.sendall(text[at:at + 1])
            at += 1
            with contextlib.suppress(TimeoutError):
                if s.recv(100) == b"":
                    break
    assert 2.5 < time.monotonic() - begun < 10
    edge.program.wait_event("door-refused", why="no whole message in time")


def test_who_said_something_stays_longer(edge, opened, tls):
    server = edge("--first-message", "3", "--idle", "60")
    clients = [opened(tc.Turn(server)), opened(tc.Turn(server, tls=tls))]
    for c in clients:
        who(c)
    silent = opened(socket.create_connection(server, TIMEOUT_S))
    assert ends(silent)
    for c in clients:
        who(c)


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs Debian's haproxy")
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2",
                                    "send-proxy-v2 proxy-v2-options crc32c,unique-id"],
                         ids=["v1", "v2", "v2-tlvs"])
@pytest.mark.parametrize("inside", ["plain", "tls"])
def test_behind_haproxy(edge, opened, tls, tmp_path, option, inside):
    server = edge("--proxy-from", "127.0.0.1/32")
    front = free_port()
    conf = tmp_path / "haproxy.cfg"
    conf.write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend turn
    bind {PEER}:{front}
    unique-id-format x%rt
    default_backend edge
backend edge
    source 127.0.0.1
    server edge {EDGE}:{server[1]} {option}
""")
    proxy = Program(shutil.which("haproxy"), ["-db", "-f", conf])
    opened(type("Proxy", (), {"close": lambda _: proxy.stop()})())

    def is_up():
        with contextlib.suppress(OSError):
            socket.create_connection((PEER, front), TIMEOUT_S).close()
            return True
        return False
    wait_until("haproxy listens", is_up)
    client = opened(tc.Turn((PEER, front), tls=tls if inside == "tls" else None, name=EDGE))
    assert who(client) == "{}:{}".format(*client.s.getsockname())
    assert client.allocate()[0] == EDGE

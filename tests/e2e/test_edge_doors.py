"""One TCP port for everything: what a connection is told by its first bytes, proxies that say who
their clients are, and a web server behind the same port."""
import contextlib
import ipaddress
import queue
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Program, free_port, make_cert, wait_until

pytestmark = pytest.mark.sanitized
EDGE, PEER, WEB = "127.0.0.2", "127.0.0.3", "127.0.0.4"
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


DRIPS = {
    "silent": b"",
    "stun": b"\0\1\0\x40\x21\x12\xa4\x42" + bytes(60),
    "tls": b"\x16\3\1\2\0\1\0\1\xfc" + bytes(100),
    "proxy 1": b"PROXY TCP4 1.2.3.4",
    "proxy 2": v2("1.2.3.4:5")[:20],
    "proxied": v1("1.2.3.4:5"),
    "proxied tls": v1("1.2.3.4:5") + b"\x16\3\1\2\0\1\0"}


def test_who_drips_is_closed_in_time(edge, opened):
    """A byte now and then must not keep a place among the connections."""
    server = edge("--first-message", "3", "--proxy-from", "127.0.0.5/32")
    begun, left = time.monotonic(), {}
    for name in DRIPS:
        source = "127.0.0.5" if name.startswith("prox") else "127.0.0.1"
        left[name] = opened(socket.create_connection(server, TIMEOUT_S, (source, 0)))
    for at in range(TIMEOUT_S * 5):
        for name, s in list(left.items()):
            with contextlib.suppress(ConnectionError):
                s.sendall(DRIPS[name][at:at + 1])
        for s in select.select(left.values(), [], [], 0.2)[0]:
            name = next(n for n in left if left[n] is s)
            assert ends(s) and time.monotonic() - begun > 2.5, name
            del left[name]
        if not left:
            break
    assert not left
    assert time.monotonic() - begun < 10
    wait_until("each is logged", lambda: len(DRIPS) == sum(
        e["event"] == "door-refused" and e["why"] == "no whole message in time"
        for e in list(edge.program.events)))


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


class Upstream:
    """A TCP server that keeps what comes, and does with each connection what it is told."""

    def __init__(self, serve, tls=None):
        self.listener = socket.create_server((WEB, 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.serve, self.tls, self.n = serve, tls, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                s.settimeout(TIMEOUT_S)
                self.n += 1
                threading.Thread(target=self.run, args=(s,), daemon=True).start()

    def run(self, s):
        with contextlib.suppress(OSError), s:
            with self.tls.wrap_socket(s, server_side=True) if self.tls else s as inside:
                self.serve(inside)

    def close(self):
        self.listener.close()


def hello(s):
    """An HTTP server of one page."""
    if s.recv(65536).startswith(b"GET"):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nweb")


def echo(s):
    while more := s.recv(65536):
        s.sendall(more)
    s.sendall(b"the end")


@pytest.fixture(scope="module")
def web_cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("web"), "www.test")


@pytest.fixture
def web(opened, web_cert):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*web_cert)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return opened(Upstream(hello, context))


def whose(server, name, alpn):
    """Whose certificate a client gets that asks for this."""
    options = ["-servername", name] if name else ["-noservername"]
    options += ["-alpn", alpn] if alpn else []
    got = subprocess.run(["openssl", "s_client", "-connect", f"{server[0]}:{server[1]}", *options],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=TIMEOUT_S)
    found = re.search(r"subject=CN = (\S+)", got.stdout)
    return found and found[1]


WHOSE = [("turn.test", "stun.turn", "turn.test"), ("www.test", "stun.turn", "turn.test"),
         ("www.test", "h2,stun.turn", "turn.test"), ("www.test", "stun.nat-discovery", "turn.test"),
         (None, "stun.turn", "turn.test"),
         ("www.test", "h2,http/1.1", "www.test"), ("turn.test", "http/1.1", "www.test"),
         (None, "http/1.1", "www.test"),
         ("turn.test", None, "turn.test"), ("TURN.Test", None, "turn.test"),
         ("www.test", None, "www.test"), ("turn.test.www.test", None, "www.test"),
         (None, None, "turn.test")]


def test_names_and_protocols_choose_the_server(edge, web):
    server = edge("--web-upstream", web.address, "--tls-name", "turn.test")
    got = [(name, alpn, whose(server, name, alpn)) for name, alpn, _ in WHOSE]
    assert got == WHOSE


def test_without_names_no_protocol_means_turn(edge, web):
    server = edge("--web-upstream", web.address)
    assert whose(server, "www.test", None) == "turn.test"
    assert whose(server, "www.test", "h2") == "www.test"


def test_without_a_web_server_all_is_turn(edge):
    server = edge("--tls-name", "turn.test")
    assert whose(server, "www.test", None) == "turn.test"
    assert whose(server, "www.test", "h2") is None


def test_a_page_and_a_relay_over_one_port(edge, opened, web, web_cert, tls):
    server = edge("--web-upstream", web.address, "--tls-name", "turn.test")
    browser = ssl.create_default_context(cafile=web_cert[0])
    browser.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(server, TIMEOUT_S) as s, \
            browser.wrap_socket(s, server_hostname="www.test") as page:
        page.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert page.recv(1000).endswith(b"web")
    client = opened(tc.Turn(server, tls=tls, name="turn.test"))
    client.allocate()


def client_hello(name="www.test", alpn=("h2",)):
    context = ssl.create_default_context()
    context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def cut_up(record, size):
    body = record[5:]
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(record[:3] + struct.pack(">H", len(p)) + p for p in parts)


@pytest.mark.parametrize("first", [client_hello(), cut_up(client_hello(), 7)],
                         ids=["whole", "fragments"])
def test_bytes_and_half_close_pass_untouched(edge, opened, first):
    upstream = opened(Upstream(echo))
    server = edge("--web-upstream", upstream.address)
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = first + bytes(range(256)) * 4000
    for byte in first[:100]:
        s.send(bytes([byte]))
    rest = threading.Thread(target=lambda: (s.sendall(text[100:]), s.shutdown(socket.SHUT_WR)),
                            daemon=True)
    rest.start()
    s.settimeout(TIMEOUT_S)
    got = b""
    while more := s.recv(65536):
        got += more
    rest.join(TIMEOUT_S)
    assert got == text + b"the end"
    closed = edge.program.wait_event("web-closed")
    assert (closed["to_web"], closed["to_client"]) == (len(text), len(text) + 7)


def test_plain_http_goes_to_its_server(edge, opened):
    plain = opened(Upstream(hello))
    server = edge("--web-upstream-plain", plain.address, tls=False)
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(b"G")
    s.sendall(b"ET / HTTP/1.1\r\n\r\n")
    assert s.recv(1000).endswith(b"web")
    assert who(opened(tc.Turn(server)))


def test_http_without_a_server_for_it_is_refused(edge, opened):
    s = opened(socket.create_connection(edge(tls=False), TIMEOUT_S))
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ends(s)
    edge.program.wait_event("door-refused", why="HTTP without a web server here")


def test_the_web_server_is_told_the_client(edge, opened):
    heads = queue.Queue()
    upstream = opened(Upstream(lambda s: heads.put(s.makefile("rb").read(56))))
    server = edge("--web-upstream", upstream.address, "--web-upstream-proxy-protocol",
                  "--proxy-from", "127.0.0.1/32")
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(v2("198.51.100.7:4711") + client_hello())
    want = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 0, 0, 0, 0]) +
            struct.pack(">HH", 4711, 443))
    head = heads.get(timeout=TIMEOUT_S)
    assert head[:len(want)] == want
    assert head[len(want):len(want) + 3] == b"\x16\3\1"


def test_over_ip6(edge, opened):
    heads = queue.Queue()
    upstream = opened(Upstream(lambda s: heads.put(s.makefile("rb").read(56))))
    edge("--listen", "[::1]:0", "--web-upstream", upstream.address,
         "--web-upstream-proxy-protocol", "--proxy-from", "::1/128")
    edge.program.wait_event("ready")
    at = next(e["addr"] for e in edge.program.events
              if e["event"] == "listening" and e["addr"].startswith("[::1]"))
    server = "::1", int(at.rsplit(":", 1)[1])
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(b"PROXY UNKNOWN\r\n" + client_hello())
    one = bytes(15) + b"\1"
    want = (b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + one + one +
            struct.pack(">HH", s.getsockname()[1], server[1]) + b"\x16\3\1")
    assert heads.get(timeout=TIMEOUT_S)[:len(want)] == want
    assert who(opened(tc.Turn(server, first=v1("2001:db8::7:4711", "::1:5")))) == "2001:db8::7:4711"


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs Debian's nginx")
def test_beside_nginx(edge, opened, web_cert, tmp_path):
    """With its own certificate, and told who the client is."""
    port = free_port(host=WEB)
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"""
daemon off;
master_process off;
pid {tmp_path}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {tmp_path}/a;
    proxy_temp_path {tmp_path}/b;
    fastcgi_temp_path {tmp_path}/c;
    uwsgi_temp_path {tmp_path}/d;
    scgi_temp_path {tmp_path}/e;
    server {{
        listen {WEB}:{port} ssl http2 proxy_protocol;
        ssl_certificate {web_cert[0]};
        ssl_certificate_key {web_cert[1]};
        location / {{ return 200 "you are $proxy_protocol_addr:$proxy_protocol_port"; }}
    }}
}}
""")
    nginx = Program(shutil.which("nginx"), ["-c", conf, "-p", tmp_path])
    opened(type("Nginx", (), {"close": lambda _: nginx.stop()})())

    def is_up():
        with contextlib.suppress(OSError):
            socket.create_connection((WEB, port), TIMEOUT_S).close()
            return True
        return False
    wait_until("nginx listens", is_up)
    server = edge("--web-upstream", f"{WEB}:{port}", "--web-upstream-proxy-protocol")
    browser = ssl.create_default_context(cafile=web_cert[0])
    browser.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(server, TIMEOUT_S) as s:
        me = "{}:{}".format(*s.getsockname())
        with browser.wrap_socket(s, server_hostname="www.test") as page:
            page.sendall(b"GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
            text = b""
            while more := page.recv(1000):
                text += more
    assert text.endswith(b"you are " + me.encode())


def test_a_web_server_that_is_down(edge, opened, tls):
    server = edge("--web-upstream", f"{WEB}:{free_port(host=WEB)}")
    s = opened(socket.create_connection(server, TIMEOUT_S))
    s.sendall(client_hello())
    assert ends(s)
    assert edge.program.wait_event("web-failed")["why"] == "Connection refused"
    assert who(opened(tc.Turn(server, tls=tls)))


def test_its_connections_have_a_limit_and_an_end(edge, opened):
    upstream = opened(Upstream(lambda s: s.recv(1) and time.sleep(TIMEOUT_S)))
    server = edge("--web-upstream", upstream.address, "--max-web", "2", "--web-idle", "5",
                  "--metrics", "127.0.0.1:0", "--proxy-from", "127.0.0.1/32")

    def come(client):
        s = opened(socket.create_connection(server, TIMEOUT_S))
        s.sendall(v1(f"{client}:5") + client_hello())
        return s
    held = [come("198.51.100.1")]
    wait_until("it is connected", lambda: upstream.n == 1)
    assert ends(come("198.51.100.2"))
    edge.program.wait_event("door-refused", client="198.51.100.2:5",
                            why="too many connections to the web server from one network")
    held.append(come("203.0.113.1"))
    wait_until("it is connected", lambda: upstream.n == 2)
    assert ends(come("192.0.2.1"))
    edge.program.wait_event("door-refused", client="192.0.2.1:5",
                            why="too many connections to the web server")
    assert "causeway_web_connections_total 2" in metrics(edge.program)
    begun = time.monotonic()
    for s in held:
        assert ends(s)
    assert 3 < time.monotonic() - begun < 15
    wait_until("they are gone", lambda: "causeway_web_connections 0" in metrics(edge.program))


def test_no_relay_is_a_way_to_the_web_server(edge, opened, web):
    """It believes the edge's address, if it takes PROXY headers."""
    server = edge("--web-upstream", web.address)
    client = opened(tc.Turn(server))
    client.allocate()
    assert client.permit(WEB) == 403


@pytest.mark.parametrize("text, words", [
    ("web-upstream = 192.0.2.1:443\n", ["edge.conf:3: web-upstream: needs tls-cert"]),
    ("web-upstream-plain = 127.0.0.1:3478\n", ["edge.conf:3:", "listens itself"]),
    ("web-upstream-plain = 192.0.2.1:0\n", ["edge.conf:3:", "can be connected to"]),
    ("web-upstream-proxy-protocol = on\n", ["edge.conf:3:", "needs web-upstream or"]),
    ("relay-to-relay = on\nrelay-ports = 4000-5000\n[realm.x]\nuser = a:b\nlisten = [::1]:1\n"
     "listen = [::1]:4500\n", ["edge.conf:8: listen: port 4500"]),
    ("tls-name = turn.test\n", ["edge.conf:3: tls-name: needs tls-cert"]),
    ("tls-name = *.turn.test\n", ["edge.conf:3: tls-name: must be a host name"]),
    ("tls-name = turn.test.\n", ["edge.conf:3: tls-name:", "dot at its end"])])
def test_mistakes_are_named(build, tmp_path, text, words):
    conf = tmp_path / "edge.conf"
    conf.write_text("listen = 127.0.0.1:3478\nuser = a:b\n" + text)
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 2
    assert all(w in got.stderr for w in words), got.stderr

"""causeway-edge over DTLS, beside plain UDP on one port; the client is OpenSSL's."""
import contextlib
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, free_port, make_cert

pytestmark = pytest.mark.sanitized
EDGE, EDGE6, CLIENT, PEER = "127.0.0.2", "::1", "127.0.0.4", "127.0.0.3"


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test", EDGE)


@pytest.fixture
def edge(programs, cert, tmp_path):
    """start(*options): the edge's address."""
    def start(*more, **popen):
        start.control = tmp_path / "control"
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user",
                     "turn:secret", "--peer-allow", "127.0.0.0/8", "--log", "json", "--log-level",
                     "debug", "--tls-cert", cert[0], "--tls-key", cert[1], "--control",
                     start.control, *more, **popen)
        start.program = p
        return EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    return start


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.enter_context(contextlib.closing(thing))


def at(server):
    return f"[{server[0]}]:{server[1]}" if ":" in server[0] else f"{server[0]}:{server[1]}"


class Openssl:
    """`openssl s_client` as a socket: what is written in one go goes in one record."""

    def __init__(self, server, *options):
        self.p = subprocess.Popen(
            ["openssl", "s_client", "-dtls1_2", "-connect", at(server), "-quiet", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def sendall(self, data):
        assert os.write(self.p.stdin.fileno(), data) == len(data)

    def recv(self, n):
        assert select.select([self.p.stdout], [], [], TIMEOUT_S)[0], "nothing comes"
        return os.read(self.p.stdout.fileno(), n)

    def end(self):
        """close_notify, when it runs with -no_ign_eof."""
        self.p.stdin.close()
        self.p.stdin = None

    def close(self):
        self.p.kill()
        self.p.communicate()


class Turn(tc.Turn):
    def __init__(self, server, *options):
        self.s = Openssl(server, *options)
        self.user, self.realm, self.nonce = b"turn", b"TANDBERG", None
        self.key = tc.hashlib.md5(b"turn:TANDBERG:secret").digest()

    def bind_channel(self, number, host, port):
        return self.ask(tc.CHANNEL, (0xC, struct.pack(">HH", number, 0)),
                        (tc.PEER, lambda tid: tc.xor_addr(host, port, tid))).code


def s_client(server, *options):
    got = subprocess.run(["openssl", "s_client", "-dtls1_2", "-connect", at(server), *options],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=TIMEOUT_S)
    return got.stdout + got.stderr


def ctl(build, edge, *words):
    got = subprocess.run([build / "cmd/edge/causeway-edge", "ctl", "--control", edge.control,
                          *words, "--json"], capture_output=True, text=True, timeout=TIMEOUT_S)
    return json.loads(got.stdout)


@pytest.mark.parametrize("host", [EDGE, EDGE6])
def test_a_binding_says_where_it_came_from(edge, opened, host):
    server = edge()
    if host == EDGE6:
        extra = free_port(socket.SOCK_DGRAM)
        edge.program.stop()
        edge("--listen", f"[::1]:{extra}")
        server = (EDGE6, extra)
    client = opened(Turn(server))
    answer = client.ask(tc.BINDING, signed=False)
    seen = tc.read_addr(answer.attrs[0x20], answer.tid)
    assert answer.code == 0 and seen[0] == ("::1" if host == EDGE6 else "127.0.0.1")
    # The address is proven, so that the answer need not be terse.
    assert b"Causeway" in answer.attrs[0x8022]
    up = edge.program.wait_event("client", transport="dtls")
    assert up["listener"] == at(server) and up["client"].endswith(f":{seen[1]}")


@pytest.mark.parametrize("name", ["stun.turn", "stun.nat-discovery"])
def test_alpn(edge, name):
    assert f"ALPN protocol: {name}" in s_client(edge(), "-alpn", name)


def test_other_alpn_and_old_versions_are_refused(edge):
    server = edge()
    assert "no application protocol" in s_client(server, "-alpn", "webrtc")
    why = edge.program.wait_event("dtls-failed")
    assert why["listener"] == at(server) and "no application protocol" in why["why"]
    # DTLS 1.0 is not in Debian's policy either: the client's is switched off.
    old = subprocess.run(["openssl", "s_client", "-dtls1", "-cipher", "ALL:@SECLEVEL=0", "-connect",
                          at(server)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=TIMEOUT_S)
    assert "alert protocol version" in old.stdout + old.stderr


def test_an_allocation_relays_and_ctl_shows_it(edge, build, opened):
    client = opened(Turn(edge()))
    relay = client.allocate(tc.UDP)
    peer = opened(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    peer.bind((PEER, 0))
    peer.settimeout(TIMEOUT_S)
    assert client.bind_channel(0x4000, *peer.getsockname()) == 0
    client.s.sendall(struct.pack(">HH", 0x4000, 5) + b"hello")
    data, source = peer.recvfrom(100)
    assert (data, source) == (b"hello", relay)
    big = os.urandom(1400)
    peer.sendto(big, relay)
    assert client.exactly(4 + len(big)) == struct.pack(">HH", 0x4000, len(big)) + big
    session, = ctl(build, edge, "sessions")["sessions"]
    assert (session["client_transport"], session["transport"]) == ("dtls", "udp")
    assert session["conn"] == edge.program.wait_event("client", transport="dtls")["conn"]
    assert ctl(build, edge, "stats")["stats"]["dtls"] == 1
    # Kicked: the association ends with its allocation, and the client hears of it.
    assert ctl(build, edge, "kick", session["id"])["ok"]
    assert client.s.recv(1) == b""


def test_a_client_that_dies_and_comes_again_from_its_port(edge, opened):
    server, port = edge(), free_port(socket.SOCK_DGRAM, CLIENT)
    for n in range(3):
        client = Turn(server, "-bind", f"{CLIENT}:{port}")
        opened(client)
        client.allocate(tc.UDP)
        client.s.p.send_signal(signal.SIGKILL)
        client.s.p.wait()
    last = opened(Turn(server, "-bind", f"{CLIENT}:{port}"))
    assert last.ask(tc.BINDING, signed=False).code == 0
    seen = [e for e in edge.program.events if e["event"] == "client-closed"]
    assert [e["why"] for e in seen] == 3 * ["the client began anew"]
    assert len([e for e in edge.program.events if e["event"] == "release"]) == 3


def test_ends_are_said_in_both_directions(edge, opened):
    server = edge("--idle", "5")
    client = opened(Turn(server))
    assert client.ask(tc.BINDING, signed=False).code == 0
    assert client.s.recv(1) == b""  # it idles
    edge.program.wait_event("client-closed", why="idle")
    other = opened(Turn(server, "-no_ign_eof"))
    relay = other.allocate(tc.UDP)
    other.s.end()
    edge.program.wait_event("client-closed", why="the client closed it")
    assert edge.program.wait_event("release")["relay"] == at(relay)


def test_the_edge_says_farewell_when_it_stops(edge, opened):
    client = opened(Turn(edge()))
    client.allocate(tc.UDP)
    assert edge.program.stop() == 0
    assert client.s.recv(1) == b""


def test_reload_brings_a_new_certificate_and_drops_nothing(programs, opened, tmp_path):
    old, new = make_cert(tmp_path, "old.test"), make_cert(tmp_path, "new.test")
    p = programs("edge", "--listen", f"{EDGE}:0", "--user", "turn:secret", "--realm", "TANDBERG",
                 "--log", "json", "--tls-cert", old[0], "--tls-key", old[1])
    server = EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    client = opened(Turn(server))
    client.allocate(tc.UDP)
    assert "CN = old.test" in s_client(server)
    for a, b in zip(old, new):
        pathlib.Path(b).replace(a)
    p.process.send_signal(signal.SIGHUP)
    p.wait_event("reloaded")
    assert "CN = new.test" in s_client(server)
    assert client.ask(tc.REFRESH).code == 0


def hello(message_seq=0, cookie=b"", random=bytes(32)):
    body = (b"\xfe\xfd" + random + b"\0" + bytes([len(cookie)]) + cookie +
            b"\0\4\xc0\x2b\xc0\x2f\1\0")
    n = struct.pack(">I", len(body))[1:]
    message = b"\1" + n + struct.pack(">H", message_seq) + b"\0\0\0" + n + body
    return b"\x16\xfe\xfd" + bytes(8) + struct.pack(">H", len(message)) + message


def rss_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1])


def metric(text, name):
    return int(re.search(rf"^causeway_{re.escape(name)} (\d+)$", text, re.M)[1])


def metrics(p):
    host, port = p.wait_event("metrics-listening")["addr"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT_S) as s:
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with s.makefile() as f:
            return f.read()


def test_a_flood_of_hellos_leaves_nothing_behind(edge, opened):
    """From many addresses: small answers, and no memory."""
    env = dict(os.environ)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    server = edge("--metrics", "127.0.0.1:0", env=env)
    client = opened(Turn(server))
    assert client.ask(tc.BINDING, signed=False).code == 0

    def flood(first):
        answered = 0
        for i in range(first, first + 200):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind((f"127.7.{i // 250}.{1 + i % 250}", 0))
                s.connect(server)
                s.settimeout(0.2)
                sent = hello(random=os.urandom(32))
                for k in range(25):
                    # Without a cookie, with a wrong one, and half of it.
                    s.send(sent)
                    s.send(hello(1, os.urandom(20)))
                    s.send(sent[:60])
                with contextlib.suppress(TimeoutError):
                    for k in range(25):
                        got = s.recv(2000)
                        assert got[0] == 22 and got[13] == 3 and len(got) < len(sent)
                        answered += 1
        return answered

    assert flood(0) > 1000
    before = rss_kib(edge.program.pid)
    assert flood(200) > 1000
    assert rss_kib(edge.program.pid) - before < 512
    text = metrics(edge.program)
    assert metric(text, "dtls_associations") == 1
    assert metric(text, 'dtls_handshakes_total{result="success"}') == 1
    assert metric(text, 'dtls_handshakes_total{result="failed"}') == 0
    assert metric(text, "dtls_cookies_total") > 2000
    assert client.ask(tc.BINDING, signed=False).code == 0


def test_one_address_has_its_share(edge, opened):
    server = edge("--max-dtls-per-address", "2")
    for _ in range(2):
        assert opened(Turn(server)).ask(tc.BINDING, signed=False).code == 0
    opened(Turn(server))
    assert "of one address" in edge.program.wait_event("dtls-failed")["why"]
    assert opened(Turn(server, "-bind", f"{CLIENT}:0")).ask(tc.BINDING, signed=False).code == 0


def silent(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(server)
        s.send(hello())
        s.send(struct.pack(">HHI", tc.BINDING, 0, tc.COOKIE) + bytes(12))
        s.settimeout(TIMEOUT_S)
        return s.recv(2000)[0] == 1  # the Binding's answer, not the hello's


def test_off_means_that_nobody_is_there(edge):
    server = edge("--dtls=off")
    assert edge.program.wait_event("listening")["transports"] == "udp,tcp,tls"
    assert silent(server)
    edge.program.stop()
    assert not silent(edge())


def test_noise_leaves_it_standing(edge, opened):
    server = edge()
    client = opened(Turn(server, "-bind", f"{CLIENT}:0"))
    assert client.ask(tc.BINDING, signed=False).code == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(server)
        good = hello()
        for i in range(2000):
            bent = bytearray(good)
            bent[i % len(bent)] ^= 1 << i // len(bent) % 8
            s.send(bent)
            s.send(bytes([20 + i % 44]) + os.urandom(i % 200))
    assert client.ask(tc.BINDING, signed=False).code == 0


def test_the_name_asked_for_says_the_realm(programs, cert, opened, tmp_path):
    conf = tmp_path / "edge.conf"
    conf.write_text(f"listen = {EDGE}:0\nrealm = TANDBERG\nuser = turn:secret\nlog = json\n"
                    f"tls-cert = {cert[0]}\ntls-key = {cert[1]}\n[realm.north]\nname = North\n"
                    f"sni = north.test\nuser = turn:ice\n")
    p = programs("edge", "-c", conf, "--control", tmp_path / "control")
    server = EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    for name, realm in (("north.test", b"North"), ("other.test", b"TANDBERG")):
        client = opened(Turn(server, "-servername", name))
        for _ in range(2):
            answer = client.ask(tc.ALLOCATE, (tc.TRANSPORT, bytes([tc.UDP, 0, 0, 0])), signed=False)
            assert (answer.code, answer.attrs[tc.REALM]) == (401, realm)

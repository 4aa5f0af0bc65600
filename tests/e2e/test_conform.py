"""causeway-conform: our edge passes all of it, coturn's server can be put to it, and a server with
a planted fault fails the check that is meant to see it."""
import hashlib
import hmac
import json
import shutil
import socket
import struct
import subprocess
import threading
import zlib

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Program, free_port, wait_until

pytestmark = pytest.mark.sanitized
EDGE = "127.0.0.2"
# What needs mobility to be on.
MOVES = {f"turn.mobility.{x}" for x in (
    "ticket", "not-empty", "moves", "same-path", "forged", "ended", "other-user")}
# What needs --userhash.
HASHES = {f"auth.userhash.{x}" for x in ("success", "unknown", "and-username")}
ACCOUNTS = ["--user", "turn:secret", "--other-user", "other:secret2"]


@pytest.fixture
def conform(build):
    def run(*args):
        return subprocess.run([build / "cmd/conform/causeway-conform", *map(str, args)],
                              capture_output=True, text=True, timeout=9 * TIMEOUT_S)

    def checks(server, *args):
        """The exit status, the report, and {(id, transport): check}."""
        got = run(server, *ACCOUNTS, "--json", *args)
        assert got.returncode in (0, 1), got.stderr
        report = json.loads(got.stdout)
        by_id = {(c["id"], c["transport"]): c for c in report["checks"]}
        count = [c["outcome"] for c in report["checks"]].count
        assert len(by_id) == len(report["checks"])
        assert [count("pass"), count("fail"), count("skip")] == [
            report["passed"], report["failed"], report["skipped"]]
        assert got.returncode == (1 if report["failed"] else 0)
        return report, by_id

    checks.run = run
    return checks


@pytest.fixture
def edge(programs):
    def start(*args, host=EDGE):
        p = programs("edge", "--listen", f"{host}:0", "--realm", "TANDBERG",
                     "--user",
                     "turn:secret", "--user", "other:secret2", "--log", "json", *args)
        return p.wait_event("listening")["addr"]
    return start


def outcomes(by_id, outcome):
    return {k: c.get("why", "") for k, c in by_id.items() if c["outcome"] == outcome}


def test_edge_passes_all(conform, edge):
    report, by_id = conform(edge("--peer-allow", "127.0.0.0/8"))
    assert outcomes(by_id, "fail") == {}
    # Half-closed relays are no skip here, nor is any feature.
    assert {k[0] for k in outcomes(by_id, "skip")} == {
        "turn.channel.range-rfc5766", *MOVES, *HASHES,
        "turn.dual.refresh-one", "turn.dual.refresh-both",  # it has IPv4 only
        "turn.permission.loopback", "turn.channel.loopback", "tcp.connect.loopback"}
    assert report["passed"] > 210


def test_edge_over_ip6(conform, edge):
    server = edge(host="[::1]")
    _, by_id = conform(server)
    assert outcomes(by_id, "fail") == {}
    assert by_id["stun.binding.mapped-address", "udp"]["outcome"] == "pass"
    assert by_id["turn.allocate.success", "tcp"]["outcome"] == "pass"


def test_edge_with_relays_of_both_families(conform, edge):
    server = edge("--relay-address", EDGE, "--relay-address", "::1")
    report, by_id = conform(server, "--only", "turn.dual.*")
    assert report["failed"] == report["skipped"] == 0 and report["passed"] == 15


def test_policy_refuses_our_peer(conform, edge):
    server = edge("--relay-address", EDGE, "--relay-address", "::1")  # IPv6 spellings as well
    _, by_id = conform(server, "--only", "t*.*")
    assert outcomes(by_id, "fail") == {}
    for check in ("turn.permission.loopback", "turn.channel.loopback", "tcp.connect.loopback"):
        assert by_id[check, "tcp"]["outcome"] == "pass"
    assert "refuses our peer" in by_id["turn.send.to-peer", "udp"]["why"]


def test_loose_policy_fails(conform, edge):
    server = edge("--peer-allow", "127.0.0.0/8", "--tcp-accept", "any")
    _, by_id = conform(server, "--only", "tcp.*")
    assert set(outcomes(by_id, "fail")) == {("tcp.attempt.without-permission", "tcp")}


def test_edge_with_mobility(conform, edge):
    server = edge("--peer-allow", "127.0.0.0/8", "--mobility")
    report, by_id = conform(server, "--only", "turn.mobility.*")
    assert report["failed"] == 0 and report["passed"] == 2 * len(MOVES)
    assert {k[0] for k in outcomes(by_id, "skip")} == {"turn.mobility.forbidden"}


def test_edge_with_hashed_names(conform, edge):
    report, by_id = conform(edge("--userhash", "--password-algorithms", "both"), "--only", "auth.*")
    assert report["failed"] == report["skipped"] == 0
    assert HASHES <= {k[0] for k in outcomes(by_id, "pass")}


def test_edge_without_sha256(conform, edge):
    _, by_id = conform(edge("--password-algorithms", "md5"), "--only", "auth.sha256.*")
    assert by_id and {c["outcome"] for c in by_id.values()} == {"skip"}


def listens(server):
    with socket.socket() as s:
        return s.connect_ex(server) == 0


@pytest.mark.skipif(not shutil.which("turnserver"), reason="needs Debian's coturn")
def test_coturn(conform, tmp_path, capsys):
    port = free_port(socket.SOCK_STREAM, EDGE)
    server = Program(shutil.which("turnserver"), [
        "-n", "-a", "--listening-ip", EDGE, "--listening-port", port, "--relay-ip", EDGE,
        "-u", "turn:secret", "-u", "other:secret2", "-r", "TANDBERG", "--no-tls", "--no-dtls",
        "--no-cli", "--allow-loopback-peers", "--simple-log", "-l", "stdout",
        "--userdb", tmp_path / "turndb", "--pidfile", tmp_path / "pid"], cwd=tmp_path)
    try:
        wait_until("coturn listens", lambda: listens((EDGE, port)))
        report, by_id = conform(f"{EDGE}:{port}")
    finally:
        server.process.terminate()
        server.wait()
    with capsys.disabled():
        print(f"\ncoturn: {report['passed']} passed, {report['failed']} failed, "
              f"{report['skipped']} skipped")
    # It is a TURN server, so most of it goes well; what fails is its affair.
    assert report["passed"] > 100
    assert all(c["rfc"] and c["why"] and c["exchange"] for c in by_id.values()
               if c["outcome"] == "fail")


class StandIn:
    """A STUN server with at most one fault, which also plays the first steps of TURN."""
    KEY = hashlib.md5(b"turn:TANDBERG:secret").digest()

    def __init__(self, fault):
        self.fault = fault
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for job in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=job, daemon=True).start()

    def close(self):
        for s in (self.tcp, self.udp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def serve_udp(self):
        try:
            while True:
                data, client = self.udp.recvfrom(4096)
                reply = self.answer(data, client)
                if reply:
                    self.udp.sendto(reply, client)
        except OSError:
            pass

    def serve_tcp(self):
        try:
            while True:
                s, client = self.tcp.accept()
                threading.Thread(target=self.serve_stream, args=(s, client), daemon=True).start()
        except OSError:
            pass

    def serve_stream(self, s, client):
        held = b""
        with s:
            while more := s.recv(4096):
                held = more if self.fault == "segments" else held + more
                while len(held) >= 20 and len(held) >= (n := 20 + struct.unpack(
                        ">H", held[2:4])[0]):
                    reply = self.answer(held[:n], client)
                    held = held[n:]
                    if reply:
                        s.sendall(reply)

    def well_formed(self, data):
        if len(data) < 20 or data[0] >> 6 or len(data) % 4:
            return False
        n, cookie = struct.unpack(">HI", data[2:8])
        if n + 20 != len(data) or (cookie != tc.COOKIE and self.fault != "cookie"):
            return False
        crc = struct.pack(">I", zlib.crc32(data[:-8]) ^ 0x5354554E)
        marked = data[-8:-4] == b"\x80\x28\0\4"
        return not marked or data[-4:] == crc or self.fault == "fingerprint"

    def answer(self, data, client):
        if not self.well_formed(data):
            return None
        kind, tid = struct.unpack(">H", data[:2])[0], data[8:20]
        attrs, at = {}, 20
        while at < len(data):
            code, n = struct.unpack(">HH", data[at:at + 4])
            attrs[code] = data[at + 4:at + 4 + n]
            at += 4 + n + -n % 4
        if kind not in (tc.BINDING, tc.ALLOCATE) and not (
                kind == tc.BINDING | 0x10 and self.fault == "indications"):
            return None
        return self.reply(kind & 0xf, tid, attrs, client)

    def reply(self, method, tid, attrs, client):
        unknown = sorted(a for a in attrs if 0x7f00 <= a < 0x8000)
        if unknown and self.fault != "unknown":
            listed = b"".join(struct.pack(">H", a) for a in unknown)
            return self.message(method | 0x110, tid, [self.error(420), (0xa, listed)])
        mapped = tc.xor_addr(*client, tid)
        if self.fault == "xor":
            mapped = struct.pack(">BBH", 0, 1, client[1]) + socket.inet_aton(client[0])
        if method == tc.BINDING:
            return self.message(method | 0x100, tid, [(0x20, mapped)])
        if tc.INTEGRITY not in attrs:
            return self.message(method | 0x110, tid, [
                self.error(401), (tc.REALM, b"TANDBERG"), (tc.NONCE, b"once")])
        return self.message(method | 0x100, tid, [
            (0x20, mapped), (tc.RELAYED, mapped), (tc.LIFETIME, struct.pack(">I", 600))],
            signed=self.fault != "integrity")

    @staticmethod
    def error(code):
        return tc.ERROR, bytes([0, 0, code // 100, code % 100])

    def message(self, kind, tid, attrs, signed=False):
        if self.fault == "tid":
            tid = bytes(12)
        body = b"".join(tc.attr(*a) for a in attrs)
        head = struct.pack(">HHI", kind, len(body) + (24 if signed else 0), tc.COOKIE) + tid
        if signed:
            body += tc.attr(tc.INTEGRITY, hmac.new(self.KEY, head + body, "sha1").digest())
        return head + body


PLANTED = {
    "tid": "stun.binding.transaction-id",
    "xor": "stun.binding.mapped-address",
    "unknown": "stun.attribute.unknown-required",
    "indications": "stun.indication.silent",
    "cookie": "stun.cookie.wrong",
    "fingerprint": "stun.fingerprint.wrong",
    "segments": "stream.split",
    "integrity": "auth.response-integrity",
}


@pytest.fixture
def stand_in():
    opened = []

    def start(fault):
        opened.append(StandIn(fault))
        return f"127.0.0.1:{opened[-1].port}"

    yield start
    for s in opened:
        s.close()


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_fault(conform, stand_in, fault):
    args = ["--only", PLANTED[fault], "--timeout", 1000]
    _, right = conform(stand_in(None), *args)
    assert right and {c["outcome"] for c in right.values()} == {"pass"}
    _, wrong = conform(stand_in(fault), *args)
    assert wrong and {c["outcome"] for c in wrong.values()} == {"fail"}
    assert all(c["why"] and c["exchange"] for c in wrong.values())


def test_usage(conform, edge):
    wrong = conform.run(edge(), "--user", "turn:wrong")
    assert wrong.returncode == 2 and "refuses --user" in wrong.stderr
    nobody = f"127.0.0.1:{free_port()}"
    assert conform.run(nobody, "--timeout", 100).returncode == 2
    assert conform.run().returncode == 2
    assert conform.run("127.0.0.1:1", "--only", "no.such*").returncode == 2
    listed = conform.run("--list", "--only", "tcp.bind.*")
    assert listed.returncode == 0 and "tcp.bind.twice\n    RFC 6062 5.4" in listed.stdout


def test_text(conform, edge):
    got = conform.run(edge(), *ACCOUNTS, "--only", "stun.binding.*", "-v")
    assert got.returncode == 0
    assert "pass  udp  stun.binding.success" in got.stdout
    assert "-> Binding Request: FINGERPRINT" in got.stdout
    assert got.stdout.endswith("6 passed, 0 failed, 0 skipped\n")
    assert "secret" not in got.stdout

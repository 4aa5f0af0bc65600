"""One turnserver.conf for coturn, and imported for the edge: both say the same to the same clients."""
import base64
import contextlib
import hashlib
import hmac
import shutil
import socket
import subprocess
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Program, free_port, wait_until

pytestmark = [
    pytest.mark.sanitized,
    pytest.mark.skipif(not shutil.which("turnserver"), reason="needs Debian's coturn"),
]
EDGE = "127.0.0.2"
COMMON = """
listening-ip={EDGE}
listening-port={port}
relay-ip={EDGE}
realm=TANDBERG
fingerprint
no-cli
no-tls
no-dtls
user-quota=2
denied-peer-ip=8.8.0.0-8.8.255.255
allowed-peer-ip=8.8.4.0-8.8.4.127
denied-peer-ip=9.9.9.9
userdb={folder}/turndb
pidfile={folder}/pid
log-file=stdout
simple-log
"""
# Whom a client may send to. (Private networks differ on purpose.)
PEERS = {"8.8.8.8": 403, "8.8.4.4": 0, "8.8.4.127": 0, "8.8.4.128": 403, "8.9.0.1": 0,
         "9.9.9.9": 403, "9.9.9.10": 0, "127.0.0.1": 403}


@pytest.fixture
def servers(programs, build, tmp_path):
    """start(lines): the addresses of coturn and of the edge, with the same configuration."""
    with contextlib.ExitStack() as stack:
        def start(lines):
            old, new = tmp_path / "turnserver.conf", tmp_path / "edge.conf"

            def write():
                port = free_port(socket.SOCK_STREAM, EDGE)
                old.write_text(COMMON.format(EDGE=EDGE, port=port, folder=tmp_path) + lines)
                return EDGE, port
            first = write()
            # coturn first: it makes the database, which both then have.
            coturn = Program(shutil.which("turnserver"), ["-c", old], cwd=tmp_path)
            stack.callback(coturn.stop)
            wait_until("coturn listens", lambda: reachable(first))
            second = write()
            subprocess.run([build / "cmd/edge/causeway-edge", "import-coturn", old, "--out", new],
                           check=True, timeout=TIMEOUT_S, capture_output=True)
            edge = programs("edge", "-c", new, "--control", "off", "--log", "json")
            edge.wait_event("ready")
            return first, second
        yield start


def reachable(server):
    with socket.socket() as s:
        return s.connect_ex(server) == 0


def outcome(server, user, password):
    """0, or the code of the second Allocate."""
    with contextlib.closing(tc.Turn(server, user, password)) as c:
        want = (tc.TRANSPORT, bytes([tc.UDP, 0, 0, 0]))
        first = c.ask(tc.ALLOCATE, want, signed=False)
        c.realm, c.nonce = first.attrs[tc.REALM], first.attrs[tc.NONCE]
        return c.ask(tc.ALLOCATE, want).code


def test_users_and_peers(servers):
    both = servers("lt-cred-mech\nuser=turn:secret\nuser=bob:two words ; here\n"
                   "user=eve:0x" + hashlib.md5(b"eve:TANDBERG:known").hexdigest() + "\n")
    for server in both:
        assert outcome(server, "bob", "two words ; here") == 0
        assert outcome(server, "eve", "known") == 0
        assert outcome(server, "turn", "wrong") == 401
        assert outcome(server, "nobody", "secret") == 401
        with contextlib.closing(tc.Turn(server)) as c:
            relay = c.allocate(tc.UDP)
            assert relay[0] == EDGE and 49152 <= relay[1] <= 65535
            assert {peer: c.permit(peer) for peer in PEERS} == PEERS, server


def test_quota(servers):
    for server in servers("lt-cred-mech\nuser=turn:secret\n"):
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(contextlib.closing(tc.Turn(server))).allocate(tc.UDP)
            assert outcome(server, "turn", "secret") == 486


def test_secret(servers):
    """Time-limited credentials; the user beside the secret is nobody."""
    name = f"{int(time.time()) + 600}:alice"
    password = base64.b64encode(hmac.digest(b"north-and-south", name.encode(), "sha1")).decode()
    for server in servers("use-auth-secret\nstatic-auth-secret=north-and-south\n"
                          "user=turn:secret\n"):
        assert outcome(server, name, password) == 0
        assert outcome(server, name, "guess") == 401
        assert outcome(server, "turn", "secret") == 401

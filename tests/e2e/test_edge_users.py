"""Who may use causeway-edge: shared secrets and databases, with coturn's own tools as counterpart."""
import base64
import hashlib
import hmac
import shutil
import subprocess
import time

import pytest

from conftest import TIMEOUT_S, need
from turn_client import ALLOCATE, REFRESH, TRANSPORT, UDP, Turn

pytestmark = pytest.mark.sanitized
EDGE, PEER, REALM = "127.0.0.2", "127.0.0.3", "TANDBERG"
WANT_UDP = (TRANSPORT, bytes([UDP, 0, 0, 0]))


@pytest.fixture
def edge(programs):
    """start(options...) starts an edge; its address."""
    def start(*options):
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", REALM, "--peer-allow",
                     "127.0.0.0/8", "--log", "json", *options)
        return p, (EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1]))
    return start


def allocate(server, user, password):
    """The error code of an Allocate, 0 for success."""
    t = Turn(server, user, password, realm=REALM.encode())
    first = t.ask(ALLOCATE, WANT_UDP, signed=False)
    assert first.code == 401
    t.nonce = first.attrs[0x15]
    code = t.ask(ALLOCATE, WANT_UDP).code
    t.close()
    return code


def timed(secret, name="alice", in_s=600, digest="sha1"):
    user = f"{int(time.time()) + in_s}:{name}"
    mac = hmac.new(secret.encode(), user.encode(), digest).digest()
    return user, base64.b64encode(mac).decode()


def uclient(server, *options):
    need(shutil.which("turnutils_uclient"), "needs Debian's coturn")
    got = subprocess.run(["turnutils_uclient", "-c", "-y", "-n", "3", "-m", "2", "-p",
                          str(server[1]), *options, server[0]],
                         capture_output=True, text=True, timeout=3 * TIMEOUT_S)
    text = got.stdout + got.stderr
    return got.returncode == 0 and "Total lost packets 0 (0.000000%)" in text, text


def test_timed_credentials(edge):
    p, server = edge("--secret", "north-north", "--secret", "south-south", "--user", "turn:secret",
                     "--relay-to-relay")
    for secret in ("north-north", "south-south"):
        for digest in ("sha1", "sha256"):
            assert allocate(server, *timed(secret, digest=digest)) == 0
    assert allocate(server, "turn", "secret") == 0
    assert allocate(server, *timed("east-east")) == 401
    assert allocate(server, timed("north-north")[0], "secret") == 401
    assert allocate(server, *timed("north-north", in_s=-1)) == 401
    p.wait_event("credential-expired")
    # Nor does the name of another time, or of somebody else, fit the password.
    user, password = timed("north-north")
    assert allocate(server, "9" + user, password) == 401
    assert allocate(server, user + "x", password) == 401
    assert not any("north" in line or password in line for line in p.lines)


def test_timed_credentials_of_coturn(edge):
    _, server = edge("--secret", "north-north", "--relay-to-relay")
    ok, text = uclient(server, "-u", "alice", "-W", "north-north")
    assert ok, text
    ok, text = uclient(server, "-u", "alice", "-W", "other-other")
    assert not ok and "Cannot complete Allocation" in text, text


def test_hash_can_be_chosen(edge):
    _, server = edge("--secret", "north-north", "--secret-hash", "sha256")
    assert allocate(server, *timed("north-north", digest="sha256")) == 0
    assert allocate(server, *timed("north-north", digest="sha1")) == 401


@pytest.mark.parametrize("strict", [True, False])
def test_expiry_of_what_runs(edge, strict):
    _, server = edge("--secret", "north-north", *(["--strict-expiry"] if strict else []))
    user, password = timed("north-north", in_s=2)
    end = int(user.split(":")[0])
    t = Turn(server, user, password, realm=REALM.encode())
    t.allocate(UDP)
    assert t.ask(REFRESH).code == 0
    while time.time() < end + 0.05:  # the wall clock is what is tested
        time.sleep(0.05)
    assert t.ask(REFRESH).code == (401 if strict else 0)
    assert allocate(server, user, password) == 401


def test_keys_in_place_of_passwords(edge):
    key = hashlib.md5(f"turn:{REALM}:secret".encode()).hexdigest()
    _, server = edge("--user", f"turn:0x{key}")
    assert allocate(server, "turn", "secret") == 0
    assert allocate(server, "turn", f"0x{key}") == 401

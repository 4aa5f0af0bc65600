"""causeway-edge with several realms: who comes by which name or address, and who may do what."""
import base64
import contextlib
import hmac
import json
import signal
import socket
import ssl
import subprocess
import time

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, make_cert

pytestmark = pytest.mark.sanitized
EDGE, NORTH = "127.0.0.2", "127.0.0.5"

CONF = """
listen = {edge}:0
realm = TANDBERG
user = turn:secret
secret = default-secret
relay-address = {edge}
peer-allow = 127.0.0.0/8
tls-cert = {cert}
tls-key = {key}
log = json

[realm.north]
  name = North Pole
  sni = north.test
  sni = arctic.test
  listen = {north}:0
  user = turn:ice
  user = polar:bear
[realm.south]
  sni = south.test
  secret = south-secret
"""


@pytest.fixture
def conf(tmp_path):
    cert, key = make_cert(tmp_path, "turn.test")
    path = tmp_path / "edge.conf"
    path.write_text(CONF.format(edge=EDGE, north=NORTH, cert=cert, key=key))
    return path


@pytest.fixture
def program(programs, conf):
    return programs("edge", "-c", conf, "--control", conf.parent / "ctl")


@pytest.fixture
def edge(program):
    """(the address of the default realm, that of [realm.north])"""
    program.wait_event("ready")
    at = [e["addr"].rsplit(":", 1) for e in program.events if e["event"] == "listening"]
    return tuple((host, int(port)) for host, port in at)


@pytest.fixture
def turn():
    """turn(server, ...): a connection; name= is asked for over TLS."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        def connect(server, user, password, realm, name=None):
            return stack.enter_context(contextlib.closing(
                tc.Turn(server, user, password, realm=realm.encode(), tls=name and tls, name=name)))
        yield connect


def is_let_in(client):
    """Whether it may allocate, in the realm that it takes for its own."""
    want = (tc.TRANSPORT, bytes([tc.TCP, 0, 0, 0]))
    first = client.ask(tc.ALLOCATE, want, signed=False)
    assert (first.code, first.attrs[tc.REALM]) == (401, client.realm)
    client.nonce = first.attrs[tc.NONCE]
    answer = client.ask(tc.ALLOCATE, want)
    assert answer.code in (0, 401)
    return answer.code == 0


def timed(secret, name="who"):
    user = f"{int(time.time()) + 600}:{name}"
    digest = hmac.new(secret.encode(), user.encode(), "sha1").digest()
    return user, base64.b64encode(digest).decode()


def test_the_address_says_the_realm(edge, turn):
    here, north = edge
    assert is_let_in(turn(here, "turn", "secret", "TANDBERG"))
    assert not is_let_in(turn(here, "turn", "ice", "TANDBERG"))
    assert not is_let_in(turn(here, "polar", "bear", "TANDBERG"))
    assert is_let_in(turn(north, "turn", "ice", "North Pole"))
    assert is_let_in(turn(north, "polar", "bear", "North Pole"))
    assert not is_let_in(turn(north, "turn", "secret", "North Pole"))


def test_the_name_says_the_realm_wherever_it_is_asked_for(edge, turn, build, conf):
    here, north = edge
    for server in edge:
        assert is_let_in(turn(server, "polar", "bear", "North Pole", "north.test"))
        assert is_let_in(turn(server, "turn", "ice", "North Pole", "ARCTIC.test"))
        assert not is_let_in(turn(server, "turn", "secret", "south", "south.test"))
    assert is_let_in(turn(here, "turn", "secret", "TANDBERG", "other.test"))
    assert is_let_in(turn(north, "turn", "ice", "North Pole", "other.test"))
    got = subprocess.run([build / "cmd/edge/causeway-edge", "ctl", "--control", conf.parent / "ctl",
                          "--json", "sessions"], capture_output=True, text=True, timeout=TIMEOUT_S)
    users = {(s["user"], s["realm"]) for s in json.loads(got.stdout)["sessions"]}
    assert users == {("polar", "North Pole"), ("turn", "North Pole"), ("turn", "TANDBERG")}


def test_udp_has_the_realm_of_its_address(edge):
    tid = b"t" * 12
    body = tc.attr(tc.TRANSPORT, bytes([tc.UDP, 0, 0, 0]))
    request = bytes([0, 3, 0, len(body)]) + tc.COOKIE.to_bytes(4, "big") + tid + body
    for server, realm in zip(edge, (b"TANDBERG", b"North Pole")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(TIMEOUT_S)
            s.sendto(request, server)
            assert tc.attr(tc.REALM, realm) in s.recv(2000)


def test_secrets_are_the_realms_own_or_the_default_ones(edge, turn):
    here, north = edge
    assert is_let_in(turn(here, *timed("default-secret"), "TANDBERG"))
    assert is_let_in(turn(north, *timed("default-secret"), "North Pole"))
    assert is_let_in(turn(here, *timed("south-secret"), "south", "south.test"))
    assert not is_let_in(turn(here, *timed("default-secret"), "south", "south.test"))
    assert not is_let_in(turn(here, *timed("south-secret"), "TANDBERG"))


def test_a_data_connection_has_to_be_of_the_same_realm(edge, turn):
    here, north = edge
    control = turn(north, "turn", "ice", "North Pole")
    relay = control.allocate()
    assert control.permit("127.0.0.3") == 0
    with socket.create_connection(relay, TIMEOUT_S, ("127.0.0.3", 0)):
        cid = (tc.CONNECTION_ID, control.recv().attrs[tc.CONNECTION_ID])
        other = turn(here, "turn", "secret", "TANDBERG")
        other.nonce = other.ask(tc.ALLOCATE, (tc.TRANSPORT, b"\6\0\0\0"),
                                signed=False).attrs[tc.NONCE]
        assert other.ask(tc.CONNECTION_BIND, cid).code in (400, 441)
        same = turn(here, "turn", "ice", "North Pole", "north.test")
        same.nonce = control.nonce
        assert same.ask(tc.CONNECTION_BIND, cid).code == 0


def test_reload_brings_users_but_no_realms(edge, program, conf, turn):
    text = conf.read_text()
    conf.write_text(text.replace("user = polar:bear", "user = new:bear"))
    program.process.send_signal(signal.SIGHUP)
    program.wait_event("reloaded")
    assert is_let_in(turn(edge[1], "new", "bear", "North Pole"))
    assert not is_let_in(turn(edge[1], "polar", "bear", "North Pole"))
    # Users go by the place of their realm: these would become others'.
    swapped = text.replace("realm.north", "realm.x").replace("name = North Pole", "name = West")
    conf.write_text(swapped)
    program.process.send_signal(signal.SIGHUP)
    assert program.wait_event("reload-failed")["why"] == "realms change with a restart only"
    assert is_let_in(turn(edge[1], "new", "bear", "North Pole"))


@pytest.mark.parametrize("section, words", [
    ("sni = a.test\n", ["edge.conf:15: [realm.a]: user: nobody could allocate"]),
    ("user = a:b\n", ["edge.conf:15: [realm.a]: sni: nobody could come to it"]),
    ("user = a:b\nsni = a.test\nname = north\n[realm.north]\nsni = b.test\nuser = a:b\n",
     ["edge.conf:19: [realm.north]: name: is the name of another realm"]),
    ("user = a:b\nsni = a.test\nsni = A.test\n", ["edge.conf:18: sni: is there twice"]),
    ("user = a:b\nlisten = 127.0.0.2:3478\n", ["edge.conf:17: listen: is there twice"]),
    ("sni = a.test\nsecret = short\n", ["edge.conf:17: secret: must have 8 to 256 bytes"])])
def test_mistakes_are_named(build, conf, section, words):
    head = conf.read_text().split("[realm.")[0].replace(":0\n", ":3478\n")
    head = head.replace("secret = default-secret\n", "max-peers = 3\n")
    conf.write_text(f"{head}\n\n\n[realm.a]\n{section}")
    got = subprocess.run([build / "cmd/edge/causeway-edge", "-c", conf, "--check"],
                         capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode == 2
    assert all(w in got.stderr for w in words), got.stderr

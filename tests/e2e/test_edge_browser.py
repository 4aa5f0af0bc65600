"""WebRTC in Debian's Chromium over causeway-edge: nothing but relays, data channels both ways."""
import base64
import hashlib
import json
import subprocess

import pytest

from conftest import BROWSER, TIMEOUT_S, make_cert

pytestmark = pytest.mark.sanitized
EDGE = "127.0.0.2"
BYTES = 400000  # each way
WAYS = {"udp": "turn:{}", "tcp": "turn:{}?transport=tcp", "tls": "turns:{}?transport=tcp"}


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, cert):
    # Both ends have their relay here, hence --relay-to-relay.
    p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user", "turn:secret",
                 "--peer-allow", "127.0.0.0/8", "--relay-to-relay", "--log", "json",
                 "--tls-cert", cert[0], "--tls-key", cert[1])
    return p, p.wait_event("listening")["addr"]


def spki(cert):
    """What Chromium names a certificate's key by."""
    pem = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"], check=True,
                         capture_output=True, text=True).stdout
    return base64.b64encode(hashlib.sha256(base64.b64decode(pem.split("-----")[2])).digest())


def relay(addr, ways, **more):
    what = {"urls": [WAYS[w].format(addr) for w in ways], "username": "turn",
            "credential": "secret", "bytes": BYTES, **more}
    got = subprocess.run(["node", "relay.js", json.dumps(what)], cwd=BROWSER, text=True,
                         capture_output=True, timeout=6 * TIMEOUT_S)
    assert got.returncode == 0, got.stderr
    return json.loads(got.stdout)


@pytest.mark.parametrize("ways", [("udp", "udp"), ("tcp", "tcp"), ("tls", "tls"), ("udp", "tls")],
                         ids="-".join)
def test_data_both_ways(playwright, edge, cert, ways):
    program, addr = edge
    seen = relay(addr, ways, spki=spki(cert[0]).decode())
    assert seen.get("same") is True, seen
    assert [e["relayProtocol"] for e in seen["ends"]] == list(ways)
    assert all(e["type"] == "relay" and e["remote"] == "relay" for e in seen["ends"])
    assert seen["candidates"] and all(" typ relay " in c for c in seen["candidates"])
    # Closed connections release their allocations, and all the data has been through here.
    assert int(program.wait_event("release")["to_peers"]) > BYTES


def test_a_wrong_password_gets_no_relay(playwright, edge):
    seen = relay(edge[1], ("udp", "udp"), credential="wrong")
    assert "no relay" in seen["failed"] and not seen["candidates"]


def test_a_certificate_of_nobody_gets_no_relay(playwright, edge):
    seen = relay(edge[1], ("tls", "tls"))
    assert "no relay" in seen["failed"] and not seen["candidates"]
    edge[0].wait_event("tls-failed")

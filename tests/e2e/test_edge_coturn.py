"""Clients of another implementation, coturn's, on causeway-edge."""
import contextlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import TIMEOUT_S, Net, Program, make_cert

pytestmark = [
    pytest.mark.sanitized,
    pytest.mark.skipif(not shutil.which("turnutils_uclient"), reason="needs Debian's coturn"),
]
EDGE4, EDGE6, PEER4, PEER6 = "127.0.0.2", "fd00::2", "127.0.0.3", "fd00::3"
PORT, PEER_PORT = "3478", "3480"  # in a namespace of their own
TO4, TO6 = ["-e", PEER4, "-r", PEER_PORT], ["-e", PEER6, "-r", PEER_PORT]

# What uclient is told, and how much of what it sends comes back. -T connects its relays to each
# other; with -P every second connection is the peer's own, and nobody answers on it.
ROWS = {
    "udp": (TO4, 1),
    "udp-send": ([*TO4, "-s"], 1),
    "udp-alone": ([*TO4, "-c"], 1),
    "udp-large": ([*TO4, "-l", "1200"], 1),
    "udp-extra-requests": ([*TO4, "-G"], 1),
    "udp-padded-channels": ([*TO4, "-D"], 1),
    "udp-ip4-asked-for": ([*TO4, "-X"], 1),
    "udp-leaves-early": ([*TO4, "-B"], None),
    "client-to-client": ([*TO4, "-y"], 1),
    "rest-password": ([*TO4, "-W", "rest-secret"], 1),
    "dtls": ([*TO4, "-S"], 1),
    "dtls-send": ([*TO4, "-S", "-s"], 1),
    "dtls-large": ([*TO4, "-S", "-l", "1200"], 1),
    "dtls-client-to-client": ([*TO4, "-S", "-y"], 1),
    "tcp": ([*TO4, "-t"], 1),
    "tcp-send": ([*TO4, "-t", "-s"], 1),
    "tls": ([*TO4, "-t", "-S"], 1),
    "tls-send": ([*TO4, "-t", "-S", "-s"], 1),
    "dtls": ([*TO4, "-S"], 1),
    "dtls-send": ([*TO4, "-S", "-s"], 1),
    "udp-whole-datagrams": ([*TO4, "-g"], 1),
    "udp-mobile": ([*TO4, "-M"], 1),
    "tcp-relay": (["-T"], 1),
    "tcp-relay-passive": (["-P"], 0.5),
    "tls-tcp-relay": (["-T", "-S"], 1),
}
ROWS6 = {
    "udp": ([*TO6, "-x"], 1),
    "udp-send": ([*TO6, "-x", "-s"], 1),
    "udp-to-ip4": ([*TO4, "-X"], 1),
    "dtls": ([*TO6, "-x", "-S"], 1),
    "dtls-send": ([*TO6, "-x", "-S", "-s"], 1),
    "tcp": ([*TO6, "-x", "-t"], 1),
    "tcp-send": ([*TO6, "-x", "-t", "-s"], 1),
    "tls": ([*TO6, "-x", "-t", "-S"], 1),
    "dtls": ([*TO6, "-x", "-S"], 1),
    "tcp-relay": (["-x", "-T"], 1),
    "tls-tcp-relay": (["-x", "-T", "-S"], 1),
}
# From one family's listener to the other's peers.
MIXED = {
    "udp": ([*TO6, "-x"], 1),
    "tcp-send": ([*TO6, "-x", "-t", "-s"], 1),
    "tcp-relay": (["-x", "-T"], 1),
}


@pytest.fixture(scope="module")
def net():
    with contextlib.closing(Net(f"{EDGE6}/128", f"{PEER6}/128")) as net:
        yield net


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, net, cert):
    # uclient's TCP relays connect to each other, hence --relay-to-relay.
    p = programs("edge", "--listen", f"{EDGE4}:{PORT}", "--listen", f"[{EDGE6}]:{PORT}",
                 "--relay-address", EDGE4, "--relay-address", EDGE6, "--realm", "TANDBERG",
                 "--user", "turn:secret", "--secret", "rest-secret", "--peer-allow", "127.0.0.0/8",
                 "--peer-allow", "fd00::/8", "--relay-to-relay", "--mobility",
                 "--log", "json",
                 "--tls-cert", cert[0], "--tls-key", cert[1], preexec_fn=net.join)
    p.wait_event("ready")
    return p


@pytest.fixture
def echo(net):
    """coturn's peers: they send every datagram back."""
    peers = [Program(shutil.which("turnutils_peer"), ["-L", a, "-p", PEER_PORT],
                     preexec_fn=net.join) for a in (PEER4, PEER6)]
    yield
    for p in peers:
        p.process.kill()
        p.wait()


def trouble(net, server, options, part):
    """What is wrong with a run of uclient; empty: nothing."""
    got = subprocess.run(["turnutils_uclient", "-u", "turn", "-w", "secret", "-p", PORT, "-n", "5",
                          "-m", "2", *options, server], capture_output=True, text=True,
                         timeout=3 * TIMEOUT_S, preexec_fn=net.join)
    text = got.stdout + got.stderr
    counts = re.findall(r"tot_send_bytes ~ (\d+), tot_recv_bytes ~ (\d+)", text)
    if got.returncode != 0 or not counts:
        return f"ended with {got.returncode}:\n{text}"
    sent, received = map(int, counts[-1])
    if sent == 0 or (part is not None and received != part * sent):
        return f"{received} of {sent} bytes came back:\n{text}"
    return ""


def run_rows(net, server, rows):
    """uclient sleeps more than it works: several at once."""
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(lambda row: trouble(net, server, *row), rows.values())
        bad = {name: text for name, text in zip(rows, said) if text}
    assert not bad, "\n\n".join(f"{name} {text}" for name, text in bad.items())


def test_uclient(net, edge, echo):
    run_rows(net, EDGE4, ROWS)
    for event in ("alloc", "channel", "connect", "attempt", "bind", "close", "release"):
        edge.wait_event(event)


def test_uclient_over_ip6(net, edge, echo):
    run_rows(net, EDGE6, ROWS6)
    assert edge.wait_event("alloc")["client"].startswith("[fd00::")


def test_uclient_from_ip4_to_ip6(net, edge, echo):
    run_rows(net, EDGE4, MIXED)


def test_a_wrong_password_is_refused(net, edge, echo):
    assert "Cannot complete Allocation" in trouble(net, EDGE4, [*TO4, "-w", "wrong"], 1)


@pytest.mark.parametrize("server, own", [(EDGE4, "127.0.0.1"), (EDGE6, "fd00::")])
def test_stunclient(net, edge, server, own):
    got = subprocess.run(["turnutils_stunclient", "-p", PORT, server], capture_output=True,
                         text=True, timeout=TIMEOUT_S, preexec_fn=net.join)
    assert got.returncode == 0 and f"reflexive addr: {own}" in got.stdout + got.stderr

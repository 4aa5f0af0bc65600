"""Clients of another implementation, coturn's, on causeway-edge."""
import shutil
import socket
import subprocess

import pytest

from conftest import TIMEOUT_S, Program, free_port

pytestmark = [
    pytest.mark.sanitized,
    pytest.mark.skipif(not shutil.which("turnutils_uclient"), reason="needs Debian's coturn"),
]
EDGE, PEER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def edge(programs):
    # uclient's TCP relays connect to each other, hence --relay-to-relay.
    p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user", "turn:secret",
                 "--peer-allow", "127.0.0.0/8", "--relay-to-relay", "--log", "json")
    return p, p.wait_event("listening")["addr"].rsplit(":", 1)[1]


@pytest.fixture
def echo():
    """coturn's peer: sends every datagram back."""
    port = free_port(socket.SOCK_DGRAM, PEER)
    p = Program(shutil.which("turnutils_peer"), ["-L", PEER, "-p", port])
    yield port
    p.process.kill()
    p.wait()


@pytest.mark.parametrize("options", [[], ["-s"], ["-c"], ["-t"], ["-t", "-s"], ["-T"]],
                         ids=["udp", "udp-send", "udp-alone", "tcp", "tcp-send", "tcp-relay"])
def test_uclient(edge, echo, options):
    program, port = edge
    got = subprocess.run(["turnutils_uclient", "-u", "turn", "-w", "secret", "-p", port, "-e", PEER,
                          "-r", str(echo), "-n", "5", "-m", "2", *options, EDGE],
                         capture_output=True, text=True, timeout=3 * TIMEOUT_S)
    text = got.stdout + got.stderr
    assert got.returncode == 0, text
    assert "Total lost packets 0 (0.000000%)" in text
    sent, received = text.split("tot_send_bytes ~ ")[-1].split("\n")[0].split(", tot_recv_bytes ~ ")
    assert int(sent) == int(received) > 0
    program.wait_event("alloc")
    if options == ["-T"]:
        program.wait_event("bind")


def test_stunclient(edge):
    _, port = edge
    got = subprocess.run(["turnutils_stunclient", "-p", port, EDGE], capture_output=True, text=True,
                         timeout=TIMEOUT_S)
    assert got.returncode == 0 and "reflexive addr: 127.0.0.1:" in got.stdout + got.stderr

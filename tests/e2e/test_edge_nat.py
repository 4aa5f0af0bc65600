"""RFC 5780 on causeway-edge: coturn's turnutils_natdiscovery, and what the options refuse."""
import contextlib
import re
import shutil
import socket
import struct
import subprocess

import pytest

from conftest import TIMEOUT_S, Net

pytestmark = pytest.mark.sanitized
ONE4, TWO4, ONE6, TWO6 = "127.0.0.2", "127.0.0.3", "fd00::2", "fd00::3"


@pytest.fixture(scope="module")
def net():
    with contextlib.closing(Net(f"{ONE6}/128", f"{TWO6}/128")) as net:
        yield net


@pytest.fixture
def edge(programs, net):
    p = programs("edge", "--listen", f"{ONE4}:3478", "--listen", f"[{ONE6}]:3478",
                 "--nat-discovery", f"{TWO4}:3479", "--nat-discovery", f"[{TWO6}]:3479",
                 "--user", "turn:secret", "--log", "json", preexec_fn=net.join)
    p.wait_event("ready")
    return p


def discover(net, *options):
    got = subprocess.run(["turnutils_natdiscovery", *options], capture_output=True, text=True,
                         timeout=3 * TIMEOUT_S, preexec_fn=net.join)
    assert got.returncode == 0, got.stdout + got.stderr
    return got.stdout + got.stderr


@pytest.mark.skipif(not shutil.which("turnutils_natdiscovery"), reason="needs Debian's coturn")
@pytest.mark.parametrize("server, own, two", [(ONE4, "127.0.0.1", f"{TWO4}:3479"),
                                              (ONE6, ONE6, TWO6)], ids=["ip4", "ip6"])
@pytest.mark.parametrize("padding", [[], ["-P"]], ids=["bare", "padded"])
def test_natdiscovery_sees_no_nat(net, edge, server, own, two, padding):
    text = discover(net, "-m", "-f", "-H", *padding, "-L", own, server)
    assert "No NAT!" in text and "NAT with Endpoint Independent Mapping!" in text, text
    assert "NAT with Endpoint Independent Filtering!" in text, text
    assert two in text


@pytest.mark.skipif(not shutil.which("turnutils_natdiscovery"), reason="needs Debian's coturn")
def test_a_mappings_life_is_measured_by_its_answer_to_another_port(net, edge):
    text = discover(net, "-t", "-T", "1", "-L", "127.0.0.1", "-l", "5555", ONE4)
    # The second answer is to another request than what came from that port.
    assert "RFC 5780 response 2" in text
    assert re.findall(r"reflexive addr: 127.0.0.1:(\d+)", text)[0] == "5555"


def test_all_four_sockets_listen(edge):
    at = {e["addr"] for e in edge.events if e["event"] == "listening"}
    assert at == {f"{ip}:{port}" for ip in (ONE4, TWO4, f"[{ONE6}]", f"[{TWO6}]")
                  for port in (3478, 3479)}


@pytest.mark.parametrize("options, words", [
    (["--listen", "0.0.0.0:3478", "--relay-address", ONE4, "--nat-discovery", f"{TWO4}:3479"],
     "no wildcard"),
    (["--listen", f"{ONE4}:3478", "--nat-discovery", f"{ONE4}:3479"], "must differ"),
    (["--listen", f"{ONE4}:3478", "--nat-discovery", f"{TWO4}:3478"], "must differ"),
    (["--listen", f"{ONE4}:3478", "--nat-discovery", f"[{TWO6}]:3479"], "same family"),
    (["--listen", f"{ONE4}:3478", "--nat-discovery", f"{TWO4}:3479", "--nat-discovery",
      "127.0.0.4:3480"], "one for each family"),
])
def test_check_says_what_is_wrong(build, options, words):
    got = subprocess.run([build / "cmd/edge/causeway-edge", "--check", "--user", "turn:secret",
                          *options], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert got.returncode != 0 and words in got.stderr, got.stderr


def test_it_is_off_by_default(programs):
    p = programs("edge", "--listen", f"{ONE4}:0", "--user", "turn:secret", "--log", "json")
    port = int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    change = struct.pack(">HHI", 3, 4, 6)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((ONE4, port))
        s.settimeout(TIMEOUT_S)
        s.send(struct.pack(">HHI", 1, len(change), 0x2112A442) + bytes(12) + change)
        answer = s.recv(2000)
        assert answer[:2] == b"\x01\x11" and bytes([0, 0, 4, 20]) in answer  # 420
        s.send(struct.pack(">HHI", 1, 0, 0x2112A442) + bytes(12))
        assert len(s.recv(2000)) == 20 + 12
